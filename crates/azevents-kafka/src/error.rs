//! From librdkafka's errors to core's: what kind of failure it is, and whether waiting helps.

use azevents_core::{Error, ErrorKind};
use rdkafka::error::{KafkaError, RDKafkaErrorCode as Code};

/// Turns an error of librdkafka into one that says whether waiting helps.
pub(crate) fn from_kafka(operation: &'static str, subject: &str, error: KafkaError) -> Error {
    let kind = match &error {
        KafkaError::ClientConfig(..) | KafkaError::ClientCreation(_) | KafkaError::Nul(_) => ErrorKind::InvalidInput,
        other => other.rdkafka_error_code().map_or(ErrorKind::Other, kind_of),
    };
    Error::new(kind, operation, subject).with_source(error)
}

/// The kind of an error code (Kafka protocol guide, "Error Codes"; the local ones librdkafka's `rdkafka.h`).
pub(crate) fn kind_of(code: Code) -> ErrorKind {
    match code {
        Code::MessageSizeTooLarge | Code::InvalidMessageSize => ErrorKind::TooLarge,
        Code::UnknownTopicOrPartition | Code::UnknownTopic | Code::UnknownPartition => ErrorKind::NotFound,
        Code::TopicAuthorizationFailed
        | Code::GroupAuthorizationFailed
        | Code::ClusterAuthorizationFailed
        | Code::SaslAuthenticationFailed
        | Code::Authentication
        | Code::UnsupportedSASLMechanism
        | Code::IllegalSASLState => ErrorKind::Unauthorized,
        Code::InvalidTopic | Code::InvalidArgument | Code::InvalidMessage | Code::InvalidRecord => {
            ErrorKind::InvalidInput
        }
        Code::ThrottlingQuotaExceeded | Code::QueueFull => ErrorKind::Throttled,
        // Whether the broker has them nobody can say.
        Code::MessageTimedOut
        | Code::PurgeInflight
        | Code::PurgeQueue
        | Code::OperationTimedOut
        | Code::RequestTimedOut
        | Code::GaplessGuarantee
        | Code::Fatal
        | Code::OutOfOrderSequenceNumber
        | Code::UnknownProducerId
        | Code::InvalidProducerEpoch => ErrorKind::OutcomeUnknown,
        Code::UnsupportedVersion | Code::UnsupportedFeature | Code::NotImplemented => ErrorKind::Unsupported,
        // Whatever else there is comes from the connection or from a cluster that is moving leaders.
        _ => ErrorKind::Unavailable,
    }
}

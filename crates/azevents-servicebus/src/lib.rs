//! Azure Service Bus over AMQP 1.0: a client, and the azevents
//! [`Publisher`](azevents_core::Publisher) and [`Consumer`](azevents_core::Consumer) on it.
//!
//! The names follow the official Azure SDKs: a [`ServiceBusClient`] makes [`Sender`]s, [`Receiver`]s and
//! [`SessionReceiver`]s, which share its connection. Everything opens itself on first use and again after
//! a loss.
//!
//! | module | what lives there |
//! | --- | --- |
//! | [`client`], [`connection_string`], `credential` | whom to talk to, and as whom |
//! | [`message`] | what is sent and received |
//! | [`sender`], [`receiver`], [`session`] | sending and receiving |
//! | [`transaction`], [`rule`] | all or nothing; what a subscription takes |
//! | `management` | locks, scheduling, peeking, session state, rules |
//! | [`error`], [`retry`] | what can go wrong, and trying again |
//! | [`processor`] | a handler with locks kept, settling and recovery around it |
//! | [`administration`] | queues, topics, subscriptions and rules: create, change, list, count |
//! | [`redrive`] | dead letters: list, send again, purge |
//! | [`telemetry`] | what OpenTelemetry sees of it, where the feature `opentelemetry` is on |
//! | [`publisher`], [`consumer`] | the engine's traits on all this |
//! | `amqp` | connection, tokens, links: everything that knows `fe2o3-amqp` |

pub mod administration;
mod amqp;
pub mod client;
pub mod connection_string;
pub mod consumer;
mod convert;
mod credential;
pub mod error;
mod management;
pub mod message;
pub mod processor;
pub mod publisher;
pub mod receiver;
pub mod redrive;
pub mod retry;
pub mod rule;
pub mod sender;
pub mod session;
pub mod telemetry;
pub mod transaction;

pub use administration::ServiceBusAdministrationClient;
pub use client::{
    ClientOptions, Proxy, ServiceBusClient, TransportType, dead_letter_queue, subscription, transfer_dead_letter_queue,
};
pub use connection_string::ConnectionString;
pub use consumer::{ConsumerOptions, DelayedRetry, ServiceBusConsumer, SessionConsumer, SessionConsumerOptions};
pub use error::{Error, ErrorKind};
pub use message::{
    AmqpBody, AmqpValue, MessageBatch, MessageState, Properties, PropertyValue, ReceivedMessage, ServiceBusMessage,
};
pub use processor::{
    BoxError, ErrorSource, HeldMessage, MessageHandler, Prefetch, ProcessorControl, ProcessorError, ProcessorOptions,
    ServiceBusProcessor, ServiceBusSessionProcessor, SessionProcessorOptions,
};
pub use publisher::{ServiceBusDeadLetters, ServiceBusPublisher};
pub use receiver::{ReceiveMode, Receiver, ReceiverOptions, Settlement};
pub use redrive::{DeadLetterFilter, DeadLetters, RedriveOptions, RedriveReport, RedriveTarget};
pub use retry::{RetryMode, RetryOptions};
pub use rule::{CorrelationFilter, Rule, RuleFilter, RuleManager};
pub use sender::{Sender, SenderOptions};
pub use session::{SessionReceiver, SessionReceiverOptions};
pub use transaction::Transaction;

//! Settling a message: over its link while that lives, else through `$management`.

use fe2o3_amqp::types::messaging::{Accepted, DeliveryState, Modified, Outcome, Rejected, Released};
use tokio::sync::oneshot;
use uuid::Uuid;

use super::attached::{dead_letter_error, fields};
use super::link::Settle;
use super::{Core, Origin};
use crate::amqp::conditions::{self, DEAD_LETTER};
use crate::amqp::transactions::Enlisted;
use crate::error::{Error, ErrorKind, Result};
use crate::management::DispositionStatus;
use crate::message::{Properties, ReceivedMessage};

/// The most characters that the service takes for a dead-letter reason or description.
const MAX_REASON: usize = 4096;

/// How a broker answers a disposition that came after it had detached the link: the lock is still there.
const ILLEGAL_STATE: &str = "amqp:illegal-state";

/// What becomes of a message.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Settlement {
    /// It is done and gone.
    Complete,
    /// It is available again at once, with a higher delivery count.
    Abandon,
    /// It stays, to be received by its sequence number only.
    Defer,
    /// It goes to the dead-letter queue.
    DeadLetter {
        /// Why, in a word.
        reason: String,
        /// Why, in a sentence.
        description: String,
    },
}

impl Settlement {
    /// Dead-lettering with a reason and a description, each cut at 4096 characters.
    pub fn dead_letter(reason: &str, description: &str) -> Self {
        let cut = |text: &str| text.chars().take(MAX_REASON).collect();
        Self::DeadLetter {
            reason: cut(reason),
            description: cut(description),
        }
    }

    fn operation(&self) -> &'static str {
        match self {
            Self::Complete => "complete",
            Self::Abandon => "abandon",
            Self::Defer => "defer",
            Self::DeadLetter { .. } => "dead-letter",
        }
    }

    /// The outcome that says this on a link (Azure Service Bus AMQP protocol guide, "Settlement").
    fn outcome(&self, properties: &Properties) -> Outcome {
        let modified = |undeliverable_here| Modified {
            delivery_failed: None,
            undeliverable_here: Some(undeliverable_here),
            // Application properties, in spite of the field's name.
            message_annotations: (!properties.is_empty()).then(|| fields(properties)),
        };
        match self {
            Self::Complete => Accepted {}.into(),
            Self::Abandon => modified(false).into(),
            Self::Defer => modified(true).into(),
            Self::DeadLetter { reason, description } => Rejected {
                error: Some(dead_letter_error(reason, description, properties)),
            }
            .into(),
        }
    }

    fn status(&self) -> (DispositionStatus, Option<(&str, &str)>) {
        match self {
            Self::Complete => (DispositionStatus::Completed, None),
            Self::Abandon => (DispositionStatus::Abandoned, None),
            Self::Defer => (DispositionStatus::Deferred, None),
            Self::DeadLetter { reason, description } => (
                DispositionStatus::Suspended,
                Some((reason.as_str(), description.as_str())),
            ),
        }
    }
}

impl Core {
    pub(crate) async fn settle(
        &self,
        message: &ReceivedMessage,
        settlement: &Settlement,
        properties: &Properties,
    ) -> Result<()> {
        let token = self.lock_token(message, settlement.operation())?;
        let settled = async {
            let result = match &message.origin {
                Some(origin) => self.settle_received(origin, token, settlement, properties).await,
                // Received by sequence number: there never was a link.
                None => Box::pin(self.settle_by_token(token, settlement, properties)).await,
            };
            result.map_err(|error| error.during(settlement.operation(), &self.entity))
        };
        let settling = self.client.observer.settling(settlement, &self.entity, message);
        settling.watch(settled).await
    }

    /// Settles a message with a transaction. It is not marked as settled, since a rollback leaves it locked
    /// and to be settled some other way.
    pub(crate) async fn settle_enlisted(
        &self,
        message: &ReceivedMessage,
        settlement: &Settlement,
        properties: &Properties,
        transaction: &Enlisted,
    ) -> Result<()> {
        self.lock_token(message, settlement.operation())?;
        let settled = async {
            let origin = message.origin.as_ref().ok_or_else(|| {
                let text = "a message that was received by its number cannot be settled in a transaction";
                Error::new(ErrorKind::InvalidArgument, text)
            })?;
            let lost = || Error::new(ErrorKind::MessageLockLost, "the link the message came over was lost");
            let Some(delivery) = origin.claim() else {
                let text = "the message was settled before; settle it without a transaction, or receive it again";
                return Err(Error::new(ErrorKind::InvalidArgument, text));
            };
            origin.leave_to_lock();
            let (reply, answer) = oneshot::channel();
            let settle = Settle {
                delivery,
                link: origin.link,
                outcome: settlement.outcome(properties),
                transaction: Some(transaction.clone()),
                reply,
            };
            self.settles.send(settle).await.map_err(|_| lost())?;
            match tokio::time::timeout(self.client.retry.try_timeout, answer).await {
                Ok(answer) => confirmed(answer.map_err(|_| lost())?),
                Err(_) => Err(Error::timeout("the broker did not confirm the settlement")),
            }
        };
        let settling = self.client.observer.settling(settlement, &self.entity, message);
        let settled = settling.watch(settled).await;
        settled.map_err(|error| error.during(settlement.operation(), &self.entity))
    }

    /// Gives a message back that nobody has looked at (AMQP 1.0 section 3.4.4: this is no failed delivery),
    /// without waiting for the outcome: at worst it stays locked until the lock expires.
    pub(crate) async fn release(&self, message: &ReceivedMessage) {
        let Some(origin) = &message.origin else { return };
        if let Ok(place) = self.settles.reserve().await
            && let Some(delivery) = origin.claim()
        {
            let (reply, _) = oneshot::channel();
            place.send(Settle {
                delivery,
                link: origin.link,
                outcome: Released {}.into(),
                transaction: None,
                reply,
            });
        }
    }

    pub(crate) fn lock_token(&self, message: &ReceivedMessage, operation: &'static str) -> Result<Uuid> {
        message.lock_token.ok_or_else(|| {
            Error::new(
                ErrorKind::InvalidArgument,
                "the message has no lock: it was peeked, or received and deleted",
            )
            .during(operation, &self.entity)
        })
    }

    async fn settle_received(
        &self,
        origin: &Origin,
        token: Uuid,
        settlement: &Settlement,
        properties: &Properties,
    ) -> Result<()> {
        if origin.is_left_to_lock() {
            return Box::pin(self.settle_by_token(token, settlement, properties)).await;
        }
        // A broken task means a broken link: the management node is still there.
        if let Ok(place) = self.settles.reserve().await {
            let Some(delivery) = origin.claim() else {
                return Err(Error::new(ErrorKind::MessageLockLost, "the message was settled before"));
            };
            let (reply, answer) = oneshot::channel();
            place.send(Settle {
                delivery,
                link: origin.link,
                outcome: settlement.outcome(properties),
                transaction: None,
                reply,
            });
            let answer = tokio::time::timeout(self.client.retry.try_timeout, answer).await;
            match answer {
                Ok(Ok(state)) => match confirmed(state) {
                    Err(error) if error.condition() == Some(ILLEGAL_STATE) => {}
                    result => return result,
                },
                // The link was lost before the answer came; whether it was taken is found out below.
                Ok(Err(_)) => {}
                Err(_) => {
                    origin.leave_to_lock();
                    return Err(Error::timeout("the broker did not confirm the settlement"));
                }
            }
        }
        if self.session.is_some() {
            // A session's lock lives and dies with its link, and covers all of its messages.
            return Err(session_lost());
        }
        // Boxed, as it is large and rare.
        let result = Box::pin(self.settle_by_token(token, settlement, properties)).await;
        if result.as_ref().is_err_and(Error::is_transient) {
            origin.leave_to_lock();
        }
        result
    }

    async fn settle_by_token(&self, token: Uuid, settlement: &Settlement, properties: &Properties) -> Result<()> {
        let session = self.held_session();
        if session.is_some() && self.ended().is_cancelled() {
            return Err(session_lost());
        }
        let (status, dead_letter) = settlement.status();
        self.management
            .update_disposition(token, status, dead_letter, properties, session)
            .await
    }
}

fn session_lost() -> Error {
    Error::new(ErrorKind::SessionLockLost, "the session's link was lost")
}

/// Whether the broker's outcome says that it did as it was told. A rejection is its way of refusing,
/// except that it answers a dead-lettering with a rejection too.
fn confirmed(state: Option<DeliveryState>) -> Result<()> {
    let rejected = match state {
        Some(DeliveryState::Rejected(rejected)) => rejected,
        // What would become of the message if the transaction were committed now.
        Some(DeliveryState::TransactionalState(state)) => match state.outcome {
            Some(Outcome::Rejected(rejected)) => rejected,
            _ => return Ok(()),
        },
        _ => return Ok(()),
    };
    let Some(error) = rejected.error else {
        return Ok(());
    };
    if conditions::condition_name(&error.condition) == DEAD_LETTER {
        return Ok(());
    }
    Err(conditions::from_amqp(&error))
}

#[cfg(test)]
mod tests {
    use super::*;
    use fe2o3_amqp::types::definitions::{self, ErrorCondition};
    use fe2o3_amqp::types::primitives::Symbol;

    #[test]
    fn dead_letter_texts_are_cut_at_what_the_service_takes() {
        let Settlement::DeadLetter { reason, description } = Settlement::dead_letter("R", &"é".repeat(5000)) else {
            panic!("not a dead letter")
        };
        assert_eq!((reason.as_str(), description.chars().count()), ("R", MAX_REASON));
    }

    #[test]
    fn a_rejection_other_than_our_own_dead_lettering_is_an_error() {
        let rejected = |condition: &str| {
            let error = definitions::Error::new(ErrorCondition::Custom(Symbol::from(condition)), None, None);
            Some(DeliveryState::Rejected(Rejected { error: Some(error) }))
        };
        assert!(confirmed(rejected(DEAD_LETTER)).is_ok());
        let error = confirmed(rejected("com.microsoft:message-lock-lost")).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::MessageLockLost);
    }
}

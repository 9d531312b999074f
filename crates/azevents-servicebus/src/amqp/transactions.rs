//! Declaring and discharging transactions at the service's coordinator (AMQP 1.0 part 4), and what is done
//! within one.

use std::sync::Arc;
use std::time::Duration;

use fe2o3_amqp::link::DispositionError;
use fe2o3_amqp::transaction::{
    Controller, ControllerSendError, PostError, Transaction, TransactionBase, TransactionDischarge, TransactionPosting,
    TransactionRetirement,
};
use fe2o3_amqp::types::messaging::Rejected;
use fe2o3_amqp::types::primitives::Binary;
use tokio::sync::oneshot;
use uuid::Uuid;

use super::conditions;
use super::link::LinkSession;
use crate::error::{Error, ErrorKind, Result};

/// How long a rollback that nobody waits for may take. The service rolls back by itself after two minutes.
const ROLLBACK: Duration = Duration::from_secs(30);

/// The link to the coordinator, and the session it lives in. Shared by the transactions of one connection.
#[derive(Debug)]
pub(crate) struct Coordinator {
    controller: Controller,
    _session: LinkSession,
}

impl Coordinator {
    pub(crate) async fn open(mut session: LinkSession) -> Result<Arc<Self>> {
        let name = format!("coordinator-{}", Uuid::new_v4().simple());
        let controller = Controller::attach(&mut session.handle, name).await?;
        Ok(Arc::new(Self {
            controller,
            _session: session,
        }))
    }

    /// Begins a transaction. It belongs to a task of its own: discharging must not be cut short by a caller
    /// that goes away, and one that is let go is rolled back without blocking a thread.
    pub(crate) async fn declare(self: Arc<Self>) -> Result<Declared> {
        let (declared, id) = oneshot::channel();
        let (discharge, asked) = oneshot::channel::<Discharge>();
        tokio::spawn(async move {
            let transaction = match Transaction::declare(&self.controller, None).await {
                Ok(transaction) => transaction,
                Err(error) => return drop(declared.send(Err(Error::from(error)))),
            };
            // Whoever asked may have gone away; then nobody can ask for a discharge either.
            let _ = declared.send(Ok(Enlisted(transaction.txn_id().clone())));
            match asked.await {
                Ok(Discharge::Commit(reply)) => {
                    drop(reply.send(transaction.commit().await.map_err(Error::from)));
                }
                Ok(Discharge::Rollback(reply)) => {
                    drop(reply.send(transaction.rollback().await.map_err(Error::from)));
                }
                Err(_) => {
                    let rolled_back = tokio::time::timeout(ROLLBACK, transaction.rollback()).await;
                    let done = matches!(rolled_back, Ok(Ok(())));
                    tracing::debug!(done, "rolled back a transaction that was let go");
                }
            }
        });
        let gone = || Error::new(ErrorKind::Closed, "the runtime is shutting down");
        let enlisted = id.await.map_err(|_| gone())??;
        Ok(Declared { enlisted, discharge })
    }
}

/// A transaction that has begun. Dropping it rolls it back.
#[derive(Debug)]
pub(crate) struct Declared {
    pub(crate) enlisted: Enlisted,
    discharge: oneshot::Sender<Discharge>,
}

#[derive(Debug)]
enum Discharge {
    Commit(oneshot::Sender<Result<()>>),
    Rollback(oneshot::Sender<Result<()>>),
}

impl Declared {
    pub(crate) async fn commit(self) -> Result<()> {
        self.discharge(Discharge::Commit).await
    }

    pub(crate) async fn rollback(self) -> Result<()> {
        self.discharge(Discharge::Rollback).await
    }

    async fn discharge(self, how: impl FnOnce(oneshot::Sender<Result<()>>) -> Discharge) -> Result<()> {
        let (reply, answer) = oneshot::channel();
        let gone = || Error::new(ErrorKind::Closed, "the runtime is shutting down");
        self.discharge.send(how(reply)).map_err(|_| gone())?;
        answer.await.map_err(|_| gone())?
    }
}

/// The id of a transaction, with which transfers and dispositions take part in it.
#[derive(Debug, Clone)]
pub(crate) struct Enlisted(Binary);

impl TransactionBase for Enlisted {
    fn txn_id(&self) -> &Binary {
        &self.0
    }
}

impl TransactionPosting for Enlisted {}

impl TransactionRetirement for Enlisted {
    type RetireError = DispositionError;
}

impl From<ControllerSendError> for Error {
    fn from(error: ControllerSendError) -> Self {
        match error {
            ControllerSendError::LinkStateError(error) => error.into(),
            ControllerSendError::Detached(error) => error.into(),
            ControllerSendError::Rejected(Rejected { error: Some(error) }) => conditions::from_amqp(&error),
            error => Self::new(ErrorKind::TransactionFailed, "the coordinator refused").with_source(error),
        }
    }
}

impl From<PostError> for Error {
    fn from(error: PostError) -> Self {
        match error {
            PostError::LinkStateError(error) => error.into(),
            PostError::Detached(error) => error.into(),
            PostError::MessageSizeExceeded(error) => fe2o3_amqp::link::SendError::MessageSizeExceeded(error).into(),
            // A rejection outside of the transaction, whose reason `fe2o3-amqp` does not pass on.
            PostError::IllegalDeliveryState => {
                Self::new(ErrorKind::TransactionFailed, "the message was refused").with_source(error)
            }
            other => Self::new(ErrorKind::Other, "the message could not be sent").with_source(other),
        }
    }
}

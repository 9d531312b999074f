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
use tokio_util::sync::{CancellationToken, DropGuard};
use uuid::Uuid;

use super::conditions;
use super::link::LinkSession;
use crate::error::{Error, ErrorKind, Result};

/// How long a rollback that nobody waits for may take. The service rolls back by itself after two minutes.
const ROLLBACK: Duration = Duration::from_secs(30);

/// The link to the coordinator, in a session of its own. Shared by the transactions of one connection.
#[derive(Debug)]
pub(crate) struct Coordinator {
    controller: Controller,
    /// Cancelled when link, session or connection have gone: `fe2o3-amqp` would have those wait for ever
    /// who wait for the coordinator's answer.
    lost: CancellationToken,
    /// Ends the session.
    _done: DropGuard,
}

impl Coordinator {
    pub(crate) async fn open(mut session: LinkSession) -> Result<Arc<Self>> {
        let name = format!("coordinator-{}", Uuid::new_v4().simple());
        let link = session.settlements.register(&name);
        let controller = Controller::attach(&mut session.handle, name).await?;
        let (lost, done) = (CancellationToken::new(), CancellationToken::new());
        let coordinator = Self {
            controller,
            lost: lost.clone(),
            _done: done.clone().drop_guard(),
        };
        tokio::spawn(async move {
            tokio::select! {
                _ = session.handle.on_end() => {}
                () = link.detached() => {}
                () = done.cancelled() => {}
            }
            lost.cancel();
        });
        Ok(Arc::new(coordinator))
    }

    /// An answer of the coordinator's, unless it is lost first.
    async fn answer<T, E>(&self, answer: impl Future<Output = Result<T, E>>) -> Result<T>
    where
        Error: From<E>,
    {
        tokio::select! {
            biased;
            answer = answer => answer.map_err(Error::from),
            () = self.lost.cancelled() => {
                Err(Error::new(ErrorKind::LinkLost, "the link to the coordinator of transactions was lost"))
            }
        }
    }

    /// Begins a transaction. It belongs to a task of its own: discharging must not be cut short by a caller
    /// that goes away, and one that is let go is rolled back without blocking a thread.
    pub(crate) async fn declare(self: Arc<Self>) -> Result<Declared> {
        let (declared, id) = oneshot::channel();
        let (discharge, asked) = oneshot::channel::<Discharge>();
        tokio::spawn(async move {
            let mut transaction = match self.answer(Transaction::declare(&self.controller, None)).await {
                Ok(transaction) => transaction,
                Err(error) => return drop(declared.send(Err(error))),
            };
            // Dropped without an answer it would try again, and block the thread meanwhile.
            transaction.set_rollback_on_drop_trials(0);
            // Whoever asked may have gone away; then nobody can ask for a discharge either.
            let _ = declared.send(Ok(Enlisted(transaction.txn_id().clone())));
            match asked.await {
                Ok(Discharge::Commit(reply)) => drop(reply.send(self.answer(transaction.commit()).await)),
                Ok(Discharge::Rollback(reply)) => drop(reply.send(self.answer(transaction.rollback()).await)),
                Err(_) => {
                    let rolled_back = tokio::time::timeout(ROLLBACK, self.answer(transaction.rollback())).await;
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

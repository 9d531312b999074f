//! Attaching and closing links.
//!
//! Every link has an AMQP session of its own, as in the official clients: an error that ends a session
//! (and `fe2o3-amqp` ends it when a transfer arrives for a link that was just dropped) takes only that
//! link along, and delivery ids are counted per link.

use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use fe2o3_amqp::session::SessionHandle;
use fe2o3_amqp::{Receiver, Sender};

use super::settlements::Settlements;
use crate::error::Result;

/// How long a polite goodbye may take; after it the session is just dropped.
const GOODBYE: Duration = Duration::from_secs(5);

/// A session for one link, on the shared connection.
#[derive(Debug)]
pub(crate) struct LinkSession {
    pub(crate) handle: SessionHandle<()>,
    pub(crate) settlements: Arc<Settlements>,
}

/// Runs `future` to its end, also when the caller goes away in between.
///
/// `fe2o3-amqp` must not be left in the middle of opening something: the peer's answer then finds nobody,
/// and the whole connection is closed with `amqp:not-found`.
pub(crate) async fn to_its_end<T: Send + 'static>(
    future: impl Future<Output = Result<T>> + Send + 'static,
) -> Result<T> {
    match tokio::spawn(future).await {
        Ok(result) => result,
        Err(panic) => std::panic::resume_unwind(panic.into_panic()),
    }
}

/// Closes what is left of a link and its session, and gives up after a while: the peer may be gone.
pub(crate) async fn close(mut session: LinkSession, sender: Option<Sender>, receiver: Option<Receiver>) {
    let goodbye = async {
        if let Some(sender) = sender {
            let _ = sender.close().await;
        }
        if let Some(receiver) = receiver {
            let _ = receiver.close().await;
        }
        let _ = session.handle.end().await;
    };
    if tokio::time::timeout(GOODBYE, goodbye).await.is_err() {
        tracing::debug!("the peer did not answer a closing link");
    }
}

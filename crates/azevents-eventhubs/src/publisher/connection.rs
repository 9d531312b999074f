//! A connection that several lanes share, opened when it is needed and again when it broke.

use std::fmt;
use std::sync::Arc;

use azevents_core::Result;
use azure_messaging_eventhubs::ProducerClient;
use tokio::sync::Mutex;

use super::Target;

/// One client of the SDK at a time. To be used on the SDK's runtime.
pub(super) struct Connection {
    target: Arc<Target>,
    /// `None` before the first send and after an error: the SDK's client is not told apart from a broken
    /// one, a new one is.
    client: Mutex<Option<Arc<ProducerClient>>>,
}

impl Connection {
    pub(super) fn new(target: Arc<Target>) -> Arc<Self> {
        Arc::new(Self {
            target,
            client: Mutex::new(None),
        })
    }

    /// The open client, or a new one. Whoever comes while it is being opened waits for it.
    pub(super) async fn client(&self) -> Result<Arc<ProducerClient>> {
        let mut client = self.client.lock().await;
        if let Some(open) = &*client {
            return Ok(open.clone());
        }
        let open = Arc::new(self.target.hubs.open_producer(&self.target.hub).await?);
        *client = Some(open.clone());
        Ok(open)
    }

    /// Replaces a client that failed at the next use. Lanes that are sending on it end their sends; the
    /// last of them closes it.
    pub(super) async fn broken(&self, failed: &Arc<ProducerClient>) {
        let mut client = self.client.lock().await;
        if client.as_ref().is_some_and(|open| Arc::ptr_eq(open, failed)) {
            *client = None;
        }
    }

    /// Closes the client, where nobody is using it.
    pub(super) async fn close(&self) {
        let client = self.client.lock().await.take();
        if let Some(Ok(client)) = client.map(Arc::try_unwrap) {
            // Everything was acknowledged before; dropping does the rest where the answer is missing.
            let closing = client.close();
            if let Ok(Err(error)) = tokio::time::timeout(self.target.options.send_timeout, closing).await {
                tracing::debug!(hub = %self.target.hub, %error, "connection did not close in order");
            }
        }
    }
}

impl fmt::Debug for Connection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Connection")
            .field("target", &self.target)
            .finish_non_exhaustive()
    }
}

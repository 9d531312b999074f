//! What a caller holds of messages that were accepted and not yet acknowledged.

use std::sync::Arc;

use azevents_core::PublishError;

use super::call::Call;

/// Stands for the messages of one [`enqueue`](super::EventHubPublisher::enqueue). Dropping it changes nothing:
/// they are sent all the same.
#[derive(Debug)]
pub struct Receipt {
    call: Arc<Call>,
    hub: Arc<str>,
}

impl Receipt {
    pub(super) fn new(call: Arc<Call>, hub: Arc<str>) -> Self {
        Self { call, hub }
    }

    /// Waits until the service has acknowledged every message, or until it is known that some will not be.
    ///
    /// # Errors
    /// As [`Publisher::publish`](azevents_core::Publisher::publish) promises them.
    pub async fn acknowledged(self) -> Result<(), PublishError> {
        self.call.done().await;
        self.call.result(&self.hub)
    }
}

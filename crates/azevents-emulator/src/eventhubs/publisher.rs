//! Links of publishers.

use std::sync::Arc;

use super::{event::Publication, hub::Hub, partition::Partition, throughput::Throughput};
use crate::{
    FaultKind, Faults,
    amqp::{IncomingDelivery, IncomingHandler, Responder, error},
};

/// Appends what comes to a hub, or to one partition of it.
pub(super) struct Publisher {
    pub(super) hub: Arc<Hub>,
    pub(super) partition: Option<Arc<Partition>>,
    pub(super) throughput: Option<Arc<Throughput>>,
    pub(super) faults: Faults,
}

impl IncomingHandler for Publisher {
    fn deliver(&self, delivery: IncomingDelivery, responder: Responder) {
        if self.faults.decide(FaultKind::ServerBusy) {
            return responder.reject(error::server_busy("Busy, by an injected fault."));
        }
        match Publication::read(&delivery) {
            Err(error) => responder.reject(error),
            Ok(Publication { key, events }) => {
                let partition = match &self.partition {
                    Some(partition) => partition,
                    None => self.hub.partition_for(key.as_deref()),
                };
                if let Some(throughput) = &self.throughput
                    && let Err(busy) = throughput.admit(delivery.message.len(), events.len())
                {
                    return responder.reject(busy);
                }
                partition.append(events, move |written| match written {
                    Ok(()) => responder.accept(),
                    Err(error) => responder.reject(error::internal(error.to_string())),
                });
            }
        }
    }
}

//! Links of publishers, and who they are where they number their events.

use std::sync::Arc;

use fe2o3_amqp_types::definitions::Fields;
use serde_amqp::{Value, primitives::Symbol};

use super::{
    event::{self, Publication},
    hub::Hub,
    partition::Partition,
    producers::{self, Identity, Wanted},
    throughput::Throughput,
};
use crate::{
    FaultKind, Faults,
    amqp::{
        IncomingDelivery, IncomingHandler, Responder,
        error::{self, Error},
    },
};

/// Appends what comes to a hub, or to one partition of it.
pub(super) struct Publisher {
    pub(super) hub: Arc<Hub>,
    pub(super) partition: Option<Arc<Partition>>,
    /// Of a publisher that is idempotent.
    pub(super) identity: Option<Identity>,
    pub(super) throughput: Option<Arc<Throughput>>,
    pub(super) faults: Faults,
}

impl IncomingHandler for Publisher {
    fn deliver(&self, delivery: IncomingDelivery, responder: Responder) {
        if self.faults.decide(FaultKind::ServerBusy) {
            return responder.reject(error::server_busy("Busy, by an injected fault."));
        }
        let publication = Publication::read(&delivery).and_then(|publication| {
            let numbers = match &self.identity {
                Some(identity) => publication.numbers(identity)?.map(|numbers| (*identity, numbers)),
                None => None,
            };
            Ok((publication, numbers))
        });
        match publication {
            Err(error) => responder.reject(error),
            Ok((Publication { key, events }, numbers)) => {
                let partition = match &self.partition {
                    Some(partition) => partition,
                    None => self.hub.partition_for(key.as_deref()),
                };
                if let Some(throughput) = &self.throughput
                    && let Err(busy) = throughput.admit(delivery.message.len(), events.len())
                {
                    return responder.reject(busy);
                }
                partition.append(events, numbers, move |written| match written {
                    Ok(()) => responder.accept(),
                    Err(error) => responder.reject(error),
                });
            }
        }
    }
}

/// Who a publisher wants to be, out of the properties of its link.
pub(super) fn wanted(properties: &Fields) -> Result<Wanted, Error> {
    fn of<T: TryFrom<i64>>(properties: &Fields, name: &str) -> Result<Option<T>, Error> {
        match properties.get(&Symbol::from(name)) {
            None | Some(Value::Null) => Ok(None),
            Some(value) => (event::integer(value).and_then(|number| T::try_from(number).ok()))
                .map(Some)
                .ok_or_else(|| {
                    error::custom(
                        "amqp:invalid-field",
                        format!("The link property {name} must be an integer in its range."),
                    )
                }),
        }
    }
    Ok(Wanted {
        id: of(properties, producers::ID)?,
        epoch: of(properties, producers::EPOCH)?,
        after: of(properties, producers::SEQUENCE)?,
    })
}

/// What a publisher is told of who it is.
pub(super) fn properties(identity: &Identity) -> Fields {
    let mut properties = Fields::default();
    properties.insert(Symbol::from(producers::ID), Value::Long(identity.id));
    properties.insert(Symbol::from(producers::EPOCH), Value::Short(identity.epoch));
    properties.insert(Symbol::from(producers::SEQUENCE), Value::Int(identity.after));
    properties
}

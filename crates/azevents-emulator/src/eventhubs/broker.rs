//! The namespace: hubs by name, and who gets which link.

use std::{
    collections::BTreeMap,
    sync::{Arc, PoisonError, RwLock},
};

use async_trait::async_trait;
use fe2o3_amqp_types::definitions::SenderSettleMode;
use serde_amqp::Value;

use super::{
    address::Address, hub::Hub, management::Management, position::Position, publisher::Publisher, reader::Reader,
};
use crate::{
    EventHub, Faults,
    amqp::{
        AttachRequest, Attached, Credential, Direction, Grant, LinkReply, RequestHandler, Service, SharedAccessKey,
        error::{self, Error},
    },
    clock::Clock,
};

/// Publications a publisher may have unanswered; the service gives 300.
const PUBLISHER_CREDIT: u32 = 300;

/// Bytes kept per partition before the oldest events go.
const DEFAULT_RETENTION: usize = 256 * 1024 * 1024;

/// Link property with a reader's epoch.
const EPOCH: &str = "com.microsoft:epoch";

/// An Event Hubs namespace, served by a [`Listener`](crate::amqp::Listener).
#[derive(Debug)]
pub(crate) struct EventHubs {
    hubs: Arc<Hubs>,
    key: SharedAccessKey,
    faults: Faults,
}

impl EventHubs {
    /// An empty namespace with one key.
    pub(crate) fn new(key: SharedAccessKey, clock: Clock, faults: Faults) -> Self {
        Self {
            hubs: Arc::new(Hubs {
                by_name: RwLock::default(),
                retention: DEFAULT_RETENTION,
                clock,
            }),
            key,
            faults,
        }
    }

    /// Creates a hub at any time. `false` if there is one of this name already: it stays as it
    /// is, with its events.
    pub(crate) fn create(&self, config: &EventHub) -> bool {
        self.hubs.create(config)
    }
}

/// The hubs of a namespace by their names in lower case.
#[derive(Debug)]
pub(super) struct Hubs {
    by_name: RwLock<BTreeMap<String, Arc<Hub>>>,
    retention: usize,
    clock: Clock,
}

impl Hubs {
    fn create(&self, config: &EventHub) -> bool {
        let mut hubs = self.by_name.write().unwrap_or_else(PoisonError::into_inner);
        let mut created = false;
        hubs.entry(config.name.to_lowercase()).or_insert_with(|| {
            created = true;
            Arc::new(Hub::new(config, self.retention, &self.clock))
        });
        created
    }

    pub(super) fn get(&self, name: &str) -> Result<Arc<Hub>, Error> {
        let hubs = self.by_name.read().unwrap_or_else(PoisonError::into_inner);
        if let Some(hub) = hubs.get(&name.to_lowercase()) {
            return Ok(Arc::clone(hub));
        }
        let known: Vec<&str> = hubs.values().map(|hub| hub.name.as_str()).collect();
        Err(error::not_found(format!(
            "There is no event hub '{name}' in this namespace; it has {}.",
            if known.is_empty() {
                "none".to_owned()
            } else {
                known.join(", ")
            }
        )))
    }
}

#[async_trait]
impl Service for EventHubs {
    fn authorize(&self, credential: &Credential) -> Result<Grant, Error> {
        self.key.verify(credential)
    }

    fn request_node(&self, address: &str) -> Result<Option<Arc<dyn RequestHandler>>, Error> {
        // Clients write `$management` or `<hub>/$management`; the request names the hub.
        let management = address
            .rsplit('/')
            .next()
            .is_some_and(|last| last.eq_ignore_ascii_case("$management"));
        Ok(management.then(|| {
            Arc::new(Management {
                hubs: Arc::clone(&self.hubs),
            }) as Arc<dyn RequestHandler>
        }))
    }

    async fn attach(&self, request: AttachRequest) -> Result<Attached, Error> {
        let wrong_way = |what: &str| error::not_allowed(format!("'{}' can't be {what}.", request.address));
        match (Address::parse(&request.address), request.direction) {
            (Some(Address::Hub(hub)), Direction::Incoming) => Ok(self.publisher(self.hubs.get(hub)?, None)?),
            (Some(Address::Partition { hub, partition }), Direction::Incoming) => {
                Ok(self.publisher(self.hubs.get(hub)?, Some(partition))?)
            }
            (Some(Address::Group { hub, group, partition }), Direction::Outgoing) => {
                let hub = self.hubs.get(hub)?;
                self.reader(&hub, group, partition, &request)
            }
            (Some(Address::Group { .. }), Direction::Incoming) => Err(wrong_way("sent to")),
            (Some(_), Direction::Outgoing) => Err(wrong_way("read; read <hub>/ConsumerGroups/<group>/Partitions/<id>")),
            (None, _) => Err(error::not_found(format!(
                "'{}' is not an address of Event Hubs.",
                request.address
            ))),
        }
    }
}

impl EventHubs {
    fn publisher(&self, hub: Arc<Hub>, partition: Option<&str>) -> Result<Attached, Error> {
        let partition = partition.map(|id| hub.partition(id).map(Arc::clone)).transpose()?;
        Ok(Attached::Incoming {
            reply: LinkReply::default(),
            handler: Arc::new(Publisher {
                hub,
                partition,
                faults: self.faults.clone(),
            }),
            credit: PUBLISHER_CREDIT,
        })
    }

    fn reader(&self, hub: &Hub, group: &str, partition: &str, request: &AttachRequest) -> Result<Attached, Error> {
        let group = hub.group(group)?;
        let partition = hub.partition(partition)?;
        let position = Position::of(request.source.as_ref())?;
        let epoch = match request.properties.get(EPOCH) {
            None | Some(Value::Null) => None,
            Some(Value::Long(epoch)) => Some(*epoch),
            Some(Value::Int(epoch)) => Some(i64::from(*epoch)),
            Some(_) => {
                return Err(error::custom(
                    "amqp:invalid-field",
                    format!("The link property {EPOCH} must be a long."),
                ));
            }
        };
        let registration = partition.register(&group, epoch, request.control.clone())?;
        let reader = Reader {
            next: partition.find(position),
            partition: Arc::clone(partition),
            registration,
            settled: request.snd_settle_mode != SenderSettleMode::Unsettled,
            faults: self.faults.clone(),
        };
        Ok(Attached::outgoing(LinkReply::default(), move |sender, events| {
            reader.run(sender, events)
        }))
    }
}

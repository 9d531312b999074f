//! The namespace: hubs by name, and who gets which link.

use std::{
    collections::BTreeMap,
    sync::{Arc, PoisonError, RwLock},
};

use async_trait::async_trait;
use fe2o3_amqp_types::definitions::SenderSettleMode;
use serde_amqp::Value;
use time::OffsetDateTime;

use super::{
    address::Address,
    hub::Hub,
    management::Management,
    position::Position,
    producers,
    publisher::{self, Publisher},
    reader::Reader,
    records, refusal, runtime_metrics,
    throughput::Throughput,
};
use crate::{
    EventHub, Faults,
    amqp::{
        AttachRequest, Attached, Credential, Direction, Grant, LinkReply, RequestHandler, Rights, Service,
        SharedAccessKey,
        error::{self, Error},
    },
    clock::Clock,
    state::{DataError, Folder, Journal, Sink},
};

/// Publications a publisher may have unanswered; the service gives 300.
const PUBLISHER_CREDIT: u32 = 300;

/// Link property with a reader's epoch.
const EPOCH: &str = "com.microsoft:epoch";

/// Link property with a reader's name, which the others hear of.
const RECEIVER_NAME: &str = "com.microsoft:receiver-name";

/// An Event Hubs namespace, served by a [`Listener`](crate::amqp::Listener).
#[derive(Debug)]
pub(crate) struct EventHubs {
    hubs: Arc<Hubs>,
    key: SharedAccessKey,
    throughput: Option<Arc<Throughput>>,
    faults: Faults,
}

impl EventHubs {
    /// A namespace with one key, and with what is kept in the folder.
    pub(crate) fn open(
        key: SharedAccessKey,
        throughput_units: Option<u32>,
        clock: Clock,
        faults: Faults,
        folder: Option<&Folder>,
    ) -> Result<Self, DataError> {
        let hubs = Arc::new(Hubs {
            by_name: RwLock::default(),
            clock,
            journal: Journal::default(),
        });
        if let Some(folder) = folder {
            let recovered = folder.recover("eventhubs", |record| records::replay(&hubs, record))?;
            let state = Arc::downgrade(&hubs);
            let snapshot = move |sink: &mut Sink| {
                if let Some(hubs) = state.upgrade() {
                    records::snapshot(&hubs, sink);
                } else {
                    sink.give_up();
                }
            };
            recovered.start(&hubs.journal, Box::new(snapshot))?;
        }
        Ok(Self {
            hubs,
            key,
            throughput: throughput_units.map(|units| Arc::new(Throughput::new(units))),
            faults,
        })
    }

    /// Creates a hub at any time. `false` if there is one of this name already: it keeps its
    /// settings and its events, and gets the consumer groups it doesn't have yet.
    pub(crate) fn create(&self, config: &EventHub) -> bool {
        self.hubs.create(config)
    }

    /// What is kept, if anything is.
    pub(crate) fn journal(&self) -> &Journal {
        &self.hubs.journal
    }
}

/// The hubs of a namespace by their names in lower case.
#[derive(Debug)]
pub(super) struct Hubs {
    by_name: RwLock<BTreeMap<String, Arc<Hub>>>,
    clock: Clock,
    journal: Journal,
}

impl Hubs {
    fn create(&self, config: &EventHub) -> bool {
        let (hub, created) = self.ensure(config, self.clock.now_utc());
        let changed = !created && hub.add_groups(&config.consumer_groups);
        if created || changed {
            records::created(&self.journal, &hub);
        }
        created
    }

    /// Puts a hub back that was kept.
    pub(super) fn restore(&self, config: &EventHub, created_at: OffsetDateTime) {
        let (hub, _) = self.ensure(config, created_at);
        hub.add_groups(&config.consumer_groups);
    }

    /// The hub of this name, and whether it had to be created.
    fn ensure(&self, config: &EventHub, created_at: OffsetDateTime) -> (Arc<Hub>, bool) {
        let mut hubs = self.by_name.write().unwrap_or_else(PoisonError::into_inner);
        let mut created = false;
        let hub = hubs.entry(config.name.to_lowercase()).or_insert_with(|| {
            created = true;
            Arc::new(Hub::new(config, created_at, &self.clock, &self.journal))
        });
        (Arc::clone(hub), created)
    }

    pub(super) fn all(&self) -> Vec<Arc<Hub>> {
        let hubs = self.by_name.read().unwrap_or_else(PoisonError::into_inner);
        hubs.values().cloned().collect()
    }

    pub(super) fn get(&self, name: &str) -> Result<Arc<Hub>, Error> {
        let hubs = self.by_name.read().unwrap_or_else(PoisonError::into_inner);
        if let Some(hub) = hubs.get(&name.to_lowercase()) {
            return Ok(Arc::clone(hub));
        }
        let known: Vec<&str> = hubs.values().map(|hub| hub.name.as_str()).collect();
        Err(refusal::no_hub(name, &known))
    }
}

#[async_trait]
impl Service for EventHubs {
    fn authorize(&self, credential: &Credential) -> Result<Grant, Error> {
        self.key.verify(credential)
    }

    fn request_node(&self, address: &str, _rights: Rights) -> Result<Option<Arc<dyn RequestHandler>>, Error> {
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
            (Some(Address::Hub(hub)), Direction::Incoming) => self.publisher(self.hubs.get(hub)?, None, &request).await,
            (Some(Address::Partition { hub, partition }), Direction::Incoming) => {
                self.publisher(self.hubs.get(hub)?, Some(partition), &request).await
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
    async fn publisher(
        &self,
        hub: Arc<Hub>,
        partition: Option<&str>,
        request: &AttachRequest,
    ) -> Result<Attached, Error> {
        let partition = partition.map(|id| hub.partition(id).map(Arc::clone)).transpose()?;
        let identity = match (&partition, request.desires(producers::CAPABILITY)) {
            (_, false) => None,
            (Some(partition), true) => Some(partition.begin(publisher::wanted(&request.properties)?).await?),
            (None, true) => {
                return Err(error::not_allowed(format!(
                    "An idempotent producer publishes to one partition: {}/Partitions/<id>.",
                    hub.name
                )));
            }
        };
        let reply = LinkReply {
            offered_capabilities: identity.map(|_| producers::CAPABILITY).into_iter().collect(),
            properties: identity.as_ref().map(publisher::properties).unwrap_or_default(),
            ..LinkReply::default()
        };
        Ok(Attached::Incoming {
            reply,
            handler: Arc::new(Publisher {
                hub,
                partition,
                identity,
                throughput: self.throughput.clone(),
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
        // Before anybody is thrown out for it.
        let next = partition.find(position)?;
        let metrics = request.desires(runtime_metrics::CAPABILITY);
        let who = request.properties.get(RECEIVER_NAME).and_then(|name| match name {
            Value::String(name) => Some(name.as_str()),
            _ => None,
        });
        let registration = partition
            .readers
            .register(&group, epoch, who, request.control.clone())?;
        let reader = Reader {
            next,
            partition: Arc::clone(partition),
            registration,
            settled: request.snd_settle_mode != SenderSettleMode::Unsettled,
            metrics,
            throughput: self.throughput.clone(),
            faults: self.faults.clone(),
        };
        let reply = LinkReply {
            offered_capabilities: metrics.then_some(runtime_metrics::CAPABILITY).into_iter().collect(),
            ..LinkReply::default()
        };
        Ok(Attached::outgoing(reply, move |sender, events| {
            reader.run(sender, events)
        }))
    }
}

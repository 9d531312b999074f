//! The engine of `azevents`, which knows nothing of Azure.
//!
//! An event travels through these modules in this order:
//!
//! | module | what lives there |
//! | --- | --- |
//! | [`stream`], [`version`], [`event`] | what an event is and where it stands |
//! | [`aggregate`], [`snapshot`], [`state_cache`] | deciding which events happen, and not folding all of them each time |
//! | [`store`], [`category`], [`lifecycle`] | the [`EventStore`] trait: append and read; whole categories; how streams end |
//! | [`cost`] | what operations cost at a service |
//! | [`feed`] | every commit of a store, in order per stream |
//! | [`leasing`] | who reads which part of it, and how far everything is finished |
//! | [`relay`] | from the feed to a publisher, nothing lost |
//! | [`subscription`] | from the feed to a handler, without a broker |
//! | [`message`], [`publisher`] | what goes over the wire, and who sends it |
//! | [`cloud_events`] | messages as CloudEvents 1.0 |
//! | [`consumer`], [`pipeline`] | receiving, and what surrounds a handler |
//! | [`handler`], [`batch_handler`], [`retry`], [`dead_letter`] | the user's code, and what happens when it fails |
//! | [`parked`] | dead letters on their way back |
//! | [`failures`], [`circuit_breaker`] | what was tried; not trying while nothing can work |
//! | [`lanes`], [`gather`] | concurrency that keeps order; batches |
//! | [`inbox`], [`read_model`] | handling each message with one effect |
//! | `telemetry` | messages as OpenTelemetry sees them (feature `opentelemetry`) |
//! | [`memory`] | all of the above without a server: the reference for adapter authors |
//!
//! Adapters depend on this crate, it depends on none of them.

pub mod aggregate;
pub mod batch_handler;
pub mod category;
pub mod circuit_breaker;
pub mod cloud_events;
pub mod consumer;
pub mod cost;
pub mod dead_letter;
pub mod error;
pub mod event;
pub mod failures;
pub mod feed;
pub mod gather;
pub mod handler;
pub mod inbox;
pub mod lanes;
pub mod leasing;
pub mod lifecycle;
pub mod memory;
pub mod message;
pub mod nudge;
pub mod parked;
pub mod pipeline;
pub mod publisher;
pub mod read_model;
pub mod relay;
pub mod retry;
pub mod snapshot;
pub mod state_cache;
pub mod store;
pub mod stream;
pub mod subscription;
#[cfg(feature = "opentelemetry")]
pub mod telemetry;
pub mod version;

pub use aggregate::{Aggregate, Aggregates, Executed, Loaded};
pub use batch_handler::BatchHandler;
pub use category::{CategoryPage, CategoryReader};
pub use circuit_breaker::{CircuitBreaker, CircuitBreakerOptions, CircuitState};
pub use consumer::Consumer;
pub use cost::{Cost, CostMeter, CostObserver, CostOf};
pub use dead_letter::{DeadLetter, DeadLetterSink};
pub use error::{Error, ErrorKind, Result};
pub use event::{Commit, EventId, NewEvent, RecordedEvent};
pub use failures::Failures;
pub use feed::{Checkpoint, CommitFeed, Continuation, FeedPage, FeedRange, Lease, LeaseStore, ParkedStream, StartFrom};
pub use handler::{Delivery, Handled, Handler, HandlerError};
pub use inbox::{Begin, Idempotent, Inbox, InboxKey, InboxLease};
pub use lifecycle::{Closing, StreamLifecycle};
pub use message::Message;
pub use nudge::Nudge;
pub use parked::Parked;
pub use pipeline::{BatchLimits, BatchSettlement, Pipeline, Settlement, Stats};
pub use publisher::{PublishError, Publisher};
pub use read_model::{Change, Document, ReadModel, Update};
pub use relay::{ParkedKey, RangeLag, Relay, RelayOptions, Selection};
pub use retry::RetryPolicy;
pub use snapshot::{Snapshot, SnapshotPolicy, SnapshotStore};
pub use state_cache::StateCache;
pub use store::{AppendOutcome, Conflict, Direction, EventStore, ReadOptions};
pub use stream::StreamId;
pub use subscription::Subscription;
pub use version::{ExpectedVersion, StreamHead, Version};

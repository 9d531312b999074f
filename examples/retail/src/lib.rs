//! An online retailer on azevents.
//!
//! Every invoice is a stream of one [`Order`](order::Order). Relays publish every event to a Service Bus
//! topic and to an Event Hub; three [`consumers`] keep read models, and the [`report`] adds them up.
//!
//! | module | what lives there |
//! | --- | --- |
//! | [`cli`] | the command line |
//! | [`run`] | the whole system in one process, on an emulator of its own |
//! | [`process`] | its parts, each as a process of its own |
//! | [`input`], [`ingest`], [`rejects`] | from rows to events |
//! | [`order`] | the aggregate |
//! | [`relays`], [`consumers`] | from events to read models |
//! | [`report`], [`status`], [`timing`] | the figures at the end |
//! | [`settings`], [`services`], [`provision`] | where things are |
//! | [`faults`], [`supervise`] | a schedule of crashes, and living through it |

pub mod cli;
pub mod consumers;
pub mod faults;
pub mod ingest;
pub mod input;
pub mod order;
pub mod process;
pub mod progress;
pub mod provision;
pub mod rejects;
pub mod relays;
pub mod report;
pub mod run;
pub mod services;
pub mod settings;
pub mod status;
pub mod supervise;
pub mod timing;

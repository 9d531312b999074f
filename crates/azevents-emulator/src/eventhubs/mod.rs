//! Event Hubs: partitioned logs that many consumer groups read independently.
//!
//! | file | room |
//! | --- | --- |
//! | `broker` | the namespace: hubs by name, links to them |
//! | `address` | which hub, group and partition an address names |
//! | `hub`, `partition`, `log` | the logs and their retention |
//! | `readers` | who reads them: groups, epochs, stealing |
//! | `refusal` | why links are refused, in the service's words |
//! | `records` | what outlives the process |
//! | `throughput` | throughput units |
//! | `event` | what a publisher sent, and the annotations a reader gets |
//! | `producers` | idempotent publishers: what is stored once however often it comes |
//! | `partition_key` | which partition a key belongs to |
//! | `position` | where a reader wants to start |
//! | `publisher`, `reader` | the two kinds of link |
//! | `runtime_metrics` | the end of a partition, told with each event |
//! | `management` | the properties of hubs and partitions |

mod address;
mod broker;
mod event;
mod hub;
mod log;
mod management;
mod partition;
mod partition_key;
mod position;
mod producers;
mod publisher;
mod reader;
mod readers;
mod records;
mod refusal;
mod runtime_metrics;
mod throughput;

pub(crate) use broker::EventHubs;

//! Event Hubs: partitioned logs that many consumer groups read independently.
//!
//! | file | room |
//! | --- | --- |
//! | `broker` | the namespace: hubs by name, links to them |
//! | `address` | which hub, group and partition an address names |
//! | `hub`, `partition`, `log` | the logs and their retention |
//! | `readers` | who reads them: groups, epochs, stealing |
//! | `records` | what outlives the process |
//! | `throughput` | throughput units |
//! | `event` | what a publisher sent, and the annotations a reader gets |
//! | `partition_key` | which partition a key belongs to |
//! | `position` | where a reader wants to start |
//! | `publisher`, `reader` | the two kinds of link |
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
mod publisher;
mod reader;
mod readers;
mod records;
mod throughput;

pub(crate) use broker::EventHubs;

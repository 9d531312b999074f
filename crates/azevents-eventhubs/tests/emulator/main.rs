//! The publisher and the consumer over sockets, against the emulator's Event Hubs.

mod batches;
mod blobs;
mod consume;
mod faults;
mod live;
mod ownership;
mod publish;
mod replay;
mod support;
mod turmoil;

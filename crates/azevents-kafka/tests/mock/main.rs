//! The publisher and the consumer over sockets, against the mock cluster that librdkafka has built in.

mod consume;
mod faults;
mod group;
mod publish;
mod support;

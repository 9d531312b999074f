//! What the AMQP listener promises on the wire, checked frame by frame.
//!
//! The peer in here is written on `fe2o3-amqp-types` and shares no code with the listener. Event
//! Hubs serves as the broker behind it.

mod access;
mod credit;
mod errors;
mod fragments;
mod greedy;
mod hostile;
mod idempotent;
mod lifecycle;
mod peer;
mod transport;

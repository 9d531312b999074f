//! What the client and the adapters promise, over sockets against the emulator.

mod administration;
mod batches;
mod chaos;
mod client;
mod consumers;
mod failing;
mod faults;
mod hostile;
mod live;
mod messages;
mod processor;
mod proxy;
mod redrive;
mod rules;
mod security;
mod sessions;
mod support;
mod telemetry;
mod transactions;
mod transport;

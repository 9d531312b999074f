//! What the client and the adapters promise, over sockets against the emulator.

mod client;
mod consumers;
mod faults;
mod messages;
mod security;
mod sessions;
mod support;
mod transport;

//! Event Hubs, checked with the official Rust client.
//!
//! On one thread: with more, that client may see the outcome of a send before it has noted that it
//! waits for one, and then waits for ever.

mod client;
#[cfg(unix)]
mod killed;
mod reading;

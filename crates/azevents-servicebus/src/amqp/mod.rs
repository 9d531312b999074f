//! The AMQP 1.0 machinery under the client: everything that knows `fe2o3-amqp` lives here, so that it can
//! be swapped the day the official crate ships one.
//!
//! | module | what lives there |
//! | --- | --- |
//! | [`transport`] | TCP, TLS, WebSockets, proxies |
//! | [`tap`], [`settlements`] | hearing what the broker answers to a settlement |
//! | `transfer` | which pieces make a message |
//! | [`connection`] | one shared connection, opened again after a loss |
//! | [`cbs`] | proving who we are, and again before the token expires |
//! | [`rpc`] | request and response over a pair of links |
//! | [`link`] | attaching and closing links, each in a session of its own |
//! | [`transactions`] | all or nothing |
//! | [`guard`], [`nesting`] | decoding what may be hostile |
//! | [`conditions`] | from AMQP error conditions to [`Error`](crate::Error) |
//! | [`values`] | small conversions of AMQP values |

pub(crate) mod cbs;
pub(crate) mod conditions;
pub(crate) mod connection;
pub(crate) mod guard;
pub(crate) mod link;
pub(crate) mod nesting;
pub(crate) mod rpc;
pub(crate) mod settlements;
pub(crate) mod tap;
pub(crate) mod transactions;
mod transfer;
pub(crate) mod transport;
pub(crate) mod values;

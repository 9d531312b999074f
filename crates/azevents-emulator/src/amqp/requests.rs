//! Request/response nodes: a pair of links where each message to the node is answered by one on
//! the link back.

use async_trait::async_trait;
use fe2o3_amqp_types::messaging::{Body, Message};
use serde_amqp::Value;

use super::ConnectionId;

/// A request or a response, decoded.
pub(crate) type RequestMessage = Message<Body<Value>>;

/// One request to a node.
#[derive(Clone, Debug)]
pub(crate) struct Request {
    /// The connection it came on; together with `associated-link-name` it names a link.
    pub(crate) connection: ConnectionId,
    /// The node's address as the client wrote it, normalised as in
    /// [`AttachRequest::address`](super::AttachRequest::address).
    pub(crate) node: String,
    /// The message.
    pub(crate) message: RequestMessage,
}

/// Answers the requests to one node.
///
/// The listener finds the link back (by `reply-to`, else the connection's latest receiver on the
/// same node) and sets the response's `correlation-id` to the request's `message-id` (or its
/// correlation id) and `to`; the handler fills application properties and body.
#[async_trait]
pub(crate) trait RequestHandler: Send + Sync + 'static {
    /// The answer, always: errors are status codes. Runs as a task of its own, concurrently with
    /// other requests; not cancelled when the client goes away.
    async fn handle(&self, request: Request) -> RequestMessage;
}

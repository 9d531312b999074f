//! Request/response nodes: a pair of links where each message to the node is answered by one on
//! the link back.

use std::sync::{Arc, Weak};

use async_trait::async_trait;
use bytes::Bytes;
use fe2o3_amqp_types::messaging::{
    Body, Message,
    message::__private::{Deserializable, Serializable},
};
use serde_amqp::Value;
use tokio::sync::{OwnedSemaphorePermit, mpsc};

use super::{
    AttachRequest, Attached, ConnectionId, Delivery, Direction, IncomingDelivery, IncomingHandler, LinkEvent,
    LinkReply, Responder,
    cbs::CbsNode,
    connection::Connection,
    error::{self, Error},
    sections::decode,
};

/// Requests a client may have unanswered on one link.
const CREDIT: u32 = 200;

/// A request or a response, decoded.
pub(crate) type RequestMessage = Message<Body<Value>>;

/// One request to a node.
#[derive(Clone, Debug)]
pub(crate) struct Request {
    /// The connection it came on; together with `associated-link-name` it names a link.
    pub(crate) connection: ConnectionId,
    /// The message.
    pub(crate) message: RequestMessage,
}

/// An encoded response on its way.
pub(super) struct Response {
    message: Bytes,
    /// For another request when this has left.
    _until_taken: OwnedSemaphorePermit,
}

/// Answers the requests to one node.
///
/// The listener finds the link back (by `reply-to`, else the connection's latest receiver on the
/// same node) and sets the response's `correlation-id` to the request's `message-id` (or its
/// correlation id); the handler fills application properties and body.
#[async_trait]
pub(crate) trait RequestHandler: Send + Sync + 'static {
    /// The answer, always: errors are status codes. Runs as a task of its own, concurrently with
    /// other requests; not cancelled when the client goes away.
    async fn handle(&self, request: Request) -> RequestMessage;
}

/// Reads an encoded message.
pub(crate) fn decode_message(bytes: &[u8]) -> Result<RequestMessage, Error> {
    decode::<Deserializable<RequestMessage>>(bytes).map(|message| message.0)
}

/// Encodes a message.
pub(crate) fn encode_message(message: &RequestMessage) -> Result<Bytes, serde_amqp::Error> {
    serde_amqp::to_vec(&Serializable(message)).map(Bytes::from)
}

/// The listener's own node, which takes tokens.
pub(super) fn cbs(connection: &Arc<Connection>) -> Arc<dyn RequestHandler> {
    Arc::new(CbsNode::new(connection))
}

/// Serves one of the two links of a node; for the link back also the way to put responses on it.
pub(super) fn attach(
    connection: &Arc<Connection>,
    request: &AttachRequest,
    handler: Arc<dyn RequestHandler>,
) -> (Attached, Option<mpsc::UnboundedSender<Response>>) {
    match request.direction {
        Direction::Incoming => {
            let node = RequestNode {
                connection: Arc::downgrade(connection),
                node: request.address.clone(),
                handler,
            };
            let attached = Attached::Incoming {
                reply: LinkReply::default(),
                handler: Arc::new(node),
                credit: CREDIT,
            };
            (attached, None)
        }
        Direction::Outgoing => {
            let (responses, mut queue) = mpsc::unbounded_channel::<Response>();
            let attached = Attached::outgoing(LinkReply::default(), |mut sender, mut events| async move {
                let mut number = 0_u128;
                loop {
                    tokio::select! {
                        event = events.next() => match event {
                            None | Some(LinkEvent::Closed(_)) => return Ok(()),
                            Some(LinkEvent::Drain) => sender.drained(),
                            Some(LinkEvent::Disposition { .. }) => {}
                        },
                        response = queue.recv() => {
                            let Some(response) = response else { return Ok(()) };
                            number += 1;
                            let delivery = Delivery {
                                tag: number.to_be_bytes(),
                                message: [response.message, Bytes::new()],
                                format: 0,
                                settled: true,
                            };
                            if sender.send(delivery).await.is_err() {
                                return Ok(());
                            }
                        }
                    }
                }
            });
            (attached, Some(responses))
        }
    }
}

/// The incoming half.
struct RequestNode {
    connection: Weak<Connection>,
    node: String,
    handler: Arc<dyn RequestHandler>,
}

impl IncomingHandler for RequestNode {
    fn deliver(&self, delivery: IncomingDelivery, responder: Responder) {
        let message = match decode_message(&delivery.message) {
            Ok(message) => message,
            Err(why) => return responder.reject(error::decode(format!("Not a request: {why}"))),
        };
        let Some(connection) = self.connection.upgrade() else {
            return responder.accept();
        };
        let (handler, node) = (Arc::clone(&self.handler), self.node.clone());
        let leave = match Arc::clone(connection.requests()).try_acquire_owned() {
            Ok(leave) => {
                responder.accept();
                Leave::Given(leave)
            }
            Err(_) => Leave::WaitedFor(responder),
        };
        connection.spawn_request(handler, node, message, leave);
    }
}

/// Whether a request can be carried out now. One that can't is not answered for either, so that its sender runs out
/// of credit.
enum Leave {
    Given(OwnedSemaphorePermit),
    WaitedFor(Responder),
}

impl Connection {
    fn spawn_request(
        self: Arc<Self>,
        handler: Arc<dyn RequestHandler>,
        node: String,
        message: RequestMessage,
        leave: Leave,
    ) {
        let tasks = self.tasks().clone();
        tasks.spawn(async move {
            let leave = match leave {
                Leave::Given(leave) => leave,
                Leave::WaitedFor(responder) => {
                    let Ok(leave) = Arc::clone(self.requests()).acquire_owned().await else {
                        return; // nobody closes it
                    };
                    responder.accept();
                    leave
                }
            };
            let asked = message.properties.clone().unwrap_or_default();
            let request = Request {
                connection: self.id(),
                message,
            };
            let mut response = handler.handle(request).await;
            let properties = response.properties.get_or_insert_default();
            properties.correlation_id = asked.message_id.or(asked.correlation_id);
            properties.to.clone_from(&asked.reply_to);
            match encode_message(&response) {
                Ok(message) => self.respond(
                    &node,
                    asked.reply_to.as_deref(),
                    Response {
                        message,
                        _until_taken: leave,
                    },
                ),
                Err(why) => tracing::error!(%node, %why, "a response could not be encoded"),
            }
        });
    }
}

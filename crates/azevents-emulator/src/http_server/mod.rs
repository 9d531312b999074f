//! One way to serve HTTP/1.1 and HTTP/2, with and without TLS, for all that speaks HTTP.

mod body;

use std::{convert::Infallible, future::Future, io, time::Duration};

use bytes::Bytes;
use http_body_util::Full;
use hyper::{Request, Response, body::Incoming, service::service_fn};
use hyper_util::{
    rt::{TokioExecutor, TokioIo, TokioTimer},
    server::conn::auto,
};
use tokio::net::{TcpListener, TcpStream};
use tokio_util::{either::Either, sync::CancellationToken, task::TaskTracker};
use tracing::{debug, warn};

pub(crate) use self::body::{Unread, read_body};
use crate::transport::{self, Acceptor, TlsStream};

/// How long a request that is being answered may take once the server was told to stop.
const DRAIN: Duration = Duration::from_secs(1);

/// How long a client may take to say something, and for the handshake of TLS.
const PATIENCE: Duration = Duration::from_secs(30);

/// How long to wait after the process ran out of sockets before accepting again.
const ACCEPT_BACKOFF: Duration = Duration::from_millis(50);

/// The connection a request came in on.
#[cfg_attr(
    not(feature = "cosmos"),
    allow(dead_code, reason = "the management endpoint asks nothing of it")
)]
#[derive(Clone)]
pub(crate) struct Connection {
    cut: CancellationToken,
    tls: bool,
}

#[cfg_attr(
    not(feature = "cosmos"),
    allow(dead_code, reason = "the management endpoint asks nothing of it")
)]
impl Connection {
    /// Whether the client came over TLS, and is to be told addresses with `https`.
    pub(crate) fn is_tls(&self) -> bool {
        self.tls
    }

    /// Closes the socket at once and without an answer, to this request and all others on it.
    ///
    /// Never returns: the task that is answering is dropped with its connection.
    pub(crate) async fn cut(&self) -> Infallible {
        self.cut.cancel();
        std::future::pending().await
    }
}

/// A listener and its connections. Dropping it closes them all.
#[derive(Debug)]
pub(crate) struct HttpServer {
    stop: CancellationToken,
    tasks: TaskTracker,
}

impl HttpServer {
    /// Accepts connections in the background and answers every request with `answer`.
    pub(crate) fn start<A, F>(listener: TcpListener, name: &'static str, tls: Acceptor, answer: A) -> Self
    where
        A: Fn(Request<Incoming>, Connection) -> F + Clone + Send + 'static,
        F: Future<Output = Response<Full<Bytes>>> + Send + 'static,
    {
        let server = Self {
            stop: CancellationToken::new(),
            tasks: TaskTracker::new(),
        };
        let (stop, tasks) = (server.stop.clone(), server.tasks.clone());
        server.tasks.spawn(async move {
            loop {
                let accepted = tokio::select! {
                    () = stop.cancelled() => break,
                    accepted = listener.accept() => accepted,
                };
                match accepted {
                    Ok((socket, peer)) => {
                        debug!(server = name, %peer, "connection accepted");
                        // Small answers must not wait for the peer's delayed acknowledgement.
                        if let Err(error) = socket.set_nodelay(true) {
                            debug!(server = name, %error, "no TCP_NODELAY");
                        }
                        tasks.spawn(connect(socket, name, tls.clone(), answer.clone(), stop.child_token()));
                    }
                    Err(error) => {
                        warn!(server = name, %error, "cannot accept a connection");
                        tokio::time::sleep(ACCEPT_BACKOFF).await;
                    }
                }
            }
        });
        server.tasks.close();
        server
    }

    /// Stops accepting, waits for requests in progress (one second at most), closes every socket.
    /// The port is free when this returns.
    pub(crate) async fn shutdown(self) {
        self.stop.cancel();
        self.tasks.wait().await;
    }
}

impl Drop for HttpServer {
    fn drop(&mut self) {
        self.stop.cancel();
    }
}

/// Finds out whether the client wants TLS, and serves it.
async fn connect<A, F>(socket: TcpStream, name: &'static str, tls: Acceptor, answer: A, stop: CancellationToken)
where
    A: Fn(Request<Incoming>, Connection) -> F,
    F: Future<Output = Response<Full<Bytes>>> + Send + 'static,
{
    let connecting = async {
        Ok(if transport::begins_with_tls(&socket).await? {
            Either::Right(tls.accept(socket).await?)
        } else {
            Either::Left(socket)
        })
    };
    let connected: io::Result<_> = tokio::select! {
        connected = tokio::time::timeout(PATIENCE, connecting) => connected.unwrap_or_else(|late| Err(late.into())),
        () = stop.cancelled() => return,
    };
    match connected {
        Ok(socket) => serve(socket, name, answer, stop).await,
        Err(error) => debug!(server = name, %error, "no connection came of it"),
    }
}

async fn serve<A, F>(socket: Either<TcpStream, TlsStream>, name: &'static str, answer: A, stop: CancellationToken)
where
    A: Fn(Request<Incoming>, Connection) -> F,
    F: Future<Output = Response<Full<Bytes>>> + Send + 'static,
{
    let connection = Connection {
        cut: CancellationToken::new(),
        tls: matches!(socket, Either::Right(_)),
    };
    let cut = connection.cut.clone();
    let asked = CancellationToken::new();
    let asking = asked.clone();
    let service = service_fn(move |request| {
        asking.cancel();
        let answering = answer(request, connection.clone());
        async move { Ok::<_, Infallible>(answering.await) }
    });
    let mut builder = auto::Builder::new(TokioExecutor::new());
    builder.http1().timer(TokioTimer::new());
    builder.http2().timer(TokioTimer::new());
    let serving = builder.serve_connection(TokioIo::new(socket), service);
    tokio::pin!(serving);
    // hyper waits for ever for the rest of what may become HTTP/2.
    let silent = async {
        if tokio::time::timeout(PATIENCE, asked.cancelled()).await.is_ok() {
            std::future::pending::<()>().await;
        }
    };
    let result = tokio::select! {
        result = serving.as_mut() => result,
        () = cut.cancelled() => return,
        () = silent => return debug!(server = name, "no request came"),
        () = stop.cancelled() => {
            serving.as_mut().graceful_shutdown();
            tokio::select! {
                result = serving => result,
                () = cut.cancelled() => return,
                () = tokio::time::sleep(DRAIN) => return,
            }
        }
    };
    if let Err(error) = result {
        debug!(server = name, %error, "connection ended");
    }
}

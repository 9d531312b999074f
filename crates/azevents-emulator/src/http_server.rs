//! One way to serve HTTP/1.1 and HTTP/2 without TLS, used by Cosmos DB and the management endpoint.

use std::{convert::Infallible, future::Future, time::Duration};

use bytes::Bytes;
use http_body_util::Full;
use hyper::{Request, Response, body::Incoming, service::service_fn};
use hyper_util::{
    rt::{TokioExecutor, TokioIo, TokioTimer},
    server::conn::auto,
};
use tokio::net::{TcpListener, TcpStream};
use tokio_util::{sync::CancellationToken, task::TaskTracker};
use tracing::{debug, warn};

/// How long a request that is being answered may take once the server was told to stop.
const DRAIN: Duration = Duration::from_secs(1);

/// How long to wait after the process ran out of sockets before accepting again.
const ACCEPT_BACKOFF: Duration = Duration::from_millis(50);

/// The connection a request came in on.
#[derive(Clone)]
pub(crate) struct Connection {
    cut: CancellationToken,
}

impl Connection {
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
    pub(crate) fn start<A, F>(listener: TcpListener, name: &'static str, answer: A) -> Self
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
                        tasks.spawn(serve(socket, name, answer.clone(), stop.child_token()));
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

async fn serve<A, F>(socket: TcpStream, name: &'static str, answer: A, stop: CancellationToken)
where
    A: Fn(Request<Incoming>, Connection) -> F,
    F: Future<Output = Response<Full<Bytes>>> + Send + 'static,
{
    let connection = Connection {
        cut: CancellationToken::new(),
    };
    let cut = connection.cut.clone();
    let service = service_fn(move |request| {
        let answering = answer(request, connection.clone());
        async move { Ok::<_, Infallible>(answering.await) }
    });
    let mut builder = auto::Builder::new(TokioExecutor::new());
    builder.http1().timer(TokioTimer::new());
    builder.http2().timer(TokioTimer::new());
    let serving = builder.serve_connection(TokioIo::new(socket), service);
    tokio::pin!(serving);
    let result = tokio::select! {
        result = serving.as_mut() => result,
        () = cut.cancelled() => return,
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

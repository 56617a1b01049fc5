//! The HTTP/1.1 client: names, TCP, TLS, pool, and the body of a request.
//!
//! Owns: connections. Does not own: what is said over them. TLS trusts the Mozilla roots.

use std::future::Future;
use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::Bytes;
use futures_core::Stream;
use hyper::Uri;
use hyper::body::{Body, Frame, SizeHint};
use hyper_rustls::{HttpsConnector, HttpsConnectorBuilder, MaybeHttpsStream};
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::client::legacy::connect::dns::{GaiResolver, Name};
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use rusoto_core::ByteStream;
use tokio::net::TcpStream;
use tower_service::Service;

use super::limits::Pace;
use crate::tls;

/// A store closes what is idle; shorter than that. A function is frozen between its runs, for which no timer can be
/// trusted to have gone on: there each run has a client of its own.
const IDLE: Duration = Duration::from_secs(15);

pub(super) type Client = hyper_util::client::legacy::Client<Connector, Outgoing>;

/// What makes connections; one for all clients, which then share the trusted roots and the TLS sessions.
pub(super) fn connector(connect: Duration) -> Connector {
    let mut http = HttpConnector::new_with_resolver(Resolver(GaiResolver::new()));
    http.enforce_http(false);
    http.set_nodelay(true);
    let https = HttpsConnectorBuilder::new()
        .with_tls_config(tls::client(None))
        .https_or_http()
        .enable_http1()
        .wrap_connector(http);
    Connector { https, limit: connect }
}

/// A client with no connection yet.
pub(super) fn client(connector: Connector) -> Client {
    hyper_util::client::legacy::Client::builder(TokioExecutor::new())
        .pool_timer(TokioTimer::new())
        .pool_idle_timeout(IDLE)
        .build(connector)
}

/// Connects within a limit that covers the name, TCP and TLS together.
#[derive(Clone)]
pub(super) struct Connector {
    https: HttpsConnector<HttpConnector<Resolver>>,
    limit: Duration,
}

type BoxError = Box<dyn std::error::Error + Send + Sync>;
type Connecting<T, E> = Pin<Box<dyn Future<Output = Result<T, E>> + Send>>;

impl Service<Uri> for Connector {
    type Response = MaybeHttpsStream<TokioIo<TcpStream>>;
    type Error = BoxError;
    type Future = Connecting<Self::Response, BoxError>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        self.https.poll_ready(context)
    }

    fn call(&mut self, uri: Uri) -> Self::Future {
        let connecting = self.https.call(uri);
        let limit = self.limit;
        Box::pin(async move {
            match tokio::time::timeout(limit, connecting).await {
                Ok(done) => done,
                Err(_) => Err(format!("no connection within {limit:?}").into()),
            }
        })
    }
}

/// The system's resolver, except that names under `.localhost` are this machine (RFC 6761, section 6.3):
/// not every resolver knows that, and virtual addressing of a local server needs it.
#[derive(Clone)]
pub(super) struct Resolver(GaiResolver);

impl Service<Name> for Resolver {
    type Response = std::vec::IntoIter<SocketAddr>;
    type Error = io::Error;
    type Future = Connecting<Self::Response, io::Error>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.0.poll_ready(context)
    }

    fn call(&mut self, name: Name) -> Self::Future {
        if is_local(name.as_str()) {
            let address = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
            return Box::pin(std::future::ready(Ok(vec![address].into_iter())));
        }
        let answer = self.0.call(name);
        Box::pin(async move { Ok(answer.await?.collect::<Vec<_>>().into_iter()) })
    }
}

fn is_local(name: &str) -> bool {
    name.trim_end_matches('.').to_ascii_lowercase().ends_with(".localhost")
}

/// The body of a request, counted as the connection takes it.
pub(super) struct Outgoing {
    chunks: Option<ByteStream>,
    left: u64,
    pace: Pace,
}

impl Outgoing {
    pub fn new(chunks: Option<ByteStream>, length: u64, pace: Pace) -> Self {
        Outgoing { chunks, left: length, pace }
    }
}

impl Body for Outgoing {
    type Data = Bytes;
    type Error = io::Error;

    fn poll_frame(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<io::Result<Frame<Bytes>>>> {
        let Some(chunks) = self.chunks.as_mut() else { return Poll::Ready(None) };
        let chunk = match ready!(Pin::new(chunks).poll_next(context)) {
            Some(Ok(chunk)) => chunk,
            Some(Err(error)) => {
                self.pace.fail();
                return Poll::Ready(Some(Err(error)));
            }
            None if self.left == 0 => return Poll::Ready(None),
            None => return Poll::Ready(Some(Err(io::Error::other("the body is shorter than its length")))),
        };
        let Some(left) = self.left.checked_sub(chunk.len() as u64) else {
            return Poll::Ready(Some(Err(io::Error::other("the body is longer than its length"))));
        };
        self.left = left;
        self.pace.step();
        Poll::Ready(Some(Ok(Frame::data(chunk))))
    }

    fn is_end_stream(&self) -> bool {
        self.chunks.is_none() || self.left == 0
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(self.left)
    }
}

/// The body of an answer, as the stream that rusoto hands on.
pub(super) struct Incoming(pub hyper::body::Incoming);

impl Stream for Incoming {
    type Item = io::Result<Bytes>;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<io::Result<Bytes>>> {
        loop {
            match ready!(Pin::new(&mut self.0).poll_frame(context)) {
                None => return Poll::Ready(None),
                Some(Err(error)) => return Poll::Ready(Some(Err(io::Error::other(error)))),
                // Trailers say nothing that is used.
                Some(Ok(frame)) => {
                    if let Ok(chunk) = frame.into_data() {
                        return Poll::Ready(Some(Ok(chunk)));
                    }
                }
            }
        }
    }
}

/// The reasons of a transport error on one line, each once.
pub(super) fn reasons(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut next = error.source();
    while let Some(error) = next {
        let part = error.to_string();
        if !text.contains(&part) {
            text += &format!(": {part}");
        }
        next = error.source();
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_names_under_localhost_are_this_machine() {
        assert!(is_local("orders.s3.localhost") && is_local("S3.LocalHost."));
        assert!(!is_local("localhost.example.org") && !is_local("notlocalhost"));
    }
}

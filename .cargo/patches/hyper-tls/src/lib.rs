//! Stands in for `hyper-tls` so that no OpenSSL is linked: see README.md.
//!
//! The connector can be made and named, which is all that `rusoto_core` needs to compile. Using it
//! is an error: this project's requests go through its own dispatcher.

use std::future::{Ready, ready};
use std::io;
use std::marker::PhantomData;
use std::pin::Pin;
use std::task::{Context, Poll};

use hyper::Uri;
use hyper::client::HttpConnector;
use hyper::client::connect::{Connected, Connection};
use hyper::service::Service;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

/// What the stand-in answers to every attempt to connect.
pub const REFUSAL: &str = "the stand-in for hyper-tls never connects: send requests through the project's own dispatcher";

/// A connector that refuses.
#[derive(Clone, Debug)]
pub struct HttpsConnector<T>(PhantomData<T>);

impl HttpsConnector<HttpConnector> {
    #[expect(clippy::new_without_default, reason = "the name rusoto_core calls")]
    pub fn new() -> Self {
        HttpsConnector(PhantomData)
    }
}

impl<T> Service<Uri> for HttpsConnector<T> {
    type Response = NoStream;
    type Error = io::Error;
    type Future = Ready<io::Result<NoStream>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, _: Uri) -> Self::Future {
        ready(Err(io::Error::other(REFUSAL)))
    }
}

/// A stream that cannot exist.
#[derive(Debug)]
pub enum NoStream {}

impl Connection for NoStream {
    fn connected(&self) -> Connected {
        match *self {}
    }
}

impl AsyncRead for NoStream {
    fn poll_read(self: Pin<&mut Self>, _: &mut Context<'_>, _: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        match *self {}
    }
}

impl AsyncWrite for NoStream {
    fn poll_write(self: Pin<&mut Self>, _: &mut Context<'_>, _: &[u8]) -> Poll<io::Result<usize>> {
        match *self {}
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        match *self {}
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        match *self {}
    }
}

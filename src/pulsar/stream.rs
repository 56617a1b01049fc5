//! The bytes between us and a broker: TCP, or TLS over TCP.
//!
//! Owns: name, connection, handshake, and what their failure means. Does not own what is said.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};

use rustls::pki_types::ServerName;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpStream, lookup_host};
use tokio::time::{Instant, timeout};
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use super::address::Address;
use super::connection::{CONNECT_LIMIT, within};
use crate::error::{Error, Kind, Result};
use crate::tls;

pub(crate) enum Stream {
    Plain(TcpStream),
    Tls(Box<TlsStream<TcpStream>>),
}

impl Stream {
    /// With `tls`, whoever is at the other end has proved to be the host of `address`: nothing was sent to him
    /// before.
    ///
    /// Errors: `Unavailable` where nobody answers, `Invalid` where the host's certificate is not trusted or is
    /// for another name, or where it does not speak TLS.
    pub async fn open(address: &Address, tls: Option<&TlsConnector>, deadline: Instant) -> Result<Self> {
        let unreachable = || {
            let text =
                format!("no connection to the broker at {address}; check service_url, the VPC and its security group");
            Error::new(Kind::Unavailable, text)
        };
        let stream = within(CONNECT_LIMIT, deadline, connect(address), unreachable)
            .await?
            .map_err(|e| unreachable().because(e))?;
        stream.set_nodelay(true).map_err(|e| unreachable().because(e))?;
        let Some(tls) = tls else { return Ok(Stream::Plain(stream)) };
        let name = ServerName::try_from(address.host.clone()).map_err(|e| {
            Error::new(Kind::Invalid, format!("no certificate can be for {:?}; mend service_url", address.host))
                .because(e)
        })?;
        let not_tls = || Error::new(Kind::Unavailable, tls::not_tls(&address.authority()));
        let shaken = within(CONNECT_LIMIT, deadline, tls.connect(name, stream), not_tls).await?;
        let stream =
            shaken.map_err(|e| tls::refused(&address.authority(), &e).unwrap_or_else(|| unreachable().because(e)))?;
        Ok(Stream::Tls(Box::new(stream)))
    }
}

/// Each address of a host has its share of the time: one that nobody answers at must not cost the others theirs.
async fn connect(address: &Address) -> io::Result<TcpStream> {
    let found: Vec<_> = lookup_host((address.host.as_str(), address.port)).await?.collect();
    let share = CONNECT_LIMIT / u32::try_from(found.len()).unwrap_or(u32::MAX).max(1);
    let mut last = io::Error::new(io::ErrorKind::NotFound, "the name has no address");
    for address in found {
        match timeout(share, TcpStream::connect(address)).await {
            Ok(Ok(stream)) => return Ok(stream),
            Ok(Err(error)) => last = error,
            Err(late) => last = late.into(),
        }
    }
    Err(last)
}

impl AsyncRead for Stream {
    fn poll_read(self: Pin<&mut Self>, context: &mut Context<'_>, into: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Stream::Plain(stream) => Pin::new(stream).poll_read(context, into),
            Stream::Tls(stream) => Pin::new(stream).poll_read(context, into),
        }
    }
}

impl AsyncWrite for Stream {
    fn poll_write(self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        match self.get_mut() {
            Stream::Plain(stream) => Pin::new(stream).poll_write(context, bytes),
            Stream::Tls(stream) => Pin::new(stream).poll_write(context, bytes),
        }
    }

    fn poll_flush(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Stream::Plain(stream) => Pin::new(stream).poll_flush(context),
            Stream::Tls(stream) => Pin::new(stream).poll_flush(context),
        }
    }

    fn poll_shutdown(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Stream::Plain(stream) => Pin::new(stream).poll_shutdown(context),
            Stream::Tls(stream) => Pin::new(stream).poll_shutdown(context),
        }
    }
}

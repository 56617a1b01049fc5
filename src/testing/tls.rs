//! TLS before a server that has none: what comes in by TLS goes on in plain text, and back.
//!
//! Certificates are the test's affair. Owns: the record of who came and what was said inside TLS.

use std::io;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};

use rustls::ServerConfig;
use tokio::io::{AsyncReadExt, AsyncWriteExt, copy, split};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::{JoinHandle, JoinSet};
use tokio_rustls::TlsAcceptor;

/// Listening until it is dropped.
pub struct TlsFront {
    address: SocketAddr,
    record: Arc<Mutex<Record>>,
    server: JoinHandle<()>,
}

#[derive(Default)]
struct Record {
    connections: usize,
    heard: Vec<u8>,
}

impl TlsFront {
    /// Listens at `at` (port 0: any) and passes on to `to`.
    pub async fn start(at: SocketAddr, config: ServerConfig, to: SocketAddr) -> io::Result<Self> {
        let listener = TcpListener::bind(at).await?;
        let address = listener.local_addr()?;
        let record = Arc::<Mutex<Record>>::default();
        let server = tokio::spawn(serve(listener, TlsAcceptor::from(Arc::new(config)), to, Arc::clone(&record)));
        Ok(TlsFront { address, record, server })
    }

    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// How many connections got through the handshake.
    pub fn connections(&self) -> usize {
        self.record.lock().unwrap_or_else(PoisonError::into_inner).connections
    }

    /// All that clients have said inside TLS.
    pub fn heard(&self) -> Vec<u8> {
        self.record.lock().unwrap_or_else(PoisonError::into_inner).heard.clone()
    }
}

impl Drop for TlsFront {
    fn drop(&mut self) {
        self.server.abort();
    }
}

async fn serve(listener: TcpListener, tls: TlsAcceptor, to: SocketAddr, record: Arc<Mutex<Record>>) {
    let mut connections = JoinSet::new();
    while let Ok((stream, _)) = listener.accept().await {
        let (tls, record) = (tls.clone(), Arc::clone(&record));
        // An error ends this connection, which the client's side of the test sees.
        connections.spawn(async move { relay(stream, tls, to, &record).await });
        while connections.try_join_next().is_some() {}
    }
}

async fn relay(stream: TcpStream, tls: TlsAcceptor, to: SocketAddr, record: &Mutex<Record>) -> io::Result<()> {
    stream.set_nodelay(true)?;
    let client = tls.accept(stream).await?;
    record.lock().unwrap_or_else(PoisonError::into_inner).connections += 1;
    let server = TcpStream::connect(to).await?;
    server.set_nodelay(true)?;
    let (mut from_client, mut to_client) = split(client);
    let (mut from_server, mut to_server) = server.into_split();
    let there = async {
        let mut buffer = [0; 16 << 10];
        loop {
            let count = from_client.read(&mut buffer).await?;
            if count == 0 {
                return to_server.shutdown().await;
            }
            record.lock().unwrap_or_else(PoisonError::into_inner).heard.extend_from_slice(&buffer[..count]);
            to_server.write_all(&buffer[..count]).await?;
        }
    };
    let back = async {
        copy(&mut from_server, &mut to_client).await?;
        to_client.shutdown().await
    };
    tokio::try_join!(there, back).map(drop)
}

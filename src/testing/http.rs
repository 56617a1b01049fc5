//! A server that answers with the very bytes a test gives it, for what no real server can be made to do.
//!
//! Owns: reading one HTTP/1.1 request after the other and playing one script for each. It checks nothing, and reads a
//! request to its end unless the script says otherwise.

use std::io;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::{JoinHandle, JoinSet};

/// One step of an answer.
#[derive(Clone, Debug)]
pub enum Step {
    /// As the first step: no more of the request's body than this is read, ever.
    Take(usize),
    /// These bytes.
    Send(Vec<u8>),
    /// These bytes again and again, as long as the client takes them.
    Repeat(Vec<u8>),
    /// Nothing more, with the connection open.
    Hang,
    /// An orderly end of the connection.
    Close,
    /// A reset.
    Reset,
}

impl Step {
    pub fn send(text: impl AsRef<[u8]>) -> Step {
        Step::Send(text.as_ref().to_vec())
    }
}

/// A request as it came.
#[derive(Clone, Debug)]
pub struct Seen {
    /// The request line and the headers, with their line ends.
    pub head: String,
    pub body: Vec<u8>,
}

impl Seen {
    /// The value of a header.
    pub fn header(&self, name: &str) -> Option<&str> {
        let lines = self.head.lines().filter_map(|line| line.split_once(':'));
        lines.filter(|(known, _)| known.eq_ignore_ascii_case(name)).map(|(_, value)| value.trim()).next()
    }
}

pub struct Http {
    address: SocketAddr,
    shared: Arc<Shared>,
    server: JoinHandle<()>,
}

#[derive(Default)]
struct Shared {
    scripts: Mutex<Vec<Vec<Step>>>,
    after: Option<fn(&Seen) -> Vec<Step>>,
    seen: Mutex<Vec<Seen>>,
    sent: AtomicU64,
    connections: AtomicU64,
}

impl Http {
    /// Plays the scripts in their order, one for each request; after the last one, connections are closed.
    pub async fn start(scripts: Vec<Vec<Step>>) -> io::Result<Self> {
        Http::begin(scripts, None).await
    }

    /// The same, but what comes after the scripts is answered as `after` says.
    pub async fn start_then(scripts: Vec<Vec<Step>>, after: fn(&Seen) -> Vec<Step>) -> io::Result<Self> {
        Http::begin(scripts, Some(after)).await
    }

    async fn begin(mut scripts: Vec<Vec<Step>>, after: Option<fn(&Seen) -> Vec<Step>>) -> io::Result<Self> {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await?;
        let address = listener.local_addr()?;
        scripts.reverse();
        let shared = Arc::new(Shared { scripts: Mutex::new(scripts), after, ..Shared::default() });
        let server = tokio::spawn(serve(listener, Arc::clone(&shared)));
        Ok(Http { address, shared, server })
    }

    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// The requests so far.
    pub fn seen(&self) -> Vec<Seen> {
        lock(&self.shared.seen).clone()
    }

    /// Lets go of the requests so far, whose bodies may be large.
    pub fn forget(&self) {
        lock(&self.shared.seen).clear();
    }

    /// How many bytes the clients' sockets have taken.
    pub fn sent(&self) -> u64 {
        self.shared.sent.load(Relaxed)
    }
}

impl Http {
    /// How many connections there were.
    pub fn connections(&self) -> u64 {
        self.shared.connections.load(Relaxed)
    }
}

impl Drop for Http {
    fn drop(&mut self) {
        self.server.abort();
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

async fn serve(listener: TcpListener, shared: Arc<Shared>) {
    let mut connections = JoinSet::new();
    while let Ok((stream, _)) = listener.accept().await {
        let shared = Arc::clone(&shared);
        shared.connections.fetch_add(1, Relaxed);
        // An error ends this connection, which the client's side of the test sees.
        connections.spawn(async move { talk(stream, &shared).await });
    }
}

async fn talk(mut stream: TcpStream, shared: &Shared) -> io::Result<()> {
    let mut buffer = Vec::new();
    loop {
        let Some(mut seen) = head(&mut stream, &mut buffer).await? else { return Ok(()) };
        let script = lock(&shared.scripts).pop();
        let most = match script.as_deref() {
            Some([Step::Take(most), ..]) => *most,
            _ => usize::MAX,
        };
        if !body(&mut stream, &mut buffer, &mut seen, most).await? {
            return Ok(());
        }
        let script = script.or_else(|| shared.after.map(|after| after(&seen)));
        lock(&shared.seen).push(seen);
        let Some(script) = script else { return Ok(()) };
        for step in script {
            match step {
                Step::Take(_) => {}
                Step::Send(bytes) => {
                    stream.write_all(&bytes).await?;
                    shared.sent.fetch_add(bytes.len() as u64, Relaxed);
                }
                Step::Repeat(bytes) => loop {
                    stream.write_all(&bytes).await?;
                    shared.sent.fetch_add(bytes.len() as u64, Relaxed);
                },
                Step::Hang => std::future::pending().await,
                Step::Close => return Ok(()),
                Step::Reset => return stream.set_zero_linger(),
            }
        }
    }
}

/// The next request without its body; `None` at the end of the connection.
async fn head(stream: &mut TcpStream, buffer: &mut Vec<u8>) -> io::Result<Option<Seen>> {
    let end = loop {
        if let Some(at) = buffer.windows(4).position(|four| four == b"\r\n\r\n") {
            break at + 4;
        }
        if stream.read_buf(buffer).await? == 0 {
            return Ok(None);
        }
    };
    let head = String::from_utf8_lossy(&buffer[..end]).into_owned();
    buffer.drain(..end);
    Ok(Some(Seen { head, body: Vec::new() }))
}

/// The body of a request, or `most` bytes of it; `false` at the end of the connection.
async fn body(stream: &mut TcpStream, buffer: &mut Vec<u8>, seen: &mut Seen, most: usize) -> io::Result<bool> {
    let length: usize = seen.header("content-length").and_then(|value| value.parse().ok()).unwrap_or(0);
    let length = length.min(most);
    while buffer.len() < length {
        if stream.read_buf(buffer).await? == 0 {
            return Ok(false);
        }
    }
    seen.body = buffer.drain(..length).collect();
    Ok(true)
}

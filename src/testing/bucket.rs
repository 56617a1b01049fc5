//! An S3 server with one bucket, on a port of its own.
//!
//! Owns: the server, its address and keys, and the faults that a test orders from it. Does not own: the objects
//! (`testing::shelf`). It takes both ways of addressing, checks every signature, and stops when dropped.

mod script;

use std::collections::BTreeMap;
use std::io;
use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use http_body_util::BodyExt;
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper::{Method, Request, Response, StatusCode};
use hyper_util::rt::TokioIo;
use md5::{Digest, Md5};
use s3s::auth::SimpleAuth;
use s3s::host::{S3Host, VirtualHost};
use s3s::service::{S3Service, S3ServiceBuilder};
use tokio::net::TcpListener;
use tokio::task::{JoinHandle, JoinSet};

use self::script::Script;
use super::shelf::{Shelf, Stored};
use crate::encode::spool::hex;
use crate::store::{Addressing, Keys, Limits, Settings};

const BUCKET: &str = "backup-1250000000";
const REGION: &str = "ap-guangzhou";
const KEY_ID: &str = "test-key-id";
const SECRET: &str = "test-secret-key";

/// An operation of the store, as a fault or a count names it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Op {
    Put,
    Get,
    Head,
    List,
    /// CreateMultipartUpload.
    Create,
    /// UploadPart.
    Part,
    /// CompleteMultipartUpload.
    Complete,
    /// AbortMultipartUpload.
    Abort,
    /// DeleteObject.
    Delete,
}

impl Op {
    fn of(method: &Method, query: &str) -> Op {
        match *method {
            Method::PUT if query.contains("uploadId=") => Op::Part,
            Method::PUT => Op::Put,
            Method::POST if query.contains("uploadId=") => Op::Complete,
            Method::POST => Op::Create,
            Method::DELETE if query.contains("uploadId=") => Op::Abort,
            Method::DELETE => Op::Delete,
            Method::HEAD => Op::Head,
            _ if query.contains("list-type=") => Op::List,
            _ => Op::Get,
        }
    }
}

/// What happens to one request instead of an answer.
#[derive(Clone, Debug)]
pub enum Fault {
    /// Answered with this status and `<Code>`; nothing is done. With 200 it is an error inside a success.
    Refuse(u16, &'static str),
    /// Done, and answered with this status and `<Code>`.
    StoreThenRefuse(u16, &'static str),
    /// Done, and the connection closed without an answer.
    StoreThenDrop,
    /// Done, and never answered.
    StoreThenHang,
    /// Read, not done, and the connection closed.
    Drop,
    /// Read, not done, and never answered.
    Hang,
    /// Done after this time.
    Slow(Duration),
    /// Read, and the connection closed; done just before the next request of this method and address.
    UnderWay,
}

pub struct Bucket {
    address: SocketAddr,
    dir: tempfile::TempDir,
    shelf: Shelf,
    script: Arc<Script>,
    server: JoinHandle<()>,
}

impl Bucket {
    /// Starts the server on the runtime that this is called in.
    pub async fn start() -> io::Result<Self> {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await?;
        let address = listener.local_addr()?;
        let dir = tempfile::tempdir()?;
        let shelf = Shelf::new(dir.path(), BUCKET)?;
        let script = Arc::new(Script::default());
        let mut builder = S3ServiceBuilder::new(shelf.clone());
        builder.set_auth(SimpleAuth::from_single(KEY_ID, SECRET));
        builder.set_host(Host(format!("s3.localhost:{}", address.port())));
        let server = tokio::spawn(serve(listener, builder.build(), Arc::clone(&script)));
        Ok(Bucket { address, dir, shelf, script, server })
    }

    pub fn name(&self) -> &'static str {
        BUCKET
    }

    pub fn region(&self) -> &'static str {
        REGION
    }

    /// The key id and the secret key that open it.
    pub fn key_pair(&self) -> (&'static str, &'static str) {
        (KEY_ID, SECRET)
    }

    /// For both ways of addressing; the name resolves wherever names under `.localhost` do.
    pub fn endpoint(&self) -> String {
        format!("http://s3.localhost:{}", self.address.port())
    }

    /// Where the objects lie as files, under the bucket's name.
    pub fn dir(&self) -> &Path {
        self.dir.path()
    }

    /// Settings that reach it.
    pub fn settings(&self, addressing: Addressing) -> Settings {
        Settings {
            endpoint: self.endpoint(),
            region: REGION.to_owned(),
            bucket: BUCKET.to_owned(),
            addressing,
            keys: Keys::new(KEY_ID, SECRET, None),
            storage_class: None,
            sse: None,
            limits: Limits::default(),
        }
    }

    /// All keys in order.
    pub fn keys(&self) -> Vec<String> {
        self.shelf.objects().keys().cloned().collect()
    }

    /// The bytes of an object, from its file.
    pub fn read(&self, key: &str) -> Option<Vec<u8>> {
        self.shelf.objects().contains_key(key).then(|| std::fs::read(self.shelf.path(key)).ok())?
    }

    /// The user metadata of an object.
    pub fn metadata(&self, key: &str) -> Option<BTreeMap<String, String>> {
        Some(self.shelf.objects().get(key)?.metadata.clone().into_iter().collect())
    }

    /// The storage class and the encryption that an object was stored with.
    pub fn kept_as(&self, key: &str) -> Option<(Option<String>, Option<String>)> {
        let objects = self.shelf.objects();
        objects.get(key).map(|stored| (stored.storage_class.clone(), stored.sse.clone()))
    }

    /// The ids of multipart uploads that are neither completed nor aborted.
    pub fn uploads(&self) -> Vec<String> {
        self.shelf.uploads()
    }

    /// Puts or replaces an object behind the server's back.
    pub fn plant(&self, key: &str, bytes: &[u8], metadata: &[(String, String)]) -> io::Result<()> {
        let spare = self.shelf.spare();
        std::fs::write(&spare, bytes)?;
        let stored = Stored {
            length: bytes.len() as u64,
            md5: hex(&Md5::digest(bytes)),
            metadata: metadata.iter().cloned().collect(),
            content_type: None,
            content_encoding: None,
            storage_class: None,
            sse: None,
        };
        self.shelf.keep(key, stored, &spare, &(None, None)).map_err(|error| io::Error::other(error.to_string()))
    }

    /// Removes an object behind the server's back; whether there was one.
    pub fn remove(&self, key: &str) -> bool {
        self.shelf.objects().remove(key).is_some()
    }

    /// The next request of this kind that no earlier order takes meets this fault.
    pub fn fail_next(&self, op: Op, fault: Fault) {
        self.script.plan(op, fault);
    }

    /// From now on asks `director` what happens to each request that no order is for, as it comes.
    pub fn direct(&self, director: impl FnMut(Op, &str) -> Option<Fault> + Send + 'static) {
        self.script.direct(Box::new(director));
    }

    /// Forgets the faults that no request has met.
    pub fn mend(&self) {
        self.script.clear();
    }

    /// The requests so far, in the order of their arrival.
    pub fn requests(&self) -> Vec<Op> {
        self.script.seen()
    }
}

impl Drop for Bucket {
    fn drop(&mut self) {
        self.server.abort();
    }
}

/// `bucket.domain` and the plain domain; any other host is taken for a path-style one, such as an address.
struct Host(String);

impl S3Host for Host {
    fn parse_host_header<'a>(&'a self, host: &'a str) -> s3s::S3Result<VirtualHost<'a>> {
        let bucket = host.strip_suffix(&self.0).and_then(|rest| rest.strip_suffix('.'));
        Ok(match bucket {
            Some(bucket) => VirtualHost::new(&*self.0).with_bucket(bucket),
            None => VirtualHost::new(host),
        })
    }
}

async fn serve(listener: TcpListener, service: S3Service, script: Arc<Script>) {
    let mut connections = JoinSet::new();
    while let Ok((stream, _)) = listener.accept().await {
        let (service, script) = (service.clone(), Arc::clone(&script));
        connections.spawn(async move {
            let answer = service_fn(move |request| answer(service.clone(), Arc::clone(&script), request));
            // An error here is a client that went away, or a fault of the script.
            let _ = hyper::server::conn::http1::Builder::new().serve_connection(TokioIo::new(stream), answer).await;
        });
    }
}

async fn answer(
    service: S3Service,
    script: Arc<Script>,
    request: Request<Incoming>,
) -> io::Result<Response<s3s::Body>> {
    let op = Op::of(request.method(), request.uri().query().unwrap_or_default());
    let fault = script.next(op, request.uri().path());
    if let Some(late) = script.arrives_before(&request) {
        // Nobody hears of the answer.
        let _ = service.call(late).await;
    }
    let closed = || io::Error::other("the script closes the connection");
    let forward = async |request| {
        hyper::service::Service::call(&service, request).await.map_err(|error| io::Error::other(format!("{error:?}")))
    };
    match fault {
        None => forward(request).await,
        Some(Fault::StoreThenRefuse(status, code)) => forward(request).await.and(refusal(status, code, op)),
        Some(Fault::StoreThenDrop) => forward(request).await.and(Err(closed())),
        Some(Fault::StoreThenHang) => {
            forward(request).await?;
            std::future::pending().await
        }
        Some(Fault::Slow(time)) => {
            tokio::time::sleep(time).await;
            forward(request).await
        }
        Some(Fault::UnderWay) => {
            let (head, body) = request.into_parts();
            let body = body.collect().await.map_err(io::Error::other)?.to_bytes();
            script.holds(Request::from_parts(head, s3s::Body::from(body)));
            Err(closed())
        }
        Some(fault @ (Fault::Refuse(..) | Fault::Drop | Fault::Hang)) => {
            request.into_body().collect().await.map_err(io::Error::other)?;
            match fault {
                Fault::Refuse(status, code) => refusal(status, code, op),
                Fault::Hang => std::future::pending().await,
                _ => Err(closed()),
            }
        }
    }
}

fn refusal(status: u16, code: &str, op: Op) -> io::Result<Response<s3s::Body>> {
    let text =
        format!("<Error><Code>{code}</Code><Message>as ordered</Message><RequestId>scripted</RequestId></Error>");
    let body = if op == Op::Head { s3s::Body::empty() } else { s3s::Body::from(text) };
    let status = StatusCode::from_u16(status).map_err(io::Error::other)?;
    Response::builder().status(status).body(body).map_err(io::Error::other)
}

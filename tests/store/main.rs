//! The store: what is confirmed, what is refused, and what silence means.

mod again;
mod faults;
mod objects;
mod operations;
mod parts;
mod refused;
mod secrets;
mod silence;
mod suite;

use std::time::Duration;

use tdmq_backup::encode::spool::Body;
use tdmq_backup::store::{Addressing, Expect, Keys, Limits, S3, Settings, Store, Upload, Version};
use tdmq_backup::testing::{Bucket, Fault, Http, Op, Step};
use tdmq_backup::{Clock, Error, Kind};

/// The traps of the signature's canonical path: `=`, an escaped escape, `+`, a space, what XML escapes, a tilde.
const KEYS: [&str; 4] = [
    "tdmq/t/n/orders/partition=0/dt=2026-01-02/hour=03/0000000000000000012-0000000000000000000_1.jsonl.gz",
    "tdmq/t/n/a%2Fb%25c/partition=-1/_head.json",
    "p&q/a+b c~d/<x>'y\"(z)!*",
    "plain",
];
const STYLES: [Addressing; 2] = [Addressing::Virtual, Addressing::Path];

/// Nothing is tried again: what one request means.
fn store(settings: Settings) -> S3 {
    S3::new(Settings { limits: Limits { tries: 1, ..settings.limits }, ..settings }, Clock::system()).unwrap()
}

/// As in a run, but for the waits.
fn patient(settings: Settings) -> S3 {
    let limits = Limits { tries: 4, pause: Duration::from_millis(2), ..settings.limits };
    S3::new(Settings { limits, ..settings }, Clock::system()).unwrap()
}

async fn bucket() -> (Bucket, S3) {
    let bucket = Bucket::start().await.unwrap();
    let store = store(bucket.settings(Addressing::Virtual));
    (bucket, store)
}

/// A store on a scripted server, with limits that a test can wait for.
async fn scripted(scripts: Vec<Vec<Step>>) -> (Http, S3) {
    let http = Http::start(scripts).await.unwrap();
    let store = store(at(&http));
    (http, store)
}

fn at(http: &Http) -> Settings {
    Settings {
        endpoint: format!("http://{}", http.address()),
        region: "ap-guangzhou".to_owned(),
        bucket: "orders".to_owned(),
        addressing: Addressing::Path,
        keys: Keys::new("marker-id", "marker-secret", Some("marker-token".to_owned())),
        storage_class: None,
        sse: None,
        limits: Limits { connect: Duration::from_secs(2), progress: Duration::from_millis(800), ..Limits::default() },
    }
}

fn upload<'a>(key: &'a str, body: &'a Body, metadata: &'a [(String, String)]) -> Upload<'a> {
    Upload { key, content_type: "application/x-ndjson", content_encoding: Some("gzip"), metadata, body }
}

async fn put(store: &S3, key: &str, bytes: &[u8]) -> Result<(), Error> {
    let body = Body::from(bytes.to_vec());
    store.put(&upload(key, &body, &[]), None).await
}

fn answer(status: &str, headers: &str, body: &str) -> Vec<Step> {
    vec![Step::send(format!("HTTP/1.1 {status}\r\nContent-Length: {}\r\n{headers}\r\n{body}", body.len()))]
}

fn soon(milliseconds: u64) -> tokio::time::Instant {
    Clock::system().now() + Duration::from_millis(milliseconds)
}

macro_rules! on_the_embedded_bucket {
    ($($promise:ident)*) => {
        mod embedded {
            $(#[tokio::test]
            async fn $promise() {
                for style in super::STYLES {
                    let bucket = super::Bucket::start().await.unwrap();
                    let settings = bucket.settings(style);
                    let (id, secret) = bucket.key_pair();
                    let key_pair = (id.to_owned(), secret.to_owned());
                    let place = super::suite::Place { server: super::suite::Server::Embedded, settings, key_pair };
                    super::suite::$promise(&place).await;
                }
            })*
        }
    };
}
suite::promises!(on_the_embedded_bucket);

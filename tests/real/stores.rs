//! The whole store against two servers that are not ours, in both ways of addressing.
//!
//! What the embedded bucket is trusted with in the other tests is asked of both here: conditions, digests, parts,
//! pages, metadata, refusals.

use std::fs;
use std::hash::{BuildHasher, RandomState};
use std::path::Path;
use std::process::Command;

use tdmq_backup::encode::spool::{Body, PART};
use tdmq_backup::store::{Addressing, Expect, Keys, Limits, S3, Settings, Store, Upload};
use tdmq_backup::{Clock, Error, Kind};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use crate::harness::component;
use crate::process::{end, start};

/// A new bucket on each server, in each way of addressing.
fn everywhere(name: &str) -> Vec<(String, Settings)> {
    let mut found = Vec::new();
    for server in ["S3", "MINIO"] {
        let of = |what: &str| component(&format!("REAL_{server}_{what}"));
        for (addressing, endpoint) in
            [(Addressing::Virtual, of("VIRTUAL_ENDPOINT")), (Addressing::Path, of("ENDPOINT"))]
        {
            let bucket = format!("{name}-{:08x}", RandomState::new().hash_one(name) & 0xffff_ffff);
            fs::create_dir(Path::new(&of("DIR")).join(&bucket)).unwrap();
            let settings = Settings {
                endpoint,
                region: "us-east-1".to_owned(),
                bucket,
                addressing,
                keys: Keys::new(of("ACCESS_KEY"), of("SECRET_KEY"), None),
                storage_class: None,
                sse: None,
                limits: Limits::default(),
            };
            found.push((format!("{server} {addressing:?}"), settings));
        }
    }
    found
}

fn open(settings: &Settings) -> S3 {
    S3::new(settings.clone(), Clock::system()).unwrap()
}

fn upload<'a>(key: &'a str, body: &'a Body, metadata: &'a [(String, String)]) -> Upload<'a> {
    Upload { key, content_type: "application/gzip", content_encoding: None, metadata, body }
}

async fn put(store: &S3, key: &str, bytes: &[u8]) -> Result<(), Error> {
    store.put(&upload(key, &Body::from(bytes.to_vec()), &[]), None).await
}

async fn read(store: &S3, key: &str) -> Vec<u8> {
    let mut download = store.open(key).await.unwrap().unwrap();
    let mut all = Vec::new();
    while let Some(chunk) = download.next().await.unwrap() {
        all.extend_from_slice(&chunk);
    }
    all
}

/// Two parts that are not alike.
fn long(seed: u32) -> Vec<u8> {
    (0..(PART as u32 + (1 << 20)) / 4).flat_map(|n: u32| (n ^ seed).wrapping_mul(2_654_435_761).to_le_bytes()).collect()
}

#[tokio::test]
async fn every_kind_of_key_comes_back_and_is_listed_in_pages() {
    let keys = [
        "p/tdmq/t/n/orders/partition=0/dt=2026-01-02/hour=03/0000000000000000012-0000000000000000000_1.jsonl.gz",
        "p/tdmq/t/n/a%2Fb%25c/partition=-1/_head.json",
        "p/a+b c~d/x'y(z)!*&",
        "p/plain",
    ];
    for (name, settings) in everywhere("keys") {
        let store = open(&settings);
        for key in keys {
            put(&store, key, key.as_bytes()).await.unwrap_or_else(|error| panic!("{name} {key}: {}", error.chain()));
            assert_eq!(read(&store, key).await, key.as_bytes(), "{name}");
        }
        let long = format!("p/{}{}", "d/".repeat(300), "k".repeat(248));
        assert_eq!(long.len(), 850);
        put(&store, &long, b"1").await.unwrap_or_else(|error| panic!("{name}: {}", error.chain()));
        let (mut found, mut after) = (Vec::new(), None::<String>);
        loop {
            let (page, more) = store.list("p/", after.as_deref(), 2).await.unwrap();
            after = page.last().map(|line| line.key.clone());
            found.extend(page.into_iter().map(|line| line.key));
            if !more {
                break;
            }
        }
        let mut expected: Vec<String> = keys.iter().map(|key| (*key).to_owned()).chain([long]).collect();
        expected.sort();
        assert_eq!(found, expected, "{name}");
        assert!(store.look("p/none").await.unwrap().is_none(), "{name}");
        assert!(store.read_small("p/none").await.unwrap().is_none(), "{name}");
    }
}

#[tokio::test]
async fn of_many_that_create_one_key_one_wins_and_a_head_changes_only_as_its_writer_saw_it() {
    for (name, settings) in everywhere("race") {
        let store = open(&settings);
        let writes: Vec<_> = (0..8u8)
            .map(|n| {
                let store = store.clone();
                tokio::spawn(async move { store.write_small("head", vec![n], Expect::Absent).await.map(|it| (n, it)) })
            })
            .collect();
        let mut won = Vec::new();
        for write in writes {
            match write.await.unwrap() {
                Ok(one) => won.push(one),
                Err(error) => assert_eq!(error.kind(), Kind::Conflict, "{name} {}", error.chain()),
            }
        }
        assert_eq!(won.len(), 1, "{name}");
        let (byte, first) = won.remove(0);
        let found = store.read_small("head").await.unwrap().unwrap();
        assert_eq!((found.bytes, &found.version), (vec![byte], &first), "{name}");
        let second = store.write_small("head", b"2".to_vec(), Expect::Unchanged(&first)).await.unwrap();
        let late = store.write_small("head", b"x".to_vec(), Expect::Unchanged(&first)).await.unwrap_err();
        assert_eq!(late.kind(), Kind::Conflict, "{name} {}", late.chain());
        assert_ne!(first, second);
        let gone = store.write_small("gone", b"x".to_vec(), Expect::Unchanged(&first)).await.unwrap_err();
        assert_eq!(gone.kind(), Kind::Conflict, "{name} {}", gone.chain());
        put(&store, "object", b"first").await.unwrap();
        put(&store, "object", b"first").await.unwrap();
        assert_eq!(put(&store, "object", b"other").await.unwrap_err().kind(), Kind::Conflict, "{name}");
        assert_eq!(read(&store, "object").await, b"first", "{name}");
    }
}

#[tokio::test]
async fn a_long_object_comes_back_whole_with_its_metadata_and_one_of_two_wins() {
    let (ours, theirs) = (Body::from(long(1)), Body::from(long(2)));
    let metadata = [("first-id".to_owned(), "12:0".to_owned()), ("filler".to_owned(), "x".repeat(1800))];
    for (name, settings) in everywhere("long") {
        let store = open(&Settings { storage_class: Some("STANDARD".to_owned()), ..settings });
        let failed = |error: Error| -> () { panic!("{name}: {}", error.chain()) };
        let id = store.begin(&upload("key", &ours, &metadata)).await.unwrap().unwrap();
        assert!(store.look("key").await.unwrap().is_none(), "{name}");
        store.put(&upload("key", &ours, &metadata), Some(&id)).await.unwrap_or_else(failed);
        store.put(&upload("key", &ours, &metadata), None).await.unwrap_or_else(failed);
        assert!(read(&store, "key").await == long(1), "{name}");
        let held = store.look("key").await.unwrap().unwrap();
        assert_eq!(held.length, ours.length(), "{name}");
        assert_eq!((held.metadata["first-id"].as_str(), held.metadata["filler"].len()), ("12:0", 1800), "{name}");
        assert_eq!(held.metadata["sha256"], ours.sha256_hex(), "{name}");
        assert!(held.version.as_str().trim_matches('"').ends_with("-2"), "{name} {:?}", held.version);
        let error = store.put(&upload("key", &theirs, &[]), None).await.unwrap_err();
        assert_eq!(error.kind(), Kind::Conflict, "{name} {}", error.chain());
        assert!(read(&store, "key").await == long(1), "{name}");

        let (one, other) = (upload("raced", &ours, &[]), upload("raced", &theirs, &[]));
        let (one, other) = tokio::join!(store.put(&one, None), store.put(&other, None));
        let outcomes = [one, other].map(|outcome| outcome.map_err(|error| error.kind()));
        assert!(outcomes.contains(&Ok(())) && outcomes.contains(&Err(Kind::Conflict)), "{name} {outcomes:?}");
    }
}

#[tokio::test]
async fn an_upload_that_was_ended_takes_no_part_and_leaves_no_object() {
    let body = Body::from(long(3));
    for (name, settings) in everywhere("ended") {
        let store = open(&settings);
        let id = store.begin(&upload("key", &body, &[])).await.unwrap().unwrap();
        store.abort("key", &id).await.unwrap_or_else(|error| panic!("{name}: {}", error.chain()));
        store.abort("key", &id).await.unwrap_or_else(|error| panic!("{name}: {}", error.chain()));
        let error = store.put(&upload("key", &body, &[]), Some(&id)).await.unwrap_err();
        assert_eq!(error.kind(), Kind::Busy, "{name} {}", error.chain());
        assert!(store.look("key").await.unwrap().is_none(), "{name}");
    }
}

#[tokio::test]
async fn bytes_that_change_on_their_way_are_refused_and_not_kept() {
    for (name, settings) in everywhere("damaged") {
        if settings.addressing == Addressing::Virtual {
            continue;
        }
        let proxy = damaging(settings.endpoint.trim_start_matches("http://").to_owned()).await;
        let limits = Limits { tries: 1, ..settings.limits };
        let damaged = open(&Settings { endpoint: format!("http://{proxy}"), limits, ..settings.clone() });
        let store = open(&settings);
        put(&damaged, "whole", b"as it is").await.unwrap_or_else(|error| panic!("{name}: {}", error.chain()));
        let error = put(&damaged, "short", b"here: CLEAN").await.unwrap_err();
        assert_eq!(error.kind(), Kind::Unavailable, "{name} {}", error.chain());
        assert!(error.chain().contains("BadDigest"), "{name} {}", error.chain());
        let body = Body::from([vec![0; PART as usize], b"here: CLEAN".to_vec()].concat());
        let error = damaged.put(&upload("long", &body, &[]), None).await.unwrap_err();
        assert_eq!(error.kind(), Kind::Unavailable, "{name} {}", error.chain());
        for key in ["short", "long"] {
            assert!(store.look(key).await.unwrap().is_none(), "{name} {key}");
        }
    }
}

/// A way to `server` on which one word becomes another.
async fn damaging(server: String) -> std::net::SocketAddr {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        while let Ok((near, _)) = listener.accept().await {
            let Ok(far) = tokio::net::TcpStream::connect(&server).await else { return };
            let ((mut from, mut back), (mut answers, mut to)) = (near.into_split(), far.into_split());
            tokio::spawn(async move { tokio::io::copy(&mut answers, &mut back).await });
            tokio::spawn(async move {
                let mut chunk = vec![0; 64 << 10];
                while let Ok(read @ 1..) = from.read(&mut chunk).await {
                    if let Some(at) = chunk[..read].windows(5).position(|word| word == b"CLEAN") {
                        chunk[at..at + 5].copy_from_slice(b"DIRTY");
                    }
                    if to.write_all(&chunk[..read]).await.is_err() {
                        return;
                    }
                }
            });
        }
    });
    address
}

#[tokio::test]
async fn strangers_and_missing_buckets_are_refused_and_nothing_is_stored() {
    for (name, settings) in everywhere("refused") {
        for keys in
            [Keys::new("real-access-key", "wrong-secret", None), Keys::new("stranger-key", "wrong-secret", None)]
        {
            let stranger = open(&Settings { keys, ..settings.clone() });
            let error = put(&stranger, "key", b"1").await.unwrap_err();
            assert_eq!(error.kind(), Kind::Denied, "{name} {}", error.chain());
            assert_eq!(stranger.look("key").await.unwrap_err().kind(), Kind::Denied, "{name}");
        }
        let nowhere = open(&Settings { bucket: "never-made".to_owned(), ..settings.clone() });
        let error = put(&nowhere, "key", b"1").await.unwrap_err();
        assert_eq!(error.kind(), Kind::NotFound, "{name} {}", error.chain());
        assert_eq!(nowhere.look("key").await.unwrap_err().kind(), Kind::NotFound, "{name}");
        assert_eq!(nowhere.list("", None, 1).await.unwrap_err().kind(), Kind::NotFound, "{name}");
        assert!(open(&settings).list("", None, 1).await.unwrap().0.is_empty(), "{name}");
    }
}

#[test]
fn a_clock_that_is_wrong_is_refused_with_the_code_that_we_know() {
    for server in ["S3", "MINIO"] {
        let of = |what: &str| component(&format!("REAL_{server}_{what}"));
        let mut curl = Command::new("curl");
        curl.args(["-sS", "--noproxy", "*", "--aws-sigv4", "aws:amz:us-east-1:s3", "--user"]);
        curl.arg(format!("{}:{}", of("ACCESS_KEY"), of("SECRET_KEY")));
        curl.args(["-H", "X-Amz-Date: 20200101T000000Z"]).arg(format!("{}/bucket/key", of("ENDPOINT")));
        let answer = end(start(&mut curl)).successful("curl");
        assert!(answer.contains("<Code>RequestTimeTooSkewed</Code>"), "{server} {answer}");
    }
}

//! What a run relies on in a store, whoever made it: one list of promises for the embedded bucket (`tests/store`) and
//! for two servers that are not ours (`tests/real`).
//!
//! `promises` names them all; who includes this file makes a test of each, at each of its places. Where a server does
//! not offer something, what it answers instead stands in the promise.

#[path = "suite/long.rs"]
mod long;
#[path = "suite/refused.rs"]
mod refused;

use tdmq_backup::encode::spool::{Body, PART};
use tdmq_backup::store::{Expect, S3, SMALL, Settings, Store, Upload};
use tdmq_backup::{Clock, Error, Kind};

pub use long::*;
pub use refused::*;

macro_rules! promises {
    ($each:ident) => {
        $each! {
            every_kind_of_key_comes_back_and_is_listed_in_pages
            a_part_of_a_key_that_no_file_can_be_called_is_kept_or_refused
            a_key_below_another_key_is_kept_or_refused
            an_object_of_no_bytes_and_one_of_a_whole_part_come_back
            metadata_of_two_kibibytes_comes_back
            a_small_object_is_read_whole_and_a_longer_one_is_corrupt
            of_many_that_create_one_key_one_wins_and_a_head_changes_only_as_its_writer_saw_it
            a_long_object_comes_back_whole_with_its_metadata_and_one_of_two_wins
            an_upload_that_was_ended_takes_no_part_and_leaves_no_object
            an_upload_that_a_dead_writer_left_is_ended_and_its_object_stored
            bytes_that_change_on_their_way_are_refused_and_not_kept
            class_and_encryption_are_kept_or_refused
            strangers_and_missing_buckets_are_refused_and_nothing_is_stored
        }
    };
}
pub(crate) use promises;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(dead_code, reason = "nobody who includes this has all of them")]
pub enum Server {
    Embedded,
    Versitygw,
    MinIo,
}

/// An empty bucket.
pub struct Place {
    pub server: Server,
    pub settings: Settings,
    /// Id and secret of the settings' keys.
    pub key_pair: (String, String),
}

impl Place {
    fn open(&self) -> S3 {
        S3::new(self.settings.clone(), Clock::system()).unwrap()
    }

    /// Nothing is tried again.
    fn impatient(&self) -> Settings {
        let mut settings = self.settings.clone();
        settings.limits.tries = 1;
        settings
    }
}

/// For [`Result::unwrap_or_else`]: the whole of what went wrong.
fn failed<T>(error: Error) -> T {
    panic!("{}", error.chain())
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

pub async fn every_kind_of_key_comes_back_and_is_listed_in_pages(place: &Place) {
    let store = place.open();
    let deep = format!("p/{}{}", "d/".repeat(300), "k".repeat(248));
    let broad = format!("p/{}k", format!("{}/", "b".repeat(211)).repeat(4));
    assert_eq!((deep.len(), broad.len()), (850, 850 + 1));
    let broad = &broad[..850];
    let keys = [
        "p/tdmq/t/n/orders/partition=0/dt=2026-01-02/hour=03/0000000000000000012-0000000000000000000_1.jsonl.gz",
        "p/tdmq/t/n/a%2Fb%25c/partition=-1/_head.json",
        "p/tdmq/t/n/%2E%2E/partition=-1/_head.json",
        "p/tdmq/t/n/%E2%80%A8/partition=-1/_head.json",
        "p/a+b c~d/x'y(z)!*&",
        "p/<x>\"y\"",
        "p/世界",
        "p/plain",
        &deep,
        broad.trim_end_matches('/'),
    ];
    for key in keys {
        put(&store, key, key.as_bytes()).await.unwrap_or_else(failed);
        assert_eq!(read(&store, key).await, key.as_bytes());
        assert_eq!(store.look(key).await.unwrap().unwrap().length, key.len() as u64);
    }
    put(&store, "q", b"beside").await.unwrap_or_else(failed);
    let mut expected: Vec<String> = keys.iter().map(|key| (*key).to_owned()).collect();
    expected.sort();
    for limit in [1, 3, 1000] {
        let (mut found, mut after) = (Vec::new(), None::<String>);
        loop {
            let (page, more) = store.list("p/", after.as_deref(), limit).await.unwrap_or_else(failed);
            assert!(page.len() <= limit as usize && page.iter().all(|line| line.length == line.key.len() as u64));
            after = page.last().map(|line| line.key.clone());
            found.extend(page.into_iter().map(|line| line.key));
            if !more {
                break;
            }
        }
        assert_eq!(found, expected);
    }
    assert_eq!(store.list("p/tdmq/t/n/a%2Fb%25c/", None, 2).await.unwrap().0.len(), 1);
    assert_eq!(store.list("none/", None, 2).await.unwrap(), (Vec::new(), false));
    assert!(store.look("p/none").await.unwrap().is_none());
    assert!(store.read_small("p/none").await.unwrap().is_none());
    assert!(store.open("p/none").await.unwrap().is_none());
}

/// COS and S3 know no parts of a key; servers that keep objects as files take 255 bytes of each.
pub async fn a_part_of_a_key_that_no_file_can_be_called_is_kept_or_refused(place: &Place) {
    let store = place.open();
    let head = format!("p/{}/_head.json", "%E4%B8%96".repeat(85));
    let read = store.read_small(&head).await;
    let written = store.write_small(&head, b"1".to_vec(), Expect::Absent).await;
    if place.server == Server::Embedded {
        assert!(read.unwrap().is_none() && written.is_ok());
        return;
    }
    // versitygw: 409 ExistingObjectIsDirectory; MinIO: 400 XMinioInvalidObjectName, to the reader already.
    for error in [read.map(|found| assert!(found.is_none())).err(), Some(written.unwrap_err())].into_iter().flatten() {
        assert_eq!(error.kind(), Kind::Invalid, "{}", error.chain());
    }
    assert!(store.list("p/", None, 1).await.unwrap().0.is_empty());
}

/// A key may begin with another key and a slash; to versitygw the other one is a file.
pub async fn a_key_below_another_key_is_kept_or_refused(place: &Place) {
    let store = S3::new(place.impatient(), Clock::system()).unwrap();
    put(&store, "a", b"1").await.unwrap_or_else(failed);
    let below = put(&store, "a/b", b"2").await;
    if place.server == Server::MinIo {
        below.unwrap_or_else(failed);
        assert_eq!(read(&store, "a/b").await, b"2");
    } else {
        let error = below.unwrap_err();
        // versitygw: 409 ObjectParentIsFile. The embedded bucket, whose objects are files too, fails.
        let kind = if place.server == Server::Versitygw { Kind::Invalid } else { Kind::Unavailable };
        assert_eq!(error.kind(), kind, "{}", error.chain());
    }
    assert_eq!(read(&store, "a").await, b"1");
}

pub async fn an_object_of_no_bytes_and_one_of_a_whole_part_come_back(place: &Place) {
    let store = place.open();
    for (key, length) in [("empty", 0), ("part", PART as usize)] {
        let bytes = vec![7; length];
        put(&store, key, &bytes).await.unwrap_or_else(failed);
        assert!(read(&store, key).await == bytes);
        let held = store.look(key).await.unwrap().unwrap();
        assert_eq!((held.length, &held.metadata["sha256"]), (length as u64, &Body::from(bytes).sha256_hex()));
        assert!(!held.version.as_str().contains('-'), "in one request: {:?}", held.version);
    }
    assert!(store.read_small("empty").await.unwrap().unwrap().bytes.is_empty());
    let (page, _) = store.list("empty", None, 1).await.unwrap();
    assert_eq!((page.len(), page[0].length), (1, 0));
    // versitygw says of a page that is just full that there is more; then that is nothing.
    assert_eq!(store.list("empty", Some("empty"), 1).await.unwrap(), (Vec::new(), false));
}

/// Names and values together, the digest's too; MinIO counts the prefix of each name as well.
pub async fn metadata_of_two_kibibytes_comes_back(place: &Place) {
    let store = place.open();
    let taken = "first-id".len() + "12:0".len() + "filler".len() + "sha256".len() + 64 + 3 * "x-amz-meta-".len();
    let metadata = [("first-id".to_owned(), "12:0".to_owned()), ("filler".to_owned(), "x".repeat((2 << 10) - taken))];
    let body = Body::from(b"content".to_vec());
    store.put(&upload("key", &body, &metadata), None).await.unwrap_or_else(failed);
    let held = store.look("key").await.unwrap().unwrap();
    assert_eq!(held.metadata["filler"].len(), (2 << 10) - taken);
    assert_eq!((held.metadata["first-id"].as_str(), &held.metadata["sha256"]), ("12:0", &body.sha256_hex()));
}

pub async fn a_small_object_is_read_whole_and_a_longer_one_is_corrupt(place: &Place) {
    let store = place.open();
    store.write_small("head", vec![1; SMALL], Expect::Absent).await.unwrap_or_else(failed);
    assert_eq!(store.read_small("head").await.unwrap().unwrap().bytes, vec![1; SMALL]);
    put(&store, "long", &vec![1; SMALL + 1]).await.unwrap_or_else(failed);
    assert_eq!(store.read_small("long").await.unwrap_err().kind(), Kind::Corrupt);
}

pub async fn of_many_that_create_one_key_one_wins_and_a_head_changes_only_as_its_writer_saw_it(place: &Place) {
    let store = place.open();
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
            Err(error) => assert_eq!(error.kind(), Kind::Conflict, "{}", error.chain()),
        }
    }
    assert_eq!(won.len(), 1);
    let (byte, first) = won.remove(0);
    let found = store.read_small("head").await.unwrap().unwrap();
    assert_eq!((found.bytes, &found.version), (vec![byte], &first));
    let second = store.write_small("head", b"2".to_vec(), Expect::Unchanged(&first)).await.unwrap();
    let late = store.write_small("head", b"x".to_vec(), Expect::Unchanged(&first)).await.unwrap_err();
    assert_eq!(late.kind(), Kind::Conflict, "{}", late.chain());
    assert_ne!(first, second);
    let gone = store.write_small("gone", b"x".to_vec(), Expect::Unchanged(&first)).await.unwrap_err();
    assert_eq!(gone.kind(), Kind::Conflict, "{}", gone.chain());
    assert!(store.look("gone").await.unwrap().is_none());
    put(&store, "object", b"first").await.unwrap();
    put(&store, "object", b"first").await.unwrap();
    assert_eq!(put(&store, "object", b"other").await.unwrap_err().kind(), Kind::Conflict);
    assert_eq!(read(&store, "object").await, b"first");
}

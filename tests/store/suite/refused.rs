//! Promises about what a store does not take.

use tdmq_backup::store::{Addressing, Keys};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use super::*;

pub async fn bytes_that_change_on_their_way_are_refused_and_not_kept(place: &Place) {
    if place.settings.addressing == Addressing::Virtual {
        // Through the proxy the host would be another one.
        return;
    }
    let (_, port) = place.settings.endpoint.rsplit_once(':').unwrap();
    let proxy = damaging(format!("127.0.0.1:{port}")).await;
    let damaged = Settings { endpoint: format!("http://{proxy}"), ..place.impatient() };
    let (damaged, store) = (S3::new(damaged, Clock::system()).unwrap(), place.open());
    put(&damaged, "whole", b"as it is").await.unwrap_or_else(failed);
    let error = put(&damaged, "short", b"here: CLEAN").await.unwrap_err();
    assert_eq!(error.kind(), Kind::Unavailable, "{}", error.chain());
    assert!(error.chain().contains("BadDigest"), "{}", error.chain());
    let body = Body::from([vec![0; PART as usize], b"here: CLEAN".to_vec()].concat());
    let error = damaged.put(&upload("long", &body, &[]), None).await.unwrap_err();
    assert_eq!(error.kind(), Kind::Unavailable, "{}", error.chain());
    for key in ["short", "long"] {
        assert!(store.look(key).await.unwrap().is_none(), "{key}");
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

/// versitygw takes every class and every encryption and keeps them to itself; MinIO, as it is started here, answers
/// 400 `InvalidStorageClass` to classes that are not its own and 501 `NotImplemented` where it has no key service.
pub async fn class_and_encryption_are_kept_or_refused(place: &Place) {
    let with = |class: &str, sse: Option<&str>| Settings {
        storage_class: Some(class.to_owned()),
        sse: sse.map(str::to_owned),
        ..place.settings.clone()
    };
    let open = |settings| S3::new(settings, Clock::system()).unwrap();
    let long = Body::from(vec![5; PART as usize + 1]);
    for class in ["STANDARD", "REDUCED_REDUNDANCY"] {
        let store = open(with(class, None));
        put(&store, class, b"1").await.unwrap_or_else(failed);
        let key = format!("{class}/long");
        store.put(&upload(&format!("long/{key}"), &long, &[]), None).await.unwrap_or_else(failed);
    }
    for (n, settings) in [with("STANDARD_IA", None), with("STANDARD", Some("AES256"))].into_iter().enumerate() {
        let store = open(settings);
        for (key, body) in [("short", &Body::from(b"1".to_vec())), ("long", &long)] {
            let key = format!("{n}/{key}");
            let outcome = store.put(&upload(&key, body, &[]), None).await;
            if place.server != Server::MinIo {
                outcome.unwrap_or_else(failed);
                assert_eq!(store.look(&key).await.unwrap().unwrap().metadata["sha256"], body.sha256_hex());
                continue;
            }
            let error = outcome.unwrap_err();
            let said = ["InvalidStorageClass", "NotImplemented"][n];
            assert!(error.kind() == Kind::Invalid && error.chain().contains(said), "{}", error.chain());
            assert!(place.open().look(&key).await.unwrap().is_none());
        }
    }
}

pub async fn strangers_and_missing_buckets_are_refused_and_nothing_is_stored(place: &Place) {
    let (id, secret) = &place.key_pair;
    let token = || Some("no-such-token".to_owned());
    let mut strangers = vec![Keys::new(id, "wrong-secret", None), Keys::new("stranger-key", "wrong-secret", None)];
    // The embedded bucket takes any token that is signed.
    strangers.extend((place.server != Server::Embedded).then(|| Keys::new(id, secret, token())));
    for keys in strangers {
        let stranger = S3::new(Settings { keys, ..place.impatient() }, Clock::system()).unwrap();
        let error = put(&stranger, "key", b"1").await.unwrap_err();
        assert_eq!(error.kind(), Kind::Denied, "{}", error.chain());
        assert_eq!(stranger.look("key").await.unwrap_err().kind(), Kind::Denied);
        assert_eq!(stranger.list("", None, 1).await.unwrap_err().kind(), Kind::Denied);
    }
    let nowhere = Settings { bucket: "never-made".to_owned(), ..place.impatient() };
    let nowhere = S3::new(nowhere, Clock::system()).unwrap();
    let long = Body::from(vec![5; PART as usize + 1]);
    for error in [
        put(&nowhere, "key", b"1").await.err(),
        nowhere.put(&upload("key", &long, &[]), None).await.err(),
        nowhere.look("key").await.err(),
        nowhere.list("", None, 1).await.err(),
    ] {
        let error = error.unwrap();
        assert_eq!(error.kind(), Kind::NotFound, "{}", error.chain());
        assert!(error.chain().contains("create the bucket"), "{}", error.chain());
    }
    assert!(place.open().list("", None, 1).await.unwrap().0.is_empty());
}

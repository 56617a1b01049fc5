//! What is asked of the store, and what it then holds; that it comes back is in `suite`.

use super::*;

#[tokio::test]
async fn metadata_comes_back_with_the_digest_of_the_bytes() {
    let (bucket, store) = bucket().await;
    let body = Body::from(b"content".to_vec());
    let metadata = [("first-id".to_owned(), "12:0".to_owned()), ("tool".to_owned(), "tdmq-backup 0.1.0".to_owned())];
    store.put(&upload("key", &body, &metadata), None).await.unwrap();
    let held = store.look("key").await.unwrap().unwrap();
    assert_eq!(held.metadata["first-id"], "12:0");
    assert_eq!(held.metadata["tool"], "tdmq-backup 0.1.0");
    assert_eq!(held.metadata["sha256"], "ed7002b439e9ac845f22357d822bac1444730fbdb6016d3ec9432297b9ec9f73");
    assert_eq!(bucket.metadata("key").unwrap(), held.metadata);
}

#[tokio::test]
async fn a_head_is_written_only_in_the_state_that_its_writer_saw() {
    let (bucket, store) = bucket().await;
    let first = store.write_small("head", b"1".to_vec(), Expect::Absent).await.unwrap();
    let again = store.write_small("head", b"x".to_vec(), Expect::Absent).await.unwrap_err();
    assert_eq!(again.kind(), Kind::Conflict);
    let found = store.read_small("head").await.unwrap().unwrap();
    assert_eq!((found.bytes.as_slice(), &found.version), (&b"1"[..], &first));
    let second = store.write_small("head", b"2".to_vec(), Expect::Unchanged(&first)).await.unwrap();
    let late = store.write_small("head", b"x".to_vec(), Expect::Unchanged(&first)).await.unwrap_err();
    assert_eq!(late.kind(), Kind::Conflict);
    assert_eq!(bucket.read("head").unwrap(), b"2");
    bucket.remove("head");
    let gone = store.write_small("head", b"x".to_vec(), Expect::Unchanged(&second)).await.unwrap_err();
    assert_eq!(gone.kind(), Kind::Conflict);
    assert!(bucket.keys().is_empty());
}

#[tokio::test]
async fn a_store_without_conditions_is_asked_once_and_looked_at_instead() {
    let (bucket, store) = bucket().await;
    bucket.fail_next(Op::Put, Fault::Refuse(501, "NotImplemented"));
    let first = store.write_small("head", b"1".to_vec(), Expect::Absent).await.unwrap();
    assert_eq!(bucket.requests(), [Op::Put, Op::Head, Op::Get, Op::Put]);
    let stale = Version::new("\"stale\"");
    for (expect, key) in
        [(Expect::Absent, "head"), (Expect::Unchanged(&stale), "head"), (Expect::Unchanged(&first), "gone")]
    {
        let error = store.write_small(key, b"x".to_vec(), expect).await.unwrap_err();
        assert_eq!(error.kind(), Kind::Conflict);
    }
    store.write_small("head", b"2".to_vec(), Expect::Unchanged(&first)).await.unwrap();
    assert_eq!(put(&store, "head", b"3").await.unwrap_err().kind(), Kind::Conflict);
    assert_eq!(bucket.read("head").unwrap(), b"2");
}

#[tokio::test]
async fn a_put_has_a_length_and_a_digest_and_is_never_chunked() {
    let (http, store) = scripted(vec![answer("200 OK", "ETag: \"c4ca4238a0b923820dcc509a6f75849b\"\r\n", "")]).await;
    put(&store, "key", b"1").await.unwrap();
    let seen = &http.seen()[0];
    assert_eq!(seen.header("content-length"), Some("1"));
    assert_eq!(seen.header("content-md5"), Some("xMpCOKC5I4INzFCab3WEmw=="));
    assert_eq!(seen.header("if-none-match"), Some("*"));
    assert_eq!(seen.header("x-amz-content-sha256"), Some("UNSIGNED-PAYLOAD"));
    assert_eq!(seen.header("transfer-encoding"), None);
    assert_eq!(seen.body, b"1");
}

#[tokio::test]
async fn twenty_mebibytes_are_streamed_and_a_reader_that_stops_stops_the_store() {
    let (bucket, whole) = bucket().await;
    let large: Vec<u8> = (0..20u32 << 20).map(|n| (n.wrapping_mul(2_654_435_761) >> 24) as u8).collect();
    put(&whole, "large", &large).await.unwrap();
    assert!(bucket.read("large").unwrap() == large);
    let mut download = whole.open("large").await.unwrap().unwrap();
    let mut read = 0;
    while let Some(chunk) = download.next().await.unwrap() {
        assert!(chunk.len() <= 1 << 20, "{}", chunk.len());
        assert!(chunk == large[read..read + chunk.len()]);
        read += chunk.len();
    }
    assert_eq!(read, large.len());

    let head = "HTTP/1.1 200 OK\r\nETag: \"1\"\r\nContent-Length: 99999999999\r\n\r\n";
    let endless = vec![Step::send(head), Step::Repeat(vec![7; 64 << 10])];
    let (http, store) = scripted(vec![endless]).await;
    let mut download = store.open("endless").await.unwrap().unwrap();
    download.next().await.unwrap().unwrap();
    // Time enough, in round trips, for everything that could be read ahead.
    for _ in 0..300 {
        whole.look("large").await.unwrap();
    }
    assert!(http.sent() < 16 << 20, "{}", http.sent());
}

//! Answers that are missing, cut short, endless or odd: what is left behind, and what the caller is told.

use super::*;

#[tokio::test]
async fn a_write_without_an_answer_is_unknown_by_the_deadline() {
    let (bucket, store) = bucket().await;
    assert!(store.look("head").await.unwrap().is_none());
    for fault in [Fault::Hang, Fault::StoreThenHang] {
        bucket.fail_next(Op::Put, fault.clone());
        let error = put(&store.until(soon(500)), &format!("{fault:?}"), b"1").await.unwrap_err();
        assert_eq!(error.kind(), Kind::Unknown, "{}", error.chain());
        bucket.fail_next(Op::Put, fault);
        let error = store.until(soon(500)).write_small("head", b"1".to_vec(), Expect::Absent).await.unwrap_err();
        assert_eq!(error.kind(), Kind::Unknown, "{}", error.chain());
    }
    assert_eq!(bucket.keys(), ["StoreThenHang", "head"]);
    put(&store, "StoreThenHang", b"1").await.unwrap();
}

#[tokio::test]
async fn a_store_that_stops_is_given_up_without_a_deadline_too() {
    let (_http, store) = scripted(vec![vec![Step::Hang], vec![Step::Hang], vec![Step::Hang]]).await;
    assert_eq!(store.look("key").await.unwrap_err().kind(), Kind::Unavailable);
    assert_eq!(put(&store, "key", b"1").await.unwrap_err().kind(), Kind::Unknown);
}

#[tokio::test]
async fn nothing_is_begun_after_the_deadline() {
    let (bucket, store) = bucket().await;
    let late = store.until(soon(0));
    assert_eq!(put(&late, "key", b"1").await.unwrap_err().kind(), Kind::Unavailable);
    assert_eq!(late.read_small("key").await.unwrap_err().kind(), Kind::Unavailable);
    assert!(bucket.requests().is_empty());
}

#[tokio::test]
async fn an_object_that_was_stored_without_an_answer_is_found_by_a_look() {
    let (bucket, store) = bucket().await;
    bucket.fail_next(Op::Put, Fault::StoreThenDrop);
    put(&store, "key", b"1").await.unwrap();
    assert_eq!(bucket.requests(), [Op::Put, Op::Head]);
    bucket.fail_next(Op::Put, Fault::Refuse(500, "InternalError"));
    put(&store, "key", b"1").await.unwrap();
}

#[tokio::test]
async fn an_object_that_was_lost_on_its_way_is_unknown_and_not_there() {
    let (bucket, store) = bucket().await;
    bucket.fail_next(Op::Put, Fault::Drop);
    assert_eq!(put(&store, "key", b"1").await.unwrap_err().kind(), Kind::Unknown);
    bucket.fail_next(Op::Put, Fault::StoreThenDrop);
    bucket.fail_next(Op::Head, Fault::Refuse(503, "SlowDown"));
    assert_eq!(put(&store, "other", b"1").await.unwrap_err().kind(), Kind::Unknown);
    assert_eq!(bucket.keys(), ["other"]);
}

#[tokio::test]
async fn a_store_that_is_not_there_is_unavailable_since_nothing_was_sent() {
    let closed = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = closed.local_addr().unwrap();
    drop(closed);
    let bucket = Bucket::start().await.unwrap();
    for endpoint in [format!("http://s3.localhost:{}", address.port()), "http://s3.no-such-zone.invalid".to_owned()] {
        let store = store(Settings { endpoint, ..bucket.settings(Addressing::Virtual) });
        let error = put(&store, "key", b"1").await.unwrap_err();
        assert_eq!(error.kind(), Kind::Unavailable, "{}", error.chain());
    }
}

#[tokio::test]
async fn headers_that_are_not_ascii_or_not_numbers_are_no_panic() {
    let mut odd = b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\nETag: \"c4ca4238a0b923820dcc509a6f75849b\"\r\n".to_vec();
    odd.extend_from_slice(b"x-amz-meta-name: caf\xc3\xa9\r\nx-amz-version-id: \xff\r\nx-amz-mp-parts-count: many\r\n");
    odd.extend_from_slice(b"x-amz-server-side-encryption-bucket-key-enabled: maybe\r\nx-amz-meta-ok: yes\r\n\r\n");
    let body = [odd.clone(), b"1".to_vec()].concat();
    let (_http, store) =
        scripted(vec![vec![Step::Send(odd), Step::Close], vec![Step::Send(body.clone())], vec![Step::Send(body)]])
            .await;
    let held = store.look("key").await.unwrap().unwrap();
    assert_eq!(held.metadata.into_iter().collect::<Vec<_>>(), [("ok".to_owned(), "yes".to_owned())]);
    assert_eq!(store.read_small("key").await.unwrap().unwrap().bytes, b"1");
    put(&store, "key", b"1").await.unwrap();
}

#[tokio::test]
async fn a_cut_answer_is_never_taken_for_a_whole_one() {
    let cut = || vec![Step::send("HTTP/1.1 200 OK\r\nETag: \"1\"\r\nContent-Length: 9\r\n\r\n<List"), Step::Close];
    let half = "HTTP/1.1 200 OK\r\nETag: \"1\"\r\nContent-Length: 9\r\n\r\nhalf";
    let reset = || vec![Step::send(half), Step::Reset];
    let garbage = vec![Step::send("\x16\x03garbage\r\n\r\n"), Step::Close];
    let slow = vec![Step::send("HTTP/1.1 200 OK\r\nETag: \"1\"\r\nContent-Length: 9\r\n\r\nhalf"), Step::Hang];
    let nonsense = answer("200 OK", "", "<html>login</html>");
    let (_http, store) = scripted(vec![cut(), reset(), cut(), garbage, slow, nonsense, cut(), vec![Step::Reset]]).await;
    let of = |error: Option<Error>| error.unwrap().kind();
    assert_eq!(of(store.read_small("key").await.err()), Kind::Unavailable);
    assert_eq!(of(store.read_small("key").await.err()), Kind::Unavailable);
    assert_eq!(of(store.list("", None, 5).await.err()), Kind::Unavailable);
    assert_eq!(of(store.read_small("key").await.err()), Kind::Unavailable);
    let mut download = store.open("key").await.unwrap().unwrap();
    assert_eq!(download.next().await.unwrap().unwrap(), "half");
    assert_eq!(of(download.next().await.err()), Kind::Unavailable);
    assert_eq!(of(store.list("", None, 5).await.err()), Kind::Unavailable);
    // The answer to a PUT that breaks off proves nothing, and the look after it met a reset.
    assert_eq!(of(put(&store, "key", b"1").await.err()), Kind::Unknown);
}

#[tokio::test]
async fn an_endless_answer_ends_at_its_limit() {
    let chunk = format!("10000\r\n{}\r\n", "x".repeat(64 << 10));
    let head = "HTTP/1.1 200 OK\r\nETag: \"1\"\r\nTransfer-Encoding: chunked\r\n\r\n";
    let endless = || vec![Step::send(head), Step::Repeat(chunk.clone().into_bytes())];
    let (_http, store) = scripted(vec![endless(), endless()]).await;
    assert_eq!(store.read_small("key").await.unwrap_err().kind(), Kind::Corrupt);
    assert_eq!(store.list("", None, 5).await.unwrap_err().kind(), Kind::Unavailable);
}

#[tokio::test]
async fn an_etag_that_is_no_md5_is_settled_by_a_look() {
    let digest = "6b86b273ff34fce19d6b804eff5a3f5747ada4eaa22f1d49c01e52ddb7875b4b";
    let kms = || answer("200 OK", "ETag: \"00000000000000000000000000000000\"\r\n", "");
    let held = |length: u32, sha: &str| {
        let head =
            format!("HTTP/1.1 200 OK\r\nContent-Length: {length}\r\nETag: \"0\"\r\nx-amz-meta-sha256: {sha}\r\n\r\n");
        vec![Step::send(head)]
    };
    let (http, store) = scripted(vec![kms(), held(1, digest), kms(), held(2, digest), kms(), held(1, "00")]).await;
    put(&store, "key", b"1").await.unwrap();
    assert_eq!(put(&store, "key", b"1").await.unwrap_err().kind(), Kind::Conflict);
    assert_eq!(put(&store, "key", b"1").await.unwrap_err().kind(), Kind::Conflict);
    let asked: Vec<String> = http.seen().iter().map(|seen| seen.head[..4].to_owned()).collect();
    assert_eq!(asked, ["PUT ", "HEAD"].repeat(3));
}

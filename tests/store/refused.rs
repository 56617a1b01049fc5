//! What is refused, by the store and before it, and that no text gives a key away.

use super::*;

#[tokio::test]
async fn a_missing_key_is_nothing_and_a_missing_bucket_is_an_error() {
    let (bucket, store) = bucket().await;
    assert!(store.read_small("none").await.unwrap().is_none());
    assert!(store.look("none").await.unwrap().is_none());
    assert!(store.open("none").await.unwrap().is_none());
    for style in STYLES {
        let other = Settings { bucket: "no-such-bucket".to_owned(), ..bucket.settings(style) };
        let other = S3::new(other, Clock::system()).unwrap();
        for error in [
            other.read_small("none").await.err(),
            other.look("none").await.err(),
            other.list("", None, 1).await.err(),
            other.write_small("none", b"1".to_vec(), Expect::Absent).await.err(),
            put(&other, "none", b"1").await.err(),
        ] {
            let error = error.unwrap();
            assert_eq!(error.kind(), Kind::NotFound, "{}", error.chain());
            assert!(error.chain().contains("create the bucket"), "{}", error.chain());
        }
    }
    assert!(!bucket.dir().join("no-such-bucket").exists());
}

#[tokio::test]
async fn a_404_that_does_not_name_the_key_is_not_taken_for_a_missing_key() {
    let unknown = "<Error><Code>XAdminUserNotFound</Code><Message>no such user</Message></Error>";
    let page = "<html>no such site</html>";
    for (body, kind) in [(unknown, Kind::Denied), (page, Kind::NotFound), ("", Kind::NotFound)] {
        let not_found = || answer("404 Not Found", "", body);
        let mute = || vec![Step::send("HTTP/1.1 404 Not Found\r\n\r\n"), Step::Close];
        let (_http, store) = scripted(vec![not_found(), not_found(), mute(), not_found()]).await;
        assert_eq!(store.read_small("key").await.unwrap_err().kind(), kind);
        assert_eq!(store.open("key").await.unwrap_err().kind(), kind);
        assert_eq!(store.look("key").await.unwrap_err().kind(), kind);
    }
}

#[tokio::test]
async fn a_wrong_key_is_denied_and_nothing_is_stored() {
    let bucket = Bucket::start().await.unwrap();
    let (id, _) = bucket.key_pair();
    for keys in [Keys::new(id, "marker-wrong", None), Keys::new("marker-stranger", "marker-wrong", None)] {
        let store = store(Settings { keys, ..bucket.settings(Addressing::Virtual) });
        let error = put(&store, "key", b"1").await.unwrap_err();
        assert_eq!(error.kind(), Kind::Denied, "{}", error.chain());
        assert!(!error.chain().contains("marker"), "{}", error.chain());
        assert_eq!(store.look("key").await.unwrap_err().kind(), Kind::Denied);
    }
    assert!(bucket.keys().is_empty());
}

#[tokio::test]
async fn a_session_token_is_sent_and_covered_by_the_signature() {
    let bucket = Bucket::start().await.unwrap();
    let (id, secret) = bucket.key_pair();
    let keys = Keys::new(id, secret, Some("session".to_owned()));
    put(&store(Settings { keys, ..bucket.settings(Addressing::Virtual) }), "key", b"1").await.unwrap();
    let (http, store) = scripted(vec![answer("200 OK", "ETag: \"c4ca4238a0b923820dcc509a6f75849b\"\r\n", "")]).await;
    put(&store, "key", b"1").await.unwrap();
    let seen = &http.seen()[0];
    assert_eq!(seen.header("x-amz-security-token"), Some("marker-token"));
    let signed = seen.header("authorization").unwrap();
    for name in ["x-amz-security-token", "if-none-match", "content-md5", "host"] {
        assert!(signed.split("Signature=").next().unwrap().contains(name), "{signed}");
    }
}

#[tokio::test]
async fn a_refusal_leaves_nothing_behind_and_says_when_to_come_back() {
    let (bucket, store) = bucket().await;
    for (status, code) in [(503, "SlowDown"), (500, "InternalError"), (400, "BadDigest"), (403, "RequestTimeTooSkewed")]
    {
        bucket.fail_next(Op::Put, Fault::Refuse(status, code));
        let error = put(&store, "key", b"1").await.unwrap_err();
        assert_eq!(error.kind(), Kind::Unavailable, "{}", error.chain());
        assert!(error.chain().contains(code) && error.chain().contains("scripted"), "{}", error.chain());
    }
    assert!(bucket.keys().is_empty());
}

#[tokio::test]
async fn an_error_inside_a_success_is_an_error() {
    let (_http, store) =
        scripted(vec![answer("200 OK", "", "<Error><Code>SlowDown</Code><Message>no</Message></Error>")]).await;
    assert_eq!(put(&store, "key", b"1").await.unwrap_err().kind(), Kind::Unavailable);
}

#[tokio::test]
async fn a_redirect_is_not_followed_and_says_what_to_set() {
    let (http, store) = scripted(vec![answer(
        "307 Temporary Redirect",
        "Location: http://127.0.0.1:1/elsewhere\r\nx-amz-bucket-region: ap-hongkong\r\n",
        "",
    )])
    .await;
    let error = store.read_small("key").await.unwrap_err();
    assert_eq!(error.kind(), Kind::Invalid);
    assert!(error.chain().contains("ap-hongkong") && error.chain().contains("`region`"), "{}", error.chain());
    assert_eq!(http.seen().len(), 1);
}

#[tokio::test]
async fn no_error_and_no_debug_text_holds_a_key_or_a_signature() {
    let echo = "<Error><Code>SignatureDoesNotMatch</Code><Message>marker-id marker-secret marker-token</Message>\
                <AWSAccessKeyId>marker-id</AWSAccessKeyId><StringToSign>AWS4-HMAC</StringToSign></Error>";
    let scripts = vec![answer("403 Forbidden", "", echo), vec![Step::Reset], vec![Step::Reset], vec![Step::Hang]];
    let (http, store) = scripted(scripts).await;
    for error in [
        store.read_small("key").await.unwrap_err(),
        put(&store, "key", b"1").await.unwrap_err(),
        store.look("key").await.unwrap_err(),
    ] {
        let texts = format!("{} {error:?} {error}", error.chain());
        for secret in ["marker", "Signature=", "AWS4-HMAC", "Credential="] {
            assert!(!texts.contains(secret), "{texts}");
        }
    }
    assert!(http.seen()[0].header("authorization").unwrap().contains("marker-id"));
    let settings = Settings {
        keys: Keys::new("marker", "marker", Some("marker".to_owned())),
        ..Bucket::start().await.unwrap().settings(Addressing::Path)
    };
    let store = S3::new(settings.clone(), Clock::system()).unwrap();
    assert!(!format!("{settings:?} {store:?}").contains("marker"));
}

#[tokio::test]
async fn metadata_that_no_header_can_carry_is_refused_before_anything_is_sent() {
    let (bucket, store) = bucket().await;
    let body = Body::from(b"1".to_vec());
    for (name, value) in
        [("a_b", "1"), ("", "1"), ("A", "1"), ("a", "caf\u{e9}"), ("a", "1\r\nx: y"), ("a", " 1"), ("a", "1  2")]
    {
        let metadata = [(name.to_owned(), value.to_owned())];
        let error = store.put(&upload("key", &body, &metadata), None).await.unwrap_err();
        assert_eq!(error.kind(), Kind::Internal, "{name} {value}");
    }
    assert!(bucket.requests().is_empty());
}

#[tokio::test]
async fn the_stand_in_tls_connector_is_never_reached() {
    use rusoto_s3::S3 as _;
    use tokio::io::AsyncReadExt;

    // What is linked under rusoto's own client refuses to connect …
    #[expect(clippy::disallowed_methods, reason = "the point of this test")]
    let theirs = rusoto_core::HttpClient::new().unwrap();
    let region = rusoto_core::Region::Custom { name: "r".to_owned(), endpoint: "https://127.0.0.1:1".to_owned() };
    let provider = rusoto_core::credential::StaticProvider::new_minimal("id".to_owned(), "key".to_owned());
    let refused = rusoto_s3::S3Client::new_with(theirs, provider, region).list_buckets().await.unwrap_err();
    assert!(refused.to_string().contains("stand-in for hyper-tls never connects"), "{refused}");

    // … and ours begins a TLS handshake.
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let endpoint = format!("https://s3.localhost:{}", listener.local_addr().unwrap().port());
    let first = tokio::spawn(async move {
        let (mut stream, _) = listener.accept().await.unwrap();
        let mut record = [0; 5];
        stream.read_exact(&mut record).await.unwrap();
        let mut hello = vec![0; usize::from(u16::from_be_bytes([record[3], record[4]]))];
        stream.read_exact(&mut hello).await.unwrap();
        (record, hello)
    });
    let bucket = Bucket::start().await.unwrap();
    let store = store(Settings { endpoint, ..bucket.settings(Addressing::Virtual) });
    let error = put(&store, "key", b"1").await.unwrap_err();
    assert_eq!(error.kind(), Kind::Unavailable, "{}", error.chain());
    let (record, hello) = first.await.unwrap();
    assert_eq!((record[0], record[1], hello[0]), (0x16, 3, 1), "a TLS handshake record with a ClientHello");
    let name = format!("{}.s3.localhost", bucket.name());
    assert!(hello.windows(name.len()).any(|part| part == name.as_bytes()), "the bucket's host is asked for");
}

//! What is tried again, how often and until when; and what is not.

use super::*;

const TAG: &str = "ETag: \"c4ca4238a0b923820dcc509a6f75849b\"\r\n";

fn refusal(status: u16, code: &str) -> Vec<Step> {
    answer(&format!("{status} Refused"), "", &format!("<Error><Code>{code}</Code><Message>no</Message></Error>"))
}

async fn at_times(scripts: Vec<Vec<Step>>) -> (Http, S3) {
    let http = Http::start(scripts).await.unwrap();
    let store = patient(at(&http));
    (http, store)
}

/// Each may be another answer when it is asked again.
fn passing() -> Vec<Vec<Step>> {
    let half = Step::send("HTTP/1.1 200 OK\r\nETag: \"1\"\r\nContent-Length: 9\r\n\r\nhalf");
    vec![
        refusal(503, "SlowDown"),
        refusal(503, "ServiceUnavailable"),
        refusal(429, "TooManyRequests"),
        refusal(500, "InternalError"),
        refusal(502, ""),
        refusal(504, ""),
        refusal(400, "RequestTimeout"),
        refusal(403, "RequestTimeTooSkewed"),
        refusal(409, "OperationAborted"),
        vec![Step::Reset],
        vec![Step::Close],
        vec![Step::Hang],
        vec![half.clone(), Step::Close],
        vec![half.clone(), Step::Reset],
        vec![half, Step::Hang],
    ]
}

#[tokio::test]
async fn a_read_that_may_succeed_next_time_is_tried_again() {
    for failure in passing() {
        let (http, store) = at_times(vec![failure.clone(), answer("200 OK", TAG, "1")]).await;
        let found = store.read_small("key").await.unwrap_or_else(|error| panic!("{failure:?}: {}", error.chain()));
        assert_eq!(found.unwrap().bytes, b"1");
        assert_eq!(http.seen().len(), 2);
    }
}

#[tokio::test]
async fn a_conditional_put_that_may_succeed_next_time_is_tried_again_with_the_same_bytes() {
    for failure in passing() {
        let (http, store) = at_times(vec![failure.clone(), answer("200 OK", TAG, "")]).await;
        put(&store, "key", b"1").await.unwrap_or_else(|error| panic!("{failure:?}: {}", error.chain()));
        let seen = http.seen();
        assert_eq!(seen.len(), 2);
        assert!(seen.iter().all(|put| put.body == b"1" && put.header("if-none-match") == Some("*")));
    }
}

#[tokio::test]
async fn what_would_be_refused_again_is_asked_once() {
    for (status, code, kind) in [
        (403, "AccessDenied", Kind::Denied),
        (400, "ExpiredToken", Kind::Denied),
        (403, "InvalidAccessKeyId", Kind::Denied),
        (403, "SignatureDoesNotMatch", Kind::Denied),
        (404, "NoSuchBucket", Kind::NotFound),
        (400, "EntityTooLarge", Kind::Invalid),
        (301, "PermanentRedirect", Kind::Invalid),
    ] {
        let (http, store) = at_times(vec![refusal(status, code); 2]).await;
        let error = put(&store, "key", b"1").await.unwrap_err();
        assert_eq!((error.kind(), http.seen().len()), (kind, 1), "{}", error.chain());
        let error = store.read_small("key").await.unwrap_err();
        assert_eq!((error.kind(), http.seen().len()), (kind, 2), "{}", error.chain());
    }
}

#[tokio::test]
async fn an_expired_token_says_that_the_instance_must_end() {
    let (_http, store) = at_times(vec![refusal(400, "ExpiredToken")]).await;
    let error = store.read_small("key").await.unwrap_err();
    assert_eq!(error.kind(), Kind::Denied);
    assert!(error.chain().contains("this instance must end"), "{}", error.chain());
}

#[tokio::test]
async fn a_request_refused_for_its_time_is_signed_anew_once_and_then_the_clock_is_said_to_be_wrong() {
    let body = "<Error><Code>RequestTimeTooSkewed</Code></Error>";
    let skewed = answer("403 Forbidden", "Date: Sat, 01 Jan 2000 00:00:00 GMT\r\n", body);
    let (http, store) = at_times(vec![skewed.clone(), skewed.clone(), skewed]).await;
    let error = store.read_small("key").await.unwrap_err();
    assert_eq!((error.kind(), http.seen().len()), (Kind::Unavailable, 2));
    let text = error.chain();
    assert!(text.contains("set the clock") && text.contains("s ahead of the store's"), "{text}");
    let seconds: u64 = text.split_once("(it is ").unwrap().1.split_once(' ').unwrap().0.parse().unwrap();
    assert!((Clock::system().now_ms() / 1000 - 946_684_800).abs_diff(seconds) < 60, "{text}");
}

#[tokio::test]
async fn how_long_a_store_asks_to_be_left_alone_is_kept_or_left_to_the_next_run() {
    let slow = |seconds: u32| {
        let body = "<Error><Code>SlowDown</Code></Error>";
        answer("503 Slow Down", &format!("Retry-After: {seconds}\r\n"), body)
    };
    let (http, store) = at_times(vec![slow(1), answer("200 OK", TAG, "1")]).await;
    let begun = Clock::system().now();
    store.read_small("key").await.unwrap();
    assert!(begun.elapsed() >= Duration::from_secs(1));
    assert_eq!(http.seen().len(), 2);
    for (seconds, deadline) in [(3600, 60_000), (20, 5_000)] {
        let (http, store) = at_times(vec![slow(seconds), answer("200 OK", TAG, "1")]).await;
        let error = store.until(soon(deadline)).read_small("key").await.unwrap_err();
        assert_eq!((error.kind(), http.seen().len()), (Kind::Unavailable, 1), "{}", error.chain());
    }
}

#[tokio::test]
async fn a_store_that_keeps_refusing_is_asked_a_few_times() {
    let (bucket, _) = bucket().await;
    let store = patient(bucket.settings(Addressing::Virtual));
    for _ in 0..4 {
        bucket.fail_next(Op::Put, Fault::Refuse(503, "SlowDown"));
    }
    let error = put(&store, "key", b"1").await.unwrap_err();
    assert_eq!(error.kind(), Kind::Unavailable);
    assert_eq!(bucket.requests(), [Op::Put; 4]);
    assert!(bucket.keys().is_empty());
}

#[tokio::test]
async fn nothing_is_waited_for_that_would_come_after_the_deadline() {
    let (bucket, _) = bucket().await;
    let settings = bucket.settings(Addressing::Virtual);
    let limits = Limits { pause: Duration::from_secs(3600), ..settings.limits };
    let store = S3::new(Settings { limits, ..settings }, Clock::system()).unwrap();
    bucket.fail_next(Op::Put, Fault::Refuse(503, "SlowDown"));
    let error = put(&store.until(soon(1000)), "key", b"1").await.unwrap_err();
    assert_eq!(error.kind(), Kind::Unavailable, "{}", error.chain());
    assert_eq!(bucket.requests(), [Op::Put]);
}

#[tokio::test]
async fn an_object_that_was_lost_on_its_way_is_sent_again() {
    let (bucket, _) = bucket().await;
    let store = patient(bucket.settings(Addressing::Virtual));
    bucket.fail_next(Op::Put, Fault::Drop);
    put(&store, "key", b"1").await.unwrap();
    bucket.fail_next(Op::Put, Fault::StoreThenDrop);
    put(&store, "other", b"1").await.unwrap();
    assert_eq!(bucket.requests(), [Op::Put, Op::Put, Op::Put, Op::Put, Op::Head]);
    assert_eq!(bucket.keys(), ["key", "other"]);
}

#[tokio::test]
async fn a_head_that_was_written_without_an_answer_is_recognised() {
    for fault in [Fault::StoreThenDrop, Fault::StoreThenRefuse(500, "InternalError"), Fault::StoreThenRefuse(504, "")] {
        let (bucket, _) = bucket().await;
        let store = patient(bucket.settings(Addressing::Virtual));
        bucket.fail_next(Op::Put, fault.clone());
        let first = store.write_small("head", b"1".to_vec(), Expect::Absent).await.unwrap();
        assert_eq!(bucket.requests(), [Op::Put, Op::Put, Op::Get]);
        bucket.fail_next(Op::Put, fault);
        let second = store.write_small("head", b"2".to_vec(), Expect::Unchanged(&first)).await.unwrap();
        store.write_small("head", b"3".to_vec(), Expect::Unchanged(&second)).await.unwrap();
        assert_eq!(bucket.read("head").unwrap(), b"3");
    }
}

#[tokio::test]
async fn a_head_that_somebody_else_wrote_meanwhile_is_not_taken_for_ours() {
    let unanswered = || vec![Step::Close];
    let taken = || refusal(412, "PreconditionFailed");
    let gone = refusal(404, "NoSuchKey");
    for (read, kind) in [
        (answer("200 OK", TAG, "theirs"), Kind::Conflict),
        (gone, Kind::Conflict),
        (refusal(403, "AccessDenied"), Kind::Unknown),
    ] {
        let (http, store) = at_times(vec![unanswered(), taken(), read]).await;
        let error = store.write_small("head", b"ours".to_vec(), Expect::Absent).await.unwrap_err();
        assert_eq!((error.kind(), http.seen().len()), (kind, 3), "{}", error.chain());
    }
    // A refusal that comes first needs no look.
    let (http, store) = at_times(vec![taken()]).await;
    let error = store.write_small("head", b"ours".to_vec(), Expect::Absent).await.unwrap_err();
    assert_eq!((error.kind(), http.seen().len()), (Kind::Conflict, 1));
}

#[tokio::test]
async fn a_write_in_doubt_stays_in_doubt_whatever_the_next_try_meets() {
    let (_http, store) = at_times(vec![vec![Step::Close], refusal(403, "AccessDenied"), refusal(403, "")]).await;
    let error = store.write_small("head", b"ours".to_vec(), Expect::Absent).await.unwrap_err();
    assert_eq!(error.kind(), Kind::Unknown, "{}", error.chain());
}

#[tokio::test]
async fn without_conditions_a_write_in_doubt_is_not_sent_again() {
    let (bucket, _) = bucket().await;
    let store = patient(bucket.settings(Addressing::Virtual));
    bucket.fail_next(Op::Put, Fault::Refuse(501, "NotImplemented"));
    bucket.fail_next(Op::Put, Fault::Refuse(503, "SlowDown"));
    bucket.fail_next(Op::Put, Fault::Drop);
    assert_eq!(put(&store, "key", b"1").await.unwrap_err().kind(), Kind::Unknown);
    let puts = bucket.requests().iter().filter(|op| **op == Op::Put).count();
    assert_eq!(puts, 3, "{:?}", bucket.requests());
    assert!(bucket.keys().is_empty());
}

#[tokio::test]
async fn without_conditions_a_head_is_not_written_over_the_write_that_it_met() {
    let (bucket, _) = bucket().await;
    let store = patient(bucket.settings(Addressing::Virtual));
    bucket.fail_next(Op::Put, Fault::Refuse(501, "NotImplemented"));
    bucket.fail_next(Op::Put, Fault::Refuse(409, "OperationAborted"));
    let error = store.write_small("head", b"ours".to_vec(), Expect::Absent).await.unwrap_err();
    assert_eq!(error.kind(), Kind::Conflict, "{}", error.chain());
    assert!(bucket.keys().is_empty());
}

#[tokio::test]
async fn no_redirect_takes_a_request_to_another_host() {
    let elsewhere = Http::start(Vec::new()).await.unwrap();
    for status in ["301 Moved", "302 Found", "303 See Other", "307 Temporary Redirect", "308 Permanent Redirect"] {
        let location = format!("Location: http://{}/orders/key\r\n", elsewhere.address());
        let (http, store) = at_times(vec![answer(status, &location, ""); 3]).await;
        assert_eq!(store.read_small("key").await.unwrap_err().kind(), Kind::Invalid);
        assert_eq!(put(&store, "key", b"1").await.unwrap_err().kind(), Kind::Invalid);
        assert_eq!(store.list("", None, 1).await.unwrap_err().kind(), Kind::Invalid);
        assert_eq!(http.seen().len(), 3);
    }
    assert_eq!(elsewhere.connections(), 0);
}

#[tokio::test]
async fn a_run_takes_no_connection_from_the_one_before_it() {
    let (http, store) = scripted(vec![answer("200 OK", TAG, "1"); 4]).await;
    for run in 1..=2 {
        let store = store.until(soon(60_000));
        for _ in 0..2 {
            store.read_small("key").await.unwrap();
        }
        assert_eq!(http.connections(), run);
    }
}

#[tokio::test]
async fn bytes_that_cannot_be_read_back_are_unavailable_and_not_unknown() {
    let (bucket, _) = bucket().await;
    let store = patient(bucket.settings(Addressing::Virtual));
    for length in [1 << 20, 20 << 20] {
        let body = Body::lost(length).unwrap();
        let error = store.put(&upload("key", &body, &[]), None).await.unwrap_err();
        assert_eq!(error.kind(), Kind::Unavailable, "{}", error.chain());
        assert!(error.chain().contains("temporary files"), "{}", error.chain());
    }
    assert!(bucket.keys().is_empty() && bucket.uploads().is_empty());
}

//! Objects that go up in parts: what is confirmed, what is left behind, and who clears it away.

use super::*;
use tdmq_backup::encode::spool::PART;
use tdmq_backup::store::UploadId;

/// Two parts, the second of them short.
fn long() -> Body {
    let bytes: Vec<u8> =
        (0..(PART as u32 + (1 << 20)) / 4).flat_map(|n: u32| n.wrapping_mul(2_654_435_761).to_le_bytes()).collect();
    Body::from(bytes)
}

async fn shelf() -> (Bucket, S3) {
    let bucket = Bucket::start().await.unwrap();
    let settings = bucket.settings(Addressing::Virtual);
    let limits = Limits { progress: Duration::from_millis(400), ..settings.limits };
    let store = patient(Settings { limits, ..settings });
    (bucket, store)
}

fn holds(bucket: &Bucket, key: &str, body: &Body) -> bool {
    let whole: Vec<u8> = body.slices().flat_map(|slice| slice.unwrap()).collect();
    bucket.read(key).as_deref() == Some(&whole) && bucket.uploads().is_empty()
}

#[tokio::test]
async fn a_long_object_goes_up_in_parts_and_comes_back_whole() {
    let bucket = Bucket::start().await.unwrap();
    let body = long();
    let metadata = [("first-id".to_owned(), "12:0".to_owned())];
    for style in STYLES {
        for key in &KEYS[1..3] {
            let settings = Settings {
                storage_class: Some("STANDARD_IA".to_owned()),
                sse: Some("AES256".to_owned()),
                ..bucket.settings(style)
            };
            let (store, key) = (store(settings), format!("{style:?}/{key}"));
            store.put(&upload(&key, &body, &metadata), None).await.unwrap();
            assert!(holds(&bucket, &key, &body), "{key}");
            let held = store.look(&key).await.unwrap().unwrap();
            assert_eq!(held.length, body.length());
            assert_eq!(held.metadata["first-id"], "12:0");
            assert_eq!(held.metadata["sha256"], body.sha256_hex());
            assert_eq!(bucket.kept_as(&key).unwrap(), (Some("STANDARD_IA".to_owned()), Some("AES256".to_owned())));
        }
    }
    assert_eq!(bucket.requests()[..5], [Op::Create, Op::Part, Op::Part, Op::Complete, Op::Head]);
}

#[tokio::test]
async fn class_and_encryption_go_with_every_object_and_only_encryption_with_the_head() {
    let bucket = Bucket::start().await.unwrap();
    let class = Some("STANDARD_IA".to_owned());
    let sse = Some("AES256".to_owned());
    let settings = Settings { storage_class: class.clone(), sse: sse.clone(), ..bucket.settings(Addressing::Virtual) };
    let store = store(settings);
    put(&store, "short", b"1").await.unwrap();
    store.write_small("head", b"1".to_vec(), Expect::Absent).await.unwrap();
    assert_eq!(bucket.kept_as("short").unwrap(), (class, sse.clone()));
    assert_eq!(bucket.kept_as("head").unwrap(), (None, sse));
}

#[tokio::test]
async fn what_was_begun_is_what_is_stored_and_a_short_object_needs_no_beginning() {
    let (bucket, store) = shelf().await;
    let (body, short) = (long(), Body::from(b"1".to_vec()));
    assert_eq!(store.begin(&upload("short", &short, &[])).await.unwrap(), None);
    let id = store.begin(&upload("key", &body, &[])).await.unwrap().unwrap();
    assert_eq!(bucket.uploads(), [id.as_str()]);
    assert!(bucket.keys().is_empty());
    store.put(&upload("key", &body, &[]), Some(&id)).await.unwrap();
    assert!(holds(&bucket, "key", &body));
    assert_eq!(bucket.requests(), [Op::Create, Op::Part, Op::Part, Op::Complete]);
}

#[tokio::test]
async fn a_refusal_at_any_step_leaves_no_object_and_no_upload() {
    let body = long();
    for op in [Op::Create, Op::Part, Op::Complete] {
        let (bucket, store) = shelf().await;
        bucket.fail_next(op, Fault::Refuse(403, "AccessDenied"));
        let error = store.put(&upload("key", &body, &[]), None).await.unwrap_err();
        assert_eq!(error.kind(), Kind::Denied, "{op:?} {}", error.chain());
        assert!(bucket.keys().is_empty() && bucket.uploads().is_empty(), "{op:?}");
    }
}

#[tokio::test]
async fn what_passes_is_tried_again_at_any_step_and_the_object_is_stored_once() {
    let body = long();
    for op in [Op::Create, Op::Part, Op::Complete] {
        for fault in [
            Fault::Refuse(503, "SlowDown"),
            Fault::Refuse(500, "InternalError"),
            Fault::Refuse(200, "InternalError"),
            Fault::Drop,
            Fault::Hang,
            Fault::StoreThenDrop,
            Fault::StoreThenHang,
            Fault::StoreThenRefuse(500, "InternalError"),
            Fault::StoreThenRefuse(200, "InternalError"),
        ] {
            let (bucket, store) = shelf().await;
            bucket.fail_next(op, fault.clone());
            let stored = store.put(&upload("key", &body, &[]), None).await;
            stored.unwrap_or_else(|error| panic!("{op:?} {fault:?}: {}", error.chain()));
            // What the first Create began holds nothing.
            let left = usize::from(op == Op::Create && format!("{fault:?}").starts_with("StoreThen"));
            assert_eq!(bucket.uploads().len(), left, "{op:?} {fault:?}");
            assert_eq!(bucket.keys(), ["key"]);
            assert_eq!(store.look("key").await.unwrap().unwrap().metadata["sha256"], body.sha256_hex());
        }
    }
}

#[tokio::test]
async fn an_unanswered_complete_is_unknown_and_what_was_begun_stays_for_the_next_run() {
    let body = long();
    let (bucket, store) = shelf().await;
    for (fault, stored) in [(Fault::Hang, false), (Fault::StoreThenHang, true)] {
        let id = store.begin(&upload("key", &body, &[])).await.unwrap().unwrap();
        bucket.fail_next(Op::Complete, fault);
        let patient = Settings { limits: Limits::default(), ..bucket.settings(Addressing::Virtual) };
        let hurried = S3::new(patient, Clock::system()).unwrap().until(soon(3000));
        let error = hurried.put(&upload("key", &body, &[]), Some(&id)).await.unwrap_err();
        assert_eq!(error.kind(), Kind::Unknown, "{}", error.chain());
        assert_eq!(bucket.uploads().len(), usize::from(!stored));
        assert_eq!(bucket.keys().len(), usize::from(stored));
        // The successor: ends it, or finds that it has ended, and stores what is not there.
        store.abort("key", &id).await.unwrap();
        assert!(bucket.uploads().is_empty());
    }
    store.put(&upload("key", &body, &[]), None).await.unwrap();
    assert!(holds(&bucket, "key", &body));
}

#[tokio::test]
async fn a_complete_that_met_another_write_begins_anew() {
    let body = long();
    let (bucket, store) = shelf().await;
    bucket.fail_next(Op::Complete, Fault::Refuse(409, "ConditionalRequestConflict"));
    store.put(&upload("key", &body, &[]), None).await.unwrap();
    assert!(holds(&bucket, "key", &body));
    let begun = bucket.requests().iter().filter(|op| **op == Op::Create).count();
    assert_eq!(begun, 2);
    for _ in 0..2 {
        bucket.fail_next(Op::Complete, Fault::Refuse(409, "ConditionalRequestConflict"));
    }
    let error = store.put(&upload("other", &body, &[]), None).await.unwrap_err();
    assert_eq!(error.kind(), Kind::Conflict, "{}", error.chain());
    assert_eq!(bucket.keys(), ["key"]);
    assert!(bucket.uploads().is_empty());
}

#[tokio::test]
async fn a_taken_key_is_settled_by_length_and_digest() {
    let body = long();
    for refused in [None, Some(Fault::Refuse(409, "FileAlreadyExists"))] {
        let (bucket, store) = shelf().await;
        store.put(&upload("key", &body, &[]), None).await.unwrap();
        refused.iter().for_each(|fault| bucket.fail_next(Op::Complete, fault.clone()));
        store.put(&upload("key", &body, &[]), None).await.unwrap();
        assert!(holds(&bucket, "key", &body));

        bucket.plant("theirs", b"theirs", &[]).unwrap();
        refused.iter().for_each(|fault| bucket.fail_next(Op::Complete, fault.clone()));
        let error = store.put(&upload("theirs", &body, &[]), None).await.unwrap_err();
        assert_eq!(error.kind(), Kind::Conflict, "{}", error.chain());
        assert_eq!(bucket.read("theirs").unwrap(), b"theirs");
        assert!(bucket.uploads().is_empty());
    }
}

#[tokio::test]
async fn a_store_without_conditions_completes_after_a_look() {
    let body = long();
    let (bucket, store) = shelf().await;
    bucket.fail_next(Op::Complete, Fault::Refuse(501, "NotImplemented"));
    store.put(&upload("key", &body, &[]), None).await.unwrap();
    assert!(holds(&bucket, "key", &body));
    bucket.plant("theirs", b"theirs", &[]).unwrap();
    assert_eq!(store.put(&upload("theirs", &body, &[]), None).await.unwrap_err().kind(), Kind::Conflict);
    assert_eq!(bucket.read("theirs").unwrap(), b"theirs");
    assert!(bucket.uploads().is_empty());
}

#[tokio::test]
async fn an_upload_that_a_successor_ended_is_busy_and_leaves_nothing() {
    let body = long();
    let (bucket, store) = shelf().await;
    let id = store.begin(&upload("key", &body, &[])).await.unwrap().unwrap();
    store.abort("key", &id).await.unwrap();
    store.abort("key", &id).await.unwrap();
    store.abort("key", &UploadId::new("never-was")).await.unwrap();
    let error = store.put(&upload("key", &body, &[]), Some(&id)).await.unwrap_err();
    assert_eq!(error.kind(), Kind::Busy, "{}", error.chain());
    // Ended between the last part and Complete.
    bucket.fail_next(Op::Complete, Fault::Refuse(404, "NoSuchUpload"));
    let error = store.put(&upload("key", &body, &[]), None).await.unwrap_err();
    assert_eq!(error.kind(), Kind::Busy, "{}", error.chain());
    assert!(bucket.keys().is_empty() && bucket.uploads().is_empty());
}

#[tokio::test]
async fn a_put_that_is_dropped_sends_nothing_more() {
    let body = long();
    let (bucket, store) = shelf().await;
    bucket.fail_next(Op::Part, Fault::Hang);
    bucket.fail_next(Op::Part, Fault::Hang);
    let metadata = [];
    let up = upload("key", &body, &metadata);
    let mut put = Box::pin(store.put(&up, None));
    std::future::poll_fn(|context| {
        assert!(put.as_mut().poll(context).is_pending());
        if bucket.requests().contains(&Op::Part) { std::task::Poll::Ready(()) } else { std::task::Poll::Pending }
    })
    .await;
    drop(put);
    for _ in 0..50 {
        store.look("key").await.unwrap();
    }
    assert!(!bucket.requests().contains(&Op::Complete));
    assert_eq!(bucket.uploads().len(), 1);
}

/// A server that takes two like parts and answers as the test says.
async fn raw(part: &str, complete: Vec<Step>, look: Option<(u64, &str)>) -> (Http, Result<(), Error>, Body) {
    let body = Body::from(vec![0; 2 * PART as usize]);
    let begun = "<InitiateMultipartUploadResult><UploadId>u1</UploadId></InitiateMultipartUploadResult>";
    let mut scripts = vec![answer("200 OK", "", begun), answer("200 OK", part, ""), answer("200 OK", part, "")];
    scripts.push(complete);
    if let Some((length, digest)) = look {
        let digest = digest.replace("OURS", &body.sha256_hex());
        scripts.push(vec![Step::send(format!(
            "HTTP/1.1 200 OK\r\nContent-Length: {length}\r\nETag: \"0\"\r\nx-amz-meta-sha256: {digest}\r\n\r\n"
        ))]);
    }
    let (http, store) = scripted(scripts).await;
    let stored = store.put(&upload("key", &body, &[]), None).await;
    (http, stored, body)
}

/// Of 16 MiB of zeros.
const ZEROS: &str = "ETag: \"2c7ab85a893283e98c931e9511add182\"\r\n";

fn completed(tag: &str) -> Vec<Step> {
    let spaces = " ".repeat(2000);
    answer(
        "200 OK",
        "",
        &format!(
            "<?xml version=\"1.0\"?>{spaces}<CompleteMultipartUploadResult><Key>key</Key>{tag}</CompleteMultipartUploadResult>"
        ),
    )
}

#[tokio::test]
async fn the_etag_of_the_parts_digests_is_believed_without_a_look() {
    let tag = "<ETag>&quot;3a17becef13179050f8669d3728f8ace-2&quot;</ETag>";
    let (http, stored, body) = raw(ZEROS, completed(tag), None).await;
    let expected = {
        use md5::{Digest, Md5};
        let all: Vec<u8> = body.parts().flat_map(|part| part.md5).collect();
        Md5::digest(&all).iter().map(|byte| format!("{byte:02x}")).collect::<String>()
    };
    assert!(tag.contains(&expected), "{expected}");
    stored.unwrap();
    let seen = http.seen();
    assert_eq!(seen.len(), 4);
    assert!(seen[1..3].iter().all(|part| part.header("content-md5").is_some() && part.body.len() == PART as usize));
    assert_eq!(seen[3].header("if-none-match"), Some("*"));
    assert!(seen[3].header("authorization").unwrap().contains("if-none-match"));
}

#[tokio::test]
async fn a_complete_without_its_etag_is_settled_by_a_look() {
    let length = 2 * PART;
    for (look, kind) in [
        ((length, "OURS"), None),
        ((length - 1, "OURS"), Some(Kind::Conflict)),
        ((length, "other"), Some(Kind::Conflict)),
    ] {
        for tag in ["", "<ETag>&quot;00000000000000000000000000000000-2&quot;</ETag>"] {
            let (_http, stored, _) = raw(ZEROS, completed(tag), Some(look)).await;
            assert_eq!(stored.map_err(|error| error.kind()).err(), kind);
        }
    }
}

#[tokio::test]
async fn a_part_whose_etag_is_not_its_md5_ends_the_upload() {
    for part in ["ETag: \"00000000000000000000000000000000\"\r\n", ""] {
        let (http, stored, _) = raw(part, completed(""), None).await;
        assert_eq!(stored.unwrap_err().kind(), Kind::Unavailable);
        assert!(http.seen().last().unwrap().head.starts_with("DELETE "), "{}", http.seen().last().unwrap().head);
        assert!(http.seen().iter().filter(|seen| seen.head.starts_with("POST ")).count() == 1);
    }
}

#[tokio::test]
async fn an_etag_under_a_key_service_is_no_md5_and_a_look_decides() {
    let part = "ETag: \"opaque\"\r\nx-amz-server-side-encryption: aws:kms\r\n";
    let (_http, stored, _) = raw(part, completed("<ETag>opaque-2</ETag>"), Some((2 * PART, "OURS"))).await;
    stored.unwrap();
}

#[tokio::test]
async fn an_error_after_spaces_in_a_success_is_an_error() {
    let spaces = " ".repeat(3000);
    let late = answer("200 OK", "", &format!("{spaces}<Error><Code>AccessDenied</Code></Error>"));
    let (_http, stored, _) = raw(ZEROS, late, None).await;
    assert_eq!(stored.unwrap_err().kind(), Kind::Denied);
}

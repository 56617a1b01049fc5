//! No credential in any text, at any level, on any way of failing.

use std::sync::Mutex;

use super::*;

static LOGGED: Mutex<Vec<String>> = Mutex::new(Vec::new());

/// Takes everything that any crate in this process logs, the other tests' requests too.
struct All;

impl log::Log for All {
    fn enabled(&self, _: &log::Metadata<'_>) -> bool {
        true
    }

    fn log(&self, record: &log::Record<'_>) {
        LOGGED.lock().unwrap().push(format!("{} {} {}", record.level(), record.target(), record.args()));
    }

    fn flush(&self) {}
}

#[tokio::test]
async fn no_level_of_any_logger_and_no_error_shows_a_credential() {
    log::set_logger(&All).unwrap();
    log::set_max_level(log::LevelFilter::Trace);
    log::info!("heard");
    // rusoto would say the session token here.
    log::debug!("not heard: marker");

    let echo = "<Error><Code>CODE</Code><Message>marker-id marker-secret marker-token</Message></Error>";
    let body = Body::from(b"1".to_vec());
    let long = Body::from(vec![0; 17 << 20]);
    let mut texts = Vec::new();
    for code in [
        "AccessDenied",
        "ExpiredToken",
        "SlowDown",
        "NoSuchKey",
        "NoSuchUpload",
        "PreconditionFailed",
        "NotImplemented",
    ] {
        let refusals = vec![answer("400 Bad Request", "", &echo.replace("CODE", code)); 40];
        texts.extend(every_way(refusals, &body, &long).await);
    }
    let odd = "<Odd>marker-id marker-secret marker-token</Odd>";
    for step in
        [Step::Reset, Step::Close, Step::send(format!("HTTP/1.1 200 OK\r\n\r\n{odd}")), Step::send("\x16\x03\r\n\r\n")]
    {
        texts.extend(every_way(vec![vec![step, Step::Close]; 40], &body, &long).await);
    }
    assert!(texts.len() > 50, "{}", texts.len());
    let logged = LOGGED.lock().unwrap();
    assert!(logged.iter().any(|line| line.contains("heard")), "{logged:?}");
    for text in texts.iter().chain(logged.iter()) {
        for secret in ["marker", "Signature=", "AWS4-HMAC", "Credential="] {
            assert!(!text.contains(secret), "{text}");
        }
    }
}

/// What each call of a store says that fails.
async fn every_way(scripts: Vec<Vec<Step>>, body: &Body, long: &Body) -> Vec<String> {
    let http = Http::start(scripts).await.unwrap();
    let store = patient(at(&http));
    let id = tdmq_backup::store::UploadId::new("u1");
    let errors = [
        store.read_small("key").await.err(),
        store.write_small("key", b"1".to_vec(), Expect::Absent).await.err(),
        store.write_small("key", b"1".to_vec(), Expect::Unchanged(&Version::new("\"1\""))).await.err(),
        store.look("key").await.err(),
        store.list("", None, 1).await.err(),
        store.open("key").await.err(),
        store.put(&upload("key", body, &[]), None).await.err(),
        store.begin(&upload("key", long, &[])).await.err(),
        store.put(&upload("key", long, &[]), Some(&id)).await.err(),
        store.abort("key", &id).await.err(),
    ];
    let seen = http.seen();
    assert!(seen[0].header("authorization").unwrap().contains("marker-id"));
    assert_eq!(seen[0].header("x-amz-security-token"), Some("marker-token"));
    let mut texts = vec![format!("{store:?}")];
    texts.extend(errors.into_iter().flatten().map(|error| format!("{} {error} {error:?}", error.chain())));
    texts
}

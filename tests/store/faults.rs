//! Every fault of the wire, on every operation, by a server that sends the very bytes.

use futures::future::join_all;

use super::operations::{ALL, Ask, Ends, GARBLED, SILENT, meets, right, says, those};
use super::*;

#[tokio::test]
async fn the_right_answer_is_right_for_every_operation() {
    meets("nothing", &ALL, 1, |ask| vec![Step::send(right(ask, &[7]).0 + "\r\n" + &right(ask, &[7]).1)], Ends::Well)
        .await;
}

#[tokio::test]
async fn a_connection_that_ends_or_falls_silent_before_an_answer() {
    for (name, step) in [("reset", Step::Reset), ("close", Step::Close), ("hang", Step::Hang)] {
        meets(name, &ALL, 1, |_| vec![step.clone()], SILENT).await;
        // In the middle of the status line, of a header, and before the empty line.
        for begun in ["HTTP/1", "HTTP/1.1 200 OK\r\nETa", "HTTP/1.1 200 OK\r\nETag: \"1\"\r\n"] {
            meets(&format!("{begun:?}, {name}"), &ALL, 1, says(begun, step.clone()), SILENT).await;
        }
    }
}

#[tokio::test]
async fn a_request_that_is_not_read_to_its_end() {
    // More than any buffer on the way holds.
    let (size, sends) = (12 << 20, those(Ask::sends));
    let sends: Vec<Ask> = sends.into_iter().filter(|ask| *ask != Ask::Head).collect();
    for (name, step) in [("reset", Step::Reset), ("close", Step::Close), ("hang", Step::Hang)] {
        for taken in [0, 1 << 20] {
            let name = format!("{name} after {taken} bytes");
            meets(&name, &sends, size, |_| vec![Step::Take(taken), step.clone()], SILENT).await;
        }
    }
    let refusal = "HTTP/1.1 403 Forbidden\r\nContent-Length: 40\r\n\r\n<Error><Code>AccessDenied</Code></Error> ";
    let early = |_| vec![Step::Take(0), Step::send(refusal), Step::Hang];
    meets("a refusal before the body", &sends, size, early, Ends::Lasting(Kind::Denied, Kind::Denied)).await;
}

#[tokio::test]
async fn an_answer_that_breaks_off_in_its_body() {
    let asks = those(|ask| !ask.mute());
    for (name, step) in [("close", Step::Close), ("reset", Step::Reset), ("hang", Step::Hang)] {
        for framing in ["Content-Length: 99\r\n\r\n<ha", "Transfer-Encoding: chunked\r\n\r\n3\r\n<ha\r\n"] {
            let fault = says(format!("HTTP/1.1 200 OK\r\nETag: \"1\"\r\n{framing}"), step.clone());
            // What was opened is handed on while it comes: it is for the reader to begin again.
            let (open, rest): (Vec<Ask>, _) = asks.iter().partition(|ask| **ask == Ask::Open);
            meets(&format!("{framing:?}, {name}"), &rest, 1, &fault, SILENT).await;
            meets(&format!("{framing:?}, {name}"), &open, 1, &fault, GARBLED).await;
        }
    }
    let odd = "HTTP/1.1 200 OK\r\nETag: \"1\"\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n<ha\r\n";
    meets("a chunk of no length", &those(|ask| !ask.mute() && ask != Ask::Open), 1, says(odd, Step::Hang), SILENT)
        .await;
}

#[tokio::test]
async fn what_is_no_http() {
    for text in [
        &b"\x16\x03\x01garbage\r\n\r\n"[..],
        b"SSH-2.0-OpenSSH_9.2\r\n\r\n",
        b"ICY 200 OK\r\n\r\n",
        b"HTTP/3.0 200 OK\r\n\r\n",
        b"HTTP/1.1 20 OK\r\n\r\n",
        b"HTTP/1.1 2000 OK\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nno colon\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nX: a\0b\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nX Y: a\r\n\r\n",
    ] {
        let name = String::from_utf8_lossy(text).into_owned();
        meets(&name, &ALL, 1, says(text, Step::Hang), SILENT).await;
    }
    for text in [
        "HTTP/1.1 200 OK\r\nContent-Length: x\r\n\r\n",
        "HTTP/1.1 200 OK\r\nContent-Length: -1\r\n\r\n",
        "HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n1",
    ] {
        // The answer to a HEAD has no body that could end too early.
        meets(text, &those(|ask| !ask.mute()), 1, says(text, Step::Hang), SILENT).await;
    }
}

#[tokio::test]
async fn an_answer_without_an_end() {
    let head = "HTTP/1.1 200 OK\r\nETag: \"1\"\r\n";
    let endless = |text: String, again: &str| {
        let again = again.repeat((4096 / again.len()).max(1));
        move |_| vec![Step::send(&text), Step::Repeat(again.clone().into_bytes())]
    };
    let not_open = those(|ask| !ask.mute() && ask != Ask::Open);
    meets("one header", &ALL, 1, endless(format!("{head}X: "), "x"), SILENT).await;
    meets("headers", &ALL, 1, endless(head.to_owned(), "X: x\r\n"), SILENT).await;
    // A look after it would have to make itself heard beside it.
    let unlooked = those(|ask| !matches!(ask, Ask::Put | Ask::Complete));
    meets("1xx", &unlooked, 1, endless(String::new(), "HTTP/1.1 100 Continue\r\n\r\n"), SILENT).await;
    let chunked = || {
        endless(format!("{head}Transfer-Encoding: chunked\r\n\r\n"), &format!("10000\r\n{}\r\n", "x".repeat(64 << 10)))
    };
    let documents: Vec<Ask> = not_open.iter().copied().filter(|ask| *ask != Ask::Small).collect();
    meets("a document", &documents, 1, chunked(), GARBLED).await;
    meets("a small object", &[Ask::Small], 1, chunked(), Ends::Lasting(Kind::Corrupt, Kind::Corrupt)).await;
    let refusal = "HTTP/1.1 503 Slow\r\nTransfer-Encoding: chunked\r\n\r\n";
    let slow = Ends::Passing(Kind::Unavailable, Kind::Unavailable);
    meets("a refusal", &not_open, 1, endless(refusal.to_owned(), "3\r\nxxx\r\n"), slow).await;
}

#[tokio::test]
async fn answers_that_are_odd_and_right() {
    for before in ["HTTP/1.1 100 Continue\r\n\r\n", "HTTP/1.1 103 Early Hints\r\nLink: </x>\r\n\r\n"] {
        let fault = |ask| vec![Step::send(format!("{before}{}\r\n{}", right(ask, &[7]).0, right(ask, &[7]).1))];
        meets(before, &ALL, 1, fault, Ends::Well).await;
    }
    let strange: &[u8] = b"x-amz-meta-a: caf\xc3\xa9\r\nx-amz-version-id: \xff\r\nx-amz-mp-parts-count: many\r\nx-amz-missing-meta: -\r\n\
        x-amz-server-side-encryption-bucket-key-enabled: maybe\r\nx-amz-delete-marker: \"\"\r\nx-amz-tagging-count: 1.5\r\n\
        Date: today\r\nRetry-After: later\r\nLast-Modified: \x80\r\nx-amz-request-charged: \xfe\r\n";
    let fault = |ask| {
        let (head, body) = right(ask, &[7]);
        vec![Step::Send([head.as_bytes(), strange, b"\r\n", body.as_bytes()].concat())]
    };
    meets("strange headers", &ALL, 1, fault, Ends::Well).await;
    // HTTP/1.0, with a length and without: there a whole object cannot be told from half of one.
    let old =
        |ask| vec![Step::send(right(ask, &[7]).0.replace("/1.1", "/1.0") + "\r\n" + &right(ask, &[7]).1), Step::Close];
    meets("HTTP/1.0", &ALL, 1, old, Ends::Well).await;
    let undelimited = |ask| {
        let (head, body) = right(ask, &[7]);
        let head: String = head.split_inclusive("\r\n").filter(|line| !line.starts_with("Content-Length")).collect();
        vec![Step::send(head.replace("/1.1", "/1.0") + "\r\n" + &body), Step::Close]
    };
    meets("HTTP/1.0 to the end", &those(|ask| !ask.reads() && !ask.mute()), 1, undelimited, Ends::Well).await;
    meets("HTTP/1.0 to the end", &those(Ask::reads), 1, undelimited, GARBLED).await;
}

#[tokio::test]
async fn a_success_that_is_none() {
    // What is done later, or in part, or without a word about what was stored.
    for status in ["201 Created", "202 Accepted", "206 Partial Content"] {
        let fault = |ask| {
            vec![Step::send(
                right(ask, &[7]).0.replace("200 OK", status).replace("204 No Content", status)
                    + "\r\n"
                    + &right(ask, &[7]).1,
            )]
        };
        meets(status, &ALL, 1, fault, GARBLED).await;
    }
    let bare = "HTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\n1";
    let tagged = those(|ask| !matches!(ask, Ask::List | Ask::Create | Ask::Abort | Ask::Look | Ask::Complete));
    meets("no ETag", &tagged, 1, |_| vec![Step::send(bare)], GARBLED).await;
    meets("no ETag", &[Ask::Look], 1, says("HTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\n", Step::Hang), GARBLED).await;
    meets("no length", &[Ask::Look], 1, says("HTTP/1.1 200 OK\r\nETag: \"1\"\r\n\r\n", Step::Hang), GARBLED).await;
    let page = answer("200 OK", "ETag: \"0\"\r\n", "<html>log in</html>");
    meets("a page", &[Ask::List, Ask::Create, Ask::Complete, Ask::Put], 1, |_| page.clone(), GARBLED).await;
    // Not passing: the bytes went with their digest, so it is the answer that is wrong, and always will be.
    let wrong = answer("200 OK", "ETag: \"00000000000000000000000000000000\"\r\n", "");
    meets("a wrong ETag", &[Ask::Put, Ask::Part], 1, |_| wrong.clone(), GARBLED).await;
}

#[tokio::test]
async fn an_error_in_a_success() {
    let asks = those(|ask| !ask.reads() && !ask.mute());
    let error = |code: &str| answer("200 OK", "ETag: \"1\"\r\n", &format!("  <Error><Code>{code}</Code></Error>"));
    let same = |kind| Ends::Lasting(kind, kind);
    for (code, ends) in [
        ("SlowDown", Ends::Passing(Kind::Unavailable, Kind::Unavailable)),
        ("InternalError", Ends::Passing(Kind::Unavailable, Kind::Unavailable)),
        ("AccessDenied", same(Kind::Denied)),
        ("ExpiredToken", same(Kind::Denied)),
        ("NoSuchBucket", same(Kind::NotFound)),
        ("NeverHeardOf", GARBLED),
        ("", GARBLED),
    ] {
        meets(&format!("200 {code}"), &asks, 1, |_| error(code), ends).await;
    }
}

#[tokio::test]
async fn a_refusal_means_the_same_to_every_operation() {
    let same = |kind| Ends::Lasting(kind, kind);
    let slow = Ends::Passing(Kind::Unavailable, Kind::Unavailable);
    for (status, headers, code, ends) in [
        (503, "", "SlowDown", slow),
        (503, "Retry-After: 0\r\n", "SlowDown", slow),
        (429, "", "", slow),
        (500, "", "InternalError", slow),
        (502, "", "", SILENT),
        (504, "", "", SILENT),
        (999, "", "", SILENT),
        (403, "", "AccessDenied", same(Kind::Denied)),
        (400, "", "ExpiredToken", same(Kind::Denied)),
        (403, "", "InvalidAccessKeyId", same(Kind::Denied)),
        (403, "", "SignatureDoesNotMatch", same(Kind::Denied)),
        (404, "", "NoSuchBucket", same(Kind::NotFound)),
        (418, "", "", same(Kind::Invalid)),
        (301, "x-amz-bucket-region: eu-west-1\r\n", "PermanentRedirect", same(Kind::Invalid)),
        (307, "Location: http://127.0.0.1:1/orders/key\r\n", "TemporaryRedirect", same(Kind::Invalid)),
        (302, "Location: /again\r\n", "", same(Kind::Invalid)),
        (304, "", "", same(Kind::Invalid)),
    ] {
        let text = format!("<Error><Code>{code}</Code></Error>");
        let text = if code.is_empty() || status == 304 { "" } else { &text };
        let fault = |ask: Ask| {
            let body = if ask.mute() { "" } else { text };
            vec![Step::send(format!("HTTP/1.1 {status} No\r\nContent-Length: {}\r\n{headers}\r\n{body}", text.len()))]
        };
        let asks = those(|ask| !ask.mute() || !matches!(ends, Ends::Lasting(..)));
        meets(&format!("{status} {code}"), &asks, 1, fault, ends).await;
    }
}

#[tokio::test]
async fn a_listing_is_whole_and_in_order_or_an_error() {
    let line = |key: &str, size: &str| format!("<Contents><Key>{key}</Key><Size>{size}</Size></Contents>");
    let page = |more: &str, lines: &str| {
        format!("<ListBucketResult><IsTruncated>{more}</IsTruncated>{lines}</ListBucketResult>")
    };
    for wrong in [
        page("maybe", &line("k1", "1")),
        page("", ""),
        page("true", ""),
        page("false", &line("k1", "many")),
        page("false", &line("k1", "-1")),
        page("false", &line("k1", "99999999999999999999")),
        page("false", "<Contents><Key>k1</Key></Contents>"),
        page("false", "<Contents><Size>1</Size></Contents>"),
        page("false", "<KeyCount>x</KeyCount>"),
        page("false", "<MaxKeys/>"),
        page("false", &line("other", "1")),
        page("false", &(line("k2", "1") + &line("k1", "1"))),
        page("false", &(line("k1", "1") + &line("k1", "1"))),
        page("false", &line("k0", "1")),
        "<ListBucketResult/>".to_owned(),
        "[]".to_owned(),
        String::new(),
    ] {
        let (http, store) = scripted(vec![answer("200 OK", "", &wrong)]).await;
        let error = store.list("k", Some("k0"), 9).await.expect_err(&wrong);
        assert_eq!((error.kind(), http.seen().len()), (Kind::Unavailable, 1), "{wrong}: {}", error.chain());
    }
    // Cut anywhere, by a server that ends its answers with the connection.
    let whole = page("false", &(line("k1", "1") + &line("k2", "22")));
    let scripts = (0..whole.len())
        .map(|cut| vec![Step::send(format!("HTTP/1.0 200 OK\r\n\r\n{}", &whole[..cut])), Step::Close])
        .chain([answer("200 OK", "", &whole)]);
    let (_http, store) = scripted(scripts.collect()).await;
    for cut in 0..whole.len() {
        let listed = store.list("k", None, 9).await;
        assert_eq!(listed.expect_err(&whole[..cut]).kind(), Kind::Unavailable);
    }
    assert_eq!(store.list("k", None, 9).await.unwrap().0.len(), 2);
}

/// As where what was deleted from a bucket with versions takes up a whole page.
#[tokio::test]
async fn a_listing_goes_on_behind_an_empty_page_and_never_in_a_circle() {
    let empty = |token: &str| {
        let text = format!(
            "<ListBucketResult><IsTruncated>true</IsTruncated><NextContinuationToken>{token}</NextContinuationToken></ListBucketResult>"
        );
        answer("200 OK", "", &text)
    };
    let last = "<ListBucketResult><IsTruncated>false</IsTruncated><Contents><Key>k1</Key><Size>1</Size></Contents></ListBucketResult>";
    let (http, store) = scripted(vec![empty("a/b="), empty("c"), answer("200 OK", "", last)]).await;
    let (listed, more) = store.list("k", Some("k0"), 9).await.unwrap();
    assert_eq!((listed.len(), more), (1, false));
    let asked: Vec<String> = http.seen().iter().map(|seen| seen.head.lines().next().unwrap().to_owned()).collect();
    assert!(!asked[0].contains("continuation-token"), "{asked:?}");
    assert!(asked[1].contains("continuation-token=a%2Fb%3D") && asked[2].contains("continuation-token=c"), "{asked:?}");
    for tokens in [["", ""], ["a", "a"]] {
        let (_http, store) = scripted(tokens.map(empty).into()).await;
        assert_eq!(store.list("k", None, 9).await.unwrap_err().kind(), Kind::Unavailable, "{tokens:?}");
    }
}

#[tokio::test]
async fn a_connection_that_is_never_made_is_given_up_in_time_and_nothing_was_sent() {
    // It reads what comes and says nothing, so TLS never begins.
    let http = Http::start(Vec::new()).await.unwrap();
    let settings = Settings { endpoint: format!("https://s3.localhost:{}", http.address().port()), ..at(&http) };
    let limits = Limits { connect: Duration::from_millis(200), tries: 1, ..settings.limits };
    let store = S3::new(Settings { limits, ..settings }, Clock::system()).unwrap();
    for ask in those(|ask| ask != Ask::Complete) {
        let error = ask.of(&store, &Body::from(b"1".to_vec())).await.unwrap_err();
        assert_eq!(error.kind(), Kind::Unavailable, "{ask:?}");
        assert!(error.chain().contains("no connection within 200ms"), "{}", error.chain());
    }
    assert!(http.seen().is_empty());
}

#[tokio::test]
async fn no_operation_outlasts_its_deadline_however_slowly_the_store_goes_on() {
    // One byte of a header now and then would be progress for ever; the deadline comes first.
    let http = Http::start(vec![vec![Step::Hang]; 40]).await.unwrap();
    let settings = at(&http);
    let limits = Limits { progress: Duration::from_secs(600), ..settings.limits };
    let store = S3::new(Settings { limits, ..settings }, Clock::system()).unwrap();
    join_all(those(|ask| ask != Ask::Complete).into_iter().map(async |ask| {
        let begun = Clock::system().now();
        let error = ask.of(&store.until(soon(700)), &Body::from(b"1".to_vec())).await.unwrap_err();
        let kind = if ask.writes() { Kind::Unknown } else { Kind::Unavailable };
        assert_eq!(error.kind(), kind, "{ask:?} {}", error.chain());
        assert!(begun.elapsed() < Duration::from_secs(10), "{ask:?}");
    }))
    .await;
}

//! The operations of a store, each against one fault: what it comes to, and what is left behind.
//!
//! ```text
//!  fault ─▶ operation ─▶ one try ──▶ its kind; a look after a write in doubt, an Abort after an upload that failed
//!                    └─▶ more tries ─▶ done, with the same bytes sent again; or the same kind after one request
//! ```

use futures::future::join_all;
use md5::{Digest, Md5};
use tdmq_backup::store::UploadId;

use super::*;

/// What a call of the store sends first, which is what meets the fault.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ask {
    Small,
    Open,
    Look,
    List,
    Head,
    Put,
    Create,
    Part,
    Complete,
    Abort,
}

pub const ALL: [Ask; 10] = [
    Ask::Small,
    Ask::Open,
    Ask::Look,
    Ask::List,
    Ask::Head,
    Ask::Put,
    Ask::Create,
    Ask::Part,
    Ask::Complete,
    Ask::Abort,
];

impl Ask {
    /// Whether a write may have happened without its answer.
    pub fn writes(self) -> bool {
        matches!(self, Ask::Head | Ask::Put | Ask::Complete)
    }

    /// Whether the answer is an object's bytes.
    pub fn reads(self) -> bool {
        matches!(self, Ask::Small | Ask::Open)
    }

    /// Whether nothing is in the answer but its head.
    pub fn mute(self) -> bool {
        self == Ask::Look
    }

    pub fn sends(self) -> bool {
        matches!(self, Ask::Head | Ask::Put | Ask::Part)
    }

    pub async fn of(self, store: &S3, body: &Body) -> Result<(), Error> {
        let id = UploadId::new("u1");
        let up = upload("key", body, &[]);
        match self {
            Ask::Small => store.read_small("key").await.map(|found| assert_eq!(found.unwrap().bytes, b"1")),
            Ask::Open => {
                let mut download = store.open("key").await?.unwrap();
                let mut all = Vec::new();
                while let Some(chunk) = download.next().await? {
                    all.extend_from_slice(&chunk);
                }
                assert_eq!(all, b"1");
                Ok(())
            }
            Ask::Look => store.look("key").await.map(|held| assert_eq!(held.unwrap().length, 1)),
            Ask::List => store.list("k", None, 9).await.map(|(lines, more)| assert!(lines.len() == 1 && !more)),
            Ask::Head => {
                let bytes: Vec<u8> = body.slices().flat_map(|slice| slice.unwrap()).collect();
                store.write_small("key", bytes, Expect::Absent).await.map(|_| ())
            }
            Ask::Put => store.put(&up, None).await,
            Ask::Create => {
                let long = Body::from(vec![0; 17 << 20]);
                store.begin(&upload("key", &long, &[])).await.map(|id| assert_eq!(id.unwrap().as_str(), "u1"))
            }
            Ask::Part | Ask::Complete => store.put(&up, Some(&id)).await,
            Ask::Abort => store.abort("key", &id).await,
        }
    }
}

/// A store that has nothing and takes everything.
fn well(seen: &tdmq_backup::testing::http::Seen) -> Vec<Step> {
    let tag = |bytes: &[u8]| Md5::digest(bytes).iter().map(|byte| format!("{byte:02x}")).collect::<String>();
    let (method, rest) = seen.head.split_once(' ').unwrap();
    match method {
        "HEAD" => vec![Step::send("HTTP/1.1 404 Not Found\r\n\r\n"), Step::Close],
        "GET" => answer("404 Not Found", "", "<Error><Code>NoSuchKey</Code></Error>"),
        "PUT" => answer("200 OK", &format!("ETag: \"{}\"\r\n", tag(&seen.body)), ""),
        "POST" if rest.contains("uploadId=") => {
            let part = String::from_utf8_lossy(&seen.body).into_owned();
            let part = part.split_once("<ETag>").unwrap().1.split_once("</ETag>").unwrap().0.replace("&quot;", "");
            let part: Vec<u8> = part
                .trim_matches('"')
                .as_bytes()
                .chunks(2)
                .map(|two| u8::from_str_radix(std::str::from_utf8(two).unwrap(), 16).unwrap())
                .collect();
            let tag = tag(&part);
            answer(
                "200 OK",
                "",
                &format!("<CompleteMultipartUploadResult><ETag>{tag}-1</ETag></CompleteMultipartUploadResult>"),
            )
        }
        "POST" => answer(
            "200 OK",
            "",
            "<InitiateMultipartUploadResult><UploadId>u1</UploadId></InitiateMultipartUploadResult>",
        ),
        _ => answer("204 No Content", "", ""),
    }
}

/// What is there, for a read.
const HELD: &str = "ETag: \"1\"\r\nContent-Length: 1\r\n";
const LINE: &str = "<ListBucketResult><IsTruncated>false</IsTruncated><KeyCount>1</KeyCount><Contents><Key>key</Key>\
                    <Size>1</Size></Contents></ListBucketResult>";

/// The head and the body of the right answer to an operation on `bytes`, the head without its last line end.
pub fn right(ask: Ask, bytes: &[u8]) -> (String, String) {
    let request = |line: &str, body: &[u8]| {
        let seen = tdmq_backup::testing::http::Seen { head: line.to_owned(), body: body.to_vec() };
        let Some(Step::Send(text)) = well(&seen).into_iter().next() else { unreachable!() };
        let text = String::from_utf8(text).unwrap();
        let (head, body) = text.split_once("\r\n\r\n").unwrap();
        (format!("{head}\r\n"), body.to_owned())
    };
    let tag: String = Md5::digest(bytes).iter().map(|byte| format!("{byte:02x}")).collect();
    match ask {
        Ask::Small | Ask::Open => (format!("HTTP/1.1 200 OK\r\n{HELD}"), "1".to_owned()),
        Ask::Look => (format!("HTTP/1.1 200 OK\r\n{HELD}"), String::new()),
        Ask::List => (format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n", LINE.len()), LINE.to_owned()),
        Ask::Head | Ask::Put | Ask::Part => request("PUT /orders/key", bytes),
        Ask::Create => request("POST /orders/key?uploads", b""),
        Ask::Complete => request("POST /orders/key?uploadId=u1", format!("<ETag>{tag}</ETag>").as_bytes()),
        Ask::Abort => request("DELETE /orders/key?uploadId=u1", b""),
    }
}

/// What an operation that meets a fault comes to.
#[derive(Clone, Copy, Debug)]
pub enum Ends {
    /// As if there had been none.
    Well,
    /// Like this at the first try, a read and a write; the next one may succeed, and is made.
    Passing(Kind, Kind),
    /// Like this, a read and a write, and nothing is asked again.
    Lasting(Kind, Kind),
}

pub const SILENT: Ends = Ends::Passing(Kind::Unavailable, Kind::Unknown);
pub const GARBLED: Ends = Ends::Lasting(Kind::Unavailable, Kind::Unknown);

/// One fault on these operations, with objects of `size` bytes.
pub async fn meets(name: &str, asks: &[Ask], size: usize, fault: impl Fn(Ask) -> Vec<Step>, ends: Ends) {
    let bytes = &vec![7; size];
    join_all(asks.iter().map(|ask| meets_one(name, *ask, bytes, fault(*ask), ends))).await;
}

async fn meets_one(name: &str, ask: Ask, bytes: &[u8], fault: Vec<Step>, ends: Ends) {
    let cell = format!("{name} on {ask:?}");
    let body = Body::from(bytes.to_vec());
    for patience in [false, true] {
        let mut scripts = vec![fault.clone()];
        if ask == Ask::Complete {
            let (head, text) = right(Ask::Part, bytes);
            scripts.insert(0, vec![Step::send(format!("{head}\r\n{text}"))]);
        }
        // The refusal of a HEAD has no text: the reason is asked for, and is the same.
        if ask.mute() && matches!(ends, Ends::Lasting(Kind::Denied | Kind::Invalid | Kind::NotFound, _)) {
            scripts.push(fault.clone());
        }
        let (before, most) = (scripts.len(), 4);
        let after = if ask.reads() || ask.mute() || ask == Ask::List { held } else { well };
        let http = Http::start_then(scripts, after).await.unwrap();
        let store = if patience { patient(at(&http)) } else { store(at(&http)) };
        let limit = tokio::time::timeout(Duration::from_secs(30), ask.of(&store, &body)).await;
        let done = limit.unwrap_or_else(|_| panic!("{cell} hangs")).map_err(|error| (error.kind(), error.chain()));
        let (seen, last) = (http.seen(), http.seen().pop().unwrap());
        let kind = match ends {
            Ends::Passing(read, write) | Ends::Lasting(read, write) => Some(if ask.writes() { write } else { read }),
            Ends::Well => None,
        };
        let passes = patience && matches!(ends, Ends::Passing(..));
        match (kind.filter(|_| !passes), &done) {
            (None, Ok(())) => {}
            (Some(kind), Err((met, _))) if kind == *met => {}
            (expected, _) => panic!("{cell}, patience {patience}: {done:?}, not {expected:?}"),
        }
        assert!(seen.len() <= before + most, "{cell}: {} requests", seen.len());
        let cell =
            format!("{cell}, {:?}", seen.iter().map(|seen| seen.head.lines().next().unwrap()).collect::<Vec<_>>());
        let starting = |method: &str| seen.iter().filter(|seen| seen.head.starts_with(method)).count();
        if let Ask::Head | Ask::Put = ask {
            let puts: Vec<_> = seen.iter().filter(|seen| seen.head.starts_with("PUT")).collect();
            assert!(puts.iter().all(|put| put.header("if-none-match") == Some("*")), "{cell}");
            assert_eq!(puts.len(), if passes { 2 } else { 1 }, "{cell}");
            assert!(!passes || puts[1].body == bytes, "{cell}");
        }
        match (ask, kind.filter(|_| !passes)) {
            // Whether it is there was asked before it was called unknown, and what is under way is left to be found.
            (Ask::Put | Ask::Complete, Some(Kind::Unknown)) => assert!(last.head.starts_with("GET"), "{cell}"),
            // What failed for certain is cleared away.
            (Ask::Part | Ask::Complete, Some(_)) => assert!(last.head.starts_with("DELETE"), "{cell}"),
            (Ask::Part | Ask::Complete, None) => assert_eq!(starting("DELETE"), 0, "{cell}"),
            _ => {}
        }
    }
}

/// A store that has the one object.
fn held(seen: &tdmq_backup::testing::http::Seen) -> Vec<Step> {
    match () {
        () if seen.head.starts_with("HEAD") => vec![Step::send(format!("HTTP/1.1 200 OK\r\n{HELD}\r\n"))],
        () if seen.head.contains("list-type=") => answer("200 OK", "", LINE),
        () => vec![Step::send(format!("HTTP/1.1 200 OK\r\n{HELD}\r\n1"))],
    }
}

/// What the store sends to any operation.
pub fn says(text: impl AsRef<[u8]>, then: Step) -> impl Fn(Ask) -> Vec<Step> {
    let text = text.as_ref().to_vec();
    move |_| vec![Step::Send(text.clone()), then.clone()]
}

/// Operations of one kind.
pub fn those(which: impl Fn(Ask) -> bool) -> Vec<Ask> {
    ALL.into_iter().filter(|ask| which(*ask)).collect()
}

//! Answers on the wire, to the real clients: of a store, of a cluster over HTTP, of a broker.
//!
//! The broker is the embedded one behind a proxy that changes one of its frames, but for where a topic is served: nothing
//! here may leave the loopback. Those answers are changed where nobody follows them.

use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::time::Duration;

use md5::{Digest, Md5};
use prost::Message as _;
use pulsar::proto::{
    BaseCommand, CommandLookupTopicResponse, CommandPartitionedTopicMetadataResponse, base_command::Type,
    command_lookup_topic_response::LookupType, command_partitioned_topic_metadata_response::LookupType as MetadataType,
};
use tdmq_backup::encode::spool::{Body, PART, hex};
use tdmq_backup::pulsar::{Cluster, Initial};
use tdmq_backup::source::{Next, Source};
use tdmq_backup::store::{Addressing, Expect, Keys, Limits, S3, Settings, Store, Upload, UploadId};
use tdmq_backup::testing::broker::{Broker, Config};
use tdmq_backup::testing::compose::sample;
use tdmq_backup::testing::http::Seen;
use tdmq_backup::testing::{Http, Step, parsers};
use tdmq_backup::{Clock, Rule};
use tokio::io::{AsyncReadExt, AsyncWriteExt, copy};
use tokio::net::{TcpListener, TcpStream};
use tokio::runtime::Runtime;

use crate::Parser;
use crate::dice::Dice;
use crate::mutate::mutated;
use crate::stored::quiet;

thread_local! {
    static ANSWER: RefCell<Vec<u8>> = const { RefCell::new(Vec::new()) };
    static PARTS_ARE_TAKEN: Cell<bool> = const { Cell::new(false) };
}

fn runtime() -> Runtime {
    tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap()
}

/// What is uploaded in parts is not stored before these are, so they are answered as they should be, where that is
/// asked for.
fn now_answered(seen: &Seen) -> Vec<Step> {
    if PARTS_ARE_TAKEN.get() && seen.head.contains("partNumber=") {
        let taken = http("200 OK", "ETag: \"1\"\r\nx-amz-server-side-encryption: aws:kms\r\n", "");
        return vec![Step::Send(taken), Step::Close];
    }
    vec![Step::Send(ANSWER.with_borrow(Vec::clone)), Step::Close]
}

fn http(status: &str, headers: &str, body: &str) -> Vec<u8> {
    format!("HTTP/1.1 {status}\r\n{headers}Content-Length: {}\r\n\r\n{body}", body.len()).into_bytes()
}

pub fn parsers() -> Vec<Parser> {
    let lookups = [
        r#"{"brokerUrl":"pulsar://127.0.0.1:6650","brokerUrlTls":"pulsar+ssl://[::1]:6651","httpUrl":"http://x"}"#,
        r#"{"brokerUrl":null,"brokerUrlTls":"pulsar+ssl://h:1"}"#,
    ];
    let lookups = lookups.map(|text| text.as_bytes().to_vec());
    vec![
        Parser::new(
            "lookups",
            move |dice| mutated(dice, &lookups),
            |bytes| {
                [true, false].into_iter().try_for_each(|with_tls| match parsers::broker_in(bytes, with_tls) {
                    Ok(broker) => quiet(&broker),
                    Err(error) => quiet(&error.chain()),
                })
            },
        ),
        answers(),
        store(),
        cluster(),
        broker(),
    ]
}

/// What a broker says of where a topic is served and of how many partitions it has: read, and nobody is connected to.
fn answers() -> Parser {
    let lookup = |code: LookupType, plain: &str, tls: Option<&str>, proxied| CommandLookupTopicResponse {
        response: Some(code as i32),
        request_id: 1,
        broker_service_url: Some(plain.into()),
        broker_service_url_tls: tls.map(str::to_owned),
        authoritative: Some(true),
        error: (code == LookupType::Failed).then_some(1),
        message: Some("no such topic".into()),
        proxy_through_service_url: Some(proxied),
    };
    let lookups = [
        lookup(LookupType::Connect, "pulsar://127.0.0.1:6650", Some("pulsar+ssl://[::1]:6651"), false),
        lookup(LookupType::Redirect, "pulsar://a.example:6650", None, false),
        lookup(LookupType::Connect, "", Some("pulsar+ssl://b.example:1"), true),
        lookup(LookupType::Failed, "", None, false),
    ];
    let count = |code: MetadataType| CommandPartitionedTopicMetadataResponse {
        partitions: Some(4),
        request_id: 1,
        response: Some(code as i32),
        error: (code == MetadataType::Failed).then_some(1),
        message: Some("no such topic".into()),
    };
    let lookups = lookups.map(|answer| BaseCommand {
        r#type: Type::LookupResponse as i32,
        lookup_topic_response: Some(answer),
        ..BaseCommand::default()
    });
    let counts = [MetadataType::Success, MetadataType::Failed].map(|code| BaseCommand {
        r#type: Type::PartitionedMetadataResponse as i32,
        partition_metadata_response: Some(count(code)),
        ..BaseCommand::default()
    });
    let commands: Vec<Vec<u8>> = lookups.iter().chain(&counts).map(BaseCommand::encode_to_vec).collect();
    let input = move |dice: &mut Dice| {
        let command = mutated(dice, &commands);
        let sizes = [command.len() as u32 + 4, command.len() as u32].map(u32::to_be_bytes).concat();
        let frame = [sizes, command].concat();
        if dice.one_in(5) { mutated(dice, &[frame]) } else { frame }
    };
    let check = |frame: &[u8]| {
        [true, false].into_iter().try_for_each(|with_tls| match parsers::said(frame, with_tls) {
            Ok(said) => quiet(&said),
            Err(error) => quiet(&error.chain()),
        })
    };
    Parser::new("answers", input, check)
}

/// Every operation of a store, answered by this.
fn store() -> Parser {
    let listing = "<?xml version=\"1.0\" encoding=\"UTF-8\"?><ListBucketResult><IsTruncated>false</IsTruncated>\
                   <Name>b</Name><Prefix>p/</Prefix><KeyCount>2</KeyCount><MaxKeys>10</MaxKeys>\
                   <Contents><Key>p/a</Key><Size>12</Size><ETag>&quot;1&quot;</ETag></Contents>\
                   <Contents><Key>p/b&amp;c</Key><Size>0</Size></Contents></ListBucketResult>";
    let refusal = "<?xml version=\"1.0\"?><Error><Code>AccessDenied</Code><Message>no &lt;right&gt;</Message>\
                   <RequestId>R1</RequestId><Region>elsewhere</Region></Error>";
    let upload = "<InitiateMultipartUploadResult><Bucket>b</Bucket><Key>k</Key><UploadId>u-1</UploadId>\
                  </InitiateMultipartUploadResult>";
    let tag = "ETag: \"1\"\r\nx-amz-meta-sha256: 00\r\nLast-Modified: Sat, 21 Nov 2026 10:00:00 GMT\r\n";
    let small = Body::from(b"0123456789".to_vec());
    let large = Body::from(vec![7; PART as usize + 1]);
    let parts: Vec<u8> = large.parts().flat_map(|part| part.md5).collect();
    let proofs = [format!("{}-2", hex(&Md5::digest(parts))), large.sha256_hex()];
    let completed = format!(
        "<CompleteMultipartUploadResult><Location>http://x/b/k</Location><Bucket>b</Bucket><Key>k</Key>\
         <ETag>&quot;{}&quot;</ETag></CompleteMultipartUploadResult>",
        proofs[0]
    );
    let corpus = [
        http("200 OK", "Content-Type: application/xml\r\n", listing),
        http("200 OK", tag, "some bytes"),
        http("200 OK", "", upload),
        http("200 OK", "", &completed),
        http("200 OK", "", refusal),
        http("403 Forbidden", "x-amz-request-id: R\r\nRetry-After: 0\r\n", refusal),
        http("307 Temporary Redirect", "Location: http://127.0.0.1:1/x\r\n", refusal),
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nETag: \"2\"\r\n\r\n5\r\nabcde\r\n0\r\n\r\n".to_vec(),
    ];
    let runtime = runtime();
    let server = runtime.block_on(Http::start_then(Vec::new(), now_answered)).unwrap();
    let settings = Settings {
        endpoint: format!("http://{}", server.address()),
        region: "r".into(),
        bucket: "orders".into(),
        addressing: Addressing::Path,
        keys: Keys::new("marker-id", "marker-secret", None),
        storage_class: None,
        sse: None,
        limits: Limits { tries: 1, progress: Duration::from_millis(500), ..Limits::default() },
    };
    let input = move |dice: &mut Dice| [&[dice.roll(10) as u8][..], &mutated(dice, &corpus)].concat();
    let check = move |bytes: &[u8]| {
        server.forget();
        ANSWER.set(bytes.get(1..).unwrap_or_default().to_vec());
        let store = S3::new(settings.clone(), Clock::system()).map_err(|error| error.chain())?;
        let operation = bytes.first().copied().unwrap_or(0);
        PARTS_ARE_TAKEN.set(operation == 8);
        let metadata = [("seq".to_owned(), "1".to_owned())];
        let upload = Upload {
            key: "p/k",
            content_type: "application/x-ndjson",
            content_encoding: None,
            metadata: &metadata,
            body: if operation < 7 { &small } else { &large },
        };
        let id = UploadId::new("u");
        let outcome = runtime.block_on(async {
            match operation {
                0 => store.list("p/", None, 10).await.map(|(page, _)| {
                    assert!(page.iter().all(|listed| listed.key.starts_with("p/")), "{page:?}");
                }),
                1 => store.read_small("p/k").await.map(drop),
                2 => store.look("p/k").await.map(drop),
                3 => store.put(&upload, None).await,
                4 => store.write_small("p/k", b"{}".to_vec(), Expect::Absent).await.map(drop),
                5 => store.abort("p/k", &id).await,
                7 => store.begin(&upload).await.map(drop),
                8 => store.put(&upload, Some(&id)).await.map(|()| {
                    let answer = String::from_utf8_lossy(&bytes[1..]).to_lowercase();
                    assert!(proofs.iter().any(|proof| answer.contains(proof)), "stored, and nothing says so");
                }),
                9 => store.put(&upload, None).await,
                _ => match store.open("p/k").await {
                    Ok(Some(mut download)) => loop {
                        match download.next().await {
                            Ok(Some(_)) => {}
                            Ok(None) => break Ok(()),
                            Err(error) => break Err(error),
                        }
                    },
                    Ok(None) => Ok(()),
                    Err(error) => Err(error),
                },
            }
        });
        outcome.map_or_else(|error| quiet(&error.chain()), Ok)
    };
    Parser::new("store", input, check).sharing(20)
}

fn rule(url: &str) -> Rule {
    Rule::from_toml(&format!(
        "name = \"fuzz\"\nservice_url = \"{url}\"\ntopic = \"persistent://public/default/orders\"\nsubscription = \"s\"\n\
         bucket = \"bucket\"\nregion = \"r\"\nendpoint = \"http://127.0.0.1:1\"\naddressing = \"path\"\ninterval = \"5m\"\n"
    ))
    .unwrap()
}

/// How many partitions: asked over HTTP.
fn cluster() -> Parser {
    let corpus = [
        http(
            "200 OK",
            "Content-Type: application/json\r\n",
            r#"{"partitions":4,"deleted":false,"properties":{"a":"b"}}"#,
        ),
        http("401 Unauthorized", "", r#"{"reason":"no right"}"#),
        http("404 Not Found", "", "<html>nothing here</html>"),
        http("500 Oops", "", "text"),
    ];
    let runtime = runtime();
    let server = runtime.block_on(Http::start_then(Vec::new(), now_answered)).unwrap();
    let rule = rule(&format!("http://{}", server.address()));
    let input = move |dice: &mut Dice| loop {
        let answer = mutated(dice, &corpus);
        // A status that sends us on, with a place that never was, would be asked of a name server.
        if !answer.to_ascii_lowercase().windows(8).any(|eight| eight == b"location") {
            return answer;
        }
    };
    let check = move |bytes: &[u8]| {
        server.forget();
        ANSWER.set(bytes.to_vec());
        let outcome = runtime.block_on(async {
            let cluster = Cluster::new(&rule, Clock::system().now() + Duration::from_millis(500));
            cluster.partitions(&rule.topic).await
        });
        outcome.map_or_else(|error| quiet(&error.chain()), |_| Ok(()))
    };
    Parser::new("cluster", input, check).sharing(20)
}

/// What the proxy does to the broker's frames: which one, and with which dice.
type Change = Rc<Cell<Option<(u64, u64)>>>;

/// A consumer's life, with one frame of the broker's changed.
fn broker() -> Parser {
    let runtime = runtime();
    let change: Change = Rc::default();
    let (broker, url) = runtime.block_on(async {
        let broker = Broker::start(Config::default()).await;
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("pulsar://{}", listener.local_addr().unwrap());
        (broker, (listener, url))
    });
    let (listener, url) = url;
    let topic = broker.topic("orders");
    for one in sample(30, 1_795_255_200_000) {
        topic.append(one);
    }
    let rule = rule(&url);
    broker.advertise(None, &url);
    let direct = broker.url().replace("pulsar://", "");
    let proxy = tokio::task::LocalSet::new();
    let seen = Rc::clone(&change);
    proxy.spawn_local(async move {
        while let Ok((client, _)) = listener.accept().await {
            let (direct, change) = (direct.clone(), Rc::clone(&seen));
            tokio::task::spawn_local(async move { pass(client, &direct, &change).await });
        }
    });
    let input = |dice: &mut Dice| [&[dice.roll(40) as u8][..], &dice.roll(1 << 50).to_be_bytes()].concat();
    let number = Cell::new(0_u64);
    let check = move |bytes: &[u8]| {
        let _ = &topic;
        let nth = u64::from(bytes.first().copied().unwrap_or(0));
        let seed = bytes.get(1..9).and_then(|eight| eight.try_into().ok()).map_or(0, u64::from_be_bytes);
        change.set(Some((nth, seed)));
        number.set(number.get() + 1);
        let name = format!("s{}", number.get());
        let outcome = proxy.block_on(&runtime, async {
            let clock = Clock::system();
            let cluster = Cluster::new(&rule, clock.now() + Duration::from_millis(300));
            cluster.partitions(&rule.topic).await?;
            let mut consumer = cluster.attach(&rule.topic, &name, Initial::Earliest).await?;
            consumer.bounds().await?;
            consumer.schema(&[0; 8]).await?;
            let mut said = 0;
            for _ in 0..60 {
                match consumer.next(clock.now() + Duration::from_millis(20)).await? {
                    Next::Entry(entry) => drop(entry.messages(|_| said += 1)),
                    Next::Reattached => {}
                    Next::Silence => break,
                }
            }
            consumer.backlog().await?;
            consumer.rewind().await?;
            consumer.close().await;
            Ok::<_, tdmq_backup::Error>(())
        });
        broker.drop_connections();
        outcome.or_else(|error| quiet(&error.chain()))
    };
    Parser::new("broker", input, check).sharing(500)
}

async fn pass(mut client: TcpStream, direct: &str, change: &Change) -> std::io::Result<()> {
    let mut broker = TcpStream::connect(direct).await?;
    let (mut from_client, mut to_client) = client.split();
    let (mut from_broker, mut to_broker) = broker.split();
    let back = async {
        loop {
            let size = from_broker.read_u32().await?;
            let mut frame = [&size.to_be_bytes()[..], &vec![0; size as usize]].concat();
            from_broker.read_exact(&mut frame[4..]).await?;
            if let Some((left, seed)) = change.get().filter(|_| !says_where(&frame)) {
                change.set((left > 0).then(|| (left - 1, seed)));
                if left == 0 {
                    frame = changed(frame, seed);
                }
            }
            to_client.write_all(&frame).await?;
        }
    };
    tokio::select! {
        _ = copy(&mut from_client, &mut to_broker) => Ok(()),
        end = back => end,
    }
}

/// Whether a frame names a broker.
fn says_where(frame: &[u8]) -> bool {
    let size = u32::from_be_bytes(frame[4..8].try_into().unwrap()) as usize;
    let command = frame.get(8..8 + size).map(BaseCommand::decode);
    command.is_none_or(|command| command.is_ok_and(|command| command.r#type() == Type::LookupResponse))
}

fn changed(frame: Vec<u8>, seed: u64) -> Vec<u8> {
    let mut dice = Dice::new(seed);
    let whole = mutated(&mut dice, std::slice::from_ref(&frame));
    if dice.one_in(3) {
        return whole;
    }
    // A command of the right size, with other contents.
    let size = u32::from_be_bytes(frame[4..8].try_into().unwrap()) as usize;
    let command = mutated(&mut dice, &[frame[8..8 + size].to_vec()]);
    let sizes = [(frame.len() - 4 - size + command.len()) as u32, command.len() as u32].map(u32::to_be_bytes).concat();
    let other = [&sizes[..], &command, &frame[8 + size..]].concat();
    // Where a topic is served is never changed.
    if says_where(&other) { frame } else { other }
}

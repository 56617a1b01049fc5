//! Neighbours who write into what others read: a producer, a broker, somebody with the bucket. Names and words are data
//! everywhere: no terminal, log, header or path obeys them, and what is small on the wire stays small.

use std::process::Command;

use tdmq_backup::report::{Outcome, Report};
use tdmq_backup::testing::broker::{Act, CommandType, ServerError, When};
use tdmq_backup::testing::compose::{Composed, Composer, Compression, Draft};
use tdmq_backup::testing::{Http, Step};

use crate::world::{NOW, World};

/// Clears the screen, names the window, begins a line, writes backwards; the last in C1, which is one byte in Latin-1.
const LOUD: &str = "\u{1b}[2J\u{1b}]0;x\u{7}\r\ntdmq-backup: all is well\u{202e}\u{9b}31m\u{7f}\u{2028}";

fn is_quiet(text: &str) -> bool {
    !text.chars().any(|c| (c.is_control() && c != '\n') || "\u{202e}\u{2028}".contains(c))
}

/// What the program prints of a run, for a reader and for a log.
async fn printed(world: &World) -> String {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("rule.toml");
    let rule: String = world.rule.iter().map(|(key, value)| format!("{key} = {value}\n")).collect();
    std::fs::write(&file, rule).unwrap();
    let (id, key) = world.bucket.key_pair();
    let mut text = String::new();
    for more in [&[][..], &["--json"]] {
        let mut program = Command::new(env!("CARGO_BIN_EXE_tdmq-backup"));
        program.env_clear().env("AWS_ACCESS_KEY_ID", id).env("AWS_SECRET_ACCESS_KEY", key);
        program.args(["invoke", "--timeout", "20", "--rule"]).arg(&file).args(more);
        let output = tokio::task::spawn_blocking(move || program.output().unwrap()).await.unwrap();
        text += &String::from_utf8(output.stdout).unwrap();
        text += &String::from_utf8(output.stderr).unwrap();
    }
    text
}

#[tokio::test]
async fn words_of_a_broker_move_no_cursor_and_begin_no_line() {
    let mut world = World::new().await;
    world.send(&[1]);
    for _ in 0..2 {
        let act = Act::Error(ServerError::AuthorizationError, format!("no{LOUD} {}", "x".repeat(1 << 20)));
        world.broker.script(When::next(CommandType::Subscribe), act);
    }
    let said = printed(&world).await;
    assert!(is_quiet(&said) && !said.contains("\ntdmq-backup: all is well"), "{said:?}");
    assert!(said.contains("all is well") && said.len() < 20_000, "{} bytes", said.len());
    assert_eq!(world.topic.subscription(crate::world::SUBSCRIPTION), None);

    let body = format!("{{\"reason\":{}}}", serde_json::Value::from(format!("no{LOUD}")));
    let answer = format!("HTTP/1.1 403 Forbidden\r\nContent-Length: {}\r\n\r\n{body}", body.len());
    let http = Http::start(vec![vec![Step::send(answer)]; 4]).await.unwrap();
    world.set("service_url", format!("\"http://{}\"", http.address()));
    let said = printed(&world).await;
    assert!(is_quiet(&said) && said.contains("all is well"), "{said:?}");
}

#[tokio::test]
async fn words_in_a_head_move_no_cursor_and_begin_no_line() {
    for (key, value) in [("topic", LOUD.into()), ("start", serde_json::json!({"asked": "x", "state": LOUD}))] {
        let world = World::begun().await;
        let mut head = world.head().unwrap();
        head[key] = value;
        world.bucket.plant(&world.head_key(), head.to_string().as_bytes(), &[]).unwrap();
        let said = printed(&world).await;
        assert!(is_quiet(&said) && !said.contains("\ntdmq-backup: all is well"), "{said:?}");
        assert!(said.contains("all is well"), "{said:?}");
        assert_eq!(world.objects().len(), 1);
    }

    // The name of an object that a dead run announced.
    let mut world = World::begun().await;
    world.send(&[1]);
    let mut k = 1;
    while world.head().unwrap()["next"].is_null() {
        assert!(world.run_dying_at(k).await.is_none(), "no run died between its head and its object");
        k += 1;
    }
    let mut head = world.head().unwrap();
    head["next"]["key"] = format!("{}{LOUD}", head["next"]["key"].as_str().unwrap()).into();
    world.bucket.plant(&world.head_key(), head.to_string().as_bytes(), &[]).unwrap();
    let said = printed(&world).await;
    assert!(is_quiet(&said) && said.contains("all is well"), "{said:?}");
    assert!(world.bucket.keys().iter().all(|key| is_quiet(key)));
    world.let_go().await;
}

#[tokio::test]
async fn what_producers_write_stands_in_records_and_in_no_key_header_or_line_of_its_own() {
    let world = World::new().await;
    let evil = format!("../../p{LOUD}x-amz-meta-sha256: 0");
    let draft = Draft::new(format!("{LOUD}\n{{\"id\":\"17:0:-1\"}}")).key(&evil).property(&evil, &evil);
    let composer = Composer::new(&evil).at(NOW).schema_version(LOUD.as_bytes()).replicated_from(&evil);
    world.topic.append(composer.clone().single(draft.clone()));
    world.topic.append(composer.sequence(1).batch([draft.clone(), draft]));
    let report = world.run().await;
    assert_eq!((report.outcome, report.messages), (Outcome::Stored, 3), "{report:?}");
    let object = report.objects[0].key.clone();
    let safe = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.=/".contains(&byte);
    assert!(
        world.bucket.keys().iter().all(|key| key.bytes().all(safe) && key.starts_with("tdmq/") && !key.contains(".."))
    );
    let metadata = world.bucket.metadata(&object).unwrap();
    let names: Vec<_> = metadata.keys().map(String::as_str).collect();
    assert_eq!(names, ["count", "first-id", "last-id", "seq", "sha256", "tool"]);
    assert!(metadata.values().all(|value| value.bytes().all(|byte| safe(byte) || byte == b':')), "{metadata:?}");
    let lines = world.lines(&object);
    assert_eq!(lines.len(), 3);
    assert!(lines.iter().all(|line| line["producer_name"] == *evil && line["properties"][&evil] == *evil));
    let printed = serde_json::to_string(&report).unwrap();
    assert!(is_quiet(&printed) && !printed.contains("well"), "{printed}");
}

/// The token is in what a broker says of where a topic is served.
#[tokio::test]
async fn what_an_address_repeats_of_the_token_is_not_said() {
    const MARKER: &str = "marker-token-7f3a";
    let said = |report: Report| serde_json::to_string(&report).unwrap();
    let mut world = World::new().await;
    world.send(&[1]);
    let act = Act::Redirect { url: format!("marker://{MARKER}:1"), authoritative: true };
    world.broker.script(When::next(CommandType::Lookup), act);
    let binary = said(world.run_with_token(MARKER).await);
    assert!(binary.contains("looking up") && !binary.contains(MARKER), "{binary}");
    let partitions = r#"{"partitions":0}"#;
    let address = format!(r#"{{"brokerUrl":"marker://{MARKER}:1"}}"#);
    let number = format!(r#"{{"partitions":"{MARKER}"}}"#);
    let ok = |body: &str| Step::send(format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n{body}", body.len()));
    let moved = format!("HTTP/1.1 307 Moved\r\nLocation: ftp://{MARKER}/\r\nContent-Length: 0\r\n\r\n");
    for answers in [vec![ok(partitions), ok(&address)], vec![ok(&number)], vec![Step::send(moved)]] {
        let http = Http::start(answers.into_iter().map(|answer| vec![answer]).collect()).await.unwrap();
        world.set("service_url", format!("\"http://{}\"", http.address()));
        let over_http = said(world.run_with_token(MARKER).await);
        assert!(over_http.contains("looking up") && !over_http.contains(MARKER), "{over_http}");
        assert!(http.seen().iter().all(|seen| seen.header("authorization").is_some_and(|it| it.contains(MARKER))));
    }
}

/// A batch of one member with so many properties that have neither name nor value: two bytes each, and compressed nothing.
fn bomb(properties: usize) -> Composed {
    let member = [&[0x0a, 0].repeat(properties)[..], &[0x18, 0]].concat();
    let framed = [&(member.len() as u32).to_be_bytes()[..], &member].concat();
    Composer::new("bomb").at(NOW).compression(Compression::Zstd).single(Draft::new(framed)).with(|c| {
        c.metadata.num_messages_in_batch = Some(1);
    })
}

#[tokio::test]
async fn an_entry_of_some_hundred_bytes_that_is_millions_of_properties_is_kept_raw() {
    let mut world = World::new().await;
    let (many, bomb) = (bomb, bomb(2_000_000));
    assert!(bomb.payload.len() < 1_000);
    let raw = bomb.payload.clone();
    world.topic.append(bomb);
    world.topic.append(many(1_000));
    world.send(&[1]);
    let report = world.run().await;
    assert_eq!((report.messages, report.objects[0].undecodable), (3, 1), "{report:?}");
    let line = &world.all_lines()[0];
    assert!(line["undecodable"]["reason"].as_str().unwrap().contains("propert"), "{line}");
    use base64::Engine;
    let kept = base64::engine::general_purpose::STANDARD.decode(line["raw_base64"].as_str().unwrap()).unwrap();
    assert_eq!(kept, raw);
}

#[tokio::test]
async fn an_envelope_of_a_hundred_thousand_properties_is_kept_as_it_came() {
    let mut world = World::new().await;
    for properties in [100_000, 100_001] {
        let entry = Composer::new("bomb").at(NOW).sequence(properties as u64).single(Draft::new("{}"));
        let property = pulsar::proto::KeyValue { key: String::new(), value: String::new() };
        world.topic.append(entry.with(|c| c.metadata.properties = vec![property; properties]));
    }
    world.send(&[1]);
    let report = world.run().await;
    assert_eq!((report.messages, report.objects[0].undecodable), (3, 1), "{report:?}");
    let lines = world.all_lines();
    assert_eq!((lines[1]["producer_name"].as_str(), lines[1]["sequence_id"].as_u64()), (Some("bomb"), Some(100_001)));
    assert!(lines[1]["undecodable"]["reason"].as_str().unwrap().contains("too many properties"));
    world.topic.set_mark_delete(crate::world::SUBSCRIPTION, tdmq_backup::Position::new(17, -1));
    let report = world.run().await;
    assert_eq!((report.skipped_entries, report.objects.len()), (3, 0), "{report:?}");
}

/// The broker counts its messages all the same, and a consumer that does not has no permits left.
#[tokio::test]
async fn a_batch_whose_envelope_is_kept_as_it_came_does_not_hold_up_what_is_behind_it() {
    let mut world = World::new().await;
    let property = pulsar::proto::KeyValue { key: String::new(), value: String::new() };
    for number in 0..3 {
        let drafts = (0..1000).map(|_| Draft::new("{}"));
        let entry = Composer::new("bomb").at(NOW).sequence(number * 1000).batch(drafts);
        world.topic.append(entry.with(|c| c.metadata.properties = vec![property.clone(); 100_001]));
    }
    world.send(&[1, 1]);
    let report = world.run().await;
    assert_eq!((report.stop, report.messages), (Some(tdmq_backup::report::Stop::Drained), 5), "{report:?}");
    assert_eq!(report.objects[0].undecodable, 3);
}

/// Of 24 such entries each is 120 KB on the wire, and 6 MB once it is decoded.
#[tokio::test]
async fn read_ahead_counts_what_properties_take_when_they_are_decoded() {
    let mut world = World::new().await;
    world.set("max_messages", 6);
    world.set("max_objects", 9);
    world.send(&[1; 5]);
    for at in 0..24 {
        let entry = Composer::new("many").at(NOW).sequence(at).single(Draft::new("{\"n\":0}"));
        let property = pulsar::proto::KeyValue { key: String::new(), value: String::new() };
        world.topic.append(entry.with(|c| c.metadata.properties = vec![property; 60_000]));
    }
    let report = world.run().await;
    assert_eq!((report.outcome, report.messages), (Outcome::Stored, 29), "{report:?}");
    let subscribes = world.broker.commands().iter().filter(|c| c.kind == CommandType::Subscribe).count();
    assert!(subscribes > 1, "160 MB were kept in a read-ahead of 8 MiB");
}

//! Every kind of topic, and of subscription that somebody else used before.
//!
//! What a topic goes through is done to it by the broker's own administration.

use std::fs;
use std::path::PathBuf;
use std::process::Command;

use serde_json::Value;

use crate::broker::{get, order, path_of};
use crate::harness::{SUBSCRIPTION, Stage, component, entry_of, script};
use crate::messages::is_stored;
use crate::process::{end, start};
use crate::records::are_those;
use crate::{replay, table};

/// Many seconds' worth.
const MOST_ASKED: usize = 20_000;

pub mod a_topic_is_stored_whole_whatever_was_done_to_it {
    crate::table::rows! { crate::topics::is_stored_whole:
        compacted "topic: compacted": java python go;
        compacted_and_trimmed "topic: compacted, then trimmed": java python go;
        terminated "topic: terminated": java python go;
        trimmed "topic: trimmed": java python go;
        made_anew "topic: deleted and made anew": java python go;
        ledgers "topic: several ledgers": java python go;
        odd_name "topic: odd characters in its name": java python go;
        shared "subscription: Shared before, a part of a batch acknowledged": java python go;
        key_shared "subscription: Key_Shared before, nothing acknowledged": java python go;
        failover "subscription: Failover before, the first entry acknowledged": java python go;
    }
}

/// What the embedded broker cannot act.
pub const NOT_ACTED: &[(&str, &str)] = &[
    ("topic: trimmed", "its ledgers are gone before they could be read; tests/run trims"),
    ("topic: compacted, then trimmed", "its ledgers are gone before they could be read; tests/run trims"),
    ("topic: deleted and made anew", "the first topic is gone before it could be read; tests/run makes topics anew"),
    ("subscription: Failover before, the first entry acknowledged", "serves Exclusive subscriptions only"),
    ("topic: empty", "there is nothing to read; tests/run has empty topics"),
];

fn is_stored_whole(client: &str, case: &str) -> &'static str {
    match case {
        "topic: compacted" => compacted(client, case),
        "topic: compacted, then trimmed" => compacted_and_trimmed(client),
        "topic: terminated" => terminated(client, case),
        "topic: trimmed" => trimmed(client),
        "topic: deleted and made anew" => made_anew(client),
        "topic: several ledgers" => several_ledgers(client, case),
        "topic: odd characters in its name" => odd_name(client, case),
        "subscription: Shared before, a part of a batch acknowledged" => {
            used_before(client, "batch", "Shared", "first", true);
            table::embedded(case, client);
        }
        "subscription: Key_Shared before, nothing acknowledged" => {
            used_before(client, "keys", "KeyShared", "nothing", true);
            table::embedded(case, client);
        }
        "subscription: Failover before, the first entry acknowledged" => {
            used_before(client, "keys", "Failover", "first-cumulatively", false);
        }
        _ => unreachable!("{case}"),
    }
    "ok"
}

fn act(stage: &Stage, method: &str, what: &str) {
    let at = stage.broker();
    let status = order(&at.http, &at.token, method, &format!("/admin/v2/{}{what}", path_of(&stage.topic)));
    assert!(matches!(status, 200 | 204), "{method} {what}: {status}");
}

fn ask(stage: &Stage, what: &str) -> Value {
    let at = stage.broker();
    get(&at.http, &at.token, &format!("/admin/v2/{}{what}", path_of(&stage.topic))).1
}

/// Asks until it is so: the broker does it after its answer.
fn until(stage: &Stage, what: &str, so: impl Fn(&Value) -> bool) {
    for _ in 0..MOST_ASKED {
        if so(&ask(stage, what)) {
            return;
        }
    }
    panic!("{what} does not change");
}

/// The same keys twice.
fn produce_twice(stage: &Stage, client: &str) -> Vec<Value> {
    [stage.produce(client, "keys", &[]), stage.produce(client, "batch", &[])].concat()
}

fn compact(stage: &Stage) {
    act(stage, "PUT", "/compaction");
    until(stage, "/compaction", |it| it["status"] == "SUCCESS");
}

fn agrees(stage: &Stage, seen: &[Value], client: &str, case: &str) {
    replay::agrees(stage, &seen[seen.len() - 1]["id"]);
    table::embedded(case, client);
}

fn compacted(client: &str, case: &str) {
    let stage = Stage::new("topic-compacted");
    let sent = produce_twice(&stage, client);
    compact(&stage);
    let seen = stage.dump();
    is_stored(&stage, &sent, &seen);
    agrees(&stage, &seen, client, case);
}

/// The broker names the last entry of the compacted ledger then, which is no longer there for us.
fn compacted_and_trimmed(client: &str) {
    let stage = Stage::new("topic-compacted-trimmed");
    let (sent, seen) = (produce_twice(&stage, client), stage.dump());
    is_stored(&stage, &sent, &seen);
    compact(&stage);
    trim(&stage);
    goes_on(&stage, client);
}

fn terminated(client: &str, case: &str) {
    let stage = Stage::new("topic-terminated");
    let sent = stage.produce(client, "keys", &[]);
    act(&stage, "POST", "/terminate");
    let seen = stage.dump();
    is_stored(&stage, &sent, &seen);
    agrees(&stage, &seen, client, case);
}

/// Everything is gone from the topic: the broker removes what nobody needs.
fn trim(stage: &Stage) {
    act(stage, "PUT", "/unload");
    // Loads it again, with a new ledger.
    ask(stage, "/lastMessageId");
    act(stage, "POST", "/trim");
    until(stage, "/internalStats", |it| it["numberOfEntries"] == 0);
}

fn trimmed(client: &str) {
    let stage = Stage::new("topic-trimmed");
    let (sent, seen) = (stage.produce(client, "keys", &[]), stage.dump());
    is_stored(&stage, &sent, &seen);
    trim(&stage);
    goes_on(&stage, client);
}

/// There is nothing to do, and what comes then is the next object.
fn goes_on(stage: &Stage, client: &str) {
    let before = stage.files();
    let run = stage.invoke();
    assert_eq!((run.code, run.outcome()), (Some(0), "nothing_to_do"), "{run:?}");
    assert_eq!(stage.files(), before);
    let sent = stage.produce(client, "keys", &[]);
    let seen = stage.dump();
    assert_eq!(seen.len(), sent.len(), "what was there before is gone");
    is_the_second_object(stage, &sent, &seen);
}

fn is_the_second_object(stage: &Stage, sent: &[Value], seen: &[Value]) {
    let first = stage.objects().remove(0);
    let run = stage.invoke();
    assert_eq!((run.code, run.outcome()), (Some(0), "stored"), "{run:?}");
    let objects = stage.objects();
    assert_eq!(objects.len(), 2);
    let second = objects.iter().find(|object| object.key != first.key).unwrap();
    are_those(&second.records, sent, seen);
    assert_eq!((&second.metadata["seq"], &second.metadata["previous-sha256"]), (&"2".into(), &first.sha256.into()));
    stage.is_at_rest(&sent[sent.len() - 1]["id"]);
}

fn made_anew(client: &str) {
    let stage = Stage::new("topic-anew");
    let (sent, seen) = (stage.produce(client, "keys", &[]), stage.dump());
    is_stored(&stage, &sent, &seen);
    act(&stage, "DELETE", "?force=true");
    let sent = stage.produce(client, "keys", &[]);
    let seen = stage.dump();
    is_the_second_object(&stage, &sent, &seen);
}

fn several_ledgers(client: &str, case: &str) {
    let stage = Stage::new("topic-ledgers");
    let mut sent = Vec::new();
    for part in 0..3 {
        if part > 0 {
            act(&stage, "PUT", "/unload");
        }
        sent.extend(stage.produce(client, "keys", &[]));
    }
    let seen = stage.dump();
    let mut ledgers: Vec<String> =
        sent.iter().map(|it| entry_of(&it["id"]).split(':').next().unwrap().to_owned()).collect();
    ledgers.dedup();
    assert_eq!(ledgers.len(), 3);
    let entries = replay::record(&stage, &sent[sent.len() - 1]["id"]);
    is_stored(&stage, &sent, &seen);
    replay::agrees_on(entries, &stage);
    table::embedded(case, client);
}

/// All that may stand in a topic's name, and means something elsewhere.
fn odd_name(client: &str, case: &str) {
    for name in ["a b+c=d&e?f#g", "%41%2F~", "ü世😀", "..", "-_.:@!$'()*,;[]{}|\\^`\"<>"] {
        let stage = Stage::named("topic-odd", name);
        let sent = stage.produce(client, "keys", &[]);
        let seen = stage.dump();
        is_stored(&stage, &sent, &seen);
        replay::agrees(&stage, &seen[seen.len() - 1]["id"]);
    }
    table::embedded(case, client);
}

/// `whole`: nothing that was acknowledged is an entry, so everything is still owed.
fn used_before(client: &str, messages: &str, kind: &str, acknowledge: &str, whole: bool) {
    let mut stage = Stage::new("subscription-used");
    stage.text("start", "continue");
    let sent = stage.produce(client, messages, &[]);
    let at = stage.broker();
    let mut python = Command::new(PathBuf::from(component("REAL_DIR")).join("venv/bin/python"));
    python.arg("-B").arg(script("python/used.py")).args([&at.url, &at.token, &stage.topic]);
    end(start(python.args([SUBSCRIPTION, kind, acknowledge]))).successful("used.py");
    let owed = if whole { 0 } else { 1 };
    let seen = stage.dump();
    is_stored(&stage, &sent[owed..], &seen[owed..]);
    if whole {
        replay::agrees(&stage, &seen[seen.len() - 1]["id"]);
    }
}

#[test]
fn an_empty_topic_has_nothing_to_do_and_is_not_written_about_twice() {
    let stage = Stage::new("topic-empty");
    act(&stage, "PUT", "");
    for _ in 0..2 {
        let run = stage.invoke();
        assert_eq!((run.code, run.outcome()), (Some(0), "nothing_to_do"), "{run:?}");
        assert_eq!(run.report["stop"], "drained");
        assert_eq!(stage.files().len(), 1, "the head");
    }
    assert_eq!(stage.objects().len(), 0);
    let head = fs::read(stage.bucket_folder().join(&stage.files()[0])).unwrap();
    assert_eq!(stage.invoke().outcome(), "nothing_to_do");
    assert_eq!(fs::read(stage.bucket_folder().join(&stage.files()[0])).unwrap(), head);
    table::expected("topic: empty", "java");
    table::note("topic: empty", "java", "ok");
    for client in ["python", "go"] {
        table::note("topic: empty", client, "not made: nobody produces");
    }
}

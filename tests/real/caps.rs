//! Where objects end, and how many there are.

use std::process::Command;

use serde_json::Value;

use crate::harness::{Stage, entry_of, script};
use crate::process::{end, lines, start};

/// Produces `count` payloads of `size` bytes and answers the producer's line: first and last id, and one
/// digest over all payloads.
pub fn bulk(stage: &Stage, client: &str, count: u64, size: u64) -> Value {
    let sent = stage.produce(client, "bulk", &["--count", &count.to_string(), "--size", &size.to_string()]);
    assert_eq!((sent.len(), &sent[0]["count"], &sent[0]["bytes"]), (1, &count.into(), &(count * size).into()));
    sent.into_iter().next().unwrap()
}

pub struct Summary {
    /// First id, last id and messages of each object, in order.
    objects: Vec<(String, String, u64)>,
    pub count: u64,
    /// Of all payloads, one after the other.
    pub sha256: Value,
    /// What the store says of each file, and what the file's own bytes say.
    pub files: Vec<Value>,
}

pub fn summary(stage: &Stage) -> Summary {
    let mut python = Command::new("python3");
    python.arg("-B").arg(script("python/objects.py")).arg("--digest").arg(stage.bucket_folder());
    let lines = lines(&end(start(&mut python)).successful("objects.py"));
    let (all, lines) = lines.split_last().unwrap();
    let text = |value: &Value| value.as_str().unwrap().to_owned();
    let objects = lines.iter().filter(|line| line["first"].is_string());
    let objects =
        objects.map(|line| (text(&line["first"]), text(&line["last"]), line["count"].as_u64().unwrap())).collect();
    let files = lines.iter().filter(|line| line["object"].is_string()).cloned().collect();
    Summary { objects, count: all["count"].as_u64().unwrap(), sha256: all["sha256"].clone(), files }
}

impl Summary {
    /// All that was sent, in order, each once; no entry is in two objects.
    pub fn is_all_of(&self, sent: &Value) {
        assert_eq!((self.count, &self.sha256), (sent["count"].as_u64().unwrap(), &sent["sha256"]));
        assert_eq!(self.objects[0].0, sent["first"].as_str().unwrap());
        assert_eq!(self.objects[self.objects.len() - 1].1, sent["last"].as_str().unwrap());
        for pair in self.objects.windows(2) {
            let entry = |id: &str| -> (u64, u64) {
                let id = entry_of(&id.into());
                let (ledger, entry) = id.split_once(':').unwrap();
                (ledger.parse().unwrap(), entry.parse().unwrap())
            };
            let ((ledger, last), (next_ledger, first)) = (entry(&pair[0].1), entry(&pair[1].0));
            assert_eq!((next_ledger, first), (ledger, last + 1), "the next object begins with the next entry");
        }
    }
}

#[test]
fn twelve_thousand_messages_become_one_object_a_run_until_all_are_stored() {
    for client in ["java", "python"] {
        let mut stage = Stage::new("twelve-thousand");
        stage.number("max_messages", 5000);
        let sent = bulk(&stage, client, 12_000, 300);
        let mut left = u64::MAX;
        // What a run must leave: fewer entries each time, and nothing at last.
        while left > 0 {
            let run = stage.invoke();
            assert_eq!((run.code, run.outcome()), (Some(0), "stored"), "{run:?}");
            assert_eq!(run.report["objects"].as_array().unwrap().len(), 1);
            let backlog = run.report["backlog_entries"].as_u64().unwrap();
            assert_eq!(stage.standing().backlog, Some(backlog), "what the broker itself says");
            assert!(backlog < left);
            let stop = if backlog > 0 { "max_messages" } else { "drained" };
            assert_eq!(run.report["stop"], stop);
            assert_eq!(run.report["complete_through"].is_u64(), backlog == 0);
            left = backlog;
        }
        let found = summary(&stage);
        found.is_all_of(&sent);
        // Batches do not divide 5,000 evenly: an object ends at an entry's end, before its cap.
        let most =
            stage.dump().chunk_by(|a, b| entry_of(&a["id"]) == entry_of(&b["id"])).map(<[Value]>::len).max().unwrap();
        for (_, _, count) in &found.objects[..found.objects.len() - 1] {
            assert!(*count <= 5000 && count + most as u64 > 5000, "{count} of at most 5000, batches of at most {most}");
        }
        stage.is_at_rest(&sent["last"]);
    }
}

#[test]
fn one_run_writes_as_many_objects_as_the_rule_allows() {
    let mut stage = Stage::new("three-objects");
    stage.number("max_messages", 1000).number("max_objects", 3);
    let sent = bulk(&stage, "python", 4000, 200);
    let run = stage.invoke();
    assert_eq!((run.outcome(), &run.report["stop"]), ("stored", &"max_messages".into()), "{run:?}");
    assert_eq!(run.report["objects"].as_array().unwrap().len(), 3);
    assert_eq!(stage.standing().backlog, run.report["backlog_entries"].as_u64());
    let links = stage.objects();
    for (seq, pair) in links.windows(2).enumerate() {
        assert_eq!(pair[1].metadata["seq"], (seq + 2).to_string());
        assert_eq!(pair[1].metadata["previous-sha256"], pair[0].sha256);
        assert_eq!(pair[1].metadata["previous-id"], entry_of(&pair[0].records.last().unwrap()["id"]));
    }
    stage.number("max_objects", 1000);
    assert_eq!(stage.invoke().report["stop"], "drained");
    summary(&stage).is_all_of(&sent);
    stage.is_at_rest(&sent["last"]);
}

#[test]
fn no_object_of_several_entries_is_larger_than_max_bytes() {
    let mut stage = Stage::new("max-bytes");
    stage.number("max_bytes", 300_000).number("max_objects", 1000);
    // Each message is an entry: clients do not batch what is this large.
    let sent = bulk(&stage, "java", 40, 50_000);
    let run = stage.invoke();
    assert_eq!((run.outcome(), &run.report["stop"]), ("stored", &"drained".into()), "{run:?}");
    // A record is its payload and some 150 bytes around it: five fit, six do not.
    let objects = run.report["objects"].as_array().unwrap();
    assert_eq!(objects.iter().map(|it| it["messages"].as_u64().unwrap()).collect::<Vec<_>>(), [5; 8]);
    for object in objects {
        assert!(
            object["bytes_before_compression"].as_u64().unwrap() <= 300_000
                && object["bytes"].as_u64().unwrap() <= 300_000
        );
    }
    summary(&stage).is_all_of(&sent);
    stage.is_at_rest(&sent["last"]);
}

#[test]
fn an_entry_that_is_larger_than_max_bytes_does_not_block_the_topic() {
    let mut stage = Stage::new("one-large");
    stage.number("max_bytes", 1000).number("max_objects", 1000);
    let sent = bulk(&stage, "python", 3, 50_000);
    assert_eq!(stage.invoke().report["objects"].as_array().unwrap().len(), 3);
    summary(&stage).is_all_of(&sent);
    stage.is_at_rest(&sent["last"]);
}

//! Every kind of message that two clients can make, compared with what they meant and what the Java reader saw.

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::process::Command;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::Value;

use crate::harness::{Stage, component, entry_of, script};
use crate::process::{end, start};
use crate::records::{are_those, has_known_members, is_labelled, kind_of};

/// `client case`, one test each. Bulk is read in `caps`.
macro_rules! cases {
    ($($test:ident: $client:literal $case:literal,)*) => {
        const CASES: &[(&str, &str)] = &[$(($client, $case)),*];

        mod every_field_is_in_the_object_and_the_second_run_finds_nothing {
            $(#[test] fn $test() { super::is_stored_as_sent($client, $case); })*
        }
    };
}

cases! {
    java_plain: "java" "plain",
    java_batch: "java" "batch",
    java_batch_lz4: "java" "batch-lz4",
    java_batch_zlib: "java" "batch-zlib",
    java_batch_zstd: "java" "batch-zstd",
    java_batch_snappy: "java" "batch-snappy",
    java_single_lz4: "java" "single-lz4",
    java_single_zlib: "java" "single-zlib",
    java_single_zstd: "java" "single-zstd",
    java_single_snappy: "java" "single-snappy",
    java_keys: "java" "keys",
    java_properties: "java" "properties",
    java_times: "java" "times",
    java_delayed: "java" "delayed",
    java_nulls: "java" "nulls",
    java_chunked: "java" "chunked",
    java_schema: "java" "schema",
    java_schema_avro: "java" "schema-avro",
    python_plain: "python" "plain",
    python_batch: "python" "batch",
    python_batch_lz4: "python" "batch-lz4",
    python_batch_zlib: "python" "batch-zlib",
    python_batch_zstd: "python" "batch-zstd",
    python_batch_snappy: "python" "batch-snappy",
    python_single_lz4: "python" "single-lz4",
    python_single_zlib: "python" "single-zlib",
    python_single_zstd: "python" "single-zstd",
    python_single_snappy: "python" "single-snappy",
    python_keys: "python" "keys",
    python_properties: "python" "properties",
    python_times: "python" "times",
    python_delayed: "python" "delayed",
    python_nulls: "python" "nulls",
    python_chunked: "python" "chunked",
    python_schema: "python" "schema",
}

/// Kept raw for now, entry by entry.
const RAW: &[(&str, &str)] = &[("java", "encrypted")];

#[test]
fn the_table_has_every_case_that_the_clients_know() {
    for client in ["java", "python"] {
        let mut program = Command::new(PathBuf::from(component("REAL_BIN")).join(format!("{client}-client")));
        let known = end(start(program.args(["produce", "--case", "list"]))).successful("the list of cases");
        let mut table: Vec<&str> =
            CASES.iter().chain(RAW).filter(|(of, _)| *of == client).map(|(_, case)| *case).chain(["bulk"]).collect();
        let mut known: Vec<&str> = known.lines().collect();
        table.sort();
        known.sort();
        assert_eq!(table, known, "{client}");
    }
}

/// The member that holds each payload of `plain`, from the rules in `encode::jsonl`, by hand.
fn kinds_of_plain(client: &str) -> &'static str {
    match client {
        "java" => {
            "value text text text text text text base64 base64 value text value text text text text value value value value \
             value value value text value value text text text value"
        }
        _ => {
            "value text text text text text base64 value text value text text value value value value value value value value"
        }
    }
}

/// How many schema versions the records name; each has a file, with the definition in it.
fn schemas_named(stage: &Stage, records: &[Value]) -> usize {
    let named: BTreeSet<&str> = records.iter().filter_map(|record| record["schema_version"].as_str()).collect();
    let topic = stage.topic.strip_prefix("persistent://").unwrap();
    for version in &named {
        let hex: String = STANDARD.decode(version).unwrap().iter().map(|byte| format!("{byte:02x}")).collect();
        let file = stage.bucket_folder().join(format!("{topic}/_schemas/{hex}.json"));
        let file: Value = serde_json::from_slice(&std::fs::read(file).unwrap()).unwrap();
        let definition: Value = serde_json::from_str(file["schema"].as_str().unwrap()).unwrap();
        assert_eq!((&file["version"], definition["type"].as_str()), (&Value::from(hex), Some("record")));
    }
    named.len()
}

fn is_stored_as_sent(client: &str, case: &str) {
    let stage = Stage::new(&format!("{client}-{case}"));
    let sent = stage.produce(client, case, &[]);
    let seen = stage.dump();
    let run = stage.invoke();
    assert_eq!((run.code, run.outcome()), (Some(0), "stored"), "{run:?}");
    assert_eq!(run.stderr, "");

    let objects = stage.objects();
    assert_eq!(objects.len(), 1);
    let object = &objects[0];
    let schemas = schemas_named(&stage, &object.records);
    assert_eq!(stage.files().len(), 2 + schemas, "the object, the head and the schemas: {:?}", stage.files());
    are_those(&object.records, &sent, &seen);
    is_labelled(object, &folder(&stage), &seen, 1);
    let kinds: Vec<&str> = object.records.iter().map(|record| record["kind"].as_str().unwrap()).collect();
    match case {
        "plain" => assert_eq!(kinds.join(" "), kinds_of_plain(client)),
        _ => assert_eq!(kinds, sent.iter().map(kind_of).collect::<Vec<_>>()),
    }

    let (first, last) = (&seen[0]["id"], &seen[seen.len() - 1]["id"]);
    let said = &run.report["objects"][0];
    assert_eq!(run.report["objects"].as_array().unwrap().len(), 1);
    assert_eq!(said["key"], object.key);
    assert_eq!(said["messages"], sent.len());
    assert_eq!(said["bytes"], object.bytes);
    assert_eq!((&said["first_id"], &said["last_id"]), (&Value::from(entry_of(first)), &Value::from(entry_of(last))));
    assert_eq!((&said["undecodable"], &said["acknowledged"]), (&Value::from(0), &Value::from(true)));
    assert_eq!((&run.report["messages"], &run.report["backlog_entries"]), (&Value::from(sent.len()), &Value::from(0)));
    stage.is_at_rest(last);
}

pub fn folder(stage: &Stage) -> String {
    format!("{}/partition=-1/", stage.topic.strip_prefix("persistent://").unwrap())
}

#[test]
fn encrypted_messages_are_kept_raw_and_none_is_lost() {
    let stage = Stage::new("java-encrypted");
    let sent = stage.produce("java", "encrypted", &[]);
    let run = stage.invoke();
    assert_eq!((run.code, run.outcome()), (Some(0), "stored"), "{run:?}");
    let objects = stage.objects();
    let records: Vec<&Value> = objects.iter().flat_map(|object| &object.records).collect();
    records.iter().for_each(|record| has_known_members(record));

    // One record for each entry: from the first id to the last, none left out.
    let entries: Vec<i64> = records.iter().map(|record| entry_number(&record["id"])).collect();
    let last = entry_number(&sent[sent.len() - 1]["id"]);
    assert_eq!(entries, (0..=last).collect::<Vec<_>>());
    let raw = records.iter().filter(|record| record["kind"] == "raw_base64");
    let mut undecodable = 0;
    for record in raw {
        undecodable += 1;
        assert!(!record["undecodable"]["encryption"].is_null(), "{}: {}", record["id"], record["undecodable"]);
    }
    assert!(undecodable > 0);
    assert_eq!(run.report["objects"][0]["undecodable"], undecodable);
    readable_ones_are_readable(&records, &sent);
    stage.is_at_rest(&sent[sent.len() - 1]["id"]);
}

fn entry_number(id: &Value) -> i64 {
    entry_of(id).split_once(':').unwrap().1.parse().unwrap()
}

fn readable_ones_are_readable(records: &[&Value], sent: &[Value]) {
    let readable = |record: &&&Value| record["undecodable"].is_null();
    let ids: Vec<&Value> = records.iter().filter(readable).map(|record| &record["id"]).collect();
    assert_eq!(ids, [&sent[0]["id"], &sent[sent.len() - 1]["id"]], "what was not encrypted");
    for (record, line) in [(records[0], &sent[0]), (records[records.len() - 1], &sent[sent.len() - 1])] {
        assert_eq!(record["payload_base64"], line["payload_base64"]);
    }
    let batches: Vec<&Value> = records.iter().map(|record| &record["undecodable"]["num_messages_in_batch"]).collect();
    assert_eq!(
        batches.iter().filter(|of| **of == &Value::from(2)).count(),
        1,
        "the encrypted batch of two: {batches:?}"
    );
}

/// A second broker, one that stamps entries with its own time and index: the first one does not.
struct StampingBroker {
    folder: PathBuf,
}

impl StampingBroker {
    fn command(&self, word: &str) {
        let mut broker = Command::new(script("broker"));
        broker.args([word]).args((word == "start").then_some("--fresh"));
        broker.env("REAL_BROKER_DIR", &self.folder).env("BROKER_ENTRY_METADATA", "1");
        end(start(&mut broker)).successful(word);
    }

    fn variable(&self, name: &str) -> String {
        let file = std::fs::read_to_string(self.folder.join("env")).unwrap();
        let line = file.lines().find_map(|line| line.strip_prefix(&format!("{name}=")));
        line.unwrap().to_owned()
    }
}

impl Drop for StampingBroker {
    fn drop(&mut self) {
        self.command("stop");
    }
}

#[test]
fn the_brokers_own_time_and_index_are_kept_where_it_stamps_entries() {
    let broker = StampingBroker { folder: PathBuf::from(component("REAL_DIR")).join("stamping-broker") };
    broker.command("start");
    for case in ["plain", "batch-zstd"] {
        let mut stage = Stage::new(&format!("stamped-{case}"));
        stage.at_broker(&broker.variable("REAL_BROKER_URL"), &broker.variable("REAL_ADMIN_TOKEN"));
        let sent = stage.produce("java", case, &[]);
        let seen = stage.dump();
        let indices: Vec<u64> =
            seen.iter().map(|line| line["index"].as_u64().expect("this broker numbers messages")).collect();
        assert_eq!(indices, (0..sent.len() as u64).collect::<Vec<_>>());
        assert!(seen.iter().all(|line| line["broker_publish_time"].is_u64()));
        let run = stage.invoke();
        assert_eq!((run.code, run.outcome()), (Some(0), "stored"), "{run:?}");
        let objects = stage.objects();
        assert_eq!(objects.len(), 1);
        are_those(&objects[0].records, &sent, &seen);
        assert_eq!(stage.invoke().outcome(), "nothing_to_do");
    }
}

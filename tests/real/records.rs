//! What an object must say of messages, derived from what their producer meant and what the Java reader saw.

use std::collections::BTreeMap;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use chrono::DateTime;
use serde_json::{Map, Value, json};

use crate::harness::{Object, entry_of};

/// The members of a record in the order that `encode::jsonl` documents.
const ORDER: &[&str] = &[
    "id",
    "publish_time",
    "event_time",
    "broker_time",
    "index",
    "key",
    "key_base64",
    "ordering_key",
    "properties",
    "producer_name",
    "sequence_id",
    "schema_version",
    "replicated_from",
    "deliver_at_time",
    "null_partition_key",
    "txnid_most_bits",
    "txnid_least_bits",
    "first_chunk_id",
    "uuid",
    "num_chunks_from_msg",
    "null_value",
    "value",
    "text",
    "base64",
    "undecodable",
    "raw_base64",
];

/// The record's name of what the Java reader prints under another one.
const OF_DUMP: &[(&str, &str)] = &[
    ("id", "id"),
    ("first_chunk_id", "first_chunk_id"),
    ("publish_time", "publish_time"),
    ("event_time", "event_time"),
    ("broker_time", "broker_publish_time"),
    ("index", "index"),
    ("key", "key"),
    ("key_base64", "key_base64"),
    ("ordering_key", "ordering_key_base64"),
    ("producer_name", "producer_name"),
    ("sequence_id", "sequence_id"),
    ("schema_version", "schema_version_base64"),
    ("replicated_from", "replicated_from"),
    ("deliver_at_time", "deliver_at_time"),
    ("null_partition_key", "null_partition_key"),
    ("first_chunk_id", "first_chunk_id"),
    ("payload_base64", "payload_base64"),
];

/// What the producer says too. It does not know when "in an hour" is, so `deliver_at_time` is compared only where it does.
const OF_PRODUCER: &[(&str, &str)] = &[
    ("id", "id"),
    ("event_time", "event_time"),
    ("key", "key"),
    ("key_base64", "key_base64"),
    ("ordering_key", "ordering_key_base64"),
    ("properties", "properties"),
    ("producer_name", "producer_name"),
    ("sequence_id", "sequence_id"),
    ("null_partition_key", "null_partition_key"),
    ("payload_base64", "payload_base64"),
];

/// Every member of every record against both witnesses, in order, none missing and none added.
pub fn are_those(records: &[Value], sent: &[Value], seen: &[Value]) {
    let ids = |lines: &[Value]| lines.iter().map(|line| line["id"].clone()).collect::<Vec<_>>();
    assert_eq!(ids(records), ids(sent), "ids and order, against the producer");
    assert_eq!(ids(records), ids(seen), "ids and order, against the Java reader");
    for ((record, sent), seen) in records.iter().zip(sent).zip(seen) {
        is_that(record, sent, seen);
    }
}

fn is_that(record: &Value, sent: &Value, seen: &Value) {
    let id = &record["id"];
    assert_eq!(
        picked(record, OF_DUMP.iter().map(|(ours, _)| (*ours, *ours))),
        picked(seen, OF_DUMP.iter().copied()),
        "{id}"
    );
    // What a client sends in an order of its own choice: the Java reader's map has none either.
    let ordered = sent["properties_unordered"].is_null();
    let sent_names = || OF_PRODUCER.iter().copied().filter(|(name, _)| ordered || *name != "properties");
    assert_eq!(picked(record, sent_names().map(|(ours, _)| (ours, ours))), picked(sent, sent_names()), "{id}");
    if !ordered {
        assert_eq!(last_values(&record["properties"]), last_values(&sent["properties"]), "{id}");
    }
    if !sent["deliver_at_time"].is_null() {
        assert_eq!(record["deliver_at_time"], sent["deliver_at_time"], "{id}");
    }
    if !sent["first_chunk_id"].is_null() {
        assert_eq!(record["first_chunk_id"], sent["first_chunk_id"], "{id}");
    }
    // Both clients name a message in chunks after its producer and its sequence id.
    let uuid = format!("{}-{}", record["producer_name"].as_str().unwrap(), record["sequence_id"]);
    let entries = |name: &str| entry_of(&record[name]).rsplit_once(':').unwrap().1.parse::<i64>().unwrap();
    assert_eq!(record["uuid"].as_str(), record["first_chunk_id"].is_string().then_some(uuid.as_str()), "{id}");
    if let Some(chunks) = record["num_chunks_from_msg"].as_i64() {
        // Other messages' chunks may lie between its own.
        assert!((2..=entries("id") - entries("first_chunk_id") + 1).contains(&chunks), "{id}");
    }
    assert_eq!(last_values(&record["properties"]), last_values(&seen["properties"]), "{id}");
    assert_eq!(record["kind"] == "null_value", seen["null"] == true, "{id}");
    has_known_members(record);
}

/// All members are documented ones, each once, in the documented order.
pub fn has_known_members(record: &Value) {
    let names: Vec<&str> = record["members"].as_array().unwrap().iter().map(|name| name.as_str().unwrap()).collect();
    let known: Vec<&str> = ORDER.iter().copied().filter(|name| names.contains(name)).collect();
    assert_eq!(names, known, "{}", record["id"]);
}

fn picked<'n>(line: &Value, names: impl Iterator<Item = (&'n str, &'n str)>) -> Map<String, Value> {
    let found = names.map(|(ours, theirs)| (ours.to_owned(), line[theirs].clone()));
    found.filter(|(_, value)| !value.is_null()).collect()
}

/// What is left of properties in a map: that is all the Java client shows.
fn last_values(pairs: &Value) -> BTreeMap<String, String> {
    let pairs: Vec<(String, String)> = serde_json::from_value(pairs.clone()).unwrap();
    pairs.into_iter().collect()
}

/// The member that must hold a payload, by the documents' words and serde_json's judgement.
pub fn kind_of(sent: &Value) -> &'static str {
    let Some(payload) = sent["payload_base64"].as_str() else { return "null_value" };
    let payload = STANDARD.decode(payload).unwrap();
    let Ok(text) = str::from_utf8(&payload) else { return "base64" };
    let on_one_line = text.trim() == text && !text.contains(['\r', '\n']);
    match on_one_line && serde_json::from_str::<Value>(text).is_ok() {
        true => "value",
        false => "text",
    }
}

/// Name and metadata say what is in the object.
pub fn is_labelled(object: &Object, folder: &str, seen: &[Value], seq: u64) {
    let (first, last) = (&seen[0], &seen[seen.len() - 1]);
    let publish_time = first["publish_time"].as_i64().unwrap();
    let hour = DateTime::from_timestamp_millis(publish_time).unwrap().format("dt=%Y-%m-%d/hour=%H");
    let (from, to) = (edge(&first["id"]), edge(&last["id"]));
    assert_eq!(object.key, format!("{folder}{hour}/{from}_{to}_{}.jsonl.gz", seen.len()));
    let metadata = json!({
        "first-id": entry_of(&first["id"]), "last-id": entry_of(&last["id"]), "count": seen.len().to_string(),
        "seq": seq.to_string(), "sha256": object.sha256, "tool": format!("tdmq-backup/{}", env!("CARGO_PKG_VERSION")),
    });
    let but_its_predecessor = |metadata: &Value| {
        let mut metadata = metadata.as_object().unwrap().clone();
        let previous = [metadata.remove("previous-id"), metadata.remove("previous-sha256")];
        assert_eq!(previous.iter().filter(|it| it.is_some()).count(), if seq == 1 { 0 } else { 2 });
        metadata
    };
    assert_eq!(but_its_predecessor(&object.metadata), *metadata.as_object().unwrap());
    assert_eq!(object.content_type, "application/gzip");
}

fn edge(id: &Value) -> String {
    let entry = entry_of(id);
    let (ledger, entry) = entry.split_once(':').unwrap();
    format!("{ledger:0>19}-{entry:0>19}")
}

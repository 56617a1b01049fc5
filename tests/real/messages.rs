//! Every kind of message that two clients can make, compared with what they meant and what the Java reader saw.

use std::collections::BTreeSet;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use serde_json::Value;

use crate::harness::{Stage, entry_of};
use crate::records::{are_those, has_known_members, is_labelled, kind_of};
use crate::second::Second;
use crate::{replay, table};

/// Bulk is read in `caps`, transactions in `transactions`.
pub mod every_field_is_in_the_object_and_the_second_run_finds_nothing {
    crate::table::rows! { crate::messages::is_stored_as_sent:
        plain "plain": java python go;
        batch "batch": java python go;
        batch_lz4 "batch-lz4": java python go;
        batch_zlib "batch-zlib": java python go;
        batch_zstd "batch-zstd": java python go;
        batch_zstd_faster "batch-zstd-faster": go;
        batch_zstd_better "batch-zstd-better": go;
        batch_snappy "batch-snappy": java python go;
        batch_1000 "batch-1000": java python go;
        batch_by_key "batch-by-key": java python go;
        single_lz4 "single-lz4": java python go;
        single_zlib "single-zlib": java python go;
        single_zstd "single-zstd": java python go;
        single_snappy "single-snappy": java python go;
        largest "largest": java python go;
        keys "keys": java python go;
        properties "properties": java python go;
        properties_1000 "properties-1000": java python go;
        unicode "unicode": java python;
        times "times": java python go;
        sequence_ids "sequence-ids": java python go;
        delayed "delayed": java python go;
        not_replicated "not-replicated": java python go;
        nulls "nulls": java python;
        empty "empty": java python go;
        empty_batch "empty-batch": java python go;
        schema "schema": java python go;
        schema_avro "schema-avro": java;
        schema_string "schema-string": java python;
        schema_int32 "schema-int32": java;
        schema_keyvalue "schema-keyvalue": java;
        schema_keyvalue_separated "schema-keyvalue-separated": java;
        chunked "chunked": java python go;
        chunked_lz4 "chunked-lz4": java python go;
        chunked_zlib "chunked-zlib": java python go;
        chunked_zstd "chunked-zstd": java python go;
        chunked_snappy "chunked-snappy": java python go;
        chunked_interleaved "chunked-interleaved": java;
    }
}

/// Nobody has the key.
pub mod what_is_encrypted_is_kept_raw_and_nothing_is_lost {
    crate::table::rows! { crate::messages::is_stored_raw:
        encrypted "encrypted": java python go;
    }
}

pub const ROWS: &[&[(&str, &[&str])]] = &[
    every_field_is_in_the_object_and_the_second_run_finds_nothing::ROWS,
    what_is_encrypted_is_kept_raw_and_nothing_is_lost::ROWS,
];

/// The member that holds each payload of `plain`, from the rules in `encode::jsonl`, by hand.
fn kinds_of_plain(client: &str) -> &'static str {
    match client {
        "go" => "value text text text text text base64 value text value value value value value value value value",
        "java" => {
            "value text text text text text text base64 base64 value text value text text text text value value value value \
             value value value text value value text text text value"
        }
        _ => {
            "value text text text text text base64 value text value text text value value value value value value value value"
        }
    }
}

fn is_stored_as_sent(client: &str, case: &str) -> &'static str {
    let stage = Stage::new(&format!("{client}-{case}"));
    let sent = stage.produce(client, case, &[]);
    let seen = stage.dump();
    is_stored(&stage, &sent, &seen);
    let kinds: Vec<String> = kinds(&stage);
    match case {
        "plain" => assert_eq!(kinds.join(" "), kinds_of_plain(client)),
        _ => assert_eq!(kinds, sent.iter().map(kind_of).collect::<Vec<_>>()),
    }
    replay::agrees(&stage, &seen[seen.len() - 1]["id"]);
    table::embedded(case, client);
    "ok"
}

fn kinds(stage: &Stage) -> Vec<String> {
    let kind = |record: &Value| record["kind"].as_str().unwrap().to_owned();
    stage.objects().iter().flat_map(|object| object.records.iter().map(kind)).collect()
}

/// How many schema versions the records name; each has a file.
fn schemas_named(stage: &Stage, records: &[Value]) -> usize {
    let named: BTreeSet<&str> = records.iter().filter_map(|record| record["schema_version"].as_str()).collect();
    let topic = stage.topic.strip_prefix("persistent://").unwrap();
    for version in &named {
        let hex: String = STANDARD.decode(version).unwrap().iter().map(|byte| format!("{byte:02x}")).collect();
        let file = stage.bucket_folder().join(format!("{topic}/_schemas/{hex}.json"));
        let file: Value = serde_json::from_slice(&std::fs::read(file).unwrap()).unwrap();
        assert_eq!(file["version"], Value::from(hex));
        if ["JSON", "AVRO"].iter().any(|kind| file["type"] == *kind) {
            let definition: Value = serde_json::from_str(file["schema"].as_str().unwrap()).unwrap();
            assert_eq!(definition["type"], "record");
        }
    }
    named.len()
}

/// One run stores everything in one object, and leaves nothing to do.
pub fn is_stored(stage: &Stage, sent: &[Value], seen: &[Value]) {
    let run = stage.invoke();
    assert_eq!((run.code, run.outcome()), (Some(0), "stored"), "{run:?}");
    assert_eq!(run.stderr, "");

    let objects = stage.objects();
    assert_eq!(objects.len(), 1);
    let object = &objects[0];
    let schemas = schemas_named(stage, &object.records);
    assert_eq!(stage.files().len(), 2 + schemas, "the object, the head and the schemas: {:?}", stage.files());
    are_those(&object.records, sent, seen);
    is_labelled(object, &folder(stage), seen, 1);

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
    let (folder, name) = stage.topic.strip_prefix("persistent://").unwrap().rsplit_once('/').unwrap();
    // Letters, digits and these stand as they are.
    const OTHER: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'_').remove(b'.');
    format!("{folder}/{}/partition=-1/", utf8_percent_encode(name, OTHER))
}

fn is_stored_raw(client: &str, case: &str) -> &'static str {
    let stage = Stage::new(&format!("{client}-{case}"));
    let sent = stage.produce(client, case, &[]);
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
    replay::agrees(&stage, &sent[sent.len() - 1]["id"]);
    table::embedded(case, client);
    "raw"
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

/// Another broker than the others use: it stamps entries.
#[test]
fn the_brokers_own_time_and_index_are_kept_where_it_stamps_entries() {
    let broker = Second::start("stamping-broker", &[("BROKER_ENTRY_METADATA", "1")]);
    for client in table::CLIENTS {
        for case in ["plain", "batch-zstd"] {
            let stage = broker.stage(&format!("stamped-{client}-{case}"));
            let sent = stage.produce(client, case, &[]);
            let seen = stage.dump();
            let indices: Vec<u64> =
                seen.iter().map(|line| line["index"].as_u64().expect("this broker numbers messages")).collect();
            assert_eq!(indices, (0..sent.len() as u64).collect::<Vec<_>>());
            assert!(seen.iter().all(|line| line["broker_publish_time"].is_u64()));
            is_stored(&stage, &sent, &seen);
            replay::agrees(&stage, &seen[seen.len() - 1]["id"]);
        }
        table::expected("stamped by the broker", client);
        table::note("stamped by the broker", client, "ok");
        table::embedded("stamped by the broker", client);
    }
}

//! Every kind of message that two clients can make, compared with what they meant and what the Java reader saw.

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
    }
}

/// Nobody has the key.
pub mod what_is_encrypted_is_kept_raw_and_nothing_is_lost {
    crate::table::rows! { crate::messages::is_stored_raw:
        encrypted "encrypted": java python go;
    }
}

/// For now. When chunks are put together these are rows of the first table: one record for each message, at the id of its
/// last chunk, with `first_chunk_id`; producer and Java reader say the same, so `is_stored_as_sent` compares it as it is.
pub mod parts_of_chunked_messages_are_kept_raw_and_none_is_lost {
    crate::table::rows! { crate::messages::is_stored_raw:
        chunked "chunked": java python go;
        chunked_lz4 "chunked-lz4": java python go;
        chunked_zlib "chunked-zlib": java python go;
        chunked_zstd "chunked-zstd": java python go;
        chunked_snappy "chunked-snappy": java python go;
        chunked_interleaved "chunked-interleaved": java;
    }
}

pub const ROWS: &[&[(&str, &[&str])]] = &[
    every_field_is_in_the_object_and_the_second_run_finds_nothing::ROWS,
    what_is_encrypted_is_kept_raw_and_nothing_is_lost::ROWS,
    parts_of_chunked_messages_are_kept_raw_and_none_is_lost::ROWS,
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

/// One run stores everything in one object, and leaves nothing to do.
pub fn is_stored(stage: &Stage, sent: &[Value], seen: &[Value]) {
    let run = stage.invoke();
    assert_eq!((run.code, run.outcome()), (Some(0), "stored"), "{run:?}");
    assert_eq!(run.stderr, "");

    let objects = stage.objects();
    assert_eq!(objects.len(), 1);
    assert_eq!(stage.files().len(), 2, "the object and the head: {:?}", stage.files());
    let object = &objects[0];
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
    let fact = if case == "encrypted" { "encryption" } else { "chunk" };
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
        assert!(!record["undecodable"][fact].is_null(), "{}: {}", record["id"], record["undecodable"]);
    }
    assert!(undecodable > 0);
    assert_eq!(run.report["objects"][0]["undecodable"], undecodable);
    match fact {
        "chunk" => chunks_join_up(&records, &sent),
        _ => readable_ones_are_readable(&records, &sent),
    }
    stage.is_at_rest(&sent[sent.len() - 1]["id"]);
    replay::agrees(&stage, &sent[sent.len() - 1]["id"]);
    table::embedded(case, client);
    "raw"
}

fn entry_number(id: &Value) -> i64 {
    entry_of(id).split_once(':').unwrap().1.parse().unwrap()
}

/// The parts of each message, in order, are as long as the message says, and where it was not compressed they are its payload.
fn chunks_join_up(records: &[&Value], sent: &[Value]) {
    use base64::{Engine, engine::general_purpose::STANDARD};
    for line in sent {
        let last = records.iter().find(|record| record["id"] == line["id"]).expect("a record stands at every sent id");
        let payload = STANDARD.decode(line["payload_base64"].as_str().unwrap()).unwrap();
        let chunk = &last["undecodable"]["chunk"];
        if chunk.is_null() {
            assert_eq!(last["payload_base64"], line["payload_base64"]);
            continue;
        }
        let parts = records.iter().filter(|record| record["undecodable"]["chunk"]["uuid"] == chunk["uuid"]);
        let parts: Vec<&&Value> = parts.collect();
        let numbers: Vec<u64> = parts.iter().map(|part| part["undecodable"]["chunk"]["id"].as_u64().unwrap()).collect();
        assert_eq!(numbers, (0..chunk["of"].as_u64().unwrap()).collect::<Vec<_>>());
        let joined: Vec<u8> =
            parts.iter().flat_map(|it| STANDARD.decode(it["payload_base64"].as_str().unwrap()).unwrap()).collect();
        assert_eq!(joined.len() as u64, chunk["total_size"].as_u64().unwrap());
        if last["undecodable"]["compression"] == 0 {
            assert!(joined == payload, "the parts of {} are not its payload", line["id"]);
        }
    }
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

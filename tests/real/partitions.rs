//! Partitioned topics as other clients make and fill them.

use std::collections::BTreeSet;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::Value;

use crate::broker::{administer, standing};
use crate::harness::{Run, Stage, component};
use crate::memory::drained_in_little_memory;

/// A stage whose topic has this many partitions, all of them made.
fn stage(name: &str, partitions: u32) -> Stage {
    let stage = Stage::new(name);
    set_partitions(&stage, "PUT", partitions);
    stage
}

/// `PUT` makes a partitioned topic, `POST` gives one more partitions.
fn set_partitions(stage: &Stage, method: &str, partitions: u32) {
    let path = format!("/admin/v2/{}/partitions", stage.topic.replace("://", "/"));
    let (http, token) = (component("REAL_BROKER_HTTP"), component("REAL_ADMIN_TOKEN"));
    let status = administer(&http, &token, method, &path, &partitions.to_string());
    assert!((200..300).contains(&status), "{method} {path}: {status}");
}

fn bulk(stage: &Stage, client: &str, count: u64, size: u64) {
    let sent = stage.produce(client, "bulk", &["--count", &count.to_string(), "--size", &size.to_string()]);
    assert_eq!(sent[0]["count"], count);
}

fn to_partition(stage: &mut Stage, partition: u32, client: &str, count: u64) {
    let whole = stage.topic.clone();
    stage.topic = format!("{whole}-partition-{partition}");
    bulk(stage, client, count, 200);
    stage.topic = whole;
}

/// The index in each payload that is stored, sorted: a message twice is a number twice.
fn indexes(stage: &Stage) -> Vec<u64> {
    let payload = |record: &Value| -> Value {
        serde_json::from_slice(&STANDARD.decode(record["payload_base64"].as_str().unwrap()).unwrap()).unwrap()
    };
    let objects = stage.objects();
    let records = objects.iter().flat_map(|object| {
        // A record says its partition in its id, and the folder says it too.
        let folder = object.key.split("/partition=").nth(1).unwrap().split('/').next().unwrap();
        object.records.iter().inspect(move |it| assert_eq!(it["id"].as_str().unwrap().split(':').nth(2), Some(folder)))
    });
    let mut found: Vec<u64> = records.map(|it| payload(it)["index"].as_u64().unwrap()).collect();
    found.sort_unstable();
    found
}

fn outcomes(run: &Run) -> Vec<String> {
    let partitions = run.report["partitions"].as_array().unwrap_or_else(|| panic!("{run:?}"));
    partitions.iter().map(|it| it["outcome"].as_str().unwrap().to_owned()).collect()
}

/// The broker itself says that nothing is owed in any of them.
fn is_acknowledged(stage: &Stage, partitions: impl IntoIterator<Item = u32>) {
    for partition in partitions {
        let topic = format!("{}-partition-{partition}", stage.topic);
        let standing = standing(&component("REAL_BROKER_HTTP"), &component("REAL_ADMIN_TOKEN"), &topic);
        assert_eq!((standing.backlog, standing.consumers), (Some(0), 0), "partition {partition}");
    }
}

fn is_at_rest(stage: &Stage) {
    let before = stage.files();
    let again = stage.invoke();
    assert_eq!((again.code, again.outcome()), (Some(0), "nothing_to_do"), "{again:?}");
    assert_eq!((stage.files(), stage.litter()), (before, 0));
}

#[test]
fn every_partition_is_stored_once_whoever_wrote_to_it_also_where_some_are_empty_and_more_are_added() {
    for client in ["java", "python"] {
        let mut stage = stage("partitioned", 3);
        stage.text("start", "latest");
        assert_eq!(outcomes(&stage.invoke()), ["nothing_to_do"; 3]);
        to_partition(&mut stage, 1, client, 300);
        let run = stage.invoke();
        assert_eq!((run.code, run.outcome()), (Some(0), "stored"), "{run:?}");
        assert_eq!(outcomes(&run), ["nothing_to_do", "stored", "nothing_to_do"]);
        assert!(run.report["complete_through"].is_u64() && run.report["backlog_entries"] == 0);
        assert_eq!(indexes(&stage), (0..300).collect::<Vec<_>>());

        set_partitions(&stage, "POST", 5);
        to_partition(&mut stage, 4, client, 200);
        let run = stage.invoke();
        assert_eq!(outcomes(&run)[3..], ["nothing_to_do", "stored"], "{run:?}");
        assert_eq!(indexes(&stage).len(), 500);
        is_acknowledged(&stage, 0..5);
        is_at_rest(&stage);
    }
}

#[test]
fn a_partition_that_nobody_has_written_to_yet_is_empty() {
    // Made by metadata alone, as the broker does where topics come into being by themselves.
    let stage = Stage::new("lazy");
    let path = format!("/admin/v2/{}/partitions?createLocalTopicOnly=true", stage.topic.replace("://", "/"));
    let (http, token) = (component("REAL_BROKER_HTTP"), component("REAL_ADMIN_TOKEN"));
    assert!((200..300).contains(&administer(&http, &token, "PUT", &path, "2")));
    for partition in 0..2 {
        let path = format!("/admin/v2/{}-partition-{partition}", stage.topic.replace("://", "/"));
        assert!((200..300).contains(&administer(&http, &token, "DELETE", &path, "")));
    }
    // The broker answers before it has done: until then a partition is fenced, which is an error and no emptiness.
    let mut runs = (0..20).map(|_| stage.invoke());
    let run = runs.find(|run| run.report["error"]["kind"] != "unavailable").expect("the broker removes two topics");
    assert_eq!((run.code, run.outcome()), (Some(0), "nothing_to_do"), "{run:?}");
    assert_eq!(outcomes(&run), ["nothing_to_do"; 2]);
    bulk(&stage, "java", 100, 100);
    assert_eq!(stage.invoke().outcome(), "stored");
    assert_eq!(indexes(&stage), (0..100).collect::<Vec<_>>());
    is_at_rest(&stage);
}

#[test]
fn shards_together_store_every_message_once() {
    let mut stage = stage("sharded", 5);
    bulk(&stage, "python", 2000, 300);
    stage.number("max_objects", 10);
    let mut read = BTreeSet::new();
    for shard in ["1/2", "2/2"] {
        let run = stage.text("shard", shard).invoke();
        assert_eq!((run.outcome(), &run.report["stop"]), ("stored", &"drained".into()), "{run:?}");
        assert!(run.report["complete_through"].is_u64());
        read.extend(run.report["partitions"].as_array().unwrap().iter().map(|it| it["partition"].as_u64().unwrap()));
        is_at_rest(&stage);
    }
    assert_eq!(read, BTreeSet::from([0, 1, 2, 3, 4]));
    assert_eq!(indexes(&stage), (0..2000).collect::<Vec<_>>());
    is_acknowledged(&stage, 0..5);
}

#[test]
fn thirty_two_partitions_take_less_than_64_mib_of_memory() {
    for (count, size) in [(3200, 100_000), (96, 5_000_000)] {
        let stage = stage("thirty-two", 32);
        bulk(&stage, "java", count, size);
        assert_eq!(drained_in_little_memory(&stage), count);
        is_acknowledged(&stage, 0..32);
        let idle = stage.invoke();
        assert_eq!((idle.outcome(), &idle.report["backlog_entries"]), ("nothing_to_do", &0.into()));
        println!("idle: {} ms", idle.report["phases"]["total_ms"]);
    }
}

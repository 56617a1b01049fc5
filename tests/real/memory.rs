//! What a run takes of memory where a function has 128 MB: as the kernel counts it, and in a process that gets no more.

use std::fs;

use tdmq_backup::encode::spool::PART;

use crate::caps::{bulk, summary};
use crate::harness::{Run, Stage};

pub fn takes_less_than_64_mib(run: &Run) {
    let peak = run.report["peak_memory_bytes"].as_u64().unwrap();
    println!("peak: {} MiB; {}", peak >> 20, run.report["phases"]);
    assert!(peak <= 64 << 20, "{} MiB", peak >> 20);
}

/// Runs until one has come to the end: on a busy machine the broker may be silent for a second before that, which ends a
/// run as stalled. Answers how many messages they stored.
pub fn drained_in_little_memory(stage: &Stage) -> u64 {
    let mut messages = 0;
    for _ in 0..5 {
        let run = stage.invoke_small();
        let (outcome, stop) = (run.outcome(), &run.report["stop"]);
        assert!(outcome == "stored" && (stop == "drained" || stop == "stalled"), "{outcome} {stop} {run:?}");
        takes_less_than_64_mib(&run);
        messages += run.report["messages"].as_u64().unwrap();
        if stop == "drained" {
            return messages;
        }
    }
    panic!("stalled five times");
}

/// Of messages that are entries of their own, or chunked where they are larger than an entry may be.
fn are_stored(name: &str, client: &str, count: u64, size: u64) {
    let stage = Stage::new(name);
    let sent = bulk(&stage, client, count, size);
    assert_eq!(drained_in_little_memory(&stage), count);
    summary(&stage).is_all_of(&sent);
    stage.is_at_rest(&sent["last"]);
    fs::remove_dir_all(stage.bucket_folder()).unwrap();
}

#[test]
fn five_thousand_messages_of_100_kb_take_less_than_64_mib_of_memory() {
    are_stored("five-thousand", "java", 5000, 100_000);
}

#[test]
fn a_hundred_messages_of_5_mb_take_less_than_64_mib_of_memory() {
    are_stored("a-hundred", "java", 100, 5_000_000);
}

#[test]
fn messages_of_12_mib_in_chunks_take_less_than_64_mib_of_memory() {
    are_stored("large-chunked", "python", 3, 12 << 20);
}

/// More than a run may hold to put it together: its parts are stored as they are, which is all of it.
#[test]
fn a_message_of_50_mb_in_chunks_takes_less_than_64_mib_of_memory() {
    let stage = Stage::new("fifty");
    let sent = bulk(&stage, "python", 1, 50_000_000);
    let parts = 50_000_000_u64.div_ceil(5 << 20);
    assert_eq!(drained_in_little_memory(&stage), parts);
    let found = summary(&stage);
    assert_eq!((found.count, &found.sha256), (parts, &sent["sha256"]), "one after the other they are the message");
    stage.is_at_rest(&sent["last"]);
}

/// 30 MB of zeros in one entry: some KB on the wire.
#[test]
fn a_batch_that_expands_a_thousand_fold_takes_less_than_64_mib_of_memory() {
    let stage = Stage::new("expands");
    let sent = stage.produce("python", "bulk", &["--count", "100", "--size", "300000", "--blank"]).remove(0);
    assert_eq!(drained_in_little_memory(&stage), 100);
    summary(&stage).is_all_of(&sent);
    stage.is_at_rest(&sent["last"]);
}

/// 3,900 × 100 KB that nothing compresses, in base64 and without compression: one object, as large as objects get.
#[test]
fn half_a_gigabyte_that_nothing_compresses_goes_up_in_parts_in_less_than_64_mib_of_memory() {
    let (count, size) = (3900, 100_000);
    let mut stage = Stage::new("noise");
    stage.text("compression", "none").text("storage_class", "STANDARD");
    let [count, size] = [count, size].map(|number: u64| number.to_string());
    let sent = stage.produce("python", "bulk", &["--count", &count, "--size", &size, "--noise"]).remove(0);
    let run = stage.invoke_small();
    assert_eq!((run.outcome(), &run.report["stop"]), ("stored", &"drained".into()), "{run:?}");
    takes_less_than_64_mib(&run);
    let found = summary(&stage);
    found.is_all_of(&sent);
    // One object: what is said of it needs the whole of it in one run.
    let [file] = &found.files[..] else { panic!("{:?}", found.files) };
    let bytes = file["bytes"].as_u64().unwrap();
    assert!((500_000_000..=524_288_000).contains(&bytes), "{bytes}");
    assert_eq!((&file["metadata"]["sha256"], &run.report["objects"][0]["bytes"]), (&file["sha256"], &bytes.into()));
    let parts = format!("-{}", bytes.div_ceil(PART));
    assert!(file["etag"].as_str().unwrap().trim_matches('"').ends_with(&parts), "{parts} parts: {}", file["etag"]);
    assert_eq!(stage.head()["next"]["upload_id"].as_str().map(str::is_empty), Some(false));
    stage.is_at_rest(&sent["last"]);
    fs::remove_dir_all(stage.bucket_folder()).unwrap();
}

//! What else lies in the folder: markers, notes, copies, names that resemble ours, and three thousand objects.

use std::io::Write;

use flate2::write::GzEncoder;
use serde_json::{Value, json};
use sha2::{Digest, Sha256};
use tdmq_backup::Position;
use tdmq_backup::report::Outcome;
use tdmq_backup::testing::broker::Config;
use tdmq_backup::testing::bucket::Op;

use crate::world::{SUBSCRIPTION, World};

/// Keys of somebody else's; `hour` ends with `/`, and the names say entries that are still to come.
fn foreign(folder: &str, hour: &str) -> Vec<String> {
    let ledger = format!("{:019}", Config::default().first_ledger);
    let id = |entry: u64| format!("{ledger}-{entry:019}");
    let (first, last) = (id(1), id(9));
    let in_hour = [
        String::new(),
        "notes.txt".into(),
        "backup.jsonl.gz".into(),
        format!("{first}_{last}_9.jsonl.gz.part"),
        format!("{first}_{last}_9.JSONL.GZ"),
        format!("{first}_{last}_9.parquet"),
        format!("{first}_{last}_.jsonl.gz"),
        format!("{first}_{last}_+9.jsonl.gz"),
        format!("{first}_{last}_09.jsonl.gz"),
        format!("{first}_{last}_0.jsonl.gz"),
        format!("{first}_{last}_9_9.jsonl.gz"),
        format!("{first}_{last}.jsonl.gz"),
        format!("{last}_{first}_9.jsonl.gz"),
        format!("{first}-1_{last}-00000a_9.jsonl.gz"),
        format!("{}_{}_9.jsonl.gz", first.replace("-0", "-+"), last.replace("-0", "-+")),
        format!("{}_{}_9.jsonl.gz", &first[1..], &last[1..]),
        format!("copy/{first}_{last}_9.jsonl.gz"),
        format!("{first}_/{first}_{last}_9.jsonl.gz"),
    ];
    let besides = ["", "dt=", "_head.json.bak", "_SUCCESS", "dt=old/hour=09/"];
    let deeper = format!("dt=2026/{}{first}_{last}_9.jsonl.gz", &hour[folder.len()..]);
    let in_folder = besides.iter().map(|name| format!("{folder}{name}")).chain([format!("{folder}{deeper}")]);
    in_hour.iter().map(|name| format!("{hour}{name}")).chain(in_folder).collect()
}

#[tokio::test]
async fn foreign_files_are_neither_believed_nor_read_nor_touched_with_the_head_and_without() {
    for head_too in [false, true] {
        let mut world = World::begun().await;
        let first = world.objects().remove(0);
        let hour = &first[..=first.rfind('/').unwrap()];
        let folder = &first[..first.find("dt=").unwrap()];
        let foreign = foreign(folder, hour);
        for key in &foreign {
            world.bucket.plant(key, b"somebody else's", &[]).unwrap();
        }
        if head_too {
            let head = format!("{folder}_head.json");
            assert!(world.bucket.remove(&head));
        }
        let ids = world.send(&[1, 2, 1]);
        let report = world.run().await;
        assert_eq!((report.outcome, report.messages, report.warnings.len()), (Outcome::Stored, 4, 0), "{report:?}");
        assert_eq!(world.mark_delete(), ids[2]);
        // The broker goes back: everything is looked up, and read.
        world.topic.set_mark_delete(SUBSCRIPTION, Position::new(ids[0].ledger, -1));
        let report = world.run().await;
        assert_eq!((report.skipped_entries, report.objects.len()), (4, 0), "{report:?}");
        for key in &foreign {
            assert_eq!(world.bucket.read(key).as_deref(), Some(&b"somebody else's"[..]), "{key}");
        }
        let ours = |key: &String| !foreign.contains(key) && !key.ends_with("_head.json");
        let ours: Vec<String> = world.bucket.keys().into_iter().filter(ours).collect();
        assert_eq!(ours, [first, report_key(&world, ids[0], ids[2])]);
    }
}

/// Of an entry, in a key.
fn name(at: Position) -> String {
    format!("{:019}-{:019}", at.ledger, at.entry)
}

/// The folder of the first object.
fn hour(world: &World) -> String {
    let first = world.objects().remove(0);
    first[..=first.rfind('/').unwrap()].to_owned()
}

fn report_key(world: &World, first: Position, last: Position) -> String {
    let end = format!("/{}_{}_4.jsonl.gz", name(first), name(last));
    world.bucket.keys().into_iter().find(|key| key.ends_with(&end)).unwrap()
}

#[tokio::test]
async fn a_file_under_the_very_name_of_an_object_stops_the_run_by_its_key_and_nothing_is_acknowledged() {
    // Nothing; no gzip; an object of other entries.
    let other = World::begun().await;
    let of_others = other.bucket.read(&other.objects()[0]).unwrap();
    for (bytes, kind) in [(&b""[..], "corrupt"), (b"garbage", "corrupt"), (&of_others, "conflict")] {
        let mut world = World::begun().await;
        let at = world.mark_delete();
        let ids = world.send(&[1, 1]);
        let key = format!("{}{}_{}_2.jsonl.gz", hour(&world), name(ids[0]), name(ids[1]));
        world.bucket.plant(&key, bytes, &[]).unwrap();
        for _ in 0..2 {
            let report = world.run().await;
            let error = report.error.unwrap();
            assert_eq!((report.outcome, error.kind), (Outcome::Failed, kind), "{}", error.message);
            assert!(error.message.contains(&key), "{}", error.message);
            assert_eq!((world.mark_delete(), world.bucket.read(&key).as_deref()), (at, Some(bytes)));
            assert_eq!(world.objects().len(), 2);
        }
        world.bucket.remove(&key);
        world.drain(3).await;
        world.assert_exactly_once();
    }
}

/// Small as gzip, and large behind it: half a million records, a producer's name of 300 MiB, and nine of 30 MiB;
/// an id and a number that are texts of 30 MiB.
fn bombs(ledger: i64) -> [(&'static str, &'static str, Vec<u8>); 6] {
    let start = |entry: usize| format!("{{\"id\":\"{ledger}:{entry}:-1\",\"publish_time\":1,\"producer_name\":\"");
    let rest = "\",\"sequence_id\":1,\"text\":\"\"}\n";
    let many = |file: &mut GzEncoder<Vec<u8>>, lines: usize, mib: usize| {
        for entry in 1..=lines {
            file.write_all(start(entry).as_bytes()).unwrap();
            // Not as it stands in the line: it has to be copied to be read.
            file.write_all(if mib > 0 { b"\\n" } else { b"p" }).unwrap();
            (0..mib).for_each(|_| file.write_all(&[b'p'; 1 << 20]).unwrap());
            file.write_all(rest.as_bytes()).unwrap();
        }
    };
    let text = |file: &mut GzEncoder<Vec<u8>>, before: &str| {
        file.write_all(before.as_bytes()).unwrap();
        file.write_all(b"\"\\n").unwrap();
        (0..30).for_each(|_| file.write_all(&[b'p'; 1 << 20]).unwrap());
        file.write_all(b"\"}\n").unwrap();
    };
    let bomb = |make: &dyn Fn(&mut GzEncoder<Vec<u8>>)| {
        let mut file = GzEncoder::new(Vec::new(), flate2::Compression::fast());
        make(&mut file);
        file.finish().unwrap()
    };
    [
        ("_2", "more messages than its name says (2)", bomb(&|file| many(file, 500_000, 0))),
        ("_1000000", "more than 5000 entries", bomb(&|file| many(file, 500_000, 0))),
        ("_2", "does not begin as one of ours", bomb(&|file| many(file, 1, 300))),
        ("_2", "not a record of this version", bomb(&|file| text(file, "{\"id\":"))),
        ("_2", "not a record of this version", bomb(&|file| text(file, "{\"id\":\"1:1:1\",\"publish_time\":"))),
        // Read, and not of these messages.
        ("_9", "is not the message", bomb(&|file| many(file, 9, 30))),
    ]
}

#[tokio::test]
async fn an_object_that_becomes_large_when_it_is_read_ends_the_run_by_its_key_and_in_little_memory() {
    let temporary = tempfile::tempdir().unwrap();
    for (count, why, bytes) in bombs(Config::default().first_ledger) {
        assert!(bytes.len() < 8 << 20, "{}", bytes.len());
        let mut world = World::begun().await;
        let at = world.mark_delete();
        let ids = world.send(&[1, 1]);
        let key = format!("{}{}_{}{count}.jsonl.gz", hour(&world), name(ids[0]), name(ids[1]));
        world.bucket.plant(&key, &bytes, &[]).unwrap();
        let mut program = world.program(temporary.path(), false);
        let output = tokio::task::spawn_blocking(move || program.output().unwrap()).await.unwrap();
        world.let_go().await;
        let report: Value = serde_json::from_slice(&output.stdout).unwrap();
        let error = &report["error"];
        let peak = report["peak_memory_bytes"].as_u64().unwrap() >> 20;
        assert!(peak < 96, "{count}: {peak} MiB, {error}");
        let kind = if count == "_9" { "conflict" } else { "corrupt" };
        assert_eq!((&report["outcome"], &error["kind"]), (&json!("failed"), &json!(kind)), "{report:#}");
        let said = error["message"].as_str().unwrap();
        assert!(said.contains(&key) && said.contains(why), "{said}");
        assert_eq!((world.mark_delete(), world.objects().len()), (at, 2));
        world.bucket.remove(&key);
        world.drain(3).await;
        world.assert_exactly_once();
    }
}

#[tokio::test]
async fn an_object_whose_last_line_is_cut_off_proves_nothing_and_is_named() {
    let mut world = World::new().await;
    world.set("compression", "\"none\"");
    world.send(&[1, 1]);
    world.run().await;
    let key = world.objects().remove(0);
    let (whole, metadata) = (world.bucket.read(&key).unwrap(), world.bucket.metadata(&key).unwrap());
    let metadata: Vec<_> = metadata.into_iter().collect();
    let rewound = Position::new(world.mark_delete().ledger, -1);
    for cut in [1, 10] {
        world.bucket.plant(&key, &whole[..whole.len() - cut], &metadata).unwrap();
        world.topic.set_mark_delete(SUBSCRIPTION, rewound);
        let report = world.run().await;
        let error = report.error.unwrap();
        assert_eq!((report.outcome, error.kind), (Outcome::Failed, "corrupt"), "{}", error.message);
        assert!(error.message.contains(&key), "{}", error.message);
        assert_eq!((world.mark_delete(), world.objects().len()), (rewound, 1));
    }
    world.bucket.plant(&key, &whole, &metadata).unwrap();
    world.drain(2).await;
    world.assert_exactly_once();
}

/// A topic of three thousand entries, each in an object of its own, as that many runs would have left them.
async fn three_thousand() -> World {
    let mut world = World::new().await;
    world.set("compression", "\"none\"");
    world.send(&vec![1; 3000]);
    world.run().await;
    let whole = world.objects().remove(0);
    let lines = String::from_utf8(world.bucket.read(&whole).unwrap()).unwrap();
    let hour = whole[..=whole.rfind('/').unwrap()].to_owned();
    let mut previous: Option<(String, String)> = None;
    for (n, (line, entry)) in lines.lines().zip(world.topic.entries()).enumerate() {
        let line = format!("{line}\n");
        let id = format!("{:019}-{:019}", entry.position.ledger, entry.position.entry);
        let digest: String = Sha256::digest(&line).iter().map(|byte| format!("{byte:02x}")).collect();
        let mut metadata = vec![("seq".to_owned(), (n + 1).to_string()), ("sha256".to_owned(), digest.clone())];
        metadata.extend(previous.iter().flat_map(|(id, digest)| {
            [("previous-id".to_owned(), id.clone()), ("previous-sha256".to_owned(), digest.clone())]
        }));
        world.bucket.plant(&format!("{hour}{id}_{id}_1.jsonl"), line.as_bytes(), &metadata).unwrap();
        previous = Some((entry.position.to_string(), digest));
    }
    world.bucket.remove(&whole);
    world.bucket.remove(&world.head_key());
    world
}

#[tokio::test]
async fn three_thousand_objects_are_listed_a_page_at_a_time_and_only_those_that_matter_are_read() {
    let mut world = three_thousand().await;
    let count =
        |world: &World, from: usize, op: Op| world.bucket.requests()[from..].iter().filter(|it| **it == op).count();

    // The head is lost: the newest object is found in three pages, and none is read.
    let before = world.bucket.requests().len();
    assert_eq!(world.run().await.outcome, Outcome::NothingToDo);
    assert_eq!((count(&world, before, Op::List), count(&world, before, Op::Head)), (3, 1));
    let last = world.send(&[1])[0];
    let report = world.run().await;
    let metadata = world.bucket.metadata(&report.objects[0].key).unwrap();
    assert_eq!((metadata["seq"].as_str(), report.messages), ("3001", 1), "{report:?}");
    assert!(world.bucket.requests().len() - before < 20, "{:?}", &world.bucket.requests()[before..]);

    // The broker goes back over ten objects, then over more than a page of them.
    let temporary = tempfile::tempdir().unwrap();
    for back in [10, 1200] {
        let before = world.bucket.requests().len();
        world.topic.set_mark_delete(SUBSCRIPTION, Position::new(last.ledger, last.entry - back));
        let mut program = world.program(temporary.path(), false);
        let output = tokio::task::spawn_blocking(move || program.output().unwrap()).await.unwrap();
        world.let_go().await;
        let report: Value = serde_json::from_slice(&output.stdout).unwrap();
        assert_eq!((&report["skipped_entries"], &report["objects"]), (&back.into(), &json!([])), "{report:#}");
        let peak = report["peak_memory_bytes"].as_u64().unwrap();
        assert!(peak < 48 << 20, "{} MiB", peak >> 20);
        assert_eq!((world.mark_delete(), world.objects().len()), (last, 3001));
        let (lists, reads) = (count(&world, before, Op::List), count(&world, before, Op::Get));
        assert!(lists == 4 && reads <= back as usize + 3, "{lists} listings, {reads} reads");
    }
    world.assert_exactly_once();
}

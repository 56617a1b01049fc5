//! The program as a process of its own, and its temporary files: how large they may get, and what is left of them.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::process::{Child, Command, Stdio};

use serde_json::Value;
use tdmq_backup::Position;
use tdmq_backup::report::Outcome;
use tdmq_backup::testing::bucket::{Fault, Op};
use tdmq_backup::testing::compose::{Composer, Draft};
use tempfile::TempDir;

use crate::world::{NOW, SUBSCRIPTION, World};

/// In halves of a KiB, as a shell counts. Of a spool 1 MiB waits in memory beside it.
const ROOM: &str = "4096";

impl World {
    /// The program with this rule; its temporary files go into `temporary`, where none gets larger than [`ROOM`] if
    /// that is asked for: a write beyond it fails as on a full disk.
    pub fn program(&self, temporary: &Path, narrow: bool) -> Command {
        let program = env!("CARGO_BIN_EXE_tdmq-backup");
        let mut command = Command::new("sh");
        let limit = if narrow { format!("trap '' XFSZ; ulimit -f {ROOM}; ") } else { String::new() };
        command.args(["-c", &format!("{limit}exec \"$0\" \"$@\""), program, "invoke", "--json"]);
        command.env_clear().env("TMPDIR", temporary).stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::null());
        for (key, value) in &self.rule {
            command.env(format!("TDMQ_BACKUP_{}", key.to_uppercase()), value.trim_matches('"'));
        }
        for name in ["AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"] {
            command.env(name, self.env(name).unwrap());
        }
        command
    }

    async fn run_narrow(&self, temporary: &Path) -> Value {
        let mut command = self.program(temporary, true);
        let output = tokio::task::spawn_blocking(move || command.output().unwrap()).await.unwrap();
        assert_eq!(fs::read_dir(temporary).unwrap().count(), 0);
        self.let_go().await;
        serde_json::from_slice(&output.stdout).unwrap()
    }

    async fn large(sizes: &[usize]) -> Self {
        let mut world = World::begun().await;
        world.set("compression", "\"none\"");
        for size in sizes {
            world.send_entry(1, *size);
        }
        world
    }
}

#[tokio::test]
async fn an_object_ends_at_the_last_entry_for_which_the_disk_has_room_and_the_next_one_goes_on() {
    let temporary = TempDir::new().unwrap();
    let mut world = World::large(&[300_000; 20]).await;
    let report = world.run_narrow(temporary.path()).await;
    assert_eq!((&report["outcome"], &report["stop"]), (&"stored".into(), &"disk_full".into()), "{report:#}");
    let object = &report["objects"][0];
    assert!((6..=10).contains(&object["messages"].as_u64().unwrap()), "{object:#}");
    assert_eq!(object["acknowledged"], true);
    assert_eq!(world.mark_delete().to_string(), object["last_id"]);
    assert_eq!(
        (world.objects().len(), world.lines(object["key"].as_str().unwrap()).len() as u64),
        (2, object["messages"].as_u64().unwrap())
    );
    world.assert_nothing_acknowledged_unstored();
    world.set("max_objects", 9);
    let report = world.run_narrow(temporary.path()).await;
    assert_eq!((&report["outcome"], &report["stop"]), (&"stored".into(), &"drained".into()), "{report:#}");
    world.assert_exactly_once();
    assert_eq!(world.topic.subscription(SUBSCRIPTION).unwrap().backlog, 0);
}

#[tokio::test]
async fn one_entry_for_which_the_disk_has_no_room_is_an_error_and_what_comes_before_it_is_stored() {
    let temporary = TempDir::new().unwrap();
    let mut world = World::large(&[20, 20, 3_500_000, 20]).await;
    let ids: Vec<Position> = world.topic.entries().iter().map(|entry| entry.position).collect();
    world.set("max_objects", 9);
    for objects in [1, 0] {
        let report = world.run_narrow(temporary.path()).await;
        assert_eq!(report["objects"].as_array().unwrap().len(), objects, "{report:#}");
        let error = &report["error"];
        assert_eq!(error["kind"], "unavailable", "{report:#}");
        assert!(error["message"].as_str().unwrap().contains("more temporary storage"), "{error:#}");
        assert_eq!((world.mark_delete(), world.objects().len()), (ids[2], 2));
        world.assert_nothing_acknowledged_unstored();
    }
    world.drain(3).await;
    world.assert_exactly_once();
}

#[tokio::test]
async fn an_announced_object_for_which_the_disk_has_no_room_any_more_is_waited_for_and_then_planned_anew() {
    let temporary = TempDir::new().unwrap();
    let mut world = World::large(&[300_000; 20]).await;
    world.dies_before_storing().await;
    let (at, mut head) = (world.mark_delete(), world.head().unwrap());
    let until = |head: &mut Value, ms: u64| {
        head["next"]["until"] = ms.into();
        world.bucket.plant(&world.head_key(), head.to_string().as_bytes(), &[]).unwrap();
    };
    // The program has the real time: its writer may be at it for ever, or cannot be any more.
    until(&mut head, u64::MAX / 2);
    let report = world.run_narrow(temporary.path()).await;
    assert_eq!((&report["outcome"], world.mark_delete()), (&"busy".into(), at), "{report:#}");
    assert!(report["error"]["message"].as_str().unwrap().contains("no room for it in temporary files"), "{report:#}");
    until(&mut head, 1);
    world.set("max_objects", 9);
    let report = world.run_narrow(temporary.path()).await;
    assert_eq!((&report["outcome"], &report["stop"]), (&"stored".into(), &"drained".into()), "{report:#}");
    assert!(report["warnings"][0].as_str().unwrap().contains("planned anew"), "{report:#}");
    assert_eq!(world.run().await.outcome, Outcome::NothingToDo);
    world.assert_exactly_once();
}

/// The cursor goes back over a message that came in chunks, where there is no room for its parts.
#[tokio::test]
async fn a_stored_message_in_chunks_for_which_the_disk_has_no_room_any_more_is_not_stored_again() {
    for parts in [2, 5] {
        let temporary = TempDir::new().unwrap();
        let mut world = World::large(&[20]).await;
        let payload = (0..5_000_000).map(|n: u32| b'a' + (n.wrapping_mul(n) >> 9) as u8 % 26).collect::<Vec<_>>();
        let chunks = Composer::new("big").at(NOW).chunks(Draft::new(payload), 5_000_000 / parts, "big-0");
        world.topic.append_all(chunks);
        world.send_entry(1, 20);
        world.drain(3).await;
        let (at, objects) = (world.mark_delete(), world.objects());
        world.topic.set_mark_delete(SUBSCRIPTION, Position::new(at.ledger, -1));
        let report = world.run_narrow(temporary.path()).await;
        assert_eq!((&report["outcome"], &report["stop"]), (&"stored".into(), &"drained".into()), "{report:#}");
        assert_eq!(report["skipped_entries"], parts + 3, "{report:#}");
        assert_eq!((world.mark_delete(), world.objects()), (at, objects));
        world.assert_every_entry_is_stored_once();
    }
}

/// The same of a message that was given up then: each of its parts is found by itself.
#[tokio::test]
async fn stored_parts_of_a_message_for_which_the_disk_has_no_room_are_skipped() {
    let temporary = TempDir::new().unwrap();
    let mut world = World::large(&[20]).await;
    let chunks = Composer::new("big").at(NOW).chunks(Draft::new(vec![b'x'; 5_000_000]), 2_500_000, "big-0");
    world.topic.append_all(chunks);
    world.send_entry(1, 20);
    world.set("max_objects", 9);
    world.set("compression", "\"gzip\"");
    let first = world.run_narrow(temporary.path()).await;
    assert_eq!((&first["outcome"], &first["messages"]), (&"stored".into(), &4.into()), "{first:#}");
    let (at, objects) = (world.mark_delete(), world.objects());
    world.topic.set_mark_delete(SUBSCRIPTION, Position::new(at.ledger, -1));
    let report = world.run_narrow(temporary.path()).await;
    assert_eq!((&report["outcome"], &report["stop"]), (&"stored".into(), &"drained".into()), "{report:#}");
    assert_eq!((world.mark_delete(), world.objects()), (at, objects));
    world.assert_every_entry_is_stored_once();
}

/// The files in `folder` that the process has open: their permissions, names and lengths.
fn open_files(child: &Child, folder: &Path) -> Vec<(u32, u64, u64)> {
    let open = fs::read_dir(format!("/proc/{}/fd", child.id())).unwrap().flatten();
    let ours = open.filter(|fd| fs::read_link(fd.path()).is_ok_and(|to| to.starts_with(folder)));
    let facts = |fd: fs::DirEntry| fs::metadata(fd.path()).unwrap();
    ours.map(facts).map(|file| (file.mode() & 0o777, file.nlink(), file.len())).collect()
}

#[tokio::test]
async fn a_temporary_file_is_nobody_elses_to_read_and_is_gone_however_the_process_ends() {
    // Not INT: what is started in the background of a shell ignores it.
    for signal in ["TERM", "KILL", "ABRT"] {
        let temporary = TempDir::new().unwrap();
        let world = World::large(&[300_000; 12]).await;
        let (at, seen) = (world.mark_delete(), world.bucket.requests().len());
        // It has read everything, and asks whether the object is there already.
        world.bucket.fail_next(Op::List, Fault::Hang);
        let mut child = world.program(temporary.path(), false).spawn().unwrap();
        while !world.bucket.requests()[seen..].contains(&Op::List) {
            tokio::task::yield_now().await;
        }
        let files = open_files(&child, temporary.path());
        assert!(matches!(files[..], [(0o600, 0, 2_000_000..)]), "{files:?}");
        assert_eq!(fs::read_dir(temporary.path()).unwrap().count(), 0);
        let sent = Command::new("kill").args([format!("-{signal}"), child.id().to_string()]).status().unwrap();
        assert!(sent.success());
        let ended = tokio::task::spawn_blocking(move || child.wait().unwrap()).await.unwrap();
        assert!(!ended.success());
        assert_eq!(fs::read_dir(temporary.path()).unwrap().count(), 0);
        world.let_go().await;
        assert_eq!((world.mark_delete(), world.objects().len()), (at, 1));
        world.drain(3).await;
        world.assert_exactly_once();
    }
}

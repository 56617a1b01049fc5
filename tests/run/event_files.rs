//! `tdmq-backup invoke` as a process with each file of `events/`: what it prints, its exit code, and what is left behind.

use std::path::Path;
use std::process::{Output, Stdio};

use serde_json::Value;
use tempfile::TempDir;

use crate::dry_run::left;
use crate::events;
use crate::world::{SUBSCRIPTION, World};

async fn invoke(world: &World, folder: &Path, event: &str) -> Output {
    let file = folder.join("event.json");
    std::fs::write(&file, event).unwrap();
    let mut program = world.program(folder, false);
    program.stderr(Stdio::piped()).arg("--event").arg(file);
    let output = tokio::task::spawn_blocking(move || program.output().unwrap()).await.unwrap();
    world.let_go().await;
    output
}

#[tokio::test]
async fn the_program_does_what_every_event_file_asks_for() {
    let folder = TempDir::new().unwrap();
    let mut world = World::new().await;
    world.set("max_messages", 2);
    for (name, event) in events::all() {
        world.send(&[1, 1, 1]);
        let before = left(&world);
        let output = invoke(&world, folder.path(), &event).await;
        assert_eq!(output.status.code(), Some(0), "{name}: {output:?}");
        let report: Value = serde_json::from_slice(&output.stdout).unwrap();
        events::check(&name, 3, &report);
        if name == "dry-run.json" {
            assert_eq!(left(&world), before);
        } else if name != "seek.json" {
            world.assert_nothing_acknowledged_unstored();
        }
        world.drain(5).await;
    }
    // The file that moves the cursor to the end is the last one: what it passed over is not stored.
    let stored: Vec<u64> = (1..=world.sent() - 3).collect();
    world.assert_at_rest_with(&stored);
}

#[tokio::test]
async fn an_event_that_the_program_refuses_is_exit_code_2_with_what_was_expected_and_nothing_is_asked_of_anyone() {
    let folder = TempDir::new().unwrap();
    let mut world = World::new().await;
    world.send(&[1]);
    for (event, reason) in [
        (r#"{"dry_runs":true}"#, r#"has a field "dry_runs""#),
        (r#"{"Type":"Timer","TriggerName":"t","Time":"","Message":"{\"seek\":\"latest\"}"}"#, r#"no "confirm""#),
        (r#"{"Records":[{"eventSource":"aws:s3"}]}"#, r#"has a field "Records""#),
        ("", "is not JSON"),
    ] {
        let output = invoke(&world, folder.path(), event).await;
        let said = String::from_utf8_lossy(&output.stderr);
        assert_eq!((output.status.code(), output.stdout.len()), (Some(2), 0), "{event}: {output:?}");
        assert!(said.contains(reason) && said.contains("expected an SCF timer event"), "{event}: {said}");
    }
    assert!(world.broker.commands().is_empty() && world.bucket.requests().is_empty());
    assert_eq!((world.bucket.keys().len(), world.topic.subscription(SUBSCRIPTION)), (0, None));
}

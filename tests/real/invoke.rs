//! `tdmq-backup invoke` with each file of `events/`.

use std::fs;

use serde_json::Value;

use crate::events;
use crate::harness::{Run, Stage};
use crate::process::{end, start};

pub fn invoke(stage: &Stage, event: &str) -> Run {
    let file = stage.folder().join("event.json");
    fs::write(&file, event).unwrap();
    Run::of(end(start(stage.command().arg("--event").arg(file))))
}

/// After [`events::all`], whose last one moves the cursor past the messages that were sent before it.
fn all_but_the_last_are_stored_once(stage: &Stage, sent: &[Value], last: u64) {
    let objects = stage.objects();
    let stored = objects.iter().flat_map(|object| &object.records);
    let ids = |lines: Vec<&Value>| lines.into_iter().map(|line| line["id"].to_string()).collect::<Vec<_>>();
    assert_eq!(ids(stored.collect()), ids(sent[..sent.len() - last as usize].iter().collect()));
}

/// Each file of `events/`, where a function runs; `sent` has come already, one message more than the rule puts into an object. What is
/// left behind is looked at too.
pub fn every_event_file_is_answered(stage: &Stage, mut sent: Vec<Value>, mut invoke: impl FnMut(&str) -> Value) {
    let all = sent.len() as u64;
    invoke(r#"{"max_objects":20}"#);
    for (name, event) in events::all() {
        sent.extend(stage.produce("python", "keys", &[]));
        let before = (stage.files(), stage.standing().mark_delete);
        events::check(&name, all, &invoke(&event));
        if name == "dry-run.json" {
            assert_eq!((stage.files(), stage.standing().mark_delete), before);
        }
        invoke(r#"{"max_objects":20}"#);
        let idle = invoke(r#"{"dry_run":true}"#);
        assert_eq!((&idle["outcome"], &idle["backlog_entries"]), (&"nothing_to_do".into(), &0.into()), "{idle}");
    }
    stage.is_at_rest(&sent[sent.len() - 1]["id"]);
    all_but_the_last_are_stored_once(stage, &sent, all);
}

#[test]
fn the_program_does_what_every_event_file_asks_for_and_a_dry_run_changes_nothing() {
    let mut stage = Stage::new("invoke");
    let sent = stage.produce("python", "keys", &[]);
    stage.number("max_messages", sent.len() as u64 - 1);
    every_event_file_is_answered(&stage, sent, |event| {
        let run = invoke(&stage, event);
        assert_eq!(run.code, Some(0), "{event}: {run:?}");
        run.report
    });
}

#[test]
fn an_event_with_a_key_that_nothing_knows_is_refused_and_nothing_is_read() {
    let stage = Stage::new("invoke-event");
    stage.produce("python", "keys", &[]);
    for event in [r#"{"dry_runs":true}"#, r#"{"Type":"Timer","Message":"{\"max_object\":20}"}"#] {
        let run = invoke(&stage, event);
        assert_eq!(run.code, Some(2), "{run:?}");
        assert!(run.stderr.contains("has a field") && run.stderr.contains("expected an SCF timer event"), "{run:?}");
    }
    assert_eq!((stage.files(), stage.standing().mark_delete), (Vec::new(), None));
}

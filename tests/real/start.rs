//! Where a rule begins, and the event that moves it, on a real broker.

use std::path::Path;
use std::process::Command;

use serde_json::{Value, json};

use crate::broker::get;
use crate::harness::{Run, SUBSCRIPTION, Stage, component, entry_of, script};
use crate::process::{end, start};

/// Forty single messages, the second half of them later than the first.
struct Topic {
    stage: Stage,
    /// Of each message, and when the second half begins.
    ids: Vec<String>,
    half: String,
}

fn topic(name: &str) -> Topic {
    let stage = Stage::new(name);
    stage.produce("python", "plain", &[]);
    stage.produce("python", "plain", &[]);
    let seen = stage.dump();
    let ids: Vec<String> = seen.iter().map(|message| entry_of(&message["id"])).collect();
    assert_eq!(ids.len(), 40);
    let at = seen[20]["publish_time"].as_i64().unwrap();
    assert!(seen[19]["publish_time"].as_i64().unwrap() < at);
    let half = chrono::DateTime::from_timestamp_millis(at).unwrap().to_rfc3339();
    Topic { stage, ids, half }
}

impl Topic {
    /// The message before this number is the last that is acknowledged; and these beyond are, one by one.
    fn subscribed(&self, first: usize, holes: &[usize]) {
        let url = component("REAL_BROKER_URL");
        let token = component("REAL_ADMIN_TOKEN");
        let indexes: Vec<String> = (0..first).chain(holes.iter().copied()).map(|n| n.to_string()).collect();
        let mut program = Command::new(Path::new(&component("REAL_DIR")).join("venv/bin/python"));
        program.arg("-B").arg(script("python/shared.py")).args([&url, &token, &self.stage.topic, SUBSCRIPTION]);
        end(start(program.args(indexes))).successful("shared.py");
        let cursor = self.cursor();
        if first > 0 {
            assert_eq!(cursor["markDeletePosition"], self.ids[first - 1]);
        }
        assert_eq!(cursor["individuallyDeletedMessages"] == "[]", holes.is_empty(), "{cursor}");
    }

    fn cursor(&self) -> Value {
        let path = format!("/admin/v2/{}/internalStats", self.stage.topic.replace("://", "/"));
        get(&component("REAL_BROKER_HTTP"), &component("REAL_ADMIN_TOKEN"), &path).1["cursors"][SUBSCRIPTION].clone()
    }

    /// The numbers of the messages that are stored.
    fn stored(&self) -> Vec<usize> {
        let objects = self.stage.objects();
        let records = objects.iter().flat_map(|object| &object.records);
        let mut numbers: Vec<usize> =
            records.map(|it| self.ids.iter().position(|id| *id == entry_of(&it["id"])).unwrap()).collect();
        numbers.sort_unstable();
        numbers
    }

    fn event(&self, event: &Value) -> Run {
        let path = self.stage.folder().join("event.json");
        std::fs::write(&path, event.to_string()).unwrap();
        Run::of(end(start(self.stage.command().arg("--event").arg(path))))
    }

    fn seek(&self, to: &str) -> Run {
        self.event(&json!({ "seek": to, "confirm": SUBSCRIPTION }))
    }

    /// A run stores from this number on; then all is acknowledged and nothing is left to do.
    fn begins_at(&self, first: usize) {
        let run = self.stage.invoke();
        assert_eq!(run.outcome(), if first < 40 { "stored" } else { "nothing_to_do" }, "{run:?}");
        assert_eq!(self.stored(), (first..40).collect::<Vec<_>>());
        assert_eq!(self.stage.head()["start"]["state"], "applied");
        assert_eq!(self.cursor()["individuallyDeletedMessages"], "[]");
        self.stage.is_at_rest(&json!(self.ids[39]));
    }
}

#[test]
fn a_missing_subscription_begins_at_every_start() {
    for (start, first) in [
        ("continue", 0),
        ("earliest", 0),
        ("latest", 40),
        ("time", 20),
        ("1970-01-01T00:00:00Z", 0),
        ("id", 7),
        ("last", 39),
    ] {
        let mut topic = topic("start-missing");
        let at = match start {
            "time" => topic.half.clone(),
            "id" => topic.ids[7].clone(),
            "last" => topic.ids[39].clone(),
            word => word.to_owned(),
        };
        topic.stage.text("start", &at);
        topic.begins_at(first);
    }
}

#[test]
fn a_subscription_that_was_shared_is_taken_over_with_its_holes() {
    for (start, first) in [("continue", 25), ("earliest", 0), ("time", 20), ("id", 7), ("here", 25)] {
        let mut topic = topic("start-shared");
        let at = match start {
            "time" => topic.half.clone(),
            "id" => topic.ids[7].clone(),
            "here" => topic.ids[25].clone(),
            word => word.to_owned(),
        };
        topic.subscribed(25, &[27, 28, 33, 39]);
        topic.stage.text("start", &at);
        topic.begins_at(first);
    }
    // Nothing before its holes is acknowledged: it looks like a new one.
    let topic = topic("start-shared");
    topic.subscribed(0, &[1, 5]);
    topic.begins_at(0);
}

#[test]
fn a_start_that_would_pass_over_messages_is_refused_and_the_event_passes_over_them() {
    let mut topic = topic("start-refused");
    topic.subscribed(5, &[]);
    for start in ["latest".to_owned(), topic.half.clone(), topic.ids[6].clone(), "2100-01-01T00:00:00Z".to_owned()] {
        topic.stage.text("start", &start);
        let run = topic.stage.invoke();
        assert_eq!((run.code, &run.report["error"]["kind"]), (Some(2), &json!("invalid")), "{run:?}");
        assert_eq!(topic.cursor()["markDeletePosition"], topic.ids[4]);
        assert!(topic.stored().is_empty());
    }
    let run = topic.seek(&topic.ids[30]);
    assert_eq!(run.outcome(), "stored", "{run:?}");
    assert_eq!(run.report["passed_over"], json!({ "from": topic.ids[5], "to": topic.ids[29] }));
    assert_eq!(run.report["complete_through"], Value::Null);
    topic.stage.is_at_rest(&json!(topic.ids[39]));
    assert_eq!(topic.stored(), (30..40).collect::<Vec<_>>());
}

#[test]
fn an_id_that_does_not_exist_is_refused() {
    let mut topic = topic("start-id");
    let ledger: u64 = topic.ids[0].split(':').next().unwrap().parse().unwrap();
    for (id, words) in [
        (format!("{ledger}:40"), "the topic ends at"),
        (format!("{}:0", ledger + 1000), "the topic ends at"),
        (format!("{}:3", ledger - 1), "the next one is"),
    ] {
        topic.stage.text("start", &id);
        let run = topic.stage.invoke();
        let message = run.report["error"]["message"].as_str().unwrap();
        assert!(run.code == Some(2) && message.contains(words), "{message}");
        assert!(topic.stage.files().is_empty());
        assert_eq!(topic.cursor(), Value::Null, "a subscription came into being");
    }
    let at = topic.ids[12].clone();
    topic.stage.text("start", &at);
    topic.begins_at(12);
}

#[test]
fn the_event_moves_the_cursor_once_wherever_it_says() {
    let topic = topic("seek-event");
    topic.begins_at(0);
    // Back: what is stored is recognised.
    for (to, skipped) in [("earliest".to_owned(), 40), (topic.half.clone(), 20), (topic.ids[33].clone(), 7)] {
        let run = topic.seek(&to);
        assert_eq!((run.outcome(), &run.report["skipped_entries"]), ("stored", &json!(skipped)), "{run:?}");
        assert_eq!(run.report["moved"]["from"], topic.ids[39]);
        topic.stage.is_at_rest(&json!(topic.ids[39]));
    }
    assert_eq!(topic.stored().len(), 40);
    // Forward: once for each trigger.
    let wish = json!({ "seek": "latest", "confirm": SUBSCRIPTION }).to_string();
    let timer = json!({ "Type": "Timer", "TriggerName": "once", "Time": "2026-11-21T10:00:00Z", "Message": wish });
    let passed = topic.stage.produce("python", "plain", &[]);
    let run = topic.event(&timer);
    let ends = [&passed[0], &passed[19]].map(|message| entry_of(&message["id"]));
    assert_eq!(run.report["passed_over"], json!({ "from": ends[0], "to": ends[1] }), "{run:?}");
    assert_eq!(topic.cursor()["markDeletePosition"], ends[1]);
    let kept = topic.stage.produce("python", "plain", &[]);
    let run = topic.event(&timer);
    assert_eq!((run.outcome(), &run.report["moved"]), ("stored", &Value::Null), "{run:?}");
    assert_eq!(run.report["messages"], 20);
    assert_eq!(run.report["missing"], Value::Null);
    topic.stage.is_at_rest(&kept[19]["id"]);
}

//! A dry run beside what the run itself then does, wherever the subscription stands.

use serde_json::{Value, json};

use crate::broker::{get, order, path_of};
use crate::harness::{SUBSCRIPTION, Stage};
use crate::invoke::invoke;

/// The broker's own names of all that stands on the topic, readers too.
fn cursors(stage: &Stage) -> Vec<String> {
    let path = format!("/admin/v2/{}/internalStats", path_of(&stage.topic));
    let stats = get(&stage.broker().http, &stage.broker().token, &path).1;
    stats["cursors"].as_object().map(|cursors| cursors.keys().cloned().collect()).unwrap_or_default()
}

fn act(stage: &Stage, method: &str, action: &str) {
    let (broker, path) = (stage.broker(), path_of(&stage.topic));
    let status = order(&broker.http, &broker.token, method, &format!("/admin/v2/{path}/{action}"));
    assert!((200..300).contains(&status), "{action}: {status}");
}

/// What both say alike.
fn said(report: &Value) -> Value {
    let objects = report["objects"].as_array().into_iter().flatten();
    let objects: Vec<Value> =
        objects.map(|object| json!([object["key"], object["messages"], object["bytes"], object["last_id"]])).collect();
    let mut said = json!({ "objects": objects });
    for name in ["stop", "messages", "bytes", "skipped_entries", "backlog_entries", "missing", "moved", "passed_over"] {
        said[name] = report[name].clone();
    }
    said
}

/// A dry run and then the run itself say the same, and by then nothing was changed. Messages, and entries left.
fn foretold(stage: &Stage, event: &Value, case: &str) -> (u64, u64) {
    let left = || (stage.files(), stage.standing(), cursors(stage));
    let before = left();
    let mut dry = event.clone();
    dry["dry_run"] = true.into();
    let planned = invoke(stage, &dry.to_string());
    assert_eq!(planned.code, Some(0), "{case}: {planned:?}");
    assert_eq!(left(), before, "{case}");
    let run = invoke(stage, &event.to_string());
    assert_eq!(run.code, Some(0), "{case}: {run:?}");
    assert_eq!(said(&planned.report), said(&run.report), "{case}");
    let outcome = if planned.outcome() == "planned" { "stored" } else { planned.outcome() };
    assert_eq!(outcome, run.outcome(), "{case}");
    // What is left is what the broker's own statistics say.
    assert_eq!(run.report["backlog_entries"].as_u64(), stage.standing().backlog, "{case}");
    (run.report["messages"].as_u64().unwrap(), run.report["backlog_entries"].as_u64().unwrap())
}

/// Messages that are entries of their own: clients do not batch what is this large.
fn send(stage: &Stage, count: u64) {
    stage.produce("python", "bulk", &["--count", &count.to_string(), "--size", "25000"]);
}

#[test]
fn what_a_run_stores_and_leaves_is_foretold_wherever_the_subscription_stands() {
    let mut stage = Stage::new("foretold");
    let (once, all) = (json!({}), json!({ "max_objects": 20 }));
    stage.number("max_messages", 4);
    send(&stage, 6);
    assert_eq!(foretold(&stage, &once, "a new rule"), (4, 2));
    assert_eq!(foretold(&stage, &once, "the rest"), (2, 0));
    assert_eq!(foretold(&stage, &once, "nothing new"), (0, 0));
    send(&stage, 1);
    assert_eq!(foretold(&stage, &once, "one message"), (1, 0));
    send(&stage, 5);
    assert_eq!(foretold(&stage, &once, "within a ledger"), (4, 1));
    // From here on the subscription stands in a ledger that is closed.
    act(&stage, "PUT", "unload");
    send(&stage, 5);
    assert_eq!(foretold(&stage, &once, "over the end of a ledger"), (4, 2));
    act(&stage, "PUT", "unload");
    assert_eq!(foretold(&stage, &all, "up to the end of a closed ledger"), (2, 0));
    assert_eq!(foretold(&stage, &all, "nothing new in a new ledger"), (0, 0));
    send(&stage, 5);
    assert_eq!(foretold(&stage, &once, "from the end of a closed ledger"), (4, 1));
    stage.produce("java", "batch", &[]);
    foretold(&stage, &all, "batches");
    send(&stage, 5);
    act(&stage, "POST", &format!("subscription/{SUBSCRIPTION}/skip/2"));
    assert_eq!(foretold(&stage, &all, "behind what was skipped"), (3, 0));
    send(&stage, 1);
    act(&stage, "POST", &format!("subscription/{SUBSCRIPTION}/resetcursor/0"));
    // The two that were skipped have an object of their own.
    assert_eq!(foretold(&stage, &once, "a cursor that went back"), (2, 4));
    assert_eq!(foretold(&stage, &once, "what is behind it"), (1, 0));
    // The broker moves it on to the new ledger, which is empty.
    assert_eq!(foretold(&stage, &all, "all of it").1, 0);
    act(&stage, "PUT", "unload");
    assert_eq!(foretold(&stage, &once, "nothing left"), (0, 0));
    act(&stage, "POST", "trim");
    assert_eq!(foretold(&stage, &once, "nothing left, and what was there is gone"), (0, 0));
    act(&stage, "PUT", "unload");
    assert_eq!(foretold(&stage, &once, "an empty ledger after another"), (0, 0));
    send(&stage, 2);
    assert_eq!(foretold(&stage, &once, "the first of a ledger"), (2, 0));
    send(&stage, 3);
    let seek = json!({ "seek": "latest", "confirm": SUBSCRIPTION });
    assert_eq!(foretold(&stage, &seek, "a move to the end"), (0, 0));
    assert_eq!(foretold(&stage, &once, "nothing new behind it"), (0, 0));
    send(&stage, 5);
    assert_eq!(foretold(&stage, &once, "what came behind it"), (4, 1));
}

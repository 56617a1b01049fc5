//! What the broker's administration takes away unread is named.

use serde_json::{Value, json};

use crate::broker::administer;
use crate::harness::{SUBSCRIPTION, Stage, component, entry_of};

fn order(stage: &Stage, what: &str) {
    let path = format!("/admin/v2/{}/subscription/{SUBSCRIPTION}/{what}", stage.topic.replace("://", "/"));
    let (http, token) = (component("REAL_BROKER_HTTP"), component("REAL_ADMIN_TOKEN"));
    assert!((200..300).contains(&administer(&http, &token, "POST", &path, "")), "{what}");
}

/// Messages that are entries of their own: clients do not batch what is this large.
fn send(stage: &Stage, count: u64) -> Value {
    stage.produce("python", "bulk", &["--count", &count.to_string(), "--size", "25000"]).remove(0)
}

#[test]
fn what_an_administrator_skips_is_named_once_and_what_comes_after_it_is_stored() {
    let stage = Stage::new("skipped");
    send(&stage, 2);
    assert_eq!(stage.invoke().outcome(), "stored");
    let sent = send(&stage, 5);
    order(&stage, "skip/3");
    let run = stage.invoke();
    assert_eq!((run.outcome(), &run.report["messages"]), ("stored", &2.into()), "{run:?}");
    let missing = run.report["missing"].as_array().unwrap();
    assert_eq!(missing.len(), 1, "{run:?}");
    assert_eq!((&missing[0]["entries"], &missing[0]["because"]), (&3.into(), &"cursor_moved".into()));
    assert_eq!(missing[0]["first"], entry_of(&sent["first"]));
    stage.is_at_rest(&sent["last"]);

    let sent = send(&stage, 4);
    order(&stage, "skip_all");
    let run = stage.invoke();
    assert_eq!(run.outcome(), "nothing_to_do", "{run:?}");
    let [first, last] = ["first", "last"].map(|end| entry_of(&sent[end]));
    let named = json!([{ "first": first, "last": last, "entries": 4, "because": "cursor_moved" }]);
    assert_eq!(run.report["missing"], named);
    let again = stage.invoke();
    assert_eq!((again.outcome(), &again.report["missing"]), ("nothing_to_do", &Value::Null));
}

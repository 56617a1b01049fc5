//! Whether a reply is true, of a run that anything may have been done to.

use serde_json::Value;

use crate::history::truth::place;
use crate::torture::history::{Moment, Reply};
use crate::torture::producer::Receipt;
use crate::torture::verdict::Held;

/// Whatever this reply says that is not so.
pub fn untrue(reply: &Reply, after: &Moment, held: &Held<'_>, receipts: &[Receipt]) -> Vec<String> {
    let mut untrue = Vec::new();
    let mut says = |so: bool, what: String| {
        if !so {
            untrue.push(what);
        }
    };
    let report = &reply.report;
    let outcome = report["outcome"].as_str().unwrap();
    let none = Vec::new();
    let listed = report["objects"].as_array().unwrap_or(&none);
    let mut messages = 0;
    for object in listed {
        let key = object["key"].as_str().unwrap();
        messages += object["messages"].as_u64().unwrap();
        let Some(there) = held.objects.get(key).filter(|_| after.keys.contains(key)) else {
            says(false, format!("{key} is not in the bucket"));
            continue;
        };
        let end = |record: Option<&Value>| record.map(|it| place(it["id"].as_str().unwrap()));
        let id = |name: &str| object[name].as_str().map(place);
        let right = object["messages"].as_u64() == Some(there.records.len() as u64)
            && object["bytes"].as_u64() == Some(there.bytes)
            && id("first_id") == end(there.records.first())
            && id("last_id") == end(there.records.last());
        says(right, format!("{object}"));
        let partition = object["partition"].as_i64().unwrap_or(-1) as i32;
        let acknowledged = id("last_id").unwrap() <= after.marks[&partition];
        says(object["acknowledged"] == false || acknowledged || reply.rewound, format!("{key} is acknowledged"));
    }
    says(report["messages"] == messages, format!("{messages} messages"));
    says(report["missing"].is_null(), "something is missing".into());

    // What somebody was told is accepted before that instant was accepted before it.
    if let Some(through) = report["complete_through"].as_u64() {
        let owed = receipts.iter().filter(|receipt| receipt.at < through);
        let unstored = owed.filter(|it| held.since.get(&*it.id).is_none_or(|since| *since > reply.moment)).count();
        says(unstored == 0, format!("complete, and {unstored} are not stored"));
    }
    let did = !listed.is_empty() || report["skipped_entries"].as_u64() > Some(0);
    let kind = report["error"]["kind"].as_str().unwrap_or("none");
    let fits = match outcome {
        "stored" => did,
        // On a busy machine the broker may be silent for a second before it delivers: something is left then.
        "nothing_to_do" => {
            let left = report["backlog_entries"].as_u64() > Some(0);
            !did && kind == "none" && (left || report["complete_through"].is_u64())
        }
        "busy" => kind == "busy",
        "unknown" => kind == "unknown" && !reply.peaceful,
        "failed" => kind == "unavailable",
        _ => false,
    };
    says(fits, format!("{outcome}, {kind}"));
    untrue
}

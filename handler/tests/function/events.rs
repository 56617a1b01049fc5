//! Every file of `events/`, and what its run must come to. Also read by `tests/run` and `tests/real`.

use std::fs;
use std::path::Path;

use serde_json::Value;

/// The files' names and texts, those that store before the one that moves the cursor.
pub fn all() -> Vec<(String, String)> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    // From the handler's package and from the whole one.
    let folder = [root.join("events"), root.join("../events")].into_iter().find(|folder| folder.is_dir());
    let files = fs::read_dir(folder.expect("events/ is in the package or beside it")).unwrap();
    let mut all: Vec<_> = files
        .map(|file| {
            let file = file.unwrap();
            (file.file_name().into_string().unwrap(), fs::read_to_string(file.path()).unwrap())
        })
        .collect();
    all.sort_by_key(|(name, _)| (name == "seek.json", name.clone()));
    assert_eq!(all.len(), 9, "a new file: say below what it comes to");
    all
}

/// The reply is what it must be where the run finds so many messages and may put all but one of them into an object.
pub fn check(name: &str, all: u64, reply: &Value) {
    let (outcome, messages, left) = match name {
        "dry-run.json" => ("planned", all - 1, 1),
        "max-objects.json" | "timer-max-objects.json" => ("stored", all, 0),
        "seek.json" => ("nothing_to_do", 0, 0),
        _ => ("stored", all - 1, 1),
    };
    let found = (reply["outcome"].as_str(), reply["messages"].as_u64(), reply["backlog_entries"].as_u64());
    assert_eq!(found, (Some(outcome), Some(messages), Some(left)), "{name}: {reply}");
    assert_eq!(reply["dry_run"].as_bool(), (name == "dry-run.json").then_some(true), "{name}: {reply}");
    assert_eq!(reply["moved"].is_object(), name == "seek.json", "{name}: {reply}");
}

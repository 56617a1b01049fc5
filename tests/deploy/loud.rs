//! The words of a cloud are shown, and no terminal obeys them: [`Run::text`](crate::world::Run::text) looks for that everywhere.

use serde_json::json;

use crate::{lambda, scf};

#[test]
fn what_a_cloud_says_moves_no_cursor_and_begins_no_line() {
    for (world, target, [look, log, run]) in [
        (scf::world(), "scf", ["GetFunction", "GetFunctionLogs", "InvokeFunction"]),
        (lambda::world(), "lambda", ["DescribeStacks", "FilterLogEvents", "Invoke"]),
    ] {
        world.run(target, &["deploy"]).ok();
        // What is refused is an error or a warning; a row and a verdict are looked at where they are tested.
        for (refused, arguments, code) in [
            (look, &["deploy"][..], 1),
            (look, &["deploy", "--dry-run"], 0),
            (look, &["delete", "--dry-run"], 0),
            (log, &["logs"], 1),
            (run, &["invoke"], 1),
            (run, &["delete", "--drain"], 1),
        ] {
            world.refuses(&[refused]);
            let ended = world.run(target, arguments);
            let text = ended.text();
            assert!(text.contains("FORGED") && text.contains("InternalError"), "{arguments:?}: {text}");
            assert_eq!(ended.code(), code, "{arguments:?}: {text}");
        }
        // And what a function says that failed.
        let loud = "no\x1b[2J\u{9b}2J\u{202e} grant\r\nFORGED";
        for arguments in [&["invoke"][..], &["delete", "--drain"]] {
            world.replies(&[json!({ "outcome": "failed", "error": { "kind": "denied", "message": loud } })]);
            let text = world.run(target, arguments).refused();
            assert!(text.contains("grant  FORGED"), "{arguments:?}: {text}");
        }
        let text = world.run(target, &["logs"]).ok();
        assert!(text.contains("grant  FORGED"), "{text}");
    }
}

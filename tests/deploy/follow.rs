//! `logs --follow`: the log goes on until somebody ends it. And what is said where a log cannot be read.

use serde_json::json;

use crate::child::Running;
use crate::world::World;
use crate::{lambda, scf};

/// The next line is of a run that stored so many messages.
#[track_caller]
fn row(follower: &Running, messages: u64) {
    let line = follower.line();
    assert!(line.contains(&format!("stored         {messages} messages in 1 objects")), "{messages}: {line}");
}

fn followed(world: &World, target: &str) {
    world.run(target, &["deploy"]).ok();
    let run = |messages: u64| {
        world.replies(&[json!({ "outcome": "stored", "messages": messages, "objects": [{}] })]);
        world.run(target, &["invoke"]).ok();
    };
    run(1);
    run(2);
    let follower = Running::of(world, target, &["logs", "--follow"]);
    row(&follower, 1);
    row(&follower, 2);
    // Each of these is seen at a later look, which finds all that came before once more.
    for messages in [3, 4] {
        // A look that fails is followed by another one.
        if messages == 4 {
            world.refuses(&["GetFunctionLogs", "FilterLogEvents"]);
            let line = follower.line();
            assert!(line.starts_with("the log was not read, and is looked at again: "), "{line}");
        }
        run(messages);
        row(&follower, messages);
    }
    assert_eq!(follower.interrupted(), [""; 0]);
}

#[test]
fn whoever_follows_the_log_on_lambda_sees_each_run_once_until_it_is_interrupted() {
    followed(&lambda::world(), "lambda");
}

#[test]
fn whoever_follows_the_log_on_scf_sees_each_run_once_until_it_is_interrupted() {
    followed(&scf::world(), "scf");
}

#[test]
fn a_log_that_cannot_be_read_is_not_one_without_runs() {
    for (world, target, action) in
        [(lambda::world(), "lambda", "FilterLogEvents"), (scf::world(), "scf", "GetFunctionLogs")]
    {
        world.run(target, &["deploy"]).ok();
        world.refuses(&[action]);
        let run = world.run(target, &["status"]);
        assert_eq!(run.code(), 1);
        let text = run.text();
        assert!(text.lines().nth(1).unwrap().contains("not read") && !text.contains("none in a day"), "{text}");
        assert!(text.contains("the log of its runs was not read") && text.contains("InternalError"), "{text}");
        for (refused, read) in [(&[action][..], false), (&[], true)] {
            world.refuses(refused);
            let run = world.run(target, &["status", "--json"]);
            assert_eq!(run.code(), i32::from(!read));
            let row: serde_json::Value = serde_json::from_slice(&run.0.stdout).unwrap();
            assert_eq!((&row["log_read"], &row["last_run"]), (&read.into(), &json!(null)), "{row}");
        }
        // From the beginning, following changes nothing about it.
        for arguments in [&["logs"][..], &["logs", "--follow"]] {
            world.refuses(&[action]);
            assert!(world.run(target, arguments).refused().contains("InternalError"));
        }
    }
}

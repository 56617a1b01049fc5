//! `logs --follow`: the log goes on until somebody ends it. And what is said where a log cannot be read.

use std::io::{BufRead, BufReader};
use std::os::unix::process::ExitStatusExt;
use std::process::{Child, Command, Stdio};
use std::sync::mpsc;
use std::thread;
use std::time::Duration;

use serde_json::json;

use crate::world::World;
use crate::{lambda, scf};

/// Several looks at the log, on a busy machine.
const LIMIT: Duration = Duration::from_secs(120);
const SIGINT: i32 = 2;

/// Whoever follows, and the lines as they come.
struct Follower {
    child: Child,
    lines: mpsc::Receiver<String>,
}

impl Follower {
    fn of(world: &World, target: &str) -> Self {
        let whole = world.command(target, &["logs", "--follow"]);
        // Whoever runs these tests in the background may have them ignore an interrupt, and their children too.
        let mut command = Command::new("env");
        command.arg("--default-signal=INT").arg(whole.get_program()).args(whole.get_args());
        command.env_clear().envs(whole.get_envs().filter_map(|(name, value)| Some((name, value?))));
        whole.get_current_dir().map(|folder| command.current_dir(folder));
        let mut child = command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        let (tell, lines) = mpsc::channel();
        let (stdout, stderr) = (child.stdout.take().unwrap(), child.stderr.take().unwrap());
        let errors = tell.clone();
        thread::spawn(move || BufReader::new(stdout).lines().try_for_each(|line| tell.send(line.unwrap())));
        thread::spawn(move || BufReader::new(stderr).lines().try_for_each(|line| errors.send(line.unwrap())));
        Follower { child, lines }
    }

    /// The next line, of a run that stored so many messages.
    #[track_caller]
    fn row(&self, messages: u64) {
        let line = self.lines.recv_timeout(LIMIT).unwrap_or_else(|why| panic!("no row of {messages} messages: {why}"));
        assert!(line.contains(&format!("stored         {messages} messages in 1 objects")), "{messages}: {line}");
    }
}

impl Drop for Follower {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn followed(world: &World, target: &str) {
    world.run(target, &["deploy"]).ok();
    let run = |messages: u64| {
        world.replies(&[json!({ "outcome": "stored", "messages": messages, "objects": [{}] })]);
        world.run(target, &["invoke"]).ok();
    };
    run(1);
    run(2);
    let mut follower = Follower::of(world, target);
    follower.row(1);
    follower.row(2);
    // Each of these is seen at a later look, which finds all that came before once more.
    for messages in [3, 4] {
        // A look that fails is followed by another one.
        if messages == 4 {
            world.refuses(&["GetFunctionLogs", "FilterLogEvents"]);
            let line = follower.lines.recv_timeout(LIMIT).unwrap();
            assert!(line.starts_with("the log was not read, and is looked at again: "), "{line}");
        }
        run(messages);
        follower.row(messages);
    }
    let id = follower.child.id().to_string();
    assert!(Command::new("kill").args(["-INT", &id]).status().unwrap().success());
    // Both of its pipes end with it: nothing else was said.
    assert_eq!(follower.lines.recv_timeout(LIMIT), Err(mpsc::RecvTimeoutError::Disconnected));
    assert_eq!(follower.child.wait().unwrap().signal(), Some(SIGINT), "which a shell calls exit code 130");
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

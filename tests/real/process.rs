//! Other programs: started, waited for within bounds, and what they printed.

use std::io::Read;
use std::process::{Child, ChildStdout, Command, Stdio};
use std::sync::mpsc;
use std::thread;
use std::time::Duration;

use serde_json::Value;

/// Longer than anything here takes on a busy machine.
const LIMIT: Duration = Duration::from_secs(180);

/// A program's end: its exit code and what it printed.
pub struct Ended {
    pub code: Option<i32>,
    pub stdout: String,
    pub stderr: String,
}

impl Ended {
    pub fn successful(self, what: &str) -> String {
        assert_eq!(self.code, Some(0), "{what}: {}", self.stderr);
        self.stdout
    }
}

/// Starts a program whose output will be read.
pub fn start(command: &mut Command) -> Child {
    let child = command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn();
    child.unwrap_or_else(|why| panic!("{command:?} does not start: {why}"))
}

/// Waits for a program's end; one that takes too long is killed, and the test fails.
pub fn end(mut child: Child) -> Ended {
    let (done, both) = mpsc::channel();
    let pipes: [Box<dyn Read + Send>; 2] =
        [Box::new(child.stdout.take().unwrap()), Box::new(child.stderr.take().unwrap())];
    for (index, mut pipe) in pipes.into_iter().enumerate() {
        let done = done.clone();
        thread::spawn(move || {
            let mut bytes = Vec::new();
            pipe.read_to_end(&mut bytes).unwrap();
            let _ = done.send((index, String::from_utf8(bytes).unwrap()));
        });
    }
    let mut printed = [String::new(), String::new()];
    for _ in 0..2 {
        let Ok((index, text)) = both.recv_timeout(LIMIT) else {
            child.kill().unwrap();
            child.wait().unwrap();
            panic!("a program did not end within {LIMIT:?}");
        };
        printed[index] = text;
    }
    let [stdout, stderr] = printed;
    Ended { code: child.wait().unwrap().code(), stdout, stderr }
}

pub fn lines(text: &str) -> Vec<Value> {
    text.lines().map(|line| serde_json::from_str(line).unwrap_or_else(|why| panic!("{why}: {line}"))).collect()
}

/// What a program printed is told when it has ended, by itself or killed.
pub fn told_at_its_end(mut stdout: ChildStdout, tell: mpsc::Sender<Option<String>>) {
    thread::spawn(move || {
        let mut text = String::new();
        stdout.read_to_string(&mut text).unwrap();
        let _ = tell.send(Some(text));
    });
}

//! The Java client, started once: its start takes longer than most of what it is asked for.

use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Child, ChildStdout, Command, Stdio};
use std::sync::{Mutex, PoisonError};

use serde_json::Value;

use crate::harness::component;

/// Ends when its standard input does, with the tests.
static SERVER: Mutex<Option<Server>> = Mutex::new(None);

struct Server {
    child: Child,
    answers: BufReader<ChildStdout>,
}

/// What one command line prints; one at a time.
pub fn ask(arguments: &[&str]) -> Vec<Value> {
    let mut server = SERVER.lock().unwrap_or_else(PoisonError::into_inner);
    // Not put back by a panic on the way: the next one starts another.
    let mut running = server.take().unwrap_or_else(Server::start);
    let answer = running.ask(arguments);
    *server = Some(running);
    drop(server);
    answer.unwrap_or_else(|why| panic!("java-client {arguments:?}: {why}"))
}

impl Server {
    fn start() -> Self {
        let mut java = Command::new(Path::new(&component("REAL_BIN")).join("java-client"));
        let mut child = java.arg("serve").stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
        let answers = BufReader::new(child.stdout.take().unwrap());
        Server { child, answers }
    }

    fn ask(&mut self, arguments: &[&str]) -> Result<Vec<Value>, String> {
        let line = serde_json::to_string(arguments).unwrap() + "\n";
        self.child.stdin.as_mut().unwrap().write_all(line.as_bytes()).unwrap();
        let mut found = Vec::new();
        loop {
            let mut line = String::new();
            self.answers.read_line(&mut line).unwrap();
            match line.trim_end() {
                "" => panic!("java-client has ended: its last words are above"),
                "end" => return Ok(found),
                line => match line.strip_prefix("error: ") {
                    Some(why) => return Err(why.to_owned()),
                    None => found.push(serde_json::from_str(line).unwrap()),
                },
            }
        }
    }
}

//! The client that goes on sending whatever happens around it.

use std::io::{BufRead, BufReader};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{self, Receiver};
use std::thread;
use std::time::Duration;

use serde::Deserialize;

use crate::harness::{Stage, component, script};
use crate::torture::plan::Plan;

/// As long as a client may take to find a broker again that was away.
const LIMIT: Duration = Duration::from_secs(120);

/// A message that the broker confirmed.
#[derive(Deserialize)]
pub struct Receipt {
    pub id: String,
    pub payload_base64: String,
    /// When it was confirmed, ms since the epoch.
    pub at: u64,
}

pub struct Producer {
    child: Child,
    told: Receiver<Receipt>,
    receipts: Vec<Receipt>,
}

impl Producer {
    pub fn start(stage: &Stage, plan: &Plan) -> Producer {
        let at = stage.broker();
        let mut python = Command::new(PathBuf::from(component("REAL_DIR")).join("venv/bin/python"));
        python.arg("-B").arg(script("python/stream.py"));
        python.args([&at.url, &at.token, &stage.topic, &plan.seed.to_string()]);
        if plan.chunks {
            python.arg("chunks");
        }
        let mut child = python.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap();
        let lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let (tell, told) = mpsc::channel();
        thread::spawn(move || {
            lines.map_while(Result::ok).try_for_each(|line| tell.send(serde_json::from_str(&line).unwrap()))
        });
        Producer { child, told, receipts: Vec::new() }
    }

    /// Waits for a message that is confirmed from now on.
    pub fn goes_on(&mut self) {
        self.receipts.extend(self.told.try_iter());
        self.receipts.push(self.told.recv_timeout(LIMIT).expect("the broker takes a message"));
    }

    /// It ends once all that it sent is confirmed.
    pub fn finish(&mut self) -> Vec<Receipt> {
        drop(self.child.stdin.take());
        self.receipts.extend(self.told.iter());
        assert!(self.child.wait().unwrap().success(), "a message was not taken");
        std::mem::take(&mut self.receipts)
    }
}

impl Drop for Producer {
    fn drop(&mut self) {
        let _ = (self.child.kill(), self.child.wait());
    }
}

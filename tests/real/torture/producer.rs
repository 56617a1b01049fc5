//! The client that goes on sending whatever happens around it.

use std::io::{BufRead, BufReader};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::thread::{self, JoinHandle};

use serde::Deserialize;

use crate::harness::{Stage, component, script};
use crate::torture::plan::Plan;

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
    receipts: Option<JoinHandle<Vec<Receipt>>>,
}

impl Producer {
    /// Some of its messages are confirmed when this returns.
    pub fn start(stage: &Stage, plan: &Plan) -> Producer {
        let at = stage.broker();
        let mut python = Command::new(PathBuf::from(component("REAL_DIR")).join("venv/bin/python"));
        python.arg("-B").arg(script("python/stream.py"));
        python.args([&at.url, &at.token, &stage.topic, &plan.seed.to_string()]);
        if plan.chunks {
            python.arg("chunks");
        }
        let mut child = python.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap();
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let mut receipt = move || lines.next().map(|line| serde_json::from_str(&line.unwrap()).unwrap());
        let first = receipt().expect("the broker takes a message");
        let rest = thread::spawn(move || [first].into_iter().chain(std::iter::from_fn(receipt)).collect());
        Producer { child, receipts: Some(rest) }
    }

    /// It ends once all that it sent is confirmed.
    pub fn finish(mut self) -> Vec<Receipt> {
        drop(self.child.stdin.take());
        let receipts = self.receipts.take().unwrap().join().unwrap();
        assert!(self.child.wait().unwrap().success(), "a message was not taken");
        receipts
    }
}

impl Drop for Producer {
    fn drop(&mut self) {
        let _ = (self.child.kill(), self.child.wait());
    }
}

//! One cell of the crash test: a run that dies at a scripted moment, runs until nothing is left, and what must be there then.

use std::collections::BTreeMap;
use std::io::Write;
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::sync::mpsc;
use std::time::Duration;

use serde_json::Value;

use crate::harness::{Stage, component, entry_of, script};
use crate::process::{end, lines, told_at_its_end};
use crate::proxies::{before_broker, before_store};
use crate::wire::{Current, Late, Moment, Script, Wire};

const LIMIT: Duration = Duration::from_secs(60);
/// Runs after the crash: one may still find the dead run's consumer, the last one finds nothing.
const MOST_RUNS: usize = 4;
const ENTRIES: usize = 12;
const MESSAGES_PER_ENTRY: usize = 4;

/// A topic with twelve entries of four messages, and a rule that makes two objects of them in one run.
pub struct Cell {
    pub stage: Stage,
    /// What was sent: id and payload.
    sent: Vec<(Value, Value)>,
    /// Another rule would make other objects of them.
    changed: bool,
}

impl Cell {
    pub fn several(count: usize) -> Vec<Cell> {
        let mut stages: Vec<Stage> = (0..count).map(|_| Stage::new("crash")).collect();
        for stage in &mut stages {
            stage.number("max_messages", (ENTRIES * MESSAGES_PER_ENTRY / 2) as u64).number("max_objects", 2);
        }
        let mut sent = fill(&stages);
        stages
            .into_iter()
            .map(|stage| {
                let sent = sent.remove(&stage.topic).unwrap();
                assert_eq!(sent.len(), ENTRIES * MESSAGES_PER_ENTRY);
                Cell { stage, sent, changed: false }
            })
            .collect()
    }

    pub fn one() -> Cell {
        Cell::several(1).remove(0)
    }

    /// One run through the relays. It is killed when the script's moment comes; if that does not come, it
    /// ends by itself, and the answer's last part is what it printed.
    pub fn run(&mut self, script: Script) -> (Arc<Wire>, Option<String>) {
        self.run_with(script, Late::default())
    }

    /// A run with something of a dead one's on its way.
    pub fn run_with(&mut self, script: Script, late: Late) -> (Arc<Wire>, Option<String>) {
        let (tell, told) = mpsc::channel();
        let wire = Wire::new(script, late, tell.clone());
        let current = Current::of(&wire);
        let broker = before_broker(&current, component("REAL_BROKER_URL").strip_prefix("pulsar://").unwrap());
        let store = before_store(&current, &store());
        self.stage.text("service_url", &format!("pulsar://{broker}")).text("endpoint", &format!("http://{store}"));
        let mut child =
            self.stage.command().stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        let stdout = child.stdout.take().unwrap();
        told_at_its_end(stdout, tell);
        let what = told.recv_timeout(LIMIT);
        // SIGKILL, at whatever it was doing.
        let _ = child.kill();
        child.wait().unwrap();
        wire.close();
        self.stage.text("service_url", &component("REAL_BROKER_URL")).text("endpoint", &component("REAL_S3_ENDPOINT"));
        (wire, what.expect("neither the moment nor the end of the run came"))
    }

    /// Runs, without relays, until one finds nothing to do. What each came to.
    pub fn recover(&self) -> Vec<String> {
        let mut outcomes = Vec::new();
        while outcomes.len() < MOST_RUNS {
            let run = self.stage.invoke();
            let outcome = run.outcome().to_owned();
            assert!(matches!(outcome.as_str(), "stored" | "nothing_to_do" | "busy"), "{run:?}");
            outcomes.push(outcome.clone());
            if outcome == "nothing_to_do" {
                return outcomes;
            }
        }
        panic!("not at rest after {outcomes:?}");
    }

    /// Dies just before the request of this number leaves; that request is still under way.
    pub fn dies_before(&mut self, number: usize) -> Late {
        let (wire, printed) = self.run(Script::StopAt(number, Moment::Seen));
        assert_eq!(printed, None, "it was killed");
        Late { store: store(), request: wire.held() }
    }

    /// A request of the dead run reaches the store only now: it must not change anything.
    pub fn is_not_changed_by(&self, late: &Late) {
        let before = self.contents();
        assert_eq!(late.arrive(), 412, "it meets what the successor wrote");
        assert_eq!(self.contents(), before);
    }

    fn contents(&self) -> Vec<(String, Vec<u8>)> {
        let read = |key: String| {
            let bytes = std::fs::read(self.stage.bucket_folder().join(&key)).unwrap();
            (key, bytes)
        };
        self.stage.files().into_iter().map(read).collect()
    }

    /// Somebody lowers a cap after the crash. What a dead run announced must be written as it announced it all the same.
    pub fn changes_the_rule(&mut self) {
        self.stage.number("max_messages", (ENTRIES * MESSAGES_PER_ENTRY / 3) as u64);
        self.changed = true;
    }

    /// Everything is in the bucket exactly once and acknowledged, by an unchanged rule in the two objects
    /// that a run without a crash makes, and nothing else is left behind.
    pub fn is_whole(&self) {
        let objects = self.stage.objects();
        let records = objects.iter().flat_map(|object| &object.records);
        let found: Vec<(Value, Value)> = records.map(|it| (it["id"].clone(), it["payload_base64"].clone())).collect();
        assert_eq!(found, self.sent);

        let standing = self.stage.standing();
        let last = &self.sent[self.sent.len() - 1].0;
        assert_eq!((standing.mark_delete, standing.backlog), (Some(entry_of(last)), Some(0)));

        let sizes: Vec<usize> = objects.iter().map(|object| object.records.len()).collect();
        assert!(self.changed || sizes == [self.sent.len() / 2; 2], "{sizes:?}");
        assert_eq!(self.stage.files().len(), objects.len() + 1, "objects and one head: {:?}", self.stage.files());
        assert_eq!(self.stage.litter(), 0);
        for (seq, object) in (1..).zip(&objects) {
            assert_eq!(object.metadata["seq"], format!("{seq}"));
            assert_eq!(object.metadata["sha256"], object.sha256);
        }
        for pair in objects.windows(2) {
            assert_eq!(pair[1].metadata["previous-sha256"], pair[0].sha256);
        }
        let head = self.stage.head();
        let links: Vec<&Value> =
            ["done", "next"].iter().map(|name| &head[*name]).filter(|link| !link.is_null()).collect();
        for link in &links {
            let object = objects
                .iter()
                .find(|object| link["key"] == object.key)
                .expect("the head names an object that is there");
            assert_eq!(link["digest"], object.sha256);
        }
        assert_eq!(links.last().expect("the head knows the newest object")["key"], objects[objects.len() - 1].key);
    }
}

fn store() -> String {
    component("REAL_S3_ENDPOINT").strip_prefix("http://").unwrap().to_owned()
}

/// Sends the same number of messages to the topic of each stage.
fn fill(stages: &[Stage]) -> BTreeMap<String, Vec<(Value, Value)>> {
    let mut python = Command::new(PathBuf::from(component("REAL_DIR")).join("venv/bin/python"));
    python
        .arg("-B")
        .arg(script("python/topics.py"))
        .args([&component("REAL_BROKER_URL"), &component("REAL_ADMIN_TOKEN")]);
    python.args([ENTRIES.to_string(), MESSAGES_PER_ENTRY.to_string()]);
    let mut child = python.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let topics: Vec<&str> = stages.iter().map(|stage| stage.topic.as_str()).collect();
    child.stdin.take().unwrap().write_all(topics.join("\n").as_bytes()).unwrap();
    let printed = end(child).successful("topics.py");
    let mut sent: BTreeMap<String, Vec<_>> = BTreeMap::new();
    for line in lines(&printed) {
        let messages = sent.entry(line["topic"].as_str().unwrap().to_owned()).or_default();
        messages.push((line["id"].clone(), line["payload_base64"].clone()));
    }
    sent
}

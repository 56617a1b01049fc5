//! Interruptions of each kind at twenty random instants of runs at a real broker: what it still delivers is in the
//! bucket exactly once. `INTERRUPTIONS_SEED` repeats the instants of a run, which are printed.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io::Write as _;
use std::net::TcpStream;
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::time::Duration;

use serde_json::Value;

use crate::broker::{ask, get};
use crate::door::Door;
use crate::harness::{SUBSCRIPTION, Stage, component, entry_of, script};
use crate::process::{end, lines, start};

const INSTANTS: usize = 20;
const ENTRIES: usize = 40;
const MESSAGES_PER_ENTRY: usize = 6;
/// Runs that one crash of the broker interrupts at once.
const AT_ONCE: usize = 5;
const MOST_RUNS: usize = 8;
/// How often it is asked whether the broker has expired what it said it would; a matter of milliseconds.
const MOST_ASKED: u32 = 20_000;

/// A broker of this test's own, so that no other test is disturbed. Stopped at the end.
struct Broker {
    folder: PathBuf,
    url: String,
    http: String,
    token: String,
}

impl Broker {
    fn start() -> Broker {
        let folder = PathBuf::from(component("REAL_DIR")).join("interruptions");
        let mut broker = Broker { folder, url: String::new(), http: String::new(), token: String::new() };
        broker.call("start", &["--fresh"]);
        let env = fs::read_to_string(broker.folder.join("env")).unwrap();
        let env: BTreeMap<&str, &str> = env.lines().filter_map(|line| line.split_once('=')).collect();
        let of = |name: &str| env[name].to_owned();
        (broker.url, broker.http, broker.token) =
            (of("REAL_BROKER_URL"), of("REAL_BROKER_HTTP"), of("REAL_ADMIN_TOKEN"));
        broker
    }

    fn call(&self, what: &str, more: &[&str]) {
        let mut command = Command::new(script("broker"));
        command.arg(what).args(more).env("REAL_BROKER_DIR", &self.folder);
        end(start(&mut command)).successful(&format!("broker {what}"));
    }

    fn address(&self) -> &str {
        self.url.strip_prefix("pulsar://").unwrap()
    }
}

impl Drop for Broker {
    fn drop(&mut self) {
        self.call("stop", &[]);
    }
}

#[derive(Clone, Copy, Debug)]
enum Kind {
    Unload,
    Cut,
    Kill,
    Skip,
    SkipAll,
    Reset,
    Expire,
}

/// What an administrator may ask of one topic's subscription.
#[derive(Clone)]
struct Admin {
    http: String,
    token: String,
    topic: String,
    last: Option<(i64, i64)>,
}

impl Admin {
    /// Whether the broker took it.
    fn order(&self, method: &str, path: &str) -> bool {
        let host = self.http.strip_prefix("http://").unwrap();
        let topic = self.topic.replace("://", "/");
        let request = format!(
            "{method} /admin/v2/{topic}/{path} HTTP/1.0\r\nHost: {host}\r\nAuthorization: Bearer {}\r\nContent-Length: 0\r\n\r\n",
            self.token
        );
        let (status, answer) = ask(TcpStream::connect(host).unwrap(), &request);
        // Before the first subscribe there is nothing to be moved; expiry finds nothing to expire.
        // Nor is there while the run itself moves the cursor: then nothing was skipped.
        let refused = matches!(status, 404 | 409 | 412) || answer.to_string().contains("Reset cursor in progress");
        assert!((200..300).contains(&status) || refused, "{path}: {status} {answer}");
        (200..300).contains(&status)
    }

    /// Where the cursor stands; ledger and entry.
    fn cursor(&self) -> Option<(i64, i64)> {
        let path = format!("/admin/v2/{}/internalStats", self.topic.replace("://", "/"));
        let stats = get(&self.http, &self.token, &path).1;
        position(stats["cursors"][SUBSCRIPTION]["markDeletePosition"].as_str()?)
    }

    /// Answers how far the broker removed entries unread, if it may have.
    fn interrupt(&self, kind: Kind) -> Option<(i64, i64)> {
        let subscription = format!("subscription/{SUBSCRIPTION}");
        match kind {
            Kind::Unload => drop(self.order("PUT", "unload")),
            Kind::Cut | Kind::Kill => {}
            Kind::Skip => drop(self.order("POST", &format!("{subscription}/skip/15"))),
            Kind::SkipAll => drop(self.order("POST", &format!("{subscription}/skip_all"))),
            Kind::Reset => drop(self.order("POST", &format!("{subscription}/resetcursor/0"))),
            // Answered before it is done. All of the messages are older than this second.
            Kind::Expire if self.order("POST", &format!("{subscription}/expireMessages/1")) => {
                let _ = (0..MOST_ASKED).any(|_| self.cursor() == self.last);
            }
            Kind::Expire => {}
        }
        matches!(kind, Kind::Skip | Kind::SkipAll | Kind::Expire).then(|| self.cursor()).flatten()
    }
}

fn position(text: &str) -> Option<(i64, i64)> {
    let (ledger, entry) = text.split_once(':')?;
    Some((ledger.parse().ok()?, entry.parse().ok()?))
}

/// A topic with a few hundred messages, a door to it, and what was sent.
struct Cell {
    stage: Stage,
    door: Door,
    admin: Admin,
    sent: BTreeMap<String, Value>,
}

fn cells(broker: &Broker, count: usize) -> Vec<Cell> {
    let mut stages: Vec<Stage> = (0..count).map(|_| Stage::new("interrupted")).collect();
    for stage in &mut stages {
        stage.at_broker(&broker.url, &broker.http, &broker.token);
        stage.number("max_messages", (ENTRIES * MESSAGES_PER_ENTRY / 3) as u64).number("max_objects", 4);
    }
    let mut python = Command::new(PathBuf::from(component("REAL_DIR")).join("venv/bin/python"));
    python.arg("-B").arg(script("python/topics.py")).args([&broker.url, &broker.token]);
    python.args([ENTRIES.to_string(), MESSAGES_PER_ENTRY.to_string()]);
    let mut child = python.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let topics: Vec<&str> = stages.iter().map(|stage| stage.topic.as_str()).collect();
    child.stdin.take().unwrap().write_all(topics.join("\n").as_bytes()).unwrap();
    let mut sent: BTreeMap<String, BTreeMap<String, Value>> = BTreeMap::new();
    for line in lines(&end(child).successful("topics.py")) {
        let messages = sent.entry(line["topic"].as_str().unwrap().to_owned()).or_default();
        messages.insert(line["id"].as_str().unwrap().to_owned(), line["payload_base64"].clone());
    }
    let cell = |mut stage: Stage| {
        let door = Door::before(broker.address());
        stage.text("service_url", &format!("pulsar://{}", door.address));
        let sent = sent.remove(&stage.topic).unwrap();
        let last = sent.keys().filter_map(|id| position(&entry_of(&Value::from(id.as_str())))).max();
        let (http, token) = (broker.http.clone(), broker.token.clone());
        let admin = Admin { http, token, topic: stage.topic.clone(), last };
        Cell { stage, door, admin, sent }
    };
    stages.into_iter().map(cell).collect()
}

impl Cell {
    /// Runs until nothing is left; answers the outcomes.
    fn drain(&self) -> Vec<String> {
        let mut outcomes = Vec::new();
        while outcomes.last().is_none_or(|last| last != "nothing_to_do") {
            assert!(outcomes.len() < MOST_RUNS, "not at rest after {outcomes:?}");
            let run = self.stage.invoke();
            let expected = matches!(run.outcome(), "stored" | "nothing_to_do" | "busy");
            assert!(expected, "{run:?}");
            outcomes.push(run.outcome().to_owned());
        }
        outcomes
    }

    /// Each message that the broker did not remove up to `removed` is in the bucket once, as it was sent.
    fn is_whole(&self, removed: Option<(i64, i64)>) {
        let mut found = BTreeSet::new();
        for record in self.stage.objects().iter().flat_map(|object| &object.records) {
            let id = record["id"].as_str().unwrap();
            assert_eq!(self.sent.get(id), Some(&record["payload_base64"]), "{id}");
            assert!(found.insert(id.to_owned()), "{id} is stored twice");
        }
        for id in self.sent.keys().filter(|id| !found.contains(*id)) {
            let at = position(&entry_of(&Value::from(id.as_str())));
            assert!(removed.is_some() && at <= removed, "{id} is lost, the broker removed up to {removed:?}");
        }
        assert_eq!(self.admin.cursor(), self.admin.last, "all is acknowledged");
        assert_eq!(self.stage.litter(), 0);
    }
}

/// A generator that needs no crate.
fn roll(state: &mut u64, sides: usize) -> usize {
    *state ^= *state << 13;
    *state ^= *state >> 7;
    *state ^= *state << 17;
    (*state % sides as u64) as usize
}

#[test]
fn interrupted_at_random_instants_every_message_is_stored_once() {
    let seed = std::env::var("INTERRUPTIONS_SEED").ok().and_then(|seed| seed.parse().ok());
    let mut state: u64 = seed.unwrap_or((u64::from(std::process::id()) * 0x9e37_79b9) | 1);
    println!("INTERRUPTIONS_SEED={state}");
    let broker = Arc::new(Broker::start());
    let kinds = [Kind::Unload, Kind::Cut, Kind::Skip, Kind::SkipAll, Kind::Reset, Kind::Expire, Kind::Kill];
    let mut cells = cells(&broker, 1 + kinds.len() * INSTANTS);
    // How many bytes an undisturbed run is sent, but for what ledgers with shorter numbers may need less.
    let first = cells.remove(0);
    assert_eq!(first.stage.invoke().outcome(), "stored");
    let bytes = first.door.passed() - ENTRIES * 8;
    first.is_whole(None);
    for kind in kinds {
        let at_once = if matches!(kind, Kind::Kill) { AT_ONCE } else { 1 };
        let (mut succeeded, mut outcomes) = (0, BTreeMap::new());
        for _ in 0..INSTANTS / at_once {
            let group: Vec<(Cell, usize)> =
                (0..at_once).map(|_| (cells.pop().unwrap(), roll(&mut state, bytes))).collect();
            let removed = interrupted(&broker, &group, kind);
            for ((cell, at), (outcome, removed)) in group.iter().zip(removed) {
                println!("{kind:?} at {at} of {bytes}: {outcome}, then {:?}", cell.drain());
                cell.is_whole(removed);
                succeeded += usize::from(outcome == "stored");
                *outcomes.entry(outcome).or_insert(0) += 1;
            }
        }
        println!("{kind:?}: {succeeded} of {INSTANTS} interrupted runs went on to their end: {outcomes:?}");
    }
}

/// Runs each cell to its scripted byte and lets it happen; answers each run's outcome, and what was removed.
fn interrupted(broker: &Arc<Broker>, group: &[(Cell, usize)], kind: Kind) -> Vec<(String, Option<(i64, i64)>)> {
    let (tell, told) = std::sync::mpsc::channel();
    let mut held = Vec::new();
    for (index, (cell, at)) in group.iter().enumerate() {
        let (admin, tell) = (cell.admin.clone(), tell.clone());
        let (hold, released) = std::sync::mpsc::channel::<()>();
        held.push(hold);
        cell.door.after(*at, move || {
            let removed = admin.interrupt(kind);
            let _ = tell.send((index, removed));
            if matches!(kind, Kind::Kill) {
                // Of several runs that one crash interrupts, each stands still where it is until it comes.
                let _ = released.recv();
            }
            matches!(kind, Kind::Cut | Kind::Kill)
        });
    }
    let runs: Vec<_> = group.iter().map(|(cell, _)| start(&mut cell.stage.command())).collect();
    let mut removed = vec![None; group.len()];
    for _ in 0..group.len() {
        let (index, what) = told.recv_timeout(Duration::from_secs(60)).unwrap_or_else(|_| {
            let passed: Vec<_> = group.iter().map(|(cell, at)| (*at, cell.door.passed())).collect();
            panic!("not all scripted bytes passed: (scripted, passed) {passed:?}")
        });
        removed[index] = what;
    }
    if matches!(kind, Kind::Kill) {
        broker.call("kill", &[]);
        held.clear();
        broker.call("start", &[]);
    }
    let outcomes = runs.into_iter().map(|run| crate::harness::Run::of(end(run)).outcome().to_owned());
    outcomes.zip(removed).collect()
}

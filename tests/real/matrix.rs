//! The crash matrix on real components: see README.md. The cells and their histories are those of `tests/run/matrix.rs`.
//!
//! ```text
//!  worker ─▶ the program ─▶ two relays ─▶ broker: a subscription for each cell, on the worker's own topic
//!                              └────────▶ store: a bucket for each cell
//! ```

use std::collections::BTreeMap;
use std::fs;
use std::io::Write;
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc;
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};
use tdmq_backup::Clock;
use tokio::runtime;

use crate::broker::{Standing, administer, path_of, standing_of};
use crate::harness::{Stage, component, script};
use crate::history::cells::{self, Cell};
use crate::history::director::{Director, Fate};
use crate::history::truth::{Message, Place, Seen, messages_of, place};
use crate::history::{ENTRIES, ENTRIES_PER_OBJECT, Line, MESSAGES_PER_ENTRY, OBJECTS_BEFORE, Scene, act, lock, total};
use crate::process::{end, lines, told_at_its_end};
use crate::proxies::{before_broker, before_store};
use crate::wire::{Current, Late, Script, Verdict, Wire};

const LIMIT: Duration = Duration::from_secs(60);
/// Of what is slow or late.
const WHILE: Duration = Duration::from_millis(20);
/// Most of a cell's time is spent waiting: for processes to start, and before requests that are sent again.
const WORKERS: usize = 8;
/// Questions until the broker has seen that a dead process is gone.
const MOST_QUESTIONS: usize = 10_000;

/// A topic, and two relays that outlive the cells that use them.
struct Worker {
    topic: String,
    sent: Vec<Message>,
    current: Current,
    broker: String,
    store: String,
}

impl Worker {
    fn several(count: usize) -> Vec<Worker> {
        let topics: Vec<String> = (0..count).map(|_| Stage::new("matrix").topic).collect();
        let mut sent = send(&topics);
        let store = component("REAL_S3_ENDPOINT").strip_prefix("http://").unwrap().to_owned();
        let broker = component("REAL_BROKER_URL").strip_prefix("pulsar://").unwrap().to_owned();
        let worker = |topic: String| {
            let current = Current::of(&Wire::new(Script::Watch, Late::default(), mpsc::channel().0));
            let (broker, store) = (before_broker(&current, &broker), before_store(&current, &store));
            Worker { sent: sent.remove(&topic).unwrap(), topic, current, broker, store }
        };
        topics.into_iter().map(worker).collect()
    }

    /// Acts one cell on a subscription and a bucket of its own.
    fn act(&self, number: usize, cell: Cell) -> Line {
        let mut stage = Stage::new("matrix");
        let subscription = format!("backup-{number}");
        stage.text("topic", &self.topic).text("subscription", &subscription);
        stage.number("max_messages", (ENTRIES_PER_OBJECT * MESSAGES_PER_ENTRY) as u64);
        stage.number("max_objects", OBJECTS_BEFORE as u64);
        let first = stage.invoke();
        assert_eq!(first.outcome(), "stored", "{first:?}");
        stage.text("service_url", &format!("pulsar://{}", self.broker));
        stage.text("endpoint", &format!("http://{}", self.store));

        let director = Arc::new(Mutex::new(Director::new(cell)));
        let play = Arc::new(Play { director: Arc::clone(&director), under_way: Mutex::default() });
        let mut scene = Cast { worker: self, stage, subscription, play };
        let runtime = runtime::Builder::new_current_thread().build().unwrap();
        let line = runtime.block_on(act(cell, &director, &mut scene, &self.sent));
        if line.is_right() {
            scene.leave();
        }
        line
    }
}

/// What the relays of one cell's runs go by.
struct Play {
    director: Arc<Mutex<Director>>,
    /// A PUT whose sender is dead.
    under_way: Mutex<Option<Late>>,
}

impl Play {
    fn decide(&self, request: &str, bytes: &[u8], store: &str) -> Verdict {
        let fate = lock(&self.director).meet(request);
        if request == "PUT object"
            && let Some(late) = lock(&self.under_way).take()
        {
            late.arrive();
        }
        match fate {
            Fate::Pass => Verdict::Pass,
            Fate::Dies => Verdict::Stop,
            Fate::DiesAfter => Verdict::Withhold,
            Fate::DiesUnderWay => {
                *lock(&self.under_way) = Some(Late { store: store.to_owned(), request: bytes.to_vec() });
                Verdict::Stop
            }
            Fate::Refused | Fate::Unconfirmed => Verdict::Forge,
            Fate::Unanswered => Verdict::Unanswered,
            Fate::Lost => Verdict::Lose,
            Fate::Late => Verdict::Slow(WHILE),
        }
    }
}

struct Cast<'a> {
    worker: &'a Worker,
    stage: Stage,
    subscription: String,
    play: Arc<Play>,
}

impl Cast<'_> {
    fn standing(&self) -> Standing {
        let broker = self.stage.broker();
        standing_of(&broker.http, &broker.token, &self.worker.topic, &self.subscription)
    }

    fn administer(&self, method: &str, what: &str, body: &str) -> u16 {
        let (broker, topic) = (self.stage.broker(), path_of(&self.worker.topic));
        let path = format!("/admin/v2/{topic}/subscription/{}{what}", self.subscription);
        administer(&broker.http, &broker.token, method, &path, body)
    }

    /// The next cells' questions are answered faster where this one's subscription is gone.
    fn leave(&self) {
        assert_eq!(self.stage.litter(), 0);
        self.administer("DELETE", "", "");
        fs::remove_dir_all(self.stage.bucket_folder()).unwrap();
    }
}

impl Scene for Cast<'_> {
    /// A process, which is killed when the director says so.
    async fn run(&mut self) -> Option<Value> {
        let (tell, told) = mpsc::channel();
        let (play, store) = (Arc::clone(&self.play), component("REAL_S3_ENDPOINT"));
        let direct =
            move |request: &str, bytes: &[u8]| play.decide(request, bytes, store.strip_prefix("http://").unwrap());
        let wire = Wire::directed(Box::new(direct), tell.clone());
        self.worker.current.set(&wire);
        let mut command = self.stage.command();
        let mut child = command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap();
        let stdout = child.stdout.take().unwrap();
        told_at_its_end(stdout, tell);
        let what = told.recv_timeout(LIMIT);
        if lock(&self.play.director).is_dead() {
            // SIGKILL, at whatever it was doing.
            child.kill().unwrap();
        }
        child.wait().unwrap();
        wire.close();
        // Until then the subscription is held, and the next run would rightly say so.
        assert!((0..MOST_QUESTIONS).any(|_| self.standing().consumers == 0), "the broker keeps a dead consumer");
        let printed = what.expect("neither the moment nor the end of the run came")?;
        Some(serde_json::from_str(&printed).unwrap_or_else(|why| panic!("{why}: {printed}")))
    }

    async fn seen(&mut self) -> Seen {
        let standing = self.standing();
        let folder = self.stage.bucket_folder();
        let keys = self.stage.files().into_iter().filter(|key| !key.ends_with("/_head.json"));
        Seen {
            objects: keys.map(|key| (key.clone(), messages_of(&fs::read(folder.join(key)).unwrap()))).collect(),
            mark_delete: place(&standing.mark_delete.unwrap()),
            backlog: standing.backlog.unwrap(),
        }
    }

    async fn go_back(&mut self, (ledger, entry): Place) {
        let body = json!({ "ledgerId": ledger, "entryId": entry, "partitionIndex": -1 }).to_string();
        assert_eq!(self.administer("POST", "/resetcursor", &body), 204);
    }
}

/// Sends the same number of messages to each topic; what was sent, by topic.
fn send(topics: &[String]) -> BTreeMap<String, Vec<Message>> {
    let mut python = Command::new(PathBuf::from(component("REAL_DIR")).join("venv/bin/python"));
    python.arg("-B").arg(script("python/topics.py"));
    python.args([component("REAL_BROKER_URL"), component("REAL_ADMIN_TOKEN")]);
    python.args([ENTRIES.to_string(), MESSAGES_PER_ENTRY.to_string()]);
    let mut child = python.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    child.stdin.take().unwrap().write_all(topics.join("\n").as_bytes()).unwrap();
    let mut sent: BTreeMap<String, Vec<Message>> = BTreeMap::new();
    for line in lines(&end(child).successful("topics.py")) {
        let payload = STANDARD.decode(line["payload_base64"].as_str().unwrap()).unwrap();
        let message = Message { id: line["id"].as_str().unwrap().to_owned(), payload };
        sent.entry(line["topic"].as_str().unwrap().to_owned()).or_default().push(message);
    }
    sent
}

/// Acts these cells, and prints each as it ends.
fn matrix(cells: &[Cell]) {
    let clock = runtime::Runtime::new().unwrap().block_on(async { Clock::system() });
    let began = clock.now_ms();
    let (workers, next, done) = (Worker::several(WORKERS), AtomicUsize::new(0), Mutex::new(Vec::new()));
    thread::scope(|scope| {
        for worker in &workers {
            scope.spawn(|| {
                while let number = next.fetch_add(1, Ordering::Relaxed)
                    && let Some(cell) = cells.get(number)
                {
                    let line = worker.act(number, *cell);
                    println!("real: {line}");
                    lock(&done).push(line);
                }
            });
        }
    });
    let (total, right) = total(&done.into_inner().unwrap());
    println!("real: in {} s", (clock.now_ms() - began).div_ceil(1000));
    println!("real: {total}");
    assert!(right, "{total}; the lines above say what is wrong");
}

#[test]
fn killed_at_every_step_with_any_two_faults_each_message_is_stored_once_and_each_report_is_true() {
    matrix(&cells::few());
}

#[test]
#[ignore = "minutes: make crash-matrix"]
fn every_cell_of_the_crash_matrix_is_right() {
    matrix(&cells::all());
}

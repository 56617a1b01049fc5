//! What one topic goes through, from its first message to rest.
//!
//! ```text
//!  a producer sends ────────────────────────────────────────────────────────▶ ends
//!  run ─▶ fault in a run ─▶ (run) ─▶ fault in a run ─▶ … ─▶ runs, until one finds nothing to do ─▶ truth
//!     └─ moment ──────┴─ after each: what is acknowledged, and which objects are there ───────┘
//! ```

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use serde_json::Value;
use tdmq_backup::Clock;

use crate::broker::{administer, get, path_of};
use crate::harness::{SUBSCRIPTION, Stage};
use crate::history::truth::{Place, place};
use crate::torture::parts::Parts;
use crate::torture::plan::{Fault, Kills, Plan, WAYS, Way};
use crate::torture::producer::Producer;
use crate::torture::running::Running;
use crate::torture::verdict::Verdict;

/// A fault whose instant comes after the run's end is tried again in another run.
const MOST_TRIES: usize = 60;
/// Runs until the last one finds nothing to do.
const MOST_RUNS: usize = 60;
/// Faults without a run in peace between them. Of an object that a third run cannot store either the program says that it
/// waits for its last writer's deadline, and for minutes more.
const MOST_IN_A_ROW: usize = 2;
/// Runs, one after the other, until the broker has found out that a frozen function does not answer.
const MOST_BUSY: usize = 2_000;
/// Questions until a broker that has just come back has loaded a topic.
const MOST_QUESTIONS: usize = 10_000;

/// What is there at one moment; acknowledged first, so that what is stored later does not cover for it.
pub struct Moment {
    pub marks: BTreeMap<i32, Place>,
    pub keys: BTreeSet<String>,
}

pub struct Reply {
    pub report: Value,
    /// The number of the moment after it.
    pub moment: usize,
    /// Nothing was done to this run.
    pub peaceful: bool,
    /// The broker was killed meanwhile: positions that it confirmed may have gone back.
    pub rewound: bool,
}

pub struct History<'a> {
    parts: &'a Parts,
    pub plan: Plan,
    pub stage: Stage,
    pub moments: Vec<Moment>,
    pub replies: Vec<Reply>,
    pub kills: Kills,
    producer: Producer,
    /// The broker does not open the topic any more.
    is_gone: bool,
    clock: Clock,
    /// How long a run takes that nothing is done to, and what crosses in each direction.
    usual_ms: u64,
    usual_bytes: [usize; WAYS.len()],
}

/// Acts one plan and says what came of it; `None` where the broker came back and could not open the topic again, so that
/// there is nothing to compare the bucket with.
pub fn act(parts: &Parts, plan: Plan) -> Option<Verdict> {
    let mut stage = parts.stage("torture");
    stage.number("max_messages", plan.max_messages).number("max_objects", plan.max_objects);
    let at = stage.broker();
    if plan.partitions > 0 {
        let path = format!("/admin/v2/{}/partitions", path_of(&stage.topic));
        assert_eq!(administer(&at.http, &at.token, "PUT", &path, &plan.partitions.to_string()), 204);
    }
    let producer = Producer::start(&stage, &plan);
    let mut history = History {
        parts,
        plan,
        stage,
        moments: Vec::new(),
        replies: Vec::new(),
        kills: Kills::default(),
        producer,
        is_gone: false,
        clock: Clock::system(),
        usual_ms: 0,
        usual_bytes: [0; WAYS.len()],
    };
    history.producer.goes_on();
    history.peace();
    // What a whole run sends and is sent.
    history.relayed(None);
    let mut since_peace = 0;
    for fault in history.plan.faults.clone() {
        let hit = (0..MOST_TRIES).any(|_| history.suffers(fault));
        if history.is_gone {
            return None;
        }
        assert!(hit, "{fault:?}: each of {MOST_TRIES} runs was over before its turn came");
        history.kills.count(fault);
        since_peace += 1;
        if since_peace == MOST_IN_A_ROW || history.plan.dice.one_in(2) {
            since_peace = 0;
            history.peace();
        }
    }
    let receipts = history.producer.finish();
    history.stage.number("max_objects", 1_000);
    let rest = (0..MOST_RUNS).any(|_| history.peace()["outcome"] == "nothing_to_do");
    let mut verdict = Verdict::of(&history, &receipts);
    if !rest {
        verdict.problems.push(format!("not at rest after {MOST_RUNS} runs"));
    }
    Some(verdict)
}

impl History<'_> {
    /// A run that nothing is done to.
    fn peace(&mut self) -> Value {
        let began = self.clock.now_ms();
        let report = Running::start(&self.stage).end();
        if report["outcome"] == "stored" {
            self.usual_ms = self.clock.now_ms() - began;
        }
        self.replied(report.clone(), true, false);
        report
    }

    fn replied(&mut self, report: Value, peaceful: bool, rewound: bool) {
        self.moment();
        self.replies.push(Reply { report, moment: self.moments.len() - 1, peaceful, rewound });
    }

    fn moment(&mut self) {
        let mark = |number| (number, self.known_mark_delete(number).expect("the broker knows the subscription"));
        let marks = self.plan.numbers().into_iter().map(mark).collect();
        let keys = self.stage.files().into_iter().filter(|key| key.ends_with(".jsonl.gz")).collect();
        self.moments.push(Moment { marks, keys });
    }

    pub fn topic_of(&self, partition: i32) -> String {
        match partition {
            -1 => self.stage.topic.clone(),
            number => format!("{}-partition-{number}", self.stage.topic),
        }
    }

    fn mark_delete(&self, partition: i32) -> Option<Place> {
        let at = self.stage.broker();
        let path = format!("/admin/v2/{}/internalStats", path_of(&self.topic_of(partition)));
        get(&at.http, &at.token, &path).1["cursors"][SUBSCRIPTION]["markDeletePosition"].as_str().map(place)
    }

    /// Whether a broker that came back has opened the topic again, in time.
    fn opens_again(&self) -> bool {
        self.plan.numbers().into_iter().all(|number| self.known_mark_delete(number).is_some())
    }

    /// Asked until the topic is loaded.
    fn known_mark_delete(&self, partition: i32) -> Option<Place> {
        (0..MOST_QUESTIONS).find_map(|_| self.mark_delete(partition))
    }

    /// An instant that lies in a run, as a rule.
    fn instant(&mut self) -> Duration {
        Duration::from_micros(self.plan.dice.roll(self.usual_ms.max(1) * 1_100))
    }

    /// One run that this is done to. False where it was over before.
    fn suffers(&mut self, fault: Fault) -> bool {
        self.producer.goes_on();
        if let Fault::Cut(way) = fault {
            let at = self.plan.dice.roll(self.usual_bytes[way as usize] as u64 * 11 / 10);
            return self.relayed(Some((way, at as usize)));
        }
        let instant = self.instant();
        let began = self.clock.now_ms();
        let mut run = Running::start(&self.stage);
        if run.ends_within(instant) {
            // After a slow run the next instants would lie behind the end of most.
            self.usual_ms = (self.clock.now_ms() - began).max(self.usual_ms / 2);
            self.replied(run.end(), true, false);
            return false;
        }
        match fault {
            Fault::Function => match run.kill() {
                Some(report) => self.replied(report, false, false),
                None => self.moment(),
            },
            Fault::Broker => {
                self.parts.kill_broker();
                self.parts.start_broker();
                let report = run.end();
                self.is_gone = !self.opens_again();
                if !self.is_gone {
                    self.replied(report, false, true);
                }
            }
            Fault::Store => {
                self.parts.kill_store();
                let down = Duration::from_millis(self.plan.dice.roll(1_000));
                run.ends_within(down);
                self.parts.start_store();
                self.replied(run.end(), false, false);
            }
            Fault::Frozen { unloaded } => {
                run.signal("STOP");
                self.moment();
                if unloaded {
                    self.unload();
                }
                let ran = (0..MOST_BUSY).any(|_| !is_busy(&self.peace()));
                assert!(ran, "the broker keeps a frozen consumer");
                run.signal("CONT");
                self.replied(run.end(), false, false);
            }
            Fault::Cut(_) => unreachable!("above"),
        }
        true
    }

    fn unload(&self) {
        let at = self.stage.broker();
        let path = format!("/admin/v2/{}/unload", path_of(&self.stage.topic));
        assert_eq!(administer(&at.http, &at.token, "PUT", &path, ""), 204);
    }

    /// A run through the relays; whether what was to be cut was cut.
    fn relayed(&mut self, cut: Option<(Way, usize)>) -> bool {
        let cuts = &self.parts.cuts;
        let (broker, store) = (format!("pulsar://{}", cuts.broker), format!("http://{}", cuts.store));
        let before = [self.stage.broker().url.clone(), self.parts.store_endpoint()];
        self.stage.text("service_url", &broker).text("endpoint", &store);
        cuts.begin(cut);
        let report = Running::start(&self.stage).end();
        self.stage.text("service_url", &before[0]).text("endpoint", &before[1]);
        let (passed, is_left) = cuts.passed();
        let was_cut = cut.is_some() && !is_left;
        if !was_cut && report["outcome"] == "stored" {
            self.usual_bytes = passed;
        }
        self.replied(report, !was_cut, false);
        was_cut
    }
}

/// Somebody else is at the topic, or at one of its partitions.
fn is_busy(report: &Value) -> bool {
    let partitions = report["partitions"].as_array().into_iter().flatten();
    report["outcome"] == "busy" || partitions.into_iter().any(|one| one["outcome"] == "busy")
}

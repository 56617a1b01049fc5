//! What a run moved, why it stopped, and whether the rule keeps up: the reply and the log line.
//!
//! All times are ms since the epoch or durations in ms, all sizes bytes. The shape is part of the
//! product: members are added, never renamed.

pub mod pace;
pub mod partitions;

use serde::Serialize;

use crate::error::{Error, Kind};
use crate::message::Position;
use crate::span::Edge;

pub use pace::{Load, Pace, pace};
pub use partitions::PartitionReport;

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Outcome {
    /// Of a dry run: objects would be stored.
    Planned,
    /// Objects were stored, or entries that were stored before were acknowledged.
    Stored,
    NothingToDo,
    /// Somebody else holds the subscription, or did meanwhile; no object was written.
    Busy,
    /// A write was not answered in time: it may have happened. The next run finds out.
    Unknown,
    Failed,
    /// Only of a partition: the time for reading was over before its turn came.
    NotRead,
}

/// Why reading stopped. Of several partitions the last in this order speaks for the topic: it is the one to
/// look at first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Stop {
    /// Everything up to the last message id at the start was read.
    Drained,
    /// Entries that are stored already came in between, or chunks that get an object of their own; the next
    /// object continues behind them.
    StoredBefore,
    /// The span that a run announced before it died is complete.
    Pinned,
    MaxMessages,
    MaxBytes,
    /// The rule's interval is over.
    Window,
    /// The platform's deadline is near.
    Deadline,
    /// The broker says there is more and sends nothing.
    Stalled,
    /// No room for temporary files: the object ends at the last entry that fitted.
    DiskFull,
    /// The object holds a part of an entry that is larger than the caps; the next object continues it.
    Spread,
    /// The broker did not confirm the acknowledgement; the entries may come again and are recognised then.
    Unconfirmed,
}

/// One object that this run stored.
#[derive(Clone, Debug, Serialize)]
pub struct StoredObject {
    /// Only where the topic is partitioned.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub partition: Option<i32>,
    pub key: String,
    pub messages: u64,
    /// Of the written file.
    pub bytes: u64,
    /// Of the records before compression.
    pub bytes_before_compression: u64,
    pub first_id: Edge,
    pub last_id: Edge,
    pub undecodable: u64,
    /// Whether the broker confirmed the acknowledgement of all of it.
    pub acknowledged: bool,
}

/// Ids that the broker did not deliver, both ends included.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct Missing {
    /// Only where the topic is partitioned.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub partition: Option<i32>,
    pub first: Position,
    pub last: Position,
    /// How many; absent where the range goes over the end of a ledger, since where that was is not known.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub entries: Option<u64>,
    pub because: Because,
}

/// A move of the cursor that this run made because an event asked for it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Moved {
    pub asked: String,
    /// The mark-delete position before and after, where the broker says.
    pub from: Option<Position>,
    pub to: Option<Position>,
}

/// Ids that a move went past, both ends included: those of them that were not stored before are not in the
/// bucket, and will not be.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct PassedOver {
    pub from: Position,
    pub to: Position,
}

/// What is known of the reason.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Because {
    /// The cursor was moved over them between two runs: they expired (TTL), were evicted or skipped, or
    /// another consumer acknowledged them.
    CursorMoved,
    /// The broker passed over them while it delivered: its own markers, aborted transactions, entries that
    /// were acknowledged one by one, filtered or unreadable; or they expired during the run. It does not say which.
    NotDelivered,
}

#[derive(Clone, Copy, Debug, Default, Serialize)]
pub struct Phases {
    pub connect_ms: u64,
    pub read_ms: u64,
    pub store_ms: u64,
    pub acknowledge_ms: u64,
    pub total_ms: u64,
}

impl Phases {
    fn add(&mut self, more: &Phases) {
        self.connect_ms += more.connect_ms;
        self.read_ms += more.read_ms;
        self.store_ms += more.store_ms;
        self.acknowledge_ms += more.acknowledge_ms;
    }
}

#[derive(Clone, Debug, Serialize)]
pub struct Failure {
    pub kind: &'static str,
    /// What went wrong and what to do, with its reasons.
    pub message: String,
}

/// What the objects that a reply lists may take of it, in bytes: it is one line of a log as well, which clouds cut off
/// at 256 KB.
const LISTED: usize = 160 << 10;
/// What one takes beside its key, at most.
const BESIDE_KEY: usize = 400;

/// The reply of a run.
#[derive(Clone, Debug, Serialize)]
pub struct Report {
    pub rule: String,
    pub topic: String,
    pub subscription: String,
    pub outcome: Outcome,
    /// Nothing was changed: objects, messages and moves are what the next run would write and make. Only a dry run
    /// says it.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub dry_run: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub stop: Option<Stop>,
    /// What each partition came to; only where the topic is partitioned.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub partitions: Vec<PartitionReport>,
    /// As many of them, up to the last one, as a line of a log holds.
    pub objects: Vec<StoredObject>,
    /// Objects beyond those listed in `objects`; they count in all that follows.
    #[serde(skip_serializing_if = "is_zero")]
    pub more_objects: u64,
    pub messages: u64,
    pub bytes: u64,
    /// Entries that came again and that an object held already: not written. Acknowledged, but for those behind
    /// `open_chunks`.
    pub skipped_entries: u64,
    /// Entries held back: chunks of messages whose last chunk did not come yet. They come again, and so does
    /// everything behind the first of them, stored or not.
    #[serde(skip_serializing_if = "is_zero")]
    pub open_chunks: u64,
    /// Entries left, as the broker counts them.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub backlog_entries: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub moved: Option<Moved>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub passed_over: Option<PassedOver>,
    /// Everything the broker had accepted before this instant, and that the subscription still owed, is in
    /// the bucket. Absent from a run that passed something over, and while chunks are held back.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub complete_through: Option<u64>,
    /// How old that instant was when the run ended: what an alarm compares with the interval.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub complete_through_age_ms: Option<u64>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub missing: Vec<Missing>,
    /// Ranges beyond those listed in `missing`.
    #[serde(skip_serializing_if = "is_zero")]
    pub more_missing: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub pace: Option<Pace>,
    pub phases: Phases,
    /// The largest this process has been, in bytes of memory, as the kernel counts it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub peak_memory_bytes: Option<u64>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub warnings: Vec<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub error: Option<Failure>,
    /// The store refused the keys that this process was started with: only a new one can get others.
    #[serde(skip)]
    pub ends_instance: bool,
    pub version: &'static str,
}

impl Report {
    pub fn new(rule: &str, topic: String, subscription: &str, warnings: Vec<String>) -> Self {
        Report {
            rule: rule.to_owned(),
            topic,
            subscription: subscription.to_owned(),
            outcome: Outcome::NothingToDo,
            dry_run: false,
            stop: None,
            partitions: Vec::new(),
            objects: Vec::new(),
            more_objects: 0,
            messages: 0,
            bytes: 0,
            skipped_entries: 0,
            open_chunks: 0,
            backlog_entries: None,
            moved: None,
            passed_over: None,
            complete_through: None,
            complete_through_age_ms: None,
            missing: Vec::new(),
            more_missing: 0,
            pace: None,
            phases: Phases::default(),
            peak_memory_bytes: None,
            warnings,
            error: None,
            ends_instance: false,
            version: env!("CARGO_PKG_VERSION"),
        }
    }

    /// Adds an object that the store has confirmed.
    pub fn stored(&mut self, object: StoredObject) {
        self.outcome = Outcome::Stored;
        self.messages += object.messages;
        self.bytes += object.bytes;
        self.objects.push(object);
    }

    /// Takes back what only a run that wrote can say.
    pub fn only_planned(&mut self) {
        if self.outcome == Outcome::Stored {
            self.outcome = Outcome::Planned;
        }
        self.complete_through = None;
        for object in &mut self.objects {
            object.acknowledged = false;
        }
    }

    /// Ends the report with an error. What was stored before it stays in the report; a run that somebody
    /// else interrupted after that has stored, and says so.
    pub fn failed(&mut self, error: &Error) {
        self.ends_instance |= error.ends_instance();
        if error.kind() == Kind::Busy && self.outcome == Outcome::Stored {
            self.warnings.push(error.chain());
            return;
        }
        self.outcome = match error.kind() {
            Kind::Busy => Outcome::Busy,
            Kind::Unknown => Outcome::Unknown,
            Kind::Invalid
            | Kind::Denied
            | Kind::NotFound
            | Kind::Unavailable
            | Kind::Conflict
            | Kind::Corrupt
            | Kind::Internal => Outcome::Failed,
        };
        self.error = Some(Failure { kind: error.kind().name(), message: error.chain() });
    }

    /// Fills in what the kernel and the clock know at the end.
    pub fn finish(&mut self, total_ms: u64) {
        self.phases.total_ms = total_ms;
        self.peak_memory_bytes = peak_memory();
    }

    /// Lists no more than a line of a log holds.
    pub fn shorten(&mut self) {
        let mut listed = 0;
        let mut fits = |object: &StoredObject| {
            listed += object.key.len() + BESIDE_KEY;
            listed <= LISTED
        };
        let listed = self.objects.iter().rev().take_while(|object| fits(object)).count();
        self.more_objects += self.objects.drain(..self.objects.len() - listed).len() as u64;
    }
}

fn is_zero(count: &u64) -> bool {
    *count == 0
}

/// `VmHWM` of this process; `None` where there is no such file.
fn peak_memory() -> Option<u64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"))?;
    let kib: u64 = line.trim().trim_end_matches("kB").trim().parse().ok()?;
    Some(kib * 1024)
}

//! What a run moved, why it stopped, and whether the rule keeps up: the reply and the log line.
//!
//! All times are ms since the epoch or durations in ms, all sizes bytes. The shape is part of the
//! product: members are added, never renamed.

use serde::Serialize;

use crate::batch::Contents;
use crate::error::{Error, Kind};
use crate::message::Position;
use crate::span::Edge;

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Outcome {
    /// Objects were stored, or entries that were stored before were acknowledged.
    Stored,
    NothingToDo,
    /// Somebody else holds the subscription, or did meanwhile; nothing was written or acknowledged.
    Busy,
    /// A write was not answered in time: it may have happened. The next run finds out.
    Unknown,
    Failed,
}

/// Why reading stopped.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Stop {
    /// Everything up to the last message id at the start was read.
    Drained,
    MaxMessages,
    MaxBytes,
    /// The rule's interval is over.
    Window,
    /// The platform's deadline is near.
    Deadline,
    /// The broker says there is more and sends nothing.
    Stalled,
    /// Entries that are stored already came in between; the next object continues behind them.
    StoredBefore,
    /// The span that a run announced before it died is complete.
    Pinned,
    /// No room for temporary files: the object ends at the last entry that fitted.
    DiskFull,
    /// The broker did not confirm the acknowledgement; the entries may come again and are recognised then.
    Unconfirmed,
}

/// One object that this run stored.
#[derive(Clone, Debug, Serialize)]
pub struct StoredObject {
    pub key: String,
    pub messages: u64,
    /// Of the written file.
    pub bytes: u64,
    /// Of the records before compression.
    pub bytes_before_compression: u64,
    pub first_id: Edge,
    pub last_id: Edge,
    pub undecodable: u64,
    /// Whether the broker confirmed the acknowledgement.
    pub acknowledged: bool,
}

/// Ids that the broker did not deliver, both ends included.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct Missing {
    pub first: Position,
    pub last: Position,
}

/// How the arrival rate compares with what the rule may take.
#[derive(Clone, Debug, Serialize)]
pub struct Pace {
    /// Messages per second, from the publish times of what was read.
    pub arrival_per_second: f64,
    /// Messages per second that the caps allow.
    pub capacity_per_second: f64,
    pub keeps_up: bool,
    /// When history will be caught up at this pace, where there is history and it will be.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub caught_up_at: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub advice: Option<String>,
}

#[derive(Clone, Copy, Debug, Default, Serialize)]
pub struct Phases {
    pub connect_ms: u64,
    pub read_ms: u64,
    pub store_ms: u64,
    pub acknowledge_ms: u64,
    pub total_ms: u64,
}

#[derive(Clone, Debug, Serialize)]
pub struct Failure {
    pub kind: &'static str,
    /// What went wrong and what to do, with its reasons.
    pub message: String,
}

/// The reply of a run.
#[derive(Clone, Debug, Serialize)]
pub struct Report {
    pub rule: String,
    pub topic: String,
    pub subscription: String,
    pub outcome: Outcome,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub stop: Option<Stop>,
    pub objects: Vec<StoredObject>,
    pub messages: u64,
    pub bytes: u64,
    /// Entries that came again and that an object held already: acknowledged, not written.
    pub skipped_entries: u64,
    /// Entries left, as the broker counts them.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub backlog_entries: Option<u64>,
    /// Everything the broker had accepted before this instant is in the bucket.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub complete_through: Option<u64>,
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
    pub version: &'static str,
}

impl Report {
    pub fn new(rule: &str, topic: String, subscription: &str, warnings: Vec<String>) -> Self {
        Report {
            rule: rule.to_owned(),
            topic,
            subscription: subscription.to_owned(),
            outcome: Outcome::NothingToDo,
            stop: None,
            objects: Vec::new(),
            messages: 0,
            bytes: 0,
            skipped_entries: 0,
            backlog_entries: None,
            complete_through: None,
            missing: Vec::new(),
            more_missing: 0,
            pace: None,
            phases: Phases::default(),
            peak_memory_bytes: None,
            warnings,
            error: None,
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

    /// Ends the report with an error. What was stored before it stays in the report; a run that somebody
    /// else interrupted after that has stored, and says so.
    pub fn failed(&mut self, error: &Error) {
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
}

/// The arithmetic of keeping up. `capacity` is messages per interval.
///
/// What was drained keeps up by definition: its rate is spread over at least the interval. What was cut
/// by a cap arrived at the rate of its own publish times.
pub fn pace(read: &Contents, drained: bool, capacity: u64, interval_ms: u64, now_ms: u64) -> Option<Pace> {
    if read.messages < 2 {
        return None;
    }
    let spread_ms = read.latest_publish_time.saturating_sub(read.earliest_publish_time);
    let over_ms = if drained { spread_ms.max(interval_ms) } else { spread_ms.max(1000) };
    let arrival = read.messages as f64 * 1000.0 / over_ms as f64;
    let allowed = capacity as f64 * 1000.0 / interval_ms as f64;
    let keeps_up = drained || arrival <= allowed;
    let behind_ms = now_ms.saturating_sub(read.latest_publish_time) as f64;
    let caught_up_at = (!drained && arrival < allowed)
        .then(|| now_ms.saturating_add((behind_ms * arrival / (allowed - arrival)).round() as u64));
    let times = (arrival / allowed).ceil().max(2.0);
    let advice = (!keeps_up).then(|| {
        format!(
            "messages arrive faster than the caps allow: set max_objects to at least {times} times what it is, or shorten interval"
        )
    });
    Some(Pace {
        arrival_per_second: round(arrival),
        capacity_per_second: round(allowed),
        keeps_up,
        caught_up_at,
        advice,
    })
}

fn is_zero(count: &u64) -> bool {
    *count == 0
}

fn round(rate: f64) -> f64 {
    (rate * 1000.0).round() / 1000.0
}

/// `VmHWM` of this process; `None` where there is no such file.
fn peak_memory() -> Option<u64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"))?;
    let kib: u64 = line.trim().trim_end_matches("kB").trim().parse().ok()?;
    Some(kib * 1024)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(messages: u64, from_ms: u64, to_ms: u64) -> Contents {
        Contents { messages, earliest_publish_time: from_ms, latest_publish_time: to_ms, ..Contents::default() }
    }

    #[test]
    fn a_drained_topic_keeps_up_whatever_burst_it_came_in() {
        let pace = pace(&read(4000, 1_000_000, 1_000_200), true, 5000, 300_000, 1_100_000).unwrap();
        assert!(pace.keeps_up && pace.advice.is_none() && pace.caught_up_at.is_none());
        assert_eq!(pace.arrival_per_second, 13.333);
        assert_eq!(pace.capacity_per_second, 16.667);
    }

    #[test]
    fn a_topic_of_a_hundred_a_second_is_told_to_raise_max_objects_sixfold() {
        let pace = pace(&read(5000, 1_000_000, 1_050_000), false, 5000, 300_000, 1_100_000).unwrap();
        assert!(!pace.keeps_up);
        assert_eq!(pace.arrival_per_second, 100.0);
        assert!(pace.advice.unwrap().contains("at least 6 times"));
    }

    #[test]
    fn history_is_given_a_finish_time() {
        // 10 a second arrive, 16.667 may be taken; an hour behind: 3600 s × 10 / 6.667 = 5400 s.
        let pace = pace(&read(5000, 0, 500_000), false, 5000, 300_000, 4_100_000).unwrap();
        assert!(pace.keeps_up);
        assert_eq!(pace.caught_up_at, Some(4_100_000 + 5_400_000));
    }
}

//! Many partitions in one report.
//!
//! Counts and sizes are sums, times too (partitions are read a few at a time, so they can exceed
//! `total_ms`). What must hold for the topic must hold for every partition: `complete_through` is the
//! earliest of all, `backlog_entries` the sum, and either is absent where one partition lacks it; `drained` is not said
//! where one was not read.

use serde::Serialize;

use super::pace::{Pace, round};
use super::{Failure, Moved, Outcome, PassedOver, Report, Stop};
use crate::error::Kind;

/// Ranges of missing ids that the report of a topic lists.
const MOST_MISSING: usize = 100;

/// What one partition came to.
#[derive(Clone, Debug, Serialize)]
pub struct PartitionReport {
    pub partition: i32,
    pub outcome: Outcome,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub stop: Option<Stop>,
    pub messages: u64,
    pub objects: usize,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub backlog_entries: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub complete_through: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub moved: Option<Moved>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub passed_over: Option<PassedOver>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub error: Option<Failure>,
}

/// A partition's turn in a run.
#[derive(Debug)]
pub enum Turn {
    Taken(Box<Report>),
    /// The time for reading was over before it came, for this reason.
    Missed(Stop),
}

impl Report {
    /// Nothing belongs to this function's shard.
    pub fn not_in_shard(&mut self, asked_at: u64) {
        self.warnings.push("shard: no partition of this topic belongs to this part: nothing to do".into());
        (self.stop, self.backlog_entries, self.complete_through) = (Some(Stop::Drained), Some(0), Some(asked_at));
    }

    /// Takes in what each partition came to, in order of their numbers.
    pub fn gather(&mut self, turns: Vec<(i32, Turn)>) {
        let mut paces = Vec::new();
        let mut errors = Vec::new();
        for (partition, turn) in turns {
            let one = match turn {
                Turn::Taken(one) => *one,
                Turn::Missed(stop) => {
                    self.partitions.push(PartitionReport::missed(partition, stop));
                    continue;
                }
            };
            self.partitions.push(PartitionReport::of(partition, &one));
            self.messages += one.messages;
            self.bytes += one.bytes;
            self.skipped_entries += one.skipped_entries;
            self.open_chunks += one.open_chunks;
            self.ends_instance |= one.ends_instance;
            self.phases.add(&one.phases);
            for mut object in one.objects {
                object.partition = Some(partition);
                self.objects.push(object);
            }
            self.more_missing += one.more_missing;
            for mut missing in one.missing {
                missing.partition = Some(partition);
                match self.missing.len() < MOST_MISSING {
                    true => self.missing.push(missing),
                    false => self.more_missing += 1,
                }
            }
            self.warnings.extend(one.warnings.into_iter().map(|text| format!("partition {partition}: {text}")));
            errors.extend(one.error.map(|error| (partition, one.outcome, error)));
            paces.extend(one.pace.map(|pace| (partition, pace)));
        }
        let all = &self.partitions;
        self.outcome = all.iter().map(|one| one.outcome).max_by_key(|outcome| weight(*outcome)).unwrap_or(self.outcome);
        let all_read = all.iter().all(|one| one.stop.is_some());
        self.stop = all.iter().filter_map(|one| one.stop).max().filter(|stop| all_read || *stop != Stop::Drained);
        self.backlog_entries = all.iter().map(|one| one.backlog_entries).sum();
        self.complete_through = all
            .iter()
            .map(|one| one.complete_through)
            .collect::<Option<Vec<_>>>()
            .and_then(|all| all.into_iter().min());
        self.pace = pace(paces, all.len());
        self.not_read();
        self.went_wrong(errors);
    }

    /// Partitions without a turn are a warning where the run stored something, else its error.
    fn not_read(&mut self) {
        let missed = self.partitions.iter().filter(|one| one.outcome == Outcome::NotRead);
        let missed: Vec<i32> = missed.map(|one| one.partition).collect();
        if missed.is_empty() {
            return;
        }
        let message = format!(
            "there was no time for {}; another run begins with others: give the function more time, or spread the topic over several with `shard`",
            numbers(&missed)
        );
        match self.outcome {
            Outcome::NotRead => {
                self.outcome = Outcome::Failed;
                self.error = Some(Failure { kind: Kind::Unavailable.name(), message });
            }
            _ => self.warnings.push(message),
        }
    }

    /// The errors that make the run's outcome become its error; the others are warnings.
    fn went_wrong(&mut self, errors: Vec<(i32, Outcome, Failure)>) {
        let (decisive, others): (Vec<_>, Vec<_>) =
            errors.into_iter().partition(|(_, outcome, _)| *outcome == self.outcome);
        for (partition, _, error) in others {
            self.warnings.push(format!("partition {partition}: {}", error.message));
        }
        let Some((first, _, error)) = decisive.first() else { return };
        let which: Vec<i32> = decisive.iter().map(|(partition, ..)| *partition).collect();
        let of_all = match which.len() {
            1 => String::new(),
            _ => format!("{} of {} ended so; ", numbers(&which), self.partitions.len()),
        };
        self.error =
            Some(Failure { kind: error.kind, message: format!("{of_all}partition {first}: {}", error.message) });
    }
}

impl PartitionReport {
    fn of(partition: i32, one: &Report) -> Self {
        PartitionReport {
            partition,
            outcome: one.outcome,
            stop: one.stop,
            messages: one.messages,
            objects: one.objects.len(),
            backlog_entries: one.backlog_entries,
            complete_through: one.complete_through,
            moved: one.moved.clone(),
            passed_over: one.passed_over,
            error: one.error.clone(),
        }
    }

    fn missed(partition: i32, stop: Stop) -> Self {
        PartitionReport {
            partition,
            outcome: Outcome::NotRead,
            stop: Some(stop),
            messages: 0,
            objects: 0,
            backlog_entries: None,
            complete_through: None,
            moved: None,
            passed_over: None,
            error: None,
        }
    }
}

/// Which outcome of a partition speaks for the topic: what needs somebody first, then what was done.
fn weight(outcome: Outcome) -> u8 {
    match outcome {
        Outcome::NothingToDo => 0,
        Outcome::NotRead => 1,
        Outcome::Busy => 2,
        Outcome::Stored | Outcome::Planned => 3,
        Outcome::Unknown => 4,
        Outcome::Failed => 5,
    }
}

/// The caps are each partition's own: the topic keeps up where every partition does, and the one that is
/// furthest behind says what to change.
fn pace(paces: Vec<(i32, Pace)>, partitions: usize) -> Option<Pace> {
    let first = paces.first()?.1.capacity_per_second;
    let arrival: f64 = paces.iter().map(|(_, pace)| pace.arrival_per_second).sum();
    let behind = paces.iter().filter(|(_, pace)| !pace.keeps_up);
    let worst = behind.max_by(|(_, a), (_, b)| a.arrival_per_second.total_cmp(&b.arrival_per_second));
    Some(Pace {
        arrival_per_second: round(arrival),
        capacity_per_second: round(first * partitions as f64),
        keeps_up: worst.is_none(),
        caught_up_at: worst.map_or_else(|| paces.iter().filter_map(|(_, pace)| pace.caught_up_at).max(), |_| None),
        advice: worst.and_then(|(partition, pace)| Some(format!("partition {partition}: {}", pace.advice.as_ref()?))),
    })
}

/// `partition 3`, or `partitions 1, 2, 5`.
fn numbers(partitions: &[i32]) -> String {
    let list = partitions.iter().map(i32::to_string).collect::<Vec<_>>().join(", ");
    format!("partition{} {list}", if partitions.len() == 1 { "" } else { "s" })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::Error;
    use crate::message::Position;
    use crate::report::StoredObject;
    use crate::span::Edge;

    fn whole() -> Report {
        Report::new("orders", "persistent://t/n/x".into(), "backup", Vec::new())
    }

    fn drained(at: u64) -> Report {
        Report { stop: Some(Stop::Drained), backlog_entries: Some(0), complete_through: Some(at), ..whole() }
    }

    fn failed(kind: Kind) -> Report {
        let mut report = whole();
        report.failed(&Error::new(kind, "why"));
        report
    }

    fn gathered(turns: Vec<Turn>) -> Report {
        let mut report = whole();
        report.gather((0..).zip(turns).collect());
        report
    }

    fn taken(report: Report) -> Turn {
        Turn::Taken(Box::new(report))
    }

    #[test]
    fn a_topic_is_complete_up_to_where_each_of_its_partitions_is() {
        let report = gathered(vec![taken(drained(20)), taken(drained(10))]);
        assert_eq!((report.outcome, report.stop), (Outcome::NothingToDo, Some(Stop::Drained)));
        assert_eq!((report.complete_through, report.backlog_entries), (Some(10), Some(0)));
        let report = gathered(vec![taken(drained(20)), taken(whole())]);
        assert_eq!((report.complete_through, report.backlog_entries), (None, None));
    }

    #[test]
    fn what_needs_somebody_speaks_for_the_topic_and_the_rest_is_warned_of() {
        let stored = Report { outcome: Outcome::Stored, ..drained(20) };
        let report = gathered(vec![
            taken(stored.clone()),
            taken(failed(Kind::Busy)),
            taken(failed(Kind::Denied)),
            taken(failed(Kind::Denied)),
        ]);
        assert_eq!(report.outcome, Outcome::Failed);
        let error = report.error.unwrap();
        assert_eq!((error.kind, &*error.message), ("denied", "partitions 2, 3 of 4 ended so; partition 2: why"));
        assert_eq!(report.warnings, ["partition 1: why"]);
        let report = gathered(vec![taken(stored), taken(failed(Kind::Busy))]);
        // What was not read is not drained either.
        assert_eq!((report.outcome, report.stop, report.error.is_none()), (Outcome::Stored, None, true));
        assert_eq!(gathered(vec![taken(drained(1)), taken(failed(Kind::Busy))]).outcome, Outcome::Busy);
    }

    #[test]
    fn a_reply_lists_the_objects_that_a_line_of_a_log_holds_and_counts_the_rest() {
        for length in [40, 850] {
            let edge = Edge { position: Position::new(i64::MAX, i64::MAX), batch: Some(u32::MAX) };
            let object = StoredObject {
                partition: Some(99_999),
                key: "k".repeat(length),
                messages: 1,
                bytes: u64::MAX,
                bytes_before_compression: u64::MAX,
                first_id: edge,
                last_id: edge,
                undecodable: u64::MAX,
                acknowledged: false,
            };
            let mut report = whole();
            (0..2000).for_each(|_| report.stored(StoredObject { bytes: 1, ..object.clone() }));
            report.objects.fill(object);
            report.shorten();
            let size = serde_json::to_string(&report).unwrap().len();
            assert!((64 << 10..192 << 10).contains(&size), "{size}");
            assert_eq!((report.messages, report.objects.len() as u64 + report.more_objects), (2000, 2000));
        }
    }

    #[test]
    fn partitions_without_a_turn_are_named_and_the_topic_is_not_complete() {
        let report = gathered(vec![taken(drained(20)), Turn::Missed(Stop::Deadline), Turn::Missed(Stop::Deadline)]);
        assert_eq!((report.complete_through, report.backlog_entries), (None, None));
        assert_eq!((report.stop, report.partitions[1].outcome), (Some(Stop::Deadline), Outcome::NotRead));
        let error = report.error.unwrap();
        assert_eq!((report.outcome, error.kind), (Outcome::Failed, "unavailable"));
        assert!(error.message.contains("partitions 1, 2;"), "{}", error.message);
        let stored = Report { outcome: Outcome::Stored, ..drained(20) };
        let report = gathered(vec![taken(stored), Turn::Missed(Stop::Deadline)]);
        assert_eq!((report.outcome, report.complete_through), (Outcome::Stored, None));
        assert!(report.warnings[0].contains("partition 1;"), "{:?}", report.warnings);
    }

    #[test]
    fn a_topic_keeps_up_where_every_partition_does() {
        let pace = |arrival: f64, keeps_up: bool| Pace {
            arrival_per_second: arrival,
            capacity_per_second: 10.0,
            keeps_up,
            caught_up_at: keeps_up.then_some(arrival as u64),
            advice: (!keeps_up).then(|| "more".into()),
        };
        let of = |paces: Vec<Pace>| super::pace((0..).zip(paces).collect(), 4).unwrap();
        let good = of(vec![pace(3.0, true), pace(5.0, true)]);
        assert_eq!((good.arrival_per_second, good.capacity_per_second, good.keeps_up), (8.0, 40.0, true));
        assert_eq!(good.caught_up_at, Some(5));
        let bad = of(vec![pace(3.0, true), pace(20.0, false), pace(30.0, false)]);
        assert_eq!((bad.keeps_up, bad.caught_up_at, bad.advice.as_deref()), (false, None, Some("partition 2: more")));
    }
}

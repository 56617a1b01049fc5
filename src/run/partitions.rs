//! Which partitions a run reads, in which order, and all of them inside one memory budget.
//!
//! ```text
//!  metadata ─▶ shard ─▶ rotated ─▶ ┌ partition ─▶ drain ─▶ report ┐ ─▶ one report
//!                                  └───── READERS at a time ──────┘
//! ```
//!
//! Everything happens on one task: dropping the run drops every partition at whatever it was doing. One
//! partition that fails stops no other. Not here: what happens in a partition ([`crate::drain`]).

use std::cell::RefCell;
use std::collections::BTreeMap;

use futures_util::StreamExt;
use futures_util::stream::FuturesUnordered;

use super::Tick;
use crate::budget::READERS;
use crate::clock::Clock;
use crate::drain::{Job, Progress, Siblings};
use crate::error::{Error, Kind, Result};
use crate::report::Report;
use crate::report::partitions::Turn;
use crate::rule::Rule;

/// More than any broker's configuration allows; keys have room for five digits.
const MOST_PARTITIONS: u32 = 99_999;

/// The partitions that a rule reads of a topic that has so many; a topic without any is its own first one.
pub(super) fn own(rule: &Rule, count: u32) -> Result<Vec<i32>> {
    if count > MOST_PARTITIONS {
        let text = format!("the broker says that {} has {count} partitions", rule.topic);
        return Err(Error::new(Kind::Unavailable, text));
    }
    let all = match count {
        0 => vec![rule.topic.partition().unwrap_or(-1)],
        count => (0..count as i32).collect(),
    };
    Ok(all.into_iter().filter(|partition| rule.shard.is_none_or(|shard| shard.reads(*partition))).collect())
}

/// Each tick begins with other partitions, so that those for which there was no time are first in some later one.
fn rotated(mut partitions: Vec<i32>, tick: u64) -> Vec<i32> {
    let by = (u128::from(tick) * READERS as u128 % partitions.len().max(1) as u128) as usize;
    partitions.rotate_left(by);
    partitions
}

impl Tick<'_> {
    /// Reads the given partitions of a topic of `count` into one report. `asked_at` is when they were counted.
    pub(super) async fn partitions(
        &self,
        read: Vec<i32>,
        count: u32,
        asked_at: u64,
        report: &mut Report,
        watch: &mut dyn FnMut(Progress),
    ) {
        let interval = self.rule.interval.as_millis().max(1) as u64;
        let siblings = Siblings::new(count);
        let job = |partition| Job { siblings: Some(siblings.clone()), ..self.job(partition, true) };
        let jobs = rotated(read, self.clock.now_ms() / interval).into_iter().map(job).collect();
        let one = async |job: &Job, watch: &mut dyn FnMut(Progress)| {
            let report = Report::new(&self.rule.name, String::new(), &self.rule.subscription, Vec::new());
            self.one(job, count, report, watch).await
        };
        in_turn(jobs, asked_at, self.clock, one, report, watch).await;
    }
}

/// Does `one` for each partition's job, some at a time, in this order, and gathers their reports. `asked_at` (ms)
/// is when the partitions were counted: nothing is claimed beyond it, since one may have been added then.
pub async fn in_turn(
    jobs: Vec<Job>,
    asked_at: u64,
    clock: &Clock,
    one: impl AsyncFn(&Job, &mut dyn FnMut(Progress)) -> Report,
    report: &mut Report,
    watch: &mut dyn FnMut(Progress),
) {
    let board = RefCell::new(Board { all: jobs.len() as u32, latest: BTreeMap::new(), watch });
    let (board, one, readers) = (&board, &one, READERS.min(jobs.len()));
    let mut waiting = jobs.into_iter();
    let mut running = FuturesUnordered::new();
    let mut turns = Vec::new();
    loop {
        while running.len() < READERS
            && let Some(job) = waiting.next()
        {
            let job = Job { readers, ..job };
            let partition = job.owner.partition;
            let (reading_ends, late) = job.stop_reading_at(0);
            if clock.now() >= reading_ends {
                turns.push((partition, Turn::Missed(late)));
                continue;
            }
            running.push(async move {
                let mut watch = |progress| board.borrow_mut().show(partition, progress);
                (partition, Turn::Taken(Box::new(one(&job, &mut watch).await)))
            });
        }
        match running.next().await {
            Some(turn) => turns.push(turn),
            None => break,
        }
    }
    turns.sort_by_key(|(partition, _)| *partition);
    report.gather(turns);
    report.complete_through = report.complete_through.map(|at| at.min(asked_at));
}

/// How far all partitions are, from what each said last.
struct Board<'w> {
    all: u32,
    latest: BTreeMap<i32, Progress>,
    watch: &'w mut dyn FnMut(Progress),
}

impl Board<'_> {
    fn show(&mut self, partition: i32, progress: Progress) {
        self.latest.insert(partition, progress);
        let sum = |of: fn(&Progress) -> u64| self.latest.values().map(of).sum();
        // What the others have is not known before their turn.
        let everybody = self.latest.len() == self.all as usize;
        let left = self.latest.values().map(|progress| progress.entries_left).sum::<Option<u64>>();
        (self.watch)(Progress {
            partitions: self.all,
            messages: sum(|it| it.messages),
            bytes: sum(|it| it.bytes),
            entries_left: left.filter(|_| everybody),
            storing: progress.storing,
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_shards_of_a_topic_are_all_of_it_once() {
        let example = Rule::from_toml(include_str!("../rule/example.toml")).unwrap();
        let own = |shard: &str, count| own(&Rule { shard: shard.parse().ok(), ..example.clone() }, count).unwrap();
        assert_eq!((own("1/3", 10), own("2/3", 10), own("3/3", 10)), (vec![0, 3, 6, 9], vec![1, 4, 7], vec![2, 5, 8]));
        assert_eq!((own("", 3), own("", 0)), (vec![0, 1, 2], vec![-1]));
        assert_eq!((own("1/8", 0), own("2/8", 0)), (vec![-1], vec![]));
    }

    #[test]
    fn every_partition_is_among_the_first_in_some_tick() {
        for count in 1..40 {
            let firsts = (0..count).flat_map(|tick| {
                let order = rotated((0..count as i32).collect(), 5_900_000 + tick);
                order.into_iter().take(READERS).collect::<Vec<_>>()
            });
            assert_eq!(firsts.collect::<std::collections::BTreeSet<_>>().len(), count as usize);
        }
    }
}

//! Whether a rule keeps up: what arrives against what its caps allow.

use serde::Serialize;

use crate::batch::Contents;

/// How the arrival rate compares with what the rule may take.
#[derive(Clone, Debug, Serialize)]
pub struct Pace {
    /// Messages per second, from what was read and what is left.
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

/// What the pace is reckoned from.
#[derive(Clone, Copy, Debug)]
pub struct Load {
    /// Nothing was left in the topic.
    pub drained: bool,
    /// Entries left, as the broker says.
    pub backlog: u64,
    /// Messages that one object may hold.
    pub max_messages: u64,
    pub max_objects: u32,
    pub interval_ms: u64,
    pub now_ms: u64,
}

/// The arithmetic of keeping up: what was read and what is left, over the time since the first of it was
/// published, at least one interval. What was drained keeps up by definition.
pub fn pace(read: &Contents, load: &Load) -> Option<Pace> {
    if read.messages == 0 {
        return None;
    }
    let left = load.backlog as f64 * read.messages as f64 / read.entries.max(1) as f64;
    let over_ms = load.now_ms.saturating_sub(read.earliest_publish_time).max(load.interval_ms);
    let arrival = (read.messages as f64 + left) * 1000.0 / over_ms as f64;
    let allowed = (load.max_messages * u64::from(load.max_objects)) as f64 * 1000.0 / load.interval_ms as f64;
    let keeps_up = load.drained || arrival <= allowed;
    let catches_up = !load.drained && arrival < allowed;
    let caught_up_at =
        catches_up.then(|| load.now_ms.saturating_add((left * 1000.0 / (allowed - arrival)).round() as u64));
    let objects = (arrival * load.interval_ms as f64 / 1000.0 / load.max_messages as f64).ceil() as u64;
    let advice = (!keeps_up).then(|| {
        format!("messages arrive faster than the caps allow: set max_objects = {objects}, or more to catch up")
    });
    let (arrival_per_second, capacity_per_second) = (round(arrival), round(allowed));
    Some(Pace { arrival_per_second, capacity_per_second, keeps_up, caught_up_at, advice })
}

pub(super) fn round(rate: f64) -> f64 {
    (rate * 1000.0).round() / 1000.0
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(messages: u64, from_ms: u64) -> Contents {
        Contents { messages, entries: messages, earliest_publish_time: from_ms, ..Contents::default() }
    }

    const LOAD: Load = Load {
        drained: false,
        backlog: 0,
        max_messages: 5000,
        max_objects: 1,
        interval_ms: 300_000,
        now_ms: 1_300_000,
    };

    #[test]
    fn a_drained_topic_keeps_up_whatever_burst_it_came_in() {
        let pace = pace(&read(4000, 1_299_000), &Load { drained: true, ..LOAD }).unwrap();
        assert!(pace.keeps_up && pace.advice.is_none() && pace.caught_up_at.is_none());
        assert_eq!((pace.arrival_per_second, pace.capacity_per_second), (13.333, 16.667));
    }

    #[test]
    fn a_topic_of_a_hundred_a_second_is_told_to_write_six_objects() {
        // 30,000 messages in the 300 s since the first of them.
        let pace = pace(&read(5000, 1_000_000), &Load { backlog: 25_000, ..LOAD }).unwrap();
        assert!(!pace.keeps_up);
        assert_eq!(pace.arrival_per_second, 100.0);
        assert!(pace.advice.unwrap().contains("max_objects = 6"));
    }

    #[test]
    fn a_burst_is_spread_over_the_interval() {
        // 12,000 messages in the last second: three objects take them.
        let pace = pace(&read(5000, 1_299_000), &Load { backlog: 7_000, ..LOAD }).unwrap();
        assert_eq!(pace.arrival_per_second, 40.0);
        assert!(pace.advice.unwrap().contains("max_objects = 3"));
    }

    #[test]
    fn history_is_given_a_finish_time() {
        // 41,000 messages in 4,100 s are 10 a second; 16.667 may be taken. 36,000 left at 6.667 a second: 5,400 s.
        let pace = pace(&read(5000, 0), &Load { backlog: 36_000, now_ms: 4_100_000, ..LOAD }).unwrap();
        assert!(pace.keeps_up);
        assert_eq!(pace.caught_up_at, Some(4_100_000 + 5_400_000));
    }
}

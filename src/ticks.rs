//! How long a run may take, from how often runs are started: the same wherever it is asked.

use std::time::Duration;

/// What the platform ends before the next tick, seconds.
const SPARE: u64 = 15;
/// The longest that both platforms let a function run, seconds.
pub const LONGEST: u64 = 900;

/// Of a cron that starts runs each so many minutes of an hour: the gap at the hour's end, in minutes; the interval itself
/// where it divides the hour.
pub fn last_gap(minutes: u64) -> u64 {
    match 60 % minutes {
        0 => minutes,
        rest => rest,
    }
}

/// Seconds that a run may take: the smallest gap between two ticks in minutes, less 15 s, at most 900 s.
pub fn timeout(smallest_gap: u64) -> u64 {
    (smallest_gap * 60 - SPARE).min(LONGEST)
}

/// What a run started by SCF's timer may take: the timeout of a function that is deployed with this interval.
pub fn of_scf(interval: Duration) -> Duration {
    Duration::from_secs(timeout(last_gap((interval.as_secs() / 60).max(1))))
}

//! How long a request may take.
//!
//! Owns: the kinds of limit, what ends a request, and how long to wait before another try. Does not own: what an
//! ended request means, and whether it is tried again, which is [`super::failure`]'s.

use std::future::Future;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::time::Duration;

use tokio::time::{Instant, timeout, timeout_at};

use crate::Clock;

/// Limits on the wire.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// From the name to a finished TLS handshake. Default 5 s.
    pub connect: Duration,
    /// Without a byte taken or answered. Default 30 s; a stall is noticed after one to two of these.
    pub progress: Duration,
    /// How often one request is sent at most, the first time included. Default 7: at the default pause some six
    /// seconds of a store that refuses.
    pub tries: u32,
    /// The longest wait before the second try; it doubles with each further one, up to five seconds.
    /// Default 200 ms.
    pub pause: Duration,
}

/// No wait between two tries is longer, unless the store asks for it.
const LONGEST: Duration = Duration::from_secs(5);

/// A store that asks for more (`Retry-After`) is left to the next run.
const LONGEST_ASKED: Duration = Duration::from_secs(30);

impl Limits {
    /// The wait after `tries` of one request, or as long as the store `asked` for, if that is longer; `None` where
    /// that is too long. Half of it is fixed, the other half differs among those who wait. `salt` tells them
    /// apart; the same time and salt give the same wait.
    pub(super) fn pause(&self, tries: u32, asked: Option<Duration>, clock: Clock, salt: &str) -> Option<Duration> {
        if asked.is_some_and(|asked| asked > LONGEST_ASKED) {
            return None;
        }
        let whole = self.pause.saturating_mul(1 << tries.saturating_sub(1).min(16)).min(LONGEST);
        let mut hasher = DefaultHasher::new();
        (salt, tries, clock.now_ms()).hash(&mut hasher);
        let share = (hasher.finish() >> 32) as f64 / f64::from(u32::MAX);
        let own = whole / 2 + (whole / 2).mul_f64(share);
        Some(own.max(asked.unwrap_or_default()))
    }
}

impl Default for Limits {
    fn default() -> Self {
        Limits {
            connect: Duration::from_secs(5),
            progress: Duration::from_secs(30),
            tries: 7,
            pause: Duration::from_millis(200),
        }
    }
}

/// Why waiting ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Cut {
    Deadline,
    Stalled,
}

/// The limits of one request.
#[derive(Clone, Copy, Debug)]
pub(super) struct Allowance {
    pub clock: Clock,
    pub progress: Duration,
    pub deadline: Option<Instant>,
}

impl Allowance {
    /// Whether there is no time left to begin anything.
    pub fn spent(&self) -> bool {
        self.deadline.is_some_and(|at| at <= self.clock.now())
    }

    /// Waits for `work` as long as the deadline is ahead and `pace` moves.
    pub async fn wait<T>(&self, pace: &Pace, work: impl Future<Output = T>) -> Result<T, Cut> {
        let paced = async {
            let mut work = std::pin::pin!(work);
            loop {
                let before = pace.count();
                match timeout(self.progress, work.as_mut()).await {
                    Ok(done) => return Ok(done),
                    Err(_) if pace.count() == before => return Err(Cut::Stalled),
                    Err(_) => {}
                }
            }
        };
        match self.deadline {
            Some(at) => timeout_at(at, paced).await.unwrap_or(Err(Cut::Deadline)),
            None => paced.await,
        }
    }
}

/// Counts the chunks of a request's body that the connection took, and notes that there are no more because
/// they could not be read.
#[derive(Clone, Debug, Default)]
pub(super) struct Pace(Arc<(AtomicU64, AtomicBool)>);

impl Pace {
    pub fn step(&self) {
        self.0.0.fetch_add(1, Relaxed);
    }

    pub fn count(&self) -> u64 {
        self.0.0.load(Relaxed)
    }

    pub fn fail(&self) {
        self.0.1.store(true, Relaxed);
    }

    pub fn failed(&self) -> bool {
        self.0.1.load(Relaxed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn waits_double_up_to_a_limit_and_differ_by_who_waits() {
        let (limits, clock) = (Limits::default(), Clock::starting_at(1));
        for tries in 1..40 {
            let whole = limits.pause.saturating_mul(1 << (tries - 1).min(16)).min(LONGEST);
            let wait = limits.pause(tries, None, clock, "a").unwrap();
            assert!(whole / 2 <= wait && wait <= whole, "{tries} {wait:?}");
        }
        assert_ne!(limits.pause(3, None, clock, "a"), limits.pause(3, None, clock, "b"));
    }

    #[tokio::test]
    async fn a_store_that_says_how_long_is_obeyed_or_left_to_the_next_run() {
        let wait = |seconds| Limits::default().pause(1, Some(Duration::from_secs(seconds)), Clock::starting_at(1), "a");
        assert!(wait(0).unwrap() <= Limits::default().pause);
        assert_eq!(wait(7), Some(Duration::from_secs(7)));
        assert_eq!(wait(31), None);
    }
}

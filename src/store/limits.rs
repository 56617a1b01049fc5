//! How long a request may take.
//!
//! Owns: the two kinds of limit and what ends a request. Does not own: what an ended request means,
//! which is [`super::failure`]'s.

use std::future::Future;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
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
}

impl Default for Limits {
    fn default() -> Self {
        Limits { connect: Duration::from_secs(5), progress: Duration::from_secs(30) }
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

/// Counts the chunks of a request's body that the connection took.
#[derive(Clone, Debug, Default)]
pub(super) struct Pace(Arc<AtomicU64>);

impl Pace {
    pub fn step(&self) {
        self.0.fetch_add(1, Relaxed);
    }

    pub fn count(&self) -> u64 {
        self.0.load(Relaxed)
    }
}

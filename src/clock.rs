//! The only file that reads the time.
//!
//! A run has one clock. It follows the runtime's monotonic clock, so a test that pauses and advances
//! that one moves both, and a step of the machine's wall clock during a run changes nothing.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use tokio::time::Instant;

/// Wall-clock time in ms since the epoch, and the monotonic time it was read at.
#[derive(Clone, Copy, Debug)]
pub struct Clock {
    base_ms: u64,
    at: Instant,
}

impl Clock {
    /// The machine's clock, read now.
    #[expect(clippy::disallowed_methods, reason = "the one place")]
    pub fn system() -> Self {
        let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        Clock::starting_at(since.as_millis() as u64)
    }

    /// A clock that shows `ms` now. Must be called inside a tokio runtime.
    #[expect(clippy::disallowed_methods, reason = "the one place")]
    pub fn starting_at(ms: u64) -> Self {
        Clock { base_ms: ms, at: Instant::now() }
    }

    /// Milliseconds since the epoch.
    pub fn now_ms(&self) -> u64 {
        self.base_ms + self.at.elapsed().as_millis() as u64
    }

    /// The monotonic instant now.
    #[expect(clippy::disallowed_methods, reason = "the one place")]
    pub fn now(&self) -> Instant {
        Instant::now()
    }

    /// The monotonic instant at which the wall clock will show `ms`; now, if that has passed.
    pub fn instant_of(&self, ms: u64) -> Instant {
        self.now() + Duration::from_millis(ms.saturating_sub(self.now_ms()))
    }
}

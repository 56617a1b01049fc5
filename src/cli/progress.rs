//! How far a run is, for somebody at a terminal; nothing in a pipe.

use std::io::{IsTerminal, Write, stderr};
use std::time::Duration;

use tdmq_backup::Clock;
use tdmq_backup::drain::Progress;
use tokio::time::Instant;

use super::summary::size;

const EVERY: Duration = Duration::from_millis(200);

/// One line on standard error, redrawn.
pub struct Meter {
    clock: Clock,
    on: bool,
    started: Instant,
    shown: Option<Instant>,
    most_messages: u64,
    most_bytes: u64,
}

impl Meter {
    /// The caps of one object and how many objects a partition may have: reading ends there at the latest.
    pub fn new(clock: Clock, messages: u64, bytes: u64, objects: u32) -> Self {
        let started = clock.now();
        Meter {
            clock,
            on: stderr().is_terminal(),
            started,
            shown: None,
            most_messages: messages * u64::from(objects),
            most_bytes: bytes * u64::from(objects),
        }
    }

    pub fn show(&mut self, progress: Progress) {
        let now = self.clock.now();
        let due = self.shown.is_none_or(|shown| now - shown >= EVERY) || progress.storing.is_some();
        if !self.on || !due {
            return;
        }
        self.shown = Some(now);
        if let Some(length) = progress.storing {
            let _ = write!(stderr(), "\r\x1b[K{} messages, storing {}", progress.messages, size(length));
            let _ = stderr().flush();
            return;
        }
        let seconds = (now - self.started).as_secs_f64().max(0.001);
        let rate = size((progress.bytes as f64 / seconds) as u64);
        let left = self.seconds_left(&progress, seconds).map(|s| format!(", about {s:.0} s left")).unwrap_or_default();
        let _ = write!(stderr(), "\r\x1b[K{} messages, {}, {rate}/s{left}", progress.messages, size(progress.bytes));
        let _ = stderr().flush();
    }

    /// Until a cap or the last entry, whichever comes first.
    fn seconds_left(&self, progress: &Progress, seconds: f64) -> Option<f64> {
        let left = |of: u64, done: u64| of.saturating_sub(done) as f64 * seconds / done as f64;
        if progress.messages == 0 || progress.bytes == 0 {
            return None;
        }
        let partitions = u64::from(progress.partitions);
        let messages = left(self.most_messages.saturating_mul(partitions), progress.messages);
        let caps = messages.min(left(self.most_bytes.saturating_mul(partitions), progress.bytes));
        // An entry holds at least one message: this is the longest it can be.
        let entries = progress.entries_left.map_or(f64::MAX, |left| left as f64 * seconds / progress.messages as f64);
        Some(caps.min(entries))
    }

    pub fn clear(&mut self) {
        if self.shown.is_some() {
            let _ = write!(stderr(), "\r\x1b[K");
            let _ = stderr().flush();
        }
    }
}

//! How many messages the broker may send, reckoned in bytes.
//!
//! The protocol's permits count messages, the broker sends whole entries while permits are above zero,
//! and what was granted cannot be taken back. So a permit is taken to cost twice the largest entry seen so
//! far, and until some were seen, the largest that the broker allows.
//!
//! Sizes may grow all the same after permits were granted. What then comes past the budget is dropped by the
//! consumer, and all of it comes again. That what was granted fills half of the budget keeps this rare: to
//! overrun it, entries must be more than twice as large as any before, which can happen a dozen times between
//! 100 bytes and 5 MB, and never again for sizes that were seen once.

/// Entries to see before their sizes are believed.
const ENTRIES_TO_TRUST: u32 = 4;
/// Enough to keep a broker 1 ms away busy with unbatched messages; no more, since all of it is wasted when
/// large entries come after tiny ones.
const MOST_PERMITS: i64 = 256;

#[derive(Debug)]
pub(crate) struct Permits {
    budget: usize,
    /// Messages granted and not yet received; below zero when a batch brought more than was granted.
    outstanding: i64,
    largest_allowed: usize,
    largest_seen: usize,
    seen: u32,
}

impl Permits {
    /// `budget` and `largest_allowed` are bytes.
    pub fn new(budget: usize, largest_allowed: usize) -> Self {
        Permits { budget, outstanding: 0, largest_allowed, largest_seen: 1, seen: 0 }
    }

    /// An entry of `messages` and `bytes` arrived.
    pub fn used(&mut self, messages: i32, bytes: usize) {
        self.outstanding -= i64::from(messages.max(1));
        self.largest_seen = self.largest_seen.max(bytes);
        self.seen = self.seen.saturating_add(1);
    }

    /// What to grant now, with `queued` bytes waiting. Granted means outstanding. To be called until there is
    /// nothing to grant: one FLOW takes no more than the broker's signed number holds.
    pub fn grant(&mut self, queued: usize) -> Option<u32> {
        let cost = if self.seen < ENTRIES_TO_TRUST { self.largest_allowed } else { self.largest_seen * 2 };
        let room = self.budget.saturating_sub(queued) / cost.max(1);
        let target = (room as i64).clamp(1, MOST_PERMITS);
        if self.outstanding > target / 2 {
            return None;
        }
        let more = (target - self.outstanding).min(i64::from(i32::MAX));
        self.outstanding += more;
        Some(more as u32)
    }

    /// A new consumer starts with no permits.
    pub fn restart(&mut self) {
        self.outstanding = 0;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn before_sizes_are_known_a_permit_costs_the_largest_entry() {
        assert_eq!(Permits::new(8 << 20, 5 << 20).grant(0), Some(1));
        assert_eq!(Permits::new(16 << 20, 5 << 20).grant(0), Some(3));
    }

    #[test]
    fn small_entries_are_granted_by_the_thousand_and_large_ones_one_by_one() {
        let mut permits = Permits::new(8 << 20, 5 << 20);
        for _ in 0..4 {
            permits.grant(0);
            permits.used(1, 100);
        }
        assert_eq!(permits.grant(0), Some(256));
        permits.used(1, 5 << 20);
        for _ in 0..255 {
            permits.used(1, 100);
        }
        assert_eq!(permits.grant(0), Some(1));
    }

    #[test]
    fn a_batch_that_overshoots_is_paid_back() {
        let mut permits = Permits::new(8 << 20, 5 << 20);
        assert_eq!(permits.grant(0), Some(1));
        permits.used(1000, 100_000);
        assert_eq!(permits.grant(0), Some(1000));
    }

    #[test]
    fn half_of_what_was_granted_must_be_used_before_more_is() {
        let mut permits = Permits::new(8 << 20, 5 << 20);
        (0..4).for_each(|_| permits.used(1, 40 << 10));
        permits.outstanding = 0;
        assert_eq!(permits.grant(0), Some(102));
        (0..50).for_each(|_| permits.used(1, 40 << 10));
        assert_eq!(permits.grant(0), None);
        permits.used(1, 40 << 10);
        assert_eq!(permits.grant(0), Some(51));
    }
}

//! A topic's ledgers and entries, and the arithmetic of positions on them.
//!
//! Follows `ManagedLedgerImpl`: a position that does not exist becomes the next one that does, or the
//! end; the position before a ledger's first entry is the last one of the ledger before it.

use std::collections::BTreeMap;
use std::ops::Bound::{Excluded, Unbounded};

use super::frame::Stored;
use crate::Position;

pub(super) struct Log {
    /// Entries written to each ledger that still exists.
    ledgers: BTreeMap<i64, i64>,
    entries: BTreeMap<Position, Stored>,
    current: i64,
    /// The last entry ever written; entry -1 when there never was one. Trimming does not move it.
    last: Position,
}

impl Log {
    pub fn starting_at(ledger: i64) -> Self {
        Log {
            ledgers: BTreeMap::from([(ledger, 0)]),
            entries: BTreeMap::new(),
            current: ledger,
            last: Position::new(ledger, -1),
        }
    }

    pub fn append(&mut self, stored: Stored) -> Position {
        let count = self.ledgers.entry(self.current).or_insert(0);
        let position = Position::new(self.current, *count);
        *count += 1;
        self.entries.insert(position, stored);
        self.last = position;
        position
    }

    /// Entries before it that were left out count as written, and are not there. A ledger that got none
    /// is forgotten. Panics if the position is not behind the last one.
    pub fn append_at(&mut self, position: Position, stored: Stored) {
        assert!(self.entries.is_empty() || position > self.last, "{position} comes after {}", self.last);
        self.ledgers.retain(|_, count| *count > 0);
        self.ledgers.insert(position.ledger, position.entry + 1);
        self.current = position.ledger;
        self.entries.insert(position, stored);
        self.last = position;
    }

    /// Closes the current ledger; the next entry is the first of `ledger`.
    pub fn roll(&mut self, ledger: i64) {
        self.current = ledger;
        self.ledgers.insert(ledger, 0);
    }

    /// Removes every closed ledger whose last entry is at or before `upto`.
    pub fn trim(&mut self, upto: Position) {
        let current = self.current;
        self.ledgers.retain(|&ledger, &mut count| ledger == current || Position::new(ledger, count - 1) > upto);
        let kept = &self.ledgers;
        self.entries.retain(|position, _| kept.contains_key(&position.ledger));
    }

    pub fn last(&self) -> Position {
        self.last
    }

    /// What the broker answers as last message id: none for an empty topic, and none where trimming
    /// has removed the ledger of the last entry.
    pub fn last_message(&self) -> Option<(Position, &Stored)> {
        self.entries.get_key_value(&self.last).map(|(position, stored)| (*position, stored))
    }

    pub fn first_ledger(&self) -> i64 {
        self.ledgers.keys().next().copied().unwrap_or(self.current)
    }

    pub fn after(&self, position: Position) -> impl Iterator<Item = (Position, &Stored)> {
        self.entries.range((Excluded(position), Unbounded)).map(|(position, stored)| (*position, stored))
    }

    pub fn all(&self) -> impl Iterator<Item = (Position, &Stored)> {
        self.entries.iter().map(|(position, stored)| (*position, stored))
    }

    /// The mark-delete position that makes `target` the next entry to be delivered.
    pub fn before(&self, target: Position) -> Position {
        let Some((&next, _)) = self.entries.range(target..).next() else { return self.last };
        if next.entry > 0 {
            return Position::new(next.ledger, next.entry - 1);
        }
        let filled = self.ledgers.range(..next.ledger).rev().find(|(_, count)| **count > 0);
        filled.map_or(Position::new(self.first_ledger(), -1), |(&ledger, &count)| Position::new(ledger, count - 1))
    }

    /// The mark-delete position behind which the first entry published at or after `time` comes.
    ///
    /// Found by bisection, as the broker does: with clocks that disagree it is one such entry, not
    /// necessarily the first.
    pub fn before_time(&self, time: u64) -> Position {
        let entries: Vec<_> = self.all().collect();
        let earlier = entries.partition_point(|(_, stored)| stored.composed.timestamp() < time);
        match earlier.checked_sub(1) {
            Some(index) => entries[index].0,
            None => Position::new(self.first_ledger(), -1),
        }
    }
}

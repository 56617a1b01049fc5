//! One subscription: how far it has acknowledged, and the consumer attached to it.

use std::collections::BTreeSet;

use super::log::Log;
use crate::Position;

pub(super) struct Cursor {
    pub mark_delete: Position,
    /// Acknowledged one by one, beyond the mark-delete position.
    pub acknowledged: BTreeSet<Position>,
    pub fenced: bool,
    /// False for a reader's: it goes with its consumer, unless a seek takes that off.
    pub durable: bool,
    pub consumer: Option<Attached>,
}

pub(super) struct Attached {
    pub connection: u64,
    pub id: u64,
    pub name: String,
    pub since: String,
    pub epoch: Option<u64>,
    /// Below 0 after a batch that was larger than what was left.
    pub permits: i64,
    /// The last entry delivered to this consumer.
    pub sent: Position,
}

impl Cursor {
    pub fn at(mark_delete: Position) -> Self {
        Cursor { mark_delete, acknowledged: BTreeSet::new(), fenced: false, durable: true, consumer: None }
    }

    /// True if the position moved. A position behind it, or beyond the log's end, changes nothing, and
    /// the consumer is not told: the broker only logs it.
    pub fn acknowledge_upto(&mut self, position: Position, log: &Log) -> bool {
        let moves = position > self.mark_delete && position <= log.last();
        if moves {
            self.mark_delete = position;
            self.settle(log);
        }
        moves
    }

    pub fn acknowledge_one(&mut self, position: Position, log: &Log) -> bool {
        let moves = position > self.mark_delete && position <= log.last() && self.acknowledged.insert(position);
        self.settle(log);
        moves
    }

    /// Draws the mark-delete position over entries that were acknowledged one by one.
    fn settle(&mut self, log: &Log) {
        while let Some((next, _)) = log.after(self.mark_delete).next()
            && self.acknowledged.contains(&next)
        {
            self.mark_delete = next;
        }
        self.acknowledged = self.acknowledged.split_off(&self.mark_delete);
        self.acknowledged.remove(&self.mark_delete);
    }

    /// Moves to `mark_delete` and forgets what was acknowledged beyond it.
    pub fn reset(&mut self, mark_delete: Position) {
        self.mark_delete = mark_delete;
        self.acknowledged.clear();
        self.rewind();
    }

    /// What was delivered and not acknowledged will be delivered again.
    pub fn rewind(&mut self) {
        if let Some(consumer) = &mut self.consumer {
            consumer.sent = self.mark_delete;
        }
    }

    /// Entries not acknowledged, delivered or not.
    pub fn backlog(&self, log: &Log) -> usize {
        log.after(self.mark_delete).filter(|(position, _)| !self.acknowledged.contains(position)).count()
    }
}

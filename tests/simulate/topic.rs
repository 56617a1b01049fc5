//! A model of one partition at the broker: its log, and one subscription's cursor.

use std::collections::BTreeMap;

use tdmq_backup::Position;
use tdmq_backup::testing::compose::Composed;

use crate::deeds::{Deed, NOBODY, What};

/// Which message of several chunks an entry is part of.
#[derive(Clone)]
pub struct ChunkOf {
    pub uuid: String,
    /// The whole message's payload.
    pub whole: String,
}

/// One entry, and what has become of it.
pub struct Slot {
    pub at: Position,
    pub composed: Composed,
    /// Of its messages; of a chunk what there is of it.
    pub payloads: Vec<String>,
    pub chunk: Option<ChunkOf>,
    /// It cannot be decoded, and stands in an object as it is.
    pub poison: bool,
    pub accepted_ms: u64,
    /// How many records in the bucket hold each of its messages.
    pub stored: Vec<u32>,
    /// Aborted, or trimmed: it is not delivered any more.
    pub gone: bool,
    /// With its ledger.
    pub trimmed: bool,
    /// Somebody asked for it to be passed over: it may be in the bucket or not.
    pub excused: bool,
    /// Acknowledged one by one, before the rule began.
    pub hole: bool,
    /// A chunk that was sent again, and a message in the bucket was made of the other one.
    pub repeated: bool,
}

impl Slot {
    pub fn is_stored(&self) -> bool {
        self.repeated || self.stored.iter().all(|count| *count > 0)
    }

    pub fn is_owed(&self) -> bool {
        !self.gone && !self.excused && !self.hole && !self.is_stored()
    }
}

pub struct Cursor {
    pub mark_delete: Position,
    /// What is left of it if the broker crashes.
    pub persisted: Position,
    /// The attachment that holds the subscription.
    pub holder: Option<u64>,
    /// The holder is dead, and the broker notices it then (ms).
    pub noticed_at: Option<u64>,
    /// As far as it ever was.
    pub furthest: Position,
}

impl Cursor {
    pub fn at(mark_delete: Position) -> Self {
        Cursor { mark_delete, persisted: mark_delete, holder: None, noticed_at: None, furthest: mark_delete }
    }
}

pub struct Topic {
    /// -1 for a topic without partitions.
    pub number: i32,
    /// What the broker calls it, and where its objects are.
    pub name: String,
    pub folder: String,
    pub log: Vec<Slot>,
    by_position: BTreeMap<Position, usize>,
    ledger: i64,
    entry: i64,
    pub cursor: Option<Cursor>,
    /// Where the rule begins, behind this: a head says so.
    pub start: Option<Position>,
    /// Some event asked for a move: until then none goes forward.
    pub moves: bool,
    /// From this slot on nothing is delivered: a transaction is open.
    pub blocked: Option<usize>,
    /// Nobody answers before then (ms): it is being moved, or the broker starts.
    pub down_until: u64,
    /// The history that is left open on stores without conditions: a run that slept through another one wrote its head
    /// over the newer one. How far the bucket held the topic then, or the newer one announced it.
    pub an_old_head_landed: Option<Position>,
    /// Whether the broker knows it: a partition that nobody wrote to may be unknown.
    pub born: bool,
    pub deeds: Vec<Deed>,
}

impl Topic {
    pub fn new(number: i32, first_ledger: i64) -> Self {
        let (suffix, folder) = match number {
            -1 => (String::new(), "tdmq/t/n/orders/partition=-1/".to_owned()),
            n => (format!("-partition-{n}"), format!("tdmq/t/n/orders/partition={n}/")),
        };
        Topic {
            number,
            name: format!("persistent://t/n/orders{suffix}"),
            folder,
            log: Vec::new(),
            by_position: BTreeMap::new(),
            ledger: first_ledger,
            entry: 0,
            cursor: None,
            start: None,
            moves: false,
            blocked: None,
            down_until: 0,
            an_old_head_landed: None,
            born: number == -1,
            deeds: Vec::new(),
        }
    }

    pub fn append(&mut self, now_ms: u64, composed: Composed, payloads: Vec<String>) -> &mut Slot {
        let at = Position::new(self.ledger, self.entry);
        self.entry += 1;
        self.born = true;
        self.by_position.insert(at, self.log.len());
        let stored = vec![0; payloads.len()];
        self.log.push(Slot {
            at,
            composed,
            payloads,
            chunk: None,
            poison: false,
            accepted_ms: now_ms,
            stored,
            gone: false,
            trimmed: false,
            excused: false,
            hole: false,
            repeated: false,
        });
        self.log.last_mut().unwrap()
    }

    pub fn roll_ledger(&mut self) {
        if self.entry > 0 {
            (self.ledger, self.entry) = (self.ledger + 1, 0);
        }
    }

    pub fn slot(&mut self, at: Position) -> Option<&mut Slot> {
        self.by_position.get(&at).map(|index| &mut self.log[*index])
    }

    /// Before the first ledger that is left.
    pub fn beginning(&self) -> Position {
        let first = self.log.iter().find(|slot| !slot.trimmed).map_or(self.ledger, |slot| slot.at.ledger);
        Position::new(first, -1)
    }

    /// Entries that may be delivered, or were.
    fn visible(&self) -> &[Slot] {
        &self.log[..self.blocked.unwrap_or(self.log.len())]
    }

    /// The last message id, as the broker answers it.
    pub fn last(&self) -> Position {
        match self.visible().last() {
            Some(last) if !last.trimmed => last.at,
            _ => Position::new(-1, -1),
        }
    }

    /// At most so many entries behind `after`, as they are delivered.
    pub fn delivered(&self, after: Position, most: usize) -> Vec<usize> {
        let from = self.log.partition_point(|slot| slot.at <= after);
        let visible = self.visible();
        let range = from.min(visible.len())..visible.len();
        range.filter(|index| !self.log[*index].gone && !self.log[*index].hole).take(most).collect()
    }

    /// The last entry that is in the bucket; before all where there is none.
    pub fn furthest_stored(&self) -> Position {
        let last = self.log.iter().rev().find(|slot| slot.is_stored());
        last.map_or(Position::new(-1, -1), |slot| slot.at)
    }

    /// Whether an old head that landed does not know that this entry is stored.
    pub fn is_left_open(&self, at: Position) -> bool {
        self.an_old_head_landed.is_some_and(|furthest| at <= furthest)
    }

    /// Entries not acknowledged, as the broker counts them.
    pub fn backlog(&self) -> u64 {
        let Some(cursor) = &self.cursor else { return 0 };
        self.log.iter().filter(|slot| slot.at > cursor.mark_delete && !slot.gone && !slot.hole).count() as u64
    }

    /// A message of these chunks is in the bucket, or no longer. A chunk that had been sent before too, and is the very
    /// same, is in it as well.
    pub fn note_repeated(&mut self, uuid: &str, first: Position, last: Position, stored: bool) {
        let begins = self.log.partition_point(|slot| slot.at < first);
        let (before, rest) = self.log.split_at_mut(begins);
        let chunk = |slot: &Slot| {
            let of_it = slot.chunk.as_ref().is_some_and(|chunk| chunk.uuid == uuid);
            of_it.then(|| (slot.composed.metadata.clone(), slot.composed.payload.clone()))
        };
        for slot in before {
            if let Some(sent) = chunk(slot) {
                let mut again = rest.iter().take_while(|slot| slot.at <= last).filter_map(chunk);
                slot.repeated = stored && again.any(|other| other == sent);
            }
        }
    }

    pub fn did(&mut self, by: u64, what: What) {
        self.deeds.push(Deed { by, what });
    }

    pub fn is_held_by(&self, attachment: u64) -> bool {
        self.cursor.as_ref().is_some_and(|cursor| cursor.holder == Some(attachment))
    }

    pub fn let_go(&mut self) {
        if let Some(cursor) = &mut self.cursor {
            (cursor.holder, cursor.noticed_at) = (None, None);
        }
    }

    /// The broker forgets what it had not written of the cursor, and perhaps what was acknowledged one by one.
    pub fn forget(&mut self, holes: bool) {
        let Some(cursor) = &mut self.cursor else { return };
        cursor.mark_delete = cursor.persisted;
        for slot in self.log.iter_mut().filter(|slot| holes && slot.at > cursor.persisted) {
            slot.excused |= std::mem::take(&mut slot.hole);
        }
    }

    /// A cursor move that nobody confirmed by storing: what it passes over is somebody's wish. What it goes back over is
    /// owed again from now on. What was acknowledged one by one comes again, unless messages were only skipped; nobody
    /// needs it but a run that asked for it.
    pub fn move_cursor(&mut self, by: u64, to: Position, now_ms: u64) {
        let Some(cursor) = &mut self.cursor else { return };
        let from = cursor.mark_delete;
        let skips = by == NOBODY && from < to;
        cursor.mark_delete = to;
        cursor.persisted = to;
        cursor.furthest = cursor.furthest.max(to);
        for slot in &mut self.log {
            let again = to < slot.at && slot.at <= from;
            if again && std::mem::take(&mut slot.excused) {
                slot.accepted_ms = now_ms;
            }
            let passed = from < slot.at && slot.at <= to;
            slot.excused |= passed || (by == NOBODY && !skips && slot.hole);
            slot.hole &= skips || slot.at <= to;
        }
        self.did(by, What::Passed { from, to });
        if skips {
            self.settle();
        }
    }

    /// Draws the mark-delete position over what was acknowledged one by one.
    pub fn settle(&mut self) {
        let Some(cursor) = &mut self.cursor else { return };
        let from = self.log.partition_point(|slot| slot.at <= cursor.mark_delete);
        for slot in self.log[from..].iter_mut().take_while(|slot| slot.hole) {
            (slot.hole, slot.excused) = (false, true);
            cursor.mark_delete = slot.at;
            cursor.furthest = cursor.furthest.max(slot.at);
        }
    }

    /// The broker removes all ledgers before this one, read or not.
    pub fn trim(&mut self, ledger: i64) {
        let end = self.log.partition_point(|slot| slot.at.ledger < ledger);
        for slot in &mut self.log[..end] {
            (slot.gone, slot.trimmed) = (true, true);
        }
        let at = Position::new(ledger, -1);
        if let Some(cursor) = &mut self.cursor {
            self.deeds.push(Deed { by: NOBODY, what: What::Passed { from: cursor.mark_delete, to: at } });
            cursor.mark_delete = cursor.mark_delete.max(at);
            cursor.persisted = cursor.persisted.max(at);
            cursor.furthest = cursor.furthest.max(at);
        }
    }

    /// The mark-delete position after which `at` is the next entry.
    pub fn behind(&self, at: Position) -> Position {
        let index = self.log.partition_point(|slot| slot.at < at);
        match self.log[index..].iter().find(|slot| !slot.trimmed) {
            Some(slot) => before(slot.at),
            None => self.log.last().map_or(Position::new(self.ledger, -1), |last| last.at),
        }
    }
}

fn before(at: Position) -> Position {
    Position::new(at.ledger, at.entry - 1)
}

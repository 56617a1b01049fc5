//! Chunked messages become messages again.
//!
//! ```text
//!  Entry ─ offer ─▶ Single                 no chunk: an entry like any other
//!                   Waits                  a part; the rest of its message is still to come
//!                   Last ─ join ─▶ Entry   the message, at its last chunk's place
//!                   GaveUp                 parts of messages that will not be whole come first ─▶ given_up
//!                   NoRoom                 what was read has to be stored first
//! ```
//!
//! A message is known by its producer's name and its uuid, as clients do; they compress it, then cut it, and
//! give all of its chunks the same metadata but for the chunk's number. Several may be open at a time, also of
//! one producer: the Java client lets go of its lock between two chunks of a message. So another entry of that
//! producer says nothing.
//!
//! A message is given up only by what the log shows, never by a clock:
//!
//! * an entry came that is [`PATIENCE_MS`] later than its first part, or `PATIENCE_ENTRIES` or
//!   `PATIENCE_BYTES` came since: what is stored behind it comes again in each run, and must not fill it;
//! * a chunk of it is missing: another one with a higher number came;
//! * another message came under its uuid (a producer that began again counts from 0 again);
//! * the open ones would take too much room: the one that opened first goes. What one takes is reckoned by
//!   what it says of itself, so that it does not depend on where reading began;
//! * its first chunk never came, and its last one did;
//! * the whole does not decompress, or is not as long as was said.
//!
//! Its parts are then entries again, raw, each under its own id: what becomes of an entry does not depend on
//! where reading began. Encrypted chunks, and those of a message too large to be held, never wait.
//!
//! Owns which entries wait, and how far they hold back the acknowledgement. Does not own what is stored:
//! `drain::fill` asks the catalogue and puts entries into objects.

mod parts;

use std::borrow::Cow;
use std::collections::VecDeque;
use std::io;
use std::path::{Path, PathBuf};

use bytes::Bytes;
use pulsar::proto::{CompressionType, MessageMetadata};

use crate::message::{Entry, Position};
use crate::pulsar::decompress;
use parts::{Part, Parts};

/// A message is given up at an entry this much later than its first part, in ms: by the broker's time where
/// entries have it, else by their producers'. Clients wait for a minute.
pub const PATIENCE_MS: u64 = 10 * 60 * 1000;
const PATIENCE_ENTRIES: u64 = 20_000;
const PATIENCE_BYTES: u64 = 1 << 30;
/// Room for open messages, in bytes of temporary files.
const BUDGET: u64 = 128 << 20;
/// What a part takes beside its payload: its metadata on disk, and its place in memory.
const PART_COST: u64 = 4 << 10;
/// A message is held whole once as it was cut and once as it was sent. One that takes more stays in its parts.
const MOST_JOINED: usize = 13 << 20;
/// Messages open at a time; each has a file.
const MOST_OPEN: usize = 100;
/// Names longer than this are not a client's.
const LONGEST_NAME: usize = 1 << 10;

/// Which entries wait.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Waiting {
    Nothing,
    /// Everything behind this entry; everything at all where none came before the first one that waits.
    Behind(Option<Position>),
}

/// What an entry is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Offered {
    /// An entry like any other.
    Single,
    /// A part, taken.
    Waits,
    /// The last chunk of a message, not taken: see [`Assembler::join`].
    Last,
    /// Not looked at yet: messages were given up, and [`Assembler::given_up`] has their parts.
    GaveUp,
    /// Not taken: there is no room for it in temporary files.
    NoRoom,
}

/// A part of a message that was given up.
pub struct GivenUp {
    pub entry: Entry,
    /// The last entry that came before it.
    pub before: Option<Position>,
}

/// The open messages of one partition.
pub struct Assembler {
    dir: PathBuf,
    budget: u64,
    /// In the order in which they opened.
    open: Vec<Open>,
    /// By position.
    given_up: VecDeque<Part>,
    /// The first part that is in an object not yet stored, and the entry before it.
    placed: Option<(Position, Option<Position>)>,
    /// The last entry that came.
    passed: Option<Position>,
    came: Came,
}

/// What was offered so far.
#[derive(Clone, Copy, Default)]
struct Came {
    entries: u64,
    bytes: u64,
}

struct Open {
    facts: Facts,
    since: u64,
    /// What had come before it.
    behind: Came,
    /// The number that its next chunk has.
    next: i32,
    /// Its first chunk did not come.
    headless: bool,
    parts: Parts,
}

/// What all chunks of a message say alike.
#[derive(PartialEq)]
struct Facts {
    producer: String,
    uuid: String,
    of: i32,
    total_size: i32,
    sequence_id: u64,
    compression: i32,
    uncompressed_size: Option<u32>,
}

impl Facts {
    /// `None` for what is no chunk, or is not put together, with its number otherwise.
    fn of(entry: &Entry, budget: u64) -> Option<(Self, i32)> {
        let m = &entry.metadata;
        let of = entry.num_chunks()?;
        let id = m.chunk_id.filter(|id| (0..of).contains(id))?;
        let uuid = m.uuid.as_ref().filter(|uuid| !uuid.is_empty() && uuid.len() <= LONGEST_NAME)?;
        let facts = Facts {
            producer: m.producer_name.clone(),
            uuid: uuid.clone(),
            of,
            total_size: m.total_chunk_msg_size.filter(|size| *size > 0)?,
            sequence_id: m.sequence_id,
            compression: m.compression.unwrap_or(0),
            uncompressed_size: m.uncompressed_size,
        };
        let plain = m.encryption_keys.is_empty() && m.num_messages_in_batch.is_none() && entry.unreadable.is_none();
        let decoded = match CompressionType::try_from(facts.compression).ok()? {
            CompressionType::None => 0,
            _ => facts.uncompressed_size.unwrap_or(0) as usize,
        };
        let fits = (facts.total_size as usize).max(decoded) <= MOST_JOINED && facts.cost() <= budget;
        (plain && fits && facts.producer.len() <= LONGEST_NAME).then_some((facts, id))
    }

    fn names(&self, metadata: &MessageMetadata) -> bool {
        self.producer == metadata.producer_name && Some(&self.uuid) == metadata.uuid.as_ref()
    }

    fn cost(&self) -> u64 {
        self.total_size as u64 + self.of as u64 * PART_COST
    }
}

impl Assembler {
    /// Parts wait in files in `dir`.
    pub fn new(dir: &Path) -> Self {
        Assembler::with_budget(dir, BUDGET)
    }

    fn with_budget(dir: &Path, budget: u64) -> Self {
        let (open, given_up) = (Vec::new(), VecDeque::new());
        Assembler { dir: dir.to_owned(), budget, open, given_up, placed: None, passed: None, came: Came::default() }
    }

    /// Says what the entry is, and keeps it if it waits. Not to be called while parts of given up messages
    /// are left.
    ///
    /// Errors: the temporary file cannot be written or read; then the entry is not taken.
    pub fn offer(&mut self, entry: &Entry) -> io::Result<Offered> {
        let (time, came) = (entry.time(), self.came);
        let hopeless = |open: &Open| {
            time >= open.since.saturating_add(PATIENCE_MS)
                || came.entries - open.behind.entries >= PATIENCE_ENTRIES
                || came.bytes - open.behind.bytes >= PATIENCE_BYTES
        };
        if self.give_up_where(hopeless) {
            return Ok(Offered::GaveUp);
        }
        // An entry that is given back and offered again counts twice, which harms nothing.
        self.came = Came { entries: came.entries + 1, bytes: came.bytes + entry.size as u64 };
        let Some((facts, id)) = Facts::of(entry, self.budget) else { return Ok(Offered::Single) };
        let Some(at) = self.find(entry) else { return self.open(entry, facts, id) };
        let open = &mut self.open[at];
        let taken = match open.facts == facts {
            true if id == open.next && id + 1 == facts.of => return Ok(Offered::Last),
            true if id == open.next => {
                open.parts.push(entry, id, self.passed)?;
                open.next += 1;
                true
            }
            true if id < open.next => open.parts.push_repeated(entry, id, self.passed)?,
            _ => false,
        };
        if taken {
            return Ok(Offered::Waits);
        }
        self.give_up_at(at);
        Ok(Offered::GaveUp)
    }

    fn open(&mut self, entry: &Entry, facts: Facts, id: i32) -> io::Result<Offered> {
        if id + 1 == facts.of {
            return Ok(Offered::Single);
        }
        let room = self.budget - facts.cost();
        let taken: u64 = self.open.iter().map(|open| open.facts.cost()).sum();
        if taken > room || self.open.len() >= MOST_OPEN {
            self.give_up_oldest();
            return Ok(Offered::GaveUp);
        }
        let mut parts = Parts::new(&self.dir)?;
        parts.push(entry, id, self.passed)?;
        let (since, behind) = (entry.time(), self.came);
        self.open.push(Open { facts, since, behind, next: id + 1, headless: id > 0, parts });
        Ok(Offered::Waits)
    }

    /// The entry was taken, here or elsewhere.
    pub fn passed(&mut self, at: Position) {
        self.passed = self.passed.max(Some(at));
    }

    /// Whether anything came after this entry.
    pub fn has_passed(&self, at: Position) -> bool {
        self.passed > Some(at)
    }

    /// The message that ends with the chunk `last`, or why there is none. It stays open.
    pub fn join(&self, last: &Entry) -> io::Result<Result<Entry, String>> {
        let Some(open) = self.find(last).map(|at| &self.open[at]) else { return Ok(Err("it is not open".into())) };
        if open.headless {
            return Ok(Err("its first chunk did not come".into()));
        }
        let Some(joined) = open.parts.join(&last.payload, open.facts.total_size as usize)? else {
            return Ok(Err(format!("its chunks are not {} bytes together", open.facts.total_size)));
        };
        let plain = match decompress(&last.metadata, &joined) {
            Ok(Cow::Owned(plain)) => Some(plain),
            Ok(Cow::Borrowed(_)) => None,
            Err(why) => return Ok(Err(why)),
        };
        let payload = Bytes::from(plain.unwrap_or(joined));
        let metadata = MessageMetadata { compression: None, ..last.metadata.clone() };
        let first_chunk = open.parts.as_slice().first().map(|part| part.position);
        let Entry { position, partition, broker, .. } = *last;
        let size = payload.len();
        Ok(Ok(Entry { position, partition, broker, metadata, size, unreadable: None, payload, first_chunk }))
    }

    /// The parts that wait for `last`, without their payloads.
    pub fn parts_before(&self, last: &Entry) -> Vec<Entry> {
        let Some(at) = self.find(last) else { return Vec::new() };
        let parts = self.open[at].parts.as_slice().iter();
        let bare = |part: &Part| Entry {
            position: part.position,
            metadata: MessageMetadata { publish_time: part.publish_time, ..last.metadata.clone() },
            payload: Bytes::new(),
            ..last.clone()
        };
        parts.map(bare).collect()
    }

    /// An object holds the message that ends with `last`; says how many parts waited for it.
    pub fn is_stored(&mut self, last: &Entry) -> usize {
        self.find(last).map_or(0, |at| self.open.remove(at).parts.as_slice().len())
    }

    /// The message that ends with `last` is in an object that is still to be stored.
    pub fn is_placed(&mut self, last: &Entry) {
        if let Some(at) = self.find(last)
            && let Some(first) = self.open.remove(at).parts.as_slice().first()
        {
            self.place((first.position, first.before));
        }
    }

    /// Gives up the message that ends with `last`.
    pub fn give_up(&mut self, last: &Entry) {
        if let Some(at) = self.find(last) {
            self.give_up_at(at);
        }
    }

    /// Gives up the message that opened first, if any is open.
    pub fn give_up_oldest(&mut self) -> bool {
        let any = !self.open.is_empty();
        if any {
            self.give_up_at(0);
        }
        any
    }

    /// The first part of messages that were given up.
    pub fn given_up(&self) -> io::Result<Option<GivenUp>> {
        let read = |part: &Part| Ok(GivenUp { entry: part.read()?, before: part.before });
        self.given_up.front().map(read).transpose()
    }

    pub fn has_given_up(&self) -> bool {
        !self.given_up.is_empty()
    }

    /// An object holds the first part of those given up.
    pub fn given_up_is_stored(&mut self) {
        self.given_up.pop_front();
    }

    /// The first part of those given up is in an object that is still to be stored.
    pub fn given_up_is_placed(&mut self) {
        if let Some(part) = self.given_up.pop_front() {
            self.place((part.position, part.before));
        }
    }

    /// What was placed is stored.
    pub fn placed_is_stored(&mut self) {
        self.placed = None;
    }

    /// What must not be acknowledged, whatever else is stored.
    pub fn waiting(&self) -> Waiting {
        let firsts = self.open.iter().filter_map(|open| open.parts.as_slice().first()).chain(self.given_up.front());
        let first = firsts.map(|part| (part.position, part.before)).chain(self.placed).min();
        first.map_or(Waiting::Nothing, |(_, before)| Waiting::Behind(before))
    }

    /// Entries that wait.
    pub fn entries(&self) -> usize {
        self.open.iter().map(|open| open.parts.as_slice().len()).sum::<usize>() + self.given_up.len()
    }

    /// Forgets all: what was not acknowledged comes again.
    pub fn clear(&mut self) {
        *self = Assembler::with_budget(&self.dir, self.budget);
    }

    fn find(&self, entry: &Entry) -> Option<usize> {
        self.open.iter().position(|open| open.facts.names(&entry.metadata))
    }

    fn place(&mut self, first: (Position, Option<Position>)) {
        self.placed = Some(self.placed.map_or(first, |placed| placed.min(first)));
    }

    fn give_up_where(&mut self, hopeless: impl Fn(&Open) -> bool) -> bool {
        let any = self.open.iter().any(&hopeless);
        while let Some(at) = self.open.iter().position(&hopeless) {
            self.give_up_at(at);
        }
        any
    }

    fn give_up_at(&mut self, at: usize) {
        self.given_up.extend(self.open.remove(at).parts.into_vec());
        self.given_up.make_contiguous().sort_by_key(|part| part.position);
    }
}

#[cfg(test)]
mod tests;

//! Where an object ends.
//!
//! A batch takes whole entries until one does not fit. Only an entry that is larger than the caps by
//! itself is spread over several objects; and only a single message that is larger makes an object
//! larger than they allow: it must not block the topic.

use std::io::{self, BufWriter, Write};
use std::ops::Range;

use crate::budget;
use crate::encode::Compression;
use crate::encode::compress::Compressor;
use crate::encode::jsonl;
use crate::encode::spool::{Body, Spool};
use crate::message::{Body as Payload, Entry, Message, Position};
use crate::span::{Edge, Span};

/// Records of one entry that wait in memory until it is known whether they fit. Of a larger entry they
/// are counted first and written then, piece by piece.
const SCRATCH: usize = 1 << 20;
const PIECE: usize = 64 << 10;

/// How much one object may hold.
#[derive(Clone, Copy, Debug)]
pub struct Caps {
    pub messages: u64,
    /// Of the records before compression, and of the written file.
    pub bytes: u64,
}

/// Which cap an entry would have broken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Full {
    Messages,
    Bytes,
}

/// How much of an entry a batch took.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Offer {
    /// Everything up to the entry's end.
    All,
    /// The share up to before this index, which is not the entry's end: there the share ends, or the caps.
    Before(u32),
    /// Nothing; the batch is as it was.
    Nothing(Full),
}

/// The entries of one object, encoded and compressed as they come.
pub struct Batch {
    caps: Caps,
    compression: Compression,
    compressor: Compressor,
    scratch: Vec<u8>,
    contents: Contents,
}

/// What a batch holds, in figures.
#[derive(Clone, Copy, Debug, Default)]
pub struct Contents {
    pub span: Option<Span>,
    /// The first chunk of its messages, of those that came in chunks: it may lie before the span.
    pub first_chunk: Option<Position>,
    pub messages: u64,
    pub entries: u64,
    /// Records before compression.
    pub bytes: u64,
    /// Entries that could not be decoded and stand in the object raw.
    pub undecodable: u64,
    /// Publish time of the first message: it names the object's folder.
    pub first_publish_time: u64,
    pub earliest_publish_time: u64,
    pub latest_publish_time: u64,
}

impl Contents {
    /// Adds up figures of several objects; the span stays unknown.
    pub fn add(&mut self, more: &Contents) {
        let first = self.messages == 0;
        self.messages += more.messages;
        self.entries += more.entries;
        self.bytes += more.bytes;
        self.undecodable += more.undecodable;
        let earliest = more.earliest_publish_time;
        self.earliest_publish_time = if first { earliest } else { self.earliest_publish_time.min(earliest) };
        self.latest_publish_time = self.latest_publish_time.max(more.latest_publish_time);
    }
}

impl Batch {
    /// An empty batch. `caps` is `None` for a span that a predecessor pinned.
    pub fn new(caps: Option<Caps>, compression: Compression) -> Self {
        let spool = Spool::new(&std::env::temp_dir(), budget::SPOOL);
        Batch {
            caps: caps.unwrap_or(Caps { messages: u64::MAX, bytes: u64::MAX }),
            compression,
            compressor: Compressor::new(compression, spool),
            scratch: Vec::new(),
            contents: Contents::default(),
        }
    }

    pub fn contents(&self) -> &Contents {
        &self.contents
    }

    pub fn span(&self) -> Option<Span> {
        self.contents.span
    }

    /// Takes the messages of `share` of the entry, which may end beyond its last one; all of them, or, of
    /// an entry that is larger than the caps and in an empty batch, as many as fit, at least one.
    ///
    /// After an error the batch is as it was.
    pub fn offer(&mut self, entry: &Entry, share: Range<u32>) -> io::Result<Offer> {
        let empty = self.contents.span.is_none();
        let found = self.measure(entry, &share, empty);
        if !empty && let Some(full) = self.full(found.taken, found.bytes) {
            return Ok(Offer::Nothing(full));
        }
        let end = share.start + found.taken;
        match found.in_scratch {
            true => self.compressor.append(&self.scratch)?,
            false => self.stream(entry, share.start..end)?,
        }
        self.count(entry, share.start, &found);
        if self.scratch.capacity() > 2 * SCRATCH {
            self.scratch = Vec::new();
        }
        Ok(if end < found.messages { Offer::Before(end) } else { Offer::All })
    }

    /// Encodes the share into the scratch buffer, or counts where that is not large enough. Stops taking
    /// at the caps if it may.
    fn measure(&mut self, entry: &Entry, share: &Range<u32>, may_stop: bool) -> Measured {
        let mut found = Measured { messages: 0, taken: 0, bytes: 0, in_scratch: true, undecodable: false };
        let mut full = false;
        let mut scratch = std::mem::take(&mut self.scratch);
        scratch.clear();
        let undecodable = entry.messages(|message| {
            let index = found.messages;
            found.messages += 1;
            if full || !share.contains(&index) {
                return;
            }
            let before = scratch.len();
            found.in_scratch &= before + payload_length(message) <= SCRATCH;
            let bytes = match found.in_scratch {
                true => {
                    jsonl::write(message, &mut scratch).expect("memory takes all");
                    (scratch.len() - before) as u64
                }
                false => length(message),
            };
            full = may_stop && found.taken > 0 && self.full(found.taken + 1, found.bytes + bytes).is_some();
            if full {
                scratch.truncate(before);
                return;
            }
            found.taken += 1;
            found.bytes += bytes;
        });
        found.undecodable = undecodable.is_some();
        self.scratch = scratch;
        found
    }

    /// Encodes the messages of `range` straight into the object.
    fn stream(&mut self, entry: &Entry, range: Range<u32>) -> io::Result<()> {
        let mark = self.compressor.mark();
        let mut index = 0;
        let mut outcome = Ok(());
        let mut out = BufWriter::with_capacity(PIECE, Pieces(&mut self.compressor));
        entry.messages(|message| {
            if outcome.is_ok() && range.contains(&index) {
                outcome = jsonl::write(message, &mut out);
            }
            index += 1;
        });
        let outcome = outcome.and_then(|()| out.flush());
        // What is still in the buffer must not be written when it is dropped.
        drop(out.into_parts());
        if outcome.is_err() {
            self.compressor.rollback(mark);
        }
        outcome
    }

    /// Which cap `messages` of `bytes` more would break.
    fn full(&self, messages: u32, bytes: u64) -> Option<Full> {
        if self.contents.messages + u64::from(messages) > self.caps.messages {
            return Some(Full::Messages);
        }
        let plain = self.contents.bytes + bytes;
        let written = self.compressor.written_at_most(bytes as usize);
        (plain > self.caps.bytes || written > self.caps.bytes).then_some(Full::Bytes)
    }

    fn count(&mut self, entry: &Entry, from: u32, found: &Measured) {
        let Contents { span, .. } = self.contents;
        let published = entry.metadata.publish_time;
        let end = from + found.taken;
        let whole = from == 0 && end == found.messages;
        let edge = |batch| Edge { position: entry.position, batch: (!whole).then_some(batch) };
        let c = &mut self.contents;
        if span.is_none() {
            (c.first_publish_time, c.earliest_publish_time) = (published, published);
        }
        c.messages += u64::from(found.taken);
        c.entries += 1;
        c.bytes += found.bytes;
        c.undecodable += u64::from(found.undecodable);
        c.earliest_publish_time = c.earliest_publish_time.min(published);
        c.latest_publish_time = c.latest_publish_time.max(published);
        let first = span.map_or(edge(from), |span| span.first);
        c.span = Some(Span { first, last: edge(end - 1), count: c.messages });
        c.first_chunk = c.first_chunk.into_iter().chain(entry.first_chunk).min();
    }

    pub fn compression(&self) -> Compression {
        self.compression
    }

    /// The length that the file cannot exceed as things are.
    pub fn written_at_most(&self) -> u64 {
        self.compressor.written_at_most(0)
    }

    /// Whether the caps leave room for one more message.
    pub fn is_full(&self) -> Option<Full> {
        if self.contents.messages >= self.caps.messages {
            return Some(Full::Messages);
        }
        (self.contents.bytes >= self.caps.bytes).then_some(Full::Bytes)
    }

    pub fn finish(self) -> io::Result<(Contents, Body)> {
        Ok((self.contents, self.compressor.finish()?))
    }
}

/// What a share of an entry comes to.
struct Measured {
    /// Of the whole entry.
    messages: u32,
    /// Of the share, up to where the caps end it.
    taken: u32,
    /// Of the records of what is taken.
    bytes: u64,
    in_scratch: bool,
    undecodable: bool,
}

fn payload_length(message: &Message<'_>) -> usize {
    match &message.body {
        Payload::Payload(payload) => payload.len(),
        Payload::Null => 0,
        Payload::Undecodable(undecodable) => undecodable.raw.len(),
    }
}

/// How long the message's record is.
fn length(message: &Message<'_>) -> u64 {
    let mut length = Length(0);
    jsonl::write(message, &mut length).expect("counting takes all");
    length.0
}

struct Length(u64);

impl Write for Length {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0 += bytes.len() as u64;
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

struct Pieces<'c>(&'c mut Compressor);

impl Write for Pieces<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.append(bytes).map(|()| bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests;

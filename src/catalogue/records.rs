//! Which entries an object's records are of: read through once, no payload held.

use std::collections::HashMap;
use std::io::{self, Write};

use flate2::write::MultiGzDecoder;

use crate::encode::jsonl::{self, Fingerprint, Name};
use crate::error::{Error, Kind, Result};
use crate::message::Position;
use crate::rule::Rule;
use crate::span::Span;
use crate::store::Store;

/// A line whose fingerprint does not stand within this is not read: before it are an entry's metadata, of 5 MiB by
/// default, of which JSON makes six times as much at most; or a message's own key and properties, which have no bound.
const MOST_HEAD_BYTES: usize = 32 << 20;
/// An object has so many messages at most, or those of one entry.
const MOST_ENTRIES: usize = Rule::MAX_MESSAGES as usize;
/// Most lines are shorter.
const LOOK_AT: usize = 64 << 10;

pub(super) type Records = HashMap<Position, Record>;

/// What an object says of an entry.
pub(super) struct Record {
    pub partition: i32,
    pub publish_time: u64,
    pub producer_name: Name,
    pub sequence_id: u64,
    /// Messages of the entry that the object holds: they follow one another in both.
    pub first: u32,
    pub count: u32,
    /// A record without a batch index is its whole entry, also where that could not be decoded then and
    /// can be now.
    pub whole: bool,
    /// Of a message put together from its chunks, all of which are in this record: the first one, and their uuid.
    pub chunks: Option<(Position, Name)>,
}

impl Record {
    /// What no other message under the same position has.
    pub fn stamp(&self) -> (i32, u64, Name, u64) {
        (self.partition, self.publish_time, self.producer_name, self.sequence_id)
    }
}

/// The records of the object under `key`. They take little memory, whatever it holds.
///
/// Errors: `Corrupt` where it is not one of ours or holds more messages than its key says, `Unavailable` where it is
/// gone.
pub(super) async fn read(store: &impl Store, key: &str) -> Result<Records> {
    let broken = |why: String| {
        let text = format!(
            "object {key} cannot be read, so nothing that it may hold is acknowledged: find out who wrote it, then move it \
             out of the prefix"
        );
        Error::new(Kind::Corrupt, text).because(why)
    };
    let gone = || {
        Error::new(
            Kind::Unavailable,
            format!("object {key} was listed and is gone: somebody removes objects; run again"),
        )
    };
    let mut download = store.open(key).await?.ok_or_else(gone)?;
    let lines = Lines::new(Span::of_key(key).map_or(0, |span| span.count));
    let mut sink = match key.ends_with(".gz") {
        true => Sink::Gzip(Box::new(MultiGzDecoder::new(lines))),
        false => Sink::Plain(lines),
    };
    while let Some(chunk) = download.next().await? {
        sink.write_all(&chunk).map_err(|e| broken(e.to_string()))?;
    }
    let lines = match sink {
        Sink::Gzip(decoder) => decoder.finish().map_err(|e| broken(e.to_string()))?,
        Sink::Plain(lines) => lines,
    };
    match lines.is_whole() {
        true => Ok(lines.records),
        false => Err(broken("its last line is cut off".into())),
    }
}

enum Sink {
    Gzip(Box<MultiGzDecoder<Lines>>),
    Plain(Lines),
}

impl Sink {
    fn write_all(&mut self, bytes: &[u8]) -> io::Result<()> {
        match self {
            Sink::Gzip(decoder) => decoder.write_all(bytes),
            Sink::Plain(lines) => lines.write_all(bytes),
        }
    }
}

/// Takes an object's bytes as they come and keeps what identifies each entry. Of a line no more is held
/// than that takes: its payload, at the end, may be large.
struct Lines {
    records: Records,
    /// Messages that the object's key says, and those that were met.
    said: u64,
    met: u64,
    partial: Vec<u8>,
    /// The length at which the fingerprint of a line that has not ended is looked for.
    look_at: usize,
    /// The line's fingerprint was found: the rest is passed over.
    known: bool,
}

impl Lines {
    fn new(said: u64) -> Self {
        Lines { records: Records::new(), said, met: 0, partial: Vec::new(), look_at: LOOK_AT, known: false }
    }

    /// Whether the last line has ended.
    fn is_whole(&self) -> bool {
        self.partial.is_empty() && !self.known
    }

    fn line(&mut self, line: &[u8]) -> io::Result<()> {
        self.keep(jsonl::fingerprint(line).map_err(|e| io::Error::other(e.to_string()))?)
    }

    fn keep(&mut self, stamp: Fingerprint) -> io::Result<()> {
        if self.met == self.said {
            let why = format!("it holds more messages than its name says ({})", self.said);
            return Err(io::Error::other(why));
        }
        if self.records.len() == MOST_ENTRIES && !self.records.contains_key(&stamp.id.position) {
            return Err(io::Error::other(format!("it holds more than {MOST_ENTRIES} entries, as none of ours does")));
        }
        self.met += 1;
        let record = self.records.entry(stamp.id.position).or_insert_with(|| Record {
            partition: stamp.id.partition,
            publish_time: stamp.publish_time,
            producer_name: stamp.producer_name,
            sequence_id: stamp.sequence_id,
            first: stamp.id.batch_index.unwrap_or(0),
            count: 0,
            whole: stamp.id.batch_index.is_none(),
            chunks: stamp.first_chunk_id.zip(stamp.uuid).map(|(first, uuid)| (first.position, uuid)),
        });
        record.count += 1;
        Ok(())
    }

    /// A line ends after `tail`.
    fn end(&mut self, tail: &[u8]) -> io::Result<()> {
        if std::mem::take(&mut self.known) {
            return Ok(());
        }
        if self.partial.is_empty() {
            return self.line(tail);
        }
        let mut line = std::mem::take(&mut self.partial);
        line.extend_from_slice(tail);
        self.look_at = LOOK_AT;
        let kept = self.line(&line);
        self.give_back(line);
        kept
    }

    /// A line goes on beyond `bytes`.
    fn hold(&mut self, bytes: &[u8]) -> io::Result<()> {
        if self.known || bytes.is_empty() {
            return Ok(());
        }
        self.partial.extend_from_slice(bytes);
        if self.partial.len() < self.look_at {
            return Ok(());
        }
        let line = std::mem::take(&mut self.partial);
        if let Ok(stamp) = jsonl::fingerprint(&line) {
            (self.known, self.look_at) = (true, LOOK_AT);
            self.give_back(line);
            return self.keep(stamp);
        }
        if line.len() >= MOST_HEAD_BYTES {
            return Err(io::Error::other("a line does not begin as one of ours"));
        }
        self.look_at = MOST_HEAD_BYTES.min(line.len() * 2);
        self.partial = line;
        Ok(())
    }

    /// The next line grows in the same memory: a buffer that grows anew is there twice.
    fn give_back(&mut self, mut line: Vec<u8>) {
        line.clear();
        self.partial = line;
    }
}

impl Write for Lines {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let mut rest = bytes;
        while let Some(end) = rest.iter().position(|byte| *byte == b'\n') {
            let (head, tail) = rest.split_at(end);
            rest = &tail[1..];
            self.end(head)?;
        }
        self.hold(rest)?;
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

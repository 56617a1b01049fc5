//! What the bucket says: which objects there are, and which of them holds a given entry.
//!
//! The listing is the catalogue: an object's key says its span. A span alone proves nothing, since an
//! object may have gaps; an entry is held only if an object has a record with that very id, publish
//! time, producer and sequence id. Only the spans that can matter are kept, and only a few objects
//! stay open.

use std::collections::{HashMap, VecDeque};
use std::io::{self, Write};

use flate2::write::MultiGzDecoder;

use crate::encode::jsonl;
use crate::error::{Error, Kind, Result};
use crate::message::{Entry, Position};
use crate::span::{Edge, Link, Span, key_start};
use crate::store::{SHA256, Store};

const PAGE: u32 = 1000;
const OPEN_OBJECTS: usize = 4;
/// A record longer than this is not one of ours: a message has at most 32 MiB decoded, and JSON makes six
/// bytes of a control character.
const MOST_LINE_BYTES: usize = 256 << 20;

/// The proof that an object holds an entry.
pub struct Holds(());

/// The objects of one partition's folder.
pub struct Catalogue<'a, S> {
    store: &'a S,
    folder: &'a str,
    /// Objects whose last entry is at or after where loading began, oldest first.
    spans: Vec<(Span, String)>,
    open: VecDeque<(String, Records)>,
}

type Records = HashMap<Position, Record>;

/// What an object says of an entry.
struct Record {
    publish_time: u64,
    producer_name: String,
    sequence_id: u64,
    /// Messages of the entry that the object holds.
    count: u32,
    /// A record without a batch index is its whole entry, also where that could not be decoded then and
    /// can be now.
    whole: bool,
    /// A message put together from its chunks: all of them are in this record.
    assembled: bool,
}

impl<'a, S: Store> Catalogue<'a, S> {
    pub fn new(store: &'a S, folder: &'a str) -> Self {
        Catalogue { store, folder, spans: Vec::new(), open: VecDeque::new() }
    }

    /// Visits every object of the folder, in the listing's order.
    async fn each(&self, start: &str, mut visit: impl FnMut(Span, String)) -> Result<()> {
        let mut after = None;
        loop {
            let (page, more) = self.store.list(start, after.as_deref(), PAGE).await?;
            after = page.last().map(|listed| listed.key.clone());
            for listed in page {
                if let Some(span) = Span::of_key(&listed.key) {
                    visit(span, listed.key);
                }
            }
            if !more || after.is_none() {
                return Ok(());
            }
        }
    }

    /// The object with the highest last entry, as a link of the chain: for a folder whose head is lost.
    pub async fn newest(&self) -> Result<Option<Link>> {
        let mut newest: Option<(Span, String)> = None;
        self.each(&format!("{}dt=", self.folder), |span, key| {
            if newest.as_ref().is_none_or(|(best, _)| span.last > best.last) {
                newest = Some((span, key));
            }
        })
        .await?;
        let Some((span, key)) = newest else { return Ok(None) };
        let gone = || {
            Error::new(
                Kind::Unavailable,
                format!("object {key} was listed and is gone: somebody removes objects; run again"),
            )
        };
        let held = self.store.look(&key).await?.ok_or_else(gone)?;
        let seq = held.metadata.get("seq").and_then(|seq| seq.parse().ok()).unwrap_or(0);
        let digest = held.metadata.get(SHA256).cloned().unwrap_or_default();
        Ok(Some(Link { key, last: span.last.position, seq, digest }))
    }

    /// Learns the spans of all objects that end at or after `from`.
    pub async fn load(&mut self, from: Position) -> Result<()> {
        let mut spans = Vec::new();
        self.each(&format!("{}dt=", self.folder), |span, key| {
            if span.last.position >= from {
                spans.push((span, key));
            }
        })
        .await?;
        spans.sort();
        self.spans = spans;
        Ok(())
    }

    /// The newest entry that a loaded object may hold.
    pub fn last(&self) -> Option<Position> {
        self.spans.iter().map(|(span, _)| span.last.position).max()
    }

    /// Whether [`Catalogue::holds`] can answer for this entry without reading an object first.
    pub fn is_open_at(&self, at: Position) -> bool {
        let mut keys = self.spans.iter().filter(|(span, _)| span.covers(at)).map(|(_, key)| key);
        keys.all(|key| self.open.iter().any(|(open, _)| open == key))
    }

    /// The object that begins with this entry, if there is one. One listing of one page.
    pub async fn beginning_with(&self, first: Edge, publish_time: u64) -> Result<Option<String>> {
        let start = key_start(self.folder, first, publish_time);
        let (page, _) = self.store.list(&start, None, PAGE).await?;
        Ok(page.into_iter().map(|listed| listed.key).find(|key| Span::of_key(key).is_some()))
    }

    /// Whether an object holds this very entry, whole.
    ///
    /// Errors: `Conflict` where an object has a record of that id that another message wrote: then the
    /// topic is not the one that was backed up here.
    pub async fn holds(&mut self, entry: &Entry) -> Result<Option<Holds>> {
        let candidates: Vec<String> =
            self.spans.iter().filter(|(span, _)| span.covers(entry.position)).map(|(_, key)| key.clone()).collect();
        if candidates.is_empty() {
            return Ok(None);
        }
        let mut fingerprint = None;
        let mut count = 0;
        entry.messages(|message| {
            count += 1;
            fingerprint.get_or_insert((message.publish_time, message.producer_name.to_owned(), message.sequence_id));
        });
        let mut held = 0;
        for key in candidates {
            let Some(record) = self.records(&key).await?.get(&entry.position) else { continue };
            let found = (record.publish_time, record.producer_name.clone(), record.sequence_id);
            if fingerprint.as_ref() != Some(&found) {
                return Err(another_topic(entry.position, &key));
            }
            held += if record.whole { count } else { record.count };
        }
        Ok((held >= count).then_some(Holds(())))
    }

    /// Whether an object holds the whole message that this chunk is the last one of.
    ///
    /// Errors: as of [`Catalogue::holds`].
    pub async fn holds_message_of(&mut self, last: &Entry) -> Result<Option<Holds>> {
        let Some(holds) = self.holds(last).await? else { return Ok(None) };
        let keys = self.spans.iter().filter(|(span, _)| span.covers(last.position)).map(|(_, key)| key.clone());
        for key in keys.collect::<Vec<_>>() {
            if self.records(&key).await?.get(&last.position).is_some_and(|record| record.assembled) {
                return Ok(Some(holds));
            }
        }
        Ok(None)
    }

    /// The records of one object, read through once.
    async fn records(&mut self, key: &str) -> Result<&Records> {
        if let Some(at) = self.open.iter().position(|(open, _)| open == key) {
            self.open.swap(0, at);
        } else {
            let records = read(self.store, key).await?;
            self.open.truncate(OPEN_OBJECTS - 1);
            self.open.push_front((key.to_owned(), records));
        }
        Ok(&self.open[0].1)
    }
}

async fn read(store: &impl Store, key: &str) -> Result<Records> {
    let broken = |why: String| {
        Error::new(Kind::Corrupt, format!("object {key} cannot be read, so nothing that it may hold is acknowledged"))
            .because(why)
    };
    let gone = || {
        Error::new(
            Kind::Unavailable,
            format!("object {key} was listed and is gone: somebody removes objects; run again"),
        )
    };
    let mut download = store.open(key).await?.ok_or_else(gone)?;
    let lines = Lines { records: Records::new(), partial: Vec::new() };
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
    match lines.partial.is_empty() {
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

/// Takes an object's bytes as they come and keeps what identifies each entry.
struct Lines {
    records: Records,
    partial: Vec<u8>,
}

impl Lines {
    fn line(&mut self, line: &[u8]) -> io::Result<()> {
        let stamp = jsonl::fingerprint(line).map_err(|e| io::Error::other(e.to_string()))?;
        let record = self.records.entry(stamp.id.position).or_insert_with(|| Record {
            publish_time: stamp.publish_time,
            producer_name: stamp.producer_name.into_owned(),
            sequence_id: stamp.sequence_id,
            count: 0,
            whole: stamp.id.batch_index.is_none(),
            assembled: stamp.first_chunk_id.is_some(),
        });
        record.count += 1;
        Ok(())
    }
}

impl Write for Lines {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let mut rest = bytes;
        while let Some(end) = rest.iter().position(|byte| *byte == b'\n') {
            let (head, tail) = rest.split_at(end);
            rest = &tail[1..];
            if self.partial.is_empty() {
                self.line(head)?;
            } else {
                let mut line = std::mem::take(&mut self.partial);
                line.extend_from_slice(head);
                self.line(&line)?;
            }
        }
        if self.partial.len() + rest.len() > MOST_LINE_BYTES {
            return Err(io::Error::other("a line is longer than any of ours"));
        }
        self.partial.extend_from_slice(rest);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

fn another_topic(at: Position, key: &str) -> Error {
    let text = format!(
        "entry {at} is not the message that object {key} holds under that id: this topic is another one than was backed up here \
         (deleted and made again?); nothing was acknowledged: give the rule another `prefix`"
    );
    Error::new(Kind::Conflict, text)
}

//! What the bucket says: which objects there are, and which of them holds a given entry.
//!
//! The listing is the catalogue: an object's key says its span. A span alone proves nothing, since an
//! object may have gaps; an entry is held only if an object has a record with that very id, publish
//! time, producer and sequence id. Only the spans that can matter are kept, and only a few objects
//! stay open.

mod records;

use std::collections::{HashMap, VecDeque};
use std::ops::Range;

use self::records::Records;
use crate::chunks::PATIENCE_MS;
use crate::encode::jsonl::Name;
use crate::error::{Error, Kind, Result};
use crate::message::{Entry, Message, PRODUCERS_CLOCK_MS, Position};
use crate::span::{Edge, Link, Span, hour_of, key_start};
use crate::store::{Listed, SHA256, Store};

const PAGE: u32 = 1000;
const OPEN_OBJECTS: usize = 4;
/// How far behind a chunk its whole message is looked for: [`PATIENCE_MS`] later it is given up, some clocks are ahead,
/// and keys say hours.
const BEHIND_MS: u64 = PATIENCE_MS + PRODUCERS_CLOCK_MS + 60 * 60 * 1000;
/// And no further than so many objects and bytes, so that a run comes to its end.
const MOST_BEHIND: usize = 1000;
const MOST_BYTES_BEHIND: u64 = 2 << 30;

/// The proof that objects hold an entry.
pub struct Holds(());

/// How much of an entry objects hold.
pub enum Held {
    Nothing,
    /// Messages are missing, these first; the end may lie beyond the entry's.
    AllBut(Range<u32>),
    Whole(Holds),
}

/// A message put together from its chunks.
struct Assembled {
    first: Position,
    last: Position,
    producer_name: Name,
    uuid: Name,
}

/// The objects of one partition's folder.
pub struct Catalogue<'a, S> {
    store: &'a S,
    folder: &'a str,
    /// Objects whose last entry is at or after where loading began, oldest first.
    spans: Vec<(Span, Listed)>,
    open: VecDeque<(String, Records)>,
    /// The messages put together from chunks in objects that were looked through for them.
    wholes: HashMap<String, Vec<Assembled>>,
    /// What this run itself has stored of an entry that is spread over several objects.
    parts: Option<(Position, Vec<Range<u32>>)>,
}

impl<'a, S: Store> Catalogue<'a, S> {
    pub fn new(store: &'a S, folder: &'a str) -> Self {
        Catalogue { store, folder, spans: Vec::new(), open: VecDeque::new(), wholes: HashMap::new(), parts: None }
    }

    /// Visits every object of the folder whose key sorts behind `after`, in the listing's order.
    async fn each(&self, mut after: Option<String>, mut visit: impl FnMut(Span, Listed)) -> Result<()> {
        let start = format!("{}dt=", self.folder);
        loop {
            let (page, more) = self.store.list(&start, after.as_deref(), PAGE).await?;
            after = page.last().map(|listed| listed.key.clone());
            for listed in page {
                if let Some(span) = self.span(&listed.key) {
                    visit(span, listed);
                }
            }
            if !more || after.is_none() {
                return Ok(());
            }
        }
    }

    /// The span of a key directly below the day and hour of this folder: what lies deeper is somebody's copy.
    fn span(&self, key: &str) -> Option<Span> {
        let inside = key.strip_prefix(self.folder)?;
        Span::of_key(key).filter(|_| inside.matches('/').count() == 2)
    }

    /// The object with the highest last entry, as a link of the chain: for a folder whose head is lost.
    pub async fn newest(&self) -> Result<Option<Link>> {
        self.newest_behind(None, None).await
    }

    /// The same among those whose key sorts behind `after`, which hold what was published in its hour or later, and but
    /// for the object `except`.
    pub async fn newest_behind(&self, after: Option<String>, except: Option<&str>) -> Result<Option<Link>> {
        let mut newest: Option<(Span, String)> = None;
        self.each(after, |span, Listed { key, .. }| {
            if Some(&*key) != except && newest.as_ref().is_none_or(|(best, _)| span.last > best.last) {
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
        self.each(None, |span, listed| {
            if span.last.position >= from {
                spans.push((span, listed));
            }
        })
        .await?;
        spans.sort_by(|(a, one), (b, other)| (a, &one.key).cmp(&(b, &other.key)));
        self.spans = spans;
        Ok(())
    }

    /// The newest entry that a loaded object may hold.
    pub fn last(&self) -> Option<Position> {
        self.spans.iter().map(|(span, _)| span.last.position).max()
    }

    /// Whether [`Catalogue::holds`] can answer for this entry without reading an object first.
    pub fn is_open_at(&self, at: Position) -> bool {
        self.covering(at).all(|key| self.open.iter().any(|(open, _)| open == key))
    }

    /// The objects whose span has this entry.
    fn covering(&self, at: Position) -> impl Iterator<Item = &String> {
        self.spans.iter().filter(move |(span, _)| span.covers(at)).map(|(_, listed)| &listed.key)
    }

    /// The object that begins with this message, if there is one. One listing of one page.
    pub async fn beginning_with(&self, first: Edge, publish_time: u64) -> Result<Option<String>> {
        let start = key_start(self.folder, first, publish_time);
        let (page, _) = self.store.list(&start, None, PAGE).await?;
        let begins = |key: &String| self.span(key).is_some_and(|span| span.first.begins_with(first));
        Ok(page.into_iter().map(|listed| listed.key).find(begins))
    }

    /// Says that an object of this run holds these messages of an entry, and not all of it.
    pub fn note_part(&mut self, at: Position, share: Range<u32>) {
        match &mut self.parts {
            Some((of, parts)) if *of == at => parts.push(share),
            parts => *parts = Some((at, vec![share])),
        }
    }

    pub fn has_part_of(&self, at: Position) -> bool {
        self.parts.as_ref().is_some_and(|(of, _)| *of == at)
    }

    /// What objects hold of this very entry.
    ///
    /// Errors: `Conflict` where an object has a record of that id that another message wrote: then the
    /// topic is not the one that was backed up here.
    pub async fn holds(&mut self, entry: &Entry) -> Result<Held> {
        let at = entry.position;
        let candidates: Vec<String> = self.covering(at).cloned().collect();
        let mut held: Vec<Range<u32>> =
            self.parts.iter().filter(|(of, _)| *of == at).flat_map(|(_, parts)| parts.clone()).collect();
        let mut stamps = Vec::new();
        for key in candidates {
            let Some(record) = self.records(&key).await?.get(&at) else { continue };
            let end = if record.whole { u32::MAX } else { record.first.saturating_add(record.count) };
            held.push(record.first..end);
            stamps.push((record.first, record.stamp(), key));
        }
        if held.is_empty() {
            let inside = entry.num_chunks().is_some() && self.is_in_a_whole_message(entry).await?;
            return Ok(if inside { Held::Whole(Holds(())) } else { Held::Nothing });
        }
        let mut count = 0;
        let mut stranger = None;
        entry.messages(|message| {
            for (_, stamp, key) in stamps.iter().filter(|(index, ..)| *index == count) {
                let Message { id, publish_time, producer_name, sequence_id, .. } = *message;
                if *stamp != (id.partition, publish_time, producer_name.into(), sequence_id) {
                    stranger.get_or_insert_with(|| key.clone());
                }
            }
            count += 1;
        });
        if let Some(key) = stranger {
            return Err(another_topic(at, &key));
        }
        held.sort_by_key(|share| share.start);
        let begins = |from| held.iter().map(|share| share.start).find(|start| *start > from).unwrap_or(u32::MAX);
        let from = held.iter().fold(0, |from, share| if share.start <= from { from.max(share.end) } else { from });
        Ok(if from >= count { Held::Whole(Holds(())) } else { Held::AllBut(from..begins(from)) })
    }

    /// Whether an object holds the whole message that this chunk is the last one of.
    ///
    /// Errors: as of [`Catalogue::holds`].
    pub async fn holds_message_of(&mut self, last: &Entry) -> Result<Option<Holds>> {
        let Held::Whole(holds) = self.holds(last).await? else { return Ok(None) };
        for key in self.covering(last.position).cloned().collect::<Vec<_>>() {
            if self.records(&key).await?.get(&last.position).is_some_and(|record| record.chunks.is_some()) {
                return Ok(Some(holds));
            }
        }
        Ok(None)
    }

    /// Whether an object holds the whole message that this chunk is a part of: its record stands at the last chunk's
    /// place, which may lie objects behind.
    async fn is_in_a_whole_message(&mut self, chunk: &Entry) -> Result<bool> {
        let (at, uuid) = (chunk.position, chunk.metadata.uuid.as_deref().map(Name::from));
        let producer_name = Name::from(&*chunk.metadata.producer_name);
        let end = hour_of(self.folder, chunk.time().saturating_add(BEHIND_MS));
        let behind = self.spans.iter().filter(|(span, listed)| span.last.position >= at && listed.key < end);
        let mut bytes = 0;
        let near = |listed: &&Listed| {
            let near = bytes < MOST_BYTES_BEHIND;
            bytes += listed.length;
            near
        };
        let near = behind.map(|(_, listed)| listed).take(MOST_BEHIND).take_while(near);
        let keys: Vec<String> = near.map(|listed| listed.key.clone()).collect();
        for key in keys {
            if !self.wholes.contains_key(&key) {
                let found = self.records(&key).await?.iter().filter_map(|(last, record)| {
                    let (first, uuid) = record.chunks?;
                    Some(Assembled { first, last: *last, producer_name: record.producer_name, uuid })
                });
                let found = found.collect();
                self.wholes.insert(key.clone(), found);
            }
            let has = |whole: &Assembled| {
                whole.first <= at
                    && at <= whole.last
                    && whole.producer_name == producer_name
                    && Some(whole.uuid) == uuid
            };
            if self.wholes[&key].iter().any(has) {
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// The records of one object, read through once.
    async fn records(&mut self, key: &str) -> Result<&Records> {
        if let Some(at) = self.open.iter().position(|(open, _)| open == key) {
            self.open.swap(0, at);
        } else {
            let records = records::read(self.store, key).await?;
            self.open.truncate(OPEN_OBJECTS - 1);
            self.open.push_front((key.to_owned(), records));
        }
        Ok(&self.open[0].1)
    }
}

fn another_topic(at: Position, key: &str) -> Error {
    let text = format!(
        "entry {at} is not the message that object {key} holds under that id: this topic is another one than was backed up here \
         (deleted and made again?); nothing was acknowledged: give the rule another `prefix`"
    );
    Error::new(Kind::Conflict, text)
}

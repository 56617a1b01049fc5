//! The object: its name, its metadata, and the proof that it is stored.
//!
//! ```text
//! {prefix}{tenant}/{namespace}/{topic}/partition={n}/dt=YYYY-MM-DD/hour=HH/{first}_{last}_{count}.{ext}
//! ```
//!
//! The messages alone decide name and bytes. Ids are `{ledger:019}-{entry:019}`; an object that holds
//! part of one large entry adds the batch index, `-{batch:06}`. The day and the hour are those of the
//! first message's publish time, UTC: the producer's clock, so names sort by id within a folder only,
//! and whoever wants order sorts by [`Span`].
//!
//! [`Stored`] is the only thing that can be acknowledged, and only this module and the catalogue make
//! one, each from the store's own answer.

use std::fmt;

use chrono::DateTime;
use serde::{Deserialize, Serialize};

use crate::catalogue::Holds;
use crate::encode::spool::Body;
use crate::error::{Error, Kind, Result};
use crate::head::Link;
use crate::message::Position;
use crate::store::{SHA256, Store, Upload};

/// One end of an object: an entry, or one message of an entry that is spread over several objects.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Edge {
    pub position: Position,
    pub batch: Option<u32>,
}

impl From<Position> for Edge {
    fn from(position: Position) -> Self {
        Edge { position, batch: None }
    }
}

/// `ledger:entry`, and `:batch` inside a spread entry.
impl fmt::Display for Edge {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.position)?;
        self.batch.map_or(Ok(()), |batch| write!(f, ":{batch}"))
    }
}

impl Serialize for Edge {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Edge {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        let edge = || {
            let mut parts = text.split(':');
            let position = Position::new(parts.next()?.parse().ok()?, parts.next()?.parse().ok()?);
            let batch = parts.next().map(str::parse).transpose().ok()?;
            parts.next().is_none().then_some(Edge { position, batch })
        };
        edge().ok_or_else(|| serde::de::Error::custom(format!("`{text}` is not ledger:entry or ledger:entry:batch")))
    }
}

/// What an object's name says of its content.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Span {
    pub first: Edge,
    pub last: Edge,
    /// Messages.
    pub count: u64,
}

impl Span {
    /// Whether an entry's id lies inside; whether the object holds it is another question.
    pub fn covers(&self, at: Position) -> bool {
        self.first.position <= at && at <= self.last.position
    }

    /// The span that a key names; `None` for a key that is not an object's.
    pub fn of_key(key: &str) -> Option<Self> {
        let file = key.rsplit('/').next()?;
        let (stem, _extension) = file.split_once('.')?;
        let mut parts = stem.split('_');
        let (first, last, count) = (parts.next()?, parts.next()?, parts.next()?);
        if parts.next().is_some() {
            return None;
        }
        Some(Span { first: edge_of_name(first)?, last: edge_of_name(last)?, count: count.parse().ok()? })
    }
}

fn edge_of_name(text: &str) -> Option<Edge> {
    let mut parts = text.split('-');
    let (ledger, entry, batch) = (parts.next()?, parts.next()?, parts.next());
    let plain = ledger.len() == 19 && entry.len() == 19 && batch.is_none_or(|b| b.len() >= 6) && parts.next().is_none();
    if !plain {
        return None;
    }
    let batch = batch.map(str::parse).transpose().ok()?;
    Some(Edge { position: Position::new(ledger.parse().ok()?, entry.parse().ok()?), batch })
}

fn name_of_edge(edge: Edge) -> String {
    let Edge { position: Position { ledger, entry }, batch } = edge;
    let batch = batch.map(|batch| format!("-{batch:06}")).unwrap_or_default();
    format!("{ledger:019}-{entry:019}{batch}")
}

/// The start of the key of every object in `folder` that begins with `first`.
pub fn key_start(folder: &str, first: Edge, publish_time: u64) -> String {
    // A publish time beyond the calendar is a producer's nonsense: it must not stop the backup.
    let at = i64::try_from(publish_time).ok().and_then(DateTime::from_timestamp_millis).unwrap_or(DateTime::UNIX_EPOCH);
    format!("{folder}{}/{}_", at.format("dt=%Y-%m-%d/hour=%H"), name_of_edge(first))
}

/// The key of the object that holds `span`.
pub fn key(folder: &str, span: &Span, publish_time: u64, extension: &str) -> String {
    let start = key_start(folder, span.first, publish_time);
    format!("{start}{}_{}.{extension}", name_of_edge(span.last), span.count)
}

/// Bytes and metadata, ready to be stored under a final name, and what may be acknowledged when they are.
pub struct Object {
    pub key: String,
    pub span: Span,
    pub body: Body,
    pub link: Link,
    pub previous: Option<Link>,
    pub gzip: bool,
    /// Everything up to here is in this object or in others that are stored.
    pub owed_through: Position,
}

impl Object {
    /// Ids, count, place in the chain and tool: what a reader can check without opening it. The store adds
    /// the digest.
    fn metadata(&self) -> Vec<(String, String)> {
        let mut pairs = vec![
            ("first-id", self.span.first.to_string()),
            ("last-id", self.span.last.to_string()),
            ("count", self.span.count.to_string()),
            ("seq", self.link.seq.to_string()),
            ("tool", concat!("tdmq-backup/", env!("CARGO_PKG_VERSION")).to_owned()),
        ];
        if let Some(previous) = &self.previous {
            pairs.push(("previous-id", previous.last.to_string()));
            pairs.push(("previous-sha256", previous.digest.clone()));
        }
        pairs.into_iter().map(|(name, value)| (name.to_owned(), value)).collect()
    }

    /// Stores the object. `Ok` means the store has confirmed these very bytes under this name.
    pub async fn store(self, store: &impl Store) -> Result<Stored> {
        let metadata = self.metadata();
        let upload = Upload {
            key: &self.key,
            content_type: if self.gzip { "application/gzip" } else { "application/x-ndjson" },
            content_encoding: None,
            metadata: &metadata,
            body: &self.body,
        };
        store.put(&upload).await?;
        Ok(Stored { through: self.owed_through })
    }
}

/// The proof that everything up to an entry is in the bucket. It cannot be copied, and acknowledging
/// consumes it.
#[derive(Debug)]
pub struct Stored {
    through: Position,
}

impl Stored {
    /// An entry that comes again and that an object holds already.
    pub(crate) fn already(entry: Position, _proof: Holds) -> Self {
        Stored { through: entry }
    }

    /// The newest entry that may be acknowledged.
    pub fn through(&self) -> Position {
        self.through
    }
}

/// Compares what the store holds under `key` with what should be there.
pub async fn is_stored(store: &impl Store, key: &str, digest: &str) -> Result<bool> {
    let Some(held) = store.look(key).await? else { return Ok(false) };
    match held.metadata.get(SHA256).map(String::as_str) {
        Some(found) if found == digest => Ok(true),
        found => {
            let text = format!(
                "object {key} is in the bucket with digest {}, but {digest} was announced; nothing was acknowledged: \
                 find out who wrote it, then move it out of the prefix",
                found.unwrap_or("none")
            );
            Err(Error::new(Kind::Conflict, text))
        }
    }
}

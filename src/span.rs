//! What an object is called, what it spans, and where it stands in the chain.
//!
//! ```text
//! {prefix}{tenant}/{namespace}/{topic}/partition={n}/dt=YYYY-MM-DD/hour=HH/{first}_{last}_{count}.{ext}
//! ```
//!
//! Ids are `{ledger:019}-{entry:019}`; an object that holds part of one large entry adds the batch index,
//! `-{batch:06}`. The day and the hour are those of the first message's publish time, UTC: the producer's
//! clock, so names sort by id within a folder only, and whoever wants order sorts by [`Span`].

use std::fmt;

use chrono::DateTime;
use serde::{Deserialize, Serialize};

use crate::message::Position;

/// 9999-12-31T23:59:59.999Z.
const LAST_MS: i64 = 253_402_300_799_999;

/// What our objects end with; other files in the folder are somebody else's.
const EXTENSIONS: [&str; 2] = ["jsonl.gz", "jsonl"];

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
        let (stem, extension) = file.split_once('.')?;
        EXTENSIONS.contains(&extension).then_some(())?;
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
    // A publish time beyond four digits of a year is a producer's nonsense: it must not stop the backup.
    let at = i64::try_from(publish_time).ok().filter(|ms| *ms <= LAST_MS).and_then(DateTime::from_timestamp_millis);
    let at = at.unwrap_or(DateTime::UNIX_EPOCH);
    format!("{folder}{}/{}_", at.format("dt=%Y-%m-%d/hour=%H"), name_of_edge(first))
}

/// The key of the object that holds `span`.
pub fn key(folder: &str, span: &Span, publish_time: u64, extension: &str) -> String {
    let start = key_start(folder, span.first, publish_time);
    format!("{start}{}_{}.{extension}", name_of_edge(span.last), span.count)
}

/// One object in the chain.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Link {
    pub key: String,
    /// The newest entry in this object or in any before it.
    pub last: Position,
    /// From 1.
    pub seq: u64,
    /// SHA-256 of the stored bytes, hexadecimal.
    pub digest: String,
}

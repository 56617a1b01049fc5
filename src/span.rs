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

impl Edge {
    /// Whether both are the same message's: an entry begins with its first one.
    pub fn begins_with(self, other: Edge) -> bool {
        self.position == other.position && self.batch.unwrap_or(0) == other.batch.unwrap_or(0)
    }
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

    /// The span that a key names; `None` for a key that is not an object's, to the letter: what only resembles
    /// one is somebody else's.
    pub fn of_key(key: &str) -> Option<Self> {
        let mut parts = key.rsplit('/');
        let (file, hour, day) = (parts.next()?, parts.next()?, parts.next()?);
        let dated = |part: &str, name: &str, length| part.strip_prefix(name).is_some_and(|text| text.len() == length);
        (dated(day, "dt=", 10) && dated(hour, "hour=", 2)).then_some(())?;
        let (stem, extension) = file.split_once('.')?;
        EXTENSIONS.contains(&extension).then_some(())?;
        let mut parts = stem.split('_');
        let (first, last, count) = (parts.next()?, parts.next()?, parts.next()?);
        if parts.next().is_some() {
            return None;
        }
        let span = Span { first: edge_of_name(first)?, last: edge_of_name(last)?, count: count.parse().ok()? };
        let is_sound = span.first.position <= span.last.position && span.count > 0;
        (is_sound && span.name() == stem).then_some(span)
    }

    fn name(&self) -> String {
        format!("{}_{}_{}", name_of_edge(self.first), name_of_edge(self.last), self.count)
    }
}

fn edge_of_name(text: &str) -> Option<Edge> {
    let mut parts = text.split('-');
    let (ledger, entry, batch) = (parts.next()?, parts.next()?, parts.next());
    if parts.next().is_some() {
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

/// The start of the key of every object in `folder` that begins with the message at `first`; others begin so too.
pub fn key_start(folder: &str, first: Edge, publish_time: u64) -> String {
    // The first message of an entry begins objects of the whole entry, and of its first part.
    let first = Edge { batch: first.batch.filter(|batch| *batch > 0), ..first };
    format!("{}{}", hour_of(folder, publish_time), name_of_edge(first))
}

/// The folder of a day and an hour: keys of objects that begin before that hour sort before it.
pub fn hour_of(folder: &str, publish_time: u64) -> String {
    // A publish time beyond four digits of a year is a producer's nonsense: it must not stop the backup.
    let at = i64::try_from(publish_time).ok().filter(|ms| *ms <= LAST_MS).and_then(DateTime::from_timestamp_millis);
    let at = at.unwrap_or(DateTime::UNIX_EPOCH);
    format!("{folder}{}/", at.format("dt=%Y-%m-%d/hour=%H"))
}

/// The key of the object that holds `span`.
pub fn key(folder: &str, span: &Span, publish_time: u64, extension: &str) -> String {
    format!("{}{}.{extension}", hour_of(folder, publish_time), span.name())
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

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const FOLDER: &str = "p/t/n/x/partition=0/";

    fn an_edge() -> impl Strategy<Value = Edge> {
        let id = prop_oneof![0..9i64, any::<i64>().prop_map(|id| id & i64::MAX)];
        let batch = prop_oneof![Just(None), (0..9u32).prop_map(Some), any::<u32>().prop_map(Some)];
        (id.clone(), id, batch)
            .prop_map(|(ledger, entry, batch)| Edge { position: Position::new(ledger, entry), batch })
    }

    proptest! {
        #[test]
        fn a_key_says_its_span(one in an_edge(), other in an_edge(), count in 1..u64::MAX, time in any::<u64>()) {
            let span = Span { first: one.min(other), last: one.max(other), count };
            for extension in EXTENSIONS {
                let key = key(FOLDER, &span, time, extension);
                prop_assert_eq!(Span::of_key(&key), Some(span));
                prop_assert!(key.starts_with(&key_start(FOLDER, span.first, time)));
            }
        }

        #[test]
        fn only_one_text_of_a_key_names_a_span(at in 0..140usize, to in "[-_.+0-9a-z/]") {
            let span = Span { first: Position::new(12, 0).into(), last: Position::new(12, 3).into(), count: 4 };
            let key = key("p/", &span, 0, "jsonl.gz");
            if at < key.len() {
                let mut other = key.clone();
                other.replace_range(at..=at, &to);
                if let Some(found) = Span::of_key(&other) {
                    // Another span, another day or another folder: all of them say what they mean.
                    let file = format!("/{}.jsonl", found.name());
                    prop_assert!(other.trim_end_matches(".gz").ends_with(&file));
                }
            }
        }
    }
}

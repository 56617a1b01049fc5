//! The object on its way into the bucket, and the proof that it is there.
//!
//! The messages alone decide name and bytes ([`crate::span`], [`crate::encode`]).
//!
//! ```text
//!  Object::store ─┐                 parts that wait
//!                 ├─▶ Kept ─ short_of ──┴──▶ Stored ─▶ acknowledge
//!  Holds ─────────┘
//! ```
//!
//! [`Stored`] is the only thing that can be acknowledged. It comes from a [`Kept`], which only this module
//! makes, from the store's own answer, and never without asking which parts of messages still wait.

use crate::catalogue::Holds;
use crate::chunks::Waiting;
use crate::encode::spool::Body;
use crate::error::{Error, Kind, Result};
use crate::message::Position;
use crate::span::{Link, Span};
use crate::store::{SHA256, Store, Upload, UploadId};

/// Bytes and metadata, ready to be stored under a final name, and what is in the bucket when they are.
pub struct Object {
    pub key: String,
    pub span: Span,
    pub body: Body,
    /// Its place in the chain, from 1.
    pub seq: u64,
    pub previous: Option<Link>,
    pub gzip: bool,
    /// Everything up to here is in this object or in others that are stored, but for parts that wait.
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
            ("seq", self.seq.to_string()),
            ("tool", concat!("tdmq-backup/", env!("CARGO_PKG_VERSION")).to_owned()),
        ];
        if let Some(previous) = &self.previous {
            pairs.push(("previous-id", previous.last.to_string()));
            // Not known of an object that lost its metadata while the head was lost, nor of one that nobody has seen.
            if !previous.digest.is_empty() {
                pairs.push(("previous-sha256", previous.digest.clone()));
            }
        }
        pairs.into_iter().map(|(name, value)| (name.to_owned(), value)).collect()
    }

    fn upload<'a>(&'a self, metadata: &'a [(String, String)]) -> Upload<'a> {
        Upload {
            key: &self.key,
            content_type: if self.gzip { "application/gzip" } else { "application/x-ndjson" },
            content_encoding: None,
            metadata,
            body: &self.body,
        }
    }

    /// Begins the upload of a long object: see [`Store::begin`].
    pub async fn begin(&self, store: &impl Store) -> Result<Option<UploadId>> {
        store.begin(&self.upload(&self.metadata())).await
    }

    /// Stores the object. `Ok` means the store has confirmed these very bytes under this name.
    pub async fn store(self, store: &impl Store, begun: Option<UploadId>) -> Result<Kept> {
        store.put(&self.upload(&self.metadata()), begun.as_ref()).await?;
        Ok(Kept { through: self.owed_through })
    }
}

/// The proof that everything up to an entry is in the bucket, but for parts of chunked messages that wait.
#[derive(Debug)]
pub struct Kept {
    through: Position,
}

impl Kept {
    /// An entry that comes again and that an object holds already.
    pub(crate) fn already(entry: Position, _proof: Holds) -> Self {
        Kept { through: entry }
    }

    /// Both proofs in one: the one that reaches further.
    pub(crate) fn and(self, other: Option<Kept>) -> Self {
        other.into_iter().fold(self, |one, other| if other.through > one.through { other } else { one })
    }

    /// What of it may be acknowledged: nothing from the first part that waits on. `None` where that is
    /// nothing at all.
    pub(crate) fn short_of(&self, waiting: Waiting) -> Option<Stored> {
        let through = match waiting {
            Waiting::Nothing => self.through,
            Waiting::Behind(last) => last?.min(self.through),
        };
        Some(Stored { through })
    }
}

/// The proof that everything up to an entry is in the bucket. It cannot be copied, and acknowledging
/// consumes it.
#[derive(Debug)]
pub struct Stored {
    through: Position,
}

impl Stored {
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::span::Edge;

    #[test]
    fn a_proof_is_shortened_by_what_waits_and_never_reaches_further() {
        let at = |entry| Position::new(1, entry);
        let through = |waiting| Kept { through: at(5) }.short_of(waiting).map(|stored| stored.through());
        assert_eq!(through(Waiting::Nothing), Some(at(5)));
        assert_eq!(through(Waiting::Behind(Some(at(3)))), Some(at(3)));
        assert_eq!(through(Waiting::Behind(Some(at(9)))), Some(at(5)));
        assert_eq!(through(Waiting::Behind(None)), None);
        let both = Kept { through: at(2) }.and(Some(Kept { through: at(4) }));
        assert_eq!(both.short_of(Waiting::Nothing).map(|stored| stored.through()), Some(at(4)));
    }

    #[test]
    fn metadata_of_the_longest_ids_is_below_half_of_the_two_kibibytes_that_stores_take() {
        let last = Position::new(i64::MAX, i64::MAX);
        let edge = Edge { position: last, batch: Some(u32::MAX) };
        let object = Object {
            key: String::new(),
            span: Span { first: edge, last: edge, count: u64::MAX },
            body: Body::from(Vec::new()),
            seq: u64::MAX,
            previous: Some(Link { key: String::new(), last, seq: u64::MAX, digest: "f".repeat(64) }),
            gzip: true,
            owed_through: last,
        };
        let metadata = object.metadata();
        let taken: usize = metadata.iter().map(|(name, value)| name.len() + value.len()).sum();
        let digest = SHA256.len() + 64;
        // Some stores count the prefix of each name.
        let prefixes = (metadata.len() + 1) * "x-amz-meta-".len();
        assert!(taken + digest + prefixes < 1 << 10, "{taken}");
    }
}

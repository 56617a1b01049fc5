//! The write-ahead head: one small object per partition that pins where the next object ends.
//!
//! ```text
//! {prefix}{tenant}/{namespace}/{topic}/partition={n}/_head.json
//!
//!   done   the newest object known to be stored; `last` never goes down
//!   next   the object about to be written: announced before it is stored
//! ```
//!
//! A run that dies after announcing leaves behind exactly what its successor must write: the same
//! span under the same name, so a late PUT of the dead run writes the same bytes. Announcing folds
//! the previous `next`, stored by then, into `done`.

use serde::{Deserialize, Serialize};

use crate::error::{Error, Kind, Result};
use crate::event::SeekEvent;
use crate::message::Position;
use crate::span::{Link, Span};
use crate::store::{Expect, Store, Version};

/// The newest form of the head that this program reads and writes.
const FORM: u32 = 1;
/// A head this old is written again, so that a lifecycle rule that counts days leaves it alone, and so that it knows
/// what was stored before such a rule takes that.
const FRESH_FOR_MS: u64 = 20 * 60 * 60 * 1000;
/// Names of events that are kept.
const MOST_OBEYED: usize = 50;

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Head {
    pub version: u32,
    pub topic: String,
    pub subscription: String,
    pub partition: i32,
    pub start: Start,
    /// The last move that an event asked for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub seek: Option<Sought>,
    /// Events with a name before that one, the newest last: none of them is obeyed again.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub obeyed: Vec<Obeyed>,
    pub done: Option<Link>,
    pub next: Option<Next>,
    /// How many partitions the topic had when the rule began; absent outside a partitioned topic.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub partitions: Option<u32>,
    /// Announced, not stored, and passed over by the cursor: its write may still arrive.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub late: Option<Late>,
    /// Up to here reports have named what the cursor passed over and nothing of ours acknowledged.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub passed: Option<Position>,
    /// When this was written, ms since the epoch.
    pub written: u64,
}

impl Head {
    /// Every event with a name that it knows of, the newest last.
    pub fn events(&self) -> impl Iterator<Item = Obeyed> + '_ {
        let last = self
            .seek
            .as_ref()
            .and_then(|Sought { asked, event, .. }| Some(Obeyed { asked: asked.clone(), event: event.clone()? }));
        self.obeyed.iter().cloned().chain(last)
    }

    /// Whether it is one of these. What has no name is a new wish each time.
    pub fn has_obeyed(&self, event: &SeekEvent) -> bool {
        let asked = event.to.to_string();
        self.events().any(|one| one.asked == asked && Some(&one.event) == event.id.as_ref())
    }

    pub fn remember(&mut self, event: Obeyed) {
        self.obeyed.retain(|known| *known != event);
        self.obeyed.push(event);
        let surplus = self.obeyed.len().saturating_sub(MOST_OBEYED);
        self.obeyed.drain(..surplus);
    }
}

/// Where the rule began.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Start {
    /// As the rule said then.
    pub asked: String,
    /// The mark-delete position that this came to; while pending, the one to bring about.
    pub resolved: Option<Position>,
    pub state: StartState,
}

/// A move of the cursor that an event asked for.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Sought {
    pub asked: String,
    /// Which event it was, where it has a name: the same one is not obeyed again.
    pub event: Option<String>,
    /// The mark-delete position to bring about; `None` is the earliest.
    pub resolved: Option<Position>,
    /// The mark-delete position before.
    pub from: Option<Position>,
    pub state: StartState,
}

/// An event that moved the cursor, or that a later one overtook.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Obeyed {
    pub asked: String,
    pub event: String,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum StartState {
    /// Written before the cursor is moved: a run that dies is followed by one that moves it again.
    Pending,
    /// Written before anything is acknowledged from there: never moved again.
    Applied,
}

/// Entries that somebody else may still store.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Late {
    pub first: Position,
    pub last: Position,
    /// No later than this, ms since the epoch.
    pub until: u64,
}

impl Late {
    /// Both.
    pub fn and(self, other: Late) -> Late {
        let (first, last) = (self.first.min(other.first), self.last.max(other.last));
        Late { first, last, until: self.until.max(other.until) }
    }
}

/// The object about to be written, pinned.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Next {
    #[serde(flatten)]
    pub span: Span,
    pub key: String,
    pub seq: u64,
    pub digest: String,
    pub format: String,
    pub compression: String,
    /// The version of the bytes: see [`crate::encode::LAYOUT`].
    pub layout: u32,
    /// The multipart upload under way, if there is one.
    pub upload_id: Option<String>,
    /// Where a message in it begins that came in chunks, if that is before the span.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub first_chunk: Option<Position>,
    /// When its writer gives up, ms since the epoch.
    pub until: u64,
    /// Runs that announced it, the first included.
    pub runs: u32,
}

impl Next {
    /// The first entry that anything in it came from.
    pub fn begins(&self) -> Position {
        self.first_chunk.unwrap_or(self.span.first.position)
    }

    /// Its place in the chain once it is stored.
    pub fn link(&self, done: Option<&Link>) -> Link {
        let last = self.span.last.position.max(done.map_or(Position::new(-1, -1), |done| done.last));
        Link { key: self.key.clone(), last, seq: self.seq, digest: self.digest.clone() }
    }
}

/// A head and where it stands in the store.
#[derive(Debug)]
pub struct HeadFile {
    pub head: Head,
    key: String,
    /// `None` for a head that was not yet written.
    version: Option<Version>,
    /// Something was named that the store does not know of.
    unsaved: bool,
}

/// Whose head is expected.
#[derive(Clone, Debug)]
pub struct Owner {
    pub topic: String,
    pub subscription: String,
    pub partition: i32,
}

impl HeadFile {
    /// Reads the head of a folder (which ends with `/`). `None` where there is none.
    pub async fn read(store: &impl Store, folder: &str, owner: &Owner) -> Result<Option<Self>> {
        let key = head_key(folder);
        let found = store.read_small(&key).await.map_err(|e| match e.kind() {
            Kind::Corrupt => no_head(&key).because(e),
            _ => e,
        })?;
        let Some(found) = found else { return Ok(None) };
        let head = parse(&key, &found.bytes, owner)?;
        Ok(Some(HeadFile { head, key, version: Some(found.version), unsaved: false }))
    }

    /// The head of a rule that has none, not yet written.
    pub fn new(folder: &str, owner: &Owner, start: Start, done: Option<Link>) -> Self {
        let Owner { topic, subscription, partition } = owner.clone();
        let head = Head {
            version: FORM,
            topic,
            subscription,
            partition,
            start,
            seek: None,
            obeyed: Vec::new(),
            done,
            next: None,
            partitions: None,
            late: None,
            passed: None,
            written: 0,
        };
        HeadFile { head, key: head_key(folder), version: None, unsaved: false }
    }

    /// Writes `head` in place of what was read, where the store honours conditions only if nobody else
    /// wrote meanwhile.
    ///
    /// Errors: `Busy` where somebody did, `Unknown` where the store did not answer. Either ends the run.
    pub async fn write(&mut self, store: &impl Store, mut head: Head, now_ms: u64) -> Result<()> {
        head.written = now_ms;
        let bytes = serde_json::to_vec_pretty(&head)
            .map_err(|e| Error::new(Kind::Internal, "the head does not become JSON").because(e))?;
        let expect = self.version.as_ref().map_or(Expect::Absent, Expect::Unchanged);
        let written = store.write_small(&self.key, bytes, expect).await;
        self.version = Some(written.map_err(|e| {
            match e.kind() {
                Kind::Conflict => {
                    Error::new(Kind::Busy, "another run wrote the head meanwhile; what this one had read was dropped")
                        .because(e)
                }
                _ => e,
            }
        })?);
        self.head = head;
        self.unsaved = false;
        Ok(())
    }

    /// Whether the store has none yet.
    pub fn is_new(&self) -> bool {
        self.version.is_none()
    }

    /// What this run has learned; the next announcement writes it.
    pub fn fold(&mut self, done: Option<Link>, next: Option<Next>) {
        self.head.done = done;
        self.head.next = next;
    }

    /// Somebody else may still store these; the next announcement says so.
    pub fn expect(&mut self, late: Option<Late>) {
        self.head.late = late;
    }

    /// A report names everything up to here; the next write says so.
    pub fn pass(&mut self, at: Position) {
        self.head.passed = Some(at);
        self.unsaved = true;
    }

    /// Whether the store knows what reports have named.
    pub fn is_saved(&self) -> bool {
        !self.unsaved
    }

    /// Whether the head is so old that a lifecycle rule might take it.
    pub fn is_stale(&self, now_ms: u64) -> bool {
        now_ms.saturating_sub(self.head.written) >= FRESH_FOR_MS
    }

    /// Writes a stale head again.
    pub async fn refresh(&mut self, store: &impl Store, now_ms: u64) -> Result<()> {
        if !self.is_stale(now_ms) {
            return Ok(());
        }
        self.write(store, self.head.clone(), now_ms).await
    }

    /// Whether the store still holds what was last read or written here.
    pub async fn is_unchanged(&self, store: &impl Store) -> Result<bool> {
        let found = store.read_small(&self.key).await?;
        Ok(found.map(|found| found.version) == self.version)
    }
}

fn head_key(folder: &str) -> String {
    format!("{folder}_head.json")
}

fn no_head(key: &str) -> Error {
    let text =
        format!("{key} is not a head; nothing was read: restore it, or remove it to have it rebuilt from the objects");
    Error::new(Kind::Corrupt, text)
}

fn parse(key: &str, bytes: &[u8], owner: &Owner) -> Result<Head> {
    #[derive(Deserialize)]
    struct Form {
        version: u32,
    }
    let broken = |e: serde_json::Error| no_head(key).because(e);
    let form: Form = serde_json::from_slice(bytes).map_err(broken)?;
    if form.version > FORM {
        let text = format!(
            "{key} was written by a newer version of this program (form {}, this one knows {FORM}): update",
            form.version
        );
        return Err(Error::new(Kind::Invalid, text));
    }
    let head: Head = serde_json::from_slice(bytes).map_err(broken)?;
    let found = (head.topic.as_str(), head.subscription.as_str(), head.partition);
    if found != (&owner.topic, &owner.subscription, owner.partition) {
        let text = format!(
            "{key} belongs to subscription {:?} of {}: two rules must not share a path; give this rule another `prefix`, or set `subscription` to that one",
            head.subscription, head.topic
        );
        return Err(Error::new(Kind::Invalid, text));
    }
    Ok(head)
}

//! What the first delivered entry says about the run before: where it died, and what follows from that.
//!
//! | the entry is | then |
//! |---|---|
//! | above `done` and `next`, and `next`'s object is in the bucket | the normal case |
//! | above `next`, and its object is not there | something was removed, or the head is an old one; entries are looked up |
//! | at or below `next`, and `next`'s object is in the bucket | it is stored; its entries are skipped |
//! | at or below `next`, and no object holds any of its entries | exactly that span is written |
//! | at or below `next`, and an object holds one of its entries | a dead writer's old head; waited for, then forgotten |
//! | at or below `done` | the cursor went back; skipped where an object holds that very entry |
//! | at or below what was announced, passed over by the cursor, and may still be written | waited for |

use crate::batch::Caps;
use crate::error::{Error, Kind, Result};
use crate::head::{Head, Late, Next, StartState};
use crate::message::{Entry, Position};
use crate::object::is_stored;
use crate::source::Source;
use crate::span::{Link, Span};
use crate::store::Store;

use super::Drain;

/// Runs that may fail to store one announced object before it is planned anew, and smaller.
const MOST_RUNS: u32 = 3;
/// How long after its writer's deadline an announced object may still appear.
const LATE_WRITE_MS: u64 = 15 * 60 * 1000;

/// How deliveries stand to what the bucket holds.
#[derive(Debug)]
pub(super) struct Standing {
    /// Entries up to here may be stored: each is looked up before it is taken.
    pub horizon: Option<Position>,
    /// The span that must be written exactly.
    pub pinned: Option<Next>,
}

impl<S: Source, T: Store> Drain<'_, S, T> {
    /// Finds out how things stand, at the first delivered entry.
    pub(super) async fn stand(&mut self, entry: &Entry) -> Result<Standing> {
        let first = entry.position;
        let mut head = self.head().clone();
        let now = self.clock.now_ms();
        let mut pinned = None;
        let mut late = head.late.filter(|late| now < late.until);
        if let Some(next) = head.next.take() {
            if self.source.attend(is_stored(self.store, &next.key, &next.digest)).await? {
                head.done = Some(next.link(head.done.as_ref()));
            } else if first > next.span.last.position {
                self.end_upload(&next).await;
                self.report.warnings.push(format!(
                    "object {} was announced and is not in the bucket, and its entries are acknowledged: it was expired or deleted, or somebody moved the cursor, or the head is an old one that a frozen run put back",
                    next.key
                ));
                let write = late_write(&next);
                if now < write.until {
                    late = Some(late.map_or(write, |late| late.and(write)));
                }
                // Or the head itself is an old one that a frozen writer put back: it is not trusted further.
                self.suspect = true;
                // Its place in the chain stays taken: it shows the gap. Its digest is not said: perhaps nobody stored it.
                head.done = Some(match head.done {
                    Some(done) => Link { seq: done.seq.max(next.seq), ..done },
                    None => Link { digest: String::new(), ..next.link(None) },
                });
            } else {
                pinned = Some(next.clone());
                head.next = Some(next);
            }
            self.head.fold(head.done, head.next);
        }
        self.head.expect(late);
        if let Some(late) = late.filter(|late| first <= late.last) {
            return Err(self.wait_for(late, "the cursor, which had passed over them, went back"));
        }
        if let Some(next) = pinned.take_if(|next| next.runs >= MOST_RUNS) {
            self.give_up_pinned(
                &next,
                "it could not be stored in several runs: lower max_bytes, or give the function more time",
            )
            .await?;
            // The same again would fare the same, on a way to the store that is too slow for it.
            let Caps { messages, bytes } = self.caps;
            self.caps = Caps { messages: messages.min((next.span.count / 4).max(100)), bytes: bytes / 4 };
        }
        let done = self.head().done.as_ref().map(|done| done.last);
        // A broker that says where the cursor stands was asked before; but behind a chunk that waits for the rest of its
        // message more may be stored than is acknowledged.
        let before = Position::new(first.ledger, first.entry - 1);
        let unknown = self.mark_delete.is_none() && done.is_some_and(|done| done < before);
        if unknown || entry.num_chunks().is_some() {
            self.learn_of_newer().await?;
        }
        let done = self.head().done.as_ref().map(|done| done.last);
        // What an event passed over was not left out by the broker.
        let sought = self.head().seek.as_ref().filter(|seek| seek.state == StartState::Applied);
        self.previous = self.previous.or(done.max(sought.and_then(|seek| seek.resolved)));
        let mut horizon = done;
        if done.is_some_and(|done| first <= done) || pinned.is_some() || self.suspect {
            self.source.attend(self.catalogue.load(first)).await?;
            horizon = done.max(self.catalogue.last());
        }
        Ok(Standing { horizon, pinned })
    }

    /// The pinned span cannot be written as it was announced. While its writer may still be at it, nothing
    /// is done; afterwards it is planned anew, and the head says so before anything else happens.
    pub(super) async fn give_up_pinned(&mut self, next: &Next, why: &str) -> Result<()> {
        let Span { first, last, .. } = next.span;
        let (now, write) = (self.clock.now_ms(), late_write(next));
        if now < write.until {
            return Err(self.wait_for(write, why));
        }
        self.report.warnings.push(format!(
            "an object of {first} to {last} was announced by a run that died and could not be written ({why}); its entries are planned anew"
        ));
        self.end_upload(next).await;
        let head = Head { next: None, ..self.head().clone() };
        self.source.attend(self.head.write(self.store, head, now)).await
    }

    fn wait_for(&self, Late { first, last, until }: Late, why: &str) -> Error {
        let left = until.saturating_sub(self.clock.now_ms()).div_ceil(1000);
        let text = format!(
            "a run that died announced an object of {first} to {last}, and {why}; nothing is done until its last write can no longer arrive (in {left} s)"
        );
        Error::new(Kind::Busy, text)
    }
}

/// What the run that announced this may still write.
fn late_write(next: &Next) -> Late {
    let Span { first, last, .. } = next.span;
    Late { first: first.position, last: last.position, until: next.until.saturating_add(LATE_WRITE_MS) }
}

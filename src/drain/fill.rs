//! Reading for one object: what is taken, what is skipped, and where it stops.

use std::time::Duration;

use crate::batch::{Batch, Full};
use crate::encode::spool::is_full;
use crate::encode::{Compression, LAYOUT};
use crate::error::{Error, Kind, Result};
use crate::head::Next as Announced;
use crate::message::Entry;
use crate::object::Stored;
use crate::report::Stop;
use crate::source::{Next, Receipt, Source};
use crate::store::Store;

use super::{Drain, Progress};

/// Silence for this long is looked into.
const SILENCE: Duration = Duration::from_secs(1);

/// What reading for one object came to.
#[expect(clippy::large_enum_variant, reason = "one at a time, on the stack")]
pub(super) enum Filled {
    /// `None` where nothing is to be written.
    Done(Option<Batch>, Stop),
    /// The plan did not hold: start again behind the mark-delete position.
    Replan,
}

impl<S: Source, T: Store> Drain<'_, S, T> {
    pub(super) async fn fill(&mut self) -> Result<Filled> {
        let mut batch: Option<Batch> = None;
        loop {
            let spooled = batch.as_ref().map_or(0, Batch::written_at_most);
            let (stop_at, late) = self.job.stop_reading_at(spooled);
            let now = self.clock.now();
            if now >= stop_at {
                let stop = if self.delivered { late } else { Stop::Stalled };
                return Ok(Filled::Done(batch, stop));
            }
            if let Some(full) = batch.as_ref().and_then(Batch::is_full) {
                return Ok(Filled::Done(batch, stop_of(full)));
            }
            let entry = match self.source.next(stop_at.min(now + SILENCE)).await? {
                Next::Entry(entry) => entry,
                Next::Silence if self.delivered => return Ok(Filled::Done(batch, Stop::Stalled)),
                Next::Silence if self.source.backlog().await? == Some(0) => {
                    return Ok(Filled::Done(batch, Stop::Stalled));
                }
                Next::Silence => continue,
                Next::Reattached => {
                    self.nobody_else_ran().await?;
                    self.nobody_went_back().await?;
                    continue;
                }
            };
            match self.take(entry, &mut batch).await? {
                Taken::On => {}
                Taken::Stop(stop) => return Ok(Filled::Done(batch, stop)),
                Taken::Replan => return Ok(Filled::Replan),
            }
        }
    }

    /// Takes, skips or gives back one entry.
    async fn take(&mut self, entry: Entry, batch: &mut Option<Batch>) -> Result<Taken> {
        let at = entry.position;
        self.delivered = true;
        if self.standing.is_none() {
            self.standing = Some(self.stand(at).await?);
        }
        if at > self.end {
            self.source.unread(entry);
            return Ok(Taken::Stop(Stop::Drained));
        }
        let horizon = self.standing.as_ref().and_then(|standing| standing.horizon);
        let doubtful = horizon.is_some_and(|horizon| at <= horizon);
        if doubtful && !self.catalogue.is_open_at(at) {
            // The next object is about to be read: what was proved by those before it is worth keeping.
            self.acknowledge_held().await?;
        }
        if doubtful && let Some(proof) = self.source.attend(self.catalogue.holds(&entry)).await? {
            if self.pinned().is_some_and(|next| next.span.covers(at)) {
                self.suspect = true;
                return self.replan("an object holds an entry of it already: the head is an old one").await;
            }
            if batch.is_some() {
                self.source.unread(entry);
                return Ok(Taken::Stop(Stop::StoredBefore));
            }
            self.note_gap(&entry);
            self.held = Some(Stored::already(at, proof));
            // After a new start the same entries come again.
            self.report.skipped_entries += u64::from(self.skipped < Some(at));
            self.skipped = self.skipped.max(Some(at));
            return Ok(self.on_unless_end(&entry));
        }
        if let Some(why) = self.pinned().and_then(|next| misfit(next, &entry, batch.as_ref())) {
            return self.replan(why).await;
        }
        // What fills a hole between objects gets an object of its own: spans of ours overlap only where
        // they must.
        if !doubtful && batch.as_ref().and_then(Batch::span).is_some_and(|span| Some(span.first.position) <= horizon) {
            self.source.unread(entry);
            return Ok(Taken::Stop(Stop::StoredBefore));
        }
        self.acknowledge_held().await?;
        self.put(entry, batch).await
    }

    fn pinned(&self) -> Option<&Announced> {
        self.standing.as_ref().and_then(|standing| standing.pinned.as_ref())
    }

    async fn put(&mut self, entry: Entry, batch: &mut Option<Batch>) -> Result<Taken> {
        let pinned = self.pinned();
        let pinned_last = pinned.map(|next| next.span.last.position);
        let into = batch.get_or_insert_with(|| match pinned {
            Some(next) => Batch::new(None, compression_named(&next.compression).unwrap_or(self.job.compression)),
            None => Batch::new(Some(self.job.caps), self.job.compression),
        });
        match into.offer(&entry) {
            Ok(Ok(())) => {}
            Ok(Err(full)) => {
                self.source.unread(entry);
                return Ok(Taken::Stop(stop_of(full)));
            }
            Err(error) if is_full(&error) && into.span().is_some() && pinned_last.is_none() => {
                self.source.unread(entry);
                return Ok(Taken::Stop(Stop::DiskFull));
            }
            Err(error) if is_full(&error) && pinned_last.is_some() => {
                return self.replan("there is no room for it in temporary files").await;
            }
            Err(error) => {
                let text = "temporary files cannot be written; nothing was acknowledged: give the function more temporary storage, or lower max_bytes";
                return Err(Error::new(Kind::Unavailable, text).because(error));
            }
        }
        self.note_gap(&entry);
        let contents = into.contents();
        let same_ledger = entry.position.ledger == self.end.ledger;
        (self.watch)(Progress {
            partitions: 1,
            messages: self.report.messages + contents.messages,
            bytes: self.read.bytes + contents.bytes,
            storing: None,
            entries_left: same_ledger.then(|| self.end.entry.saturating_sub(entry.position.entry).max(0) as u64),
        });
        match self.on_unless_end(&entry) {
            Taken::On if pinned_last == Some(entry.position) => Ok(Taken::Stop(Stop::Pinned)),
            taken => Ok(taken),
        }
    }

    fn on_unless_end(&self, entry: &Entry) -> Taken {
        if entry.position >= self.end { Taken::Stop(Stop::Drained) } else { Taken::On }
    }

    async fn replan(&mut self, why: &str) -> Result<Taken> {
        if let Some(next) = self.standing.take().and_then(|standing| standing.pinned) {
            self.give_up_pinned(&next, why).await?;
        }
        Ok(Taken::Replan)
    }

    /// Acknowledges what was skipped because it is stored, if anything waits for that.
    pub(super) async fn acknowledge_held(&mut self) -> Result<()> {
        let Some(held) = self.held.take() else { return Ok(()) };
        if self.source.acknowledge(held).await? == Receipt::Unconfirmed {
            self.report.warnings.push(
                "the broker did not confirm the acknowledgement of entries stored before; they may come again".into(),
            );
        }
        Ok(())
    }

    /// While nobody held the subscription, an administrator may have moved the cursor back: what is then
    /// delivered again is not what this run had read.
    async fn nobody_went_back(&mut self) -> Result<()> {
        let now = self.source.bounds().await?.mark_delete;
        match now < self.mark_delete {
            true => {
                Err(Error::new(Kind::Busy, "the cursor was moved back meanwhile; what this run had read was dropped"))
            }
            false => Ok(()),
        }
    }

    /// Somebody else may have held the subscription for a moment: if the head changed, he ran.
    pub(super) async fn nobody_else_ran(&mut self) -> Result<()> {
        match self.source.attend(self.head.is_unchanged(self.store)).await? {
            true => Ok(()),
            false => Err(Error::new(Kind::Busy, "another run took over meanwhile; what this one had read was dropped")),
        }
    }
}

enum Taken {
    On,
    Stop(Stop),
    Replan,
}

fn stop_of(full: Full) -> Stop {
    match full {
        Full::Messages => Stop::MaxMessages,
        Full::Bytes => Stop::MaxBytes,
    }
}

/// The compression that a head names.
fn compression_named(name: &str) -> Option<Compression> {
    [Compression::Gzip, Compression::None].into_iter().find(|compression| compression.name() == name)
}

/// Why this entry cannot continue the pinned span.
fn misfit(next: &Announced, entry: &Entry, batch: Option<&Batch>) -> Option<&'static str> {
    let at = entry.position;
    if next.layout != LAYOUT || next.format != "jsonl" || compression_named(&next.compression).is_none() {
        return Some("another version of this program had announced it");
    }
    if batch.is_none() && at < next.span.first.position {
        return Some("an earlier entry came that no object holds");
    }
    if batch.is_none() && at > next.span.first.position {
        return Some("its first entry does not come again");
    }
    (at > next.span.last.position).then_some("its last entry does not come again")
}

//! Reading for one object: what is taken, what is skipped, and where it stops.

use std::ops::Range;
use std::time::Duration;

use crate::batch::{Batch, Full, Offer};
use crate::catalogue::Held;
use crate::chunks::Offered;
use crate::encode::spool::is_full;
use crate::encode::{Compression, LAYOUT};
use crate::error::{Error, Kind, Result};
use crate::head::Next as Announced;
use crate::message::{Entry, Position};
use crate::object::{Kept, is_stored};
use crate::report::Stop;
use crate::source::{Next, Source};
use crate::span::Edge;
use crate::store::Store;

use super::{Drain, Progress};

/// Silence for this long is looked into.
pub(super) const SILENCE: Duration = Duration::from_secs(1);

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
            if !self.holds().await? {
                return Ok(Filled::Replan);
            }
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
            if self.chunks.has_given_up() {
                match self.take_given_up(&mut batch).await? {
                    Taken::On => continue,
                    Taken::Stop(stop) => return Ok(Filled::Done(batch, stop)),
                    Taken::Replan => return Ok(Filled::Replan),
                }
            }
            let entry = match self.source.next(stop_at.min(now + SILENCE)).await? {
                Next::Entry(entry) => entry,
                Next::Silence if self.delivered => return Ok(Filled::Done(batch, Stop::Stalled)),
                Next::Silence if self.source.backlog().await? == Some(0) => {
                    return Ok(Filled::Done(batch, Stop::Stalled));
                }
                Next::Silence | Next::Reattached => continue,
            };
            match self.take(entry, &mut batch).await? {
                Taken::On => {}
                Taken::Stop(stop) => return Ok(Filled::Done(batch, stop)),
                Taken::Replan => return Ok(Filled::Replan),
            }
        }
    }

    /// Takes, skips, keeps waiting or gives back one entry.
    async fn take(&mut self, entry: Entry, batch: &mut Option<Batch>) -> Result<Taken> {
        let at = entry.position;
        self.delivered = true;
        if self.standing.is_none() {
            self.standing = Some(self.stand(&entry).await?);
        }
        if at > self.end {
            self.source.unread(entry);
            return Ok(Taken::Stop(Stop::Drained));
        }
        let offered = match self.chunks.offer(&entry) {
            Ok(offered) => offered,
            Err(error) => self.no_room_to_wait(error, batch.is_some())?,
        };
        match offered {
            Offered::Single => {
                let held = self.look_up(&entry).await?;
                let placed = self.place(&entry, held, batch).await?;
                Ok(self.follow(placed, entry))
            }
            Offered::Waits => {
                self.note_gap(&entry);
                Ok(self.on_unless_end(&entry))
            }
            Offered::Last => self.take_last(entry, batch).await,
            Offered::GaveUp => {
                self.source.unread(entry);
                Ok(Taken::On)
            }
            Offered::NoRoom => Ok(self.follow(Placed::Refused(Stop::DiskFull), entry)),
        }
    }

    /// What objects hold of the entry already.
    pub(super) async fn look_up(&mut self, entry: &Entry) -> Result<Held> {
        let at = entry.position;
        if !self.is_doubtful(at) && !self.catalogue.has_part_of(at) {
            return Ok(Held::Nothing);
        }
        self.before_looking_up(entry).await?;
        self.source.attend(self.catalogue.holds(entry)).await
    }

    /// Where the next object is about to be read, what was proved by those before it is worth keeping. For a chunk
    /// several may be.
    pub(super) async fn before_looking_up(&mut self, entry: &Entry) -> Result<()> {
        match entry.num_chunks().is_none() && self.catalogue.is_open_at(entry.position) {
            true => Ok(()),
            false => self.acknowledge_skipped().await,
        }
    }

    /// Whether an object may hold the entry already.
    pub(super) fn is_doubtful(&self, at: Position) -> bool {
        self.horizon().is_some_and(|horizon| at <= horizon)
    }

    fn horizon(&self) -> Option<Position> {
        self.standing.as_ref().and_then(|standing| standing.horizon)
    }

    /// Puts what objects do not hold of an entry into the batch, or skips it where they hold all of it.
    pub(super) async fn place(&mut self, entry: &Entry, held: Held, batch: &mut Option<Batch>) -> Result<Placed> {
        let at = entry.position;
        let share = match held {
            Held::Nothing => 0..u32::MAX,
            Held::AllBut(share) => share,
            Held::Whole(proof) => {
                if self.pinned().is_some_and(|next| next.span.covers(at)) {
                    self.suspect = true;
                    return self.replan("an object holds an entry of it already: the head is an old one").await;
                }
                if batch.is_some() {
                    return Ok(Placed::Refused(Stop::StoredBefore));
                }
                self.note_gap(entry);
                self.kept = Some(Kept::already(at, proof).and(self.kept.take()));
                self.owes = true;
                self.count_skipped(at, 1);
                self.skipped = self.skipped.max(Some(at));
                return Ok(Placed::Done);
            }
        };
        if let Some(why) = self.pinned().and_then(|next| misfit(next, entry, share.start, batch.as_ref())) {
            return self.replan(why).await;
        }
        // What fills a hole between objects gets an object of its own: spans of ours overlap only where
        // they must. A pinned one ends where it was announced to, however far its run could see.
        let horizon = self.horizon();
        let in_hole = batch.as_ref().and_then(Batch::span).is_some_and(|span| Some(span.first.position) <= horizon);
        if in_hole && !self.is_doubtful(at) && self.pinned().is_none() {
            return Ok(Placed::Refused(Stop::StoredBefore));
        }
        self.acknowledge_skipped().await?;
        self.put(entry, share, batch).await
    }

    /// Counts what was skipped together with the entry `at`, once: after a new start the same entries come again.
    pub(super) fn count_skipped(&mut self, at: Position, entries: u64) {
        if self.counted < Some(at) {
            self.report.skipped_entries += entries;
        }
    }

    /// What follows for reading: an entry that was refused is given back.
    pub(super) fn follow(&mut self, placed: Placed, entry: Entry) -> Taken {
        match placed {
            Placed::Replan => Taken::Replan,
            Placed::Refused(stop) => {
                self.source.unread(entry);
                Taken::Stop(stop)
            }
            Placed::Done => match self.on_unless_end(&entry) {
                Taken::On if self.ends_pinned(entry.position) => Taken::Stop(Stop::Pinned),
                taken => taken,
            },
        }
    }

    pub(super) fn pinned(&self) -> Option<&Announced> {
        self.standing.as_ref().and_then(|standing| standing.pinned.as_ref())
    }

    pub(super) fn ends_pinned(&self, at: Position) -> bool {
        self.pinned().is_some_and(|next| next.span.last.position == at)
    }

    async fn put(&mut self, entry: &Entry, share: Range<u32>, batch: &mut Option<Batch>) -> Result<Placed> {
        let pinned = self.pinned();
        let is_pinned = pinned.is_some();
        let share = share.start..pinned.map_or(share.end, |next| end_of_share(&next.span.last, entry.position));
        let into = batch.get_or_insert_with(|| match pinned {
            Some(next) => Batch::new(None, compression_named(&next.compression).unwrap_or(self.job.compression)),
            None => Batch::new(Some(self.caps), self.job.compression),
        });
        let from = share.start;
        match into.offer(entry, share) {
            Ok(Offer::All) => {}
            Ok(Offer::Before(end)) => {
                self.part = Some((entry.position, from..end));
                return Ok(Placed::Refused(Stop::Spread));
            }
            Ok(Offer::Nothing(full)) => return Ok(Placed::Refused(stop_of(full))),
            Err(error) if is_full(&error) && into.span().is_some() && !is_pinned => {
                return Ok(Placed::Refused(Stop::DiskFull));
            }
            Err(error) if is_full(&error) && is_pinned => {
                return self.replan("there is no room for it in temporary files").await;
            }
            Err(error) => {
                let text = "temporary files cannot be written; nothing was acknowledged: give the function more temporary storage, or lower max_bytes";
                return Err(Error::new(Kind::Unavailable, text).because(error));
            }
        }
        self.note_gap(entry);
        if let Some(version) = &entry.metadata.schema_version {
            self.schemas.meet(version);
        }
        let contents = into.contents();
        let same_ledger = entry.position.ledger == self.end.ledger;
        (self.watch)(Progress {
            partitions: 1,
            messages: self.report.messages + contents.messages,
            bytes: self.read.bytes + contents.bytes,
            storing: None,
            entries_left: same_ledger.then(|| self.end.entry.saturating_sub(entry.position.entry).max(0) as u64),
        });
        Ok(Placed::Done)
    }

    pub(super) fn on_unless_end(&self, entry: &Entry) -> Taken {
        if entry.position >= self.end { Taken::Stop(Stop::Drained) } else { Taken::On }
    }

    /// Where the announced object is stored after all, its writer did so since this run looked.
    pub(super) async fn replan(&mut self, why: &str) -> Result<Placed> {
        if let Some(next) = self.standing.take().and_then(|standing| standing.pinned)
            && !self.source.attend(is_stored(self.store, &next.key, &next.digest)).await?
        {
            self.give_up_pinned(&next, why).await?;
        }
        Ok(Placed::Replan)
    }
}

pub(super) enum Taken {
    On,
    Stop(Stop),
    Replan,
}

/// What became of an entry.
pub(super) enum Placed {
    /// It is in the batch, or was skipped.
    Done,
    /// The object ends before it.
    Refused(Stop),
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
fn misfit(next: &Announced, entry: &Entry, from: u32, batch: Option<&Batch>) -> Option<&'static str> {
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
    if batch.is_none() && from != next.span.first.batch.unwrap_or(0) {
        return Some("the objects of the first part of its entry are not what they were");
    }
    (at > next.span.last.position).then_some("its last entry does not come again")
}

/// Where the messages of the entry `at` end in an object that ends at `last`.
fn end_of_share(last: &Edge, at: Position) -> u32 {
    last.batch.filter(|_| last.position == at).map_or(u32::MAX, |batch| batch.saturating_add(1))
}

//! Chunked messages in a run: where one becomes whole, where one is given up, and how far what waits holds
//! back the acknowledgement.

use std::io;

use crate::batch::Batch;
use crate::catalogue::Held;
use crate::chunks::{GivenUp, Offered};
use crate::encode::spool::is_full;
use crate::error::{Error, Kind, Result};
use crate::message::{Entry, Position};
use crate::report::Stop;
use crate::source::{Receipt, Source};
use crate::store::Store;

use super::Drain;
use super::fill::{Placed, Taken};

/// What came of an acknowledgement.
pub(super) enum Acknowledged {
    /// The broker confirmed everything up to here.
    Through(Position),
    Unconfirmed,
    /// Nothing new may be acknowledged: a message is open.
    Nothing,
}

impl<S: Source, T: Store> Drain<'_, S, T> {
    /// Takes the last chunk of a message, and with it the message.
    pub(super) async fn take_last(&mut self, last: Entry, batch: &mut Option<Batch>) -> Result<Taken> {
        if self.is_doubtful(last.position) {
            self.before_looking_up(&last).await?;
            let proof = self.source.attend(self.catalogue.holds_message_of(&last)).await?;
            if let Some(proof) = proof {
                let placed = self.place(&last, Held::Whole(proof), batch).await?;
                if matches!(placed, Placed::Done) {
                    let parts = self.chunks.is_stored(&last) as u64;
                    self.count_skipped(last.position, parts);
                }
                return Ok(self.follow(placed, last));
            }
        }
        // Nothing is waited for while a whole message is held: other partitions hold theirs.
        self.acknowledge_skipped().await?;
        let message = match self.a_part_is_stored(&last).await? {
            true => None,
            false => self.chunks.join(&last).map_err(no_temporary_file)?.ok(),
        };
        let Some(message) = message else {
            self.chunks.give_up(&last);
            self.source.unread(last);
            return Ok(Taken::On);
        };
        let placed = self.place(&message, Held::Nothing, batch).await?;
        if matches!(placed, Placed::Done) {
            self.chunks.is_placed(&last);
        }
        Ok(self.follow(placed, last))
    }

    /// Whether an object holds a part of the message by itself, its last one too: it was given up before.
    async fn a_part_is_stored(&mut self, last: &Entry) -> Result<bool> {
        let before = self.chunks.parts_before(last);
        for part in before.iter().chain([last]) {
            if matches!(self.look_up(part).await?, Held::Whole(_)) {
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// Takes the first part of messages that were given up. Spans of ours overlap only where they must: it
    /// shares an object only with what came directly before and directly after it.
    pub(super) async fn take_given_up(&mut self, batch: &mut Option<Batch>) -> Result<Taken> {
        let Some(GivenUp { entry, before }) = self.chunks.given_up().map_err(no_temporary_file)? else {
            return Ok(Taken::On);
        };
        let at = entry.position;
        if batch.as_ref().and_then(Batch::span).is_some_and(|span| Some(span.last.position) != before) {
            return Ok(Taken::Stop(Stop::StoredBefore));
        }
        let held = self.look_up(&entry).await?;
        let is_stored = matches!(held, Held::Whole(_));
        match self.place(&entry, held, batch).await? {
            Placed::Refused(stop) => return Ok(Taken::Stop(stop)),
            Placed::Replan => return Ok(Taken::Replan),
            Placed::Done if is_stored => self.chunks.given_up_is_stored(),
            Placed::Done => {
                self.chunks.given_up_is_placed();
                if self.ends_pinned(at) {
                    return Ok(Taken::Stop(Stop::Pinned));
                }
                if !self.chunks.has_given_up() && self.chunks.has_passed(at) {
                    return Ok(Taken::Stop(Stop::StoredBefore));
                }
            }
        }
        Ok(Taken::On)
    }

    /// There is no room for a part that has to wait: what is read so far is stored first, then messages are
    /// given up.
    pub(super) fn no_room_to_wait(&mut self, error: io::Error, has_batch: bool) -> Result<Offered> {
        match is_full(&error) {
            false => Err(no_temporary_file(error)),
            true if has_batch && self.pinned().is_none() => Ok(Offered::NoRoom),
            true if self.chunks.give_up_oldest() => Ok(Offered::GaveUp),
            true => Ok(Offered::Single),
        }
    }

    /// Acknowledges what is kept, as far as no message is open.
    pub(super) async fn acknowledge_kept(&mut self) -> Result<Acknowledged> {
        self.owes = false;
        let waiting = self.chunks.waiting();
        let stored = self.kept.as_ref().and_then(|kept| kept.short_of(waiting));
        let Some(stored) = stored.filter(|stored| Some(stored.through()) > self.mark_delete) else {
            return Ok(Acknowledged::Nothing);
        };
        let through = stored.through();
        match self.acknowledge(stored).await? {
            Receipt::Unconfirmed => Ok(Acknowledged::Unconfirmed),
            Receipt::Confirmed => {
                self.acknowledged(through);
                Ok(Acknowledged::Through(through))
            }
        }
    }

    /// Acknowledges what was skipped because it is stored, if anything waits for that.
    pub(super) async fn acknowledge_skipped(&mut self) -> Result<()> {
        if !self.owes {
            return Ok(());
        }
        match self.acknowledge_kept().await? {
            Acknowledged::Nothing => {}
            Acknowledged::Through(_) => self.acknowledged_again = true,
            Acknowledged::Unconfirmed => {
                self.acknowledged_again = true;
                self.report.warnings.push(
                    "the broker did not confirm the acknowledgement of entries stored before; they may come again"
                        .into(),
                );
            }
        }
        Ok(())
    }
}

fn no_temporary_file(error: io::Error) -> Error {
    let text =
        "temporary files cannot be written or read; nothing was acknowledged: give the function more temporary storage";
    Error::new(Kind::Unavailable, text).because(error)
}

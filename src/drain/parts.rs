//! Chunked messages in a run: where one becomes whole, where one is given up, and how far what waits holds
//! back the acknowledgement.

use std::io;

use crate::batch::Batch;
use crate::chunks::Offered;
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
            self.before_looking_up(last.position).await?;
            let proof = self.source.attend(self.catalogue.holds_message_of(&last)).await?;
            if proof.is_some() {
                let placed = self.place(&last, proof, batch).await?;
                if matches!(placed, Placed::Done) {
                    self.report.skipped_entries += self.chunks.is_stored(&last) as u64;
                }
                return Ok(self.settle(placed, last));
            }
        }
        let message = match self.a_part_is_stored(&last).await? {
            true => None,
            false => self.chunks.join(&last).map_err(no_temporary_file)?.ok(),
        };
        let Some(message) = message else {
            self.chunks.give_up(&last);
            self.source.unread(last);
            return Ok(Taken::On);
        };
        let placed = self.place(&message, None, batch).await?;
        if matches!(placed, Placed::Done) {
            self.chunks.is_placed(&last);
        }
        Ok(self.settle(placed, last))
    }

    /// Whether an object holds a part of the message by itself: it was given up before.
    async fn a_part_is_stored(&mut self, last: &Entry) -> Result<bool> {
        for part in self.chunks.parts_before(last) {
            if self.look_up(&part).await?.is_some() {
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// Takes the first part of messages that were given up into an object where only such parts are; the last
    /// of them there is `last`.
    pub(super) async fn take_given_up(
        &mut self,
        batch: &mut Option<Batch>,
        last: &mut Option<Position>,
    ) -> Result<Taken> {
        if batch.is_some() && last.is_none() && self.pinned().is_some() {
            self.replan("chunks of it do not become a message again").await?;
            return Ok(Taken::Replan);
        }
        let Some(part) = self.chunks.given_up().map_err(no_temporary_file)? else {
            return Ok(Taken::Stop(Stop::StoredBefore));
        };
        // Spans of ours overlap only where they must: what came in between is stored elsewhere.
        if batch.is_some() && (last.is_none() || *last != part.before) {
            return Ok(Taken::Stop(Stop::StoredBefore));
        }
        let proof = self.look_up(&part.entry).await?;
        let is_stored = proof.is_some();
        match self.place(&part.entry, proof, batch).await? {
            Placed::Done if is_stored => self.chunks.given_up_is_stored(),
            Placed::Done => {
                self.chunks.given_up_is_placed();
                *last = Some(part.entry.position);
                if self.ends_pinned(part.entry.position) {
                    return Ok(Taken::Stop(Stop::Pinned));
                }
            }
            Placed::Refused(stop) => return Ok(Taken::Stop(stop)),
            Placed::Replan => return Ok(Taken::Replan),
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
        match self.source.acknowledge(stored).await? {
            Receipt::Unconfirmed => Ok(Acknowledged::Unconfirmed),
            Receipt::Confirmed => {
                self.mark_delete = self.mark_delete.max(Some(through));
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

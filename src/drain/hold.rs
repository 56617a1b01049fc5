//! Whether what this run knows still holds, after somebody else may have held the subscription.
//!
//! | the attachment | the head | the cursor | then |
//! |---|---|---|---|
//! | the same | | forward: skipped messages, time to live | go on: what was delivered is stored, what was not is `missing` |
//! | another one | unchanged | where it was | go on |
//! | another one | unchanged | elsewhere | start over from there, everything proved again |
//! | another one | changed | | somebody else ran: what was not written is dropped, the run ends |
//!
//! As long as the attachment is the same nobody else can have acknowledged: a cursor that moved was moved by the
//! broker or an administrator, and a backup that has the messages in hand keeps them. Ending the run for it
//! would let a topic whose messages expire faster than runs end lose all of them.

use crate::error::{Error, Kind, Result};
use crate::head::Next;
use crate::message::Position;
use crate::object::Stored;
use crate::source::{Bounds, Receipt, Source};
use crate::store::Store;

use super::Drain;

impl<S: Source, T: Store> Drain<'_, S, T> {
    /// Looks after a reattachment, at no cost without one. False where the cursor moved: start over.
    pub(super) async fn holds(&mut self) -> Result<bool> {
        match self.source.attachment() == self.attachment {
            true => Ok(true),
            false => self.look().await,
        }
    }

    /// Asks the broker: an answer proves that we hold the subscription, and nobody else ran since the head
    /// was read. False where what was read cannot be gone on with: start over.
    pub(super) async fn look(&mut self) -> Result<bool> {
        let (before, attachment) = (self.mark_delete, self.attachment);
        self.attach_to_it().await?;
        Ok(match self.attachment == attachment {
            true => self.mark_delete >= before,
            false => self.mark_delete == before,
        })
    }

    /// Takes the cursor as it stands now, on an attachment before which nobody else ran.
    pub(super) async fn attach_to_it(&mut self) -> Result<Bounds> {
        loop {
            let bounds = self.source.bounds().await?;
            let attachment = self.source.attachment();
            if attachment.is_some() && attachment == self.attachment {
                self.mark_delete = bounds.mark_delete;
                return Ok(bounds);
            }
            self.nobody_else_ran().await?;
            self.attachment = attachment;
        }
    }

    /// Looks again, between announcing and storing. Where we had to attach anew, the entries must still be owed, and the
    /// broker must say so, and no other object may begin with them: that the head is ours proves nothing where a store
    /// let it go over another one's. Whether the cursor went back before them is found out when they are acknowledged.
    pub(super) async fn look_again(&mut self, next: &Next, published: u64) -> Result<()> {
        let (mut known, first) = (self.attachment, next.span.first);
        loop {
            let bounds = self.source.bounds().await?;
            let attachment = self.source.attachment();
            if attachment.is_some() && attachment == known {
                return Ok(());
            }
            self.nobody_else_ran().await?;
            if bounds.mark_delete.is_none() {
                let text = format!(
                    "the connection was lost before entries from {first} on were stored, and this broker does not say whether \
                     somebody else acknowledged them meanwhile; what was read was dropped, the next run reads it again"
                );
                return Err(Error::new(Kind::Busy, text));
            }
            if !bounds.still_owes(first.position) {
                let text = format!(
                    "entries from {first} on were acknowledged by somebody else meanwhile; what was read was dropped"
                );
                return Err(Error::new(Kind::Busy, text));
            }
            // Behind an open message nothing is acknowledged, whoever stores it.
            let other = self.source.attend(self.catalogue.beginning_with(first, published)).await?;
            if let Some(key) = other.filter(|key| *key != next.key) {
                let text = format!("object {key} was stored by somebody else meanwhile; what was read was dropped");
                return Err(Error::new(Kind::Busy, text));
            }
            known = attachment;
        }
    }

    /// Acknowledges what is stored. Where we had to attach anew since the cursor was last seen, only if it did
    /// not go back: what lies between is not known to be stored.
    pub(super) async fn acknowledge(&mut self, stored: Stored) -> Result<Receipt> {
        if self.source.attachment() != self.attachment {
            let now = self.source.bounds().await.map_or(None, |bounds| bounds.mark_delete);
            if now.is_none() || now < self.mark_delete {
                return Ok(Receipt::Unconfirmed);
            }
        }
        self.source.acknowledge(stored).await
    }

    /// The broker confirmed it: from now on the cursor is at this entry or behind it.
    pub(super) fn acknowledged(&mut self, through: Position) {
        // Brokers that do not say where the cursor stands are not held to it.
        self.mark_delete = self.mark_delete.map(|at| at.max(through));
    }

    /// Somebody else may have held the subscription for a moment: if the head changed, he ran.
    async fn nobody_else_ran(&mut self) -> Result<()> {
        match self.source.attend(self.head.is_unchanged(self.store)).await? {
            true => Ok(()),
            false => Err(Error::new(Kind::Busy, "another run took over meanwhile; what this one had read was dropped")),
        }
    }
}

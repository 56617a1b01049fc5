//! The seam towards the broker: one partition of a topic, read once by one subscription.
//!
//! [`crate::pulsar::Consumer`] is the wire; the simulation has a model of it.

use std::future::Future;

use tokio::time::Instant;

use crate::error::Result;
use crate::message::{Entry, Position};
use crate::object::Stored;
use crate::schemas::Schema;

/// What [`Source::next`] brings.
#[derive(Debug)]
#[expect(clippy::large_enum_variant, reason = "nearly always an entry, moved once")]
pub enum Next {
    Entry(Entry),
    /// Nothing came until the given instant.
    Silence,
    /// A new consumer had to be attached, as [`Source::attachment`] shows. Nothing is lost or repeated by that,
    /// but somebody else may have held the subscription in between: read the head again before going on.
    Reattached,
}

/// Where the subscription stands, as the broker says in one answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Bounds {
    /// The last entry of the topic; -1:-1 where it has none.
    pub last: Position,
    /// Everything up to here is acknowledged. Brokers before 2.7 do not say.
    pub mark_delete: Option<Position>,
}

impl Bounds {
    /// Whether everything up to `last` is acknowledged. Trimming moves the mark-delete position to
    /// `(next ledger, -1)`, hence "at or after".
    pub fn nothing_to_do(&self) -> bool {
        self.last.entry < 0 || self.mark_delete.is_some_and(|at| at >= self.last)
    }

    /// Whether this, asked after an acknowledgement, shows that it was taken; a broker that does not say where the cursor
    /// stands is believed what it `answered`.
    pub fn confirms(&self, through: Position, answered: bool) -> bool {
        self.mark_delete.map_or(answered, |at| at >= through)
    }

    /// Whether an entry at `first` is still to be acknowledged, as far as the broker says.
    pub fn still_owes(&self, first: Position) -> bool {
        self.mark_delete.is_none_or(|at| at < first)
    }
}

/// Where a cursor is moved to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Seek {
    /// Before the first entry there is.
    Earliest,
    /// Before the first entry published at or after this time, in ms since the epoch; the broker finds it
    /// by bisection. Behind the last entry where there is none.
    Time(u64),
    /// Before the entry of this id; before the next one where there is none of this id, and behind the last
    /// entry where there is no next one either. The broker does not say which it was.
    To(Position),
}

impl Seek {
    /// The seek after which this is the mark-delete position.
    pub fn behind(mark_delete: Position) -> Self {
        Seek::To(Position::new(mark_delete.ledger, mark_delete.entry.saturating_add(1)))
    }
}

/// Whether the broker confirmed an acknowledgement.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Receipt {
    Confirmed,
    /// Sent, and not confirmed in time or not yet visible: the entries may be delivered again.
    Unconfirmed,
}

/// One partition, read by one subscription. Entries come in order, whole, each once, except that what
/// is not acknowledged comes again after [`Source::rewind`] or in a later run.
pub trait Source {
    /// The last entry and the mark-delete position. Attaches anew where our consumer is gone: the answer
    /// proves that the consumer which [`Source::attachment`] names afterwards holds the subscription.
    fn bounds(&mut self) -> impl Future<Output = Result<Bounds>>;

    /// Moves the cursor, and attaches to it again. Afterwards no entry counts as acknowledged one by one: all
    /// behind the mark-delete position come. Must come before the first [`Source::next`]. Where the cursor
    /// came to stand, [`Source::bounds`] says.
    ///
    /// An error says nothing of whether the cursor moved.
    fn seek(&mut self, to: Seek) -> impl Future<Output = Result<()>>;

    /// The next entry, waiting at most until `until`.
    fn next(&mut self, until: Instant) -> impl Future<Output = Result<Next>>;

    /// The attachment: a number that never comes again, and `None` once it is known to be lost. As long as
    /// it stays the same, nobody else can have held the subscription.
    fn attachment(&self) -> Option<u64>;

    /// Gives an entry back: the next [`Source::next`] yields it again.
    fn unread(&mut self, entry: Entry);

    /// Starts again behind the mark-delete position: what was delivered and not acknowledged comes again.
    fn rewind(&mut self) -> impl Future<Output = Result<()>>;

    /// Entries not acknowledged, as the broker counts them.
    fn backlog(&mut self) -> impl Future<Output = Result<Option<u64>>>;

    /// Acknowledges everything up to what was stored, and waits for the broker's receipt. Nothing is sent
    /// where the attachment is known to be lost; that is `Unconfirmed`.
    fn acknowledge(&mut self, stored: Stored) -> impl Future<Output = Result<Receipt>>;

    /// The schema of this version, as a message names it; `None` where the broker has none.
    fn schema(&mut self, version: &[u8]) -> impl Future<Output = Result<Option<Schema>>>;

    /// Runs `work` to its end, keeping the connection alive meanwhile. What the broker delivers is kept
    /// within the memory budget.
    fn attend<F: Future>(&mut self, work: F) -> impl Future<Output = F::Output>;

    /// Lets go of the subscription.
    fn close(self) -> impl Future<Output = ()>;
}

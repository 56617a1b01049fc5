//! What the broker did not deliver: named once, and no more claimed of it than can be known.
//!
//! | what is seen | named as |
//! |---|---|
//! | when a run begins, the cursor stands behind entries that no run acknowledged | `cursor_moved`: expired, evicted, skipped, or acknowledged by another consumer |
//! | ids between two delivered entries, or between the last one and the cursor at the end | `not_delivered` |
//! | the cursor stands before the first entry of a later ledger | nothing: so it stands too after the broker removed a ledger that was acknowledged to its end |
//!
//! Transaction markers, aborted messages, marks of replicated subscriptions, entries that a filter of the
//! broker refused or whose metadata it cannot read, and entries acknowledged one by one before are passed
//! over too, and the broker does not say why. It passes over them while it delivers, so a run finds the
//! cursor behind them at its end and the head remembers that: the next run does not take it for a loss.

use crate::error::Result;
use crate::message::{Entry, Position};
use crate::object::is_stored;
use crate::report::{Because, Missing};
use crate::source::{Bounds, Source};
use crate::store::Store;

use super::Drain;

/// Ranges that a report lists; more are counted.
const MOST_MISSING: usize = 100;

impl<S: Source, T: Store> Drain<'_, S, T> {
    /// At the start: names what the cursor passed over since the run before. `renewed` says that the head was
    /// old, and that nothing is therefore taken on trust.
    ///
    /// On an idle topic the cursor stands at the end of the announced object after every run; that it is
    /// stored is then asked for only where the cursor went on, and once a day.
    pub(super) async fn note_moved_cursor(&mut self, bounds: &Bounds, renewed: bool) -> Result<()> {
        let Some(at) = bounds.mark_delete.filter(|at| at.entry >= 0) else { return Ok(()) };
        if bounds.nothing_to_do() && !renewed {
            let announced = self.head().next.as_ref().map(|next| next.span.last.position);
            if Some(at) <= self.accounted().max(announced) {
                return Ok(());
            }
            // It was read before the subscription was ours.
            self.reread_head().await?;
        }
        self.fold_announced(at).await?;
        if self.accounted().is_some_and(|known| known < at) {
            self.learn_of_newer().await?;
        }
        if self.accounted().is_none_or(|known| at <= known) {
            self.note_passed(at, Because::CursorMoved);
            return Ok(());
        }
        // Another run's start, or a person, may have moved it back since it was asked for.
        let now = self.attach_to_it().await?.mark_delete;
        if let Some(at) = now.map(|now| now.min(at)).filter(|at| at.entry >= 0) {
            self.note_passed(at, Because::CursorMoved);
        }
        Ok(())
    }

    /// Before anything is called missing: a head that a frozen run put back knows less than the bucket.
    pub(super) async fn learn_of_newer(&mut self) -> Result<()> {
        let (done, next) = (self.head().done.clone(), self.head().next.clone());
        let behind = done.as_ref().map(|done| done.key.clone());
        // The announced one is no news: nobody but the run that announced it can have named what is before it.
        let announced = next.as_ref().map(|next| &*next.key);
        let newest = self.source.attend(self.catalogue.newest_behind(behind, announced)).await?;
        if let Some(newest) = newest.filter(|newest| done.as_ref().is_none_or(|done| newest.last > done.last)) {
            self.head.fold(Some(newest), next);
            self.suspect = true;
        }
        Ok(())
    }

    /// What was announced and begins at or before `at` is the newest that is done, if it is stored.
    pub(super) async fn fold_announced(&mut self, at: Position) -> Result<()> {
        if let Some(next) = self.head().next.clone().filter(|next| next.begins() <= at)
            && self.source.attend(is_stored(self.store, &next.key, &next.digest)).await?
        {
            self.head.fold(Some(next.link(self.head().done.as_ref())), None);
        }
        Ok(())
    }

    /// At the end: names what the cursor stands behind although it was neither delivered nor named before,
    /// and makes the next run know what was named. Without an answer the next run names it.
    pub(super) async fn note_filtered_end(&mut self) {
        // Where somebody else ran meanwhile, it is what he stored.
        if let Ok(Bounds { mark_delete: Some(at), .. }) = self.attach_to_it().await
            && at.entry >= 0
            && self.fold_announced(at).await.is_ok()
        {
            self.note_passed(at, Because::NotDelivered);
        }
        self.remember_passed().await;
    }

    /// Writes the head where it has not been written since something was named.
    pub(super) async fn remember_passed(&mut self) {
        if self.head.is_saved() {
            return;
        }
        let head = self.head().clone();
        if let Err(error) = self.source.attend(self.head.write(self.store, head, self.clock.now_ms())).await {
            let text = format!("the next run may name again what is missing: {}", error.chain());
            self.report.warnings.push(text);
        }
    }

    /// Notes ids that the broker left out before this entry. Where a ledger ended is not known, so only
    /// those in this entry's ledger.
    pub(super) fn note_gap(&mut self, entry: &Entry) {
        let at = entry.position;
        if let Some(previous) = self.previous.filter(|previous| *previous < at) {
            let first = if previous.ledger == at.ledger { previous.entry.saturating_add(1) } else { 0 };
            let first = Position::new(at.ledger, first);
            let told = self.report.missing.last().is_some_and(|last| last.last >= first);
            if first < at && !told {
                self.name(first, Position::new(at.ledger, at.entry - 1), Because::NotDelivered);
            }
        }
        self.take_back(at);
        self.previous = self.previous.max(Some(at));
        self.chunks.passed(at);
    }

    fn note_passed(&mut self, at: Position, because: Because) {
        let Some(known) = self.accounted() else { return };
        if known < at {
            self.name(Position::new(known.ledger, known.entry.saturating_add(1)), at, because);
            self.head.pass(at);
        }
        self.previous = Some(known.max(at));
    }

    fn name(&mut self, first: Position, last: Position, because: Because) {
        match self.report.missing.len() < MOST_MISSING {
            true => self.report.missing.push(missing(first, last, because)),
            false => self.report.more_missing += 1,
        }
    }

    /// What was named and comes after all: the cursor went back during the run.
    fn take_back(&mut self, at: Position) {
        let named = &mut self.report.missing;
        let Some(index) = named.iter().position(|range| range.first <= at && at <= range.last) else { return };
        let Missing { first, last, because, .. } = named.remove(index);
        let before = missing(first, Position::new(at.ledger, at.entry - 1), because);
        let behind = missing(Position::new(at.ledger, at.entry.saturating_add(1)), last, because);
        // Before a ledger's first entry nothing is left of the ledger before, if all came up to the range.
        let came = self.previous.max(self.mark_delete);
        let nothing = at.entry == 0 && came.is_some_and(|came| came >= Position::new(first.ledger, first.entry - 1));
        let before = Some(before).filter(|range| range.first <= range.last && !nothing);
        for range in Some(behind).filter(|range| range.first <= range.last).into_iter().chain(before) {
            named.insert(index, range);
        }
        self.report.more_missing += named.len().saturating_sub(MOST_MISSING) as u64;
        named.truncate(MOST_MISSING);
    }

    /// The newest entry that was delivered, stored or named; `None` before the rule's first run.
    fn accounted(&self) -> Option<Position> {
        let head = self.head();
        let done = head.done.as_ref().map(|done| done.last);
        [self.previous, done, head.start.resolved, head.passed].into_iter().flatten().max()
    }
}

fn missing(first: Position, last: Position, because: Because) -> Missing {
    let entries = (first.ledger == last.ledger).then(|| last.entry.abs_diff(first.entry) + 1);
    Missing { partition: None, first, last, entries, because }
}

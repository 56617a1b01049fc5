//! Where a run begins: the start of a new rule, and the move that an event asks for.
//!
//! ```text
//!  no head, no objects   find the place ─▶ pending ─▶ subscribe ─▶ move ─▶ applied ─▶ read, store, acknowledge
//!  pending in the head                                subscribe ─▶ move ─▶ applied ─▶ …
//!  applied, or objects                                subscribe ─────────────────────▶ …
//! ```
//!
//! A run that dies between `pending` and `applied` has acknowledged nothing, and the next one moves the
//! cursor to the same place again. A start may only move it back. To tell a subscription that the rule
//! makes from one that is there already, a start whose place is found beforehand (`latest`, a time, an id)
//! makes it at the end: that is never before the place, however late. One that stands before the place is
//! somebody's, and owes messages.
//!
//! Moving is worth it also to where the cursor stands: the broker forgets what was acknowledged one by one
//! behind it, and delivers it. It costs a first run three round trips, and is left out where nothing is owed.

use crate::catalogue::Catalogue;
use crate::clock::Clock;
use crate::error::{Error, Kind, Result};
use crate::event::SeekEvent;
use crate::head::{Head, HeadFile, Obeyed, Sought, Start, StartState};
use crate::message::Position;
use crate::object::is_stored;
use crate::report::{Moved, PassedOver};
use crate::rule;
use crate::source::{Bounds, Seek, Source};
use crate::store::Store;

use super::{Beginning, Drain, Job};

/// Where the cursor is to stand.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Target {
    /// Where it does.
    Here,
    Earliest,
    /// At this mark-delete position.
    At(Position),
}

/// The head, and where a missing subscription begins. Afterwards a start whose place must be known before
/// the subscription is made is pending in the bucket.
pub(super) async fn open<T: Store>(
    job: &Job,
    store: &T,
    catalogue: &Catalogue<'_, T>,
    place: &impl AsyncFn(rule::Start) -> Result<Option<Position>>,
    clock: &Clock,
) -> Result<(HeadFile, Beginning)> {
    if let Some(head) = HeadFile::read(store, &job.folder, &job.owner).await? {
        let start = &head.head.start;
        let placed = start.state == StartState::Pending && has_place(parsed(&start.asked)?);
        return Ok((head, if placed { Beginning::Latest } else { Beginning::Earliest }));
    }
    let done = catalogue.newest().await?;
    let (later, partitions) = job.appeared_later(store).await?;
    let asked = if later.is_some() { rule::Start::Continue } else { job.start };
    let start = Start { asked: asked.to_string(), resolved: None, state: StartState::Pending };
    let mut head = HeadFile::new(&job.folder, &job.owner, start, done);
    head.head.partitions = partitions;
    later.into_iter().flatten().for_each(|event| head.head.remember(event));
    // Objects: the rule began before. An event: it goes before the start.
    let moves = job.seek.as_ref().is_some_and(|event| !head.head.has_obeyed(event));
    let state = if head.head.done.is_some() || moves { StartState::Applied } else { StartState::Pending };
    head.head.start.state = state;
    if state == StartState::Applied || !has_place(asked) {
        return Ok((head, Beginning::Earliest));
    }
    let mut placed = head.head.clone();
    placed.start.resolved = place(asked).await?;
    if placed.start.resolved.is_none() {
        // Nobody has written to this partition yet: it begins at its first entry.
        head.head.start.state = StartState::Applied;
        return Ok((head, Beginning::Earliest));
    }
    head.write(store, placed, clock.now_ms()).await?;
    Ok((head, Beginning::Latest))
}

/// Whether it is found before the subscription is touched.
fn has_place(start: rule::Start) -> bool {
    match start {
        rule::Start::Continue | rule::Start::Earliest => false,
        rule::Start::Latest | rule::Start::Timestamp(_) | rule::Start::Id(_) => true,
    }
}

fn parsed(asked: &str) -> Result<rule::Start> {
    asked.parse().map_err(|e| {
        let text = format!("the head's start {asked:?} cannot be read: remove the head to have the rule begin anew");
        Error::new(Kind::Corrupt, text).because(e)
    })
}

fn vanished() -> Error {
    Error::new(Kind::Unavailable, "the broker does not know the topic any more; nothing was moved: run again")
}

impl<S: Source, T: Store> Drain<'_, S, T> {
    /// Makes sure that there is a head (from now on the rule is not new any more), that it is the one that
    /// stands in the bucket now that the subscription is ours, and that the cursor stands where it should.
    ///
    /// What was read before may be old: a run that announced since then and died left its plan in the
    /// head, and one that began since then left a head where there was none. Only where nothing is owed does that not
    /// matter.
    pub(super) async fn settle(
        &mut self,
        mut bounds: Bounds,
        place: &impl AsyncFn(rule::Start) -> Result<Option<Position>>,
    ) -> Result<Bounds> {
        let now = self.clock.now_ms();
        let unsettled = self.job.seek.is_some() || self.is_unsettled();
        if self.head.is_new() || unsettled || !bounds.nothing_to_do() || self.head.is_stale(now) {
            self.reread_head().await?;
        }
        if !self.head.is_new() && self.head.is_stale(now) {
            // While it can be seen: once a lifecycle rule took the object, nobody knows whether it was ever stored.
            if let Some(at) = bounds.mark_delete {
                self.fold_announced(at).await?;
            }
            self.source.attend(self.head.refresh(self.store, now)).await?;
        }
        match self.job.seek.clone() {
            Some(event) if !self.is_known(&event) => self.note_seek(&event, &bounds, place).await?,
            _ if self.head().start.state == StartState::Pending => bounds = self.begin(bounds, place).await?,
            // Rebuilt from the objects.
            _ if self.head.is_new() => self.start_applied(&bounds).await?,
            _ => {}
        }
        self.obey(bounds).await
    }

    fn is_unsettled(&self) -> bool {
        let Head { start, seek, .. } = self.head();
        start.state == StartState::Pending || seek.as_ref().is_some_and(|seek| seek.state == StartState::Pending)
    }

    pub(super) async fn reread_head(&mut self) -> Result<()> {
        let read = HeadFile::read(self.store, &self.job.folder, &self.job.owner);
        match self.source.attend(read).await? {
            Some(head) => self.head = head,
            None if self.head.is_new() => {}
            None => {
                let text =
                    "the head vanished while the run began: somebody removes objects under this prefix; run again";
                return Err(Error::new(Kind::Unavailable, text));
            }
        }
        Ok(())
    }

    async fn write_head(&mut self, head: Head) -> Result<()> {
        self.source.attend(self.head.write(self.store, head, self.clock.now_ms())).await
    }

    /// Brings about the pending start.
    async fn begin(
        &mut self,
        bounds: Bounds,
        place: &impl AsyncFn(rule::Start) -> Result<Option<Position>>,
    ) -> Result<Bounds> {
        let mut target = self.start_target(&bounds)?;
        if target.is_none() && self.head().start.asked != self.job.start.to_string() {
            // It was refused before and so moved nothing: the rule was mended.
            let resolved = match has_place(self.job.start) {
                true => Some(self.source.attend(place(self.job.start)).await?.ok_or_else(vanished)?),
                false => None,
            };
            let start = Start { asked: self.job.start.to_string(), resolved, state: StartState::Pending };
            self.write_head(Head { start, ..self.head().clone() }).await?;
            target = self.start_target(&bounds)?;
        }
        let Some(target) = target else { return Err(self.start_refused(&bounds)) };
        let mut bounds = bounds;
        if target != Target::Here {
            if self.head.is_new() {
                let mut head = self.head().clone();
                head.start.resolved = bounds.mark_delete;
                self.write_head(head).await?;
            }
            bounds = self.move_to(target, &bounds).await?;
        }
        self.start_applied(&bounds).await?;
        Ok(bounds)
    }

    async fn start_applied(&mut self, bounds: &Bounds) -> Result<()> {
        let mut head = self.head().clone();
        head.start.resolved = bounds.mark_delete;
        head.start.state = StartState::Applied;
        self.write_head(head).await
    }

    /// Where the pending start wants the cursor. `None` where it would pass over messages of a subscription
    /// that existed before.
    fn start_target(&mut self, bounds: &Bounds) -> Result<Option<Target>> {
        let idle = bounds.nothing_to_do();
        let start = parsed(&self.head().start.asked)?;
        Ok(match (start, self.head().start.resolved, bounds.mark_delete) {
            (rule::Start::Continue, _, Some(at)) => Some(if idle { Target::Here } else { Target::At(at) }),
            (rule::Start::Continue, _, None) => {
                self.report.warnings.push(
                    "this broker does not say where the subscription stands: messages that others acknowledged one by one before this rule began are not stored".into(),
                );
                Some(Target::Here)
            }
            (rule::Start::Earliest, _, _) => Some(if bounds.last.entry < 0 { Target::Here } else { Target::Earliest }),
            (_, Some(wanted), Some(at)) if at == wanted && idle => Some(Target::Here),
            (_, Some(wanted), Some(at)) if at >= wanted => Some(Target::At(wanted)),
            (_, Some(_), Some(_)) => None,
            (_, _, None) | (_, None, _) => {
                let text = "the broker does not say where the subscription stands, so its start cannot be checked; set start to \"continue\" or \"earliest\" and remove the head";
                return Err(Error::new(Kind::Invalid, text));
            }
        })
    }

    fn start_refused(&self, bounds: &Bounds) -> Error {
        let Start { asked, resolved, .. } = &self.head().start;
        let subscription = &self.job.owner.subscription;
        let shown = |at: Option<Position>| at.map_or("an unknown position".to_owned(), |at| at.to_string());
        let text = format!(
            "start: {asked:?} lies behind {}, and subscription {subscription:?} existed already and stands at {}: the messages between are not \
             stored, and a start passes over none; set start = \"continue\" to store them, or pass over them once with the event \
             {{\"seek\":{asked:?},\"confirm\":{subscription:?}}}",
            shown(*resolved),
            shown(bounds.mark_delete)
        );
        Error::new(Kind::Invalid, text)
    }

    /// Whether it was noted before: by a run that died with it, whose place is the one of then, or it was obeyed, or a
    /// later one overtook it.
    fn is_known(&mut self, event: &SeekEvent) -> bool {
        let asked = event.to.to_string();
        let known = self.head().seek.as_ref().filter(|known| known.asked == asked && known.event == event.id);
        if known.is_some_and(|known| known.state == StartState::Pending) {
            return true;
        }
        let obeyed = self.head().has_obeyed(event);
        if obeyed {
            self.report.warnings.push(format!(
                "this event asked for a move to {asked} before, and was obeyed then, unless a later one overtook it or this partition came later: it is not obeyed now; a new one needs another trigger name, or `tdmq-backup invoke`"
            ));
        }
        obeyed
    }

    /// Notes what the event asks for, with its place.
    async fn note_seek(
        &mut self,
        event: &SeekEvent,
        bounds: &Bounds,
        place: &impl AsyncFn(rule::Start) -> Result<Option<Position>>,
    ) -> Result<()> {
        let asked = event.to.to_string();
        let resolved = match has_place(event.to) {
            true => Some(self.source.attend(place(event.to)).await?.ok_or_else(vanished)?),
            false => None,
        };
        let mut head = self.head().clone();
        // Who moves the cursor by hand does not want it to be moved by the rule afterwards.
        head.start.state = StartState::Applied;
        // Where it waits for an announced object, it is not known yet where it will begin.
        let from = bounds.mark_delete.filter(|_| head.next.is_none());
        let sought = Sought { asked, event: event.id.clone(), resolved, from, state: StartState::Pending };
        if let Some(Sought { asked, event: Some(event), .. }) = head.seek.replace(sought) {
            head.remember(Obeyed { asked, event });
        }
        self.write_head(head).await
    }

    /// Makes the pending move, once the object that a dead run announced is stored: its span is not to be
    /// cut in two.
    async fn obey(&mut self, bounds: Bounds) -> Result<Bounds> {
        let pending = self.head().seek.clone().filter(|seek| seek.state == StartState::Pending);
        let Some(mut seek) = pending else { return Ok(bounds) };
        if !self.announced_is_settled(&bounds).await? {
            self.report.warnings.push(format!(
                "the move to {} waits for the next run: an object that a run announced before it died is written first",
                seek.asked
            ));
            return Ok(bounds);
        }
        let reached = seek.resolved.is_some() && seek.resolved == bounds.mark_delete;
        if seek.from.is_none() || (!reached && seek.from != bounds.mark_delete) {
            seek.from = bounds.mark_delete;
            self.write_head(Head { seek: Some(seek.clone()), ..self.head().clone() }).await?;
        }
        let target = seek.resolved.map_or(Target::Earliest, Target::At);
        let bounds = if bounds.last.entry < 0 { bounds } else { self.move_to(target, &bounds).await? };
        let (from, to) = (seek.from, bounds.mark_delete);
        if let (Some(from), Some(to)) = (from, to)
            && from < to
        {
            self.report.passed_over =
                Some(PassedOver { from: Position::new(from.ledger, from.entry.saturating_add(1)), to });
        }
        self.report.moved = Some(Moved { asked: seek.asked.clone(), from, to });
        seek.state = StartState::Applied;
        // What it passes over has been told: it is not missing.
        let passed = self.head().passed.max(to);
        self.write_head(Head { seek: Some(seek), passed, ..self.head().clone() }).await?;
        Ok(bounds)
    }

    async fn announced_is_settled(&mut self, bounds: &Bounds) -> Result<bool> {
        let Some(next) = self.head().next.clone() else { return Ok(true) };
        if self.source.attend(is_stored(self.store, &next.key, &next.digest)).await? {
            let done = next.link(self.head().done.as_ref());
            self.head.fold(Some(done), None);
            return Ok(true);
        }
        // Acknowledged and not there: reading will say so.
        Ok(!bounds.still_owes(next.span.last.position))
    }

    /// Moves the cursor and makes sure that it stands where it should. Nothing was read by then.
    async fn move_to(&mut self, target: Target, before: &Bounds) -> Result<Bounds> {
        let seek = match target {
            Target::Here => return Ok(*before),
            Target::Earliest => Seek::Earliest,
            Target::At(at) => Seek::behind(at),
        };
        self.source.seek(seek).await?;
        let after = self.attach_to_it().await?;
        let Some(at) = after.mark_delete else { return Ok(after) };
        // A position in a ledger that was trimmed meanwhile becomes the one before the next ledger; one
        // before a ledger is the same as the last one of the ledger before.
        let stands = match target {
            Target::Here => true,
            Target::Earliest => at.entry < 0,
            Target::At(wanted) if at > wanted => at.entry < 0,
            Target::At(wanted) => at == wanted || (wanted.entry < 0 && at.ledger < wanted.ledger),
        };
        if stands {
            return Ok(after);
        }
        let wanted = match target {
            Target::At(wanted) => format!("to {wanted}"),
            Target::Here | Target::Earliest => "before the first message".into(),
        };
        let text = format!(
            "the subscription was to be moved {wanted} and stands at {at} (somebody else moves it, or the broker did not); nothing was read: run again"
        );
        Err(Error::new(Kind::Unavailable, text))
    }
}

//! One run: from the head to the report.
//!
//! ```text
//!  head ─ attach ─ bounds ─▶ ┌ read ─▶ look ─▶ announce ─▶ look again ─▶ store ─▶ acknowledge ┐ ─▶ report
//!                            └────────────── once for each object, `max_objects` times ───────┘
//! ```
//!
//! The promise: an entry is acknowledged only after the store has confirmed the object that holds it,
//! and whatever instant a run dies at, the next one finds out from the head and the bucket what was
//! stored. Every `await` below is a place to die at; nothing is undone anywhere, because nothing needs
//! to be. `drain::object` has the six steps, `drain::fill` the reading.

mod announce;
mod fill;
mod object;
mod recover;

use std::ops::Range;
use std::time::Duration;

use tokio::time::Instant;

use crate::batch::{Caps, Contents};
use crate::catalogue::Catalogue;
use crate::clock::Clock;
use crate::encode::Compression;
use crate::error::{Error, Kind, Result};
use crate::head::{Head, HeadFile, Owner, Start, StartState};
use crate::message::Position;
use crate::object::Stored;
use crate::report::{self, Load, Outcome, Report, Stop};
use crate::source::{Bounds, Source};
use crate::store::Store;

/// Left of the platform's time when the store must have answered.
const STORE_RESERVE: Duration = Duration::from_secs(3);
/// Left of the platform's time for the reply.
const REPLY_RESERVE: Duration = Duration::from_secs(1);
/// Left for compressing the rest, announcing, storing and acknowledging, before the bytes count.
const BASE_RESERVE: Duration = Duration::from_secs(8);
/// How fast a spooled object is taken to go to the store, at least.
const UPLOAD_BYTES_PER_SECOND: u64 = 20 << 20;

/// What one run is asked to do with one partition.
#[derive(Clone, Debug)]
pub struct Job {
    pub owner: Owner,
    /// Where the partition's objects and its head are; ends with `/`.
    pub folder: String,
    /// What the rule says of a new rule's start.
    pub start: String,
    pub caps: Caps,
    pub max_objects: u32,
    pub interval: Duration,
    pub compression: Compression,
    /// When the platform ends the run.
    pub deadline: Instant,
}

/// Where a subscription that does not exist begins.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Beginning {
    /// As the rule says: it has not begun yet.
    AsAsked,
    /// At the earliest entry: the rule began before, and the broker forgot the subscription.
    Earliest,
}

/// How far a run is, for whoever watches.
#[derive(Clone, Copy, Debug, Default)]
pub struct Progress {
    pub messages: u64,
    /// Of records before compression.
    pub bytes: u64,
    /// Entries still to come, where the last one is in the ledger being read.
    pub entries_left: Option<u64>,
    /// The length of the object that is being stored now; `None` while reading.
    pub storing: Option<u64>,
}

/// Runs one partition to its end. Never fails: what goes wrong stands in the report, beside what was
/// stored before.
pub async fn run<S: Source>(
    job: &Job,
    store: &impl Store,
    attach: impl AsyncFnOnce(Beginning) -> Result<S>,
    clock: &Clock,
    mut report: Report,
    watch: &mut dyn FnMut(Progress),
) -> Report {
    let started = clock.now();
    if let Err(error) = attempt(job, store, attach, clock, &mut report, watch).await {
        report.failed(&error);
    }
    report.finish(elapsed(clock, started));
    report
}

async fn attempt<S: Source>(
    job: &Job,
    store: &impl Store,
    attach: impl AsyncFnOnce(Beginning) -> Result<S>,
    clock: &Clock,
    report: &mut Report,
    watch: &mut dyn FnMut(Progress),
) -> Result<()> {
    let started = clock.now();
    // The store comes first: a refused key ends the run before the subscription is touched.
    let catalogue = Catalogue::new(store, &job.folder);
    let (head, beginning) = match HeadFile::read(store, &job.folder, &job.owner).await? {
        Some(head) => (head, Beginning::Earliest),
        None => {
            let done = catalogue.newest().await?;
            let beginning = if done.is_some() { Beginning::Earliest } else { Beginning::AsAsked };
            let start = Start { asked: job.start.clone(), resolved: None, state: StartState::Applied };
            (HeadFile::new(&job.folder, &job.owner, start, done), beginning)
        }
    };
    let source = attach(beginning).await?;
    report.phases.connect_ms = elapsed(clock, started);
    let mut drain = Drain {
        job,
        store,
        clock,
        source,
        head,
        catalogue,
        report,
        watch,
        started,
        end: Position::new(-1, -1),
        mark_delete: None,
        delivered: false,
        previous: None,
        read: Contents::default(),
        standing: None,
        suspect: false,
        skipped: None,
        part: None,
        held: None,
    };
    let outcome = drain.partition().await;
    // Whatever happened, the subscription is let go of, so that the next run does not find it busy.
    drain.source.close().await;
    outcome
}

/// One partition's run in progress.
struct Drain<'a, S, T> {
    job: &'a Job,
    store: &'a T,
    clock: &'a Clock,
    source: S,
    head: HeadFile,
    catalogue: Catalogue<'a, T>,
    report: &'a mut Report,
    watch: &'a mut dyn FnMut(Progress),
    started: Instant,
    /// The last entry at the start: the end of this run.
    end: Position,
    /// Where the cursor stood when it was last known: it never goes back while we hold the subscription.
    mark_delete: Option<Position>,
    /// Whether the broker delivered anything.
    delivered: bool,
    /// The entry before the next one, to see what the broker left out.
    previous: Option<Position>,
    /// Everything read in this run, for the pace.
    read: Contents,
    /// How deliveries stand to what the bucket holds; found out at the first delivery.
    standing: Option<recover::Standing>,
    /// An object was found where none was expected: everything delivered is looked up.
    suspect: bool,
    /// The newest entry that was counted as skipped.
    skipped: Option<Position>,
    /// What the object being written takes of an entry that is spread over several.
    part: Option<(Position, Range<u32>)>,
    /// Entries that were skipped because an object holds them, not yet acknowledged.
    held: Option<Stored>,
}

impl<S: Source, T: Store> Drain<'_, S, T> {
    async fn partition(&mut self) -> Result<()> {
        let asked_at = self.clock.now_ms();
        let bounds = self.source.bounds().await?;
        self.mark_delete = bounds.mark_delete;
        self.settle_head(&bounds).await?;
        if bounds.nothing_to_do() {
            self.report.stop = Some(Stop::Drained);
            self.report.backlog_entries = Some(0);
            self.report.complete_through = Some(asked_at);
            return Ok(());
        }
        self.end = bounds.last;
        let stop = self.objects().await?;
        self.report.stop = Some(stop);
        self.conclude(stop, asked_at).await;
        Ok(())
    }

    /// Makes sure that there is a head (from now on the rule is not new any more), and that it is the one
    /// that stands in the bucket now that the subscription is ours.
    ///
    /// What was read before may be old: a run that announced since then and died left its plan in the
    /// head. Only where nothing is owed does that not matter.
    async fn settle_head(&mut self, bounds: &Bounds) -> Result<()> {
        let now = self.clock.now_ms();
        if self.head.is_new() {
            self.start_is_possible(bounds)?;
            let mut head = self.head.head.clone();
            head.start.resolved = bounds.mark_delete;
            return self.source.attend(self.head.write(self.store, head, now)).await;
        }
        if bounds.nothing_to_do() && !self.head.is_stale(now) {
            return Ok(());
        }
        self.reread_head().await?;
        self.source.attend(self.head.refresh(self.store, now)).await
    }

    /// A new subscription that begins at the earliest entry stands before entry 0 of a ledger. One that
    /// stands elsewhere existed before, and would have to be moved back.
    fn start_is_possible(&self, bounds: &Bounds) -> Result<()> {
        let Some(at) = bounds.mark_delete.filter(|at| at.entry >= 0) else { return Ok(()) };
        if self.job.start != "earliest" || self.head().done.is_some() {
            return Ok(());
        }
        let text = format!(
            "start: \"earliest\" was asked for, and subscription {:?} existed already and stands at {at}; moving an existing \
             subscription is not yet available: reset it with Pulsar's own tools, or set start = \"continue\"",
            self.job.owner.subscription
        );
        Err(Error::new(Kind::Invalid, text))
    }

    async fn reread_head(&mut self) -> Result<()> {
        let read = HeadFile::read(self.store, &self.job.folder, &self.job.owner);
        match self.source.attend(read).await? {
            Some(head) => self.head = head,
            None => {
                let text =
                    "the head vanished while the run began: somebody removes objects under this prefix; run again";
                return Err(Error::new(Kind::Unavailable, text));
            }
        }
        Ok(())
    }

    async fn objects(&mut self) -> Result<Stop> {
        let mut left = self.job.max_objects;
        loop {
            let stop = self.object().await?;
            if stop == Stop::Spread {
                // However many objects it takes: a part of an entry cannot be acknowledged.
                continue;
            }
            left = left.saturating_sub(1);
            match stop {
                Stop::MaxMessages | Stop::MaxBytes | Stop::StoredBefore | Stop::Pinned | Stop::DiskFull if left > 0 => {
                }
                stop => return Ok(stop),
            }
        }
    }

    /// What is left, whether all is there, and whether the rule keeps up. An answer that the broker
    /// owes us here is worth a warning, not a failure: everything is stored.
    async fn conclude(&mut self, stop: Stop, asked_at: u64) {
        match self.source.backlog().await {
            Ok(backlog) => self.report.backlog_entries = backlog,
            Err(error) => self.report.warnings.push(format!("the backlog is not known: {}", error.chain())),
        }
        // Silence before the last id: the rest was expired or is not for consumers, if nothing is left.
        let drained = stop == Stop::Drained || (stop == Stop::Stalled && self.report.backlog_entries == Some(0));
        if drained {
            self.report.stop = Some(Stop::Drained);
            self.report.complete_through = Some(asked_at);
        }
        let load = Load {
            drained,
            backlog: self.report.backlog_entries.unwrap_or(0),
            max_messages: self.job.caps.messages,
            max_objects: self.job.max_objects,
            interval_ms: self.job.interval.as_millis() as u64,
            now_ms: self.clock.now_ms(),
        };
        self.report.pace = report::pace(&self.read, &load);
        if self.report.skipped_entries > 0 {
            self.report.outcome = Outcome::Stored;
        }
    }

    /// When reading for an object has to stop, with `spooled` bytes still to be stored.
    fn stop_reading_at(&self, spooled: u64) -> (Instant, Stop) {
        let window = self.started + self.job.interval;
        let upload = Duration::from_secs(spooled / UPLOAD_BYTES_PER_SECOND);
        let total = self.job.deadline.saturating_duration_since(self.started);
        let reserve = (BASE_RESERVE + upload).min(total / 2);
        let deadline = self.job.deadline - reserve;
        if deadline <= window { (deadline, Stop::Deadline) } else { (window, Stop::Window) }
    }

    fn until_ms(&self) -> u64 {
        let left = self.job.deadline.saturating_duration_since(self.clock.now());
        self.clock.now_ms() + left.as_millis() as u64
    }

    /// The head as this run last read or wrote it.
    fn head(&self) -> &Head {
        &self.head.head
    }
}

/// When the store and the broker must have answered in a run that ends at `deadline`: the store first,
/// so that there is time to acknowledge, then the broker, so that there is time to report.
pub fn last_answers(deadline: Instant, now: Instant) -> (Instant, Instant) {
    let left = deadline.saturating_duration_since(now);
    (deadline - STORE_RESERVE.min(left / 4), deadline - REPLY_RESERVE.min(left / 8))
}

fn elapsed(clock: &Clock, since: Instant) -> u64 {
    clock.now().saturating_duration_since(since).as_millis() as u64
}

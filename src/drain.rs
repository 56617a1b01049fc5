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
//! to be. `drain::object` has the six steps, `drain::fill` the reading, `drain::hold` what becomes of both
//! when the connection is lost in between.

mod announce;
mod begin;
mod fill;
mod gaps;
mod hold;
mod object;
mod parts;
mod recover;
mod start;

use std::env;
use std::ops::Range;
use std::rc::Rc;
use std::time::Duration;

use tokio::time::Instant;

use crate::batch::{Caps, Contents};
use crate::catalogue::Catalogue;
use crate::chunks::Assembler;
use crate::clock::Clock;
use crate::encode::Compression;
use crate::error::Result;
use crate::event::SeekEvent;
use crate::head::{Head, HeadFile, Owner};
use crate::message::{PRODUCERS_CLOCK_MS, Position};
use crate::object::Kept;
use crate::report::{self, Load, Outcome, Report, Stop};
use crate::rule::Start;
use crate::schemas::Schemas;
use crate::source::{Next, Source};
use crate::store::Store;

pub use begin::Siblings;

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
    /// Where a new rule begins.
    pub start: Start,
    /// Where an event asks the cursor to be moved.
    pub seek: Option<SeekEvent>,
    pub caps: Caps,
    pub max_objects: u32,
    pub interval: Duration,
    pub compression: Compression,
    /// When the run began, which is before this partition's turn in a topic of many.
    pub started: Instant,
    /// When the platform ends the run.
    pub deadline: Instant,
    /// Partitions that are read at a time, this one included: they share the way to the store.
    pub readers: usize,
    /// The partitions of its topic, where there are any.
    pub siblings: Option<Rc<Siblings>>,
}

impl Job {
    /// When reading for an object has to stop, with `spooled` bytes still to be stored.
    pub fn stop_reading_at(&self, spooled: u64) -> (Instant, Stop) {
        let window = self.started + self.interval;
        let upload = Duration::from_secs(spooled.saturating_mul(self.readers as u64) / UPLOAD_BYTES_PER_SECOND);
        let total = self.deadline.saturating_duration_since(self.started);
        let reserve = (BASE_RESERVE + upload).min(total / 2);
        let deadline = self.deadline - reserve;
        if deadline <= window { (deadline, Stop::Deadline) } else { (window, Stop::Window) }
    }
}

/// Where a subscription that does not exist begins.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Beginning {
    /// Also where the rule began before, and the broker forgot the subscription.
    Earliest,
    /// For a start that was resolved just before: a subscription that stands before it existed already.
    Latest,
}

/// How far a run is, for whoever watches.
#[derive(Clone, Copy, Debug, Default)]
pub struct Progress {
    /// Partitions of the run, all of which may read up to the caps.
    pub partitions: u32,
    pub messages: u64,
    /// Of records before compression.
    pub bytes: u64,
    /// Entries still to come, where the last one is in the ledger being read.
    pub entries_left: Option<u64>,
    /// The length of the object that is being stored now; `None` while reading.
    pub storing: Option<u64>,
}

/// Runs one partition to its end. Never fails: what goes wrong stands in the report, beside what was
/// stored before. `place` finds the mark-delete position of a start, without touching the subscription. Both
/// closures answer `None` for a partition that the broker does not know.
pub async fn run<S: Source>(
    job: &Job,
    store: &impl Store,
    place: impl AsyncFn(Start) -> Result<Option<Position>>,
    attach: impl AsyncFnOnce(Beginning) -> Result<Option<S>>,
    clock: &Clock,
    mut report: Report,
    watch: &mut dyn FnMut(Progress),
) -> Report {
    let started = clock.now();
    if let Err(error) = attempt(job, store, place, attach, clock, &mut report, watch).await {
        report.failed(&error);
    }
    report.finish(elapsed(clock, started));
    report
}

async fn attempt<S: Source>(
    job: &Job,
    store: &impl Store,
    place: impl AsyncFn(Start) -> Result<Option<Position>>,
    attach: impl AsyncFnOnce(Beginning) -> Result<Option<S>>,
    clock: &Clock,
    report: &mut Report,
    watch: &mut dyn FnMut(Progress),
) -> Result<()> {
    let started = clock.now();
    // The store comes first: a refused key ends the run before the subscription is touched.
    let catalogue = Catalogue::new(store, &job.folder);
    let (head, beginning) = Box::pin(start::open(job, store, &catalogue, &place, clock)).await?;
    let asked_at = clock.now_ms();
    let Some(source) = attach(beginning).await? else {
        return job.is_absent(store, head, clock, asked_at, report).await;
    };
    report.phases.connect_ms = elapsed(clock, started);
    let attachment = source.attachment();
    let mut drain = Drain {
        job,
        store,
        clock,
        source,
        head,
        catalogue,
        report,
        watch,
        end: Position::new(-1, -1),
        mark_delete: None,
        attachment,
        schemas: Schemas::default(),
        caps: job.caps,
        delivered: false,
        previous: None,
        read: Contents::default(),
        standing: None,
        suspect: false,
        skipped: None,
        counted: None,
        part: None,
        chunks: Assembler::new(&env::temp_dir()),
        kept: None,
        owes: false,
        acknowledged_again: false,
    };
    let outcome = drain.partition(&place).await;
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
    /// The last entry at the start: the end of this run.
    end: Position,
    /// Where the cursor stood when it was last known: it never goes back while we hold the subscription.
    mark_delete: Option<Position>,
    /// The attachment that the head was read with, or that it was found unchanged with.
    attachment: Option<u64>,
    schemas: Schemas,
    /// The rule's, or less where an object did not go through.
    caps: Caps,
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
    /// The newest entry that was skipped, and the one of before the last new start: up to there all come again.
    skipped: Option<Position>,
    counted: Option<Position>,
    /// What the object being written takes of an entry that is spread over several.
    part: Option<(Position, Range<u32>)>,
    /// Parts of messages whose rest is still to come.
    chunks: Assembler,
    /// How far the bucket is known to hold everything, but for what waits in `chunks`.
    kept: Option<Kept>,
    /// Entries were skipped because an object holds them, and are not yet acknowledged.
    owes: bool,
    /// Such entries were acknowledged.
    acknowledged_again: bool,
}

impl<S: Source, T: Store> Drain<'_, S, T> {
    async fn partition(&mut self, place: &impl AsyncFn(Start) -> Result<Option<Position>>) -> Result<()> {
        let asked_at = self.clock.now_ms();
        let bounds = self.source.bounds().await?;
        self.mark_delete = bounds.mark_delete;
        let renewed = self.head.is_stale(self.clock.now_ms());
        // On the heap: it is long, and over before the reading begins.
        let bounds = Box::pin(self.settle(bounds, place)).await?;
        Box::pin(self.note_moved_cursor(&bounds, renewed)).await?;
        self.end = bounds.last;
        if bounds.nothing_to_do() {
            self.remember_passed().await;
            self.report.stop = Some(Stop::Drained);
            if self.ask_backlog().await {
                self.complete(asked_at).await;
            }
            return Ok(());
        }
        let stop = self.objects().await?;
        self.report.stop = Some(stop);
        self.conclude(stop, asked_at).await;
        Ok(())
    }

    async fn objects(&mut self) -> Result<Stop> {
        let mut left = self.job.max_objects;
        loop {
            let stop = Box::pin(self.object()).await?;
            if stop == Stop::Spread || (stop == Stop::StoredBefore && self.chunks.has_given_up()) {
                // However many objects it takes: a part of an entry cannot be acknowledged, and of parts of a
                // message that was given up nearly each has its own.
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
        let answered = self.ask_backlog().await;
        self.note_filtered_end().await;
        // Silence before the last id: the rest was expired or is not for consumers, if nothing is left.
        let drained = stop == Stop::Drained || (stop == Stop::Stalled && self.report.backlog_entries == Some(0));
        if drained {
            self.report.stop = Some(Stop::Drained);
            if answered && self.chunks.entries() == 0 {
                self.complete(asked_at).await;
            }
        }
        self.report.open_chunks = self.chunks.entries() as u64;
        let load = Load {
            drained,
            backlog: self.report.backlog_entries.unwrap_or(0),
            max_messages: self.job.caps.messages,
            max_objects: self.job.max_objects,
            interval_ms: self.job.interval.as_millis() as u64,
            now_ms: self.clock.now_ms(),
        };
        self.report.pace = report::pace(&self.read, &load);
        if self.acknowledged_again {
            self.report.outcome = Outcome::Stored;
        }
    }

    /// Whether the broker answered. Without an answer nobody knows whether it holds something back.
    async fn ask_backlog(&mut self) -> bool {
        let answer = self.source.backlog().await;
        let answered = answer.is_ok();
        match answer {
            Ok(backlog) => self.report.backlog_entries = backlog,
            Err(error) => self.report.warnings.push(format!("the backlog is not known: {}", error.chain())),
        }
        answered
    }

    /// All that is delivered is stored. What was passed over is not owed any more, and not stored either.
    async fn complete(&mut self, asked_at: u64) {
        if self.report.passed_over.is_some() {
            return;
        }
        match self.comes_next(asked_at).await {
            Ok(Some(until)) => self.report.complete_through = Some(until),
            Ok(None) => self.report.warnings.push(
                "the broker has entries that it does not deliver yet: a transaction is open; until it ends, complete_through is not said"
                    .into(),
            ),
            Err(error) => self.report.warnings.push(format!("whether all is stored is not known: {}", error.chain())),
        }
    }

    /// Up to when all that the broker accepted is stored; `None` where that is not known. From the first message of
    /// the oldest open transaction on it delivers none, not even those of others, and says that the one before is
    /// the last. Its own markers behind the last message count as backlog too, until it comes upon them.
    async fn comes_next(&mut self, asked_at: u64) -> Result<Option<u64>> {
        if self.report.backlog_entries.is_none_or(|backlog| backlog == 0) {
            return Ok(Some(asked_at));
        }
        let now = self.clock.now();
        let until = last_answers(self.job.deadline, now).1.min(now + fill::SILENCE);
        if let Next::Entry(entry) = self.source.next(until).await? {
            // It came since the run began; or a transaction has ended since, and it was there before: then it is the
            // transaction's, or stands behind entries that were aborted.
            let m = &entry.metadata;
            let next = Position::new(self.end.ledger, self.end.entry + 1);
            let held = m.txnid_most_bits.is_some() || entry.position != next;
            let stamped = entry.broker.as_ref().and_then(|broker| broker.broker_timestamp);
            let accepted = stamped.unwrap_or(m.publish_time.saturating_sub(PRODUCERS_CLOCK_MS));
            let before = if held { asked_at.min(accepted.saturating_sub(1)) } else { asked_at };
            self.source.unread(entry);
            return Ok(Some(before));
        }
        self.report.backlog_entries = self.source.backlog().await?;
        Ok((self.report.backlog_entries == Some(0)).then_some(asked_at))
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

//! One object: read, look, announce, look again, store, acknowledge.

use crate::batch::{Batch, Contents};
use crate::encode::spool::Body;
use crate::encode::{Compression, LAYOUT};
use crate::error::{Error, Kind, Result};
use crate::head::Next;
use crate::object::Object;
use crate::report::{Stop, StoredObject};
use crate::source::Source;
use crate::span::{self, Link};
use crate::store::Store;

use super::fill::Filled;
use super::parts::Acknowledged;
use super::{Drain, Progress, elapsed};

/// How often one object may be planned anew before something must be wrong.
const MOST_PLANS: u32 = 8;

/// An object that is ready to be announced.
struct Plan {
    object: Object,
    contents: Contents,
    next: Next,
}

impl<S: Source, T: Store> Drain<'_, S, T> {
    /// Writes one object, or finds that there is nothing to write.
    pub(super) async fn object(&mut self) -> Result<Stop> {
        let mut in_the_way = None;
        for _ in 0..MOST_PLANS {
            let reading = self.clock.now();
            // On the heap, as what follows: futures are large, and a platform's stack may be small.
            let filled = Box::pin(self.fill()).await?;
            self.report.phases.read_ms += elapsed(self.clock, reading);
            let (batch, stop) = match filled {
                Filled::Done(Some(batch), stop) => (batch, stop),
                Filled::Done(None, stop) => {
                    self.acknowledge_skipped().await?;
                    return Ok(stop);
                }
                Filled::Replan => {
                    self.start_over().await?;
                    continue;
                }
            };
            let Some(plan) = self.plan(batch, stop).await? else {
                self.start_over().await?;
                continue;
            };
            let keeping = self.schemas.keep(&self.job.folder, &mut self.source, self.store);
            let warnings = Box::pin(keeping).await;
            self.report.warnings.extend(warnings);
            if !self.look().await? {
                self.start_over().await?;
                continue;
            }
            if let Some(key) = self.found_stored(&plan).await? {
                in_the_way = Some(key);
                self.suspect = true;
                self.start_over().await?;
                continue;
            }
            return Box::pin(self.write(plan, stop)).await;
        }
        Err(match in_the_way {
            Some(key) => Error::new(
                Kind::Conflict,
                format!(
                    "object {key} has the name of what is to be stored and does not hold it; nothing was acknowledged: find out who wrote it, then move it out of the prefix"
                ),
            ),
            None => Error::new(
                Kind::Unavailable,
                "the plan for one object did not hold eight times in a row; nothing was acknowledged: run again, and report it if it stays",
            ),
        })
    }

    /// Names what was read. `None` where a pinned span did not come to be; then nothing is written.
    async fn plan(&mut self, batch: Batch, stop: Stop) -> Result<Option<Plan>> {
        let no_room =
            |e| Error::new(Kind::Unavailable, "the object cannot be finished; nothing was acknowledged").because(e);
        let compression = batch.compression();
        let (contents, body) = batch.finish().map_err(no_room)?;
        let span = contents.span.expect("a batch begins with its first entry");
        let digest = body.sha256_hex();
        if let Some(pinned) = self.standing.as_mut().and_then(|standing| standing.pinned.take()) {
            let why = match stop {
                Stop::Window | Stop::Deadline | Stop::Stalled => "it is not read to its end in the time of one run",
                _ if pinned.span != span || pinned.digest != digest => "it does not come again byte for byte",
                _ => "",
            };
            if !why.is_empty() {
                self.give_up_pinned(&pinned, why).await?;
                return Ok(None);
            }
            let next = Next { until: pinned.until.max(self.until_ms()), runs: pinned.runs.saturating_add(1), ..pinned };
            return Ok(Some(self.planned(next, contents, body, compression == Compression::Gzip)));
        }
        let extension = format!("jsonl{}", compression.suffix());
        let next = Next {
            span,
            key: span::key(&self.job.folder, &span, contents.first_publish_time, &extension),
            seq: self.head().done.as_ref().map_or(0, |done| done.seq) + 1,
            digest,
            format: "jsonl".into(),
            compression: compression.name().into(),
            layout: LAYOUT,
            upload_id: None,
            first_chunk: contents.first_chunk.filter(|at| *at < span.first.position),
            until: self.until_ms(),
            runs: 1,
        };
        Ok(Some(self.planned(next, contents, body, compression == Compression::Gzip)))
    }

    fn planned(&self, next: Next, contents: Contents, body: Body, gzip: bool) -> Plan {
        let done = self.head().done.as_ref();
        let object = Object {
            key: next.key.clone(),
            span: next.span,
            body,
            seq: next.seq,
            previous: done.cloned(),
            gzip,
            owed_through: next.span.last.position,
        };
        Plan { object, contents, next }
    }

    /// The object that begins with the first of the entries, if there is one.
    async fn found_stored(&mut self, plan: &Plan) -> Result<Option<String>> {
        let listing = self.catalogue.beginning_with(plan.next.span.first, plan.contents.first_publish_time);
        self.source.attend(listing).await
    }

    async fn write(&mut self, plan: Plan, stop: Stop) -> Result<Stop> {
        let Plan { object, contents, mut next } = plan;
        let storing = self.clock.now();
        let begun = self.begin_upload(&object, &mut next).await?;
        self.announce(&next, contents.first_publish_time, begun.as_ref()).await?;
        let (key, bytes) = (object.key.clone(), object.body.length());
        (self.watch)(Progress {
            partitions: 1,
            messages: self.report.messages + contents.messages,
            bytes: self.read.bytes + contents.bytes,
            entries_left: None,
            storing: Some(bytes),
        });
        let kept = self.source.attend(object.store(self.store, begun)).await?;
        self.report.phases.store_ms += elapsed(self.clock, storing);
        // From here on the announced object is the newest one known to be stored; the next announcement says so.
        let link: Link = next.link(self.head().done.as_ref());
        self.head.fold(Some(link), None);

        let acknowledging = self.clock.now();
        self.chunks.placed_is_stored();
        let outcome = match self.part.take() {
            // The rest of its last entry is still owed.
            Some((at, share)) => {
                self.catalogue.note_part(at, share);
                Ok(Acknowledged::Nothing)
            }
            None => {
                self.kept = Some(kept.and(self.kept.take()));
                self.acknowledge_kept().await
            }
        };
        self.report.phases.acknowledge_ms += elapsed(self.clock, acknowledging);
        self.read.add(&contents);
        if contents.messages == 1 && contents.bytes > self.job.caps.bytes {
            self.report.warnings.push(format!(
                "message {} alone takes {} bytes, more than max_bytes ({}): it has an object of its own",
                next.span.first, contents.bytes, self.job.caps.bytes
            ));
        }
        self.report.stored(StoredObject {
            partition: None,
            key,
            messages: contents.messages,
            bytes,
            bytes_before_compression: contents.bytes,
            first_id: next.span.first,
            last_id: next.span.last,
            undecodable: contents.undecodable,
            acknowledged: matches!(outcome, Ok(Acknowledged::Through(at)) if at >= next.span.last.position),
        });
        match outcome? {
            Acknowledged::Through(_) | Acknowledged::Nothing => Ok(stop),
            Acknowledged::Unconfirmed => Ok(Stop::Unconfirmed),
        }
    }

    /// Back to the mark-delete position, knowing more.
    async fn start_over(&mut self) -> Result<()> {
        self.standing = None;
        self.counted = self.skipped;
        self.previous = None;
        self.delivered = false;
        // It comes again, and is proved again: somebody may have moved the cursor before it meanwhile.
        self.part = None;
        (self.kept, self.owes) = (None, false);
        self.chunks.clear();
        self.source.rewind().await?;
        self.attach_to_it().await.map(drop)
    }
}

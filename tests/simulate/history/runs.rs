//! How runs begin, and what becomes of them: they live, die, freeze and wake.

use std::future::poll_fn;
use std::pin::Pin;
use std::task::Poll;
use std::time::Duration;

use tdmq_backup::batch::Caps;
use tdmq_backup::drain::{self, Job, Siblings, last_answers};
use tdmq_backup::event::SeekEvent;
use tdmq_backup::head::Owner;
use tdmq_backup::report::Report;

use super::{History, SUBSCRIPTION, TICK};
use crate::source::Consumer;
use crate::store::Bucket;
use crate::world::{State, World};

pub struct Run {
    pub future: Pin<Box<dyn Future<Output = Report>>>,
    pub topic: usize,
    /// ms
    pub deadline: u64,
    /// Slept meanwhile: a deadline cannot be kept then.
    pub slept: bool,
}

impl History {
    pub(super) fn begin(&mut self, index: usize, seek: Option<SeekEvent>) -> Run {
        let time = {
            let mut state = self.world.state();
            // At any moment.
            match state.fails(5) {
                true => Duration::from_millis(20 + state.dice.roll(20_000)),
                false => TICK + Duration::from_secs(120),
            }
        };
        self.begin_for(index, seek, time)
    }

    pub(super) fn begin_for(&mut self, index: usize, seek: Option<SeekEvent>, time: Duration) -> Run {
        self.runs += 1;
        let (world, rule) = (self.world.clone(), self.rule);
        let started = world.clock.now();
        let (deadline, count) = (started + time, world.state().topics.len() as u32);
        let job = {
            let state = world.state();
            let topic = &state.topics[index];
            let siblings = (topic.number >= 0).then(|| Siblings::new(count));
            Job {
                owner: Owner { topic: topic.name.clone(), subscription: SUBSCRIPTION.into(), partition: topic.number },
                folder: topic.folder.clone(),
                start: rule.start,
                seek,
                caps: Caps { messages: rule.messages, bytes: rule.bytes },
                max_objects: rule.objects,
                interval: TICK,
                compression: rule.compression,
                started,
                deadline,
                readers: 1,
                siblings,
            }
        };
        let (store_by, broker_by) = last_answers(deadline, started);
        let deadline = world.clock.now_ms() + deadline.saturating_duration_since(started).as_millis() as u64;
        let future = Box::pin(async move {
            let store = Bucket { world: world.clone(), until: store_by };
            let place = async |start| world.place(index, start, broker_by).await;
            let attach = async |beginning| Consumer::attach(world.clone(), index, beginning, broker_by).await;
            let report = Report::new("orders", job.owner.topic.clone(), SUBSCRIPTION, Vec::new());
            drain::run(&job, &store, place, attach, &world.clock, report, &mut |_| {}).await
        });
        Run { future, topic: index, deadline, slept: false }
    }

    /// A run to its end; after so many steps something happens.
    pub async fn run(
        &mut self,
        index: usize,
        seek: Option<SeekEvent>,
        after: u64,
        something: impl FnOnce(&mut State, u64),
    ) {
        let mut run = self.begin(index, seek);
        let report = match drive(&self.world, &mut run, after).await {
            Some(report) => report,
            None => {
                something(&mut self.world.state(), self.world.clock.now_ms());
                run.future.as_mut().await
            }
        };
        self.check(&run, &report);
    }

    /// A run that the platform gives so much time.
    pub async fn run_for(&mut self, time: Duration) {
        let mut run = self.begin_for(0, None, time);
        let report = run.future.as_mut().await;
        self.check(&run, &report);
    }

    pub(super) async fn die(&mut self, index: usize, seek: Option<SeekEvent>) {
        let after = 1 + self.roll(60);
        let mut run = self.begin(index, seek);
        match drive(&self.world, &mut run, after).await {
            Some(report) => self.check(&run, &report),
            None => self.world.note(format!("a run over {index} dies after {after} steps")),
        }
    }

    pub(super) async fn freeze(&mut self, index: usize) {
        let after = 1 + self.roll(60);
        let mut run = self.begin(index, None);
        match drive(&self.world, &mut run, after).await {
            Some(report) => self.check(&run, &report),
            None => {
                self.world.note(format!("a run over {index} freezes after {after} steps"));
                // The broker notices, or does not.
                if self.roll(4) > 0 {
                    self.world.state().topics[index].let_go();
                }
                run.slept = true;
                self.frozen.push(run);
            }
        }
    }

    pub(super) async fn wake(&mut self) {
        if self.frozen.is_empty() {
            return;
        }
        let which = self.roll(self.frozen.len() as u64) as usize;
        let after = if self.roll(2) == 0 { 1 + self.roll(30) } else { u64::MAX };
        let mut run = self.frozen.remove(which);
        self.world.note(format!("a frozen run over {} wakes, for {after} steps", run.topic));
        match drive(&self.world, &mut run, after).await {
            Some(report) => self.check(&run, &report),
            None => self.frozen.push(run),
        }
    }
}

/// Lets a run make so many steps. `None` where it is not at its end then.
async fn drive(world: &World, run: &mut Run, steps: u64) -> Option<Report> {
    let until = world.state().steps.saturating_add(steps);
    poll_fn(|context| {
        if world.state().steps >= until {
            return Poll::Ready(None);
        }
        run.future.as_mut().poll(context).map(Some)
    })
    .await
}

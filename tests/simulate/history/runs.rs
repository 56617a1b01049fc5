//! How runs begin, and what becomes of them: they live, die, freeze and wake.

use std::future::poll_fn;
use std::pin::Pin;
use std::task::Poll;
use std::time::Duration;

use tdmq_backup::batch::Caps;
use tdmq_backup::drain::{self, Job, Progress, Siblings, last_answers};
use tdmq_backup::event::SeekEvent;
use tdmq_backup::head::Owner;
use tdmq_backup::report::Report;
use tdmq_backup::run::partitions::in_turn;
use tdmq_backup::{Clock, Error, Kind};
use tokio::time::{Instant, timeout_at};

use super::{History, SUBSCRIPTION, TICK};
use crate::deeds::What;
use crate::source::Consumer;
use crate::store::Bucket;
use crate::topic::Topic;
use crate::world::{State, World};

pub struct Run {
    pub future: Pin<Box<dyn Future<Output = Report>>>,
    /// The partitions that it reads, as places in the world's list.
    pub read: Vec<usize>,
    pub number: u64,
    /// Its machine's, and when it began by that (ms).
    pub clock: Clock,
    pub began: u64,
    /// How many deeds there were then on each partition that it reads.
    since: Vec<usize>,
    /// By its clock, in ms.
    pub deadline: u64,
    /// Slept meanwhile: a deadline cannot be kept then.
    pub slept: bool,
}

impl Run {
    /// What was done on a partition since this run began: by itself, or by anybody else.
    pub fn deeds<'a>(&self, topic: &'a Topic, own: bool) -> impl Iterator<Item = &'a What> {
        let of = self.read.iter().position(|index| topic.number.max(0) as usize == *index);
        let since = self.since[of.expect("a reply is of what its run reads")];
        let number = self.number;
        topic.deeds[since..].iter().filter(move |deed| (deed.by == number) == own).map(|deed| &deed.what)
    }
}

impl History {
    pub(super) fn begin(&mut self, read: &[usize], seek: Option<SeekEvent>) -> Run {
        let time = {
            let mut state = self.world.state();
            // At any moment.
            match state.fails(5) {
                true => Duration::from_millis(20 + state.dice.roll(20_000)),
                false => TICK + Duration::from_secs(120),
            }
        };
        self.begin_for(read, seek, time)
    }

    pub(super) fn begin_for(&mut self, read: &[usize], seek: Option<SeekEvent>, time: Duration) -> Run {
        self.runs += 1;
        let world = self.world.of_run(self.runs);
        let (number, clock, ahead) = self.machine(&world);
        let began = clock.now_ms();
        let since = read.iter().map(|index| world.state().topics[*index].deeds.len()).collect();
        let started = world.clock.now();
        let deadline = started + time;
        let jobs = self.jobs(read, seek, started, deadline);
        let (store_by, broker_by) = last_answers(deadline, started);
        let deadline = began + time.as_millis() as u64;
        let future = Box::pin(async move {
            let one = async |job: &Job, watch: &mut dyn FnMut(Progress)| {
                let index = job.owner.partition.max(0) as usize;
                let store = Bucket { world: world.clone(), topic: index, until: store_by };
                let place = async |start| world.place(index, start, broker_by).await;
                let attach = async |beginning| Consumer::attach(world.clone(), index, beginning, broker_by).await;
                let report = Report::new("orders", job.owner.topic.clone(), SUBSCRIPTION, Vec::new());
                drain::run(job, &store, place, attach, &clock, report, watch).await
            };
            let asked_at = clock.now_ms();
            if let [job] = &jobs[..] {
                return by_the_brokers_clock(one(job, &mut |_| {}).await, ahead);
            }
            let mut report = Report::new("orders", "persistent://t/n/orders".into(), SUBSCRIPTION, Vec::new());
            if timeout_at(broker_by, world.step()).await.is_err() {
                report.failed(&Error::new(Kind::Unavailable, "nobody says how many partitions there are"));
                return report;
            }
            in_turn(jobs, asked_at, &clock, one, &mut report, &mut |_| {}).await;
            by_the_brokers_clock(report, ahead)
        });
        Run { future, read: read.to_vec(), number, clock, began, since, deadline, slept: false }
    }

    /// The number of a run, and its machine's clock, with how many ms it is ahead.
    fn machine(&self, world: &World) -> (u64, Clock, u64) {
        let now = world.clock.now_ms();
        let mut state = world.state();
        let wrong = state.settings.clocks;
        let shows = now - wrong + state.dice.roll(2 * wrong + 1);
        (world.run, Clock::starting_at(shows), shows.saturating_sub(now))
    }

    fn jobs(&self, read: &[usize], seek: Option<SeekEvent>, started: Instant, deadline: Instant) -> Vec<Job> {
        let (state, rule) = (self.world.state(), self.rule);
        let siblings = Siblings::new(state.topics.len() as u32);
        let job = |topic: &Topic| Job {
            owner: Owner { topic: topic.name.clone(), subscription: SUBSCRIPTION.into(), partition: topic.number },
            folder: topic.folder.clone(),
            start: rule.start,
            seek: seek.clone(),
            caps: Caps { messages: rule.messages, bytes: rule.bytes },
            max_objects: rule.objects,
            interval: TICK,
            compression: rule.compression,
            started,
            deadline,
            readers: 1,
            siblings: (topic.number >= 0).then(|| siblings.clone()),
        };
        read.iter().map(|index| job(&state.topics[*index])).collect()
    }

    /// A run to its end; after so many steps something happens.
    pub async fn run(
        &mut self,
        read: &[usize],
        seek: Option<SeekEvent>,
        after: u64,
        something: impl FnOnce(&mut State, u64),
    ) {
        let mut run = self.begin(read, seek);
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
        let mut run = self.begin_for(&[0], None, time);
        let report = run.future.as_mut().await;
        self.check(&run, &report);
    }

    pub(super) async fn die(&mut self, read: &[usize], seek: Option<SeekEvent>) {
        let after = 1 + self.roll(60);
        self.die_after(read, seek, after).await;
    }

    /// A run that dies after so many steps.
    pub async fn die_after(&mut self, read: &[usize], seek: Option<SeekEvent>, after: u64) {
        let mut run = self.begin(read, seek);
        match drive(&self.world, &mut run, after).await {
            Some(report) => self.check(&run, &report),
            None => self.world.note(format!("a run over {read:?} dies after {after} steps")),
        }
    }

    pub(super) async fn freeze(&mut self, read: &[usize]) {
        let after = 1 + self.roll(60);
        let mut run = self.begin(read, None);
        match drive(&self.world, &mut run, after).await {
            Some(report) => self.check(&run, &report),
            None => {
                self.world.note(format!("a run over {read:?} freezes after {after} steps"));
                // The broker notices, or does not.
                for index in read {
                    if self.roll(4) > 0 {
                        self.world.state().topics[*index].let_go();
                    }
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
        self.world.note(format!("a frozen run over {:?} wakes, for {after} steps", run.read));
        match drive(&self.world, &mut run, after).await {
            Some(report) => self.check(&run, &report),
            None => self.frozen.push(run),
        }
    }
}

/// What is complete, it says by its own clock; entries are accepted by the broker's.
fn by_the_brokers_clock(mut report: Report, ahead: u64) -> Report {
    let parts = report.partitions.iter_mut().map(|one| &mut one.complete_through);
    for through in parts.chain([&mut report.complete_through]).flatten() {
        *through -= ahead;
    }
    report
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

//! One history: what is sent, what fails, which runs live, die, freeze and wake; then peace, and the reckoning.

use std::collections::BTreeMap;
use std::future::poll_fn;
use std::pin::Pin;
use std::rc::Rc;
use std::task::Poll;
use std::time::Duration;

use tdmq_backup::batch::Caps;
use tdmq_backup::drain::{self, Job, Siblings, last_answers};
use tdmq_backup::encode::Compression;
use tdmq_backup::event::SeekEvent;
use tdmq_backup::head::Owner;
use tdmq_backup::report::{Outcome, Report};
use tdmq_backup::rule::Start;
use tdmq_backup::span::Span;
use tdmq_backup::testing::compose::{Composed, Composer, Draft};
use tdmq_backup::{Kind, Position};

use crate::dice::Dice;
use crate::source::Consumer;
use crate::store::Bucket;
use crate::topic::{ChunkOf, Slot};
use crate::world::{Settings, State, World};

const SUBSCRIPTION: &str = "backup";
const TICK: Duration = Duration::from_secs(5 * 60);
const MOST_LAST_RUNS: u32 = 200;

/// What a history came to.
#[derive(Debug, Default)]
pub struct Verdict {
    pub broken: Vec<String>,
    /// Stored twice, on a store without conditions, by the one history that is known there.
    pub known: bool,
    pub runs: u64,
    pub messages: u64,
    pub log: Vec<String>,
}

#[derive(Clone, Copy, Debug)]
struct Rule {
    messages: u64,
    objects: u32,
    bytes: u64,
    compression: Compression,
    start: Start,
}

struct Run {
    future: Pin<Box<dyn Future<Output = Report>>>,
    topic: usize,
    /// ms
    deadline: u64,
    /// Slept meanwhile: a deadline cannot be kept then.
    slept: bool,
}

pub struct History {
    pub world: World,
    rule: Rule,
    frozen: Vec<Run>,
    /// Of messages that are not yet whole.
    chunks: Vec<(usize, Vec<(Composed, ChunkOf)>)>,
    runs: u64,
}

pub async fn history(seed: u64) -> Verdict {
    let mut dice = Dice::new(seed);
    let settings =
        Settings { conditional: !dice.one_in(4), says_cursor: !dice.one_in(6), part: dice.pick(&[300, 1 << 40]) };
    let partitions = dice.pick(&[0, 0, 0, 2, 3]);
    let start = match settings.says_cursor {
        true => dice.pick(&[Start::Continue, Start::Continue, Start::Earliest, Start::Latest]),
        false => Start::Continue,
    };
    let rule =
        Rule { messages: 4, objects: 1 + dice.roll(3) as u32, bytes: 1 << 20, compression: Compression::Gzip, start };
    let world = World::new(dice, settings, partitions);
    world.note(format!("seed {seed}: {settings:?}, {partitions} partitions, {rule:?}"));
    let mut history = History { world, rule, frozen: Vec::new(), chunks: Vec::new(), runs: 0 };
    let acts = 6 + history.roll(24);
    for _ in 0..acts {
        history.act().await;
        if !history.world.state().broken.is_empty() {
            break;
        }
    }
    history.peace().await;
    history.reckon()
}

impl History {
    /// Nothing fails by itself.
    pub fn calm() -> Self {
        let settings = Settings { conditional: true, says_cursor: true, part: u64::MAX };
        let rule =
            Rule { messages: 4, objects: 1, bytes: 1 << 20, compression: Compression::None, start: Start::Continue };
        let world = World::new(Dice::new(1), settings, 0);
        world.state().calm = true;
        History { world, rule, frozen: Vec::new(), chunks: Vec::new(), runs: 0 }
    }

    /// One message; of a transaction, which is open from now on, or of nobody's.
    pub fn message(&mut self, transactional: bool) {
        let now = self.world.clock.now_ms();
        let mut state = self.world.state();
        let text = payload(&mut state, 5);
        let mut composer = Composer::new("one").at(now);
        if transactional {
            composer = composer.transaction(1, 1);
            state.topics[0].blocked = Some(state.topics[0].log.len());
        }
        let composed = composer.single(Draft::new(text.as_str()));
        state.topics[0].append(now, composed, vec![text]);
    }

    fn roll(&self, sides: u64) -> u64 {
        self.world.state().dice.roll(sides)
    }

    fn topic(&self) -> usize {
        let mut state = self.world.state();
        let count = state.topics.len() as u64;
        state.dice.roll(count) as usize
    }

    async fn act(&mut self) {
        let topic = self.topic();
        match self.roll(40) {
            0..7 => self.send(topic),
            7..15 => self.run(topic, None, u64::MAX, |_, _| {}).await,
            15..20 => self.die(topic, None).await,
            20..22 => self.freeze(topic).await,
            22..24 => self.wake().await,
            24..26 => {
                // A successor's whole run, while one stands still at any step.
                self.freeze(topic).await;
                self.run(topic, None, u64::MAX, |_, _| {}).await;
                self.wake().await;
            }
            26..28 => {
                let what = self.roll(9);
                let after = 1 + self.roll(80);
                self.run(topic, None, after, move |state, now| happens(state, topic, what, now)).await;
            }
            28..33 => {
                let (what, now) = (self.roll(9), self.world.clock.now_ms());
                happens(&mut self.world.state(), topic, what, now);
            }
            33 => self.edit(),
            34 => self.time_passes().await,
            35 => self.event(topic).await,
            36 => self.lifecycle(topic),
            37 => self.transaction(topic),
            38 => self.old_writes(),
            _ => self.world.state().topics[topic].roll_ledger(),
        }
    }

    /// Some entries: single messages, batches, some larger than the caps, chunks, and what nobody can decode.
    fn send(&mut self, index: usize) {
        let now = self.world.clock.now_ms();
        let mut state = self.world.state();
        let count = 1 + state.dice.roll(25);
        let mut sent = Vec::new();
        for _ in 0..count {
            match state.dice.roll(20) {
                0 if self.chunks.len() < 3 => {
                    let of = 2 + state.dice.roll(4) as usize;
                    let producer = state.dice.pick(&["big", "huge"]);
                    self.chunks.push((index, chunks(&mut state, producer, of, now)));
                }
                1..4 => {
                    if let Some(message) = self.chunks.iter_mut().find(|(of, left)| *of == index && !left.is_empty()) {
                        let again = message.1.len() > 1 && state.dice.one_in(8);
                        let chunk = if again { message.1[0].clone() } else { message.1.remove(0) };
                        append_chunk(&mut state, index, chunk, now);
                        sent.push("chunk".to_owned());
                    }
                }
                kind => {
                    let members = match kind {
                        4 => 1 + state.dice.roll(14) as usize,
                        5..9 => 2 + state.dice.roll(3) as usize,
                        _ => 1,
                    };
                    let poison = kind == 9;
                    let payloads: Vec<String> = (0..members).map(|_| payload(&mut state, 20)).collect();
                    let mut composer =
                        Composer::new("producer").at(now).sequence(state.topics[index].log.len() as u64 * 100);
                    let mut drafts = payloads.iter().map(|payload| Draft::new(payload.as_str()));
                    let mut composed = match members {
                        1 => composer.single(drafts.next().unwrap()),
                        _ => composer.batch(drafts),
                    };
                    if poison {
                        composed.metadata.compression = Some(77);
                    }
                    let slot: &mut Slot = state.topics[index].append(now, composed, payloads);
                    slot.poison = poison;
                    sent.push(members.to_string());
                }
            }
        }
        self.chunks.retain(|(_, left)| !left.is_empty());
        let at = state.topics[index].log.last().map(|slot| slot.at);
        state.log.push(format!("to {index} are sent {} up to {at:?}", sent.join(" ")));
    }

    fn begin(&mut self, index: usize, seek: Option<SeekEvent>) -> Run {
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

    fn begin_for(&mut self, index: usize, seek: Option<SeekEvent>, time: Duration) -> Run {
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
                siblings: siblings.map(|it: Rc<Siblings>| it),
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

    async fn die(&mut self, index: usize, seek: Option<SeekEvent>) {
        let after = 1 + self.roll(60);
        let mut run = self.begin(index, seek);
        match drive(&self.world, &mut run, after).await {
            Some(report) => self.check(&run, &report),
            None => self.world.note(format!("a run over {index} dies after {after} steps")),
        }
    }

    async fn freeze(&mut self, index: usize) {
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

    async fn wake(&mut self) {
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

    async fn event(&mut self, index: usize) {
        let to = {
            let mut state = self.world.state();
            let topic = &state.topics[index];
            let positions: Vec<Position> = topic.log.iter().filter(|slot| !slot.gone).map(|slot| slot.at).collect();
            if positions.is_empty() || !state.settings.says_cursor {
                return;
            }
            match state.dice.roll(4) {
                0 => Start::Earliest,
                1 => Start::Latest,
                _ => Start::Id(state.dice.pick(&positions)),
            }
        };
        let id = Some(format!("event {}", self.roll(6)));
        self.world.state().goes_back();
        self.world.note(format!("an event asks to move {index} to {to}"));
        let seek = SeekEvent { to, confirm: SUBSCRIPTION.into(), id };
        match self.roll(2) {
            0 => self.die(index, Some(seek)).await,
            _ => self.run(index, Some(seek), u64::MAX, |_, _| {}).await,
        }
    }

    fn edit(&mut self) {
        self.rule = Rule {
            messages: 1 + self.roll(12),
            objects: 1 + self.roll(4) as u32,
            bytes: if self.roll(4) == 0 { 400 + self.roll(2000) } else { 1 << 20 },
            compression: if self.roll(2) == 0 { Compression::None } else { Compression::Gzip },
            start: self.rule.start,
        };
        self.world.note(format!("{:?}", self.rule));
    }

    async fn time_passes(&mut self) {
        let minutes = if self.roll(4) == 0 { 26 * 60 } else { 1 + self.roll(40) };
        self.world.note(format!("{minutes} minutes pass"));
        tokio::time::advance(Duration::from_secs(minutes * 60)).await;
    }

    /// Somebody's lifecycle rule removes an object whose messages are all acknowledged, or the head.
    fn lifecycle(&mut self, index: usize) {
        let mut state = self.world.state();
        let topic = &state.topics[index];
        let Some(at) = topic.cursor.as_ref().map(|cursor| cursor.persisted) else { return };
        let folder = topic.folder.clone();
        let heads = [format!("{folder}_head.json")];
        let keys: Vec<String> = (state.objects.range(folder.clone()..))
            .take_while(|(key, _)| key.starts_with(&folder))
            .filter(|(key, _)| Span::of_key(key).is_some_and(|span| span.last.position <= at))
            .map(|(key, _)| key.clone())
            .collect();
        if keys.is_empty() || !self.frozen.is_empty() {
            return;
        }
        let all = if state.dice.one_in(6) { &heads[..] } else { &keys[..] };
        let which = state.dice.roll(all.len() as u64) as usize;
        state.log.push(format!("{} is removed", all[which]));
        let key = all[which].clone();
        state.remove(&key);
    }

    fn transaction(&mut self, index: usize) {
        let now = self.world.clock.now_ms();
        let mut state = self.world.state();
        let text = payload(&mut state, 5);
        let aborts = state.dice.one_in(3);
        let topic = &mut state.topics[index];
        match topic.blocked.take() {
            None => {
                topic.blocked = Some(topic.log.len());
                let mut composer = Composer::new("transactional").at(now).transaction(1, now);
                let composed = composer.single(Draft::new(text.as_str()));
                topic.append(now, composed, vec![text]);
            }
            // What was aborted is filtered; what others sent meanwhile is not, but for one entry here all is one's.
            Some(from) if aborts => {
                if let Some(slot) = topic.log.get_mut(from) {
                    slot.gone = true;
                }
            }
            Some(_) => {}
        }
        let blocked = topic.blocked;
        state.log.push(format!("transactions over {index}: {blocked:?}"));
    }

    /// Writes of dead runs arrive, or never will.
    fn old_writes(&mut self) {
        let now = self.world.clock.now_ms();
        let mut state = self.world.state();
        for id in state.flying.keys().copied().collect::<Vec<_>>() {
            if state.flying[&id].until < now || state.dice.one_in(4) {
                state.flying.remove(&id);
            } else if state.dice.one_in(2) {
                let key = state.flying[&id].key.clone();
                state.log.push(format!("a late write of {key} arrives"));
                state.land(id);
                // Nobody looks again behind this one.
                state.goes_back();
            }
        }
    }

    /// Nothing fails any more; what was begun ends.
    async fn peace(&mut self) {
        for mut run in std::mem::take(&mut self.frozen) {
            if self.roll(2) == 0 {
                self.world.note(format!("a frozen run over {} wakes at last", run.topic));
                let report = run.future.as_mut().await;
                self.check(&run, &report);
            }
        }
        self.old_writes();
        let topics = {
            let mut state = self.world.state();
            state.calm = true;
            state.log.push("peace".to_owned());
            state.flying.clear();
            state.topics.len()
        };
        tokio::time::advance(Duration::from_secs(45 * 60)).await;
        for index in 0..topics {
            self.end(index);
            for _ in 0..MOST_LAST_RUNS {
                let mut run = self.begin(index, None);
                let report = run.future.as_mut().await;
                let at_rest = report.outcome == Outcome::NothingToDo && report.stop.is_some();
                let refused = report.error.as_ref().is_some_and(|error| error.kind == Kind::Invalid.name());
                self.check(&run, &report);
                if refused {
                    // A start behind what the subscription owes: the rule is mended.
                    self.rule.start = Start::Continue;
                }
                if at_rest {
                    break;
                }
                tokio::time::advance(TICK).await;
            }
        }
    }

    /// What was begun on a partition ends; half of the chunked messages never become whole.
    fn end(&mut self, index: usize) {
        let now = self.world.clock.now_ms();
        let mut state = self.world.state();
        state.topics[index].blocked = None;
        state.topics[index].let_go();
        for (_, message) in self.chunks.iter_mut().filter(|(of, _)| *of == index) {
            if state.dice.one_in(2) {
                message.drain(..).for_each(|chunk| append_chunk(&mut state, index, chunk, now));
            }
        }
        // What is younger gives up what is open.
        let text = payload(&mut state, 1);
        let last = Composer::new("last").at(now + 11 * 60_000).single(Draft::new(text.as_str()));
        state.topics[index].append(now, last, vec![text]);
    }

    /// What the report says is so.
    fn check(&mut self, run: &Run, report: &Report) {
        let now = self.world.clock.now_ms();
        let mut state = self.world.state();
        let state = &mut *state;
        let error = report.error.as_ref().map(|error| &error.message);
        state.log.push(format!(
            "a run over {}: {:?} {:?}, {} objects, {} skipped, missing {:?}, complete {:?} {}",
            run.topic,
            report.outcome,
            report.stop,
            report.objects.len(),
            report.skipped_entries,
            report.missing.iter().map(|it| (it.first.to_string(), it.last.to_string())).collect::<Vec<_>>(),
            report.complete_through.map(|at| at as i64 - crate::world::NOW as i64),
            error.map_or("", |text| text)
        ));
        let mut wrong = Vec::new();
        if now > run.deadline && !run.slept {
            wrong.push(format!("ended {} ms after its deadline", now - run.deadline));
        }
        let topic = &state.topics[run.topic];
        let furthest = topic.cursor.as_ref().map(|cursor| cursor.furthest);
        for object in &report.objects {
            let there = state.objects.get(&object.key);
            if there.is_none_or(|there| there.bytes.len() as u64 != object.bytes) && !run.slept {
                wrong.push(format!("says that it stored {}", object.key));
            }
            if object.acknowledged && furthest < Some(object.last_id.position) {
                wrong.push(format!("says that {} is acknowledged", object.key));
            }
        }
        let stored = report.outcome == Outcome::Stored;
        if !report.objects.is_empty() && !stored && report.error.is_none() {
            wrong.push("stored, and does not say so".to_owned());
        }
        if let Some(through) = report.complete_through {
            let owed = |slot: &&Slot| {
                slot.accepted_ms < through && !slot.is_stored() && !slot.gone && !slot.excused && !slot.hole
            };
            if let Some(slot) = topic.log.iter().find(owed) {
                wrong.push(format!("says that all before {through} is stored, and {} is not", slot.at));
            }
        }
        for missing in &report.missing {
            let kept = |slot: &&Slot| {
                missing.first <= slot.at && slot.at <= missing.last && slot.is_stored() && !slot.gone && !slot.excused
            };
            if let Some(slot) = topic.log.iter().find(kept)
                && !run.slept
                && !state.is_open_history()
            {
                wrong.push(format!("names {} as missing, which is stored", slot.at));
            }
        }
        if state.calm
            && matches!(report.error.as_ref().map(|error| error.kind), Some("internal" | "conflict" | "corrupt"))
        {
            wrong.push(format!("fails in peace: {error:?}"));
        }
        state.broken.extend(wrong.into_iter().map(|what| format!("a run over {} {what}", run.topic)));
    }

    pub fn broken(&self) -> Vec<String> {
        self.world.state().broken.clone()
    }

    fn reckon(&mut self) -> Verdict {
        let mut state = self.world.state();
        let state = &mut *state;
        let mut messages = 0;
        let mut broken = std::mem::take(&mut state.broken);
        for topic in &state.topics {
            let backlog = topic.backlog();
            if backlog > 0 {
                broken.push(format!("{} entries of {} were never acknowledged", backlog, topic.name));
            }
            for slot in &topic.log {
                messages += slot.payloads.len() as u64;
                if !slot.gone && !slot.excused && !slot.hole && !slot.is_stored() {
                    broken.push(format!("{} is lost", slot.at));
                }
            }
        }
        let known = !state.twice.is_empty() && state.is_open_history();
        if !known && let Some(at) = state.twice.first() {
            broken.push(format!("{at} is stored twice"));
        }
        broken.extend(chain(state));
        Verdict { broken, known, runs: self.runs, messages, log: std::mem::take(&mut state.log) }
    }
}

/// Each object names its predecessor as it is.
fn chain(state: &State) -> Vec<String> {
    let digests: BTreeMap<&str, &str> = (state.objects.iter())
        .filter(|(key, _)| Span::of_key(key).is_some())
        .map(|(key, object)| (object.metadata["sha256"].as_str(), key.as_str()))
        .collect();
    let removed = state.log.iter().any(|line| line.ends_with("is removed"));
    let objects = state.objects.iter().filter(|(key, _)| Span::of_key(key).is_some());
    let unknown = objects.filter(|(_, object)| {
        object.metadata.get("previous-sha256").is_some_and(|previous| !digests.contains_key(previous.as_str()))
    });
    unknown.filter(|_| !removed).map(|(key, _)| format!("the predecessor of {key} is not there")).collect()
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

/// What happens to a partition while nobody asks.
fn happens(state: &mut State, index: usize, what: u64, now: u64) {
    let roll = |state: &mut State, sides: usize| state.dice.roll(sides as u64) as usize;
    let count = state.topics[index].log.len();
    let at = roll(state, count.max(1));
    let wait = 100 + roll(state, 5000) as u64;
    let (loses, notices) = (state.dice.one_in(2), state.dice.one_in(2));
    let topic = &mut state.topics[index];
    let what = match what {
        // The broker crashes: what it had not written of the cursor is forgotten.
        0 | 1 => {
            for topic in &mut state.topics {
                topic.let_go();
                topic.down_until = now + wait;
                if let Some(cursor) = &mut topic.cursor
                    && loses
                {
                    cursor.mark_delete = cursor.persisted;
                }
            }
            state.goes_back();
            format!("the broker crashes, and forgets: {loses}")
        }
        2 => {
            topic.let_go();
            topic.down_until = now + wait;
            "the topic is unloaded".to_owned()
        }
        3 => {
            match &mut topic.cursor {
                Some(cursor) if !notices => cursor.noticed_at = cursor.holder.map(|_| now + 60_000),
                _ => topic.let_go(),
            }
            "the connection is lost".to_owned()
        }
        // An administrator moves the cursor back, or messages are skipped.
        4 | 5 if count > 0 && topic.cursor.is_some() => {
            let to = topic.behind(topic.log[at].at);
            topic.let_go();
            if to < topic.cursor.as_ref().unwrap().mark_delete {
                topic.move_cursor(to);
            }
            state.goes_back();
            format!("the cursor is moved back to {to}")
        }
        6 if count > 0 && topic.cursor.is_some() => {
            let to = topic.log[at].at;
            if to > topic.cursor.as_ref().unwrap().mark_delete && topic.blocked.is_none_or(|from| at < from) {
                topic.move_cursor(to);
            }
            format!("everything up to {to} is skipped")
        }
        // By retention or eviction; only ledgers that are full.
        7 if count > 0 && topic.blocked.is_none_or(|from| at < from) => {
            let ledger = topic.log[at].at.ledger;
            topic.trim(ledger);
            format!("everything before ledger {ledger} is removed")
        }
        8 => {
            topic.roll_ledger();
            "a ledger ends".to_owned()
        }
        _ => "nothing happens".to_owned(),
    };
    state.log.push(format!("on {index} {what}"));
}

fn payload(state: &mut State, size: usize) -> String {
    format!("{{\"n\":{},\"pad\":\"{}\"}}", state.number(), "x".repeat(size))
}

fn chunks(state: &mut State, producer: &str, of: usize, now: u64) -> Vec<(Composed, ChunkOf)> {
    let whole = payload(state, 30 * of);
    let uuid = format!("{producer}-{}", state.number());
    let size = whole.len().div_ceil(of);
    let chunks = Composer::new(producer).at(now).chunks(Draft::new(whole.as_str()), size, &uuid);
    chunks.into_iter().map(|chunk| (chunk, ChunkOf { uuid: uuid.clone(), whole: whole.clone() })).collect()
}

fn append_chunk(state: &mut State, index: usize, (mut composed, of): (Composed, ChunkOf), now: u64) {
    composed.metadata.publish_time = now;
    let part = String::from_utf8(composed.payload.to_vec()).unwrap();
    state.topics[index].append(now, composed, vec![part]).chunk = Some(of);
}

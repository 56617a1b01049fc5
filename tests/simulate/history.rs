//! One history: what is sent, what fails, which runs live, die, freeze and wake; then peace, and the reckoning.

mod before;
mod claims;
mod meanwhile;
mod poison;
mod reckoning;
mod runs;
mod sent;

use std::time::Duration;

use tdmq_backup::encode::Compression;
use tdmq_backup::event::SeekEvent;
use tdmq_backup::report::Outcome;
use tdmq_backup::rule::Start;
use tdmq_backup::testing::compose::{Composed, Composer, Draft};
use tdmq_backup::{Kind, Position};

use self::before::drawn_start;
use self::meanwhile::happens;
use self::runs::Run;
use self::sent::{append_chunk, payload};
use crate::dice::Dice;
use crate::store::MOST_WRONG_MS;
use crate::topic::ChunkOf;
use crate::world::{NOW, Settings, World};

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
    let settings = Settings {
        conditional: !dice.one_in(4),
        says_cursor: !dice.one_in(6),
        part: dice.pick(&[300, 1 << 40]),
        clocks: dice.pick(&[0, MOST_WRONG_MS]),
    };
    let partitions = dice.pick(&[0, 0, 0, 2, 3, 2, 3, 6]);
    let objects = 1 + dice.roll(3) as u32;
    let mut rule =
        Rule { messages: 4, objects, bytes: 1 << 20, compression: Compression::Gzip, start: Start::Continue };
    let world = World::new(dice, settings, partitions);
    rule.start = drawn_start(&mut world.state(), NOW);
    world.note(format!("seed {seed}: {settings:?}, {partitions} partitions, {rule:?}"));
    let mut history = History { world, rule, frozen: Vec::new(), chunks: Vec::new(), runs: 0 };
    if history.world.state().dice.one_in(3) {
        history.was_shared();
    }
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
        let settings = Settings { conditional: true, says_cursor: true, part: u64::MAX, clocks: 0 };
        let rule =
            Rule { messages: 4, objects: 1, bytes: 1 << 20, compression: Compression::None, start: Start::Continue };
        let world = World::new(Dice::new(1), settings, 0);
        world.state().calm = true;
        History { world, rule, frozen: Vec::new(), chunks: Vec::new(), runs: 0 }
    }

    fn roll(&self, sides: u64) -> u64 {
        self.world.state().dice.roll(sides)
    }

    fn topic(&self) -> usize {
        let mut state = self.world.state();
        let count = state.topics.len() as u64;
        state.dice.roll(count) as usize
    }

    /// What a run reads: all partitions, or one that the rule names.
    fn reads(&self, one: usize) -> Vec<usize> {
        match self.roll(2) {
            0 => vec![one],
            _ => (0..self.world.state().topics.len()).collect(),
        }
    }

    async fn act(&mut self) {
        let topic = self.topic();
        let read = &self.reads(topic)[..];
        match self.roll(40) {
            0..7 => self.send(topic),
            7..15 => self.run(read, None, u64::MAX, |_, _| {}).await,
            15..20 => self.die(read, None).await,
            20..22 => self.freeze(read).await,
            22..24 => self.wake().await,
            24..26 => {
                // A successor's whole run, while one stands still at any step.
                self.freeze(read).await;
                self.run(read, None, u64::MAX, |_, _| {}).await;
                self.wake().await;
            }
            26..28 => {
                let what = self.roll(9);
                let after = 1 + self.roll(80);
                self.run(read, None, after, move |state, now| happens(state, topic, what, now)).await;
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
        // A message id is one partition's.
        let read = &if matches!(to, Start::Id(_)) { vec![index] } else { self.reads(index) }[..];
        let id = Some(format!("event {}", self.roll(6)));
        read.iter().for_each(|index| self.world.state().topics[*index].moves = true);
        self.world.note(format!("an event asks to move {read:?} to {to}"));
        let seek = SeekEvent { to, confirm: SUBSCRIPTION.into(), id };
        match self.roll(2) {
            0 => self.die(read, Some(seek)).await,
            _ => self.run(read, Some(seek), u64::MAX, |_, _| {}).await,
        }
    }

    fn edit(&mut self) {
        self.rule = Rule {
            messages: if self.roll(5) == 0 { 100 + self.roll(4900) } else { 1 + self.roll(12) },
            objects: 1 + self.roll(4) as u32,
            bytes: match self.roll(8) {
                0 | 1 => 400 + self.roll(2000),
                2 => 2000 + self.roll(60_000),
                _ => 1 << 20,
            },
            compression: if self.roll(2) == 0 { Compression::None } else { Compression::Gzip },
            start: drawn_start(&mut self.world.state(), self.world.clock.now_ms()),
        };
        self.world.note(format!("{:?}", self.rule));
    }

    async fn time_passes(&mut self) {
        let minutes = if self.roll(4) == 0 { 26 * 60 } else { 1 + self.roll(40) };
        self.world.note(format!("{minutes} minutes pass"));
        tokio::time::advance(Duration::from_secs(minutes * 60)).await;
    }

    /// Nothing fails any more; what was begun ends.
    async fn peace(&mut self) {
        for mut run in std::mem::take(&mut self.frozen) {
            if self.roll(2) == 0 {
                self.world.note(format!("a frozen run over {:?} wakes at last", run.read));
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
                let mut run = self.begin(&[index], None);
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
}

//! The broker as one run sees it: a consumer that is lost and attached anew, entries that come again, answers
//! that are lost.

use std::collections::VecDeque;
use std::time::Duration;

use tdmq_backup::drain::Beginning;
use tdmq_backup::object::Stored;
use tdmq_backup::schemas::Schema;
use tdmq_backup::source::{Bounds, Next, Receipt, Seek, Source};
use tdmq_backup::{Entry, Error, Kind, Position, Result};
use tokio::time::{Instant, sleep, sleep_until, timeout_at};

use crate::deeds::{HELD, LOST, WENT_BACK, What};
use crate::topic::{Cursor, Slot};
use crate::world::{State, World};

const MOST_TRIES: u32 = 20;

pub struct Consumer {
    world: World,
    /// Which of the world's partitions.
    topic: usize,
    until: Instant,
    id: u64,
    /// As far as we know.
    attached: bool,
    beginning: Beginning,
    /// Delivered and not handed out.
    queue: VecDeque<Entry>,
    accepted: Option<Position>,
    /// As `pulsar::Consumer` has them: what a broker that does not say where the cursor stands is held to.
    floor: Option<Position>,
    first_from: Option<Position>,
}

pub fn lost() -> Error {
    Error::new(Kind::Unavailable, LOST)
}

impl Consumer {
    /// `None` for a partition that the broker does not know.
    pub async fn attach(world: World, topic: usize, beginning: Beginning, until: Instant) -> Result<Option<Self>> {
        let mut consumer = Consumer {
            world,
            topic,
            until,
            id: 0,
            attached: false,
            beginning,
            queue: VecDeque::new(),
            accepted: None,
            floor: None,
            first_from: None,
        };
        if !consumer.world.state().topics[topic].born {
            let answer = timeout_at(until, consumer.world.step()).await;
            return consumer.world.told(topic, answer.map(|()| None).map_err(|_| lost()));
        }
        match consumer.subscribe().await {
            Ok(()) => {}
            Err(error) if error.kind() == Kind::Unavailable => consumer.reattach().await?,
            Err(error) => return Err(error),
        }
        Ok(Some(consumer))
    }

    async fn subscribe(&mut self) -> Result<()> {
        let tried = timeout_at(self.until, self.try_to_subscribe()).await.unwrap_or_else(|_| Err(lost()));
        self.world.told(self.topic, tried)
    }

    async fn try_to_subscribe(&mut self) -> Result<()> {
        self.world.step().await;
        {
            let now = self.world.clock.now_ms();
            let mut state = self.world.state();
            let fails = state.fails(60);
            let id = state.number();
            let topic = &mut state.topics[self.topic];
            if fails || topic.down_until > now {
                return Err(lost());
            }
            let begins = match self.beginning {
                Beginning::Latest if topic.last().entry >= 0 => topic.last(),
                Beginning::Latest | Beginning::Earliest => topic.beginning(),
            };
            let missing = topic.cursor.is_none();
            let cursor = topic.cursor.get_or_insert(Cursor::at(begins));
            if cursor.noticed_at.is_some_and(|at| at <= now) {
                (cursor.holder, cursor.noticed_at) = (None, None);
            }
            if cursor.holder.is_some() {
                return Err(Error::new(Kind::Busy, HELD));
            }
            (cursor.holder, cursor.noticed_at) = (Some(id), None);
            self.id = id;
            topic.did(self.world.run, What::Attached);
            if missing {
                // What the rule begins behind is not owed. It may have to go back there first.
                let from = topic.start.unwrap_or(begins).min(begins);
                topic.log.iter_mut().filter(|slot| slot.at <= from).for_each(|slot| slot.excused = true);
            }
        }
        self.attached = true;
        self.world.step().await;
        Ok(())
    }

    async fn reattach(&mut self) -> Result<()> {
        let mut pause = 50;
        let mut left = MOST_TRIES;
        loop {
            self.forget();
            match self.subscribe().await {
                Err(error) if left > 0 && matches!(error.kind(), Kind::Unavailable | Kind::Busy) => {
                    left -= 1;
                    let paused = sleep(Duration::from_millis(pause));
                    if timeout_at(self.until, paused).await.is_err() {
                        return Err(error);
                    }
                    pause = (pause * 2).min(5000);
                }
                tried => return tried,
            }
        }
    }

    /// A new connection takes the place of the old one, which the broker sees closed.
    fn forget(&mut self) {
        self.attached = false;
        self.first_from = self.floor;
        self.disconnect();
        self.id = 0;
    }

    /// Our connection is closed, and the broker notices: at once, or only by and by.
    fn disconnect(&mut self) {
        let now = self.world.clock.now_ms();
        let mut state = self.world.state();
        let late = state.fails(4).then(|| now + 1000 + state.dice.roll(60_000));
        let topic = &mut state.topics[self.topic];
        if topic.is_held_by(self.id) {
            match (late, &mut topic.cursor) {
                (Some(at), Some(cursor)) => cursor.noticed_at = Some(at),
                _ => topic.let_go(),
            }
        }
    }

    /// A request on our attachment, and its answer; an error where the connection was lost before or after the broker
    /// did it.
    async fn request<T>(&mut self, act: impl FnOnce(&mut State, u64, usize) -> T) -> Result<T> {
        let (world, id, topic) = (self.world.clone(), self.id, self.topic);
        let asked = async {
            world.step().await;
            let answer = {
                let mut state = world.state();
                if state.fails(120) {
                    state.topics[topic].let_go();
                }
                if !state.topics[topic].is_held_by(id) {
                    return Err(lost());
                }
                let answer = act(&mut state, id, topic);
                if state.fails(120) {
                    state.topics[topic].let_go();
                    return Err(lost());
                }
                answer
            };
            world.step().await;
            match world.state().topics[topic].is_held_by(id) {
                true => Ok(answer),
                false => Err(lost()),
            }
        };
        let answer = timeout_at(self.until, asked).await.unwrap_or_else(|_| Err(lost()));
        self.attached &= answer.is_ok();
        self.world.told(topic, answer)
    }

    /// What may be asked any number of times.
    async fn question<T>(&mut self, act: impl Fn(&mut State, usize) -> T) -> Result<T> {
        let mut left = 3;
        loop {
            if !self.attached {
                self.reattach().await?;
            }
            left -= 1;
            match self.request(|state, _, topic| act(state, topic)).await {
                Err(error) if error.kind() == Kind::Unavailable && left > 0 => {}
                answer => return answer,
            }
        }
    }
}

impl Source for Consumer {
    async fn bounds(&mut self) -> Result<Bounds> {
        self.beginning = Beginning::Earliest;
        self.question(|state, topic| {
            let says = state.settings.says_cursor;
            let topic = &state.topics[topic];
            let mark_delete = topic.cursor.as_ref().filter(|_| says).map(|cursor| cursor.mark_delete);
            Bounds { last: topic.last(), mark_delete }
        })
        .await
    }

    async fn seek(&mut self, to: Seek) -> Result<()> {
        let (run, now) = (self.world.run, self.world.clock.now_ms());
        let sought = self
            .request(|state, _, index| {
                let topic = &mut state.topics[index];
                let at = match to {
                    Seek::Earliest => topic.beginning(),
                    Seek::Time(_) => unreachable!("a run finds the place beforehand"),
                    Seek::To(at) => topic.behind(at),
                };
                let stands = topic.cursor.as_ref().unwrap().mark_delete;
                let passes = |slot: &&Slot| stands < slot.at && slot.at <= at && slot.is_owed();
                match topic.log.iter().find(passes).map(|slot| slot.at) {
                    Some(owed) if !topic.moves => state.broken.push(format!("a start passes over {owed}")),
                    _ => {}
                }
                let topic = &mut state.topics[index];
                if topic.moves {
                    // Where an event asked for a move, nothing before its place is owed.
                    topic.log.iter_mut().filter(|slot| slot.at <= at).for_each(|slot| slot.excused = true);
                }
                topic.move_cursor(run, at, now);
            })
            .await;
        self.forget();
        sought?;
        self.queue.clear();
        (self.accepted, self.floor, self.first_from) = (None, None, None);
        self.subscribe().await
    }

    async fn next(&mut self, until: Instant) -> Result<Next> {
        loop {
            if let Some(entry) = self.queue.pop_front() {
                let mut state = self.world.state();
                let topic = &mut state.topics[self.topic];
                if topic.slot(entry.position).is_some_and(|slot| slot.is_stored()) {
                    topic.did(self.world.run, What::CameStored(entry.position));
                }
                return Ok(Next::Entry(entry));
            }
            let held = self.world.state().topics[self.topic].is_held_by(self.id);
            self.attached &= held;
            if !self.attached {
                let _ = self.world.told(self.topic, Err::<(), _>(lost()));
                self.reattach().await?;
                return Ok(Next::Reattached);
            }
            if timeout_at(until, self.world.step()).await.is_err() {
                return Ok(Next::Silence);
            }
            let delivered: Vec<Entry> = {
                let mut state = self.world.state();
                let most = 1 + state.dice.roll(30) as usize;
                let (slow, cut) = (state.fails(200), state.fails(200));
                let topic = &mut state.topics[self.topic];
                if cut {
                    topic.let_go();
                }
                match topic.is_held_by(self.id) && !slow {
                    false => Vec::new(),
                    true => {
                        let mark_delete = topic.cursor.as_ref().unwrap().mark_delete;
                        if let Some(from) = self.first_from.take()
                            && let [first, ..] = topic.delivered(mark_delete, 1)[..]
                            && topic.log[first].at < from
                        {
                            let error = Error::new(Kind::Busy, WENT_BACK);
                            topic.did(self.world.run, What::Told(error.kind(), error.to_string()));
                            return Err(error);
                        }
                        let after = self.accepted.max(Some(mark_delete)).unwrap();
                        let found = topic.delivered(after, most);
                        let entry = |index: usize| {
                            let slot = &topic.log[index];
                            slot.composed.clone().entry(slot.at, topic.number)
                        };
                        found.into_iter().map(entry).collect()
                    }
                }
            };
            if let (Some(first), Some(last)) = (delivered.first(), delivered.last()) {
                self.floor.get_or_insert(first.position);
                self.accepted = Some(last.position);
                self.queue.extend(delivered);
            } else if self.world.state().topics[self.topic].is_held_by(self.id) {
                sleep_until(until).await;
                return Ok(Next::Silence);
            }
        }
    }

    fn attachment(&self) -> Option<u64> {
        self.attached.then_some(self.id)
    }

    fn unread(&mut self, entry: Entry) {
        self.queue.push_front(entry);
    }

    async fn rewind(&mut self) -> Result<()> {
        self.queue.clear();
        (self.accepted, self.floor) = (None, None);
        self.reattach().await
    }

    async fn backlog(&mut self) -> Result<Option<u64>> {
        self.question(|state, topic| Some(state.topics[topic].backlog())).await
    }

    async fn acknowledge(&mut self, stored: Stored) -> Result<Receipt> {
        let through = stored.through();
        let says_cursor = self.world.state().settings.says_cursor;
        if !self.attached || (self.first_from.is_some() && !says_cursor) {
            return Ok(Receipt::Unconfirmed);
        }
        let sent_by = self.id;
        let run = self.world.run;
        let received = self.request(|state, _, topic| state.acknowledge(run, topic, through)).await.is_ok();
        let now = self.bounds().await;
        let answered = received || self.id == sent_by;
        if !now.is_ok_and(|now| now.confirms(through, answered)) {
            return Ok(Receipt::Unconfirmed);
        }
        self.floor = self.floor.max(Some(Position::new(through.ledger, through.entry + 1)));
        Ok(Receipt::Confirmed)
    }

    async fn schema(&mut self, _version: &[u8]) -> Result<Option<Schema>> {
        Ok(None)
    }

    async fn attend<F: Future>(&mut self, work: F) -> F::Output {
        work.await
    }

    async fn close(self) {
        let _ = timeout_at(self.until, self.world.step()).await;
        let mut state = self.world.state();
        if state.topics[self.topic].is_held_by(self.id) {
            state.topics[self.topic].let_go();
        }
    }
}

impl Drop for Consumer {
    fn drop(&mut self) {
        self.disconnect();
    }
}

//! What was there before the rule began.

use tdmq_backup::Position;
use tdmq_backup::rule::Start;

use super::History;
use crate::topic::Cursor;
use crate::world::State;

impl History {
    /// The subscription was shared: it stands anywhere, and of what is behind others acknowledged some one by one.
    pub(super) fn was_shared(&mut self) {
        let topics = self.world.state().topics.len();
        for index in (0..topics).filter(|_| self.roll(3) > 0).collect::<Vec<_>>() {
            for _ in 0..self.roll(3) {
                self.send(index);
                if self.roll(2) == 0 {
                    self.world.state().topics[index].roll_ledger();
                }
            }
            self.stands_anywhere(index);
        }
    }

    fn stands_anywhere(&self, index: usize) {
        let mut state = self.world.state();
        let state = &mut *state;
        let (dice, topic) = (&mut state.dice, &mut state.topics[index]);
        topic.born = true;
        let acknowledged = dice.roll(topic.log.len() as u64 + 1) as usize;
        let one_in = dice.pick(&[2, 3, 10]);
        let (before, behind) = topic.log.split_at_mut(acknowledged);
        before.iter_mut().for_each(|slot| slot.excused = true);
        behind.iter_mut().for_each(|slot| slot.hole = dice.one_in(one_in));
        let at = before.last().map(|slot| slot.at);
        topic.cursor = Some(Cursor::at(at.unwrap_or(topic.beginning())));
        topic.settle();
        let holes: Vec<String> = topic.log.iter().filter(|slot| slot.hole).map(|slot| slot.at.to_string()).collect();
        let stands = topic.cursor.as_ref().unwrap().mark_delete;
        state
            .log
            .push(format!("the subscription of {index} was shared and stands at {stands}, holes {}", holes.join(" ")));
    }
}

/// Where a rule says that it begins: anywhere that the broker can say, also where there is nothing.
pub(super) fn drawn_start(state: &mut State, now: u64) -> Start {
    if !state.settings.says_cursor {
        return state.dice.pick(&[Start::Continue, Start::Earliest]);
    }
    let only = state.topics.len() == 1;
    match state.dice.roll(10) {
        0..4 => Start::Continue,
        4 | 5 => Start::Earliest,
        6 => Start::Latest,
        // A message id is one partition's.
        7 if only => {
            let first = state.topics[0].beginning();
            let seen = state.topics[0].log.iter().map(|slot| slot.at).nth(state.dice.roll(30) as usize);
            Start::Id(seen.unwrap_or(Position::new(first.ledger, state.dice.roll(4) as i64)))
        }
        _ => Start::Timestamp(now + 20 * 60_000 - state.dice.roll(60 * 60_000)),
    }
}

//! What happens at the broker and in the bucket while nobody asks.

use tdmq_backup::span::Span;
use tdmq_backup::testing::compose::{Composer, Draft};

use super::History;
use super::sent::payload;
use crate::deeds::NOBODY;
use crate::world::State;

impl History {
    /// Somebody's lifecycle rule removes an object whose messages are all acknowledged, or the head. Such rules count
    /// days: what was on its way has arrived by then.
    pub(super) fn lifecycle(&mut self, index: usize) {
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
        if keys.is_empty() || !self.frozen.is_empty() || !state.flying.is_empty() {
            return;
        }
        let all = if state.dice.one_in(6) { &heads[..] } else { &keys[..] };
        let which = state.dice.roll(all.len() as u64) as usize;
        state.log.push(format!("{} is removed", all[which]));
        let key = all[which].clone();
        state.remove(&key);
    }

    pub(super) fn transaction(&mut self, index: usize) {
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
    pub(super) fn old_writes(&mut self) {
        let now = self.world.clock.now_ms();
        let mut state = self.world.state();
        for id in state.flying.keys().copied().collect::<Vec<_>>() {
            if state.flying[&id].until < now || state.dice.one_in(4) {
                state.flying.remove(&id);
            } else if state.dice.one_in(2) {
                let key = state.flying[&id].key.clone();
                state.log.push(format!("a late write of {key} arrives"));
                state.land(id);
            }
        }
    }
}

/// What happens to a partition while nobody asks.
pub(super) fn happens(state: &mut State, index: usize, what: u64, now: u64) {
    let roll = |state: &mut State, sides: usize| state.dice.roll(sides as u64) as usize;
    let count = state.topics[index].log.len();
    let at = roll(state, count.max(1));
    let wait = 100 + roll(state, 5000) as u64;
    let (loses, notices, holes) = (state.dice.one_in(2), state.dice.one_in(2), state.dice.one_in(2));
    let topic = &mut state.topics[index];
    let what = match what {
        // The broker crashes: what it had not written of the cursor is forgotten.
        0 | 1 => {
            for topic in &mut state.topics {
                topic.let_go();
                topic.down_until = now + wait;
                if loses {
                    topic.forget(holes);
                }
            }
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
                topic.move_cursor(NOBODY, to, now);
            }
            format!("the cursor is moved back to {to}")
        }
        6 if count > 0 && topic.cursor.is_some() => {
            let to = topic.log[at].at;
            if to > topic.cursor.as_ref().unwrap().mark_delete && topic.blocked.is_none_or(|from| at < from) {
                topic.move_cursor(NOBODY, to, now);
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

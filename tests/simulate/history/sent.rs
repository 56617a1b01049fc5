//! What producers send.

use tdmq_backup::testing::compose::{Composed, Composer, Draft};

use super::History;
use crate::topic::{ChunkOf, Slot};
use crate::world::State;

impl History {
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

    /// Some entries: single messages, batches, some larger than the caps, chunks, and what nobody can decode.
    pub(super) fn send(&mut self, index: usize) {
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
                        sent.push(format!("{}/{}", chunk.1.uuid, chunk.0.metadata.chunk_id.unwrap()));
                        append_chunk(&mut state, index, chunk, now);
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
                    // Some producers' clocks are ahead.
                    let ahead = if state.dice.one_in(8) { state.dice.roll(9 * 60_000) } else { 0 };
                    let sequence = state.topics[index].log.len() as u64 * 100;
                    let mut composer = Composer::new("producer").at(now + ahead).sequence(sequence);
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
}

pub(super) fn payload(state: &mut State, size: usize) -> String {
    format!("{{\"n\":{},\"pad\":\"{}\"}}", state.number(), "x".repeat(size))
}

fn chunks(state: &mut State, producer: &str, of: usize, now: u64) -> Vec<(Composed, ChunkOf)> {
    let whole = payload(state, 30 * of);
    let uuid = format!("{producer}-{}", state.number());
    let size = whole.len().div_ceil(of);
    let chunks = Composer::new(producer).at(now).chunks(Draft::new(whole.as_str()), size, &uuid);
    chunks.into_iter().map(|chunk| (chunk, ChunkOf { uuid: uuid.clone(), whole: whole.clone() })).collect()
}

pub(super) fn append_chunk(state: &mut State, index: usize, (mut composed, of): (Composed, ChunkOf), now: u64) {
    composed.metadata.publish_time = now;
    let part = String::from_utf8(composed.payload.to_vec()).unwrap();
    state.topics[index].append(now, composed, vec![part]).chunk = Some(of);
}

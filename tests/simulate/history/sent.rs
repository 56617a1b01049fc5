//! What producers send.

use tdmq_backup::testing::compose::{Composed, Composer, Compression, Draft};

use super::History;
use super::poison::{compression, poisoned, spoil};
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
                        4 => Some(1 + state.dice.roll(14)),
                        5..=8 => Some(2 + state.dice.roll(3)),
                        10 if state.dice.one_in(60) => Some(200 + state.dice.roll(800)),
                        _ => None,
                    };
                    let long = state.dice.one_in(80);
                    let size = if long { state.dice.roll(20_000) as usize } else { 20 };
                    let payloads: Vec<String> = (0..members.unwrap_or(1))
                        .map(|member| payload(&mut state, if member == 0 { size } else { 20 }))
                        .collect();
                    // Some producers' clocks are ahead.
                    let ahead = if state.dice.one_in(8) { state.dice.roll(9 * 60_000) } else { 0 };
                    let sequence = state.topics[index].log.len() as u64 * 1000;
                    let compression = compression(&mut state.dice, 6);
                    let mut composer =
                        Composer::new("producer").at(now + ahead).sequence(sequence).compression(compression);
                    let mut drafts = payloads.iter().map(|payload| Draft::new(payload.as_str()));
                    let mut composed = match members {
                        None => composer.single(drafts.next().unwrap()),
                        Some(_) => composer.batch(drafts),
                    };
                    let poison = kind == 9;
                    if poison {
                        poisoned(&mut state.dice, &mut composed);
                    }
                    sent.push(members.map_or("1".to_owned(), |members| format!("[{members}]")));
                    let slot: &mut Slot = state.topics[index].append(now, composed, payloads);
                    slot.poison = poison;
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

/// One message in `of` chunks, or a few less.
fn chunks(state: &mut State, producer: &str, of: usize, now: u64) -> Vec<(Composed, ChunkOf)> {
    let text = payload(state, 30 * of);
    let uuid = format!("{producer}-{}", state.number());
    let spoilt = state.dice.one_in(5);
    let compression = if spoilt { Compression::Zlib } else { compression(&mut state.dice, 3) };
    let mut composer = Composer::new(producer).at(now).compression(compression);
    let length = composer.single(Draft::new(text.as_str())).payload.len();
    let mut chunks = composer.chunks(Draft::new(text.as_str()), length.div_ceil(of), &uuid);
    if spoilt {
        spoil(&mut state.dice, &mut chunks);
    }
    let whole = if spoilt { "never".to_owned() } else { text };
    chunks.into_iter().map(|chunk| (chunk, ChunkOf { uuid: uuid.clone(), whole: whole.clone() })).collect()
}

pub(super) fn append_chunk(state: &mut State, index: usize, (mut composed, of): (Composed, ChunkOf), now: u64) {
    composed.metadata.publish_time = now;
    let part = String::from_utf8_lossy(&composed.payload).into_owned();
    state.topics[index].append(now, composed, vec![part]).chunk = Some(of);
}

//! Everything outside of the runs: the broker's partitions, the bucket, the time, and what must hold of them.

use std::collections::{BTreeMap, BTreeSet};
use std::io::Read as _;
use std::ops::Range;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::Value;
use tdmq_backup::span::Span;
use tdmq_backup::{Clock, Error, Position};
use tokio::time::sleep;

use crate::deeds::{NOBODY, What};
use crate::dice::Dice;
use crate::heads::{announced, begins};
use crate::topic::{Slot, Topic};

/// 2026-11-21T10:00:00Z
pub const NOW: u64 = 1_795_255_200_000;

/// Far more than any history makes.
const MOST_STEPS: u64 = 10_000_000;

#[derive(Clone, Copy, Debug)]
pub struct Settings {
    /// Whether the store honours conditions.
    pub conditional: bool,
    /// Whether the broker says where the cursor stands.
    pub says_cursor: bool,
    /// Objects longer than this go up in parts.
    pub part: u64,
    /// By how much machines' clocks are wrong, at most (ms).
    pub clocks: u64,
}

pub struct Object {
    pub bytes: Vec<u8>,
    pub metadata: BTreeMap<String, String>,
    pub tag: u64,
}

/// A write that was sent: it arrives, or it never does, whatever becomes of its writer.
pub struct Flying {
    pub by: u64,
    pub key: String,
    pub bytes: Vec<u8>,
    pub metadata: BTreeMap<String, String>,
    pub expect: Expected,
    /// The upload whose end this is.
    pub upload: Option<String>,
    /// No later than this (ms).
    pub until: u64,
    pub is_head: bool,
}

#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Expected {
    Absent,
    Tag(u64),
}

/// What a write met.
pub enum Landed {
    Stored(u64),
    Refused,
    NoUpload,
}

pub struct State {
    pub dice: Dice,
    pub settings: Settings,
    pub topics: Vec<Topic>,
    pub objects: BTreeMap<String, Object>,
    /// Objects and heads that somebody's lifecycle rule took.
    pub removed: Vec<(String, BTreeMap<String, String>)>,
    /// Objects that arrived when the head announced them no more.
    pub late: BTreeSet<String>,
    pub uploads: BTreeMap<String, String>,
    pub flying: BTreeMap<u64, Flying>,
    /// Steps that runs made: requests sent, answers seen.
    pub steps: u64,
    /// Nothing fails any more.
    pub calm: bool,
    numbers: u64,
    /// Promises that were broken.
    pub broken: Vec<String>,
    /// Entries that stand in more than one object, and of which partition they are.
    pub twice: Vec<(i32, Position)>,
    /// Something came of the history that is left open on stores without conditions.
    pub known: bool,
    pub log: Vec<String>,
}

#[derive(Clone)]
pub struct World {
    state: Arc<Mutex<State>>,
    pub clock: Clock,
    /// The run that sees it.
    pub run: u64,
}

impl World {
    pub fn new(mut dice: Dice, settings: Settings, partitions: u64) -> Self {
        let first_ledger = 1 + dice.roll(200) as i64;
        let topics = match partitions {
            0 => vec![Topic::new(-1, first_ledger)],
            n => (0..n as i32).map(|number| Topic::new(number, first_ledger + i64::from(number) * 1000)).collect(),
        };
        let state = State {
            dice,
            settings,
            topics,
            objects: BTreeMap::new(),
            removed: Vec::new(),
            late: BTreeSet::new(),
            uploads: BTreeMap::new(),
            flying: BTreeMap::new(),
            steps: 0,
            calm: false,
            numbers: 0,
            broken: Vec::new(),
            twice: Vec::new(),
            known: false,
            log: Vec::new(),
        };
        World { state: Arc::new(Mutex::new(state)), clock: Clock::starting_at(NOW), run: NOBODY }
    }

    /// The same world as this run sees it.
    pub fn of_run(&self, run: u64) -> Self {
        World { run, ..self.clone() }
    }

    pub fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap()
    }

    /// One request or answer on its way: a place to die at, and some time.
    pub async fn step(&self) {
        let ms = {
            let mut state = self.state();
            state.steps += 1;
            assert!(state.steps < MOST_STEPS, "a history without an end");
            let slow = state.fails(300);
            if slow { 1 + state.dice.roll(9000) } else { 1 + state.dice.roll(4) }
        };
        sleep(Duration::from_millis(ms)).await;
    }

    /// What comes of a request on a partition; that its run was told an error is remembered.
    pub fn told<T>(&self, topic: usize, answer: Result<T, Error>) -> Result<T, Error> {
        answer
            .inspect_err(|error| self.state().topics[topic].did(self.run, What::Told(error.kind(), error.to_string())))
    }

    pub fn note(&self, what: impl Into<String>) {
        self.state().log.push(what.into());
    }
}

impl State {
    /// Whether a fault that comes once in so many happens now.
    pub fn fails(&mut self, one_in: u64) -> bool {
        !self.calm && self.dice.one_in(one_in)
    }

    pub fn number(&mut self) -> u64 {
        self.numbers += 1;
        self.numbers
    }

    /// A write arrives.
    pub fn land(&mut self, id: u64) -> Option<Landed> {
        let write = self.flying.remove(&id)?;
        if let Some(upload) = &write.upload
            && self.uploads.get(upload).is_none_or(|key| *key != write.key)
        {
            return Some(Landed::NoUpload);
        }
        let there = self.objects.get(&write.key).map(|object| object.tag);
        let holds = match write.expect {
            Expected::Absent => there.is_none(),
            Expected::Tag(tag) => there == Some(tag),
        };
        if self.settings.conditional && !holds {
            return Some(Landed::Refused);
        }
        if let Some(upload) = &write.upload {
            self.uploads.remove(upload);
        }
        let Flying { by, key, bytes, metadata, is_head, .. } = write;
        if !is_head && !self.is_announced(&key) {
            self.late.insert(key.clone());
        }
        if let Some(topic) = self.topics.iter_mut().find(|topic| key.starts_with(&topic.folder)) {
            if is_head && !holds {
                let displaced = self.objects.get(&key).and_then(|head| announced(&head.bytes));
                let announced = displaced.map(|(span, _)| span.last.position);
                topic.an_old_head_landed = Some(topic.furthest_stored()).max(announced);
            }
            if is_head {
                topic.start = begins(&bytes).or(topic.start);
            }
            topic.did(by, if is_head { What::Head(announced(&bytes)) } else { What::Object(key.clone()) });
        }
        let tag = self.number();
        if !is_head {
            match self.objects.get(&key) {
                Some(old) if old.bytes != bytes => self.broken.push(format!("{key} was overwritten with other bytes")),
                Some(_) => {}
                None => self.count(&key, &bytes, true),
            }
        }
        self.objects.insert(key, Object { bytes, metadata, tag });
        Some(Landed::Stored(tag))
    }

    fn is_announced(&self, key: &str) -> bool {
        let folder = self.topics.iter().map(|topic| &topic.folder).find(|folder| key.starts_with(*folder));
        let head = folder.and_then(|folder| self.objects.get(&format!("{folder}_head.json")));
        head.and_then(|head| announced(&head.bytes)).is_some_and(|(span, _)| Some(span) == Span::of_key(key))
    }

    /// Somebody removes an object.
    pub fn remove(&mut self, key: &str) {
        let Some(object) = self.objects.remove(key) else { return };
        if Span::of_key(key).is_some() {
            self.count(key, &object.bytes, false);
        }
        self.removed.push((key.to_owned(), object.metadata));
    }

    /// Goes through an object's records, and finds the entries that they hold.
    fn count(&mut self, key: &str, bytes: &[u8], added: bool) {
        let mut text = String::new();
        let read = match key.ends_with(".gz") {
            true => flate2::read::MultiGzDecoder::new(bytes).read_to_string(&mut text),
            false => (&mut &*bytes).read_to_string(&mut text),
        };
        let Some(topic) = self.topics.iter_mut().find(|topic| key.starts_with(&topic.folder)) else {
            return self.broken.push(format!("{key} lies outside of every folder"));
        };
        if read.is_err() {
            return self.broken.push(format!("{key} cannot be read"));
        }
        // Whoever removes what is stored means it.
        let change = |slot: &mut Slot, members: Range<usize>| {
            slot.excused |= !added;
            for count in &mut slot.stored[members] {
                *count = if added { *count + 1 } else { *count - 1 };
            }
        };
        let (number, span) = (topic.number, Span::of_key(key).expect("an object's key names its span"));
        let mut records = 0;
        for line in text.lines() {
            records += 1;
            let record: Value = serde_json::from_str(line).unwrap();
            let (at, batch) = id(record["id"].as_str().unwrap());
            if !span.covers(at) {
                self.broken.push(format!("{key} holds {at}, which its name does not cover"));
            }
            if let Some(first) = record["first_chunk_id"].as_str() {
                let (first, uuid) = (id(first).0, record["uuid"].as_str().unwrap());
                let mut whole = None;
                for slot in topic.log.iter_mut().filter(|slot| first <= slot.at && slot.at <= at) {
                    if let Some(chunk) = slot.chunk.as_ref().filter(|chunk| chunk.uuid == uuid) {
                        whole = Some(chunk.whole.clone());
                        change(slot, 0..1);
                        if slot.stored[0] > 1 {
                            self.twice.push((number, slot.at));
                        }
                    }
                }
                topic.note_repeated(uuid, first, at, added);
                if whole.is_none_or(|whole| !line.ends_with(&format!("\"value\":{whole}}}"))) {
                    self.broken.push(format!("{key}: the message of {uuid} is not what was sent"));
                }
                continue;
            }
            let Some(slot) = topic.slot(at) else {
                self.broken.push(format!("{key} holds {at}, which was never sent"));
                continue;
            };
            let undecodable = record["raw_base64"].as_str();
            if undecodable.is_some() != (slot.poison || slot.chunk.is_some()) {
                self.broken.push(format!("{key}: {at} was not decoded as it should be"));
            }
            let members = match (undecodable, batch) {
                (Some(_), _) => 0..slot.stored.len(),
                (None, batch) => batch.unwrap_or(0)..batch.unwrap_or(0) + 1,
            };
            let as_sent = match undecodable {
                Some(raw) => STANDARD.decode(raw).is_ok_and(|raw| raw == slot.composed.payload),
                None => (slot.payloads.get(members.start))
                    .is_some_and(|payload| line.ends_with(&format!("\"value\":{payload}}}"))),
            };
            if !as_sent {
                self.broken.push(format!("{key}: {at} is not what was sent"));
                continue;
            }
            change(slot, members);
            if slot.stored.iter().any(|count| *count > 1) {
                self.twice.push((number, at));
            }
        }
        if records != span.count {
            self.broken.push(format!("{key} holds {records} messages"));
        }
    }

    /// The broker takes an acknowledgement: everything up to there must be stored.
    pub fn acknowledge(&mut self, by: u64, topic: usize, through: Position) {
        let (written, at_once) = (!self.fails(60), self.calm || self.dice.one_in(2));
        let topic = &mut self.topics[topic];
        let Some(cursor) = &mut topic.cursor else { return };
        let from = cursor.mark_delete;
        if through <= from {
            return;
        }
        for slot in topic.log.iter().filter(|slot| from < slot.at && slot.at <= through) {
            if !slot.is_stored() && !slot.gone && !slot.hole {
                self.broken.push(format!("{} was acknowledged and is not stored", slot.at));
            }
        }
        // The broker may answer success and not move it; one that does not say where it stands is believed.
        if written || !self.settings.says_cursor {
            cursor.furthest = cursor.furthest.max(through);
            topic.did(by, What::Passed { from, to: through });
        }
        if written {
            let cursor = topic.cursor.as_mut().unwrap();
            cursor.mark_delete = through;
            // Written at most once a second, and the rest by and by.
            if at_once {
                cursor.persisted = through;
            }
            topic.settle();
        }
    }
}

/// `ledger:entry:partition`, and `:batch`.
pub fn id(text: &str) -> (Position, Option<usize>) {
    let mut parts = text.split(':').map(|part| part.parse::<i64>().unwrap());
    let at = Position::new(parts.next().unwrap(), parts.next().unwrap());
    (at, parts.nth(1).map(|batch| batch as usize))
}

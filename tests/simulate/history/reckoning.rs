//! What must be so after a run and after a history.

use std::collections::BTreeMap;

use tdmq_backup::report::{Outcome, Report};
use tdmq_backup::span::Span;

use super::claims::{false_claims, falsely_skipped};
use super::runs::Run;
use super::{History, Verdict};
use crate::deeds::{Deed, What};
use crate::topic::Slot;
use crate::world::{Object, State};

impl History {
    /// What the report says is so.
    pub(super) fn check(&mut self, run: &Run, report: &Report) {
        let now = run.clock.now_ms();
        let mut state = self.world.state();
        let state = &mut *state;
        let error = report.error.as_ref().map(|error| &error.message);
        state.log.push(format!(
            "a run over {:?}: {:?} {:?}, {} objects, {} skipped, missing {:?}, complete {:?} {}",
            run.read,
            report.outcome,
            report.stop,
            report.objects.len(),
            report.skipped_entries,
            report.missing.iter().map(|it| (it.first.to_string(), it.last.to_string())).collect::<Vec<_>>(),
            report.complete_through.map(|at| at as i64 - crate::world::NOW as i64),
            error.map_or("", |text| text)
        ));
        let mut wrong = Vec::new();
        let mut known = false;
        if now > run.deadline && !run.slept {
            wrong.push(format!("ended {} ms after its deadline", now - run.deadline));
        }
        let of = |partition: Option<i32>| &state.topics[partition.map_or(run.read[0], |number| number as usize)];
        for object in &report.objects {
            let (count, first, last) = (object.messages, object.first_id, object.last_id);
            if Span::of_key(&object.key) != Some(Span { first, last, count }) {
                wrong.push(format!("says of {} what its name does not", object.key));
            }
            let there = state.objects.get(&object.key);
            if there.is_none_or(|there| there.bytes.len() as u64 != object.bytes) {
                wrong.push(format!("says that it stored {}", object.key));
            }
            let furthest = of(object.partition).cursor.as_ref().map(|cursor| cursor.furthest);
            if object.acknowledged && furthest < Some(object.last_id.position) {
                wrong.push(format!("says that {} is acknowledged", object.key));
            }
        }
        let stored = report.outcome == Outcome::Stored;
        if !report.objects.is_empty() && !stored && report.error.is_none() {
            wrong.push("stored, and does not say so".to_owned());
        }
        let parts = report.partitions.iter().map(|one| (one.complete_through, vec![one.partition as usize]));
        for (through, read) in parts.chain([(report.complete_through, run.read.clone())]) {
            let Some(through) = through else { continue };
            let owed = |slot: &&Slot| slot.accepted_ms < through && slot.is_owed();
            if let Some(slot) = read.iter().flat_map(|index| &state.topics[*index].log).find(owed) {
                wrong.push(format!("says that all of {read:?} before {through} is stored, and {} is not", slot.at));
            }
        }
        for missing in &report.missing {
            let kept = |slot: &&Slot| {
                missing.first <= slot.at
                    && slot.at <= missing.last
                    && slot.is_stored()
                    && !slot.gone
                    && !slot.excused
                    && !slot.hole
            };
            let topic = of(missing.partition);
            for slot in topic.log.iter().filter(kept) {
                // It was missing until somebody moved the cursor back.
                let went_back =
                    |it: &What| matches!(it, What::Passed { from, to } if *to < slot.at && slot.at <= *from);
                match topic.is_left_open(slot.at) {
                    _ if run.deeds(topic, false).any(went_back) => {}
                    true => known = true,
                    false => wrong.push(format!("names {} as missing, which is stored", slot.at)),
                }
            }
        }
        let kind = report.error.as_ref().map(|error| error.kind);
        if kind == Some("internal") || (state.calm && matches!(kind, Some("conflict" | "corrupt"))) {
            wrong.push(format!("fails as nothing should: {error:?}"));
        }
        let (messages, bytes) = report.objects.iter().fold((0, 0), |sum, it| (sum.0 + it.messages, sum.1 + it.bytes));
        if (report.messages, report.bytes) != (messages, bytes) {
            wrong.push(format!("says {} messages, and its objects say {messages}", report.messages));
        }
        wrong.extend(false_claims(run, report, state, now));
        wrong.extend(falsely_skipped(run, report, state));
        state.known |= known;
        state.broken.extend(wrong.into_iter().map(|what| format!("a run over {:?} {what}", run.read)));
    }

    pub fn broken(&self) -> Vec<String> {
        self.world.state().broken.clone()
    }

    pub(super) fn reckon(&mut self) -> Verdict {
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
                if slot.is_owed() {
                    broken.push(format!("{} is lost", slot.at));
                }
            }
        }
        let open = |number, at| state.topics.iter().any(|topic| topic.number == number && topic.is_left_open(at));
        let known = state.known || !state.twice.is_empty();
        if let Some((_, at)) = state.twice.iter().find(|(number, at)| !open(*number, *at)) {
            broken.push(format!("{at} is stored twice"));
        }
        broken.extend(chain(state));
        if !broken.is_empty() {
            let deeds = state.topics.iter().flat_map(|topic| topic.deeds.iter().map(|deed| (&topic.name, deed)));
            state.log.extend(deeds.map(|(name, Deed { by, what })| format!("{name}: {by}: {what:?}")));
        }
        Verdict { broken, known, runs: self.runs, messages, log: std::mem::take(&mut state.log) }
    }
}

/// Every object of a partition has a place of its own and names the one before it, unless that was taken by somebody's
/// lifecycle rule. Where that took the head, or an old one landed, nobody knows the end of the chain.
fn chain(state: &State) -> Vec<String> {
    let mut broken = Vec::new();
    for topic in state.topics.iter().filter(|topic| topic.an_old_head_landed.is_none()) {
        let taken: Vec<_> = state.removed.iter().filter(|(key, _)| key.starts_with(&topic.folder)).collect();
        if taken.iter().any(|(key, _)| Span::of_key(key).is_none()) {
            continue;
        }
        let mut places = BTreeMap::new();
        let here =
            state.objects.iter().filter(|(key, _)| key.starts_with(&topic.folder) && Span::of_key(key).is_some());
        for (key, Object { metadata, .. }) in here {
            let place: u64 = metadata["seq"].parse().unwrap();
            if let Some((other, _)) = places.insert(place, (key, metadata)) {
                broken.push(format!("{other} and {key} have one place"));
            }
        }
        for (place, (key, metadata)) in &places {
            let names = metadata.get("previous-sha256");
            // What was taken while a head announced it nobody saw.
            let was_taken = match names {
                Some(_) => taken.iter().any(|(_, taken)| taken.get("sha256") == names),
                None => !taken.is_empty(),
            };
            // Where the cursor had passed over it, nobody waits for an object that arrives late, or since the run began
            // that announced this one.
            let span = Span::of_key(key);
            let announces = |deed: &&Deed| matches!(&deed.what, What::Head(Some((next, _))) if Some(*next) == span);
            let by = topic.deeds.iter().find(announces).expect("what is there was announced").by;
            let began = topic.deeds.iter().position(|deed| deed.by == by);
            let unseen = |other: &str| {
                let of_key = |deed: &Deed| matches!(&deed.what, What::Object(key) if key == other);
                let arrived = topic.deeds.iter().rposition(of_key);
                let since = arrived > began && arrived.is_some_and(|at| topic.deeds[at].by != by);
                since || state.late.contains(other)
            };
            let mut before = places.range(..place).rev().map(|(_, before)| before);
            let last = before.find(|(other, metadata)| metadata.get("sha256") == names || !unseen(other));
            if !was_taken && last.and_then(|(_, metadata)| metadata.get("sha256")) != names {
                broken.push(format!("{key} names {names:?} before it, and that is {last:?}"));
            }
        }
    }
    broken
}

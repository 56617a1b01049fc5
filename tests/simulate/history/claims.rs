//! What a reply says of others, of silence and of what it skipped, held against what was done.
//!
//! Not known here, and so not checked: whether the run that announced an object died or only stands still, why its
//! span does not come again, and how much time there was.

use std::collections::BTreeSet;

use tdmq_backup::report::{Outcome, Report, Stop};
use tdmq_backup::{Kind, Position};

use super::runs::Run;
use crate::deeds::{LOST, TOLD, What};
use crate::store::LATE_MS;
use crate::topic::Topic;
use crate::world::{State, id};

/// What is said and is not so.
pub(super) fn false_claims(run: &Run, report: &Report, state: &State, now: u64) -> Vec<String> {
    let mut wrong = Vec::new();
    let whole = (run.read[0], report.outcome, report.error.as_ref());
    let parts = report.partitions.iter().map(|one| (one.partition as usize, one.outcome, one.error.as_ref()));
    let parts: Vec<_> = if report.partitions.is_empty() { vec![whole] } else { parts.collect() };
    for (_, outcome, error) in [whole].iter().chain(&parts) {
        let kind = error.map(|error| error.kind);
        let of_kind = match kind {
            Some("busy") => *outcome == Outcome::Busy,
            Some("unknown") => *outcome == Outcome::Unknown,
            _ => !matches!(outcome, Outcome::Busy | Outcome::Unknown),
        };
        if !of_kind {
            wrong.push(format!("ends {outcome:?}, and its error is {kind:?}"));
        }
    }
    for (index, outcome, error) in parts {
        let topic = &state.topics[index];
        if let Some(error) = error {
            let vague = !matches!(outcome, Outcome::Busy | Outcome::Unknown);
            if !is_so(run, topic, Some(error.kind), &error.message, state, now).unwrap_or(vague) {
                wrong.push(format!("says of {index} what is not so: {}: {}", error.kind, error.message));
            }
        }
        let wrote = run.deeds(topic, true).any(|it| matches!(it, What::Object(_)));
        if matches!(outcome, Outcome::Busy | Outcome::NothingToDo) && wrote {
            wrong.push(format!("says {outcome:?} of {index}, and wrote an object"));
        }
    }
    for warning in &report.warnings {
        let of = warning.strip_prefix("partition ").and_then(|rest| rest.split_once(": "));
        let (index, text) = of.map_or((run.read[0], &**warning), |(number, text)| (number.parse().unwrap(), text));
        if is_so(run, &state.topics[index], None, text, state, now) == Some(false) {
            wrong.push(format!("warns of what is not so: {warning}"));
        }
    }
    wrong
}

/// Whether a text about a partition is so. `None` where it claims nothing that is known here.
fn is_so(run: &Run, topic: &Topic, kind: Option<&str>, text: &str, state: &State, now: u64) -> Option<bool> {
    let told = |words: &str| {
        let is = |of: Kind| kind.is_none_or(|kind| kind == of.name());
        run.deeds(topic, true).any(|it| matches!(it, What::Told(of, said) if said == words && is(*of)))
    };
    if let Some(words) = TOLD.into_iter().find(|words| text.ends_with(words)) {
        return Some(told(words));
    }
    let mut others = run.deeds(topic, false);
    let so = if text.starts_with("another run ") {
        others.any(|it| matches!(it, What::Head(_)))
    } else if text.starts_with("the connection was lost before ") {
        let lost = |it: &What| matches!(it, What::Told(_, said) if said == LOST);
        run.deeds(topic, true).any(lost) && !state.settings.says_cursor
    } else if text.contains(" were acknowledged by somebody else ") {
        let first = position(text, "entries from ");
        others.any(|it| matches!(it, What::Passed { to, .. } if *to >= first))
    } else if text.contains(" was stored by somebody else ") {
        others.any(|it| matches!(it, What::Object(key) if text.contains(key)))
    } else if text.starts_with("a run that died announced ") {
        is_waited_for(run, topic, text, now)
    } else {
        return None;
    };
    Some(so && kind.is_none_or(|kind| kind == "busy"))
}

/// Others announced from the first entry and up to the last one, and the wait is for one of them.
fn is_waited_for(run: &Run, topic: &Topic, text: &str, now: u64) -> bool {
    let (first, last) = (position(text, "an object of "), position(text, " to "));
    let wait =
        text.rsplit_once("(in ").and_then(|(_, wait)| wait.split_once(' ')?.0.parse::<u64>().ok()).unwrap() * 1000;
    let announced = || {
        let heads = topic.deeds.iter().filter(|deed| deed.by != run.number);
        heads.filter_map(|deed| if let What::Head(announced) = &deed.what { announced.as_ref() } else { None })
    };
    let ends = |until: u64| until + LATE_MS <= now + wait && run.began + wait < until + LATE_MS + 1000;
    let newer = topic.an_old_head_landed.is_some() || run.deeds(topic, false).any(|it| matches!(it, What::Head(_)));
    let old_head = newer || !text.contains("the head is an old one");
    old_head
        && announced().any(|(span, _)| span.first.position == first)
        && announced().any(|(span, _)| span.last.position == last)
        && announced().any(|(span, until)| first <= span.first.position && span.last.position <= last && ends(*until))
}

/// The id behind these words.
fn position(text: &str, behind: &str) -> Position {
    let (_, rest) = text.split_once(behind).expect("the text says of which entry");
    id(rest.split([' ', ',']).next().unwrap()).0
}

/// How many entries were skipped, where that is not so: no more than came and were stored already; and of a run that
/// nothing interrupted, all of these that it acknowledged, and none that are still owed.
pub(super) fn falsely_skipped(run: &Run, report: &Report, state: &State) -> Option<String> {
    let warned = report.warnings.iter().any(|text| text.contains("did not confirm the acknowledgement"));
    let mut stops = report.partitions.iter().map(|one| one.stop).chain([report.stop]);
    let ended = stops.all(|stop| stop.is_some_and(|stop| stop != Stop::Unconfirmed)) && report.error.is_none();
    let mut calm = ended && !warned && report.open_chunks == 0;
    let (mut came, mut acknowledged, mut passed) = (0, 0, 0);
    for topic in run.read.iter().map(|index| &state.topics[*index]) {
        let stored = |it: &What| if let What::CameStored(at) = it { Some(*at) } else { None };
        // What it had acknowledged before it came, it stored itself.
        let passed_over = |at: &Position, what| pass(what).is_some_and(|(from, to)| from < *at && *at <= to);
        let passes = |at: &&Position, own| {
            let mut since = run.deeds(topic, own).skip_while(|it| own && stored(it) != Some(**at));
            since.any(|it| passed_over(at, it))
        };
        let skipped: BTreeSet<Position> = run.deeds(topic, true).filter_map(stored).collect();
        came += skipped.len() as u64;
        acknowledged += skipped.iter().filter(|at| passes(at, true)).count() as u64;
        passed += skipped.iter().filter(|at| passes(at, true) || passes(at, false)).count() as u64;
        // What comes again after a new start of the run is not counted again.
        let mut since = run.deeds(topic, true).skip_while(|it| stored(it).is_none());
        calm &= !since.any(|it| matches!(it, What::Attached));
        // The history that is left open on stores without conditions: what is stored once more is not skipped.
        calm &= topic.an_old_head_landed.is_none();
        // What came before another run stored it may have been found stored.
        if run.deeds(topic, false).any(|it| matches!(it, What::Object(_))) {
            return None;
        }
    }
    let says = report.skipped_entries;
    let so = if calm { (acknowledged..=passed).contains(&says) } else { says <= came };
    (!so)
        .then(|| format!("says {says} skipped entries, {came} were stored already, and it acknowledged {acknowledged}"))
}

fn pass(what: &What) -> Option<(Position, Position)> {
    if let What::Passed { from, to } = what { Some((*from, *to)) } else { None }
}

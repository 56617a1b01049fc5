//! What a history came to: the bucket beside the topic, every reply beside both, and every moment.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::fmt;
use std::fs;

use serde_json::Value;

use crate::broker::standing;
use crate::harness::Object;
use crate::history::truth::{Place, place};
use crate::torture::history::{History, Moment};
use crate::torture::plan::Kills;
use crate::torture::producer::Receipt;
use crate::torture::replies::untrue;

/// A message as the Java client reads it from the topic.
struct Message {
    payload_base64: String,
    /// Its first entry, where it came in chunks.
    place: Place,
    partition: i32,
}

pub struct Verdict {
    pub kills: Kills,
    pub messages: usize,
    pub lost: usize,
    pub twice: usize,
    pub false_replies: usize,
    /// Confirmed to the producer, and no more on the topic.
    pub lost_by_broker: usize,
    objects: usize,
    /// Messages that no record has whole, because their chunks never came to an end.
    given_up: usize,
    outcomes: BTreeMap<String, usize>,
    partitions: u32,
    pub problems: Vec<String>,
}

/// What the bucket holds, and since when.
pub struct Held<'a> {
    pub objects: &'a BTreeMap<String, Object>,
    /// The number of the first moment at which it is there.
    pub since: HashMap<&'a str, usize>,
}

impl Verdict {
    pub fn of(history: &History<'_>, receipts: &[Receipt]) -> Verdict {
        let topic = topic(history);
        let objects: BTreeMap<String, Object> =
            history.stage.objects().into_iter().map(|object| (object.key.clone(), object)).collect();
        let held = held(&objects, &history.moments);
        let mut problems = Vec::new();

        let (lost, twice) = compare(&topic, &objects, receipts, &mut problems);
        let gone = |receipt: &&Receipt| {
            topic.get(&receipt.id).is_none_or(|message| message.payload_base64 != receipt.payload_base64)
        };
        for number in history.plan.numbers() {
            chain(history, &objects, number, &mut problems);
            rests(history, &topic, number, &mut problems);
        }
        for (number, moment) in history.moments.iter().enumerate() {
            let unstored = topic.iter().filter(|(id, message)| {
                message.place <= moment.marks[&message.partition]
                    && held.since.get(id.as_str()).is_none_or(|since| *since > number)
            });
            match unstored.count() {
                0 => {}
                count => problems.push(format!("moment {number}: {count} acknowledged and not stored")),
            }
        }
        let mut false_replies = 0;
        for (number, reply) in history.replies.iter().enumerate() {
            let untrue = untrue(reply, &history.moments[reply.moment], &held, receipts);
            false_replies += usize::from(!untrue.is_empty());
            problems.extend(untrue.into_iter().map(|what| format!("reply {number}: {what}: {}", reply.report)));
        }
        let litter = history.stage.litter();
        if litter > 0 {
            problems.push(format!("{litter} temporary files are left"));
        }
        let records = objects.values().flat_map(|object| &object.records);
        let mut outcomes = BTreeMap::new();
        for reply in &history.replies {
            *outcomes.entry(reply.report["outcome"].as_str().unwrap().to_owned()).or_insert(0) += 1;
        }
        Verdict {
            kills: history.kills,
            messages: topic.len(),
            lost,
            twice,
            false_replies,
            lost_by_broker: receipts.iter().filter(gone).count(),
            given_up: records.filter(|it| !it["undecodable"].is_null()).count(),
            objects: objects.len(),
            outcomes,
            partitions: history.plan.partitions,
            problems,
        }
    }
}

impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Verdict { kills, messages, objects, lost, twice, false_replies, .. } = self;
        let topic =
            if self.partitions == 0 { "a plain topic".into() } else { format!("{} partitions", self.partitions) };
        let runs: Vec<String> = self.outcomes.iter().map(|(outcome, count)| format!("{count} {outcome}")).collect();
        write!(f, "{kills}; {topic}, {messages} messages in {objects} objects; runs: {}", runs.join(", "))?;
        write!(f, "; {lost} lost, {twice} twice, {false_replies} false replies")?;
        if self.given_up + self.lost_by_broker > 0 {
            let Verdict { given_up, lost_by_broker, .. } = self;
            write!(
                f,
                "; {given_up} records of broken messages, {lost_by_broker} confirmed messages lost by the broker"
            )?;
        }
        self.problems.iter().try_for_each(|problem| write!(f, "\ntorture:   WRONG: {problem}"))
    }
}

/// All that is on the topic, by id.
fn topic(history: &History<'_>) -> BTreeMap<String, Message> {
    let mut found = BTreeMap::new();
    for partition in history.plan.numbers() {
        for line in history.stage.dump_of(&history.topic_of(partition)) {
            let (id, first) = (line["id"].as_str().unwrap(), line["first_chunk_id"].as_str());
            let payload_base64 = line["payload_base64"].as_str().unwrap().to_owned();
            found.insert(id.to_owned(), Message { payload_base64, place: place(first.unwrap_or(id)), partition });
        }
    }
    found
}

fn held<'a>(objects: &'a BTreeMap<String, Object>, moments: &[Moment]) -> Held<'a> {
    let mut since = HashMap::new();
    for (key, object) in objects {
        // After the last moment nobody writes any more.
        let first = moments.iter().position(|moment| moment.keys.contains(key)).unwrap_or(moments.len());
        for record in &object.records {
            let at = since.entry(record["id"].as_str().unwrap()).or_insert(first);
            *at = first.min(*at);
        }
    }
    Held { objects, since }
}

/// Every message of the topic once, as it was sent, and nothing else. How many are lost, and how many there twice.
fn compare(
    topic: &BTreeMap<String, Message>,
    objects: &BTreeMap<String, Object>,
    receipts: &[Receipt],
    problems: &mut Vec<String>,
) -> (usize, usize) {
    let confirmed: HashMap<&str, &str> = receipts.iter().map(|it| (&*it.id, &*it.payload_base64)).collect();
    let (mut seen, mut whole) = (HashSet::new(), HashSet::new());
    let mut twice = 0;
    for (key, object) in objects {
        for record in &object.records {
            let id = record["id"].as_str().unwrap();
            // What the broker confirmed and lost after it delivered it is stored rightly.
            let sent = topic.get(id).map(|message| &*message.payload_base64).or(confirmed.get(id).copied());
            if !seen.insert(id) {
                twice += 1;
                problems.push(format!("{id} is there twice, in {key} too"));
            }
            // Else it is a part of a message that its producer began again.
            if record["undecodable"].is_null() {
                whole.insert(id);
                if sent.is_none() || record["payload_base64"].as_str() != sent {
                    problems.push(format!("{id} in {key} is not what was sent: {}", sent.is_some()));
                }
            }
        }
    }
    let lost: Vec<&String> = topic.keys().filter(|id| !whole.contains(id.as_str())).collect();
    if !lost.is_empty() {
        problems.push(format!("{} lost, the first of them {}", lost.len(), lost[0]));
    }
    (lost.len(), twice)
}

/// The objects of one partition are a chain without a gap, whose end the head knows.
fn chain(history: &History<'_>, objects: &BTreeMap<String, Object>, partition: i32, problems: &mut Vec<String>) {
    let folder = format!("/partition={partition}/");
    let mut chain: Vec<&Object> = objects.values().filter(|object| object.key.contains(&folder)).collect();
    chain.sort_by_key(|object| object.metadata["seq"].as_str().unwrap().parse::<u64>().unwrap());
    let mut previous = Value::Null;
    for (number, object) in (1..).zip(&chain) {
        let (metadata, records) = (&object.metadata, &object.records);
        let right = metadata["seq"] == format!("{number}")
            && metadata["sha256"] == object.sha256
            && metadata["previous-sha256"] == previous
            && metadata["count"] == format!("{}", records.len());
        if !right {
            problems.push(format!("object {number} is not the next in the chain: {} {metadata}", object.key));
        }
        previous = object.sha256.clone().into();
    }
    let Some(newest) = chain.last() else { return };
    let files = history.stage.files();
    let key = files.iter().find(|key| key.contains(&folder) && key.ends_with("/_head.json"));
    let head: Value =
        serde_json::from_slice(&fs::read(history.stage.bucket_folder().join(key.unwrap())).unwrap()).unwrap();
    let link = if head["next"].is_null() { &head["done"] } else { &head["next"] };
    if link["key"] != newest.key || link["digest"] != newest.sha256 {
        problems.push(format!("the head does not know the newest object, {}: {head}", newest.key));
    }
}

/// All of one partition is acknowledged.
fn rests(history: &History<'_>, topic: &BTreeMap<String, Message>, partition: i32, problems: &mut Vec<String>) {
    let last = topic.iter().filter(|(_, message)| message.partition == partition).map(|(id, _)| place(id)).max();
    let at = history.stage.broker();
    let standing = standing(&at.http, &at.token, &history.topic_of(partition));
    let mark = standing.mark_delete.as_deref().map(place);
    if mark < last || standing.backlog != Some(0) {
        problems.push(format!("in the end {standing:?}, and the last message is {last:?}"));
    }
    let unlisted: BTreeSet<&String> = history.moments.iter().flat_map(|moment| &moment.keys).collect();
    let files = history.stage.files();
    problems.extend(unlisted.into_iter().filter(|key| !files.contains(key)).map(|key| format!("{key} is gone")));
}

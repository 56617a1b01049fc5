//! What was sent, what is there, and whether a report says so.

use std::collections::{BTreeMap, BTreeSet};
use std::io::Read;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde::Deserialize;
use serde_json::Value;
use serde_json::value::RawValue;

use super::director::{Director, Fate};

/// Ledger and entry.
pub type Place = (i64, i64);

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Message {
    /// As a record has it.
    pub id: String,
    pub payload: Vec<u8>,
}

impl Message {
    pub fn place(&self) -> Place {
        place(&self.id)
    }
}

/// The first two parts of an id.
pub fn place(id: &str) -> Place {
    let mut parts = id.split(':').map(|part| part.parse().unwrap());
    (parts.next().unwrap(), parts.next().unwrap())
}

/// What is there at one moment.
#[derive(Clone, Debug)]
pub struct Seen {
    /// By key, heads left out.
    pub objects: BTreeMap<String, Vec<Message>>,
    /// Where the cursor stands.
    pub mark_delete: Place,
    pub backlog: u64,
}

impl Seen {
    /// How often this very message is in the bucket.
    pub fn times(&self, message: &Message) -> usize {
        self.objects.values().flatten().filter(|it| *it == message).count()
    }

    /// Everything in the bucket.
    pub fn stored(&self) -> usize {
        self.objects.values().map(Vec::len).sum()
    }

    pub fn holds(&self, sent: &[Message]) -> bool {
        sent.iter().all(|message| self.times(message) > 0)
    }

    /// The messages up to the acknowledged position that are not in the bucket.
    pub fn acknowledged_unstored(&self, sent: &[Message]) -> usize {
        sent.iter().filter(|message| message.place() <= self.mark_delete && self.times(message) == 0).count()
    }
}

/// The messages of an object, by the description of the format alone.
pub fn messages_of(object: &[u8]) -> Vec<Message> {
    #[derive(Deserialize)]
    struct Line<'a> {
        id: String,
        #[serde(borrow)]
        value: Option<&'a RawValue>,
        text: Option<String>,
        base64: Option<String>,
    }
    let mut text = String::new();
    flate2::read::MultiGzDecoder::new(object).read_to_string(&mut text).unwrap();
    let message = |line: &str| {
        let Line { id, value, text, base64 } = serde_json::from_str(line).unwrap();
        let value = value.map(|value| value.get().as_bytes().to_vec());
        let payload = value.or(text.map(String::into_bytes)).or(base64.map(|it| STANDARD.decode(it).unwrap()));
        Message { id, payload: payload.unwrap_or_default() }
    };
    text.lines().map(message).collect()
}

/// Whatever this report says that is not so. `before` and `after`: what was there when its run began and ended.
pub fn untrue(report: &Value, director: &Director, before: &Seen, after: &Seen, sent: &[Message]) -> Vec<String> {
    let mut untrue = Vec::new();
    let mut says = |so: bool, what: String| {
        if !so {
            untrue.push(what);
        }
    };
    let (outcome, stop) = (report["outcome"].as_str().unwrap_or("none"), report["stop"].as_str().unwrap_or("none"));
    let (whole, last) = (after.holds(sent), sent[sent.len() - 1].place());

    let none = Vec::new();
    let listed = report["objects"].as_array().unwrap_or(&none);
    let keys: BTreeSet<&str> = listed.iter().filter_map(|object| object["key"].as_str()).collect();
    let new: BTreeSet<&str> = after.objects.keys().map(String::as_str).collect();
    let new: BTreeSet<&str> = new.into_iter().filter(|key| !before.objects.contains_key(*key)).collect();
    says(keys == new, format!("lists {keys:?}, and {new:?} came"));
    let mut messages = 0;
    for object in listed {
        let Some(held) = object["key"].as_str().and_then(|key| after.objects.get(key)) else { continue };
        messages += held.len() as u64;
        let ends = |id: &Value, message: Option<&Message>| {
            id.as_str().map(place) == message.map(Message::place)
                && object["messages"].as_u64() == Some(held.len() as u64)
        };
        says(ends(&object["first_id"], held.first()) && ends(&object["last_id"], held.last()), format!("{object}"));
        let acknowledged = held.last().is_some_and(|message| message.place() <= after.mark_delete);
        says(object["acknowledged"] == false || acknowledged, format!("{} is acknowledged", object["key"]));
    }
    says(report["messages"] == messages, format!("{} messages, not {messages}", report["messages"]));

    let did = !listed.is_empty() || report["skipped_entries"].as_u64() > Some(0);
    match outcome {
        "stored" => says(did, "stored, and did nothing".into()),
        "nothing_to_do" => {
            says(!did && whole && after.mark_delete == last, "nothing to do, and there is".into());
        }
        "failed" => {
            let kind = &report["error"]["kind"];
            says(director.has_met(&[Fate::Refused]) && kind == "denied", format!("failed: {}", report["error"]));
        }
        other => says(false, format!("{other}: {}", report["error"])),
    }
    says(report["error"].is_null() == (outcome != "failed"), format!("{outcome}, and the error {}", report["error"]));
    let unconfirmed = director.has_met(&[Fate::Lost, Fate::Unconfirmed]);
    says(stop != "unconfirmed" || unconfirmed, "unconfirmed, and nothing was in the way".into());
    says(stop != "drained" || whole, "drained, and not all is stored".into());
    says(report["complete_through"].is_null() || whole, "complete, and not all is stored".into());
    let backlog = report["backlog_entries"].as_u64().unwrap_or(after.backlog);
    says(backlog == after.backlog, format!("a backlog of {backlog}, not {}", after.backlog));
    says(report["missing"].is_null(), format!("missing {}", report["missing"]));
    untrue
}

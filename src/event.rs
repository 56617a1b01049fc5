//! What starts a run: the event of a platform's timer.
//!
//! Knows every form a timer sends, and refuses everything else: an event that was meant for another
//! function, or that asks for something this one does not do, must not pass for a tick. `events/`
//! holds one file of each form.

mod wish;

use serde_json::{Map, Value};

use crate::rule::shown;
use crate::{Error, Kind, Result};

pub use wish::{SeekEvent, Wish};

/// Of a trigger, in bytes: it stands in the head. SCF's are of 100 at most.
const LONGEST_NAME: usize = 200;
const EXPECTED: &str = r#"expected an SCF timer event {"Type":"Timer","TriggerName":…,"Time":…,"Message":""}, a scheduled event of EventBridge or of EventBridge Scheduler, {}, or, alone or as the timer's Message, any of {"seek":"<earliest, latest, an RFC 3339 time or ledger:entry>","confirm":"<subscription>"}, {"dry_run":true} and {"max_objects":<1 to 1000>}"#;

/// A tick.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Event {
    pub kind: EventKind,
    /// When the timer fired, as the platform wrote it: for the reply and the log only.
    pub time: Option<String>,
    /// Where it asks for the cursor to be moved.
    pub seek: Option<SeekEvent>,
    /// Whether nothing is to be changed: the run reads and says what it would have written.
    pub dry_run: bool,
    /// Objects per partition in this run, in place of the rule's.
    pub max_objects: Option<u32>,
}

/// Who sent it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum EventKind {
    /// An SCF timer; or any scheduler that was given SCF's form as its input.
    Timer,
    /// An EventBridge rule with a schedule.
    EventBridgeRule,
    /// EventBridge Scheduler, without an input of its own.
    EventBridgeScheduler,
    /// `{}`: a person, or a scheduler whose input is that.
    Empty,
    /// A person who wants something besides, or another run than the timer's.
    Wish,
}

impl Event {
    fn new(kind: EventKind, time: Option<String>, wish: Wish) -> Self {
        let Wish { seek, dry_run, max_objects } = wish;
        Event { kind, time, seek, dry_run, max_objects }
    }

    /// All that it asks for besides a run.
    pub fn wish(self) -> Wish {
        Wish { seek: self.seek, dry_run: self.dry_run, max_objects: self.max_objects }
    }

    /// The event in a request's body. An error of [`Kind::Invalid`] names what was expected, and of the event
    /// a field at most: what was meant for another function may hold its secrets.
    pub fn parse(body: &[u8]) -> Result<Event> {
        let value = serde_json::from_slice(body).map_err(|error| refused(&format!("is not JSON ({error})")))?;
        Event::from_value(&value)
    }

    /// [`parse`](Event::parse) of JSON that has been read already.
    pub fn from_value(value: &Value) -> Result<Event> {
        let Value::Object(fields) = value else { return Err(refused("is not a JSON object")) };
        let event = if fields.is_empty() {
            Ok(Event::new(EventKind::Empty, None, Wish::default()))
        } else if fields.contains_key("Type") {
            timer(fields)
        } else if fields.contains_key("detail-type") {
            scheduled(fields)
        } else {
            Wish::read(fields).map(|wish| Event::new(EventKind::Wish, None, wish))
        };
        event.map_err(|reason| refused(&reason))
    }
}

fn timer(fields: &Map<String, Value>) -> Result<Event, String> {
    const FIELDS: [&str; 4] = ["Type", "TriggerName", "Time", "Message"];
    if fields.keys().any(|field| !FIELDS.contains(&field.as_str())) {
        return Err(unknown_field(fields, &FIELDS));
    }
    if text(fields, "Type")? != Some("Timer") {
        return Err(r#"is of another "Type" than "Timer""#.into());
    }
    let name = text(fields, "TriggerName")?;
    if name.is_some_and(|name| name.len() > LONGEST_NAME) {
        return Err(format!("has a \"TriggerName\" of more than {LONGEST_NAME} bytes"));
    }
    if name.is_some_and(|name| name.chars().any(char::is_control)) {
        return Err("has a \"TriggerName\" with control characters".into());
    }
    let time = time(fields, "Time")?;
    let mut wish = match text(fields, "Message")? {
        None | Some("") => Wish::default(),
        Some(message) => match serde_json::from_str(message) {
            Ok(Value::Object(asked)) => {
                Wish::read(&asked).map_err(|reason| format!("has a \"Message\" that {reason}"))?
            }
            _ => return Err("has a \"Message\" that is no JSON object".into()),
        },
    };
    if let Some(seek) = &mut wish.seek {
        seek.id = name.filter(|name| !name.is_empty()).or(time.as_deref()).map(|id| format!("timer {id}"));
    }
    Ok(Event::new(EventKind::Timer, time, wish))
}

/// The envelope is the platform's and may grow: fields that nothing depends on are passed over.
fn scheduled(fields: &Map<String, Value>) -> Result<Event, String> {
    if text(fields, "detail-type")? != Some("Scheduled Event") {
        return Err(r#"has another "detail-type" than "Scheduled Event""#.into());
    }
    let kind = match text(fields, "source")? {
        Some("aws.events") => EventKind::EventBridgeRule,
        Some("aws.scheduler") => EventKind::EventBridgeScheduler,
        _ => return Err(r#"has another "source" than "aws.events" and "aws.scheduler""#.into()),
    };
    let empty = match fields.get("detail") {
        Some(Value::Object(detail)) => detail.is_empty(),
        Some(Value::String(detail)) => detail == "{}",
        _ => false,
    };
    if !empty {
        return Err(r#"has a "detail" that is not empty"#.into());
    }
    Ok(Event::new(kind, time(fields, "time")?, Wish::default()))
}

/// The text in a field; `None` where the field is absent.
fn text<'a>(fields: &'a Map<String, Value>, name: &str) -> Result<Option<&'a str>, String> {
    match fields.get(name) {
        None => Ok(None),
        Some(Value::String(text)) => Ok(Some(text)),
        Some(_) => Err(format!("has a {name:?} that is not text")),
    }
}

fn time(fields: &Map<String, Value>, name: &str) -> Result<Option<String>, String> {
    match text(fields, name)? {
        Some(time) if time.len() > 64 => Err(format!("has a {name:?} that is no time")),
        time => Ok(time.map(str::to_owned)),
    }
}

fn unknown_field(fields: &Map<String, Value>, known: &[&str]) -> String {
    let unknown = fields.keys().find(|field| !known.contains(&field.as_str()));
    format!("has a field {} that no timer sends", shown(unknown.map_or("", String::as_str)))
}

fn refused(reason: &str) -> Error {
    Error::new(Kind::Invalid, format!("the event {reason}; {EXPECTED}"))
}

#[cfg(test)]
mod tests;

//! What starts a run: the event of a platform's timer.
//!
//! Knows every form a timer sends, and refuses everything else: an event that was meant for another
//! function, or that asks for something this one does not do, must not pass for a tick. `events/`
//! holds one file of each form.

use serde_json::{Map, Value};

use crate::rule::{Start, shown};
use crate::{Error, Kind, Result};

const EXPECTED: &str = r#"expected an SCF timer event {"Type":"Timer","TriggerName":…,"Time":…,"Message":""}, a scheduled event of EventBridge or of EventBridge Scheduler, {}, or {"seek":"<earliest, latest, an RFC 3339 time or ledger:entry>","confirm":"<subscription>"}, alone or as the timer's Message"#;

/// A tick.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Event {
    pub kind: EventKind,
    /// When the timer fired, as the platform wrote it: for the reply and the log only.
    pub time: Option<String>,
    /// What is asked beside a run.
    pub seek: Option<SeekEvent>,
}

/// The wish to move the cursor, once: forward too, past messages that are not stored.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SeekEvent {
    /// Never [`Start::Continue`].
    pub to: Start,
    /// Must be the rule's subscription.
    pub confirm: String,
    /// Names the event among others that ask for the same, where something does: the timer's trigger, or the
    /// platform's request. One of the same name is not obeyed again, so that an event delivered twice, or a
    /// timer that was left with this message, moves the cursor once.
    pub id: Option<String>,
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
    /// A person who wants the cursor moved.
    Seek,
}

impl Event {
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
            Ok(Event { kind: EventKind::Empty, time: None, seek: None })
        } else if fields.contains_key("Type") {
            timer(fields)
        } else if fields.contains_key("detail-type") {
            scheduled(fields)
        } else if fields.contains_key("seek") {
            seek(fields).map(|seek| Event { kind: EventKind::Seek, time: None, seek: Some(seek) })
        } else {
            Err(unknown_field(fields, &[]))
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
    let time = time(fields, "Time")?;
    let seek = match text(fields, "Message")? {
        None | Some("") => None,
        Some(message) => match serde_json::from_str(message) {
            Ok(Value::Object(wish)) if wish.contains_key("seek") => {
                let id = name.filter(|name| !name.is_empty()).or(time.as_deref()).map(|id| format!("timer {id}"));
                Some(SeekEvent { id, ..seek(&wish)? })
            }
            _ => return Err("has a message that is no seek: anything else there is not yet available".into()),
        },
    };
    Ok(Event { kind: EventKind::Timer, time, seek })
}

fn seek(fields: &Map<String, Value>) -> Result<SeekEvent, String> {
    if fields.keys().any(|field| !["seek", "confirm"].contains(&field.as_str())) {
        return Err(unknown_field(fields, &["seek", "confirm"]));
    }
    let to = match text(fields, "seek")?.unwrap_or_default().parse() {
        Ok(Start::Continue) | Err(_) => return Err("has a \"seek\" to nowhere".into()),
        Ok(to) => to,
    };
    let confirm = text(fields, "confirm")?.ok_or("has no \"confirm\": it names the rule's subscription")?;
    Ok(SeekEvent { to, confirm: confirm.to_owned(), id: None })
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
    Ok(Event { kind, time: time(fields, "time")?, seek: None })
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
mod tests {
    use std::fs;

    use super::*;

    fn refusal(body: &str) -> String {
        let error = Event::parse(body.as_bytes()).unwrap_err();
        assert_eq!(error.kind(), Kind::Invalid);
        assert!(error.to_string().contains("expected an SCF timer event"), "{error}");
        error.to_string()
    }

    #[test]
    fn every_file_in_events_is_an_event_of_its_kind() {
        let fired = Some("2026-11-20T11:45:00Z".to_owned());
        let mut seen = 0;
        for file in fs::read_dir(concat!(env!("CARGO_MANIFEST_DIR"), "/events")).unwrap() {
            let file = file.unwrap();
            let (kind, time) = match file.file_name().to_str().unwrap() {
                "scf-timer.json" | "scheduler-input-scf.json" => (EventKind::Timer, fired.clone()),
                "eventbridge-schedule.json" => (EventKind::EventBridgeRule, fired.clone()),
                "eventbridge-scheduler.json" => (EventKind::EventBridgeScheduler, fired.clone()),
                "empty.json" => (EventKind::Empty, None),
                "seek.json" => (EventKind::Seek, None),
                other => panic!("events/{other} is of no known kind: say here which"),
            };
            let wish = SeekEvent { to: Start::Latest, confirm: "backup".into(), id: None };
            let seek = (kind == EventKind::Seek).then_some(wish);
            assert_eq!(Event::parse(&fs::read(file.path()).unwrap()).unwrap(), Event { kind, time, seek });
            seen += 1;
        }
        assert_eq!(seen, 6);
    }

    #[test]
    fn what_no_timer_sends_is_refused_with_what_was_expected() {
        for (body, reason) in [
            ("", "is not JSON"),
            ("tick", "is not JSON"),
            ("null", "is not a JSON object"),
            ("[]", "is not a JSON object"),
            (r#""{}""#, "is not a JSON object"),
            (r#"{"a":1}"#, r#"has a field "a""#),
            (r#"{"time":"2026-11-20T11:45:00Z"}"#, r#"has a field "time""#),
            (r#"{"Type":"Ckafka"}"#, "another \"Type\""),
            (r#"{"Type":1}"#, "not text"),
            (r#"{"Type":"Timer","Message":{}}"#, "not text"),
            (r#"{"Type":"Timer","Time":"","extra":1}"#, r#"has a field "extra""#),
            (r#"{"Records":[{"s3":{}}]}"#, r#"has a field "Records""#),
            (r#"{"seek":"latest"}"#, "no \"confirm\""),
            (r#"{"seek":"latest","confirm":1}"#, "not text"),
            (r#"{"seek":5,"confirm":"backup"}"#, "not text"),
            (r#"{"seek":"","confirm":"backup"}"#, "to nowhere"),
            (r#"{"seek":"continue","confirm":"backup"}"#, "to nowhere"),
            (r#"{"seek":"-1:-1","confirm":"backup"}"#, "to nowhere"),
            (r#"{"seek":"latest","confirm":"backup","dry_run":true}"#, r#"has a field "dry_run""#),
            (r#"{"dry_run":true}"#, r#"has a field "dry_run""#),
            (r#"{"max_objects":20}"#, r#"has a field "max_objects""#),
            (r#"{"confirm":"backup"}"#, r#"has a field "confirm""#),
            (r#"{"Type":"Timer","Message":"{}"}"#, "not yet available"),
            (r#"{"Type":"Timer","Message":"seek"}"#, "not yet available"),
            (r#"{"Type":"Timer","Message":"{\"seek\":\"latest\"}"}"#, "no \"confirm\""),
            (r#"{"detail-type":"Object Created","source":"aws.s3","detail":{}}"#, "detail-type"),
            (r#"{"detail-type":"Scheduled Event","source":"aws.s3","detail":{}}"#, "source"),
            (r#"{"detail-type":"Scheduled Event","source":"aws.events"}"#, "detail"),
            (r#"{"detail-type":"Scheduled Event","source":"aws.events","detail":{"a":1}}"#, "detail"),
        ] {
            let text = refusal(body);
            assert!(text.contains(reason), "{text}");
        }
    }

    #[test]
    fn a_timers_message_may_ask_for_a_seek_and_its_trigger_names_it() {
        for (to, text) in [
            (Start::Earliest, "earliest"),
            (Start::Timestamp(1500), "1970-01-01T00:00:01.5Z"),
            (Start::Id("17:3".parse().unwrap()), "17:3"),
        ] {
            let message = serde_json::json!({ "seek": text, "confirm": "backup" }).to_string();
            for (name, id) in [("once", "timer once"), ("", "timer 2026-11-20T11:45:00Z")] {
                let body = serde_json::json!({
                    "Type": "Timer", "TriggerName": name, "Time": "2026-11-20T11:45:00Z", "Message": message
                });
                let seek = Event::from_value(&body).unwrap().seek.unwrap();
                assert_eq!(seek, SeekEvent { to, confirm: "backup".into(), id: Some(id.into()) });
            }
        }
    }

    #[test]
    fn a_refusal_repeats_nothing_that_an_event_holds_but_the_start_of_a_fields_name() {
        for body in [
            "MARKER",
            "[\"MARKER\"]",
            "{\"a\":\"MARKER\"}",
            "{\"token\":\"MARKER\",\"Type\":\"Timer\"}",
            "{\"Type\":\"MARKER\"}",
            "{\"Type\":\"Timer\",\"Message\":\"MARKER\"}",
            "{\"seek\":\"MARKER\",\"confirm\":\"MARKER\"}",
            "{\"eyJ.MARKER\":1}",
            "{\"detail-type\":\"MARKER\",\"source\":\"MARKER\"}",
        ] {
            let text = refusal(body);
            assert!(!text.contains("MARKER"), "{text}");
        }
        let text = refusal(&format!("{{{:?}:1}}", "é\n".repeat(5000)));
        assert!(text.chars().count() < 700 && !text.contains('\n'), "{text}");
    }
}

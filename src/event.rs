//! What starts a run: the event of a platform's timer.
//!
//! Knows every form a timer sends, and refuses everything else: an event that was meant for another
//! function, or that asks for something this one does not do, must not pass for a tick. `events/`
//! holds one file of each form.

use serde_json::{Map, Value};

use crate::{Error, Kind, Result};

const EXPECTED: &str = r#"expected an SCF timer event {"Type":"Timer","TriggerName":…,"Time":…,"Message":""}, a scheduled event of EventBridge or of EventBridge Scheduler, or {}"#;

/// How much of a refused event a message repeats, in characters.
const ECHO: usize = 200;

/// A tick.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Event {
    pub kind: EventKind,
    /// When the timer fired, as the platform wrote it: for the reply and the log only.
    pub time: Option<String>,
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
}

impl Event {
    /// The event in a request's body. An error of [`Kind::Invalid`] names what was expected and
    /// repeats at most 200 characters of the body.
    pub fn parse(body: &[u8]) -> Result<Event> {
        let value = serde_json::from_slice(body).map_err(|error| {
            let text = String::from_utf8_lossy(body);
            refused(&format!("is not JSON ({error})"), &text)
        })?;
        Event::from_value(&value)
    }

    /// [`parse`](Event::parse) of JSON that has been read already.
    pub fn from_value(value: &Value) -> Result<Event> {
        let Value::Object(fields) = value else { return Err(refused("is not a JSON object", &value.to_string())) };
        let event = if fields.is_empty() {
            Ok(Event { kind: EventKind::Empty, time: None })
        } else if fields.contains_key("Type") {
            timer(fields)
        } else if fields.contains_key("detail-type") {
            scheduled(fields)
        } else if fields.contains_key("seek") {
            Err("asks for a seek, which is not yet available".into())
        } else {
            Err(unknown_field(fields, &[]))
        };
        event.map_err(|reason| refused(&reason, &value.to_string()))
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
    text(fields, "TriggerName")?;
    if text(fields, "Message")?.is_some_and(|message| !message.is_empty()) {
        return Err("has a message, which is not yet available: leave the trigger's message empty".into());
    }
    Ok(Event { kind: EventKind::Timer, time: time(fields, "Time")? })
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
    Ok(Event { kind, time: time(fields, "time")? })
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
    let name: String = unknown.map_or("", String::as_str).chars().take(60).collect();
    format!("has a field {name:?} that no timer sends")
}

fn refused(reason: &str, event: &str) -> Error {
    let printed: String = event.escape_debug().collect();
    let dots = if printed.chars().nth(ECHO).is_some() { "..." } else { "" };
    let echo: String = printed.chars().take(ECHO).collect();
    Error::new(Kind::Invalid, format!("the event {reason}; {EXPECTED}; got {echo}{dots}"))
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
                other => panic!("events/{other} is of no known kind: say here which"),
            };
            assert_eq!(Event::parse(&fs::read(file.path()).unwrap()).unwrap(), Event { kind, time });
            seen += 1;
        }
        assert_eq!(seen, 5);
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
    fn what_an_event_will_be_able_to_say_is_refused_as_not_yet_available() {
        for body in [r#"{"Type":"Timer","Message":"{}"}"#, r#"{"seek":"earliest","confirm":"backup"}"#] {
            assert!(refusal(body).contains("not yet available"));
        }
    }

    #[test]
    fn a_refusal_repeats_200_characters_at_most() {
        let long = "é\n".repeat(5000);
        for body in [long.clone(), format!("{long:?}"), format!("{{\"a\":{long:?}}}")] {
            let text = refusal(&body);
            let (_, echo) = text.split_once("; got ").unwrap();
            assert_eq!(echo.chars().count(), ECHO + 3);
            assert!(!echo.contains('\n'));
        }
        assert!(!refusal("[1,2]").ends_with("..."));
    }
}

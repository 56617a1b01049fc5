use std::fs;

use super::*;
use crate::rule::Start;

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
            "timer-max-objects.json" => (EventKind::Timer, fired.clone()),
            "seek.json" | "dry-run.json" | "max-objects.json" => (EventKind::Wish, None),
            other => panic!("events/{other} is of no known kind: say here which"),
        };
        let name = file.file_name().into_string().unwrap();
        let wish = Wish {
            seek: (name == "seek.json").then(|| SeekEvent { to: Start::Latest, confirm: "backup".into(), id: None }),
            dry_run: name == "dry-run.json",
            max_objects: name.ends_with("max-objects.json").then_some(20),
        };
        assert_eq!(Event::parse(&fs::read(file.path()).unwrap()).unwrap(), Event::new(kind, time, wish), "{name}");
        seen += 1;
    }
    assert_eq!(seen, 9);
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
        (r#"{"seek":"latest","confirm":"backup","retry":true}"#, r#"has a field "retry""#),
        (r#"{"dry_run":"yes"}"#, "neither true nor false"),
        (r#"{"dry_run":true,"max_object":20}"#, r#"has a field "max_object""#),
        (r#"{"max_objects":0}"#, "not from 1 to 1000"),
        (r#"{"max_objects":1001}"#, "not from 1 to 1000"),
        (r#"{"max_objects":2.5}"#, "not from 1 to 1000"),
        (r#"{"max_objects":"20"}"#, "not from 1 to 1000"),
        (r#"{"confirm":"backup"}"#, "no \"seek\""),
        (r#"{"Type":"Timer","Message":"seek"}"#, "\"Message\" that is no JSON object"),
        (r#"{"Type":"Timer","Message":"[]"}"#, "\"Message\" that is no JSON object"),
        (r#"{"Type":"Timer","Message":"{\"a\":1}"}"#, r#""Message" that has a field "a""#),
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
        "{\"max_objects\":\"MARKER\"}",
        "{\"dry_run\":\"MARKER\"}",
        "{\"eyJ.MARKER\":1}",
        "{\"detail-type\":\"MARKER\",\"source\":\"MARKER\"}",
    ] {
        let text = refusal(body);
        assert!(!text.contains("MARKER"), "{text}");
    }
    let text = refusal(&format!("{{{:?}:1}}", "é\n".repeat(5000)));
    assert!(text.chars().count() < 800 && !text.contains('\n'), "{text}");
}

#[test]
fn a_timers_message_may_ask_for_what_a_person_may() {
    for (message, dry_run, max_objects) in [
        (r#"{}"#, false, None),
        (r#"{"dry_run":true}"#, true, None),
        (r#"{"dry_run":false,"max_objects":20}"#, false, Some(20)),
        (r#"{"dry_run":true,"max_objects":1000}"#, true, Some(1000)),
    ] {
        let body = serde_json::json!({ "Type": "Timer", "TriggerName": "once", "Time": "", "Message": message });
        for (event, kind) in [(body, EventKind::Timer), (serde_json::from_str(message).unwrap(), EventKind::Wish)] {
            let event = Event::from_value(&event).unwrap();
            assert_eq!((event.seek, event.dry_run, event.max_objects), (None, dry_run, max_objects), "{message}");
            assert!(event.kind == kind || message == "{}");
        }
    }
    let both = r#"{"seek":"latest","confirm":"backup","dry_run":true}"#;
    let event = Event::parse(both.as_bytes()).unwrap();
    assert!(event.dry_run && event.seek.is_some());
}

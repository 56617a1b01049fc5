//! The loop under SCF's runtime API.

use std::net::TcpListener;

use serde_json::Value;
use tdmq_backup::Clock;

use crate::events;
use crate::platform::{Call, Fault, Platform, Sent, Told};
use crate::world::{Instance, SUBSCRIPTION, World};

fn started() -> (World, Platform, Instance) {
    let (world, platform) = (World::new(), Platform::start());
    let instance = world.start(&platform.variables());
    (world, platform, instance)
}

fn reply(told: Told) -> Value {
    serde_json::from_str(&told.unwrap()).unwrap()
}

#[test]
fn every_event_file_is_answered_with_what_it_asks_for() {
    let (mut world, platform, instance) = started();
    for (number, (name, event)) in events::all().into_iter().enumerate() {
        world.send(3);
        let before = world.everything();
        let told = reply(platform.invoke(Sent::new(&format!("request-{number}"), &event)));
        events::check(&name, 3, &told);
        assert_eq!(instance.reports().last(), Some(&told), "the log line says what the reply says");
        if name == "dry-run.json" {
            assert_eq!(world.everything(), before);
        }
        // The connection is closed with each run, and what is left over must not count for the next file.
        assert!(world.is_let_go_of(), "{name}");
        reply(platform.invoke(Sent::new("rest", r#"{"max_objects":20}"#)));
    }
    assert_eq!(world.topic.subscription(SUBSCRIPTION).unwrap().backlog, 0);
    platform.until_it_waits();
    assert_eq!(platform.calls().iter().filter(|call| **call == Call::Ready).count(), 1);
}

#[test]
fn a_failed_run_and_an_event_that_is_none_are_errors_and_the_next_event_is_served() {
    let (mut world, platform, instance) = started();
    world.send(2);
    world.broker.set_token("another");
    let told = platform.invoke(Sent::new("1", "{}")).unwrap_err();
    assert!(told.starts_with("denied: "), "{told}");
    assert_eq!((world.objects().len(), world.topic.subscription(SUBSCRIPTION)), (0, None));
    world.broker.set_token(crate::world::TOKEN);
    for (body, reason) in [
        ("", "is not JSON"),
        ("{\"Type\":\"Timer\"", "is not JSON"),
        ("\u{0}\u{1}\u{fffd}", "is not JSON"),
        ("[]", "is not a JSON object"),
        (r#"{"Type":"Ckafka"}"#, "another \"Type\""),
        (r#"{"dry_runs":true}"#, "has a field \"dry_runs\""),
    ] {
        let told = platform.invoke(Sent::new("2", body)).unwrap_err();
        assert!(told.starts_with("invalid: the event ") && told.contains(reason), "{told}");
        assert_eq!(instance.reports().last().unwrap()["error"]["kind"], "invalid");
    }
    let told = reply(platform.invoke(Sent::new("3", "{}")));
    assert_eq!((&told["outcome"], &told["messages"]), (&"stored".into(), &2.into()), "{told}");
}

#[test]
fn headers_in_any_spelling_are_read_and_runs_go_on_without_them() {
    let (mut world, platform, _instance) = started();
    let odd: [&[(&str, &str)]; 6] = [
        &[("Request_Id", "a"), ("Memory_Limit_In_Mb", "128"), ("Time_Limit_In_Ms", "60000")],
        &[("REQUEST_ID", "b"), ("TIME_LIMIT_IN_MS", "60000")],
        &[("request_id", "c"), ("time_limit_in_ms", "soon")],
        &[("request_id", "d"), ("time_limit_in_ms", "-5")],
        &[("request_id", "e"), ("time_limit_in_ms", "99999999999999999999")],
        &[],
    ];
    for headers in odd {
        world.send(1);
        let told = reply(platform.invoke(Sent::with(headers, "{}")));
        assert_eq!((&told["outcome"], &told["messages"]), (&"stored".into(), &1.into()), "{headers:?}: {told}");
    }
    let told = reply(platform.invoke(Sent::with(&odd[0][..1], r#"{"seek":"latest","confirm":"backup"}"#)));
    assert!(told["moved"].is_object(), "{told}");
    let head = world.everything().into_iter().find(|(key, _)| key.ends_with("_head.json")).unwrap().1;
    let head: Value = serde_json::from_slice(&head).unwrap();
    assert_eq!(head["seek"]["event"], "request a", "{head}");
}

#[test]
fn a_runtime_api_that_fails_now_and_then_is_asked_again() {
    let (mut world, platform) = (World::new(), Platform::start());
    platform.fail(Call::Ready, &[Fault::Status(500), Fault::Cut]);
    platform.fail(Call::Next, &[Fault::Status(500), Fault::Cut, Fault::Status(502)]);
    let _instance = world.start(&platform.variables());
    world.send(2);
    let told = reply(platform.invoke(Sent::new("1", "{}")));
    assert_eq!(told["outcome"], "stored", "{told}");
    platform.fail(Call::Error, &[Fault::Cut, Fault::Status(500)]);
    platform.fail(Call::Next, &[Fault::Cut, Fault::Status(500)]);
    assert!(platform.invoke(Sent::new("2", "[]")).is_err());
    world.send(1);
    platform.fail(Call::Response, &[Fault::Status(500), Fault::Cut]);
    let told = reply(platform.invoke(Sent::new("3", "{}")));
    assert_eq!((&told["outcome"], &told["messages"]), (&"stored".into(), &1.into()), "{told}");
    assert_eq!(world.objects().len(), 2);
}

#[test]
fn an_event_that_comes_again_because_its_answer_was_lost_is_not_carried_out_again() {
    let (mut world, platform, instance) = started();
    world.send(2);
    // Not one of the attempts arrives: the platform gives the same event again.
    platform.fail(Call::Response, &[Fault::Cut, Fault::Status(500), Fault::Cut]);
    let told = reply(platform.invoke(Sent::new("1", "{}")));
    assert_eq!((&told["outcome"], &told["messages"]), (&"stored".into(), &2.into()), "{told}");
    assert_eq!((instance.reports().len(), world.objects().len()), (1, 1));
    // One that the platform sends again by itself, after it was answered, is carried out: it may have failed before.
    world.send(1);
    let told = reply(platform.invoke(Sent::new("1", "{}")));
    assert_eq!((&told["outcome"], &told["messages"]), (&"stored".into(), &1.into()), "{told}");
    let told = reply(platform.invoke(Sent::new("1", "{}")));
    assert_eq!(told["outcome"], "nothing_to_do", "{told}");
}

#[test]
fn an_event_that_is_cut_off_is_asked_for_again_and_runs_once() {
    let (mut world, platform, instance) = started();
    world.send(2);
    platform.fail(Call::Next, &[Fault::CutInside]);
    // The first one is asked for already; this makes the next one fail.
    reply(platform.invoke(Sent::new("1", "{}")));
    world.send(1);
    let told = reply(platform.invoke(Sent::new("2", "{}")));
    assert_eq!((&told["outcome"], &told["messages"]), (&"stored".into(), &1.into()), "{told}");
    assert_eq!((instance.reports().len(), world.objects().len()), (2, 2));
}

#[test]
fn the_deadline_counts_from_the_events_receipt() {
    let (mut world, platform) = (World::new(), Platform::start());
    world.send(1);
    // It takes connections and says nothing.
    let silent = TcpListener::bind("127.0.0.1:0").unwrap();
    world.write_rule(&format!("pulsar://{}", silent.local_addr().unwrap()));
    let instance = world.start(&platform.variables());
    platform.until_it_waits();
    let clock = Clock::system();
    let began = clock.now_ms();
    let event = Sent::with(&[("request_id", "1"), ("time_limit_in_ms", "3000")], "{}");
    let told = platform.invoke(event).unwrap_err();
    assert!(told.starts_with("unavailable: "), "{told}");
    let took = clock.now_ms() - began;
    assert!(took < 3000, "{took} ms: {}", instance.printed());
    assert_eq!(world.objects(), [""; 0]);
}

#[test]
fn a_runtime_api_that_is_gone_ends_the_process_after_a_few_attempts() {
    let (world, platform) = (World::new(), Platform::start());
    platform.fail(Call::Next, &[Fault::Status(500); 100]);
    let mut instance = world.start(&platform.variables());
    assert_eq!(instance.ended(), Some(1), "{}", instance.printed());
    assert_eq!(platform.calls().iter().filter(|call| **call == Call::Next).count(), 8);
    assert!(instance.printed().contains("8 times in a row"), "{}", instance.printed());
}

#[test]
fn a_wrong_rule_is_an_error_of_each_invocation_with_the_key_that_is_wrong() {
    let (world, platform) = (World::new(), Platform::start());
    world.write_rule("ftp://nowhere");
    let _instance = world.start(&platform.variables());
    for request in ["1", "2"] {
        let told = platform.invoke(Sent::new(request, "{}")).unwrap_err();
        assert!(told.starts_with("invalid: ") && told.contains("service_url"), "{told}");
    }
}

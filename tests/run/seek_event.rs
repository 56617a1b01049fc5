//! The one-off event that moves the cursor, forward too.

use serde_json::{Value, json};
use tdmq_backup::Position;
use tdmq_backup::report::{Moved, Outcome, PassedOver};
use tdmq_backup::testing::broker::{Act, CommandType, When};

use crate::world::{NOW, SUBSCRIPTION, World};

const MOST: usize = 70;

fn wish(to: impl ToString) -> Value {
    json!({ "seek": to.to_string(), "confirm": SUBSCRIPTION })
}

/// The wish as a timer's message.
fn timer(trigger: &str, time: &str, to: impl ToString) -> Value {
    json!({ "Type": "Timer", "TriggerName": trigger, "Time": time, "Message": wish(to).to_string() })
}

fn time(number: u64) -> String {
    let at = chrono::DateTime::from_timestamp_millis((NOW - 60_000 + number) as i64).unwrap();
    at.to_rfc3339_opts(chrono::SecondsFormat::Millis, true)
}

/// One message is stored, five more are owed.
async fn world() -> (World, Vec<Position>) {
    let mut world = World::new().await;
    let mut ids = world.send(&[1]);
    world.drain(2).await;
    ids.extend(world.send(&[1, 1]));
    world.topic.roll_ledger();
    ids.extend(world.send(&[1, 1, 1]));
    (world, ids)
}

#[tokio::test]
async fn the_cursor_goes_forward_where_the_event_says_and_the_report_says_what_was_passed_over() {
    let (_, ids) = world().await;
    let table = [
        (wish("latest"), 5, vec![1]),
        (timer("once", "2026-11-21T10:00:00Z", "latest"), 5, vec![1]),
        (wish(time(3)), 2, vec![1, 4, 5, 6]),
        (wish(ids[3]), 2, vec![1, 4, 5, 6]),
        (wish(ids[5]), 4, vec![1, 6]),
        (wish(time(1000)), 5, vec![1]),
    ];
    for (event, last_passed, mut expected) in table {
        let (mut world, ids) = world().await;
        let report = world.event(&event).await;
        let to = ids[last_passed];
        assert_eq!(report.passed_over, Some(PassedOver { from: ids[1], to }), "{event}");
        let asked = report.moved.as_ref().unwrap().asked.clone();
        assert_eq!(report.moved, Some(Moved { asked, from: Some(ids[0]), to: Some(to) }));
        // Nothing claims that it is stored, and nothing claims that the broker removed it.
        assert_eq!((report.complete_through, report.missing.len()), (None, 0), "{report:?}");
        world.send(&[1]);
        expected.push(7);
        for _ in 0..2 {
            let report = world.run().await;
            assert_eq!((report.missing.len(), &report.passed_over, report.error.is_some()), (0, &None, false));
            assert!(report.complete_through.is_some());
        }
        assert_eq!(world.numbers(), expected);
        assert_eq!(world.topic.subscription(SUBSCRIPTION).unwrap().backlog, 0);
    }
}

#[tokio::test]
async fn the_cursor_goes_back_and_nothing_is_stored_twice() {
    for to in ["earliest".to_owned(), time(0), "id".to_owned()] {
        let (world, ids) = world().await;
        world.drain(2).await;
        let report = world.event(&wish(if to == "id" { ids[0].to_string() } else { to })).await;
        assert_eq!((report.outcome, report.skipped_entries, report.passed_over), (Outcome::Stored, 6, None));
        assert_eq!(report.moved.unwrap().from, Some(ids[5]));
        world.drain(2).await;
        world.assert_exactly_once();
    }
}

#[tokio::test]
async fn what_was_passed_over_is_stored_when_the_cursor_goes_back() {
    let (world, _) = world().await;
    world.event(&wish("latest")).await;
    assert_eq!(world.numbers(), [1]);
    world.event(&wish("earliest")).await;
    world.drain(4).await;
    world.assert_exactly_once();
}

#[tokio::test]
async fn the_same_event_again_moves_nothing() {
    let (mut world, _) = world().await;
    world.event(&timer("once", "2026-11-21T10:00:00Z", "latest")).await;
    world.send(&[1, 1]);
    // Delivered twice; and a timer that was left with its message.
    for time in ["2026-11-21T10:00:00Z", "2026-11-21T10:05:00Z"] {
        let report = world.event(&timer("once", time, "latest")).await;
        assert_eq!((report.moved, report.passed_over), (None, None));
        assert!(report.warnings.iter().any(|warning| warning.contains("was obeyed then")), "{:?}", report.warnings);
    }
    assert_eq!(world.numbers(), [1, 7, 8]);
    // Another trigger is another wish, and so is a person's.
    world.send(&[1]);
    world.event(&timer("again", "2026-11-21T10:10:00Z", "latest")).await;
    world.send(&[1]);
    world.event(&wish("latest")).await;
    assert_eq!(world.numbers(), [1, 7, 8]);
    assert_eq!(world.topic.subscription(SUBSCRIPTION).unwrap().backlog, 0);
}

/// A timer is left with its message while somebody moves the cursor by hand.
#[tokio::test]
async fn an_event_that_others_followed_is_not_obeyed_again() {
    let (mut world, _) = world().await;
    let left = |trigger: &str| timer(trigger, "2026-11-21T10:00:00Z", "latest");
    world.event(&left("once")).await;
    world.event(&left("twice")).await;
    world.event(&wish("earliest")).await;
    world.send(&[1]);
    for event in [left("once"), left("twice"), left("once")] {
        let report = world.event(&event).await;
        assert_eq!((report.moved, report.passed_over), (None, None));
        assert!(report.warnings.iter().any(|warning| warning.contains("was obeyed then")), "{:?}", report.warnings);
    }
    world.drain(3).await;
    world.assert_exactly_once();
    // The head does not grow with the events.
    for number in 0..60 {
        world.event(&left(&format!("number {number}"))).await;
    }
    let head = world.head().unwrap();
    assert_eq!(head["obeyed"].as_array().unwrap().len(), 50);
    assert_eq!(head["obeyed"][49], json!({"asked": "latest", "event": "timer number 58"}));
}

#[tokio::test]
async fn an_event_for_another_subscription_or_to_an_id_that_does_not_exist_moves_nothing() {
    let (world, ids) = world().await;
    let head = world.head();
    for event in [
        json!({ "seek": "latest", "confirm": "other" }),
        json!({ "seek": "latest", "confirm": "" }),
        wish(Position::new(ids[0].ledger, 3)),
        wish(Position::new(ids[0].ledger + 100, 0)),
    ] {
        let requests = world.requests();
        let report = world.event(&event).await;
        assert_eq!((report.outcome, report.error.unwrap().kind), (Outcome::Failed, "invalid"), "{event}");
        assert_eq!((world.mark_delete(), world.head()), (ids[0], head.clone()));
        if event["confirm"] != SUBSCRIPTION {
            assert_eq!(world.requests(), requests, "nobody was asked");
        }
    }
    world.drain(3).await;
    world.assert_exactly_once();
}

#[tokio::test]
async fn an_event_begins_a_rule_in_place_of_its_start() {
    for exists in [false, true] {
        let mut world = World::new().await;
        world.set("start", "\"latest\"");
        let ids = world.send(&[1, 1, 1]);
        if exists {
            world.topic.subscribe_at_earliest(SUBSCRIPTION);
            world.topic.set_mark_delete(SUBSCRIPTION, ids[0]);
            assert_eq!(world.run().await.outcome, Outcome::Failed);
        }
        let report = world.event(&wish(ids[2])).await;
        assert_eq!(report.outcome, Outcome::Stored, "{report:?}");
        world.drain(2).await;
        assert_eq!(world.numbers(), [3]);
        assert_eq!(world.head().unwrap()["start"]["state"], "applied");
    }
}

#[tokio::test]
async fn a_pinned_span_is_written_before_the_cursor_moves() {
    for to in ["latest", "earliest"] {
        let (world, ids) = world().await;
        world.dies_before_storing().await;
        let announced = world.head().unwrap()["next"]["key"].as_str().unwrap().to_owned();
        let report = world.event(&wish(to)).await;
        assert!(report.warnings.iter().any(|warning| warning.contains("waits for the next run")), "{report:?}");
        assert_eq!((report.outcome, &report.objects[0].key), (Outcome::Stored, &announced));
        assert_eq!(world.mark_delete(), ids[5]);
        let report = world.run().await;
        assert_eq!((report.moved.unwrap().asked.as_str(), report.passed_over), (to, None));
        world.drain(3).await;
        world.assert_exactly_once();
    }
}

#[tokio::test]
async fn an_announced_object_that_is_stored_does_not_hold_the_event_up() {
    let (mut world, _) = world().await;
    world.broker.script(When::next(CommandType::Ack), Act::DropConnection);
    world.run().await;
    assert_eq!(world.objects().len(), 2, "stored and not acknowledged");
    world.send(&[1]);
    let report = world.event(&wish("latest")).await;
    assert!(report.moved.is_some(), "{report:?}");
    world.send(&[1]);
    world.drain(3).await;
    assert_eq!(world.numbers(), [1, 2, 3, 4, 5, 6, 8]);
}

#[tokio::test]
async fn a_death_at_any_request_of_an_event_and_its_delivery_again_move_once() {
    for (to, named) in [("latest", true), ("latest", false), ("earliest", true), ("time", true), ("id", false)] {
        for k in 1..MOST {
            let (mut world, ids) = world().await;
            let place = match to {
                "time" => time(3),
                "id" => ids[3].to_string(),
                word => word.to_owned(),
            };
            let event = if named { timer("once", "2026-11-21T10:00:00Z", place) } else { wish(place) };
            let begun = world.event_dying_at(&event, k).await.is_some();
            let noted = world.head().unwrap().get("seek").map(|seek| seek["state"].clone());
            world.send(&[1]);
            // The next tick comes before the event does again, or the event first.
            let report = if k % 2 == 0 { Some(world.run().await) } else { None };
            if named || noted != Some(json!("applied")) {
                world.event(&event).await;
            }
            world.drain(6).await;
            let expected: Vec<u64> = match to {
                "earliest" => (1..=7).collect(),
                // The place is that of the first sight, where somebody lived to note it.
                "latest" if noted.is_some() => vec![1, 7],
                "latest" if report.is_some() => (1..=7).collect(),
                "latest" => vec![1],
                // Not noted, the tick between stored what the event would have passed over.
                _ if noted.is_none() && report.is_some() => (1..=7).collect(),
                _ => vec![1, 4, 5, 6, 7],
            };
            assert_eq!(world.numbers(), expected, "{to}, died at {k}, noted {noted:?}, named {named}");
            assert_eq!(world.topic.subscription(SUBSCRIPTION).unwrap().backlog, 0);
            if begun {
                assert!(k > 15, "only {} deaths were tried", k - 1);
                break;
            }
        }
    }
}

//! The event that asks what would be done: it is what the next run does, and nothing is done.

use std::collections::BTreeMap;
use std::time::Duration;

use serde_json::{Value, json};
use tdmq_backup::Position;
use tdmq_backup::report::{Outcome, Report};
use tdmq_backup::testing::broker::{Act, CommandType, Config, When};
use tdmq_backup::testing::bucket::Op;

use crate::world::{NOW, SUBSCRIPTION, World};

fn dry() -> Value {
    json!({ "dry_run": true })
}

pub type Left = (BTreeMap<String, Vec<u8>>, String);

/// All that a run could have changed: every key with its bytes, and where the subscription stands.
pub fn left(world: &World) -> Left {
    let keys = world.bucket.keys().into_iter();
    let bucket = keys.map(|key| (key.clone(), world.bucket.read(&key).unwrap())).collect();
    (bucket, format!("{:?}", world.topic.subscription(SUBSCRIPTION)))
}

fn objects(report: &Report) -> Vec<(String, u64, u64)> {
    report.objects.iter().map(|object| (object.key.clone(), object.messages, object.bytes)).collect()
}

/// A dry run and then the run itself: the same objects and the same end, and by then nothing was changed.
async fn foretold(world: &World, event: Value, case: &str) -> Report {
    let before = left(world);
    let (commands, requests) = (world.broker.commands().len(), world.bucket.requests().len());
    let mut asked = event.clone();
    asked["dry_run"] = true.into();
    let planned = world.event(&asked).await;
    world.let_go().await;
    assert_eq!(left(world), before, "{case}");
    for recorded in &world.broker.commands()[commands..] {
        let kind = recorded.command.r#type();
        assert!(!matches!(kind, CommandType::Ack | CommandType::Unsubscribe), "{case}: {kind:?}");
    }
    let written = |op: &Op| !matches!(op, Op::Get | Op::Head | Op::List);
    assert!(!world.bucket.requests()[requests..].iter().any(written), "{case}");
    assert!(planned.dry_run && planned.complete_through.is_none(), "{case}: {planned:?}");
    assert!(planned.objects.iter().all(|object| !object.acknowledged), "{case}");

    let run = world.event(&event).await;
    assert_eq!(objects(&planned), objects(&run), "{case}");
    let outcome = if planned.outcome == Outcome::Planned { Outcome::Stored } else { planned.outcome };
    assert_eq!(outcome, run.outcome, "{case}: {planned:?}");
    let end = |report: &Report| {
        let Report { stop, messages, bytes, skipped_entries, backlog_entries, moved, passed_over, .. } = report;
        format!("{stop:?} {messages} {bytes} {skipped_entries} {backlog_entries:?} {moved:?} {passed_over:?}")
    };
    assert_eq!(end(&planned), end(&run), "{case}");
    planned
}

#[tokio::test]
async fn a_new_rule_is_foretold_wherever_it_starts_and_no_subscription_is_made() {
    let time = chrono::DateTime::from_timestamp_millis((NOW - 60_000 + 3) as i64).unwrap().to_rfc3339();
    for (start, messages) in [("continue", 6), ("earliest", 6), ("latest", 0), ("17:1", 5), (&time, 1)] {
        let mut world = World::new().await;
        world.set("start", format!("{start:?}"));
        let planned = foretold(&world, json!({}), "an empty topic").await;
        assert_eq!(planned.outcome, if start == "17:1" { Outcome::Failed } else { Outcome::NothingToDo }, "{start}");

        let mut world = World::new().await;
        world.set("start", format!("{start:?}"));
        world.send(&[1, 1, 3, 1]);
        let planned = foretold(&world, json!({}), start).await;
        assert_eq!(planned.messages, messages, "{start}: {planned:?}");
    }
}

#[tokio::test]
async fn a_subscription_that_somebody_used_before_is_foretold_from_where_it_stands() {
    for (start, messages) in [("continue", 3), ("earliest", 5), ("latest", 0), ("17:1", 4)] {
        let mut world = World::new().await;
        world.set("start", format!("{start:?}"));
        let ids = world.send(&[1, 1, 1, 1, 1]);
        world.topic.subscribe_at_earliest(SUBSCRIPTION);
        world.topic.set_mark_delete(SUBSCRIPTION, ids[1]);
        world.topic.acknowledge_one(SUBSCRIPTION, ids[3]);
        let planned = foretold(&world, json!({}), start).await;
        assert_eq!(planned.messages, messages, "{start}: {planned:?}");
        assert_eq!(planned.error.is_some(), start == "latest", "{planned:?}");
    }
}

#[tokio::test]
async fn a_rule_that_is_at_work_is_foretold_object_by_object() {
    let mut world = World::begun().await;
    foretold(&world, json!({}), "nothing new").await;
    world.set("max_messages", 3);
    world.send(&[1, 2, 2, 1, 1]);
    let planned = foretold(&world, json!({ "max_objects": 2 }), "two of three").await;
    assert_eq!((planned.objects.len(), planned.backlog_entries), (2, Some(1)), "{planned:?}");
    world.topic.roll_ledger();
    world.send(&[7, 1]);
    let planned = foretold(&world, json!({ "max_objects": 20 }), "an entry that is spread").await;
    assert!(planned.objects.len() >= 3, "{planned:?}");
    world.drain(2).await;
    world.assert_exactly_once();
}

#[tokio::test]
async fn what_a_dead_run_left_behind_is_foretold_too() {
    let mut world = World::begun().await;
    world.send(&[1, 1]);
    world.dies_before_storing().await;
    let ids = world.send(&[1]);
    foretold(&world, json!({}), "an announced object").await;
    foretold(&world, json!({}), "what came after it").await;
    world.topic.set_mark_delete(SUBSCRIPTION, Position::new(ids[0].ledger, -1));
    let planned = foretold(&world, json!({}), "a cursor that went back").await;
    assert_eq!((planned.messages, planned.skipped_entries), (0, 4), "{planned:?}");
    world.assert_exactly_once();
}

#[tokio::test]
async fn a_move_is_foretold_with_what_it_passes_over_and_is_still_to_be_made() {
    for (to, passes) in [("latest", true), ("earliest", false), ("17:2", true)] {
        let mut world = World::begun().await;
        world.send(&[1, 1, 1]);
        let event = json!({ "seek": to, "confirm": SUBSCRIPTION });
        let planned = foretold(&world, event, to).await;
        assert_eq!((planned.moved.is_some(), planned.passed_over.is_some()), (true, passes), "{to}: {planned:?}");
    }
}

#[tokio::test]
async fn the_partitions_of_a_topic_are_foretold_also_one_that_nobody_has_written_to() {
    let world = World::new().await;
    let topics = world.broker.partitioned("many", 2);
    world.broker.set_partitions("many", 3);
    let mut many = world;
    many.set("topic", "\"persistent://public/default/many\"");
    many.topic = topics.into_iter().next().unwrap();
    many.send(&[1, 2]);
    let planned = foretold(&many, json!({}), "partitions").await;
    let outcomes: Vec<_> = planned.partitions.iter().map(|one| one.outcome).collect();
    assert_eq!(outcomes, [Outcome::Planned, Outcome::NothingToDo, Outcome::NothingToDo], "{planned:?}");
    assert_eq!(planned.messages, 3, "{planned:?}");
}

#[tokio::test]
async fn a_dry_run_is_busy_where_somebody_reads_and_needs_a_broker_that_says_where_it_stands() {
    let mut world = World::begun().await;
    world.send(&[1]);
    world.broker.script(When::next(CommandType::GetLastMessageId), Act::NoAnswer);
    let asked = dry();
    let (held, report) = (world.run_for(Duration::from_secs(20)), async {
        world.broker.until(|broker| broker.faults_left() == 0).await;
        world.event(&asked).await
    });
    tokio::select! {
        biased;
        report = report => assert_eq!(report.outcome, Outcome::Busy, "{report:?}"),
        held = held => panic!("{held:?}"),
    }
    let mut world = World::with(Config { mark_delete_position: false, ..Config::default() }).await;
    world.send(&[1]);
    for _ in 0..2 {
        let before = left(&world);
        let report = world.event(&dry()).await;
        assert_eq!(report.error.as_ref().map(|error| error.kind), Some("invalid"), "{report:?}");
        assert_eq!(left(&world), before);
        world.run().await;
    }
}

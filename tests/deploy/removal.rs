//! A subscription that goes with its function: nothing runs meanwhile, and what is refused leaves everything as it was.

use serde_json::json;
use tdmq_backup::testing::broker::{Act, Broker, CommandType, Config, ServerError};

use crate::child::Running;
use crate::scf::RULE;
use crate::unsubscribe::{REMOVE, at, world, world_on};
use crate::world::World;
use crate::{lambda, scf};

const CONFIRMED: [&str; 4] = [REMOVE[0], REMOVE[1], "--confirm", "backup"];

/// A run attaches after so many subscriptions from now on: whoever looks finds it there.
fn a_run_comes_after(broker: &Broker, subscribed: usize) {
    let mut left = subscribed;
    broker.direct(move |kind| {
        if kind != CommandType::Subscribe {
            return None;
        }
        let others = left == 0;
        left = left.saturating_sub(1);
        others.then(|| Act::Error(ServerError::ConsumerBusy, "Exclusive consumer is already connected".into()))
    });
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_run_that_began_before_the_timer_went_off_keeps_everything_and_the_timer_is_on_again() {
    let (world, broker, topic) = world().await;
    // One look takes two: a reader that is refused shows that the subscription exists.
    a_run_comes_after(&broker, 2);
    let text = world.run("scf", &CONFIRMED).refused();
    assert!(text.contains("a run is under way") && text.contains("the timer is on again"), "{text}");
    assert_eq!(world.changes(), ["UpdateTriggerStatus", "UpdateTriggerStatus"]);
    assert!(!world.run("scf", &["status"]).ok().contains(", off"));
    assert_eq!(topic.subscription("backup").unwrap().backlog, 3);

    // A timer that somebody had switched off stays off.
    let off =
        json!({ "FunctionName": "orders-backup", "TriggerName": "orders-backup", "Type": "timer", "Enable": "CLOSE" });
    world.call_scf("UpdateTriggerStatus", &off);
    world.calls();
    a_run_comes_after(&broker, 2);
    let text = world.run("scf", &CONFIRMED).refused();
    assert!(text.contains("a run is under way") && text.contains("the timer is off, as it was found"), "{text}");
    assert_eq!(world.changes(), [""; 0]);
    assert_eq!(topic.subscription("backup").unwrap().backlog, 3);

    // Nor is one made where somebody removed it.
    world.call_scf(
        "DeleteTrigger",
        &json!({ "FunctionName": "orders-backup", "TriggerName": "orders-backup", "Type": "timer" }),
    );
    world.calls();
    a_run_comes_after(&broker, 2);
    let text = world.run("scf", &CONFIRMED).refused();
    assert!(text.contains("a run is under way") && text.contains("there is no timer"), "{text}");
    assert!(!text.contains("the timer is"), "{text}");
    assert_eq!(world.changes(), [""; 0]);
    assert_eq!(topic.subscription("backup").unwrap().backlog, 3);
}

/// Interrupted with its timer on, and once more with the timer off as the first one left it.
fn interrupted(world: &World, target: &str, [switch, run]: [&str; 2]) {
    world.run(target, &["deploy"]).ok();
    world.calls();
    let stored = |left: u64| json!({ "outcome": "stored", "messages": 5, "objects": [], "backlog_entries": left });
    let is_run = |line: &String| line.starts_with("stored: 5 messages");
    for (said, switched) in [
        ("the timer is off meanwhile; if this is cut off, make deploy switches it on", &[switch][..]),
        ("the timer is off, as it was found; if the function stays, make deploy switches it on", &[]),
    ] {
        world.replies(&(1..1000).rev().map(stored).collect::<Vec<_>>());
        let removal = Running::of(world, target, &["delete", "--drain"]);
        assert_eq!(removal.line(), said);
        assert!(is_run(&removal.line()));
        assert!(removal.interrupted().iter().all(is_run));
        let changes = world.changes();
        assert!(
            changes.starts_with(&switched.iter().map(|name| (*name).to_owned()).collect::<Vec<_>>()),
            "{changes:?}"
        );
        let after = &changes[switched.len()..];
        assert!(!after.is_empty() && after.iter().all(|change| change == run), "{changes:?}");
        assert!(world.run(target, &["status"]).ok().contains(", off"));
    }
    world.run(target, &["deploy"]).ok();
    assert!(!world.run(target, &["status"]).ok().contains(", off"));
}

#[test]
fn a_drain_on_scf_that_is_interrupted_has_said_how_the_timer_stands_and_removes_nothing() {
    interrupted(&scf::world(), "scf", ["UpdateTriggerStatus", "InvokeFunction"]);
}

#[test]
fn a_drain_on_lambda_that_is_interrupted_has_said_how_the_timer_stands_and_removes_nothing() {
    interrupted(&lambda::world(), "lambda", ["UpdateSchedule", "Invoke"]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_removal_that_the_cloud_refuses_keeps_the_subscription_and_the_timer_or_says_that_it_is_off() {
    let (world, _broker, topic) = world().await;
    world.refuses(&["DeleteTrigger"]);
    let text = world.run("scf", &CONFIRMED).refused();
    assert!(text.contains("DeleteTrigger was refused") && text.contains("the timer is on again"), "{text}");
    assert_eq!(world.changes(), ["UpdateTriggerStatus", "UpdateTriggerStatus"]);
    world.refuses(&["UpdateTriggerStatus"]);
    // It may have been carried out all the same.
    let text = world.run("scf", &CONFIRMED).refused();
    assert!(text.contains("the timer is on again"), "{text}");
    assert_eq!(world.changes(), ["UpdateTriggerStatus"]);
    world.refuses(&["DeleteFunction"]);
    let text = world.run("scf", &CONFIRMED).refused();
    assert!(text.contains("the timer is off or gone: delete again"), "{text}");
    assert_eq!(topic.subscription("backup").unwrap().backlog, 3);
    world.run("scf", &CONFIRMED).ok();
    assert_eq!(topic.subscription("backup"), None);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn on_lambda_the_schedule_is_off_before_the_stack_goes() {
    let broker = Broker::start(Config::default()).await;
    let topic = broker.topic("persistent://pulsar-abc/prod/orders");
    topic.subscribe_at_earliest("backup");
    let world = World::start();
    world.rule(&lambda::RULE.replace("pulsar+ssl://pulsar.example.com:6651", &broker.url()));
    world.run("lambda", &["deploy"]).ok();
    world.calls();
    a_run_comes_after(&broker, 2);
    let text = world.run("lambda", &CONFIRMED).refused();
    assert!(text.contains("a run is under way") && text.contains("the timer is on again"), "{text}");
    assert_eq!(world.changes(), ["UpdateSchedule", "UpdateSchedule"]);
    assert!(topic.subscription("backup").is_some() && !world.run("lambda", &["status"]).ok().contains(", off"));
    broker.direct(|_| None);
    world.run("lambda", &CONFIRMED).ok();
    assert_eq!(world.changes(), ["UpdateSchedule", "DeleteStack"]);
    assert_eq!(topic.subscription("backup"), None);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn functions_whose_shards_have_a_partition_in_common_read_the_same_subscription() {
    let (world, broker, topic) = world().await;
    let of = |name: &str, shard: &str| {
        let rule = RULE.replace("\"orders-backup\"", &format!("{name:?}"));
        world.rule(&at(&broker, &rule.replace("prefix  ", &format!("shard = {shard:?}\nprefix"))));
    };
    world.run("scf", &["delete"]).ok();
    of("thirds", "1/3");
    world.run("scf", &["deploy"]).ok();
    of("halves", "1/2");
    world.run("scf", &["deploy"]).ok();
    world.calls();
    let text = world.run("scf", &CONFIRMED).refused();
    assert!(text.contains("\"thirds\" reads the same subscription; nothing was removed"), "{text}");
    assert_eq!((world.changes(), topic.subscription("backup").unwrap().backlog), (vec![], 3));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_number_that_the_broker_does_not_say_is_unknown_and_not_nothing() {
    let (world, _broker, topic) = world_on(Config { backlog: false, ..Config::default() }).await;
    let text = world.run("scf", &REMOVE).refused();
    assert!(text.contains("owes an unknown number of entries"), "{text}");
    let text = world.run("scf", &CONFIRMED).ok();
    assert!(text.contains("an unknown number of entries that it owed are given up"), "{text}");
    assert_eq!(topic.subscription("backup"), None);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_topic_that_is_gone_does_not_keep_its_function() {
    let broker = Broker::start(Config { token: Some(crate::world::TOKEN.into()), ..Config::default() }).await;
    let world = scf::world();
    world.rule(&at(&broker, RULE));
    world.run("scf", &["deploy"]).ok();
    world.calls();
    let text = world.run("scf", &REMOVE).ok();
    assert!(text.contains("there is no subscription \"backup\"") && text.contains("or no such topic"), "{text}");
    assert_eq!(world.changes(), ["UpdateTriggerStatus", "DeleteTrigger", "DeleteFunction"]);
    assert!(!broker.has_topic("persistent://pulsar-abc/prod/orders"));
}

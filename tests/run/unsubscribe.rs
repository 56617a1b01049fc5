//! The subscription goes because somebody asked for it, and only then.

use std::time::Duration;

use tdmq_backup::Kind;
use tdmq_backup::run::subscription::{Owed, owed, unsubscribe};
use tdmq_backup::testing::broker::{Act, CommandType, Config, ServerError, When};
use tokio::time::Instant;

use crate::world::{SUBSCRIPTION, World};

fn soon(world: &World) -> Instant {
    world.clock.now() + Duration::from_secs(30)
}

#[tokio::test]
async fn what_is_owed_is_counted_and_given_up_and_no_object_or_head_is_touched() {
    let mut world = World::begun().await;
    world.send(&[1, 3]);
    let (function, before) = (world.function(), world.bucket.keys());
    let two = Owed { partitions: 1, entries: Some(2) };
    let standing = world.topic.subscription(SUBSCRIPTION);
    assert_eq!(owed(function.rule(), soon(&world)).await.unwrap(), two);
    assert_eq!(world.topic.subscription(SUBSCRIPTION), standing, "a look changes nothing");
    assert_eq!(unsubscribe(function.rule(), soon(&world)).await.unwrap(), two);
    assert_eq!((world.topic.subscription(SUBSCRIPTION), world.bucket.keys()), (None, before));
    // Nor does it come into being by being looked for, or removed, once more.
    assert_eq!(owed(function.rule(), soon(&world)).await.unwrap(), Owed::NONE);
    assert_eq!(unsubscribe(function.rule(), soon(&world)).await.unwrap(), Owed::NONE);
    assert_eq!(world.topic.subscription(SUBSCRIPTION), None);
    // Deployed again, the rule takes what was given up from the broker, and stores nothing twice.
    let report = world.run().await;
    assert_eq!(report.messages, 4, "{report:?}");
}

#[tokio::test]
async fn every_partition_loses_its_subscription_but_those_of_another_functions_shard() {
    let mut world = World::new().await;
    let partitions = world.broker.partitioned("many", 3);
    // Counted by the metadata, and made by nobody yet.
    world.broker.set_partitions("many", 4);
    world.set("topic", "\"persistent://public/default/many\"");
    world.run().await;
    let left = |name: &str| partitions.iter().filter(|topic| topic.subscription(name).is_some()).count();
    assert_eq!(left(SUBSCRIPTION), 3);
    world.set("shard", "\"2/2\"");
    assert_eq!(unsubscribe(world.function().rule(), soon(&world)).await.unwrap().partitions, 1);
    assert!(partitions[1].subscription(SUBSCRIPTION).is_none() && left(SUBSCRIPTION) == 2);
    world.rule.remove("shard");
    assert_eq!(unsubscribe(world.function().rule(), soon(&world)).await.unwrap().partitions, 2);
    assert_eq!(left(SUBSCRIPTION), 0);
    assert!(!world.broker.has_topic("many-partition-3"));
}

#[tokio::test]
async fn an_answer_that_is_lost_is_asked_for_again_and_a_refusal_leaves_everything() {
    for (act, gone) in [
        (Act::DropConnection, true),
        (Act::AnswerThenDrop, true),
        (Act::Error(ServerError::ServiceNotReady, "fenced".into()), true),
        (Act::Error(ServerError::AuthorizationError, "no".into()), false),
    ] {
        let mut world = World::begun().await;
        world.send(&[1]);
        let case = format!("{act:?}");
        world.broker.script(When::next(CommandType::Unsubscribe), act);
        let done = unsubscribe(world.function().rule(), soon(&world)).await;
        assert_eq!(world.topic.subscription(SUBSCRIPTION).is_none(), gone, "{case}");
        match gone {
            true => assert_eq!(done.unwrap(), Owed { partitions: 1, entries: Some(1) }, "{case}"),
            false => assert_eq!(done.unwrap_err().kind(), Kind::Denied, "{case}"),
        }
    }
}

#[tokio::test]
async fn a_subscription_that_a_run_holds_is_busy_and_stays() {
    let mut world = World::begun().await;
    world.send(&[1]);
    let function = world.function();
    let cluster = tdmq_backup::pulsar::Cluster::new(function.rule(), soon(&world));
    let holder = cluster.attach(&function.rule().topic, SUBSCRIPTION, tdmq_backup::pulsar::Initial::Earliest);
    let holder = holder.await.unwrap();
    assert_eq!(unsubscribe(function.rule(), soon(&world)).await.unwrap_err().kind(), Kind::Busy);
    assert_eq!(world.topic.subscription(SUBSCRIPTION).unwrap().backlog, 1);
    drop(holder);
}

#[tokio::test]
async fn a_topic_that_is_gone_has_no_subscription_and_does_not_come_into_being_by_being_asked() {
    let mut world = World::new().await;
    world.set("topic", "\"persistent://public/default/gone\"");
    assert_eq!(owed(world.function().rule(), soon(&world)).await.unwrap(), Owed::NONE);
    assert_eq!(unsubscribe(world.function().rule(), soon(&world)).await.unwrap(), Owed::NONE);
    // All of its partitions, and the metadata is left.
    world.broker.set_partitions("gone", 2);
    assert_eq!(owed(world.function().rule(), soon(&world)).await.unwrap(), Owed::NONE);
    assert_eq!(unsubscribe(world.function().rule(), soon(&world)).await.unwrap(), Owed::NONE);
    assert!(!world.broker.has_topic("gone") && !world.broker.has_topic("gone-partition-0"));
    // Any other refusal is none of these.
    world.broker.set_token("another");
    assert_eq!(owed(world.function().rule(), soon(&world)).await.unwrap_err().kind(), Kind::Denied);
}

#[tokio::test]
async fn what_the_broker_does_not_say_is_not_taken_for_nothing() {
    let mut world = World::with(Config { backlog: false, ..Config::default() }).await;
    world.send(&[1, 1]);
    world.topic.subscribe_at_earliest(SUBSCRIPTION);
    let unknown = Owed { partitions: 1, entries: None };
    assert_eq!(owed(world.function().rule(), soon(&world)).await.unwrap(), unknown);
    assert_eq!(unsubscribe(world.function().rule(), soon(&world)).await.unwrap(), unknown);
    assert_eq!(world.topic.subscription(SUBSCRIPTION), None);
}

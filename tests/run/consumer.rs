//! The consumer by itself, where a run would hide what it does.

use std::time::Duration;

use tdmq_backup::pulsar::{Cluster, Initial};
use tdmq_backup::source::{Next, Source};
use tdmq_backup::testing::broker::{Act, CommandType, Config, When};
use tokio::time::Instant;

use crate::world::World;

async fn next(source: &mut impl Source, until: Instant) -> i64 {
    match source.next(until).await.unwrap() {
        Next::Entry(entry) => entry.position.entry,
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn a_rewind_starts_at_the_first_entry_not_acknowledged_whatever_was_on_its_way() {
    let mut world = World::with(Config { max_message_size: 1 << 20, ..Config::default() }).await;
    world.send(&[1; 20]);
    let until = world.clock.now() + Duration::from_secs(10);
    let function = world.function();
    let rule = function.rule();
    let cluster = Cluster::new(rule, until);
    let mut source = cluster.attach(&rule.topic, &rule.subscription, Initial::Earliest).await.unwrap();
    // More entries than the first are granted, and wait unread.
    assert_eq!(next(&mut source, until).await, 0);
    source.rewind().await.unwrap();
    for expected in 0..20 {
        assert_eq!(next(&mut source, until).await, expected);
    }
    source.close().await;
}

fn pings(world: &World) -> usize {
    world.broker.commands().iter().filter(|command| command.kind == CommandType::Ping).count()
}

/// A broker that answers when it is asked whether it is there.
#[tokio::test]
async fn a_slow_tail_is_not_a_dead_one() {
    let mut world = World::new().await;
    world.send(&[1]);
    let far = world.clock.now() + Duration::from_secs(3600);
    let function = world.function();
    let rule = function.rule();
    let cluster = Cluster::new(rule, far);
    let mut source = cluster.attach(&rule.topic, &rule.subscription, Initial::Earliest).await.unwrap();
    assert_eq!(next(&mut source, far).await, 0);
    let attachment = source.attachment();
    tokio::time::pause();
    let until = world.clock.now() + Duration::from_secs(600);
    assert!(matches!(source.next(until).await.unwrap(), Next::Silence));
    assert!(pings(&world) >= 15, "{}", pings(&world));
    assert_eq!(source.attachment(), attachment);
}

#[tokio::test]
async fn a_connection_that_is_silent_for_a_minute_is_lost_and_another_one_takes_its_place() {
    let mut world = World::new().await;
    world.send(&[1]);
    let far = world.clock.now() + Duration::from_secs(3600);
    let function = world.function();
    let rule = function.rule();
    let cluster = Cluster::new(rule, far);
    let mut source = cluster.attach(&rule.topic, &rule.subscription, Initial::Earliest).await.unwrap();
    assert_eq!(next(&mut source, far).await, 0);
    world.broker.script(When::next(CommandType::Ping), Act::NoAnswer);
    let attachment = source.attachment();
    tokio::time::pause();
    let started = world.clock.now();
    // Asked in small pieces, as a run does: the silence adds up all the same.
    loop {
        match source.next(world.clock.now() + Duration::from_secs(1)).await.unwrap() {
            Next::Silence => assert!(started.elapsed() < Duration::from_secs(90)),
            Next::Reattached => break,
            Next::Entry(entry) => panic!("{}", entry.position),
        }
    }
    assert!(started.elapsed() >= Duration::from_secs(59));
    assert_ne!(source.attachment(), attachment);
    assert_eq!(world.broker.faults_left(), 0);
    // What was accepted before is not brought again; what comes is.
    world.send(&[1]);
    assert_eq!(next(&mut source, far).await, 1);
}

/// Brokers close a connection whose pings nobody answers, and between two partitions nobody does.
#[tokio::test]
async fn a_connection_that_was_lost_while_nobody_used_it_is_replaced() {
    let mut world = World::new().await;
    world.send(&[1]);
    let function = world.function();
    let rule = function.rule();
    let cluster = Cluster::new(rule, world.clock.now() + Duration::from_secs(20));
    assert_eq!(cluster.partitions(&rule.topic).await.unwrap(), 0);
    assert_eq!(world.broker.connections(), 1);
    world.broker.drop_connections();
    // By the time another connection has been served, this one's end has arrived.
    Cluster::new(rule, world.clock.now() + Duration::from_secs(20)).partitions(&rule.topic).await.unwrap();
    cluster.attach(&rule.topic, &rule.subscription, Initial::Earliest).await.unwrap();
}

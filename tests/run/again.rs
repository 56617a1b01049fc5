//! More histories that once broke the promise.

use std::future::poll_fn;
use std::task::Poll;
use std::time::Duration;

use tdmq_backup::testing::broker::{Act, CommandType, Config, When};
use tdmq_backup::testing::bucket::Op;
use tdmq_backup::{Clock, Position};

use crate::world::{NOW, SUBSCRIPTION, World};

#[tokio::test]
async fn what_was_skipped_is_not_acknowledged_over_entries_that_come_again() {
    let mut world = World::new().await;
    let l = Config::default().first_ledger;
    world.set("start", "\"latest\"");
    world.send(&[1, 1]);
    world.run().await;
    world.send(&[1]);
    world.run().await;
    assert_eq!(world.numbers(), [3]);
    world.send(&[1, 1]);
    world.dies_before_storing().await;
    let key = world.head_key();
    let mut head = world.head().unwrap();
    head["next"]["layout"] = 99.into();
    world.bucket.plant(&key, head.to_string().as_bytes(), &[]).unwrap();
    world.clock = Clock::starting_at(NOW + 30 * 60_000);
    world.topic.set_mark_delete(SUBSCRIPTION, Position::new(l, 1));
    let count = || world.broker.commands().iter().filter(|c| c.kind == CommandType::Subscribe).count();
    let before = count();
    world.broker.script(When::nth(CommandType::Subscribe, 2), Act::Delay(Duration::from_millis(300)));
    let meddle = async {
        world
            .broker
            .until(|b| b.commands().iter().filter(|c| c.kind == CommandType::Subscribe).count() >= before + 2)
            .await;
        assert!(!world.topic.subscription(SUBSCRIPTION).unwrap().attached);
        world.topic.set_mark_delete(SUBSCRIPTION, Position::new(l, -1));
    };
    tokio::time::timeout(Duration::from_secs(30), async { tokio::join!(world.run(), meddle) }).await.unwrap();
    world.assert_nothing_acknowledged_unstored();
    world.drain(5).await;
    world.assert_exactly_once();
}

#[tokio::test]
async fn what_was_proved_by_one_object_is_acknowledged_before_the_next_is_read() {
    let mut world = World::new().await;
    let l = Config::default().first_ledger;
    world.set("max_messages", 2);
    world.send(&[1; 6]);
    world.drain(6).await;
    let objects = world.objects();
    let meta: Vec<_> = world.bucket.metadata(&objects[1]).unwrap().into_iter().collect();
    world.bucket.plant(&objects[1], b"garbage", &meta).unwrap();
    world.topic.set_mark_delete(SUBSCRIPTION, Position::new(l, -1));
    for _ in 0..2 {
        world.run().await;
    }
    assert_eq!(world.mark_delete(), Position::new(l, 1));
}

#[tokio::test]
async fn a_shorter_run_does_not_shorten_the_wait_for_a_late_write() {
    let mut world = World::begun().await;
    world.send(&[1; 3]);
    world.dies_before_storing().await;
    let until = world.head().unwrap()["next"]["until"].clone();
    let function = world.function();
    let puts = || world.bucket.requests().iter().filter(|op| **op == Op::Put).count();
    let before = puts();
    let mut watch = |_| {};
    let mut run =
        Some(Box::pin(function.invoke(Some(world.clock.now() + Duration::from_secs(20)), &world.clock, &mut watch)));
    poll_fn(|c| {
        if puts() > before {
            return Poll::Ready(());
        }
        run.as_mut().unwrap().as_mut().poll(c).map(|r| panic!("{r:?}"))
    })
    .await;
    drop(run.take());
    let now = world.head().unwrap()["next"]["until"].clone();
    assert!(now.as_u64() >= until.as_u64());
}

#[tokio::test]
async fn an_announced_object_between_others_is_pinned_like_any() {
    async fn prepared() -> World {
        let mut world = World::new().await;
        world.run().await;
        let ids = world.send(&[1, 1, 1, 1]);
        world.topic.acknowledge_one(SUBSCRIPTION, ids[1]);
        world.topic.acknowledge_one(SUBSCRIPTION, ids[2]);
        world.run().await;
        assert_eq!(world.numbers(), [1, 4]);
        world.topic.set_mark_delete(SUBSCRIPTION, Position::new(ids[0].ledger, -1));
        world
    }
    let mut world = prepared().await;
    world.dies_before_storing().await;
    let key = world.head().unwrap()["next"]["key"].as_str().unwrap().to_owned();
    let other = prepared().await;
    other.run().await;
    let bytes = other.bucket.read(&key).unwrap();
    let digest = other.bucket.metadata(&key).unwrap()["sha256"].clone();
    // The next run, at once, by a rule that says smaller; then the dead run's PUT arrives.
    world.set("max_messages", 1);
    world.run().await;
    world.bucket.plant(&key, &bytes, &[("sha256".into(), digest)]).unwrap();
    for _ in 0..6 {
        world.run().await;
    }
    world.assert_exactly_once();
}

//! How a run begins, whatever the last one, the broker, an administrator or a lifecycle rule left behind.

use std::time::Duration;

use tdmq_backup::drain::Progress;
use tdmq_backup::report::{Outcome, Stop};
use tdmq_backup::testing::broker::{Broker, Config};
use tdmq_backup::testing::bucket::{Fault, Op};
use tdmq_backup::testing::compose::{Composer, Draft};
use tdmq_backup::{Clock, Position};

use crate::world::{NOW, SUBSCRIPTION, World};

#[tokio::test]
async fn an_announced_object_is_written_exactly_as_announced_whatever_the_rule_says_now() {
    let mut world = World::begun().await;
    world.send(&[1, 3, 1, 2]);
    world.dies_before_storing().await;
    let next = world.head().unwrap()["next"].clone();
    world.set("max_messages", 2);
    world.set("compression", "\"none\"");
    world.send(&[1]);
    let report = world.run().await;
    assert_eq!(report.stop, Some(Stop::Pinned), "{report:?}");
    assert_eq!(report.objects[0].key, next["key"]);
    assert_eq!(world.bucket.metadata(&report.objects[0].key).unwrap()["sha256"], next["digest"]);
    world.drain(3).await;
    world.assert_exactly_once();
}

#[tokio::test]
async fn an_announced_object_that_does_not_come_again_is_waited_for_and_then_planned_anew() {
    let mut world = World::begun().await;
    world.send(&[1, 1, 1]);
    world.dies_before_storing().await;
    world.topic.expire(2);
    let report = world.run().await;
    assert_eq!(report.outcome, Outcome::Busy);
    assert!(report.error.unwrap().message.contains("does not come again"));
    assert_eq!(world.objects().len(), 1);
    // The dead run's deadline was its window and two minutes; a quarter of an hour after that it is over.
    world.clock = Clock::starting_at(NOW + 23 * 60_000);
    let report = world.run().await;
    assert_eq!((report.outcome, report.messages), (Outcome::Stored, 2), "{report:?}");
    assert_eq!(report.warnings.len(), 1);
    assert_eq!(world.numbers(), [1, 3, 4]);
    assert_eq!(world.run().await.outcome, Outcome::NothingToDo);
}

#[tokio::test]
async fn a_rewind_to_the_beginning_stores_nothing_twice() {
    let mut world = World::new().await;
    world.set("max_messages", 3);
    world.send(&[1, 2, 3, 1, 1]);
    world.drain(6).await;
    let objects = world.objects();
    world.topic.set_mark_delete(SUBSCRIPTION, Position::new(Config::default().first_ledger, -1));
    let report = world.run().await;
    assert_eq!((report.outcome, report.skipped_entries), (Outcome::Stored, 5));
    assert_eq!(world.objects(), objects);
    world.send(&[1]);
    world.topic.set_mark_delete(SUBSCRIPTION, Position::new(Config::default().first_ledger, 1));
    world.drain(3).await;
    world.assert_exactly_once();
}

#[tokio::test]
async fn what_a_latest_start_passed_over_is_stored_when_an_administrator_goes_back() {
    let mut world = World::new().await;
    world.set("start", "\"latest\"");
    world.send(&[1, 1]);
    world.run().await;
    world.send(&[1, 1]);
    world.run().await;
    assert_eq!(world.numbers(), [3, 4]);
    world.topic.set_mark_delete(SUBSCRIPTION, Position::new(Config::default().first_ledger, -1));
    world.send(&[1]);
    world.drain(6).await;
    world.assert_exactly_once();
    // Hole, first object, new entry: no object reaches over another.
    assert_eq!(world.objects().len(), 3);
}

#[tokio::test]
async fn another_topic_of_the_same_name_is_refused() {
    let mut world = World::new().await;
    world.send(&[1, 1]);
    world.run().await;
    let other = Broker::start(Config::default()).await;
    let topic = other.topic("orders");
    topic.append(Composer::new("somebody-else").at(NOW).single(Draft::new("{\"n\":99}")));
    let url = format!("{:?}", other.url());
    world.set("service_url", url);
    let report = world.run().await;
    assert_eq!(report.outcome, Outcome::Failed);
    let error = report.error.unwrap();
    assert_eq!(error.kind, "conflict");
    assert!(error.message.contains("another one"), "{}", error.message);
    assert_eq!(topic.subscription(SUBSCRIPTION).unwrap().backlog, 1);
    world.assert_exactly_once();
}

/// Somebody copied another partition's object into the folder: its ids are not those of this one, whatever stands before
/// their last number.
#[tokio::test]
async fn another_partitions_object_holds_nothing_of_this_one() {
    let mut world = World::new().await;
    world.set("compression", "\"none\"");
    world.send(&[1, 1]);
    world.run().await;
    let key = world.objects().remove(0);
    let (bytes, metadata) = (world.bucket.read(&key).unwrap(), world.bucket.metadata(&key).unwrap());
    let other = String::from_utf8(bytes).unwrap().replace(":-1\",\"publish_time\"", ":3\",\"publish_time\"");
    let metadata: Vec<_> = metadata.into_iter().collect();
    world.bucket.plant(&key, other.as_bytes(), &metadata).unwrap();
    world.topic.set_mark_delete(SUBSCRIPTION, Position::new(Config::default().first_ledger, -1));
    let report = world.run().await;
    assert_eq!(report.error.as_ref().map(|error| error.kind), Some("conflict"), "{report:?}");
    assert_eq!(world.topic.subscription(SUBSCRIPTION).unwrap().backlog, 2);
}

#[tokio::test]
async fn an_object_removed_by_hand_is_stored_again_if_its_entries_come_again() {
    let mut world = World::new().await;
    world.set("max_messages", 2);
    world.send(&[2, 2]);
    world.drain(4).await;
    world.bucket.remove(&world.objects()[0]);
    world.topic.set_mark_delete(SUBSCRIPTION, Position::new(Config::default().first_ledger, -1));
    world.drain(4).await;
    world.assert_exactly_once();
}

#[tokio::test]
async fn a_store_that_refuses_costs_a_run_and_nothing_else() {
    let mut world = World::begun().await;
    world.send(&[1, 2]);
    for _ in 0..20 {
        world.bucket.fail_next(Op::List, Fault::Refuse(503, "SlowDown"));
    }
    let report = world.run_for(Duration::from_secs(2)).await;
    world.bucket.mend();
    assert_eq!((report.outcome, report.objects.len()), (Outcome::Failed, 0));
    world.assert_nothing_acknowledged_unstored();
    announced_or_not(&world).await;
    world.drain(3).await;
    world.assert_exactly_once();
}

#[tokio::test]
async fn an_object_that_the_store_refuses_is_not_acknowledged_and_comes_again() {
    let mut world = World::begun().await;
    let before = world.mark_delete();
    world.send(&[1, 2]);
    // At this instant the head is written and the object is not.
    let refuse = |progress: Progress| {
        if progress.storing.is_some() {
            world.bucket.fail_next(Op::Put, Fault::Refuse(403, "AccessDenied"));
        }
    };
    let report = world.run_while(refuse).await;
    assert_eq!((report.outcome, report.objects.len()), (Outcome::Failed, 0), "{report:?}");
    assert_eq!((world.mark_delete(), world.objects().len()), (before, 1));
    world.drain(3).await;
    world.assert_exactly_once();
}

async fn announced_or_not(world: &World) {
    world.bucket.fail_next(Op::Put, Fault::Refuse(403, "AccessDenied"));
    assert_eq!(world.run().await.outcome, Outcome::Failed);
    world.assert_nothing_acknowledged_unstored();
}

#[tokio::test]
async fn an_unanswered_put_is_reported_as_unknown_and_found_out_by_the_next_run() {
    for fault in [Fault::Hang, Fault::StoreThenHang] {
        let mut world = World::new().await;
        world.send(&[1, 2]);
        // The first write of all is the head; its answer is awaited no longer than the run may last.
        world.bucket.fail_next(Op::Put, fault);
        let report = world.run_for(Duration::from_secs(2)).await;
        assert_eq!(report.outcome, Outcome::Unknown, "{report:?}");
        world.assert_nothing_acknowledged_unstored();
        world.drain(3).await;
        world.assert_exactly_once();
    }
}

#[tokio::test]
async fn an_object_stored_without_an_answer_is_recognised() {
    let mut world = World::begun().await;
    world.send(&[1, 2]);
    world.dies_before_storing().await;
    // This run's first PUT is the announcement, its second the object.
    world.bucket.fail_next(Op::Put, Fault::StoreThenDrop);
    world.run().await;
    world.drain(4).await;
    world.assert_exactly_once();
}

#[tokio::test]
async fn other_bytes_under_the_announced_name_are_not_taken_for_the_object() {
    let mut world = World::begun().await;
    let before = world.mark_delete();
    world.send(&[1, 2]);
    world.dies_before_storing().await;
    let key = world.head().unwrap()["next"]["key"].as_str().unwrap().to_owned();
    world.bucket.plant(&key, b"theirs", &[("sha256".into(), "0".repeat(64))]).unwrap();
    for _ in 0..2 {
        let report = world.run().await;
        let error = report.error.unwrap();
        assert_eq!((report.outcome, error.kind), (Outcome::Failed, "conflict"), "{}", error.message);
        assert!(error.message.contains(&key), "{}", error.message);
        assert_eq!((world.mark_delete(), world.bucket.read(&key).as_deref()), (before, Some(&b"theirs"[..])));
    }
    world.bucket.remove(&key);
    world.drain(4).await;
    world.assert_exactly_once();
}

#[tokio::test]
async fn an_announced_object_that_never_goes_through_is_planned_anew_and_smaller_after_a_while() {
    let mut world = World::begun().await;
    world.send(&[1; 500]);
    for _ in 0..3 {
        world.dies_before_storing().await;
    }
    assert_eq!(world.head().unwrap()["next"]["runs"], 3);
    let report = world.run().await;
    assert_eq!(report.outcome, Outcome::Busy);
    assert!(report.error.unwrap().message.contains("lower max_bytes"));
    world.clock = Clock::starting_at(NOW + 23 * 60_000);
    let report = world.run().await;
    assert_eq!((report.outcome, report.messages), (Outcome::Stored, 125), "{report:?}");
    world.drain(3).await;
    world.assert_exactly_once();
}

#[tokio::test]
async fn somebody_elses_files_in_the_folder_are_left_alone() {
    let mut world = World::begun().await;
    world.send(&[1, 1]);
    let first = world.objects().remove(0);
    let folder = &first[..=first.rfind('/').unwrap()];
    let ledger = Config::default().first_ledger;
    world.bucket.plant(&format!("{folder}{ledger:019}-{:019}_backup.bak", 1), b"mine", &[]).unwrap();
    let report = world.run().await;
    assert_eq!((report.outcome, report.messages), (Outcome::Stored, 2), "{report:?}");
    assert_eq!(world.run().await.outcome, Outcome::NothingToDo);
}

#[tokio::test]
async fn an_entry_inside_an_objects_span_that_the_object_does_not_hold_is_stored() {
    let mut world = World::new().await;
    world.run().await;
    let ids = world.send(&[1, 1, 1]);
    // The subscription is shared between runs: one message in the middle is acknowledged, and not delivered.
    world.topic.acknowledge_one(SUBSCRIPTION, ids[1]);
    world.run().await;
    assert_eq!(world.numbers(), [1, 3]);
    world.topic.set_mark_delete(SUBSCRIPTION, Position::new(ids[0].ledger, -1));
    world.drain(4).await;
    world.assert_exactly_once();
}

//! Objects that a lifecycle rule or a hand removed, with the head and without it.

use tdmq_backup::report::{Outcome, Report};
use tdmq_backup::testing::broker::Config;
use tdmq_backup::{Clock, Position};

use crate::world::{NOW, SUBSCRIPTION, World};

/// Five objects of two messages each, the fifth announced by the head and all acknowledged.
async fn five() -> World {
    let mut world = World::new().await;
    world.set("max_messages", 2);
    world.send(&[2; 5]);
    world.drain(6).await;
    assert_eq!(world.objects().len(), 5);
    world
}

fn beginning() -> Position {
    Position::new(Config::default().first_ledger, -1)
}

fn seq(world: &World, key: &str) -> String {
    world.bucket.metadata(key).unwrap()["seq"].clone()
}

/// What is removed, the number of the next object with the head and without, and whether the head misses its
/// newest object.
const REMOVED: [(&str, &[usize], &str, &str, bool); 5] = [
    ("the oldest", &[0], "6", "6", false),
    ("one in the middle", &[2], "6", "6", false),
    ("the newest", &[4], "6", "5", true),
    ("the two newest", &[3, 4], "6", "4", true),
    ("all", &[0, 1, 2, 3, 4], "6", "1", true),
];

#[tokio::test]
async fn removed_objects_change_nothing_for_what_comes_next_and_come_again_when_the_broker_delivers_them_again() {
    for (what, which, with_head, without, newest) in REMOVED {
        for head_too in [false, true] {
            let (mut world, name) = (five().await, format!("{what}, the head too: {head_too}"));
            let (objects, at) = (world.objects(), world.mark_delete());
            for n in which {
                assert!(world.bucket.remove(&objects[*n]));
            }
            if head_too {
                world.bucket.remove(&world.head_key());
            }
            let left = world.objects();

            // Nothing is owed: nothing is made good, and nothing else goes wrong.
            let report = world.run().await;
            assert_eq!((report.outcome, report.error.is_none()), (Outcome::NothingToDo, true), "{name}");
            assert_eq!((world.objects(), world.mark_delete()), (left.clone(), at), "{name}");

            // What comes next is stored as ever, and its number shows the gap as far as anybody can know.
            let next = world.send(&[2])[0];
            let report = world.run().await;
            assert_eq!((report.outcome, report.messages), (Outcome::Stored, 2), "{name}: {report:?}");
            let said = report.warnings.iter().any(|text| text.contains("expired or deleted"));
            assert_eq!(said, newest && !head_too, "{name}: {report:?}");
            let key = &report.objects[0].key;
            assert_eq!(seq(&world, key), if head_too { without } else { with_head }, "{name}");
            assert_eq!((world.objects().len(), world.mark_delete()), (left.len() + 1, next), "{name}");

            // The broker goes back to the beginning: what is there is skipped, what is not is stored.
            world.topic.set_mark_delete(SUBSCRIPTION, beginning());
            world.clock = Clock::starting_at(NOW + 30 * 60_000);
            world.drain(8).await;
            world.assert_exactly_once();
            assert_eq!(world.mark_delete(), next, "{name}");
        }
    }
}

/// A lifecycle rule is no news where the rule has long known that all of it was stored.
#[tokio::test]
async fn what_expires_days_after_it_was_stored_is_not_called_missing_though_nothing_was_sent_meanwhile() {
    const DAY_MS: u64 = 24 * 60 * 60 * 1000;
    for (objects, days) in [(1, 1), (1, 3), (5, 1), (5, 3)] {
        let mut world = World::new().await;
        world.set("max_messages", 2);
        world.send(&vec![2; objects]);
        world.drain(objects + 1).await;
        let said = |report: Report, when: &str| {
            assert_eq!((report.missing.len(), report.warnings.len()), (0, 0), "{objects}, {days}, {when}: {report:?}");
            assert!(report.error.is_none(), "{report:?}");
        };
        for day in 1..=days {
            world.clock = Clock::starting_at(NOW + day * DAY_MS);
            said(world.run().await, "idle");
        }
        world.objects().iter().for_each(|key| assert!(world.bucket.remove(key)));
        for day in [days, days + 1, days + 2] {
            world.clock = Clock::starting_at(NOW + day * DAY_MS + 60_000);
            said(world.run().await, "expired");
        }
        world.send(&[1]);
        said(world.run().await, "the next message");
    }
}

#[tokio::test]
async fn the_only_object_of_a_rule_is_said_to_be_missing_and_comes_again_where_its_entries_do() {
    let mut world = World::begun().await;
    world.bucket.remove(&world.objects()[0]);
    let next = world.send(&[1])[0];
    let report = world.run().await;
    assert_eq!((report.outcome, world.mark_delete()), (Outcome::Stored, next), "{report:?}");
    assert!(report.warnings[0].contains("expired or deleted"), "{report:?}");
    // The chain does not begin anew: whoever reads it sees that one is missing.
    let metadata = world.bucket.metadata(&report.objects[0].key).unwrap();
    assert_eq!((metadata["seq"].as_str(), metadata.contains_key("previous-id")), ("2", true));
    world.topic.set_mark_delete(SUBSCRIPTION, beginning());
    // Its writer might still be at it.
    assert_eq!(world.run().await.outcome, Outcome::Busy);
    world.clock = Clock::starting_at(NOW + 30 * 60_000);
    world.drain(4).await;
    world.assert_exactly_once();
}

#[tokio::test]
async fn removed_objects_whose_entries_do_not_come_again_hold_nothing_up_and_the_newest_are_named() {
    for head_too in [false, true] {
        let mut world = five().await;
        let (objects, entries) = (world.objects(), world.topic.entries());
        let last = world.send(&[2])[0];
        world.topic.set_mark_delete(SUBSCRIPTION, beginning());
        // The second object, and the newest, which the head had announced.
        for n in [1, 4] {
            world.bucket.remove(&objects[n]);
            world.topic.acknowledge_one(SUBSCRIPTION, entries[n].position);
        }
        if head_too {
            world.bucket.remove(&world.head_key());
        }
        world.clock = Clock::starting_at(NOW + 30 * 60_000);
        let mut missing = Vec::new();
        loop {
            let report = world.run().await;
            assert!(report.error.is_none(), "{report:?}");
            missing.extend(report.missing.iter().flat_map(|gap| [gap.first, gap.last]));
            if report.outcome == Outcome::NothingToDo {
                break;
            }
        }
        // What was stored and lies before others is missing in the chain alone.
        assert_eq!(missing, [entries[4].position; 2], "the head too: {head_too}");
        assert_eq!(world.numbers(), [1, 2, 5, 6, 7, 8, 11, 12]);
        assert_eq!(world.mark_delete(), last);
    }
}

//! Entries that are larger than the caps by themselves.

use tdmq_backup::Position;
use tdmq_backup::report::{Outcome, Stop};
use tdmq_backup::testing::broker::Config;

use crate::world::{SUBSCRIPTION, World};

const MOST: usize = 80;

/// First and last id and the count in each object's name, in order.
fn spans(world: &World) -> Vec<String> {
    let mut names: Vec<String> =
        world.objects().iter().map(|key| key.rsplit('/').next().unwrap().replace("0000000000000", "")).collect();
    names.sort();
    names
}

#[tokio::test]
async fn a_large_batch_is_spread_over_objects_that_do_not_count_and_acknowledged_when_all_are_stored() {
    let mut world = World::new().await;
    world.set("max_messages", 5);
    let ids = world.send(&[1, 12, 1, 4]);
    let report = world.run().await;
    assert_eq!((report.outcome, report.stop), (Outcome::Stored, Some(Stop::MaxMessages)));
    assert_eq!(world.mark_delete(), ids[0]);
    let report = world.run().await;
    // Five, five, and the two that are left with the next entry; the fourth entry does not fit.
    assert_eq!(report.objects.iter().map(|it| it.messages).collect::<Vec<_>>(), [5, 5, 3]);
    assert_eq!(report.objects.iter().map(|it| it.acknowledged).collect::<Vec<_>>(), [false, false, true]);
    assert_eq!(report.stop, Some(Stop::MaxMessages));
    assert_eq!(world.mark_delete(), ids[2]);
    world.drain(3).await;
    world.assert_exactly_once();
    assert_eq!(
        spans(&world),
        [
            "000017-000000_000017-000000_1.jsonl.gz",
            "000017-000001-000000_000017-000001-000004_5.jsonl.gz",
            "000017-000001-000005_000017-000001-000009_5.jsonl.gz",
            "000017-000001-000010_000017-000002_3.jsonl.gz",
            "000017-000003_000017-000003_4.jsonl.gz",
        ]
    );
}

#[tokio::test]
async fn max_bytes_spreads_a_batch_and_only_a_single_message_may_exceed_it() {
    for compression in ["gzip", "none"] {
        let mut world = World::new().await;
        world.set("max_bytes", 10_000);
        world.set("compression", format!("{compression:?}"));
        world.send_entry(30, 1000);
        world.send_entry(2, 9_990);
        world.send_entry(1, 20_000);
        let mut warnings = Vec::new();
        for _ in 0..3 {
            let report = world.run().await;
            for object in &report.objects {
                assert!(object.bytes_before_compression <= 10_000 || object.messages == 1, "{object:?}");
            }
            warnings.extend(report.warnings);
        }
        world.assert_exactly_once();
        assert_eq!(world.run().await.outcome, Outcome::NothingToDo);
        assert_eq!(warnings.iter().filter(|it| it.contains("max_bytes")).count(), 3, "{warnings:?}");
    }
}

async fn world() -> World {
    let mut world = World::begun().await;
    world.set("max_messages", 3);
    world.send(&[1, 8, 2, 7, 1]);
    world
}

#[tokio::test]
async fn a_death_at_any_request_while_an_entry_is_spread_loses_and_repeats_nothing() {
    for rewound in [0, 2] {
        for k in 1..MOST {
            let world = world().await;
            world.run().await;
            let finished = world.run_dying_at(k).await.is_some();
            world.assert_nothing_acknowledged_unstored();
            world.broker.crash_rewinding(rewound);
            world.let_go().await;
            world.drain(12).await;
            world.assert_exactly_once();
            if finished {
                assert!(k > 20, "only {k} deaths were tried");
                break;
            }
            assert!(k + 1 < MOST, "a run makes more than {MOST} requests");
        }
    }
}

#[tokio::test]
async fn a_spread_entry_that_a_dead_run_left_half_stored_is_continued_where_it_ended_under_any_caps() {
    for k in 12..40 {
        for caps in [2, 5, 100] {
            let mut world = world().await;
            world.run().await;
            world.run_dying_at(k).await;
            world.set("max_messages", caps);
            world.drain(20).await;
            world.assert_exactly_once();
            world.assert_nothing_acknowledged_unstored();
        }
    }
}

#[tokio::test]
async fn a_rewind_over_spread_entries_stores_nothing_twice() {
    let world = world().await;
    world.drain(12).await;
    let objects = world.objects();
    world.topic.set_mark_delete(SUBSCRIPTION, Position::new(Config::default().first_ledger, -1));
    let report = world.run().await;
    assert_eq!((report.skipped_entries, report.messages), (6, 0), "{report:?}");
    assert_eq!(world.objects(), objects);
}

#[tokio::test]
async fn a_part_that_somebody_removed_is_stored_again_and_no_other() {
    let world = world().await;
    world.drain(12).await;
    let part = world.objects().into_iter().find(|key| key.contains("-000003_")).unwrap();
    world.bucket.remove(&part);
    world.topic.set_mark_delete(SUBSCRIPTION, Position::new(Config::default().first_ledger, -1));
    let report = world.run().await;
    // With that part the entry is whole again, and is passed over like the others.
    assert_eq!((report.skipped_entries, report.messages), (6, 3), "{report:?}");
    world.drain(3).await;
    world.assert_exactly_once();
}

#[tokio::test]
async fn a_message_of_many_megabytes_is_stored_byte_for_byte() {
    for compression in ["gzip", "none"] {
        let mut world = World::with(Config { max_message_size: 32 << 20, ..Config::default() }).await;
        world.set("compression", format!("{compression:?}"));
        world.send(&[1]);
        world.send_entry(1, 9 << 20);
        world.send_entry(3, 2 << 20);
        world.send(&[2]);
        world.drain(3).await;
        world.assert_exactly_once();
        let lengths: Vec<usize> =
            world.all_lines().iter().map(|line| line["value"]["pad"].as_str().unwrap().len()).collect();
        assert_eq!(lengths, [20, 9 << 20, 2 << 20, 2 << 20, 2 << 20, 20, 20]);
        // Read back by us, too.
        world.topic.set_mark_delete(SUBSCRIPTION, Position::new(Config::default().first_ledger, -1));
        assert_eq!(world.run().await.skipped_entries, 4);
    }
}

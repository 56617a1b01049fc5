//! Runs whose object is so long that it goes up in parts.

use tdmq_backup::report::Outcome;
use tdmq_backup::testing::bucket::{Fault, Op};

use crate::world::World;

/// A world with a message stored, and four entries owed that make one object of two parts.
async fn long() -> World {
    let mut world = World::begun().await;
    world.set("compression", "\"none\"");
    for _ in 0..4 {
        world.send_entry(1, 4_700_000);
    }
    world
}

#[tokio::test]
async fn the_announcement_names_the_upload_before_a_part_is_sent() {
    let world = long().await;
    let before = world.bucket.requests().len();
    world.bucket.fail_next(Op::Part, Fault::Refuse(403, "AccessDenied"));
    assert_eq!(world.run().await.outcome, Outcome::Failed);
    assert_eq!(world.head().unwrap()["next"]["upload_id"], "upload-0001");
    let requests = &world.bucket.requests()[before..];
    let at = |op| requests.iter().position(|it| *it == op).unwrap();
    assert!(at(Op::Create) < at(Op::Put) && at(Op::Put) < at(Op::Part), "{requests:?}");
    assert!(world.bucket.uploads().is_empty());
    world.drain(2).await;
    world.assert_exactly_once();
}

#[tokio::test]
async fn a_death_at_any_request_of_an_upload_is_cleared_away_and_loses_and_repeats_nothing() {
    let (first, all) = {
        let world = long().await;
        let (all, stored) = (world.requests(), world.bucket.requests().len());
        world.run().await;
        world.assert_exactly_once();
        let writes = world.bucket.requests().len() - stored;
        let total = world.requests() - all;
        // From the Create on; what comes before is every run's.
        (total - writes.min(total) + 1, total)
    };
    let mut left_behind = 0;
    for k in first..=all {
        let world = long().await;
        if world.run_dying_at(k).await.is_some() {
            continue;
        }
        world.assert_nothing_acknowledged_unstored();
        let left = world.bucket.uploads();
        let announced = world.head().unwrap()["next"]["upload_id"].as_str().map(str::to_owned);
        left_behind += left.len();
        world.drain(3).await;
        world.assert_exactly_once();
        // Only a death between the beginning and its announcement leaves something: an upload without a part.
        let known = left.iter().filter(|id| announced.as_ref() != Some(id)).count();
        assert_eq!(world.bucket.uploads().len(), known, "dies at {k}");
        assert!(known <= 1, "dies at {k}");
    }
    assert!(left_behind > 0);
}

#[tokio::test]
async fn a_complete_without_an_answer_is_found_by_the_run_itself() {
    for fault in [Fault::StoreThenDrop, Fault::StoreThenRefuse(200, "InternalError"), Fault::Drop] {
        let world = long().await;
        world.bucket.fail_next(Op::Complete, fault);
        let report = world.run().await;
        assert_eq!((report.outcome, report.objects.len()), (Outcome::Stored, 1), "{report:?}");
        assert!(world.bucket.uploads().is_empty());
        world.assert_exactly_once();
    }
}

//! The two looks of a run, before it announces and before it stores, where nothing else would do.

use tdmq_backup::Position;
use tdmq_backup::drain::Progress;
use tdmq_backup::report::{Outcome, Report};
use tdmq_backup::testing::broker::Config;
use tdmq_backup::testing::bucket::Op;

use crate::world::{NOW, SUBSCRIPTION, World};

fn puts(world: &World) -> usize {
    world.bucket.requests().iter().filter(|op| **op == Op::Put).count()
}

/// Its head would go over theirs where a store ignores conditions.
#[tokio::test]
async fn a_run_that_lost_the_subscription_while_it_read_does_not_even_try_to_announce() {
    let mut world = World::begun().await;
    let before = world.mark_delete();
    world.send(&[1, 1]);
    let (key, mut theirs) = (world.head_key(), world.head().unwrap());
    theirs["written"] = (NOW + 1).into();
    let somebody_else_runs = |progress: Progress| {
        if progress.entries_left == Some(0) {
            world.bucket.plant(&key, theirs.to_string().as_bytes(), &[]).unwrap();
            world.broker.drop_connections();
        }
    };
    let tried = puts(&world);
    let report = world.run_while(somebody_else_runs).await;
    assert_eq!((report.outcome, puts(&world) - tried), (Outcome::Busy, 0), "{report:?}");
    assert_eq!((world.mark_delete(), world.objects().len()), (before, 1));
    world.drain(3).await;
    world.assert_exactly_once();
}

/// A run that loses its place when its head is written; meanwhile the cursor goes `to` there.
async fn loses_its_place_once_announced(world: &World, to: Option<Position>) -> Report {
    let (topic, mut once) = (world.topic.clone(), true);
    world.bucket.direct(move |op, path| {
        if op == Op::Put && path.ends_with("_head.json") && std::mem::take(&mut once) {
            topic.unload();
            if let Some(to) = to {
                topic.set_mark_delete(SUBSCRIPTION, to);
            }
        }
        None
    });
    world.run().await
}

#[tokio::test]
async fn entries_that_somebody_else_acknowledged_after_the_announcement_are_not_stored() {
    let mut world = World::begun().await;
    let at = world.send(&[1, 1])[1];
    let report = loses_its_place_once_announced(&world, Some(at)).await;
    assert_eq!((report.outcome, world.objects().len(), world.mark_delete()), (Outcome::Busy, 1, at), "{report:?}");
    assert!(world.head().unwrap()["next"].is_object());
}

/// Where the cursor is seen, nothing is lost by going on.
#[tokio::test]
async fn a_place_that_is_lost_after_the_announcement_ends_the_run_only_where_the_cursor_is_not_seen() {
    for (says_cursor, outcome) in [(true, Outcome::Stored), (false, Outcome::Busy)] {
        let mut world = World::with(Config { mark_delete_position: says_cursor, ..Config::default() }).await;
        world.send(&[1]);
        world.run().await;
        let before = world.mark_delete();
        let at = world.send(&[1, 1])[1];
        let report = loses_its_place_once_announced(&world, None).await;
        assert_eq!(report.outcome, outcome, "{report:?}");
        let (objects, stands) = if says_cursor { (2, at) } else { (1, before) };
        assert_eq!((world.objects().len(), world.mark_delete()), (objects, stands));
        world.drain(3).await;
        world.assert_exactly_once();
    }
}

//! What the broker did not deliver is named once, and nothing is claimed that cannot be known.

use serde_json::{Value, json};
use tdmq_backup::Position;
use tdmq_backup::report::{Outcome, Report};
use tdmq_backup::testing::bucket::Op;

use crate::world::{SUBSCRIPTION, World};

fn missing(report: &Report) -> Value {
    serde_json::to_value(report).unwrap().get("missing").cloned().unwrap_or(json!([]))
}

fn moved(first: Position, last: Position) -> Value {
    json!({ "first": first, "last": last, "entries": last.entry - first.entry + 1, "because": "cursor_moved" })
}

fn passed_over(first: Position, last: Position) -> Value {
    json!({ "first": first, "last": last, "entries": last.entry - first.entry + 1, "because": "not_delivered" })
}

#[tokio::test]
async fn missing_names_what_the_broker_removed_unread_once_and_also_where_nothing_else_is_left() {
    let mut world = World::begun().await;
    let gone = world.send(&[1, 1, 1]);
    world.topic.expire(4);
    let report = world.run().await;
    assert_eq!((report.outcome, missing(&report)), (Outcome::NothingToDo, json!([moved(gone[0], gone[2])])));
    assert_eq!(missing(&world.run().await), json!([]));
    world.send(&[1]);
    let report = world.run().await;
    assert_eq!((report.messages, missing(&report)), (1, json!([])));
    assert_eq!(missing(&world.run().await), json!([]));
}

#[tokio::test]
async fn what_expired_at_the_front_is_named_before_what_comes_after_it() {
    let mut world = World::begun().await;
    let gone = world.send(&[1, 1]);
    world.topic.expire(3);
    world.send(&[1, 1]);
    let report = world.run().await;
    assert_eq!((report.messages, missing(&report)), (2, json!([moved(gone[0], gone[1])])));
    assert_eq!(missing(&world.run().await), json!([]));
}

#[tokio::test]
async fn what_expired_before_a_rule_had_stored_anything_is_named() {
    let mut world = World::new().await;
    world.run().await;
    let gone = world.send(&[1, 1]);
    world.topic.expire(2);
    assert_eq!(missing(&world.run().await), json!([moved(gone[0], gone[1])]));
    assert_eq!(missing(&world.run().await), json!([]));
}

#[tokio::test]
async fn over_the_end_of_a_ledger_the_range_has_no_count() {
    let mut world = World::new().await;
    let first = world.send(&[1])[0];
    world.run().await;
    world.topic.roll_ledger();
    let gone = world.send(&[1, 1]);
    world.topic.expire(3);
    let from = Position::new(first.ledger, first.entry + 1);
    let named = json!([{ "first": from, "last": gone[1], "because": "cursor_moved" }]);
    assert_eq!(missing(&world.run().await), named);
}

#[tokio::test]
async fn a_ledger_that_was_acknowledged_and_removed_is_no_loss() {
    let mut world = World::new().await;
    let ids = world.send(&[1, 1]);
    world.run().await;
    world.topic.roll_ledger();
    world.topic.trim(ids[1]);
    assert_eq!(world.mark_delete().entry, -1);
    assert_eq!(missing(&world.run().await), json!([]));
    world.send(&[1]);
    assert_eq!(missing(&world.run().await), json!([]));
}

#[tokio::test]
async fn what_a_dead_run_announced_and_never_stored_is_missing_when_it_expires() {
    let mut world = World::begun().await;
    let gone = world.send(&[1, 1]);
    world.dies_before_storing().await;
    let later = world.send(&[1]);
    // The object that was announced reached the bucket with the request that the run died at.
    let stored = world.objects().len() > 1;
    world.topic.expire(4);
    let first = if stored { later[0] } else { gone[0] };
    assert_eq!(missing(&world.run().await), json!([moved(first, later[0])]));
    assert_eq!(missing(&world.run().await), json!([]));
}

#[tokio::test]
async fn what_was_acknowledged_one_by_one_is_passed_over_and_no_loss_is_claimed() {
    let mut world = World::begun().await;
    let ids = world.send(&[1, 1, 1, 1]);
    world.topic.acknowledge_one(SUBSCRIPTION, ids[1]);
    let report = world.run().await;
    assert_eq!((report.messages, missing(&report)), (3, json!([passed_over(ids[1], ids[1])])));
    assert_eq!(missing(&world.run().await), json!([]));
}

/// As a transaction's marker at the end of a topic, which the broker acknowledges itself.
#[tokio::test]
async fn what_the_broker_passes_over_at_the_end_is_not_taken_for_a_loss_by_the_next_run() {
    let mut world = World::begun().await;
    world.set("max_messages", 1);
    let ids = world.send(&[1, 1, 1]);
    world.topic.acknowledge_one(SUBSCRIPTION, ids[1]);
    let report = world.run().await;
    assert_eq!((report.messages, missing(&report)), (1, json!([passed_over(ids[1], ids[1])])));
    assert_eq!(world.mark_delete(), ids[1]);
    let report = world.run().await;
    assert_eq!((report.messages, missing(&report)), (1, json!([])));
    assert_eq!((world.run().await.outcome, world.mark_delete()), (Outcome::NothingToDo, ids[2]));
}

#[tokio::test]
async fn a_cursor_that_went_back_and_forth_names_nothing() {
    let mut world = World::new().await;
    let ids = world.send(&[1, 1, 1]);
    world.run().await;
    world.topic.set_mark_delete(SUBSCRIPTION, ids[0]);
    assert_eq!(missing(&world.run().await), json!([]));
    world.send(&[1]);
    assert_eq!(missing(&world.run().await), json!([]));
}

/// The run that saw it died before its report; what it stored behind it says nothing of what is missing before it.
#[tokio::test]
async fn what_was_passed_over_before_an_object_that_a_dead_run_stored_is_named_by_the_next_run() {
    let mut world = World::begun().await;
    world.set("max_messages", 1);
    world.set("max_objects", 2);
    let ids = world.send(&[1, 1, 1]);
    world.topic.acknowledge_one(SUBSCRIPTION, ids[1]);
    let before = world.objects().len();
    assert!(world.run_unless(|| world.objects().len() == before + 2).await.is_none());
    assert_eq!(world.mark_delete(), ids[1]);
    let report = world.run().await;
    assert_eq!((report.skipped_entries, missing(&report)), (1, json!([moved(ids[1], ids[1])])), "{report:?}");
    assert_eq!(missing(&world.run().await), json!([]));
    assert_eq!(world.mark_delete(), ids[2]);
}

/// Found by a history: the object's name tells the last chunk alone.
#[tokio::test]
async fn chunks_of_a_stored_message_are_not_named_where_the_cursor_went_back_between_them() {
    let mut world = World::begun().await;
    let chunks = world.chunks("big", 3);
    let at = world.topic.append_all(chunks);
    world.run().await;
    for back in &at[..2] {
        world.topic.set_mark_delete(SUBSCRIPTION, *back);
        assert_eq!(missing(&world.run().await), json!([]), "from {back}");
        assert_eq!(world.mark_delete(), at[2]);
    }
    world.assert_exactly_once();
}

/// Somebody skips messages, and takes that back while a run is at it: before it names them, or after.
#[tokio::test]
async fn what_was_skipped_and_comes_after_all_is_not_missing() {
    for (named, rolled) in [(false, false), (true, false), (true, true)] {
        let mut world = World::begun().await;
        if rolled {
            world.topic.roll_ledger();
        }
        // Named and never taken back, it would stay named where the run ends before it comes.
        world.set("max_messages", if named { 100 } else { 1 });
        let before = world.mark_delete();
        let skipped = world.send(&[1, 1, 1]);
        world.send(&[1, 1]);
        world.topic.set_mark_delete(SUBSCRIPTION, skipped[2]);
        let (topic, mut back) = (world.topic.clone(), Some(if named && !rolled { skipped[0] } else { before }));
        let report = match named {
            // At its first entry.
            true => {
                let go_back = |_| {
                    back.take().into_iter().for_each(|to| topic.set_mark_delete(SUBSCRIPTION, to));
                };
                world.run_while(go_back).await
            }
            // It has asked where the cursor stands, and reads its head again.
            false => {
                let mut reads = 0;
                world.bucket.direct(move |op, path| {
                    reads += usize::from(op == Op::Get && path.ends_with("_head.json"));
                    back.take_if(|_| reads == 2).into_iter().for_each(|to| topic.set_mark_delete(SUBSCRIPTION, to));
                    None
                });
                world.run().await
            }
        };
        let expected = if named && !rolled { json!([moved(skipped[0], skipped[0])]) } else { json!([]) };
        assert_eq!(missing(&report), expected, "{report:?}");
        world.drain(7).await;
        assert_eq!(world.numbers(), if named && !rolled { vec![1, 3, 4, 5, 6] } else { vec![1, 2, 3, 4, 5, 6] });
    }
}

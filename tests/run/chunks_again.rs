//! Chunks that come again, after a death, a rewind or a new start: of messages that are stored, open or given up.

use tdmq_backup::Clock;
use tdmq_backup::report::Outcome;
use tdmq_backup::testing::compose::Composed;

use crate::chunks::{
    PATIENCE_MS, before_all, given_up_lie_apart, ids, is_drained, late, raw_ids, under_the_uuid_of, world,
};
use crate::world::{NOW, SUBSCRIPTION, World};

#[tokio::test]
async fn chunks_of_a_stored_message_that_come_again_without_the_first_are_dropped() {
    let mut world = world().await;
    world.send(&[1]);
    let chunks = world.chunks("big", 4);
    let mut at = world.topic.append_all(chunks);
    at.extend(world.send(&[1, 1]));
    world.drain(2).await;
    for back in &at {
        world.topic.set_mark_delete(SUBSCRIPTION, *back);
        world.drain(2).await;
        assert_eq!((world.mark_delete(), world.objects().len()), (at[5], 1), "from {back}");
        world.assert_exactly_once();
        world.assert_every_entry_is_stored_once();
    }
}

#[tokio::test]
async fn a_message_whose_end_alone_is_stored_is_completed_part_by_part() {
    let mut world = world().await;
    world.set("start", "\"latest\"");
    let chunks = world.chunks("big", 4);
    let mut at = world.topic.append_all(chunks[..2].to_vec());
    world.run().await;
    at.extend(world.topic.append_all(chunks[2..].to_vec()));
    is_drained(&world.run().await);
    assert_eq!(raw_ids(&world), ids(&at[2..]));
    world.topic.set_mark_delete(SUBSCRIPTION, before_all());
    is_drained(&world.run().await);
    assert_eq!((raw_ids(&world), world.mark_delete()), (ids(&at), at[3]));
    world.assert_every_entry_is_stored_once();
}

#[tokio::test]
async fn every_entry_that_is_skipped_is_counted_also_where_a_message_was_given_up_behind_others() {
    let mut world = world().await;
    let [first, second, _] = <[Composed; 3]>::try_from(world.chunks("big", 3)).unwrap();
    world.topic.append_all([first, second]);
    world.send(&[1]);
    let last = late(&world, 2 * PATIENCE_MS);
    is_drained(&world.run().await);
    world.topic.set_mark_delete(SUBSCRIPTION, before_all());
    let report = world.run().await;
    is_drained(&report);
    assert_eq!((report.skipped_entries, report.objects.len(), world.mark_delete()), (4, 0, last), "{report:?}");
}

/// The cursor goes back over a stored message, and one of its chunks does not come again: the others stand in its record.
#[tokio::test]
async fn chunks_of_a_stored_message_are_not_stored_again_where_one_of_them_does_not_come() {
    for left_out in 0..3 {
        let mut world = world().await;
        world.set("max_messages", 2);
        world.set("max_objects", 100);
        world.send(&[1]);
        let [first, second, third] = <[Composed; 3]>::try_from(world.chunks("big", 3)).unwrap();
        let mut at = vec![world.topic.append(first)];
        // Its record stands many objects behind its first chunk.
        world.send(&[1; 41]);
        at.extend(world.topic.append_all([second, third]));
        let last = late(&world, 2 * PATIENCE_MS);
        is_drained(&world.run().await);
        let objects = world.objects();
        world.topic.set_mark_delete(SUBSCRIPTION, before_all());
        world.topic.acknowledge_one(SUBSCRIPTION, at[left_out]);
        let report = world.run().await;
        is_drained(&report);
        assert_eq!((world.objects(), world.mark_delete()), (objects, last), "{report:?}");
        world.assert_every_entry_is_stored_once();
    }
}

/// The first part of a message that was never sent whole, from before the subscription began.
#[tokio::test]
async fn a_part_under_the_uuid_of_a_stored_message_that_lies_before_it_is_stored() {
    let mut world = world().await;
    world.set("start", "\"latest\"");
    let [old, _] = <[Composed; 2]>::try_from(world.chunks("big", 2)).unwrap();
    let alone = world.topic.append(old.clone());
    world.run().await;
    let new = under_the_uuid_of(&old, world.chunks("big", 2));
    let at = world.topic.append_all(new);
    is_drained(&world.run().await);
    assert_eq!((raw_ids(&world).len(), world.mark_delete()), (0, at[1]));
    world.topic.set_mark_delete(SUBSCRIPTION, before_all());
    is_drained(&world.run().await);
    assert_eq!((raw_ids(&world), world.mark_delete()), (ids(&[alone]), at[1]));
    world.assert_every_entry_is_stored_once();
}

/// Two open messages over several objects, one of which is never completed, behind a stored history.
async fn unsettled(max_objects: u32) -> World {
    let mut world = World::begun().await;
    world.set("max_messages", 2);
    world.set("max_objects", max_objects);
    let [a0, a1, a2] = <[Composed; 3]>::try_from(world.chunks("a", 3)).unwrap();
    let [b0, b1, _] = <[Composed; 3]>::try_from(world.chunks("b", 3)).unwrap();
    world.topic.append(a0);
    world.send(&[1]);
    world.topic.append_all([b0, a1.clone(), a1]);
    world.send(&[1, 1]);
    world.topic.append_all([b1, a2]);
    world.send(&[1]);
    late(&world, 2 * PATIENCE_MS);
    world.send(&[1]);
    world
}

async fn dies_at_every_request(max_objects: u32, rewound: usize) {
    for k in 1..100 {
        let world = unsettled(max_objects).await;
        if world.run_dying_at(k).await.is_some() {
            assert!(k > 10, "only {} deaths were tried", k - 1);
            return;
        }
        world.assert_nothing_acknowledged_unstored();
        world.broker.crash_rewinding(rewound);
        world.let_go().await;
        for _ in 0..20 {
            let report = world.run().await;
            world.assert_nothing_acknowledged_unstored();
            if report.outcome == Outcome::NothingToDo {
                break;
            }
            assert_eq!(report.outcome, Outcome::Stored, "{k}: {report:?}");
        }
        world.assert_every_entry_is_stored_once();
        assert_eq!(world.topic.subscription(SUBSCRIPTION).unwrap().backlog, 0, "died at {k}");
        assert_eq!(raw_ids(&world).len(), 2);
        given_up_lie_apart(&world);
    }
    panic!("a run makes more requests than that");
}

#[tokio::test]
async fn a_death_at_any_request_with_messages_open_loses_and_repeats_nothing() {
    dies_at_every_request(1, 0).await;
    dies_at_every_request(10, 0).await;
}

#[tokio::test]
async fn a_death_followed_by_forgotten_acknowledgements_with_messages_open_loses_and_repeats_nothing() {
    dies_at_every_request(10, 3).await;
}

#[tokio::test]
async fn a_run_of_deaths_with_messages_open_loses_and_repeats_nothing() {
    for step in 3..20 {
        let mut world = unsettled(2).await;
        for round in 0..12 {
            world.run_dying_at(step + round).await;
            world.assert_nothing_acknowledged_unstored();
        }
        // An object that nobody could store is planned anew once its writers are surely gone.
        world.clock = Clock::starting_at(NOW + 30 * 60_000);
        world.drain(20).await;
        world.assert_every_entry_is_stored_once();
    }
}

#[tokio::test]
async fn an_announced_object_is_rebuilt_behind_the_chunks_that_wait_before_it() {
    let mut world = World::begun().await;
    let mut chunks = world.chunks("big", 2).into_iter();
    world.topic.append(chunks.next().unwrap());
    world.send(&[1, 1]);
    world.dies_before_storing().await;
    let announced = world.head().unwrap()["next"]["key"].clone();
    let report = world.run().await;
    assert_eq!((report.outcome, report.warnings.len(), report.open_chunks), (Outcome::Stored, 0, 1), "{report:?}");
    assert_eq!(report.objects[0].key, announced);
    world.topic.append(chunks.next().unwrap());
    world.drain(3).await;
    world.assert_exactly_once();
}

#[tokio::test]
async fn chunks_that_come_again_after_a_new_start_inside_a_run_are_not_taken_twice() {
    let mut world = World::begun().await;
    world.set("max_objects", 10);
    let mut chunks = world.chunks("big", 3).into_iter();
    world.topic.append_all([chunks.next().unwrap(), chunks.next().unwrap()]);
    late(&world, 2 * PATIENCE_MS);
    world.dies_before_storing().await;
    // Announced by another version: its span is planned anew, and reading starts over with chunks given up.
    let mut head = world.head().unwrap();
    head["next"]["layout"] = 99.into();
    world.bucket.plant(&world.head_key(), head.to_string().as_bytes(), &[]).unwrap();
    world.clock = Clock::starting_at(NOW + 30 * 60_000);
    let report = world.run().await;
    is_drained(&report);
    assert_eq!(report.warnings.len(), 1, "{report:?}");
    world.assert_every_entry_is_stored_once();
}

//! Heads that are lost, old, somebody else's, or put back.

use std::future::poll_fn;
use std::pin::Pin;
use std::task::Poll;

use tdmq_backup::report::{Outcome, Report};
use tdmq_backup::testing::broker::{Act, CommandType, Config, When};
use tdmq_backup::testing::bucket::Op;
use tdmq_backup::{Clock, Position};

use crate::world::{NOW, SUBSCRIPTION, World};

#[tokio::test]
async fn a_lost_head_is_rebuilt_from_the_objects() {
    let mut world = World::new().await;
    world.set("max_messages", 2);
    world.send(&[1, 1, 2]);
    world.drain(4).await;
    let head = world.head_key();
    world.bucket.remove(&head);
    world.topic.set_mark_delete(SUBSCRIPTION, Position::new(Config::default().first_ledger, 0));
    world.send(&[1]);
    world.drain(4).await;
    world.assert_exactly_once();
    let newest = world.objects().pop().unwrap();
    assert_eq!(world.bucket.metadata(&newest).unwrap()["seq"], "3");
}

#[tokio::test]
async fn an_object_stored_without_a_head_is_found_by_its_first_entry() {
    let mut world = World::new().await;
    world.send(&[1, 1]);
    // The run dies with its object stored; then the head is lost and the cursor knows nothing.
    world.broker.script(When::next(CommandType::Ack), Act::DropConnection);
    world.run().await;
    assert_eq!(world.objects().len(), 1);
    let head = world.head_key();
    world.bucket.remove(&head);
    world.drain(4).await;
    world.assert_exactly_once();
}

#[tokio::test]
async fn a_head_of_another_subscription_is_refused() {
    let mut world = World::begun().await;
    world.set("subscription", "\"other\"");
    let report = world.run().await;
    let error = report.error.unwrap();
    assert_eq!((report.outcome, error.kind), (Outcome::Failed, "invalid"));
    assert!(error.message.contains("subscription \"backup\""), "{}", error.message);
    assert!(world.topic.subscription("other").is_none());
}

#[tokio::test]
async fn a_head_that_is_none_or_newer_than_this_program_stops_the_run() {
    for (text, kind) in [("{\"version\": 1, \"top", "corrupt"), ("{\"version\": 2, \"shape\": \"new\"}", "invalid")] {
        let mut world = World::begun().await;
        world.send(&[1]);
        let key = world.head_key();
        world.bucket.plant(&key, text.as_bytes(), &[]).unwrap();
        let report = world.run().await;
        assert_eq!(report.error.unwrap().kind, kind);
        assert_eq!(world.topic.subscription(SUBSCRIPTION).unwrap().backlog, 1);
    }
}

#[tokio::test]
async fn a_head_is_written_again_before_it_is_a_day_old_so_that_a_lifecycle_rule_leaves_it() {
    let mut world = World::begun().await;
    let written = |world: &World| world.head().unwrap()["written"].as_u64().unwrap();
    let first = written(&world);
    world.clock = Clock::starting_at(NOW + 19 * 3_600_000);
    world.run().await;
    assert_eq!(written(&world), first);
    world.clock = Clock::starting_at(NOW + 21 * 3_600_000);
    world.run().await;
    assert!(written(&world) >= NOW + 21 * 3_600_000);
    world.assert_exactly_once();
}

#[tokio::test]
async fn an_old_head_that_was_put_back_is_found_out_by_the_listing() {
    let mut world = World::begun().await;
    world.set("max_messages", 2);
    world.send(&[1, 1]);
    world.run().await;
    let key = world.head_key();
    let old = world.bucket.read(&key).unwrap();
    world.send(&[1, 1, 1]);
    world.broker.script(When::next(CommandType::Ack), Act::DropConnection);
    world.run().await;
    assert_eq!(world.objects().len(), 3);
    world.bucket.plant(&key, &old, &[]).unwrap();
    world.set("max_messages", 5);
    world.drain(4).await;
    world.assert_exactly_once();
}

/// A run that has looked, and is frozen before it learns that no object begins with its first entry; then
/// others run to the end. Returns its future, and the head that it knew.
async fn frozen_before_announcing(world: &mut World) -> (Pin<Box<dyn Future<Output = Report>>>, Vec<u8>) {
    frozen_at_listing(world, 1).await
}

/// The same, where it is the run's so-manieth listing.
async fn frozen_at_listing(world: &mut World, nth: usize) -> (Pin<Box<dyn Future<Output = Report>>>, Vec<u8>) {
    world.send(&[1, 1]);
    world.set("max_messages", 1);
    let head = world.bucket.read(&world.head_key()).unwrap();
    let (function, clock) = (world.function(), world.clock);
    let mut frozen = Box::pin(async move { function.invoke(None, &clock, &mut |_| {}).await });
    let looked = world.bucket.requests().len();
    poll_fn(|context| {
        let requests = world.bucket.requests();
        if requests[looked..].iter().filter(|op| **op == Op::List).count() >= nth {
            return Poll::Ready(());
        }
        frozen.as_mut().poll(context).map(|report| panic!("{report:?}"))
    })
    .await;
    world.broker.drop_connections();
    world.set("max_messages", 5);
    world.drain(3).await;
    (frozen, head)
}

#[tokio::test]
async fn a_writer_that_wakes_cannot_put_its_head_over_a_newer_one() {
    let mut world = World::begun().await;
    let (frozen, _) = frozen_before_announcing(&mut world).await;
    let newer = world.head();
    let report = frozen.await;
    assert_eq!((report.outcome, report.objects.len()), (Outcome::Busy, 0), "{report:?}");
    assert_eq!(world.head(), newer);
    world.assert_exactly_once();
}

#[tokio::test]
async fn a_writer_that_wakes_before_it_announces_stores_nothing_even_where_conditions_are_ignored() {
    let mut world = World::begun().await;
    let (frozen, head) = frozen_before_announcing(&mut world).await;
    // A store that ignores conditions would let it write: to this one, its head is still the newest.
    world.bucket.plant(&world.head_key(), &head, &[]).unwrap();
    let report = frozen.await;
    assert!(report.objects.is_empty(), "{report:?}");
    world.assert_exactly_once();
}

/// Found by a history: neither the head, which it has just put over the newer one, nor the broker can tell it.
#[tokio::test]
async fn a_writer_that_wakes_stores_nothing_either_where_the_broker_does_not_say_where_the_cursor_stands() {
    let mut world = World::with(Config { mark_delete_position: false, ..Config::default() }).await;
    world.send(&[1]);
    world.run().await;
    let (frozen, head) = frozen_before_announcing(&mut world).await;
    world.bucket.plant(&world.head_key(), &head, &[]).unwrap();
    let report = frozen.await;
    assert!(report.objects.is_empty(), "{report:?}");
    world.clock = Clock::starting_at(NOW + 30 * 60_000);
    world.send(&[1]);
    world.drain(4).await;
    world.assert_exactly_once();
}

/// What a writer put back that was frozen after its look, on a store without conditions: its plan was never stored, and
/// others went on.
#[tokio::test]
async fn an_old_head_that_came_back_does_not_give_a_number_of_the_chain_twice() {
    let mut world = World::begun().await;
    world.set("max_messages", 2);
    world.send(&[1; 2]);
    world.dies_before_storing().await;
    let mut old = world.head().unwrap();
    world.send(&[1; 4]);
    world.drain(5).await;
    old["next"]["key"] = old["next"]["key"].as_str().unwrap().replace("_2.jsonl", "_9.jsonl").into();
    world.bucket.plant(&world.head_key(), old.to_string().as_bytes(), &[]).unwrap();
    world.send(&[1]);
    let report = world.run().await;
    assert_eq!((report.outcome, report.missing.len()), (Outcome::Stored, 0), "{report:?}");
    let seq = |key: &String| world.bucket.metadata(key).unwrap()["seq"].parse::<usize>().unwrap();
    let numbers: Vec<usize> = world.objects().iter().map(seq).collect();
    assert_eq!(numbers, (1..=world.objects().len()).collect::<Vec<_>>(), "{report:?}");
    world.assert_exactly_once();
}

/// The first head of a rule, put back on a store without conditions: it knows of no object at all, or of the one alone
/// that the run that put it back announced.
#[tokio::test]
async fn the_first_head_of_a_rule_that_came_back_names_nothing_stored_as_missing() {
    for announces in [false, true] {
        let mut world = World::begun().await;
        world.set("max_messages", 2);
        let at = world.send(&[1; 4]);
        world.drain(5).await;
        let mut first = world.head().unwrap();
        first["done"] = serde_json::Value::Null;
        if announces {
            world.topic.set_mark_delete(SUBSCRIPTION, at[1]);
        } else {
            first["next"] = serde_json::Value::Null;
        }
        world.bucket.plant(&world.head_key(), first.to_string().as_bytes(), &[]).unwrap();
        world.send(&[1]);
        let report = world.run().await;
        assert_eq!((report.outcome, report.missing.len()), (Outcome::Stored, 0), "{report:?}");
        world.topic.set_mark_delete(SUBSCRIPTION, at[0]);
        world.drain(5).await;
        world.assert_exactly_once();
    }
}

/// Found by a history: behind a message whose chunks are still to come more is stored than is acknowledged, and an old
/// head knows nothing of it, although it knows of all that is acknowledged.
#[tokio::test]
async fn an_old_head_that_came_back_repeats_nothing_that_is_stored_behind_an_open_message() {
    for says_cursor in [true, false] {
        let mut world = World::with(Config { mark_delete_position: says_cursor, ..Config::default() }).await;
        world.set("max_messages", 4);
        world.send(&[6]);
        let mut chunks = world.chunks("big", 2).into_iter();
        world.topic.append(chunks.next().unwrap());
        world.send(&[1, 1]);
        let mut old = None;
        let while_the_second_is_read = |_| {
            if world.objects().len() == 1 {
                old = old.take().or_else(|| world.bucket.read(&world.head_key()));
            }
        };
        let report = world.run_while(while_the_second_is_read).await;
        assert_eq!((report.objects.len(), report.open_chunks), (2, 1), "{report:?}");
        world.bucket.plant(&world.head_key(), &old.unwrap(), &[]).unwrap();
        let report = world.run().await;
        assert_eq!((report.objects.len(), report.skipped_entries), (0, 2), "{report:?}");
        world.topic.append(chunks.next().unwrap());
        world.drain(3).await;
        world.assert_exactly_once();
    }
}

/// Found by a history: the entry was spread over objects, and a rule with higher caps would put it into one.
#[tokio::test]
async fn an_old_head_that_came_back_does_not_repeat_an_entry_in_one_piece() {
    let mut world = World::new().await;
    world.set("max_messages", 2);
    world.send(&[4]);
    world.run_unless(|| world.head().is_some()).await;
    let old = world.bucket.read(&world.head_key()).unwrap();
    world.broker.script(When::next(CommandType::Ack), Act::DropConnection);
    world.run().await;
    assert_eq!(world.objects().len(), 2);
    world.bucket.plant(&world.head_key(), &old, &[]).unwrap();
    world.topic.set_mark_delete(SUBSCRIPTION, Position::new(Config::default().first_ledger, -1));
    world.set("max_messages", 9);
    world.drain(4).await;
    world.assert_exactly_once();
}

/// Found by a history.
#[tokio::test]
async fn an_object_that_was_announced_and_never_seen_has_a_place_in_the_chain_and_no_digest() {
    let mut world = World::new().await;
    let passed_over = world.send(&[1])[0];
    let announced = || world.head().is_some_and(|head| !head["next"].is_null());
    assert!(world.run_unless(announced).await.is_none());
    assert_eq!(world.objects(), [""; 0]);
    world.topic.set_mark_delete(SUBSCRIPTION, passed_over);
    world.send(&[1]);
    world.drain(3).await;
    let metadata = world.bucket.metadata(&world.objects()[0]).unwrap();
    assert_eq!((&*metadata["seq"], &*metadata["previous-id"]), ("2", &*passed_over.to_string()));
    assert_eq!(metadata.get("previous-sha256"), None);
}

/// On a store without conditions its first head would go over theirs.
#[tokio::test]
async fn a_run_that_found_no_head_looks_again_once_the_subscription_is_its_own() {
    for k in 1..=4 {
        let mut world = World::new().await;
        world.send(&[1]);
        let report = world.run_interrupted_at(k, async || world.drain(3).await).await.expect("it is interrupted");
        assert_eq!((report.outcome, report.error.is_none()), (Outcome::NothingToDo, true), "{k}: {report:?}");
        world.assert_exactly_once();
    }
}

/// Found by a history: nothing is acknowledged behind an open message, so the cursor tells it nothing either.
#[tokio::test]
async fn a_writer_that_wakes_stores_nothing_behind_an_open_message() {
    let mut world = World::begun().await;
    let mut chunks = world.chunks("big", 2).into_iter();
    world.topic.append(chunks.next().unwrap());
    let (frozen, head) = frozen_at_listing(&mut world, 2).await;
    assert_eq!(world.objects().len(), 2);
    world.bucket.plant(&world.head_key(), &head, &[]).unwrap();
    let report = frozen.await;
    assert_eq!((report.outcome, report.objects.len()), (Outcome::Busy, 0), "{report:?}");
    world.topic.append(chunks.next().unwrap());
    world.clock = Clock::starting_at(NOW + 30 * 60_000);
    world.drain(4).await;
    world.assert_exactly_once();
}

/// Found by a history: its writer may only be frozen.
#[tokio::test]
async fn an_announced_object_that_the_cursor_passed_over_is_waited_for_where_the_cursor_goes_back() {
    let mut world = World::begun().await;
    let at = world.send(&[1, 1]);
    world.dies_before_storing().await;
    world.topic.set_mark_delete(SUBSCRIPTION, at[1]);
    world.send(&[1]);
    assert_eq!(world.run().await.outcome, Outcome::Stored);
    for back in [at[0], Position::new(at[0].ledger, -1)] {
        world.topic.set_mark_delete(SUBSCRIPTION, back);
        let report = world.run().await;
        assert_eq!((report.outcome, world.objects().len()), (Outcome::Busy, 2), "{report:?}");
        assert_eq!(world.mark_delete(), back);
    }
    world.clock = Clock::starting_at(NOW + 30 * 60_000);
    world.drain(4).await;
    world.assert_exactly_once();
}

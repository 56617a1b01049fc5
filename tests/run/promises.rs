//! The sentences of the product's description of a run and of the object.

use std::time::Duration;

use sha2::{Digest, Sha256};
use tdmq_backup::Position;
use tdmq_backup::pulsar::{Cluster, Initial};
use tdmq_backup::report::{Outcome, Stop};
use tdmq_backup::testing::broker::{Act, CommandType, Config, When};
use tdmq_backup::testing::bucket::{Fault, Op};

use crate::world::{NOW, SUBSCRIPTION, World};

#[tokio::test]
async fn a_run_stores_one_object_and_acknowledges_it() {
    let mut world = World::new().await;
    let ids = world.send(&[1, 3, 1]);
    let report = world.run().await;
    assert_eq!((report.outcome, report.stop), (Outcome::Stored, Some(Stop::Drained)), "{report:?}");
    assert_eq!(report.messages, 5);
    world.assert_exactly_once();
    assert_eq!(world.mark_delete(), ids[2]);
    assert_eq!(report.backlog_entries, Some(0));
}

#[tokio::test]
async fn the_object_is_named_by_its_messages_alone() {
    let mut world = World::new().await;
    world.send(&[1, 3]);
    world.run().await;
    let ledger = Config::default().first_ledger;
    // The first message was published at 2026-11-21T09:59:00Z.
    let key = format!(
        "tdmq/public/default/orders/partition=-1/dt=2026-11-21/hour=09/{ledger:019}-{:019}_{ledger:019}-{:019}_4.jsonl.gz",
        0, 1
    );
    assert_eq!(world.objects(), [key]);
}

#[tokio::test]
async fn the_same_messages_give_the_same_key_and_bytes() {
    let (mut one, mut other) = (World::new().await, World::new().await);
    for world in [&mut one, &mut other] {
        world.send(&[1, 20, 1]);
        world.run().await;
    }
    let key = one.objects().remove(0);
    assert_eq!(one.objects(), other.objects());
    assert_eq!(one.bucket.read(&key), other.bucket.read(&key));
}

#[tokio::test]
async fn the_objects_metadata_says_ids_count_digest_and_predecessor() {
    let mut world = World::new().await;
    world.set("max_messages", 2);
    world.set("max_objects", 2);
    let ids = world.send(&[1, 1, 2]);
    world.run().await;
    let keys = world.objects();
    let digest = |key: &str| -> String {
        Sha256::digest(world.bucket.read(key).unwrap()).iter().map(|byte| format!("{byte:02x}")).collect()
    };
    let first = world.bucket.metadata(&keys[0]).unwrap();
    assert_eq!(first["first-id"], ids[0].to_string());
    assert_eq!(first["last-id"], ids[1].to_string());
    assert_eq!(first["count"], "2");
    assert_eq!(first["seq"], "1");
    assert_eq!(first["sha256"], digest(&keys[0]));
    assert!(first["tool"].starts_with("tdmq-backup/"));
    assert!(!first.contains_key("previous-id"));
    let second = world.bucket.metadata(&keys[1]).unwrap();
    assert_eq!(second["seq"], "2");
    assert_eq!(second["previous-id"], ids[1].to_string());
    assert_eq!(second["previous-sha256"], digest(&keys[0]));
}

#[tokio::test]
async fn a_run_with_nothing_to_do_takes_six_round_trips_and_one_request_to_the_store() {
    let mut world = World::new().await;
    world.send(&[1]);
    world.run().await;
    let (round_trips, requests) = (world.broker.round_trips(), world.bucket.requests().len());
    let report = world.run().await;
    assert_eq!(report.outcome, Outcome::NothingToDo);
    assert!(world.broker.round_trips() - round_trips <= 6, "{:?}", world.broker.commands());
    assert_eq!(world.bucket.requests().len() - requests, 1);
    assert_eq!(world.objects().len(), 1);
}

#[tokio::test]
async fn somebody_else_holds_the_subscription_and_the_run_ends_at_once_with_nothing_read() {
    let mut world = World::new().await;
    world.send(&[1]);
    let function = world.function();
    let deadline = world.clock.now() + Duration::from_secs(10);
    let rule = function.rule();
    let cluster = Cluster::new(rule, deadline);
    let holder = cluster.attach(&rule.topic, &rule.subscription, Initial::Earliest).await.unwrap();
    let report = world.run().await;
    assert_eq!(report.outcome, Outcome::Busy);
    assert!(report.error.unwrap().message.contains("ConsumerBusy"));
    assert!(world.bucket.keys().is_empty());
    drop(holder);
}

#[tokio::test]
async fn the_end_of_a_run_is_the_last_message_id_at_its_start() {
    let mut world = World::new().await;
    let ids = world.send(&[1, 1]);
    // Another message arrives as soon as the first has been read.
    let topic = world.topic.clone();
    let late = world.topic.entries()[0].clone();
    let mut once = Some(late);
    let report = world
        .run_while(|_| {
            if let Some(entry) = once.take() {
                let (metadata, payload, broker) = (entry.metadata, entry.payload, entry.broker);
                topic.append(tdmq_backup::testing::compose::Composed { metadata, payload, broker });
            }
        })
        .await;
    assert_eq!(report.stop, Some(Stop::Drained));
    assert_eq!(report.messages, 2);
    assert_eq!(world.mark_delete(), ids[1]);
    assert_eq!(report.backlog_entries, Some(1));
}

#[tokio::test]
async fn the_watermark_is_the_instant_at_which_the_last_id_was_asked_for() {
    let mut world = World::new().await;
    world.send(&[1]);
    let (clock, mut reading) = (world.clock, u64::MAX);
    // What comes while the object is on its way is not in it.
    world.bucket.fail_next(Op::Put, Fault::Slow(Duration::from_millis(20)));
    let report = world.run_while(|_| reading = reading.min(clock.now_ms())).await;
    let at = report.complete_through.unwrap();
    assert!((NOW..=reading).contains(&at));
    assert!(at + report.complete_through_age_ms.unwrap() <= world.clock.now_ms());
    let later = world.run().await.complete_through.unwrap();
    assert!((at..=world.clock.now_ms()).contains(&later));
}

#[tokio::test]
async fn a_run_reads_no_longer_than_the_platform_allows() {
    let mut world = World::new().await;
    world.send(&[1]);
    // The broker says that there is something and never sends it.
    world.broker.script(When::next(CommandType::Flow), Act::NoAnswer);
    let started = world.clock.now();
    let report = world.run_for(Duration::from_secs(2)).await;
    assert!(started.elapsed() < Duration::from_secs(2));
    assert_eq!((report.outcome, report.stop), (Outcome::NothingToDo, Some(Stop::Stalled)));
    assert_eq!(report.complete_through, None);
    world.drain(2).await;
    world.assert_exactly_once();
}

#[tokio::test]
async fn a_broker_that_stops_answering_anywhere_does_not_make_a_run_outlast_its_deadline() {
    let kinds = [
        CommandType::Connect,
        CommandType::PartitionedMetadata,
        CommandType::Lookup,
        CommandType::Subscribe,
        CommandType::GetLastMessageId,
        CommandType::Ack,
        CommandType::ConsumerStats,
        CommandType::CloseConsumer,
    ];
    let time = Duration::from_secs(4);
    let run = async |kind| {
        let mut world = World::new().await;
        world.send(&[1, 2]);
        world.broker.script(When::next(kind), Act::NoAnswer);
        let started = world.clock.now();
        world.run_for(time).await;
        assert!(started.elapsed() < time, "{kind:?}: {:?}", started.elapsed());
        assert_eq!(world.broker.faults_left(), 0, "{kind:?}");
        world.assert_nothing_acknowledged_unstored();
        world.let_go().await;
        world.drain(4).await;
        world.assert_exactly_once();
    };
    futures::future::join_all(kinds.map(|kind| Box::pin(run(kind)))).await;
}

#[tokio::test]
async fn an_acknowledgement_that_the_broker_does_not_confirm_is_reported_and_nothing_is_stored_twice() {
    let mut world = World::new().await;
    world.send(&[1, 1]);
    world.broker.script(When::next(CommandType::Ack), Act::ReceiptButNoAck);
    let report = world.run().await;
    assert_eq!((report.outcome, report.stop), (Outcome::Stored, Some(Stop::Unconfirmed)));
    assert!(!report.objects[0].acknowledged && report.complete_through.is_none());
    let report = world.run().await;
    assert_eq!((report.skipped_entries, report.objects.len()), (2, 0));
    world.assert_exactly_once();
    assert_eq!(world.run().await.outcome, Outcome::NothingToDo);
}

#[tokio::test]
async fn a_broker_without_receipts_or_mark_delete_positions_is_served_too() {
    let config = Config { receipts: false, mark_delete_position: false, protocol_version: 15, ..Config::default() };
    let mut world = World::with(config).await;
    let ids = world.send(&[1, 2]);
    let report = world.run().await;
    assert_eq!(report.outcome, Outcome::Stored, "{report:?}");
    assert_eq!(world.mark_delete(), ids[1]);
    world.assert_exactly_once();
    // Such a broker does not say that there is nothing to do: it is found out by asking for the backlog.
    let report = world.run_for(Duration::from_secs(8)).await;
    assert_eq!((report.outcome, report.stop), (Outcome::NothingToDo, Some(Stop::Drained)));
}

#[tokio::test]
async fn a_missing_subscription_begins_at_earliest_and_with_start_latest_at_the_end() {
    let mut world = World::new().await;
    world.set("start", "\"latest\"");
    world.send(&[1, 1]);
    let report = world.run().await;
    assert_eq!(report.outcome, Outcome::NothingToDo);
    assert_eq!(world.head().unwrap()["start"]["asked"], "latest");
    world.send(&[1]);
    world.run().await;
    assert_eq!(world.numbers(), [3]);
    // The broker forgets the subscription: the rule has begun, so nothing is passed over any more.
    world.topic.delete_subscription(SUBSCRIPTION);
    world.send(&[1]);
    world.drain(4).await;
    assert_eq!(world.numbers(), [1, 2, 3, 4]);
}

#[tokio::test]
async fn the_lookup_may_go_over_http() {
    let mut world = World::with(Config { token: None, ..Config::default() }).await;
    let url = format!("{:?}", world.broker.http_url());
    world.set("service_url", url);
    world.send(&[1]);
    world.drain(2).await;
    world.assert_exactly_once();
    assert_eq!(world.broker.http_requests().len(), 4);
}

#[tokio::test]
async fn a_trimmed_idle_topic_has_nothing_to_do() {
    let mut world = World::new().await;
    let ids = world.send(&[1, 1]);
    world.run().await;
    world.topic.roll_ledger();
    let asked_for_entries = || world.broker.commands().iter().filter(|c| c.kind == CommandType::Flow).count();
    let before = asked_for_entries();
    // The cursor goes first, the ledger later.
    world.topic.set_mark_delete(SUBSCRIPTION, Position::new(ids[1].ledger + 1, -1));
    for trimmed in [false, true] {
        if trimmed {
            world.topic.trim(ids[1]);
        }
        assert_eq!(world.run().await.outcome, Outcome::NothingToDo);
        assert_eq!(asked_for_entries(), before, "nothing is waited for");
    }
    world.send(&[1]);
    world.drain(2).await;
    world.assert_exactly_once();
}

#[tokio::test]
async fn several_ledgers_are_one_topic() {
    let mut world = World::new().await;
    for _ in 0..4 {
        world.send(&[1, 2]);
        world.topic.roll_ledger();
    }
    world.drain(2).await;
    world.assert_exactly_once();
    assert_eq!(world.objects().len(), 1);
    assert_eq!(world.mark_delete(), Position::new(world.mark_delete().ledger, 1));
}

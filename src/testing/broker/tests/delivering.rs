//! Delivering, acknowledging, seeking: what moves the cursor, and what comes next.

use pulsar::proto::ServerError;
use pulsar::proto::base_command::Type;

use super::wire::{SUBSCRIPTION, Wire};
use super::{attached, broker, filled};
use crate::Position;
use crate::testing::broker::{Broker, Config};
use crate::testing::compose::{Composer, Draft};

#[tokio::test]
async fn as_many_entries_come_as_there_are_permits_and_a_batch_takes_them_below_zero() {
    let broker = broker().await;
    let topic = broker.topic("orders");
    let batch = || Composer::new("p").batch((0..10).map(|n| Draft::new(n.to_string())));
    topic.append_all((0..5).map(|_| batch()));
    let mut wire = attached(&broker).await;
    assert!(wire.messages().await.is_empty());
    wire.flow(1, 2).await;
    assert_eq!(wire.messages().await.len(), 2, "two entries of ten messages each for two permits");
    assert_eq!(wire.stats(1).await.unwrap().available_permits() as i64, -18);
    wire.flow(1, 18).await;
    assert!(wire.messages().await.is_empty());
    wire.flow(1, 1).await;
    assert_eq!(wire.messages().await.len(), 1);
}

#[tokio::test]
async fn a_message_carries_its_metadata_under_a_checksum_that_fits() {
    let broker = broker().await;
    let topic = broker.topic("orders");
    let composed = Composer::new("p").at(5).broker(Some(6), Some(0)).single(Draft::new("value").key("k"));
    topic.append(composed.clone());
    let mut wire = attached(&broker).await;
    wire.flow(1, 1).await;
    let message = wire.next().await;
    assert!(message.checksum_fits);
    assert_eq!(
        (&message.metadata, &message.payload, message.broker),
        (&composed.metadata, &composed.payload, composed.broker)
    );
    assert_eq!(message.command.message.unwrap().message_id.partition(), -1);

    topic.set_mark_delete(SUBSCRIPTION, Position::new(0, -1));
    let mut old = Wire::open(&broker).await;
    old.connect_as(10, None).await;
    old.subscribe("orders", 1).await;
    old.flow(1, 1).await;
    let message = old.next().await;
    assert!(message.broker.is_none() && !message.checksum_fits, "neither is sent to so old a client");
    assert_eq!(message.payload, composed.payload);
}

#[tokio::test]
async fn what_is_appended_later_comes_by_itself() {
    let broker = broker().await;
    let (topic, _) = filled(&broker, 0);
    let mut wire = attached(&broker).await;
    wire.flow(1, 10).await;
    assert!(wire.messages().await.is_empty());
    let position = topic.append(Composer::new("p").single(Draft::new("x")));
    assert_eq!(wire.next().await.position(), position);
}

#[tokio::test]
async fn an_acknowledgement_is_answered_by_a_receipt_and_moves_the_cursor() {
    let broker = broker().await;
    let (topic, positions) = filled(&broker, 3);
    let mut wire = attached(&broker).await;
    wire.acknowledge(1, positions[1]).await;
    let receipt = wire.next().await.command.ack_response.unwrap();
    assert_eq!((receipt.consumer_id, receipt.request_id, receipt.error), (1, Some(2), None));
    assert_eq!(topic.subscription(SUBSCRIPTION).unwrap().mark_delete, positions[1]);
    for nothing in [positions[0], Position::new(positions[2].ledger, 99)] {
        wire.acknowledge(1, nothing).await;
        assert!(wire.next().await.command.ack_response.unwrap().error.is_none());
        assert_eq!(topic.subscription(SUBSCRIPTION).unwrap().mark_delete, positions[1]);
    }
}

#[tokio::test]
async fn an_acknowledgement_for_an_unknown_consumer_is_dropped_in_silence() {
    let broker = broker().await;
    let (topic, positions) = filled(&broker, 3);
    let mut wire = attached(&broker).await;
    wire.acknowledge(2, positions[1]).await;
    assert!(wire.drain().await.is_empty());
    assert_eq!(topic.subscription(SUBSCRIPTION).unwrap().backlog, 3);
}

#[tokio::test]
async fn an_older_broker_sends_no_receipt_and_no_mark_delete_position() {
    let config = Config { receipts: false, mark_delete_position: false, ..Config::default() };
    let broker = Broker::start(config).await;
    let (_, positions) = filled(&broker, 1);
    let mut wire = attached(&broker).await;
    wire.acknowledge(1, positions[0]).await;
    assert_eq!(wire.last_message_id(1).await.last(), (positions[0], -1, None));
}

#[tokio::test]
async fn the_last_message_id_names_the_batch_index_and_the_mark_delete_position() {
    let broker = broker().await;
    let (topic, _) = filled(&broker, 0);
    let mut wire = attached(&broker).await;
    let start = Position::new(17, -1);
    assert_eq!(wire.last_message_id(1).await.last(), (Position::new(-1, -1), -1, Some(start)));
    let last = topic.append(Composer::new("p").batch([Draft::new("a"), Draft::new("b")]));
    assert_eq!(wire.last_message_id(1).await.last(), (last, 1, Some(start)));
    topic.roll_ledger();
    assert_eq!(wire.last_message_id(1).await.last(), (last, 1, Some(start)), "the new ledger is empty");
    topic.trim(last);
    assert_eq!(wire.last_message_id(1).await.last(), (Position::new(-1, -1), -1, Some(Position::new(18, -1))));
    assert_eq!(wire.last_message_id(9).await.error(), (ServerError::MetadataError, "Consumer not found"));
}

#[tokio::test]
async fn statistics_count_the_backlog_and_an_unknown_consumer_ends_the_connection() {
    let broker = broker().await;
    let (topic, positions) = filled(&broker, 5);
    let mut wire = attached(&broker).await;
    topic.acknowledge_one(SUBSCRIPTION, positions[3]);
    assert_eq!(wire.stats(1).await.unwrap().msg_backlog(), 4);
    assert!(wire.stats(2).await.is_none());
}

#[tokio::test]
async fn after_a_close_the_next_consumer_starts_behind_the_mark_delete_position() {
    let broker = broker().await;
    let (_, positions) = filled(&broker, 4);
    let mut wire = attached(&broker).await;
    wire.flow(1, 3).await;
    assert_eq!(wire.messages().await, positions[..3]);
    wire.acknowledge(1, positions[0]).await;
    wire.drain().await;
    assert_eq!(wire.close(1).await.kind(), Type::Success);
    wire.subscribe("orders", 2).await;
    wire.flow(2, 9).await;
    assert_eq!(wire.messages().await, positions[1..]);
    wire.redeliver(2).await;
    assert_eq!(wire.messages().await, positions[1..], "the permits were 9");
}

#[tokio::test]
async fn a_seek_closes_the_consumer_and_the_next_one_gets_the_entry_asked_for() {
    let broker = broker().await;
    let (topic, positions) = filled(&broker, 3);
    topic.roll_ledger();
    let next = topic.append(Composer::new("p").at(60_000).single(Draft::new("x")));
    let beyond = Position::new(positions[2].ledger, 77);
    let cases = [
        (Some(positions[1]), None, positions[0]),
        (Some(Position::new(-1, -1)), None, Position::new(17, -1)),
        (Some(next), None, positions[2]),
        (Some(beyond), None, positions[2]),
        (Some(Position::new(i64::MAX, i64::MAX)), None, next),
        (None, Some(1_500), positions[1]),
        (None, Some(1_000), positions[0]),
        (None, Some(0), Position::new(17, -1)),
        (None, Some(90_000), next),
    ];
    let mut wire = Wire::connect(&broker).await;
    for (consumer, (id, time, mark_delete)) in (1..).zip(cases) {
        wire.subscribe("orders", consumer).await;
        wire.seek(consumer, id, time).await;
        assert_eq!(wire.next().await.kind(), Type::CloseConsumer);
        assert_eq!(wire.next().await.kind(), Type::Success);
        assert_eq!(topic.subscription(SUBSCRIPTION).unwrap().mark_delete, mark_delete, "{id:?} {time:?}");
    }
    let mut old = Wire::open(&broker).await;
    old.connect_as(4, None).await;
    old.subscribe("orders", 1).await;
    old.seek(1, None, Some(0)).await;
    assert!(old.read().await.is_none(), "too old to be told that its consumer is closed");
}

#[tokio::test]
async fn expired_and_single_acknowledged_entries_are_not_delivered() {
    let broker = broker().await;
    let (topic, positions) = filled(&broker, 6);
    topic.subscribe_at_earliest(SUBSCRIPTION);
    topic.expire(2);
    topic.acknowledge_one(SUBSCRIPTION, positions[4]);
    let mut wire = attached(&broker).await;
    wire.flow(1, 9).await;
    assert_eq!(wire.messages().await, [positions[2], positions[3], positions[5]]);
    wire.acknowledge(1, positions[3]).await;
    wire.drain().await;
    assert_eq!(topic.subscription(SUBSCRIPTION).unwrap().mark_delete, positions[4], "drawn over the hole");
}

#[tokio::test]
async fn a_topic_made_anew_gets_higher_ledger_ids() {
    let broker = broker().await;
    let (topic, before) = filled(&broker, 1);
    topic.delete();
    assert!(filled(&broker, 1).1[0].ledger > before[0].ledger);
}

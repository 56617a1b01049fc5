//! Connecting, asking for partitions, subscribing: who is let in, and where a subscription starts.

use prost::Message as _;
use pulsar::proto::base_command::Type;
use pulsar::proto::command_subscribe::InitialPosition;
use pulsar::proto::*;

use super::wire::{SUBSCRIPTION, Wire};
use super::{attached, broker, filled};
use crate::Position;
use crate::testing::broker::{Broker, Config};

async fn partitions(wire: &mut Wire, topic: &str, creation: Option<bool>) -> CommandPartitionedTopicMetadataResponse {
    let ask = CommandPartitionedTopicMetadata { topic: topic.into(), request_id: 9, ..Default::default() };
    let mut inner = ask.encode_to_vec();
    if let Some(creation) = creation {
        inner.extend([6 << 3, creation.into()]);
    }
    let mut command = vec![1 << 3, Type::PartitionedMetadata as u8, 0xaa, 0x01, inner.len() as u8];
    command.extend(inner);
    wire.send_raw(&command).await;
    wire.next().await.command.partition_metadata_response.unwrap()
}

#[tokio::test]
async fn a_wrong_token_is_refused_and_the_connection_closed() {
    let broker = Broker::start(Config { token: Some("secret".into()), ..Config::default() }).await;
    let mut wire = Wire::open(&broker).await;
    let answer = wire.connect_as(19, Some("guess")).await.unwrap();
    assert_eq!(answer.error(), (ServerError::AuthenticationError, "Failed to authenticate"));
    assert_eq!(answer.command.error.unwrap().request_id, u64::MAX);
    assert!(wire.read().await.is_none());
    assert_eq!(Wire::open(&broker).await.connect_as(19, Some("secret")).await.unwrap().kind(), Type::Connected);
}

#[tokio::test]
async fn nothing_is_answered_before_the_connection_is_made() {
    let broker = broker().await;
    let mut wire = Wire::open(&broker).await;
    wire.flow(1, 1).await;
    assert!(wire.read().await.is_none());
}

#[tokio::test]
async fn the_lower_protocol_version_is_agreed_on() {
    let broker = Broker::start(Config { protocol_version: 13, ..Config::default() }).await;
    let answer = Wire::open(&broker).await.connect_as(19, None).await.unwrap().command.connected.unwrap();
    assert_eq!((answer.protocol_version(), answer.max_message_size()), (13, 5 * 1024 * 1024));
}

#[tokio::test]
async fn a_missing_topic_is_not_found_unless_the_client_lets_it_be_created() {
    let broker = broker().await;
    broker.partitioned("split", 4);
    let mut wire = Wire::connect(&broker).await;
    let missing = partitions(&mut wire, "nosuch", Some(false)).await;
    assert_eq!((missing.partitions, missing.error()), (None, ServerError::TopicNotFound));
    assert_eq!(partitions(&mut wire, "nosuch", None).await.partitions, Some(0));
    assert_eq!(partitions(&mut wire, "split", Some(false)).await.partitions, Some(4));
    let asked: Vec<_> = broker.commands()[1..].iter().map(|recorded| recorded.metadata_auto_creation()).collect();
    assert_eq!(asked, [Some(false), None, Some(false)]);

    let answer = wire.subscribe_with("nosuch", 1, |_| {}).await;
    assert_eq!(answer.error(), (ServerError::TopicNotFound, "Topic persistent://public/default/nosuch does not exist"));
    assert!(!broker.has_topic("nosuch"));
    wire.subscribe_with("nosuch", 1, |subscribe| subscribe.force_topic_creation = None).await;
    assert!(broker.has_topic("nosuch"));
}

#[tokio::test]
async fn a_second_consumer_is_busy_until_the_first_is_gone() {
    let broker = broker().await;
    filled(&broker, 1);
    let first = attached(&broker).await;
    let mut second = Wire::connect(&broker).await;
    let answer = second.subscribe_with("orders", 7, |_| {}).await;
    assert_eq!(answer.error(), (ServerError::ConsumerBusy, "Exclusive consumer is already connected"));
    drop(first);
    broker.until(|broker| broker.connections() == 1).await;
    second.subscribe("orders", 7).await;
}

#[tokio::test]
async fn a_fenced_subscription_and_a_missing_one_are_told_apart() {
    let broker = Broker::start(Config { auto_create_subscriptions: false, ..Config::default() }).await;
    let (topic, _) = filled(&broker, 1);
    let mut wire = Wire::connect(&broker).await;
    let answer = wire.subscribe_with("orders", 1, |_| {}).await;
    assert_eq!(answer.error(), (ServerError::SubscriptionNotFound, "Subscription does not exist"));
    topic.subscribe_at_earliest(SUBSCRIPTION);
    topic.fence(SUBSCRIPTION, true);
    let answer = wire.subscribe_with("orders", 1, |_| {}).await;
    assert_eq!(answer.error(), (ServerError::ServiceNotReady, "Subscription is fenced"));
    topic.fence(SUBSCRIPTION, false);
    wire.subscribe("orders", 1).await;
}

#[tokio::test]
async fn a_new_subscription_starts_where_it_is_asked_to() {
    let broker = broker().await;
    let (topic, positions) = filled(&broker, 2);
    let mut wire = Wire::connect(&broker).await;
    let latest = |subscribe: &mut CommandSubscribe| subscribe.initial_position = Some(InitialPosition::Latest as i32);
    wire.subscribe_with("orders", 1, latest).await;
    assert_eq!(topic.subscription(SUBSCRIPTION).unwrap().mark_delete, positions[1]);
    topic.delete_subscription(SUBSCRIPTION);
    assert_eq!(wire.next().await.kind(), Type::CloseConsumer);
    wire.subscribe("orders", 1).await;
    assert_eq!(topic.subscription(SUBSCRIPTION).unwrap().mark_delete, Position::new(positions[0].ledger, -1));
}

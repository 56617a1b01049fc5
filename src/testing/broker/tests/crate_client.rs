//! The `pulsar` crate's own consumer against the broker.

use futures::StreamExt;
use pulsar::consumer::InitialPosition;
use pulsar::{Authentication, Consumer, ConsumerOptions, Pulsar, SubType, TokioExecutor};

use crate::testing::broker::{Broker, Config};
use crate::testing::compose::{Composer, Draft};

async fn client(broker: &Broker, token: Option<&str>) -> Result<Pulsar<TokioExecutor>, pulsar::Error> {
    let mut builder = Pulsar::builder(broker.url(), TokioExecutor);
    if let Some(token) = token {
        builder = builder.with_auth(Authentication { name: "token".into(), data: token.as_bytes().to_vec() });
    }
    builder.build().await
}

async fn consumer(pulsar: &Pulsar<TokioExecutor>, topic: &str) -> Consumer<Vec<u8>, TokioExecutor> {
    let earliest = ConsumerOptions::default().with_initial_position(InitialPosition::Earliest);
    pulsar
        .consumer()
        .with_topic(topic)
        .with_subscription("backup")
        .with_subscription_type(SubType::Exclusive)
        .with_options(earliest)
        .build()
        .await
        .unwrap()
}

#[tokio::test]
async fn the_crates_consumer_receives_single_messages_and_batches_and_moves_the_cursor() {
    let broker = Broker::start(Config { token: Some("secret".into()), ..Config::default() }).await;
    let topic = broker.topic("orders");
    let mut composer = Composer::new("p").at(1_000);
    topic.append(composer.single(Draft::new("one").key("k").property("a", "b")));
    let batch = topic.append(composer.batch([Draft::new("two").key("x"), Draft::new("three"), Draft::new("four")]));
    let last = topic.append(composer.single(Draft::new("five")));

    let pulsar = client(&broker, Some("secret")).await.unwrap();
    let mut consumer = consumer(&pulsar, "persistent://public/default/orders").await;
    let mut bodies = Vec::new();
    for _ in 0..5 {
        let message = consumer.next().await.unwrap().unwrap();
        bodies.push(String::from_utf8(message.payload.data.clone()).unwrap());
        if bodies.len() == 1 {
            assert_eq!(message.payload.metadata.partition_key.as_deref(), Some("k"));
            assert_eq!(message.payload.metadata.properties[0].value, "b");
        }
        if bodies.len() == 4 {
            consumer.cumulative_ack(&message).await.unwrap();
        }
    }
    assert_eq!(bodies, ["one", "two", "three", "four", "five"]);
    broker.until(|_| topic.subscription("backup").unwrap().mark_delete == batch).await;
    assert_eq!(topic.subscription("backup").unwrap().backlog, 1);
    assert_eq!(consumer.get_last_message_id().await.unwrap()[0].entry_id, last.entry as u64);
    assert_eq!(consumer.get_stats().await.unwrap()[0].msg_backlog, Some(1));
    consumer.close().await.unwrap();
    broker.until(|_| !topic.subscription("backup").unwrap().attached).await;
}

#[tokio::test]
async fn the_crates_consumer_gets_what_it_did_not_acknowledge_again() {
    let broker = Broker::start(Config::default()).await;
    let topic = broker.topic("orders");
    let mut composer = Composer::new("p");
    topic.append_all((0..4).map(|n| composer.single(Draft::new(n.to_string()))));
    let pulsar = client(&broker, None).await.unwrap();
    let mut consumer = consumer(&pulsar, "persistent://public/default/orders").await;
    let second = {
        consumer.next().await.unwrap().unwrap();
        consumer.next().await.unwrap().unwrap()
    };
    consumer.cumulative_ack(&second).await.unwrap();
    broker.until(|_| topic.subscription("backup").unwrap().backlog == 2).await;
    topic.unload();
    let mut again = Vec::new();
    while again.last().is_none_or(|last| last != "3") || again.len() < 4 {
        again.push(String::from_utf8(consumer.next().await.unwrap().unwrap().payload.data).unwrap());
    }
    assert_eq!(again, ["2", "3", "2", "3"], "what it held, and then what the broker sent again");
}

#[tokio::test]
async fn the_crates_client_is_turned_away_with_a_wrong_token() {
    let broker = Broker::start(Config { token: Some("secret".into()), ..Config::default() }).await;
    assert!(client(&broker, Some("guess")).await.is_err());
    broker.until(|broker| broker.connections() == 0).await;
}

#[tokio::test]
async fn the_crates_consumer_finds_the_partitions_of_a_topic() {
    let broker = Broker::start(Config::default()).await;
    let partitions = broker.partitioned("orders", 2);
    for (n, partition) in partitions.iter().enumerate() {
        partition.append(Composer::new("p").single(Draft::new(n.to_string())));
    }
    let pulsar = client(&broker, None).await.unwrap();
    let mut consumer = consumer(&pulsar, "persistent://public/default/orders").await;
    let mut partitions = Vec::new();
    for _ in 0..2 {
        let message = consumer.next().await.unwrap().unwrap();
        partitions.push(message.message_id.id.partition());
    }
    partitions.sort();
    assert_eq!(partitions, [0, 1]);
}

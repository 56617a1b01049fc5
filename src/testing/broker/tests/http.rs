//! The HTTP side, over a bare connection.

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::testing::broker::{Broker, Config};

async fn get(broker: &Broker, target: &str, token: Option<&str>) -> (u16, serde_json::Value) {
    let mut stream = TcpStream::connect(broker.http_url().replace("http://", "")).await.unwrap();
    let authorization = token.map(|token| format!("Authorization: Bearer {token}\r\n")).unwrap_or_default();
    let request = format!("GET {target} HTTP/1.1\r\nHost: x\r\n{authorization}X-Pulsar-ListenerName: vpc\r\n\r\n");
    stream.write_all(request.as_bytes()).await.unwrap();
    stream.shutdown().await.unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.unwrap();
    let status = answer.split(' ').nth(1).unwrap().parse().unwrap();
    (status, serde_json::from_str(answer.split("\r\n\r\n").nth(1).unwrap()).unwrap())
}

const PARTITIONS: &str = "/admin/v2/persistent/public/default/orders/partitions";
const LOOKUP: &str = "/lookup/v2/topic/persistent/public/default/orders-partition-1?listenerName=vpc";

#[tokio::test]
async fn partitions_and_lookup_are_answered_to_the_right_token_only() {
    let broker = Broker::start(Config { token: Some("secret".into()), ..Config::default() }).await;
    broker.partitioned("orders", 3);
    broker.advertise(Some("vpc"), &broker.url());
    assert_eq!(get(&broker, PARTITIONS, None).await.0, 401);
    assert_eq!(get(&broker, LOOKUP, Some("guess")).await.0, 401);
    assert_eq!(get(&broker, PARTITIONS, Some("secret")).await, (200, serde_json::json!({"partitions": 3})));
    let (status, answer) = get(&broker, LOOKUP, Some("secret")).await;
    assert_eq!((status, answer["brokerUrl"].as_str()), (200, Some(broker.url().as_str())));
    let last = broker.http_requests().pop().unwrap();
    assert_eq!((last.query.as_str(), last.listener.as_deref()), ("listenerName=vpc", Some("vpc")));
}

#[tokio::test]
async fn asking_for_a_missing_topic_does_not_make_it() {
    let broker = Broker::start(Config::default()).await;
    assert_eq!(get(&broker, PARTITIONS, None).await.0, 404);
    let asked = format!("{PARTITIONS}?checkAllowAutoCreation=true");
    assert_eq!(get(&broker, &asked, None).await.0, 200);
    assert!(!broker.has_topic("orders"));

    let strict = Broker::start(Config { auto_create_topics: false, ..Config::default() }).await;
    assert_eq!(get(&strict, &asked, None).await.0, 404);
    assert_eq!(get(&strict, LOOKUP, None).await.0, 404);
}

#[tokio::test]
async fn a_listener_that_there_is_not_fails_the_lookup() {
    let broker = Broker::start(Config::default()).await;
    broker.topic("orders-partition-1");
    assert_eq!(get(&broker, LOOKUP, None).await.0, 500);
}

#[tokio::test]
async fn a_canned_answer_comes_once() {
    let broker = Broker::start(Config::default()).await;
    broker.topic("orders");
    broker.answer_http(503, "{}");
    assert_eq!(get(&broker, PARTITIONS, None).await.0, 503);
    assert_eq!(get(&broker, PARTITIONS, None).await.0, 200);
}

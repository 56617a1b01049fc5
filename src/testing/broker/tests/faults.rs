//! Every scripted fault happens once, and leaves behind what it says.

use std::time::Duration;

use pulsar::proto::base_command::Type;
use pulsar::proto::*;

use super::wire::{SUBSCRIPTION, Wire, base};
use crate::Position;
use crate::testing::broker::{Act, Broker, Config, Topic, When};
use crate::testing::compose::{Composer, Draft};

/// A topic of four messages with a consumer that has permits for none.
async fn setting() -> (Broker, Topic, Vec<Position>, Wire) {
    let broker = Broker::start(Config::default()).await;
    let topic = broker.topic("orders");
    let positions = topic.append_all((0..4).map(|_| Composer::new("p").single(Draft::new("x"))));
    let mut wire = Wire::connect(&broker).await;
    wire.subscribe("orders", 1).await;
    (broker, topic, positions, wire)
}

fn mark_delete(topic: &Topic) -> Position {
    topic.subscription(SUBSCRIPTION).unwrap().mark_delete
}

#[tokio::test]
async fn acknowledgement_and_receipt_can_be_parted() {
    let (broker, topic, positions, mut wire) = setting().await;
    broker.script(When::nth(Type::Ack, 1), Act::AckButNoReceipt);
    broker.script(When::nth(Type::Ack, 2), Act::ReceiptButNoAck);
    broker.script(When::nth(Type::Ack, 3), Act::NoAnswer);
    wire.acknowledge(1, positions[0]).await;
    assert!(wire.drain().await.is_empty());
    assert_eq!(mark_delete(&topic), positions[0]);
    wire.acknowledge(1, positions[1]).await;
    assert_eq!(wire.next().await.kind(), Type::AckResponse);
    assert_eq!(mark_delete(&topic), positions[0]);
    wire.acknowledge(1, positions[1]).await;
    assert!(wire.drain().await.is_empty());
    assert_eq!((mark_delete(&topic), broker.faults_left()), (positions[0], 0));
    wire.acknowledge(1, positions[1]).await;
    assert_eq!(wire.next().await.kind(), Type::AckResponse);
    assert_eq!(mark_delete(&topic), positions[1]);
}

#[tokio::test]
async fn a_connection_drops_before_or_after_the_command_is_carried_out() {
    let (broker, topic, positions, mut wire) = setting().await;
    broker.script(When::next(Type::Ack), Act::DropConnection);
    wire.acknowledge(1, positions[0]).await;
    assert!(wire.read().await.is_none());
    let start = Position::new(positions[0].ledger, -1);
    assert_eq!((mark_delete(&topic), topic.subscription(SUBSCRIPTION).unwrap().attached), (start, false));

    broker.script(When::next(Type::Ack), Act::AnswerThenDrop);
    let mut wire = Wire::connect(&broker).await;
    wire.subscribe("orders", 1).await;
    wire.acknowledge(1, positions[0]).await;
    assert_eq!(wire.next().await.kind(), Type::AckResponse);
    assert!(wire.read().await.is_none());
    assert_eq!(mark_delete(&topic), positions[0]);
}

#[tokio::test]
async fn a_consumer_closed_before_its_acknowledgement_loses_it_in_silence() {
    let (broker, topic, positions, mut wire) = setting().await;
    broker.script(When::next(Type::Ack), Act::ClosesConsumer);
    wire.acknowledge(1, positions[0]).await;
    let frames = wire.drain().await;
    assert_eq!(frames.iter().map(|frame| frame.kind()).collect::<Vec<_>>(), [Type::CloseConsumer]);
    assert_eq!(topic.subscription(SUBSCRIPTION).unwrap().backlog, 4);
}

#[tokio::test]
async fn the_nth_message_can_be_corrupt_left_out_or_the_last() {
    let (broker, _, positions, mut wire) = setting().await;
    broker.script(When::nth(Type::Message, 1), Act::CorruptCrc);
    broker.script(When::nth(Type::Message, 2), Act::NoAnswer);
    broker.script(When::nth(Type::Message, 4), Act::ClosesConsumer);
    wire.flow(1, 9).await;
    let frames = wire.drain().await;
    assert_eq!((frames[0].position(), frames[0].checksum_fits), (positions[0], false));
    assert_eq!((frames[1].position(), frames[1].checksum_fits), (positions[2], true));
    assert_eq!(frames[2].kind(), Type::CloseConsumer);
    assert_eq!((frames.len(), broker.faults_left()), (3, 0));
}

#[tokio::test]
async fn errors_come_in_the_form_that_belongs_to_the_command() {
    let (broker, _, positions, mut wire) = setting().await;
    let denied = || Act::Error(ServerError::AuthorizationError, "Client is not authorized".into());
    for kind in [Type::Ack, Type::Lookup, Type::GetLastMessageId, Type::ConsumerStats] {
        broker.script(When::next(kind), denied());
    }
    wire.acknowledge(1, positions[0]).await;
    let receipt = wire.next().await.command.ack_response.unwrap();
    assert_eq!(receipt.error(), ServerError::AuthorizationError);
    assert_eq!(lookup(&mut wire).await.error(), ServerError::AuthorizationError);
    assert_eq!(wire.last_message_id(1).await.error().0, ServerError::AuthorizationError);
    assert_eq!(wire.stats(1).await.unwrap().error_code(), ServerError::AuthorizationError);
}

async fn lookup(wire: &mut Wire) -> CommandLookupTopicResponse {
    let ask = CommandLookupTopic { topic: "orders".into(), request_id: wire.request(), ..Default::default() };
    wire.send(BaseCommand { lookup_topic: Some(ask), ..base(Type::Lookup) }).await;
    wire.next().await.command.lookup_topic_response.unwrap()
}

#[tokio::test]
async fn a_lookup_redirects_goes_through_the_proxy_and_then_connects() {
    use pulsar::proto::command_lookup_topic_response::LookupType;
    let (broker, _, _, mut wire) = setting().await;
    broker.script(When::next(Type::Lookup), Act::Redirect { url: "pulsar://other:6650".into(), authoritative: true });
    broker.script(When::next(Type::Lookup), Act::ThroughProxy { broker: "pulsar://inside:6650".into() });
    let redirect = lookup(&mut wire).await;
    assert_eq!((redirect.response(), redirect.authoritative()), (LookupType::Redirect, true));
    let proxied = lookup(&mut wire).await;
    assert!(proxied.proxy_through_service_url());
    assert_eq!((proxied.response(), proxied.broker_service_url()), (LookupType::Connect, "pulsar://inside:6650"));
    assert_eq!(lookup(&mut wire).await.broker_service_url(), broker.url());
}

#[tokio::test]
async fn a_delay_holds_everything_behind_it() {
    let (broker, topic, positions, mut wire) = setting().await;
    broker.script(When::next(Type::Ack), Act::Delay(Duration::from_millis(1)));
    wire.acknowledge(1, positions[0]).await;
    wire.flow(1, 1).await;
    assert_eq!(wire.next().await.kind(), Type::AckResponse);
    assert_eq!(wire.next().await.position(), positions[1], "what was acknowledged is not sent any more");
    assert_eq!(mark_delete(&topic), positions[0]);
}

#[tokio::test]
async fn a_crash_forgets_the_last_acknowledgements_and_every_connection() {
    let (broker, topic, positions, mut wire) = setting().await;
    for position in &positions[..3] {
        wire.acknowledge(1, *position).await;
        wire.next().await;
    }
    broker.crash_rewinding(2);
    assert!(wire.read().await.is_none());
    assert_eq!((mark_delete(&topic), broker.connections()), (positions[0], 0));
    let mut wire = Wire::connect(&broker).await;
    wire.subscribe("orders", 1).await;
    wire.flow(1, 9).await;
    assert_eq!(wire.messages().await, positions[1..]);
}

#[tokio::test]
async fn a_connection_is_cut_in_the_middle_of_a_frame() {
    let (broker, _, _, mut wire) = setting().await;
    broker.cut_after(10);
    wire.flow(1, 9).await;
    assert!(wire.read().await.is_none());
    broker.until(|broker| broker.connections() == 0).await;
    let mut wire = Wire::connect(&broker).await;
    wire.subscribe("orders", 1).await;
    wire.flow(1, 9).await;
    assert_eq!(wire.messages().await.len(), 4, "only once");
}

#[tokio::test]
async fn an_administrator_moves_the_cursor_both_ways() {
    let (_broker, topic, positions, mut wire) = setting().await;
    wire.flow(1, 1).await;
    wire.next().await;
    topic.set_mark_delete(SUBSCRIPTION, positions[2]);
    wire.flow(1, 9).await;
    assert_eq!(wire.messages().await, positions[3..], "skipped, and the consumer stays");
    topic.set_mark_delete(SUBSCRIPTION, positions[0]);
    assert_eq!(wire.next().await.kind(), Type::CloseConsumer);
    wire.subscribe("orders", 2).await;
    wire.flow(2, 9).await;
    assert_eq!(wire.messages().await, positions[1..]);
}

#[tokio::test]
async fn round_trips_are_counted_and_pings_answered() {
    let (broker, _, _, mut wire) = setting().await;
    wire.flow(1, 1).await;
    wire.drain().await;
    wire.last_message_id(1).await;
    assert_eq!(broker.round_trips(), 4, "connect, subscribe, ping, last message id");
    broker.ping();
    assert_eq!(wire.next().await.kind(), Type::Ping);
    wire.send(BaseCommand { pong: Some(CommandPong {}), ..base(Type::Pong) }).await;
    broker.until(|broker| broker.commands().last().is_some_and(|last| last.kind == Type::Pong)).await;
}

#[tokio::test]
async fn a_dropped_broker_closes_its_connections_and_its_port() {
    let (broker, _, _, mut wire) = setting().await;
    let url = broker.url().replace("pulsar://", "");
    drop(broker);
    assert!(wire.read().await.is_none());
    assert!(tokio::net::TcpStream::connect(url).await.is_err());
}

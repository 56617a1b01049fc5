//! The one message that `make smoke` sends: stored as any other, and nothing is claimed of it that nobody said.

use std::time::Duration;

use tdmq_backup::Kind;
use tdmq_backup::run::send::{Sent, send};
use tdmq_backup::testing::broker::{Act, CommandType, ServerError, When};
use tokio::time::Instant;

use crate::world::World;

fn soon(world: &World) -> Instant {
    world.clock.now() + Duration::from_secs(30)
}

#[tokio::test]
async fn a_message_that_is_sent_is_where_its_receipt_says_and_the_next_run_stores_it() {
    let world = World::begun().await;
    let function = world.function();
    let sent = send(function.rule(), b"{\"n\":1}", 1_700_000_000_123, soon(&world)).await.unwrap();
    let entries = world.topic.entries();
    let entry = entries.last().unwrap();
    assert_eq!(sent, Sent { partition: -1, position: entry.position });
    assert_eq!((&entry.payload[..], entry.metadata.publish_time), (&b"{\"n\":1}"[..], 1_700_000_000_123));
    let report = world.run().await;
    assert_eq!((report.messages, report.objects[0].first_id.position), (1, sent.position), "{report:?}");
}

#[tokio::test]
async fn a_message_goes_to_a_partition_that_the_rule_reads_and_never_makes_a_topic() {
    let mut world = World::new().await;
    let partitions = world.broker.partitioned("many", 3);
    world.set("topic", "\"persistent://public/default/many\"");
    world.set("shard", "\"2/2\"");
    let sent = send(world.function().rule(), b"x", 0, soon(&world)).await.unwrap();
    assert_eq!(sent.partition, 1);
    assert_eq!(partitions.iter().map(|topic| topic.entries().len()).collect::<Vec<_>>(), [0, 1, 0]);
    world.set("topic", "\"persistent://public/default/mistyped\"");
    let error = send(world.function().rule(), b"x", 0, soon(&world)).await.unwrap_err();
    assert_eq!(error.kind(), Kind::NotFound, "{}", error.chain());
    assert!(!world.broker.has_topic("mistyped"));
}

#[tokio::test]
async fn a_message_that_may_be_stored_is_not_called_refused() {
    for (act, kind, text) in [
        (Act::AnswerThenDrop, None, ""),
        (Act::DropConnection, Some(Kind::Unknown), "it may be stored or not"),
        (Act::Error(ServerError::AuthorizationError, "no".into()), Some(Kind::Denied), "`produce`, to send"),
        (Act::Error(ServerError::TopicTerminatedError, "over".into()), Some(Kind::Unavailable), "over"),
    ] {
        let world = World::new().await;
        world.broker.script(When::next(CommandType::Send), act);
        let sent = send(world.function().rule(), b"x", 0, soon(&world)).await;
        match (kind, sent) {
            (None, Ok(sent)) => assert_eq!(world.topic.entries()[0].position, sent.position),
            (Some(kind), Err(error)) => {
                assert_eq!(error.kind(), kind, "{}", error.chain());
                assert!(error.chain().contains(text), "{}", error.chain());
            }
            (_, other) => panic!("{other:?}"),
        }
    }
}

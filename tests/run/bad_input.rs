//! What is wrong is said once, with what to do; nothing is lost by it.

use serde_json::Value;
use tdmq_backup::report::{Outcome, Report};
use tdmq_backup::testing::broker::{Act, CommandType, Config, ServerError, When};
use tdmq_backup::testing::compose::{Composer, Compression, Draft};

use crate::world::{NOW, SUBSCRIPTION, World};

const MARKER: &str = "marker-token-7f3a";

fn refused(report: &Report) -> (&'static str, String) {
    assert_eq!(report.outcome, Outcome::Failed, "{report:?}");
    let error = report.error.clone().unwrap();
    (error.kind, error.message)
}

#[tokio::test]
async fn the_right_token_is_let_in_and_stands_nowhere() {
    let mut world = World::with(Config { token: Some(MARKER.into()), ..Config::default() }).await;
    world.send(&[1]);
    let report = world.run_with_token(MARKER).await;
    assert_eq!(report.outcome, Outcome::Stored, "{report:?}");
    world.assert_exactly_once();
    assert!(!serde_json::to_string(&report).unwrap().contains(MARKER));
    for key in world.bucket.keys() {
        let bytes = world.bucket.read(&key).unwrap();
        assert!(!bytes.windows(MARKER.len()).any(|window| window == MARKER.as_bytes()));
    }
}

#[tokio::test]
async fn a_wrong_token_is_refused_with_the_brokers_own_words_and_is_not_shown() {
    for http in [false, true] {
        let mut world = World::with(Config { token: Some("right".into()), ..Config::default() }).await;
        if http {
            let url = format!("{:?}", world.broker.http_url());
            world.set("service_url", url);
        }
        world.send(&[1]);
        let (kind, message) = refused(&world.run_with_token(MARKER).await);
        assert_eq!(kind, "denied");
        assert!(message.contains("TDMQ_BACKUP_TOKEN") && !message.contains(MARKER), "{message}");
        assert!(http || message.contains("Failed to authenticate"), "{message}");
        assert!(world.bucket.keys().is_empty());
    }
}

#[tokio::test]
async fn a_role_without_a_grant_is_told_which() {
    let mut world = World::new().await;
    world.send(&[1]);
    let words = "Client is not authorized to subscribe".to_owned();
    world.broker.script(When::next(CommandType::Subscribe), Act::Error(ServerError::AuthorizationError, words));
    let (kind, message) = refused(&world.run().await);
    assert_eq!(kind, "denied");
    assert!(message.contains("grant it `consume`") && message.contains("not authorized to subscribe"), "{message}");
}

#[tokio::test]
async fn a_mistyped_topic_is_an_error_and_does_not_come_into_being() {
    for http in [false, true] {
        let mut world = World::new().await;
        world.set("topic", "\"persistent://public/default/ordres\"");
        if http {
            let url = format!("{:?}", world.broker.http_url());
            world.set("service_url", url);
        }
        let (kind, message) = refused(&world.run().await);
        assert_eq!(kind, "not_found", "{message}");
        assert!(message.contains("does not exist"), "{message}");
        assert!(!world.broker.has_topic("ordres"));
        assert!(world.bucket.keys().is_empty());
    }
}

#[tokio::test]
async fn the_partition_metadata_request_says_not_to_create_the_topic() {
    let mut world = World::new().await;
    world.send(&[1]);
    world.run().await;
    let commands = world.broker.commands();
    let asked = commands.iter().find(|c| c.kind == CommandType::PartitionedMetadata).unwrap();
    assert_eq!(asked.metadata_auto_creation(), Some(false));
}

#[tokio::test]
async fn the_partition_request_over_http_says_not_to_create_the_topic() {
    let mut world = World::new().await;
    world.send(&[1]);
    world.set("service_url", format!("{:?}", world.broker.http_url()));
    world.run().await;
    let requests = world.broker.http_requests();
    let asked = requests.iter().find(|request| request.path.ends_with("/partitions")).unwrap();
    assert_eq!(asked.query, "checkAllowAutoCreation=false");
}

#[tokio::test]
async fn a_missing_bucket_is_found_before_the_subscription_is_touched() {
    let mut world = World::new().await;
    world.send(&[1]);
    world.set("bucket", "\"no-such-bucket\"");
    let (kind, message) = refused(&world.run().await);
    assert_eq!(kind, "not_found");
    assert!(message.contains("bucket"), "{message}");
    assert!(world.broker.commands().iter().all(|c| c.kind != CommandType::Subscribe));
}

#[tokio::test]
async fn an_unreachable_broker_is_named() {
    let mut world = World::new().await;
    world.set("service_url", "\"pulsar://127.0.0.1:1\"");
    let (kind, message) = refused(&world.run().await);
    assert_eq!(kind, "unavailable");
    assert!(message.contains("127.0.0.1:1") && message.contains("service_url"), "{message}");
}

#[tokio::test]
async fn a_corrupt_frame_ends_the_run_with_its_id_and_acknowledges_nothing() {
    let mut world = World::new().await;
    let ids = world.send(&[1, 1, 1]);
    world.broker.script(When::nth(CommandType::Message, 2), Act::CorruptCrc);
    let (kind, message) = refused(&world.run().await);
    assert_eq!(kind, "corrupt");
    assert!(message.contains(&ids[1].to_string()) && message.contains("CRC"), "{message}");
    world.assert_nothing_acknowledged_unstored();
    world.drain(3).await;
    world.assert_exactly_once();
}

#[tokio::test]
async fn a_connection_cut_at_any_byte_loses_and_repeats_nothing() {
    for bytes in (0..3000).step_by(61) {
        let mut world = World::new().await;
        world.send(&[1, 3, 1]);
        world.broker.cut_after(bytes);
        world.run().await;
        world.broker.cut_after(usize::MAX);
        world.assert_nothing_acknowledged_unstored();
        world.let_go().await;
        world.drain(4).await;
        world.assert_exactly_once();
    }
}

#[tokio::test]
async fn what_cannot_be_decoded_stands_in_the_object_raw_and_blocks_nothing() {
    let world = World::new().await;
    let mut composer = Composer::new("producer-1").at(NOW);
    let unknown = composer.single(Draft::new("mystery")).with(|c| c.metadata.compression = Some(9));
    let raw = unknown.payload.clone();
    let mut secret = Composer::new("producer-2").at(NOW).encrypted(&[("key-1", b"wrapped")], "AES", b"iv");
    let hidden = secret.single(Draft::new("hidden"));
    let sealed = hidden.payload.clone();
    let at = [world.topic.append(unknown), world.topic.append(hidden)];
    let report = world.run().await;
    assert_eq!(report.outcome, Outcome::Stored);
    assert_eq!(report.objects[0].undecodable, 2);
    assert_eq!(world.mark_delete(), at[1]);
    let lines = world.all_lines();
    let field = |line: &Value, name: &str| line[name].as_str().unwrap().to_owned();
    assert!(lines[0]["undecodable"]["reason"].as_str().unwrap().contains("compression 9"));
    use base64::Engine;
    let engine = base64::engine::general_purpose::STANDARD;
    assert_eq!(engine.decode(field(&lines[0], "raw_base64")).unwrap(), raw);
    assert_eq!(lines[1]["undecodable"]["encryption"]["keys"][0]["name"], "key-1");
    assert_eq!(engine.decode(field(&lines[1], "raw_base64")).unwrap(), sealed);
}

#[tokio::test]
async fn what_would_take_too_much_memory_stands_in_the_object_unopened_and_blocks_nothing() {
    let mut world = World::new().await;
    let mut composer = Composer::new("producer-1").at(NOW).compression(Compression::Zlib);
    let bomb = composer.single(Draft::new(vec![0; (32 << 20) + 1]));
    assert!(bomb.payload.len() < 64 << 10);
    world.topic.append(bomb);
    world.send(&[1]);
    let report = world.run().await;
    assert_eq!((report.outcome, report.objects[0].undecodable), (Outcome::Stored, 1), "{report:?}");
    let reason = world.all_lines()[0]["undecodable"]["reason"].clone();
    assert_eq!(reason, "it would take 33554433 bytes in memory, 33554432 are allowed");
    assert_eq!(world.topic.subscription(SUBSCRIPTION).unwrap().backlog, 0);
}

#[tokio::test]
async fn a_broken_batch_does_not_lose_the_entries_around_it() {
    let mut world = World::new().await;
    world.send(&[1]);
    let mut composer = Composer::new("producer-1").at(NOW);
    let broken =
        composer.batch([Draft::new("one"), Draft::new("two")]).with(|c| c.metadata.num_messages_in_batch = Some(3));
    world.topic.append(broken);
    world.send(&[1]);
    let report = world.run().await;
    assert_eq!((report.messages, report.objects[0].undecodable), (3, 1));
    assert_eq!(world.topic.subscription(SUBSCRIPTION).unwrap().backlog, 0);
}

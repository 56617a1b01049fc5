//! Schemas beside the data.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};
use tdmq_backup::report::{Outcome, Report};
use tdmq_backup::testing::broker::{Act, CommandType, Schema, ServerError, When};
use tdmq_backup::testing::bucket::{Fault, Op};
use tdmq_backup::testing::compose::{Composer, Draft};

use crate::world::{NOW, SUBSCRIPTION, World};

const KEY: &str = "tdmq/public/default/orders/_schemas/0000000000000000.json";

fn avro(definition: &str) -> Schema {
    Schema { name: "orders".into(), schema_data: definition.into(), r#type: 4, properties: Vec::new() }
}

fn send(world: &World, version: &[u8], number: u32) {
    let composer = Composer::new("typed").at(NOW).sequence(number.into()).schema_version(version);
    world.topic.append(composer.clone().single(Draft::new(format!("{{\"n\":{number}}}"))));
}

fn schemas(world: &World) -> Vec<String> {
    world.bucket.keys().into_iter().filter(|key| key.contains("/_schemas/")).collect()
}

fn asked(world: &World) -> usize {
    world.broker.commands().iter().filter(|command| command.kind == CommandType::GetSchema).count()
}

/// The messages are stored whatever becomes of their schemas.
fn stored(report: &Report, world: &World, numbers: &[u64]) {
    assert_eq!(report.outcome, Outcome::Stored, "{report:?}");
    assert_eq!(world.numbers(), numbers);
    assert_eq!(world.topic.subscription(SUBSCRIPTION).unwrap().backlog, 0);
}

#[tokio::test]
async fn each_version_that_a_message_names_is_stored_once_and_asked_for_once() {
    let world = World::new().await;
    let first = world.broker.add_schema("orders", avro("{\"type\":\"string\"}"));
    let second = world.broker.add_schema("orders", avro("{\"type\":\"long\"}"));
    send(&world, &first, 1);
    send(&world, &second, 2);
    send(&world, &first, 3);
    let report = world.run().await;
    stored(&report, &world, &[1, 2, 3]);
    assert_eq!((schemas(&world).len(), asked(&world), report.warnings.len()), (2, 2, 0), "{report:?}");
    let file: Value = serde_json::from_slice(&world.bucket.read(KEY).unwrap()).unwrap();
    let expected = json!({
        "version": "0000000000000000", "name": "orders", "type": "Avro", "properties": [], "schema": "{\"type\":\"string\"}",
    });
    assert_eq!(file, expected);
    // A record's version leads to it.
    let version = STANDARD.decode(world.all_lines()[0]["schema_version"].as_str().unwrap()).unwrap();
    assert_eq!(version, first);
    send(&world, &second, 4);
    let report = world.run().await;
    stored(&report, &world, &[1, 2, 3, 4]);
    assert_eq!((schemas(&world).len(), asked(&world)), (2, 2));
}

#[tokio::test]
async fn a_schema_is_stored_before_the_object_that_names_it() {
    let world = World::new().await;
    let version = world.broker.add_schema("orders", avro("{}"));
    send(&world, &version, 1);
    for k in 1.. {
        if world.run_dying_at(k).await.is_some() {
            break;
        }
        assert!(world.objects().is_empty() || !schemas(&world).is_empty());
    }
    assert_eq!(schemas(&world), [KEY]);
}

#[tokio::test]
async fn a_topic_without_schemas_is_not_asked_for_any() {
    let world = World::begun().await;
    assert_eq!(asked(&world), 0);
    send(&world, &[], 2);
    let looks = |world: &World| world.bucket.requests().iter().filter(|op| **op == Op::Head).count();
    let before = looks(&world);
    stored(&world.run().await, &world, &[1, 2]);
    // The one look is at the object before.
    assert!((asked(&world), looks(&world) - before) <= (0, 1));
}

#[tokio::test]
async fn a_broker_that_denies_forgets_or_does_not_answer_is_a_warning() {
    let denied = Act::Error(ServerError::AuthorizationError, "no".into());
    for act in [denied, Act::NoAnswer] {
        let world = World::new().await;
        let version = world.broker.add_schema("orders", avro("{}"));
        send(&world, &version, 1);
        world.broker.script(When::next(CommandType::GetSchema), act);
        let report = world.run().await;
        stored(&report, &world, &[1]);
        assert_eq!((report.warnings.len(), schemas(&world).len()), (1, 0), "{report:?}");
        // The next run that meets it tries again.
        send(&world, &version, 2);
        stored(&world.run().await, &world, &[1, 2]);
        assert_eq!(schemas(&world), [KEY]);
    }
    let world = World::new().await;
    send(&world, &7_u64.to_be_bytes(), 1);
    let report = world.run().await;
    stored(&report, &world, &[1]);
    assert!(report.warnings[0].contains("has no schema of version 0000000000000007"), "{report:?}");
}

#[tokio::test]
async fn a_connection_lost_over_a_schema_costs_neither_the_schema_nor_the_run() {
    let world = World::new().await;
    let version = world.broker.add_schema("orders", avro("{}"));
    send(&world, &version, 1);
    world.broker.script(When::next(CommandType::GetSchema), Act::DropConnection);
    let report = world.run().await;
    stored(&report, &world, &[1]);
    assert_eq!((schemas(&world).len(), report.warnings.len()), (1, 0), "{report:?}");
}

/// The real broker closes the connection over a version that is no number.
#[tokio::test]
async fn what_is_no_version_is_not_asked_for() {
    let world = World::new().await;
    send(&world, &[1, 2, 3], 1);
    let report = world.run().await;
    stored(&report, &world, &[1]);
    assert_eq!((asked(&world), report.warnings.len()), (0, 1), "{report:?}");
}

#[tokio::test]
async fn a_store_that_refuses_a_schema_gets_the_messages() {
    let world = World::begun().await;
    let version = world.broker.add_schema("orders", avro("{}"));
    send(&world, &version, 2);
    world.bucket.fail_next(Op::Put, Fault::Refuse(403, "AccessDenied"));
    let report = world.run().await;
    stored(&report, &world, &[1, 2]);
    assert_eq!((report.warnings.len(), schemas(&world).len()), (1, 0), "{report:?}");
}

//! Heads that cannot be believed: the run stops before it touches the subscription, the head stays as it is, and once
//! it is away everything is found again from the objects.

use serde_json::{Value, json};
use tdmq_backup::Position;
use tdmq_backup::report::Outcome;
use tdmq_backup::testing::broker::CommandType;

use crate::world::{SUBSCRIPTION, World};

/// Its bytes, the error's kind and what it says.
fn bad(good: &Value) -> Vec<(Vec<u8>, &'static str, &'static str)> {
    let text = good.to_string().into_bytes();
    let with = |key: &str, value: Value| {
        let mut head = good.clone();
        head[key] = value;
        head.to_string().into_bytes()
    };
    let (remove, other) = ("remove it to have it rebuilt", "two rules must not share a path");
    vec![
        (Vec::new(), "corrupt", remove),
        (text[..text.len() / 2].to_vec(), "corrupt", remove),
        (text[..text.len() - 1].to_vec(), "corrupt", remove),
        ([&text[..], b"}"].concat(), "corrupt", remove),
        (vec![0; text.len()], "corrupt", remove),
        (b"\xff\xfe{}".to_vec(), "corrupt", remove),
        (b"null".to_vec(), "corrupt", remove),
        (b"[]".to_vec(), "corrupt", remove),
        (b"{}".to_vec(), "corrupt", remove),
        (b"<html>not found</html>".to_vec(), "corrupt", remove),
        (br#"{"version":1}"#.to_vec(), "corrupt", remove),
        (with("version", json!("1")), "corrupt", remove),
        (with("version", json!(-1)), "corrupt", remove),
        (with("done", json!({"key": "x", "last": "here", "seq": 1, "digest": ""})), "corrupt", remove),
        (with("next", json!({"key": "x"})), "corrupt", remove),
        (with("start", json!({"asked": "x", "resolved": null, "state": "perhaps"})), "corrupt", remove),
        // Valid in itself, and longer than a head can be.
        (with("more", json!("x".repeat(70 << 10))), "corrupt", remove),
        (vec![b' '; 3 << 20], "corrupt", remove),
        (with("version", json!(2)), "invalid", "update"),
        (with("version", json!(u32::MAX)), "invalid", "update"),
        (with("subscription", json!("other")), "invalid", other),
        (with("topic", json!("persistent://public/default/others")), "invalid", other),
        (with("partition", json!(3)), "invalid", other),
    ]
}

#[tokio::test]
async fn a_head_that_cannot_be_believed_stops_the_run_and_stays_until_somebody_removes_it() {
    let good = World::begun().await.head().unwrap();
    for (bytes, kind, said) in bad(&good) {
        let name = String::from_utf8_lossy(&bytes[..bytes.len().min(80)]).into_owned();
        let mut world = World::begun().await;
        let (key, at) = (world.head_key(), world.mark_delete());
        world.send(&[1, 2]);
        world.bucket.plant(&key, &bytes, &[]).unwrap();
        let commands = world.broker.commands().len();
        let report = world.run().await;
        let error = report.error.unwrap();
        assert_eq!((report.outcome, error.kind), (Outcome::Failed, kind), "{name}: {}", error.message);
        assert!(error.message.contains(&key) && error.message.contains(said), "{name}: {}", error.message);
        let touched = world.broker.commands()[commands..].iter().any(|it| it.kind == CommandType::Subscribe);
        assert!(!touched, "{name}: the subscription was touched");
        assert_eq!((world.mark_delete(), world.objects().len()), (at, 1), "{name}");
        assert_eq!(world.bucket.read(&key).as_deref(), Some(&bytes[..]), "{name}");

        world.bucket.remove(&key);
        world.drain(3).await;
        world.assert_exactly_once();
        assert_eq!(world.topic.subscription(SUBSCRIPTION).unwrap().backlog, 0);
        assert_eq!(world.bucket.metadata(&world.objects()[1]).unwrap()["seq"], "2");
    }
}

#[tokio::test]
async fn a_head_with_members_of_a_later_program_of_the_same_form_is_read() {
    let mut world = World::begun().await;
    let mut head = world.head().unwrap();
    head["later"] = json!({"any": ["thing"]});
    world.bucket.plant(&world.head_key(), head.to_string().as_bytes(), &[]).unwrap();
    world.send(&[1]);
    world.drain(2).await;
    world.assert_exactly_once();
}

#[tokio::test]
async fn a_head_that_vanishes_at_any_request_of_a_run_loses_and_repeats_nothing() {
    let mut said = Vec::new();
    for k in 1.. {
        let mut world = World::begun().await;
        let key = world.head_key();
        world.send(&[1, 2]);
        let vanishes = async || {
            world.bucket.remove(&key);
        };
        let Some(report) = world.run_interrupted_at(k, vanishes).await else { break };
        world.assert_nothing_acknowledged_unstored();
        match &report.error {
            Some(error) => {
                assert!(["unavailable", "busy"].contains(&error.kind), "{k}: {report:?}");
                said.push(error.message.clone());
            }
            None => assert_eq!(report.outcome, Outcome::Stored, "{k}"),
        }
        world.drain(3).await;
        world.assert_exactly_once();
    }
    for part in ["the head vanished while the run began", "another run"] {
        assert!(said.iter().any(|text| text.contains(part)), "{part}: {said:?}");
    }
}

/// Copied by a tool that leaves the metadata behind, say.
#[tokio::test]
async fn a_lost_head_is_rebuilt_also_from_an_object_without_its_metadata() {
    let mut world = World::begun().await;
    let first = world.objects().remove(0);
    let bytes = world.bucket.read(&first).unwrap();
    world.bucket.plant(&first, &bytes, &[]).unwrap();
    world.bucket.remove(&world.head_key());
    let at = world.send(&[1, 2])[1];
    let report = world.run().await;
    assert_eq!((report.outcome, world.mark_delete()), (Outcome::Stored, at), "{report:?}");
    let metadata = world.bucket.metadata(&report.objects[0].key).unwrap();
    assert!(metadata.contains_key("previous-id") && !metadata.contains_key("previous-sha256"), "{metadata:?}");
    world.topic.set_mark_delete(SUBSCRIPTION, Position::new(at.ledger, -1));
    let report = world.run().await;
    assert_eq!((report.skipped_entries, report.objects.len()), (3, 0), "{report:?}");
    world.assert_exactly_once();
}

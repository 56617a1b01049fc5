//! A rule whose prefix was edited, with a role that is let in below the new one only.

use serde_json::Value;
use tdmq_backup::report::Outcome;
use tdmq_backup::testing::bucket::{Fault, Op};

use crate::world::World;

/// A world whose head came along to another prefix: as it was, or with what it announced done, as `deploy` carries it.
async fn moved(settled: bool) -> World {
    let mut world = World::begun().await;
    world.drain(2).await;
    let old = world.head_key();
    let mut head: Value = serde_json::from_slice(&world.bucket.read(&old).unwrap()).unwrap();
    assert!(head["next"].is_object() && head["done"].is_null(), "{head}");
    if settled {
        let next = head["next"].take();
        head["done"] = serde_json::json!({
            "key": next["key"], "last": next["last"], "seq": next["seq"], "digest": next["digest"],
        });
    }
    world.bucket.plant(&old.replace("tdmq/", "new/"), &serde_json::to_vec(&head).unwrap(), &[]).unwrap();
    world.set("prefix", "\"new/\"");
    world
        .bucket
        .direct(|op, path| (op != Op::List && path.contains("/tdmq/")).then_some(Fault::Refuse(403, "AccessDenied")));
    world
}

#[tokio::test]
async fn a_carried_head_asks_for_nothing_below_the_old_prefix_and_calls_nothing_missing() {
    let mut world = moved(true).await;
    world.send(&[2]);
    let report = world.run().await;
    assert_eq!((report.outcome, report.messages), (Outcome::Stored, 2), "{report:?}");
    assert!(report.missing.is_empty() && report.warnings.is_empty(), "{report:?}");
    let key = world.objects().into_iter().find(|key| key.starts_with("new/")).unwrap();
    assert_eq!(world.bucket.metadata(&key).unwrap()["seq"], "2");

    // As it was, it has to look where the role may not.
    let mut world = moved(false).await;
    world.send(&[2]);
    let report = world.run().await;
    assert_eq!(report.error.map(|error| error.kind), Some("denied"));
}

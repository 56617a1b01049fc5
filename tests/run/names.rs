//! Topics of hostile names side by side: each has its own folder inside the prefix, whatever it is called.

use std::collections::BTreeSet;

use percent_encoding::percent_decode_str;
use tdmq_backup::report::Outcome;
use tdmq_backup::testing::compose::{Composer, Draft};

use crate::world::{NOW, SUBSCRIPTION, World};

/// What would be a folder, a head, a schema, an object or an escape of another topic, if it were taken as it is.
fn hostile() -> Vec<String> {
    let names = [
        ".",
        "..",
        "%2E%2E",
        "%252E%252E",
        "%2F",
        "..%2F..%2Fother",
        "_head.json",
        "_schemas",
        "partition=-1",
        "partition=-1%2F_head.json",
        "dt=2026-11-21",
        "0000000000000000017-0000000000000000000_0000000000000000017-0000000000000000000_1.jsonl.gz",
        "a b+c&d=e?f#g",
        "\\..\\x",
        "\"'<>|*:;`$(x)",
        "a\u{2028}\u{2029}\u{202e}\u{feff}b",
        "e\u{301}",
        "\u{e9}",
        "Orders",
        "ORDERS",
        "orders",
    ];
    let long = ["k".repeat(255), "\u{4e16}".repeat(70)];
    names.into_iter().map(str::to_owned).chain(long).collect()
}

#[tokio::test]
async fn topics_of_hostile_names_stay_inside_the_prefix_and_apart() {
    let mut world = World::new().await;
    let names = hostile();
    let mut folders = BTreeSet::new();
    for (n, name) in names.iter().enumerate() {
        let topic = world.broker.topic(name);
        world.set("topic", toml::Value::String(topic.name().to_owned()));
        // Each time as much as stands in the folders of all those before it.
        for _ in 0..2 {
            let at = topic.append(Composer::new("p").at(NOW).single(Draft::new(format!("{{\"n\":{n}}}"))));
            let before: BTreeSet<String> = world.bucket.keys().into_iter().collect();
            let report = world.run().await;
            assert_eq!((report.outcome, report.messages), (Outcome::Stored, 1), "{name}: {report:?}");
            assert_eq!(topic.subscription(SUBSCRIPTION).unwrap().mark_delete, at, "{name}");
            let now: BTreeSet<String> = world.bucket.keys().into_iter().collect();
            assert!(now.is_superset(&before), "{name}");
            let object = &report.objects[0].key;
            assert_eq!(world.lines(object)[0]["value"]["n"], n, "{name}");
            let folder = object.split_once("partition=-1/dt=2026-11-21/hour=10/").unwrap().0;
            let part = folder.strip_prefix("tdmq/public/default/").and_then(|rest| rest.strip_suffix('/')).unwrap();
            assert_eq!(percent_decode_str(part).decode_utf8().unwrap(), *name);
            let head = format!("{folder}partition=-1/_head.json");
            let new: BTreeSet<String> = now.difference(&before).cloned().collect();
            assert!(new.iter().all(|key| *key == head || key == object), "{name}: {new:?}");
            assert!(object.len() <= 850 && part.bytes().all(|b| b.is_ascii_alphanumeric() || b"-_.%".contains(&b)));
            folders.insert(folder.to_owned());
        }
    }
    assert_eq!(folders.len(), names.len());
    assert_eq!(world.bucket.keys().len(), 3 * names.len(), "two objects and a head each");
}

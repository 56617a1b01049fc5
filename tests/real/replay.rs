//! The same entries on the embedded broker: what the real one delivered, byte for byte, under the same rule.
//!
//! The embedded broker is the stage of all other tests. Here it must make the same objects, byte for byte, and the same
//! acknowledged position, of what a real broker holds.

use std::fs;

use bytes::Bytes;
use serde_json::Value;
use tdmq_backup::run::Function;
use tdmq_backup::testing::broker::{Broker, Config};
use tdmq_backup::testing::bucket::Bucket;
use tdmq_backup::{Clock, Position, Rule};

use crate::harness::{SUBSCRIPTION, Stage, entry_of};
use crate::raw;

/// What a run on the real broker has stored and acknowledged up to `last`, another one stores and acknowledges here.
pub fn agrees(stage: &Stage, last: &Value) {
    agrees_on(record(stage, last), stage);
}

/// The entries, for as long as the broker has them: what all subscriptions have acknowledged may go with its ledger.
pub fn record(stage: &Stage, last: &Value) -> Vec<(Position, Bytes)> {
    let at = stage.broker();
    raw::entries(&at.url, &at.token, &stage.topic, position(&entry_of(last)))
}

pub fn agrees_on(entries: Vec<(Position, Bytes)>, stage: &Stage) {
    // A second too late tells nothing: the instant of a run is not in its objects.
    let clock = Clock::system();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let broker = Broker::start(Config { first_ledger: entries[0].0.ledger, ..Config::default() }).await;
        let topic = broker.topic(&stage.topic);
        entries.into_iter().for_each(|(position, wire)| topic.append_raw(position, wire));
        let bucket = Bucket::start().await.unwrap();
        let rule = stage.rule_with(&[
            ("service_url", &broker.url()),
            ("endpoint", &bucket.endpoint()),
            ("bucket", bucket.name()),
            ("region", bucket.region()),
        ]);
        let rule = Rule::from_toml(&rule).unwrap_or_else(|problems| panic!("{problems}"));
        let (id, secret) = bucket.key_pair();
        let env = |name: &str| match name {
            "AWS_ACCESS_KEY_ID" => Some(id.to_owned()),
            "AWS_SECRET_ACCESS_KEY" => Some(secret.to_owned()),
            _ => None,
        };
        let report = Function::new(rule, env, clock).unwrap().invoke(None, &clock, &mut |_| {}).await;
        assert!(report.error.is_none(), "{report:?}");

        // Schemas are the broker's own, not the topic's.
        let files: Vec<String> = stage.files().into_iter().filter(|key| !key.contains("/_schemas/")).collect();
        assert_eq!(bucket.keys(), files, "what is in the bucket");
        for object in stage.objects() {
            let here = bucket.read(&object.key).unwrap();
            let there = fs::read(stage.bucket_folder().join(&object.key)).unwrap();
            assert!(here == there, "the bytes of {}", object.key);
            assert_eq!(serde_json::to_value(bucket.metadata(&object.key)).unwrap(), object.metadata);
        }
        let mark_delete = topic.subscription(SUBSCRIPTION).unwrap().mark_delete;
        assert_eq!(
            Some(mark_delete),
            stage.standing().mark_delete.map(|it| position(&it)),
            "the acknowledged position"
        );
    });
}

fn position(text: &str) -> Position {
    let (ledger, entry) = text.split_once(':').unwrap();
    Position::new(ledger.parse().unwrap(), entry.parse().unwrap())
}

//! An edited prefix: the heads come along, so that the rule goes on where it was and its start is not applied again.
//!
//! Only heads are copied. Objects stay where they are; nothing is removed. What a head announced is looked up where it was
//! announced and counts as done from then on: from its new place the function may not read the old one.

use anyhow::{Context, Result, bail};
use serde::de::DeserializeOwned;
use serde_json::Value;
use tdmq_backup::head::Next;
use tdmq_backup::object::is_stored;
use tdmq_backup::rule::TopicName;
use tdmq_backup::rule::names::encode_part;
use tdmq_backup::span::Link;
use tdmq_backup::store::{Expect, Store};
use tdmq_backup::{Error, Kind, Position, Rule};

/// What a copy did.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Carried {
    pub copied: Vec<String>,
    /// Were there already, the very same or newer ones.
    pub same: usize,
}

/// Copies the heads of the rule's topic from below `from` to below the rule's prefix; those of partitions that other
/// functions read only where there is none.
///
/// No run of the rule may be under way. An older head that is there already is replaced, if it is of the same topic and
/// subscription: it is what an earlier move left. A newer one stays: a function went on from it. One of another rule is an
/// error, and so is one that changes meanwhile, and one that announces an object which is not stored.
pub async fn carry(store: &impl Store, rule: &Rule, from: &str) -> Result<Carried> {
    let mut carried = Carried::default();
    let topic = topic_folder(rule);
    let (old, new) = (format!("{from}{topic}"), format!("{}{topic}", rule.prefix));
    let only = rule.topic.partition().map(|partition| format!("partition={partition}"));
    for partition in partitions(store, &old).await? {
        let number: Option<i32> = partition["partition=".len()..].parse().ok();
        let others = rule.shard.is_some_and(|shard| !number.is_some_and(|number| shard.reads(number)));
        if only.as_ref().is_some_and(|only| *only != partition) {
            continue;
        }
        let key = format!("{old}{partition}/_head.json");
        let Some(head) = store.read_small(&key).await? else { continue };
        // Another part's function goes on from its own; a copy only says when the rule began.
        let head = if others { head.bytes } else { settled(store, &key, head.bytes).await? };
        let to = format!("{new}{partition}/_head.json");
        match store.read_small(&to).await? {
            Some(_) if others => continue,
            None => store.write_small(&to, head, Expect::Absent).await.map(drop)?,
            Some(there) if owner(&there.bytes) == owner(&head) => {
                if there.bytes == head || reached(&there.bytes) > reached(&head) {
                    carried.same += 1;
                    continue;
                }
                store.write_small(&to, head, Expect::Unchanged(&there.version)).await.map(drop)?;
            }
            Some(_) => bail!(Error::new(
                Kind::Conflict,
                format!("prefix: {to} is the head of another rule: choose another prefix"),
            )),
        }
        carried.copied.push(to);
    }
    Ok(carried)
}

/// Where the partitions of the rule's topic lie, below a prefix. Those of `t-partition-3` lie with their siblings.
pub(super) fn topic_folder(rule: &Rule) -> String {
    let TopicName { tenant, namespace, topic } = rule.topic.whole();
    let [tenant, namespace, topic] = [tenant, namespace, topic].map(|part| encode_part(&part));
    format!("{tenant}/{namespace}/{topic}/")
}

/// `partition=0`, …: one listing for each, however many objects they hold.
pub(super) async fn partitions(store: &impl Store, folder: &str) -> Result<Vec<String>> {
    let mut found = Vec::new();
    let mut after: Option<String> = None;
    loop {
        let (page, _) = store.list(folder, after.as_deref(), 1).await?;
        let Some(first) = page.first() else { return Ok(found) };
        let Some(name) = first.key[folder.len()..].split('/').next() else { return Ok(found) };
        if name.starts_with("partition=") {
            found.push(name.to_owned());
        }
        // Sorts after everything in that folder.
        after = Some(format!("{folder}{name}0"));
    }
}

/// The head without an announcement: what it announced is done.
async fn settled(store: &impl Store, key: &str, bytes: Vec<u8>) -> Result<Vec<u8>> {
    let mut head: Value = serde_json::from_slice(&bytes).with_context(|| format!("prefix: {key} is not a head"))?;
    let Some(next) = member::<Next>(&head, "next").with_context(|| format!("prefix: {key} is not a head"))? else {
        return Ok(bytes);
    };
    if !is_stored(store, &next.key, &next.digest).await? {
        let text = format!(
            "prefix: {key} announces {}, which is not in the bucket; nothing was changed: run the function once more, then deploy again",
            next.key
        );
        bail!(Error::new(Kind::Conflict, text));
    }
    let done: Option<Link> = member(&head, "done").with_context(|| format!("prefix: {key} is not a head"))?;
    head["done"] = serde_json::to_value(next.link(done.as_ref()))?;
    head["next"] = Value::Null;
    Ok(serde_json::to_vec_pretty(&head)?)
}

fn member<T: DeserializeOwned>(head: &Value, name: &str) -> Result<Option<T>, serde_json::Error> {
    head.get(name).filter(|value| !value.is_null()).map(|value| serde_json::from_value(value.clone())).transpose()
}

/// The newest entry that a head knows to be stored.
fn reached(head: &[u8]) -> Option<Position> {
    let head: Value = serde_json::from_slice(head).ok()?;
    let done = member::<Link>(&head, "done").ok()?.map(|done| done.last);
    done.max(member::<Next>(&head, "next").ok()?.map(|next| next.span.last.position))
}

/// Whose a head is.
fn owner(head: &[u8]) -> Option<[Value; 3]> {
    let head: Value = serde_json::from_slice(head).ok()?;
    Some(["topic", "subscription", "partition"].map(|name| head[name].clone()))
}

#[cfg(test)]
mod tests {
    use tdmq_backup::Clock;
    use tdmq_backup::store::{Addressing, S3};
    use tdmq_backup::testing::bucket::Bucket;

    use super::*;

    fn rule(prefix: &str) -> Rule {
        let text = format!(
            "name = 'r'\nservice_url = 'pulsar://h'\ntopic = 'persistent://t/n/orders'\nsubscription = 's'\nbucket = 'bucket'\n\
             region = 'r'\nendpoint = 'http://h'\ninterval = '5m'\nprefix = '{prefix}'"
        );
        Rule::from_toml(&text).unwrap()
    }

    async fn world() -> (Bucket, S3) {
        let bucket = Bucket::start().await.unwrap();
        let store = S3::new(bucket.settings(Addressing::Path), Clock::starting_at(0)).unwrap();
        (bucket, store)
    }

    fn head(partition: i32, subscription: &str, seq: u32) -> Vec<u8> {
        let done = serde_json::json!({ "key": "a/1", "last": format!("{seq}:7"), "seq": seq, "digest": "" });
        let head = serde_json::json!({
            "topic": format!("persistent://t/n/orders-partition-{partition}"), "subscription": subscription,
            "partition": partition, "done": done,
        });
        serde_json::to_vec(&head).unwrap()
    }

    #[tokio::test]
    async fn every_partitions_head_comes_along_and_nothing_else() {
        let (bucket, store) = world().await;
        for partition in [0, 1, 10] {
            let folder = format!("a/t/n/orders/partition={partition}/");
            bucket.plant(&format!("{folder}_head.json"), &head(partition, "s", 3), &[]).unwrap();
            for object in ["dt=2026-11-20/hour=08/1-0_1-4_5.jsonl.gz", "dt=2026-11-20/hour=09/1-5_1-9_5.jsonl.gz"] {
                bucket.plant(&format!("{folder}{object}"), b"object", &[]).unwrap();
            }
        }
        bucket.plant("a/t/n/orders2/partition=0/_head.json", b"another topic's", &[]).unwrap();
        let before = bucket.keys();
        let carried = carry(&store, &rule("b/"), "a/").await.unwrap();
        assert_eq!(carried.copied.len(), 3);
        let added: Vec<String> = bucket.keys().into_iter().filter(|key| !before.contains(key)).collect();
        assert_eq!(added, [0, 1, 10].map(|n| format!("b/t/n/orders/partition={n}/_head.json")));
        assert_eq!(bucket.read(&added[2]).unwrap(), head(10, "s", 3));
        assert_eq!(carry(&store, &rule("b/"), "a/").await.unwrap(), Carried { copied: vec![], same: 3 });
    }

    #[tokio::test]
    async fn a_head_that_an_earlier_move_left_is_replaced_and_one_of_another_rule_is_not() {
        let (bucket, store) = world().await;
        bucket.plant("b/t/n/orders/partition=0/_head.json", &head(0, "s", 9), &[]).unwrap();
        bucket.plant("a/t/n/orders/partition=0/_head.json", &head(0, "s", 3), &[]).unwrap();
        carry(&store, &rule("a/"), "b/").await.unwrap();
        assert_eq!(bucket.read("a/t/n/orders/partition=0/_head.json").unwrap(), head(0, "s", 9));

        bucket.plant("c/t/n/orders/partition=0/_head.json", &head(0, "other", 5), &[]).unwrap();
        let error = carry(&store, &rule("c/"), "a/").await.unwrap_err();
        assert!(error.to_string().contains("of another rule"), "{error}");
        assert_eq!(bucket.read("c/t/n/orders/partition=0/_head.json").unwrap(), head(0, "other", 5));
    }

    #[tokio::test]
    async fn a_function_that_went_on_under_the_new_prefix_keeps_its_head_when_another_part_of_the_topic_moves() {
        let (bucket, store) = world().await;
        for partition in [0, 1] {
            bucket
                .plant(&format!("a/t/n/orders/partition={partition}/_head.json"), &head(partition, "s", 3), &[])
                .unwrap();
        }
        let part = |shard: &str| Rule { shard: Some(shard.parse().unwrap()), ..rule("b/") };
        let both = [0, 1].map(|n| format!("b/t/n/orders/partition={n}/_head.json"));
        assert_eq!(carry(&store, &part("2/2"), "a/").await.unwrap().copied, both);
        // The second part went on under the new prefix, the first one under the old.
        bucket.plant("a/t/n/orders/partition=0/_head.json", &head(0, "s", 5), &[]).unwrap();
        bucket.plant("b/t/n/orders/partition=1/_head.json", &head(1, "s", 4), &[]).unwrap();
        assert_eq!(carry(&store, &part("1/2"), "a/").await.unwrap().copied, both[..1]);
        assert_eq!(bucket.read("b/t/n/orders/partition=0/_head.json").unwrap(), head(0, "s", 5));
        assert_eq!(bucket.read("b/t/n/orders/partition=1/_head.json").unwrap(), head(1, "s", 4));
        // Nor is it set back by a move that is repeated.
        assert_eq!(carry(&store, &rule("b/"), "a/").await.unwrap(), Carried { copied: vec![], same: 2 });
        assert_eq!(bucket.read("b/t/n/orders/partition=1/_head.json").unwrap(), head(1, "s", 4));
    }

    #[tokio::test]
    async fn what_was_announced_under_the_old_prefix_is_done_under_the_new_one_or_nothing_is_carried() {
        let (bucket, store) = world().await;
        let key = "a/t/n/orders/partition=0/dt=2026-11-20/hour=08/5-0_5-4_5.jsonl.gz";
        let mut announced: Value = serde_json::from_slice(&head(0, "s", 3)).unwrap();
        announced["next"] = serde_json::json!({
            "first": "5:0", "last": "5:4", "count": 5, "key": key, "seq": 4, "digest": "abc", "format": "jsonl",
            "compression": "gzip", "layout": 1, "upload_id": null, "until": 0, "runs": 1,
        });
        let announced = serde_json::to_vec(&announced).unwrap();
        bucket.plant("a/t/n/orders/partition=0/_head.json", &announced, &[]).unwrap();
        let error = carry(&store, &rule("b/"), "a/").await.unwrap_err();
        assert!(error.to_string().contains("is not in the bucket; nothing was changed"), "{error}");
        assert_eq!(bucket.keys().len(), 1);

        bucket.plant(key, b"object", &[("sha256".into(), "abc".into())]).unwrap();
        carry(&store, &rule("b/"), "a/").await.unwrap();
        let carried: Value =
            serde_json::from_slice(&bucket.read("b/t/n/orders/partition=0/_head.json").unwrap()).unwrap();
        assert_eq!(carried["next"], Value::Null);
        assert_eq!(carried["done"], serde_json::json!({ "key": key, "last": "5:4", "seq": 4, "digest": "abc" }));
        assert_eq!(bucket.read("a/t/n/orders/partition=0/_head.json").unwrap(), announced);
    }
}

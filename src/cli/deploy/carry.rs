//! An edited prefix: the heads come along, so that the rule goes on where it was and its start is not applied again.
//!
//! Only heads are copied. Objects stay where they are; nothing is removed.

use anyhow::{Result, bail};
use serde_json::Value;
use tdmq_backup::rule::names::encode_part;
use tdmq_backup::store::{Expect, Store};
use tdmq_backup::{Error, Kind, Rule};

/// What a copy did.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Carried {
    pub copied: Vec<String>,
    /// Were there already, the very same.
    pub same: usize,
}

/// Copies the heads of the rule's partitions from below `from` to below the rule's prefix.
///
/// No run of the rule may be under way. A head that is there already is replaced, if it is of the same topic and
/// subscription: it is what an earlier move left. One of another rule is an error, and so is one that changes meanwhile.
pub async fn carry(store: &impl Store, rule: &Rule, from: &str) -> Result<Carried> {
    let mut carried = Carried::default();
    let topic = topic_folder(rule);
    let (old, new) = (format!("{from}{topic}"), format!("{}{topic}", rule.prefix));
    let only = rule.topic.partition().map(|partition| format!("partition={partition}"));
    for partition in partitions(store, &old).await? {
        if only.as_ref().is_some_and(|only| *only != partition) {
            continue;
        }
        let key = format!("{old}{partition}/_head.json");
        let Some(head) = store.read_small(&key).await? else { continue };
        let to = format!("{new}{partition}/_head.json");
        match store.read_small(&to).await? {
            None => store.write_small(&to, head.bytes, Expect::Absent).await.map(drop)?,
            Some(there) if there.bytes == head.bytes => {
                carried.same += 1;
                continue;
            }
            Some(there) if owner(&there.bytes) == owner(&head.bytes) => {
                store.write_small(&to, head.bytes, Expect::Unchanged(&there.version)).await.map(drop)?;
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
fn topic_folder(rule: &Rule) -> String {
    let topic = &rule.topic;
    let name = match (topic.partition(), topic.topic.rsplit_once("-partition-")) {
        (Some(_), Some((name, _))) => name,
        _ => topic.topic.as_str(),
    };
    let [tenant, namespace, name] = [&topic.tenant, &topic.namespace, name].map(encode_part);
    format!("{tenant}/{namespace}/{name}/")
}

/// `partition=0`, …: one listing for each, however many objects they hold.
async fn partitions(store: &impl Store, folder: &str) -> Result<Vec<String>> {
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
        let head = serde_json::json!({
            "topic": format!("persistent://t/n/orders-partition-{partition}"), "subscription": subscription,
            "partition": partition, "done": { "seq": seq },
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
}

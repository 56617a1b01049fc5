//! What the heads in the bucket say of a function whose runs left no log: how far they came, not when they ran.

use std::env;
use std::time::Duration;

use anyhow::{Context, Result};
use serde_json::{Value, json};
use tdmq_backup::run::store_of;
use tdmq_backup::store::{Addressing, Store};
use tdmq_backup::{Clock, Rule};

use super::carry::{partitions, topic_folder};
use super::wanted::{Deployed, is_aws, text};
use crate::cli::summary::instant;

/// What looking at one function's heads may take.
const LOOKING: Duration = Duration::from_secs(20);

/// One partition's head.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Standing {
    /// -1 for a topic without partitions.
    pub partition: i32,
    /// The last id that it knows to be stored; empty before the first object.
    pub last: String,
    /// When it was written, ms since the epoch: with each object, and else once a day.
    pub written: u64,
}

/// The heads of the function's own subscription. `rule` is whatever rule is at hand: where its store is the function's,
/// the store is reached as it says.
pub async fn standing(function: &Deployed, rule: &Rule, region: &str, clock: &Clock) -> Result<Vec<Standing>> {
    let rule = rule_of(function, rule, region)?;
    let store = store_of(&rule, |name| env::var(name).ok(), *clock)?.until(clock.now() + LOOKING);
    let folder = format!("{}{}", rule.prefix, topic_folder(&rule));
    let mut found = Vec::new();
    for name in partitions(&store, &folder).await? {
        let Some(partition) = name["partition=".len()..].parse().ok() else { continue };
        let others = rule.shard.is_some_and(|shard| !shard.reads(partition));
        if others || rule.topic.partition().is_some_and(|only| only != partition) {
            continue;
        }
        let key = format!("{folder}{name}/_head.json");
        let Some(head) = store.read_small(&key).await? else { continue };
        let head: Value = serde_json::from_slice(&head.bytes).with_context(|| format!("{key} is not a head"))?;
        if head["subscription"] == rule.subscription.as_str() {
            let written = head["written"].as_u64().unwrap_or(0);
            found.push(Standing { partition, last: text(&head, "/done/last"), written });
        }
    }
    found.sort_by_key(|standing| standing.partition);
    Ok(found)
}

/// As much of the function's rule as finds its heads: it stands in what the cloud answers.
fn rule_of(function: &Deployed, rule: &Rule, region: &str) -> Result<Rule> {
    let fact = |name| function.fact(name);
    let mut lines = vec![("service_url", "pulsar://not-asked"), ("interval", "5m"), ("name", &function.name)];
    for (key, name) in [
        ("topic", "topic"),
        ("subscription", "subscription"),
        ("shard", "shard"),
        ("bucket", "bucket"),
        ("prefix", "prefix"),
        ("endpoint", "store"),
    ] {
        lines.extend(Some((key, fact(name))).filter(|(_, value)| !value.is_empty()));
    }
    lines.push(("region", region));
    let text: String = lines.iter().map(|(key, value)| format!("{key} = {value:?}\n")).collect();
    let mut its = Rule::from_toml(&text).context("what the cloud says of it is no rule")?;
    if its.endpoint.to_string() == rule.endpoint.to_string() {
        its.region.clone_from(&rule.region);
        its.addressing = rule.addressing;
    } else if let Some(region) = its.endpoint.host.split('.').nth(1).filter(|_| is_known(&its)) {
        its.region = region.to_owned();
    } else {
        its.addressing = Addressing::Path;
    }
    Ok(its)
}

/// Whether the endpoint is one of those that name their region.
fn is_known(rule: &Rule) -> bool {
    rule.endpoint.is_cos() || is_aws(&rule.endpoint)
}

/// In a row of the table: when the newest was written, and what is stored.
pub fn shown(standing: &[Standing]) -> Option<[String; 2]> {
    let newest = standing.iter().map(|one| one.written).max()?;
    let written = instant(newest).filter(|_| newest > 0).unwrap_or_else(|| "-".to_owned());
    let stored = match standing {
        [one] if one.last.is_empty() => "head: nothing yet".to_owned(),
        [one] => format!("head: through {}", one.last),
        many => format!("heads of {} partitions", many.len()),
    };
    Some([format!("head: {written}"), stored])
}

pub fn as_json(standing: &[Standing]) -> Value {
    let one = |head: &Standing| json!({ "partition": head.partition, "last": head.last, "written": head.written });
    standing.iter().map(one).collect()
}

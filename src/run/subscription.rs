//! A rule's subscription outside of any run: what it owes, and its removal.
//!
//! Owns: which partitions these are. Of a sharded rule, its own: the others belong to other functions.

use tokio::time::Instant;

use super::partition_of;
use super::partitions::{all, belongs};
use crate::error::Result;
use crate::pulsar::{Cluster, is_missing_topic};
use crate::rule::{Rule, TopicName};

/// A subscription over the partitions of a rule.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Owed {
    /// On how many of them it exists; a topic without partitions is one.
    pub partitions: usize,
    /// Entries, not messages: a producer's batch is one.
    pub entries: u64,
}

/// What the subscription owes; nothing is made, moved or removed. No partitions where there is no subscription.
///
/// Errors: `Busy` where a run, or somebody else, holds it. Nothing is waited for after `deadline`.
pub async fn owed(rule: &Rule, deadline: Instant) -> Result<Owed> {
    over(rule, deadline, async |cluster, topic| cluster.owed(topic, &rule.subscription).await).await
}

/// Removes the subscription, and says what it owed: that is given up. Objects and heads are not touched.
///
/// Partitions go one after the other; after an error those before it are gone, and asking again removes the rest.
/// Errors: as [`owed`].
pub async fn unsubscribe(rule: &Rule, deadline: Instant) -> Result<Owed> {
    over(rule, deadline, async |cluster, topic| cluster.unsubscribe(topic, &rule.subscription).await).await
}

async fn over(
    rule: &Rule,
    deadline: Instant,
    each: impl AsyncFn(&Cluster<'_>, &TopicName) -> Result<Option<u64>>,
) -> Result<Owed> {
    let cluster = Cluster::new(rule, deadline);
    let count = cluster.partitions(&rule.topic).await?;
    let mut found = Owed::default();
    for partition in all(rule, count)?.into_iter().filter(|partition| belongs(rule.shard, *partition)) {
        let topic = partition_of(&rule.topic, partition, count > 0);
        match each(&cluster, &topic).await {
            Ok(Some(entries)) => {
                found.partitions += 1;
                found.entries += entries;
            }
            Ok(None) => {}
            // A partition that nobody has written to is not made yet.
            Err(error) if count > 0 && is_missing_topic(&error) => {}
            Err(error) => return Err(error),
        }
    }
    Ok(found)
}

//! A rule's subscription outside of any run: what it owes, and its removal.
//!
//! Owns: which partitions these are. Of a sharded rule, its own: the others belong to other functions.

use tokio::time::Instant;

use super::partition_of;
use super::partitions::own;
use crate::error::Result;
use crate::pulsar::{Cluster, is_missing_topic};
use crate::rule::{Rule, TopicName};

/// A subscription over the partitions of a rule.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Owed {
    /// On how many of them it exists; a topic without partitions is one.
    pub partitions: usize,
    /// Entries, not messages: a producer's batch is one. `None` where the broker does not say it of each of them.
    pub entries: Option<u64>,
}

impl Owed {
    /// Of a subscription that does not exist.
    pub const NONE: Owed = Owed { partitions: 0, entries: Some(0) };
}

/// What the subscription owes; nothing is made, moved or removed. [`Owed::NONE`] where there is no subscription, or no
/// topic: none goes on without it.
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
    each: impl AsyncFn(&Cluster<'_>, &TopicName) -> Result<Option<Option<u64>>>,
) -> Result<Owed> {
    let cluster = Cluster::new(rule, deadline);
    let count = match cluster.partitions(&rule.topic).await {
        Err(error) if is_missing_topic(&error) => return Ok(Owed::NONE),
        count => count?,
    };
    let mut found = Owed::NONE;
    for partition in own(rule, count)? {
        let topic = partition_of(&rule.topic, partition, count > 0);
        match each(&cluster, &topic).await {
            Ok(Some(entries)) => {
                found.partitions += 1;
                found.entries = found.entries.zip(entries).map(|(all, these)| all + these);
            }
            Ok(None) => {}
            // A partition that nobody has written to is not made yet; a topic that somebody removed took it along.
            Err(error) if is_missing_topic(&error) => {}
            Err(error) => return Err(error),
        }
    }
    Ok(found)
}

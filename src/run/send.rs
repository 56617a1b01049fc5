//! One message to a rule's topic, for a test on a live account.

use tokio::time::Instant;

use super::partition_of;
use super::partitions::own;
use crate::error::{Error, Kind, Result};
use crate::message::Position;
use crate::pulsar::Cluster;
use crate::rule::Rule;

/// Where the broker stored a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Sent {
    /// -1 on a topic without partitions.
    pub partition: i32,
    pub position: Position,
}

/// Sends one message to the topic, to the first partition that the rule reads. `published` is ms since the epoch.
///
/// Errors: `NotFound` for a topic that does not exist (none is created), `Denied` where the role may not produce,
/// `Unknown` where it may be stored or not. Nothing is waited for after `deadline`.
pub async fn send(rule: &Rule, payload: &[u8], published: u64, deadline: Instant) -> Result<Sent> {
    let cluster = Cluster::new(rule, deadline);
    let count = cluster.partitions(&rule.topic).await?;
    let none = || Error::new(Kind::Invalid, format!("no partition of {} belongs to the rule's shard", rule.topic));
    let partition = *own(rule, count)?.first().ok_or_else(none)?;
    let topic = partition_of(&rule.topic, partition, count > 0);
    let position = cluster.send(&topic, payload, published).await?;
    Ok(Sent { partition, position })
}

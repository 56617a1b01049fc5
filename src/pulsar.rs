//! The one-shot consumer: the only place that speaks Pulsar.
//!
//! ```text
//! service URL ─ lookup ─▶ Connection ─ attach ─▶ Consumer (a Source)
//!               (binary or HTTP)                 entries out, acknowledgements in, receipts awaited
//! ```
//!
//! It is written on the `pulsar` crate's protocol types. That crate's own consumer sends
//! acknowledgements behind undelivered messages and does not wait for the broker's answer, which is
//! what a function that stops after each run cannot live with. Nothing here runs in the background:
//! a dropped future leaves nothing behind but a closed connection.

mod address;
mod connection;
mod consumer;
mod entry;
mod failure;
mod frame;
mod lookup;
mod permits;

pub use consumer::{Consumer, Initial, Subscription};
pub use lookup::Cluster;

pub(crate) use failure::is_missing_topic;

use crate::error::Result;
use crate::rule::TopicName;

impl Cluster<'_> {
    /// Attaches to a subscription of a topic without partitions, or of one partition. `initial` is where
    /// the subscription begins if it does not exist.
    ///
    /// Errors: `Busy` where somebody else holds it, `NotFound` for a topic that does not exist (none is
    /// created), `Denied` for a refused token or a missing grant, with the broker's own words.
    pub async fn attach(&self, topic: &TopicName, subscription: &str, initial: Initial) -> Result<Consumer> {
        let connection = self.connect(topic).await?;
        let subscription = Subscription {
            topic: topic.to_string(),
            name: subscription.to_owned(),
            partition: topic.partition().unwrap_or(-1),
            initial,
            read_ahead: self.read_ahead,
        };
        Consumer::attach(connection, subscription).await
    }
}

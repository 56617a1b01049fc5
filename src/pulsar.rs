//! The one-shot consumer: the only place that speaks Pulsar.
//!
//! ```text
//! service URL ─ lookup ─▶ Connection ─ attach ─▶ Consumer (a Source)
//!               (binary or HTTP)                 entries out, acknowledgements in, receipts awaited
//! ```
//!
//! It is written on the `pulsar` crate's protocol types. That crate's own consumer sends
//! acknowledgements behind undelivered messages and does not wait for the broker's answer, which is
//! what a function that stops after each run cannot live with. A consumer that loses its connection, or is
//! closed by the broker, attaches itself anew. Nothing here runs in the background:
//! a dropped future leaves nothing behind but a closed connection.

mod address;
mod beside;
mod connection;
mod consumer;
mod entry;
mod failure;
pub(crate) mod frame;
mod http;
pub(crate) mod lookup;
mod permits;
mod repeated;
mod send;
mod stream;

pub use consumer::{Consumer, Initial, Subscription};
pub(crate) use entry::decompress;
pub use lookup::Cluster;

pub(crate) use failure::is_missing_topic;

use crate::error::Result;
use crate::message::Position;
use crate::rule::{Start, TopicName};

impl Cluster<'_> {
    /// Attaches to a subscription of a topic without partitions, or of one partition. `initial` is where
    /// the subscription begins if it does not exist.
    ///
    /// Errors: `Busy` where somebody else holds it, `NotFound` for a topic that does not exist (none is
    /// created), `Denied` for a refused token or a missing grant, with the broker's own words.
    pub async fn attach<'c>(&'c self, topic: &TopicName, subscription: &str, initial: Initial) -> Result<Consumer<'c>> {
        let subscription = Subscription {
            topic: topic.to_string(),
            name: subscription.to_owned(),
            partition: topic.partition().unwrap_or(-1),
            durable: true,
            initial,
            read_ahead: self.read_ahead,
            from: None,
        };
        Consumer::attach(self, topic, subscription).await
    }

    /// The mark-delete position of a subscription that begins at `start` now. Found with a reader beside the
    /// subscription, which is not touched and need not exist.
    ///
    /// Errors: `Invalid` for a message id that the topic does not hold, with the one that comes next.
    pub async fn place(&self, topic: &TopicName, subscription: &str, start: Start) -> Result<Position> {
        // One for each place: the broker may still have another reader of the same name, and takes that.
        let (from, place) = match start {
            Start::Id(id) => (Some(id), format!(".{}.{}", id.ledger, id.entry)),
            _ => (None, String::new()),
        };
        let reader = Subscription {
            topic: topic.to_string(),
            name: format!("{subscription}.start{place}"),
            partition: topic.partition().unwrap_or(-1),
            read_ahead: self.read_ahead,
            durable: false,
            initial: if start == Start::Latest { Initial::Latest } else { Initial::Earliest },
            from,
        };
        Consumer::attach(self, topic, reader).await?.place(start).await
    }
}

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

use connection::Caller;
pub use consumer::{Consumer, Initial, Subscription};
use tokio::time::Instant;

use crate::error::Result;
use crate::rule::Rule;

/// Finds the broker of the rule's topic and attaches to its subscription. `initial` is where the
/// subscription begins if it does not exist; nothing is waited for after `deadline`, then or later.
///
/// Errors: `Busy` where somebody else holds it, `NotFound` for a topic that does not exist (none is
/// created), `Denied` for a refused token or a missing grant, with the broker's own words.
pub async fn attach(rule: &Rule, initial: Initial, deadline: Instant) -> Result<Consumer> {
    let who = Caller { token: rule.token.as_ref(), deadline };
    let connection = lookup::connect(&rule.service_url, &rule.topic, &who).await?;
    let subscription = Subscription {
        topic: rule.topic.to_string(),
        name: rule.subscription.clone(),
        partition: rule.topic.partition().unwrap_or(-1),
        initial,
    };
    Consumer::attach(connection, subscription).await
}

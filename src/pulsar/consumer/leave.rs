//! Removing a subscription: what a run never does.
//!
//! Source: `ServerCnx.handleUnsubscribe`, `PersistentSubscription.doUnsubscribe`, which closes the consumer and deletes
//! the cursor before it answers. It needs no grant beside the one to consume.

use pulsar::proto::{BaseCommand, CommandUnsubscribe, base_command::Type};

use super::super::connection::command;
use super::super::failure::is_not_allowed;
use super::super::{Cluster, Initial};
use super::{Consumer, GOODBYE_LIMIT};
use crate::error::{Kind, Result};
use crate::rule::TopicName;
use crate::source::Source;

/// How often the removal is asked for where the broker loses us over it.
const MOST_TRIES: u32 = 3;

impl Cluster<'_> {
    /// Entries that a subscription of one partition (or of a topic without) owes, themselves `None` where the broker does
    /// not say how many; `None` where there is no such subscription, and none is made.
    ///
    /// Errors: `Busy` where somebody else holds it.
    pub(crate) async fn owed(&self, topic: &TopicName, subscription: &str) -> Result<Option<Option<u64>>> {
        match self.existing(topic, subscription).await? {
            Some(mut consumer) => {
                let owed = consumer.backlog().await;
                consumer.close().await;
                Ok(Some(owed?))
            }
            None => Ok(None),
        }
    }

    /// Removes the subscription, with everything that it owes: how many entries that was, as [`Cluster::owed`] has it.
    ///
    /// An answer that was lost is asked for again: a success means that the subscription is gone.
    ///
    /// Errors: `Busy` where somebody else holds it.
    pub(crate) async fn unsubscribe(&self, topic: &TopicName, subscription: &str) -> Result<Option<Option<u64>>> {
        let mut given_up = None;
        for left in (0..MOST_TRIES).rev() {
            let Some(mut consumer) = self.existing(topic, subscription).await? else { break };
            let owed = consumer.backlog().await?;
            // One that was made by attaching again, while the broker still removed the first, owes something else.
            given_up.get_or_insert(owed);
            match consumer.unsubscribe().await {
                Err(error) if error.kind() == Kind::Unavailable && left > 0 => {}
                done => {
                    done?;
                    consumer.connection.close(GOODBYE_LIMIT).await;
                    break;
                }
            }
        }
        Ok(given_up)
    }

    /// A consumer of a subscription that exists: a reader of its name is refused then, and leaves nothing behind else.
    async fn existing<'c>(&'c self, topic: &TopicName, subscription: &str) -> Result<Option<Consumer<'c>>> {
        match self.reader_of_its_name(topic, subscription).await {
            Ok(reader) => {
                reader.close().await;
                Ok(None)
            }
            Err(error) if is_not_allowed(&error) => self.attach(topic, subscription, Initial::Earliest).await.map(Some),
            Err(error) => Err(error),
        }
    }
}

impl Consumer<'_> {
    async fn unsubscribe(&mut self) -> Result<()> {
        let request_id = self.connection.request_id();
        let unsubscribe = CommandUnsubscribe { consumer_id: self.id, request_id };
        let ask = BaseCommand { unsubscribe: Some(unsubscribe), ..command(Type::Unsubscribe) };
        self.ask("removing the subscription", request_id, ask).await?;
        self.attached = false;
        Ok(())
    }
}

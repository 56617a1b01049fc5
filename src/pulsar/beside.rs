//! Looking at a subscription without touching it: where it stands, and what comes behind any place.

use super::failure::is_not_allowed;
use super::{Cluster, Consumer, Initial, Subscription};
use crate::error::{Error, Kind, Result};
use crate::message::Position;
use crate::rule::TopicName;
use crate::source::Source;

impl Cluster<'_> {
    /// The mark-delete position of a subscription; `None` where there is none, and none is made.
    ///
    /// There is no question for it. A reader of that name is refused where the subscription exists, with
    /// `NotAllowedError` (`PersistentTopic.getNonDurableSubscription`); brokers that do not refuse it attach it to the
    /// subscription itself, which then does not stand at the end, where the reader would begin.
    ///
    /// Errors: `Busy` where somebody else holds it. `Invalid` where the broker does not say where it stands.
    pub(crate) async fn standing(&self, topic: &TopicName, subscription: &str) -> Result<Option<Position>> {
        let mut consumer = match self.reader_of_its_name(topic, subscription).await {
            Ok(mut reader) => {
                let bounds = reader.bounds().await?;
                reader.close().await;
                return Ok(bounds.mark_delete.filter(|at| *at < bounds.last));
            }
            Err(error) if is_not_allowed(&error) => self.attach(topic, subscription, Initial::Earliest).await?,
            Err(error) => return Err(error),
        };
        let bounds = consumer.bounds().await;
        consumer.close().await;
        match bounds?.mark_delete {
            Some(at) => Ok(Some(at)),
            None => {
                let text = "this broker does not say where a subscription stands (those before 2.8 do not): there is no dry run with it";
                Err(Error::new(Kind::Invalid, text))
            }
        }
    }

    /// A reader beside the subscription that begins behind `from`, or at one of the ends. `tag` is its own: the broker
    /// may still have a reader of the same name, and takes that.
    pub(crate) async fn reader<'c>(
        &'c self,
        topic: &TopicName,
        subscription: &str,
        tag: &str,
        initial: Initial,
        from: Option<Position>,
    ) -> Result<Consumer<'c>> {
        let from = from.map(|at| Position::new(at.ledger, at.entry.saturating_add(1)));
        let reader = Subscription { from, ..self.of(topic, &format!("{subscription}.dry.{tag}"), initial) };
        Consumer::attach(self, topic, reader).await
    }

    /// Refused with `NotAllowedError` where the subscription exists.
    pub(super) async fn reader_of_its_name<'c>(
        &'c self,
        topic: &TopicName,
        subscription: &str,
    ) -> Result<Consumer<'c>> {
        Consumer::attach(self, topic, self.of(topic, subscription, Initial::Latest)).await
    }

    fn of(&self, topic: &TopicName, name: &str, initial: Initial) -> Subscription {
        Subscription {
            topic: topic.to_string(),
            name: name.to_owned(),
            partition: topic.partition().unwrap_or(-1),
            durable: false,
            initial,
            read_ahead: self.read_ahead,
            from: None,
        }
    }
}

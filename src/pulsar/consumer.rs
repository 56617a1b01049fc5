//! A durable, exclusive consumer of one partition that reads a backlog once and waits for its receipts.
//!
//! ```text
//!  FLOW (permits by bytes) ──▶ broker ──▶ MESSAGE ──▶ queue ──▶ next()
//!                                          past the budget: dropped, and everything after it too,
//!                                          until a new consumer starts behind the mark-delete position
//! ```
//!
//! Owns the order of entries and the memory they may take. Does not own what is done with them.

mod source;

use std::collections::VecDeque;
use std::time::Duration;

use pulsar::proto::{
    BaseCommand, CommandCloseConsumer, CommandFlow, CommandMessage, CommandSubscribe, MessageIdData,
    base_command::Type,
    command_subscribe::{InitialPosition, SubType},
};

use super::connection::{ANSWER_LIMIT, Connection, answered, command, connection_silent, within};
use super::failure::refused;
use super::frame::{self, Frame};
use super::permits::Permits;
use crate::error::{Error, Kind, Result};
use crate::message::{Entry, Position};

/// The first protocol version whose brokers answer an acknowledgement.
const RECEIPTS_SINCE: i32 = 17;
const GOODBYE_LIMIT: Duration = Duration::from_secs(2);

/// Where a subscription that does not exist yet begins.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Initial {
    Earliest,
    Latest,
}

/// What is read, by whom.
#[derive(Clone, Debug)]
pub struct Subscription {
    /// `persistent://tenant/namespace/topic`
    pub topic: String,
    pub name: String,
    /// -1 for a topic without partitions.
    pub partition: i32,
    pub initial: Initial,
    /// Bytes of entries that may wait in memory or be on their way.
    pub read_ahead: usize,
}

pub struct Consumer {
    connection: Connection,
    subscription: Subscription,
    /// A new one for each attachment: frames for an old one are dropped.
    id: u64,
    queue: VecDeque<Entry>,
    queued_bytes: usize,
    permits: Permits,
    /// The newest entry handed out or queued: what a new consumer brings again is dropped up to here.
    accepted: Option<Position>,
    /// Something was dropped for want of memory: nothing is accepted until a new consumer starts.
    dropped: bool,
    /// Why nothing more will come, found while doing something else.
    broken: Option<Error>,
    read_anything: bool,
}

impl Consumer {
    /// Attaches to the subscription, creating it (durable) where it does not exist. Never creates a topic.
    pub(crate) async fn attach(connection: Connection, subscription: Subscription) -> Result<Self> {
        let largest = connection.max_message_size();
        let permits = Permits::new(subscription.read_ahead, largest);
        let mut consumer = Consumer {
            connection,
            subscription,
            id: 1,
            queue: VecDeque::new(),
            queued_bytes: 0,
            permits,
            accepted: None,
            dropped: false,
            broken: None,
            read_anything: false,
        };
        consumer.subscribe().await?;
        Ok(consumer)
    }

    async fn subscribe(&mut self) -> Result<()> {
        let Subscription { topic, name, initial, .. } = self.subscription.clone();
        let doing = format!("subscribing {name:?} to {topic}");
        let request_id = self.connection.request_id();
        let position = match initial {
            Initial::Earliest => InitialPosition::Earliest,
            Initial::Latest => InitialPosition::Latest,
        };
        let subscribe = CommandSubscribe {
            topic,
            subscription: name,
            sub_type: SubType::Exclusive as i32,
            consumer_id: self.id,
            request_id,
            consumer_name: Some("tdmq-backup".into()),
            durable: Some(true),
            initial_position: Some(position as i32),
            force_topic_creation: Some(false),
            ..CommandSubscribe::default()
        };
        let ask = BaseCommand { subscribe: Some(subscribe), ..command(Type::Subscribe) };
        self.ask(&doing, request_id, ask).await.map(drop)
    }

    async fn close_consumer(&mut self, consumer_id: u64) -> Result<()> {
        let request_id = self.connection.request_id();
        let close = CommandCloseConsumer { consumer_id, request_id };
        let ask = BaseCommand { close_consumer: Some(close), ..command(Type::CloseConsumer) };
        self.ask("closing the consumer", request_id, ask).await.map(drop)
    }

    /// Sends a request and waits for its answer. Entries that come meanwhile are queued.
    async fn ask(&mut self, doing: &str, request_id: u64, ask: BaseCommand) -> Result<BaseCommand> {
        self.unbroken()?;
        self.connection.send(&ask, &[]);
        let (address, deadline) = (self.connection.address().clone(), self.connection.deadline());
        let wait = async {
            loop {
                if let Some(answer) = self.receive().await?
                    && answered(&answer) == Some(request_id)
                {
                    return match &answer.error {
                        Some(error) => Err(refused(doing, error.error, &error.message)),
                        None => Ok(answer),
                    };
                }
            }
        };
        within(ANSWER_LIMIT, deadline, wait, || connection_silent(&address)).await?
    }

    /// Reads one frame: an entry goes to the queue, anything that may be an answer is returned.
    async fn receive(&mut self) -> Result<Option<BaseCommand>> {
        let Frame { command, rest } = self.connection.receive().await?;
        match command.r#type() {
            Type::Message => {
                let message = command.message.unwrap_or_default();
                if message.consumer_id == self.id {
                    self.accept(message, rest)?;
                }
                Ok(None)
            }
            Type::CloseConsumer
                if command.close_consumer.as_ref().is_some_and(|close| close.consumer_id == self.id) =>
            {
                let text =
                    "the broker closed the consumer (the topic is being unloaded, or the subscription was taken away)";
                Err(Error::new(Kind::Unavailable, text))
            }
            _ => Ok(Some(command)),
        }
    }

    fn accept(&mut self, message: CommandMessage, rest: bytes::Bytes) -> Result<()> {
        let position = position(&message.message_id);
        let size = rest.len();
        let delivered = frame::delivered(rest).map_err(|why| {
            Error::new(Kind::Corrupt, format!("entry {position} arrived damaged; nothing after it was acknowledged"))
                .because(why)
        })?;
        self.permits.used(delivered.metadata.num_messages_in_batch.unwrap_or(1), size);
        if self.accepted.is_some_and(|accepted| position <= accepted) {
            return Ok(());
        }
        if self.dropped || (self.queued_bytes + size > self.subscription.read_ahead && !self.queue.is_empty()) {
            self.dropped = true;
            return Ok(());
        }
        self.accepted = Some(position);
        self.read_anything = true;
        self.queued_bytes += size;
        self.queue.push_back(Entry {
            position,
            partition: self.subscription.partition,
            broker: delivered.broker,
            metadata: delivered.metadata,
            size,
            unreadable: delivered.unreadable,
            payload: delivered.payload,
        });
        Ok(())
    }

    fn pop(&mut self) -> Option<Entry> {
        let entry = self.queue.pop_front()?;
        self.queued_bytes -= entry.size;
        Some(entry)
    }

    fn grant(&mut self) {
        while let Some(permits) = self.permits.grant(self.queued_bytes) {
            let flow = CommandFlow { consumer_id: self.id, message_permits: permits };
            self.connection.send(&BaseCommand { flow: Some(flow), ..command(Type::Flow) }, &[]);
        }
    }

    /// A new consumer in place of this one: the broker delivers again from behind the mark-delete position.
    async fn reattach(&mut self) -> Result<()> {
        // What is still on its way for the old consumer is not for the new one: from here on it is dropped.
        let old = self.id;
        self.id += 1;
        self.dropped = false;
        self.permits.restart();
        self.close_consumer(old).await?;
        self.subscribe().await
    }

    fn unbroken(&mut self) -> Result<()> {
        self.broken.take().map_or(Ok(()), Err)
    }
}

/// The wire's ids are unsigned: what it prints as -1 is the largest number there.
fn position(id: &MessageIdData) -> Position {
    Position::new(id.ledger_id as i64, id.entry_id as i64)
}

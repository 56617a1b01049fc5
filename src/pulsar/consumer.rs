//! A durable, exclusive consumer of one partition that reads a backlog once and waits for its receipts.
//!
//! ```text
//!  FLOW (permits by bytes) ──▶ broker ──▶ MESSAGE ──▶ queue ──▶ next()
//!                                          past the budget: dropped, and everything after it too,
//!                                          until a new consumer starts behind the mark-delete position
//! ```
//!
//! Owns the order of entries and the memory they may take. Does not own what is done with them.

mod leave;
mod place;
mod reattach;
mod schema;
mod seek;
mod source;
#[cfg(test)]
mod tests;

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
use super::lookup::Cluster;
use super::permits::Permits;
use crate::error::{Error, Kind, Result};
use crate::message::{Entry, Position};
use crate::rule::TopicName;

/// The first protocol version whose brokers answer an acknowledgement.
const RECEIPTS_SINCE: i32 = 17;
const GOODBYE_LIMIT: Duration = Duration::from_secs(2);
const WENT_BACK: &str = "the cursor was moved back meanwhile; what this run had read was dropped";

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
    /// False for a reader, which leaves nothing behind at the broker.
    pub durable: bool,
    pub initial: Initial,
    /// Bytes of entries that may wait in memory or be on their way.
    pub read_ahead: usize,
    /// The entry that a reader begins with, whatever `initial` says.
    pub from: Option<Position>,
}

pub struct Consumer<'c> {
    /// Where the way to the broker is found again.
    cluster: &'c Cluster<'c>,
    topic: TopicName,
    connection: Connection,
    subscription: Subscription,
    /// A new one for each attachment: frames for an old one are dropped.
    id: u64,
    /// False once the connection is lost or the broker has closed the consumer.
    attached: bool,
    queue: VecDeque<Entry>,
    queued_bytes: usize,
    permits: Permits,
    /// The newest entry handed out or queued: what a new consumer brings again is dropped up to here.
    accepted: Option<Position>,
    /// Nothing before this may come any more: it is acknowledged, or was not owed when reading began.
    floor: Option<Position>,
    /// The floor when this consumer was attached: its first entry shows where the cursor stood.
    first_from: Option<Position>,
    /// Whether the broker says where the cursor stands.
    says_cursor: bool,
    /// Something was dropped for want of memory: nothing is accepted until a new consumer starts.
    dropped: bool,
    /// Why nothing more will come, found while doing something else.
    broken: Option<Error>,
    read_anything: bool,
}

impl<'c> Consumer<'c> {
    /// Attaches to the subscription, creating it (durable) where it does not exist. Never creates a topic.
    pub(crate) async fn attach(
        cluster: &'c Cluster<'c>,
        topic: &TopicName,
        subscription: Subscription,
    ) -> Result<Consumer<'c>> {
        let connection = cluster.connect(topic).await?;
        let largest = connection.max_message_size();
        let permits = Permits::new(subscription.read_ahead, largest);
        let mut consumer = Consumer {
            cluster,
            topic: topic.clone(),
            connection,
            subscription,
            id: 1,
            attached: false,
            queue: VecDeque::new(),
            queued_bytes: 0,
            permits,
            accepted: None,
            floor: None,
            first_from: None,
            says_cursor: false,
            dropped: false,
            broken: None,
            read_anything: false,
        };
        // The broker takes a while to forget a reader from before.
        let subscribed = match consumer.subscription.durable {
            true => consumer.subscribe().await,
            false => consumer.subscribe_again().await,
        };
        match subscribed {
            Ok(()) => consumer.attached = true,
            // The topic is being moved, or the subscription is fenced.
            Err(error) if error.kind() == Kind::Unavailable => consumer.reattach().await?,
            Err(error) => return Err(error),
        }
        Ok(consumer)
    }
}

impl Consumer<'_> {
    async fn subscribe(&mut self) -> Result<()> {
        let (doing, request_id, ask) = self.subscription_request();
        self.ask(&doing, request_id, ask).await.map(drop)
    }

    /// What is being done, for an error; the request's id; the request.
    fn subscription_request(&mut self) -> (String, u64, BaseCommand) {
        let Subscription { topic, name, initial, from, durable, .. } = self.subscription.clone();
        let doing = format!("subscribing {name:?} to {topic}");
        let request_id = self.connection.request_id();
        let (position, reader_at) = match initial {
            Initial::Earliest => (InitialPosition::Earliest, Position::new(-1, -1)),
            Initial::Latest => (InitialPosition::Latest, Position::new(i64::MAX, i64::MAX)),
        };
        // Where an index in a batch stands, brokers of any age take one step back, so that the entry comes whole.
        let reader_at = from.map_or(wire_id(reader_at), |at| MessageIdData { batch_index: Some(0), ..wire_id(at) });
        let subscribe = CommandSubscribe {
            topic,
            subscription: name,
            sub_type: SubType::Exclusive as i32,
            consumer_id: self.id,
            request_id,
            consumer_name: Some("tdmq-backup".into()),
            durable: Some(durable),
            start_message_id: (!durable).then_some(reader_at),
            initial_position: Some(position as i32),
            force_topic_creation: Some(false),
            ..CommandSubscribe::default()
        };
        (doing, request_id, BaseCommand { subscribe: Some(subscribe), ..command(Type::Subscribe) })
    }

    async fn close_consumer(&mut self, consumer_id: u64) -> Result<()> {
        let request_id = self.connection.request_id();
        let close = CommandCloseConsumer { consumer_id, request_id };
        let ask = BaseCommand { close_consumer: Some(close), ..command(Type::CloseConsumer) };
        self.ask("closing the consumer", request_id, ask).await.map(drop)
    }

    /// Sends a request and waits for its answer. Entries that come meanwhile are queued.
    async fn ask(&mut self, doing: &str, request_id: u64, ask: BaseCommand) -> Result<BaseCommand> {
        let answer = self.ask_any(request_id, ask).await?;
        match &answer.error {
            Some(error) => Err(refused(doing, error.error, &error.message)),
            None => Ok(answer),
        }
    }

    /// [`Consumer::ask`] with the broker's error as an answer.
    async fn ask_any(&mut self, request_id: u64, ask: BaseCommand) -> Result<BaseCommand> {
        self.unbroken()?;
        self.connection.send(&ask, &[]);
        let (address, deadline) = (self.connection.address().clone(), self.connection.deadline());
        let wait = async {
            loop {
                if let Some(answer) = self.receive().await?
                    && answered(&answer) == Some(request_id)
                {
                    return Ok(answer);
                }
            }
        };
        match within(ANSWER_LIMIT, deadline, wait, || connection_silent(&address)).await {
            Ok(answer) => answer,
            Err(silent) => {
                self.attached = false;
                Err(silent)
            }
        }
    }

    /// Reads one frame: an entry goes to the queue, anything that may be an answer is returned. After an error
    /// that is `Unavailable` the consumer is not attached any more.
    async fn receive(&mut self) -> Result<Option<BaseCommand>> {
        let frame = self.connection.receive().await;
        self.attached &= frame.is_ok();
        let Frame { command, rest } = frame?;
        match command.r#type() {
            Type::Message => {
                let message = command.message.unwrap_or_default();
                if message.consumer_id == self.id {
                    self.accept(message, rest)?;
                }
                Ok(None)
            }
            // It may name the new broker; a lookup does so in every version.
            Type::CloseConsumer
                if command.close_consumer.as_ref().is_some_and(|close| close.consumer_id == self.id) =>
            {
                self.attached = false;
                let text =
                    "the broker closed the consumer (the topic is being unloaded, or the subscription was taken away)";
                Err(Error::new(Kind::Unavailable, text))
            }
            _ => Ok(Some(command)),
        }
    }

    fn accept(&mut self, message: CommandMessage, rest: bytes::Bytes) -> Result<()> {
        let position = position(&message.message_id);
        let length = rest.len();
        let delivered = frame::delivered(rest).map_err(|why| {
            Error::new(Kind::Corrupt, format!("entry {position} arrived damaged; nothing after it was acknowledged"))
                .because(why)
        })?;
        let size = length + delivered.overhead;
        self.permits.used(delivered.messages, size);
        if self.first_from.take().is_some_and(|from| position < from) {
            // Brokers that do not say where the cursor stands are found out by what they deliver.
            return Err(Error::new(Kind::Busy, WENT_BACK));
        }
        self.floor.get_or_insert(position);
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
            first_chunk: None,
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

    fn unbroken(&mut self) -> Result<()> {
        self.broken.take().map_or(Ok(()), Err)
    }
}

/// The wire's ids are unsigned: what it prints as -1 is the largest number there.
fn position(id: &MessageIdData) -> Position {
    Position::new(id.ledger_id as i64, id.entry_id as i64)
}

fn wire_id(at: Position) -> MessageIdData {
    MessageIdData { ledger_id: at.ledger as u64, entry_id: at.entry as u64, ..MessageIdData::default() }
}

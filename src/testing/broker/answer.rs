//! What the broker does with each command.
//!
//! Follows `ServerCnx` of Pulsar 4.0: the texts are its texts, since clients and people read them.

use pulsar::proto::base_command::Type;
use pulsar::proto::command_ack::AckType;
use pulsar::proto::{
    BaseCommand, CommandAck, CommandConnect, CommandFlow, CommandRedeliverUnacknowledgedMessages, CommandSeek,
    CommandSubscribe, ServerError, command_subscribe::InitialPosition, command_subscribe::SubType,
};

use super::connection::Next;
use super::cursor::{Attached, Cursor};
use super::script::Act;
use super::state::{State, Undo, position};
use super::{reply, topic_name};
use crate::Position;

impl State {
    /// Carries out a recorded command as the script has it.
    pub fn perform(&mut self, from: u64, index: usize, command: &BaseCommand, act: Option<Act>) -> Next {
        self.answering = Some((index, matches!(act, Some(Act::AckButNoReceipt))));
        let next = match act {
            None | Some(Act::Delay(_) | Act::AckButNoReceipt | Act::CorruptCrc) => self.answer(from, command),
            Some(Act::DropConnection) => Next::Drop,
            Some(Act::NoAnswer) => Next::Read,
            Some(Act::Error(error, text)) => self.refuse(from, command, error, &text),
            Some(Act::AnswerThenDrop) => {
                self.answer(from, command);
                Next::Flush
            }
            Some(Act::AnswerBeforeClose) => {
                let (answering, answer) = (self.answering.take(), reply::done(command));
                // Not the answer's place in the record, but its place on the wire is what counts.
                self.reply_some(from, answer);
                self.answering = answering.map(|(index, _)| (index, true));
                self.answer(from, command)
            }
            Some(Act::ReceiptButNoAck) => self.reply_some(from, reply::done(command)),
            Some(Act::ClosesConsumer) => {
                let owner = reply::consumer_id(command).and_then(|id| self.consumer_of(from, id));
                if let Some((topic, subscription)) = owner {
                    self.close_consumer(&topic, &subscription);
                }
                self.answer(from, command)
            }
            Some(Act::Redirect { url, authoritative }) => {
                self.reply_some(from, reply::redirect(command, url, authoritative))
            }
            Some(Act::ThroughProxy { broker }) => self.reply_some(from, reply::through_proxy(command, broker)),
        };
        self.answering = None;
        next
    }

    fn reply_some(&mut self, to: u64, answer: Option<BaseCommand>) -> Next {
        if let Some(answer) = answer {
            self.reply(to, answer);
        }
        Next::Read
    }

    pub(super) fn refuse(&mut self, to: u64, command: &BaseCommand, error: ServerError, text: &str) -> Next {
        if let Some(send) = &command.send {
            return self.refuse_message(to, send, error, text);
        }
        self.reply_some(to, reply::refused(command, error, text));
        if command.connect.is_some() { Next::Flush } else { Next::Read }
    }

    fn answer(&mut self, from: u64, command: &BaseCommand) -> Next {
        if let Some(connect) = &command.connect {
            return self.connected(from, command, connect);
        }
        if self.peers.get(&from).is_none_or(|peer| peer.protocol.is_none()) {
            return Next::Drop;
        }
        let kind = Type::try_from(command.r#type).unwrap_or(Type::Error);
        match kind {
            Type::Ping => self.reply_some(from, Some(reply::pong())),
            Type::Pong => Next::Read,
            Type::PartitionedMetadata => self.partitions(from, command),
            Type::Lookup => self.look_up(from, command),
            Type::AuthResponse => self.authenticate_again(from, command),
            Type::GetTopicsOfNamespace => {
                let topics = self.topics.keys().cloned().collect();
                self.reply_some(from, reply::topics(command, topics))
            }
            Type::Subscribe => command.subscribe.as_ref().map_or(Next::Drop, |c| self.subscribe(from, command, c)),
            Type::Flow => command.flow.as_ref().map_or(Next::Drop, |flow| self.flow(from, flow)),
            Type::Ack => command.ack.as_ref().map_or(Next::Drop, |ack| self.acknowledge(from, command, ack)),
            Type::RedeliverUnacknowledgedMessages => {
                command.redeliver_unacknowledged_messages.as_ref().map_or(Next::Drop, |c| self.redeliver(from, c))
            }
            Type::Seek => command.seek.as_ref().map_or(Next::Drop, |seek| self.seek(from, command, seek)),
            Type::GetLastMessageId => self.last_message_id(from, command),
            Type::ConsumerStats => self.stats(from, command),
            Type::GetSchema => command.get_schema.as_ref().map_or(Next::Drop, |request| self.schema(from, request)),
            Type::Producer => command.producer.as_ref().map_or(Next::Drop, |c| self.produce(from, command, c)),
            Type::Send => {
                let message = self.answering.map(|(index, _)| self.commands[index].rest.clone()).unwrap_or_default();
                command.send.as_ref().map_or(Next::Drop, |send| self.send_message(from, send, message))
            }
            Type::CloseConsumer | Type::Unsubscribe => self.leave(from, command, kind),
            _ => self.refuse(from, command, ServerError::NotAllowedError, "not a command of this broker"),
        }
    }

    fn connected(&mut self, from: u64, command: &BaseCommand, connect: &CommandConnect) -> Next {
        let token = self.config.token.as_deref().map(str::as_bytes);
        if token.is_some_and(|token| connect.auth_data.as_deref() != Some(token)) {
            return self.refuse(from, command, ServerError::AuthenticationError, "Failed to authenticate");
        }
        if let Some(peer) = self.peers.get_mut(&from) {
            peer.protocol = Some(connect.protocol_version());
            let flags = connect.feature_flags.as_ref();
            peer.takes_broker_metadata = flags.is_some_and(|flags| flags.supports_broker_entry_metadata());
        }
        let version = self.config.protocol_version.min(connect.protocol_version());
        self.reply_some(from, Some(reply::connected(version, self.config.max_message_size)))
    }

    /// The answer to a challenge: a token that is refused ends the connection.
    fn authenticate_again(&mut self, from: u64, command: &BaseCommand) -> Next {
        let data = command.auth_response.as_ref().and_then(|response| response.response.as_ref()?.auth_data.as_deref());
        if self.config.token.as_deref().is_some_and(|token| data != Some(token.as_bytes())) {
            self.reply(from, reply::not_authenticated());
            return Next::Flush;
        }
        Next::Read
    }

    fn look_up(&mut self, from: u64, command: &BaseCommand) -> Next {
        let listener = command.lookup_topic.as_ref().and_then(|lookup| lookup.advertised_listener_name.as_deref());
        match self.addresses(listener) {
            Some([plain, tls]) => self.reply_some(from, reply::connect(command, plain, tls)),
            None => {
                let text = format!("the broker do not have {} listener", listener.unwrap_or_default());
                self.refuse(from, command, ServerError::ServiceNotReady, &text)
            }
        }
    }

    /// A missing topic is TopicNotFound unless both the broker and the command allow it to be created;
    /// then it is 0 partitions, and not made yet.
    fn partitions(&mut self, from: u64, command: &BaseCommand) -> Next {
        let Some(request) = &command.partition_metadata else { return Next::Drop };
        let name = topic_name(&request.topic);
        let asked = self.answering.and_then(|(index, _)| self.commands[index].metadata_auto_creation());
        let creates = self.config.auto_create_topics && asked.unwrap_or(true);
        match self.partitions.get(&name) {
            Some(&count) => self.reply_some(from, reply::partitions(command, count)),
            None if creates || self.topics.contains_key(&name) => self.reply_some(from, reply::partitions(command, 0)),
            None => self.refuse(from, command, ServerError::TopicNotFound, ""),
        }
    }

    fn subscribe(&mut self, from: u64, command: &BaseCommand, request: &CommandSubscribe) -> Next {
        if self.consumer_of(from, request.consumer_id).is_some() {
            return self.reply_some(from, reply::done(command));
        }
        match self.attach(from, request) {
            Ok(()) => self.reply_some(from, reply::done(command)),
            Err((error, text)) => self.refuse(from, command, error, &text),
        }
    }

    fn attach(&mut self, from: u64, request: &CommandSubscribe) -> Result<(), (ServerError, String)> {
        let (topic, subscription) = (topic_name(&request.topic), request.subscription.clone());
        if request.sub_type() != SubType::Exclusive {
            return Err((ServerError::NotAllowedError, "this broker serves Exclusive subscriptions".into()));
        }
        if self.config.auto_create_topics && request.force_topic_creation() {
            self.create_topic(&topic);
        }
        let missing = || (ServerError::TopicNotFound, format!("Topic {topic} does not exist"));
        let state = self.topics.get_mut(&topic).ok_or_else(missing)?;
        let exists = state.cursors.contains_key(&subscription);
        if request.durable() && !self.config.auto_create_subscriptions && !exists {
            return Err((ServerError::SubscriptionNotFound, "Subscription does not exist".into()));
        }
        if let Some(cursor) = state.cursors.get(&subscription).filter(|cursor| cursor.durable != request.durable()) {
            let kind = if cursor.durable { "Durable" } else { "NonDurable" };
            let text = format!("{kind} subscription with the same name already exists.");
            return Err((ServerError::NotAllowedError, text));
        }
        let first = Position::new(state.log.first_ledger(), -1);
        let start = match (&request.start_message_id, request.initial_position()) {
            // A reader begins with its start where that is inside of a batch, else behind it; or it is one of the two ends.
            (Some(id), _) if !request.durable() => {
                let mut at = position(id);
                at.entry -= i64::from(id.batch_index() >= 0);
                at.clamp(first, state.log.last())
            }
            (_, InitialPosition::Earliest) => first,
            (_, InitialPosition::Latest) => state.log.last(),
        };
        let made = || Cursor { durable: request.durable(), ..Cursor::at(start) };
        let cursor = state.cursors.entry(subscription.clone()).or_insert_with(made);
        if cursor.fenced {
            return Err((ServerError::ServiceNotReady, "Subscription is fenced".into()));
        }
        if cursor.consumer.is_some() {
            return Err((ServerError::ConsumerBusy, "Exclusive consumer is already connected".into()));
        }
        self.attached += 1;
        cursor.consumer = Some(Attached {
            connection: from,
            id: request.consumer_id,
            name: request.consumer_name.clone().unwrap_or_else(|| format!("consumer-{}", self.attached)),
            // Not a time that was read: it only has to differ from consumer to consumer.
            since: format!("2026-01-01T00:00:00.{:09}Z", self.attached),
            epoch: request.consumer_epoch,
            permits: 0,
            sent: cursor.mark_delete,
        });
        if let Some(peer) = self.peers.get_mut(&from) {
            peer.consumers.insert(request.consumer_id, (topic, subscription));
        }
        Ok(())
    }

    fn flow(&mut self, from: u64, flow: &CommandFlow) -> Next {
        let Some((topic, subscription)) = self.consumer_of(from, flow.consumer_id) else { return Next::Read };
        if let Some(consumer) = self.cursor(&topic, &subscription).and_then(|cursor| cursor.consumer.as_mut()) {
            consumer.permits += i64::from(flow.message_permits);
        }
        self.dispatch(&topic);
        Next::Read
    }

    /// For an unknown consumer nothing happens and nothing is answered. An acknowledgement that moves
    /// nothing is answered like any other.
    fn acknowledge(&mut self, from: u64, command: &BaseCommand, ack: &CommandAck) -> Next {
        let Some((topic, subscription)) = self.consumer_of(from, ack.consumer_id) else { return Next::Read };
        let Some(state) = self.topics.get_mut(&topic) else { return Next::Read };
        let Some(cursor) = state.cursors.get_mut(&subscription) else { return Next::Read };
        let before = cursor.mark_delete;
        for id in &ack.message_id {
            match ack.ack_type() {
                // A part of a batch: everything before the entry.
                AckType::Cumulative if !id.ack_set.is_empty() => {
                    cursor.acknowledge_upto(state.log.before(position(id)), &state.log)
                }
                AckType::Cumulative => cursor.acknowledge_upto(position(id), &state.log),
                AckType::Individual if !id.ack_set.is_empty() => false,
                AckType::Individual => cursor.acknowledge_one(position(id), &state.log),
            };
        }
        if cursor.mark_delete != before {
            self.undo.push(Undo { topic, subscription, mark_delete: before });
        }
        if ack.request_id.is_some() && self.config.receipts {
            return self.reply_some(from, reply::done(command));
        }
        Next::Read
    }

    fn redeliver(&mut self, from: u64, request: &CommandRedeliverUnacknowledgedMessages) -> Next {
        let Some((topic, subscription)) = self.consumer_of(from, request.consumer_id) else { return Next::Read };
        if let Some(cursor) = self.cursor(&topic, &subscription) {
            cursor.rewind();
            if let Some(consumer) = &mut cursor.consumer {
                consumer.epoch = request.consumer_epoch.or(consumer.epoch);
            }
        }
        self.dispatch(&topic);
        Next::Read
    }

    /// The consumer is closed before the cursor moves, and told so before it is told of the success.
    fn seek(&mut self, from: u64, command: &BaseCommand, seek: &CommandSeek) -> Next {
        let Some((topic, subscription)) = self.consumer_of(from, seek.consumer_id) else {
            return self.refuse(from, command, ServerError::MetadataError, "Consumer not found");
        };
        let Some(log) = self.topics.get(&topic).map(|state| &state.log) else { return Next::Read };
        let target = match (&seek.message_id, seek.message_publish_time) {
            (Some(id), _) => log.before(position(id)),
            (None, Some(time)) => log.before_time(time),
            (None, None) => {
                let text = "Message id and message publish time were not present";
                return self.refuse(from, command, ServerError::MetadataError, text);
            }
        };
        self.close_consumer(&topic, &subscription);
        if let Some(cursor) = self.cursor(&topic, &subscription) {
            cursor.reset(target);
        }
        self.reply_some(from, reply::done(command))
    }

    fn last_message_id(&mut self, from: u64, command: &BaseCommand) -> Next {
        let owner = reply::consumer_id(command).and_then(|id| self.consumer_of(from, id));
        let Some((topic, subscription)) = owner else {
            return self.refuse(from, command, ServerError::MetadataError, "Consumer not found");
        };
        let Some(state) = self.topics.get(&topic) else { return Next::Read };
        let mark_delete = state.cursors.get(&subscription).map(|cursor| cursor.mark_delete);
        let mark_delete = mark_delete.filter(|_| self.config.mark_delete_position);
        let answer = reply::last_message_id(command, state.log.last_message(), state.partition, mark_delete);
        self.reply_some(from, answer)
    }

    /// For an unknown consumer the broker fails inside, and the connection with it.
    fn stats(&mut self, from: u64, command: &BaseCommand) -> Next {
        let owner = reply::consumer_id(command).and_then(|id| self.consumer_of(from, id));
        let Some((topic, subscription)) = owner else { return Next::Drop };
        let Some(state) = self.topics.get(&topic) else { return Next::Drop };
        let Some(cursor) = state.cursors.get(&subscription) else { return Next::Drop };
        let backlog = self.config.backlog.then(|| cursor.backlog(&state.log));
        let answer = reply::stats(command, cursor, backlog);
        self.reply_some(from, answer)
    }

    fn leave(&mut self, from: u64, command: &BaseCommand, kind: Type) -> Next {
        let id = reply::consumer_id(command);
        let owner = id.and_then(|id| self.peers.get_mut(&from)?.consumers.remove(&id));
        match owner {
            Some((topic, subscription)) => {
                self.let_go(&topic, &subscription);
                if kind == Type::Unsubscribe
                    && let Some(state) = self.topics.get_mut(&topic)
                {
                    state.cursors.remove(&subscription);
                }
                self.reply_some(from, reply::done(command))
            }
            None if kind == Type::CloseConsumer => self.reply_some(from, reply::done(command)),
            None => self.refuse(from, command, ServerError::MetadataError, "Consumer not found"),
        }
    }
}

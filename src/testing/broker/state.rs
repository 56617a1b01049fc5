//! Everything the broker knows, behind one lock: topics, connections, the record, the script.
//!
//! Commands change it in `answer`; whatever makes entries deliverable ends in [`State::dispatch`], which
//! puts them on the consumers' connections as far as their permits go. Nothing here waits.

use std::collections::BTreeMap;
use std::sync::Arc;

use bytes::Bytes;
use prost::Message as _;
use pulsar::proto::base_command::Type;
use pulsar::proto::{BaseCommand, CommandCloseConsumer, CommandMessage, MessageIdData, Schema};
use tokio::sync::{Notify, mpsc};

use super::cursor::Cursor;
use super::frame::{self, CHECKSUM_LENGTH, Stored};
use super::log::Log;
use super::record::{HttpRequest, Recorded};
use super::script::{Act, Script};
use super::{Config, connection::Out};
use crate::Position;

/// As `dispatcherMaxReadBatchSize` and `dispatcherMaxReadSizeBytes`.
const READ_ENTRIES: i64 = 100;
const READ_BYTES: usize = 5 * 1024 * 1024;

pub(super) struct State {
    pub config: Config,
    pub url: String,
    pub http_url: String,
    /// What lookups answer instead of `url`: by listener, and whether for TLS.
    pub advertised: BTreeMap<(Option<String>, bool), String>,
    pub topics: BTreeMap<String, TopicState>,
    /// Partitioned topics by name; their partitions are topics of their own, or missing.
    pub partitions: BTreeMap<String, u32>,
    /// By topic, its partitions' too; the place is the version.
    pub schemas: BTreeMap<String, Vec<Schema>>,
    pub peers: BTreeMap<u64, Peer>,
    pub commands: Vec<Recorded>,
    pub requests: Vec<HttpRequest>,
    pub http_answers: Vec<(u16, String)>,
    pub script: Script,
    pub undo: Vec<Undo>,
    /// Bytes that may still be sent before the connection is cut.
    pub cut: Option<usize>,
    /// The command being answered: its place in the record, and whether its answer is withheld.
    pub answering: Option<(usize, bool)>,
    pub attached: u64,
    next_ledger: i64,
    connections: u64,
}

pub(super) struct TopicState {
    pub log: Log,
    pub cursors: BTreeMap<String, Cursor>,
    /// -1 for a topic that is no partition.
    pub partition: i32,
}

pub(super) struct Peer {
    pub out: mpsc::UnboundedSender<Out>,
    pub kill: Arc<Notify>,
    /// What the client announced, once it is connected.
    pub protocol: Option<i32>,
    pub takes_broker_metadata: bool,
    /// Topic and subscription by consumer id.
    pub consumers: BTreeMap<u64, (String, String)>,
    /// Topic by producer id.
    pub producers: BTreeMap<u64, String>,
}

/// A mark-delete position as it was before an acknowledgement.
pub(super) struct Undo {
    pub topic: String,
    pub subscription: String,
    pub mark_delete: Position,
}

impl State {
    pub fn new(config: Config) -> Self {
        State {
            next_ledger: config.first_ledger,
            config,
            url: String::new(),
            http_url: String::new(),
            advertised: BTreeMap::new(),
            topics: BTreeMap::new(),
            partitions: BTreeMap::new(),
            schemas: BTreeMap::new(),
            peers: BTreeMap::new(),
            commands: Vec::new(),
            requests: Vec::new(),
            http_answers: Vec::new(),
            script: Script::default(),
            undo: Vec::new(),
            cut: None,
            answering: None,
            attached: 0,
            connections: 0,
        }
    }

    pub fn connect(&mut self, out: mpsc::UnboundedSender<Out>, kill: Arc<Notify>) -> u64 {
        self.connections += 1;
        let peer = Peer {
            out,
            kill,
            protocol: None,
            takes_broker_metadata: false,
            consumers: BTreeMap::new(),
            producers: BTreeMap::new(),
        };
        self.peers.insert(self.connections, peer);
        self.connections
    }

    /// Removes the connection and, at once, its consumers.
    pub fn disconnect(&mut self, id: u64) {
        for (topic, subscription) in self.peers.remove(&id).into_iter().flat_map(|peer| peer.consumers.into_values()) {
            self.let_go(&topic, &subscription);
        }
    }

    /// The consumer is gone, and a reader's cursor with it.
    pub fn let_go(&mut self, topic: &str, subscription: &str) {
        let Some(state) = self.topics.get_mut(topic) else { return };
        let Some(cursor) = state.cursors.get_mut(subscription) else { return };
        cursor.consumer = None;
        if !cursor.durable {
            state.cursors.remove(subscription);
        }
    }

    /// Ends every connection without another byte.
    pub fn kill_all(&mut self) {
        for id in self.peers.keys().copied().collect::<Vec<_>>() {
            self.peers[&id].kill.notify_one();
            self.disconnect(id);
        }
    }

    /// How many of `bytes` may be sent: fewer where the connection is to be cut.
    pub fn allow(&mut self, bytes: usize) -> usize {
        let Some(left) = self.cut else { return bytes };
        self.cut = left.checked_sub(bytes);
        bytes.min(left)
    }

    /// The broker's addresses without and with TLS, as this listener has them; `None`: there is no such listener.
    pub fn addresses(&self, listener: Option<&str>) -> Option<[Option<String>; 2]> {
        let of = |tls| self.advertised.get(&(listener.map(str::to_owned), tls)).cloned();
        let (plain, tls) = (of(false), of(true));
        match listener {
            None => Some([plain.or_else(|| Some(self.url.clone())), tls]),
            Some(_) => (plain.is_some() || tls.is_some()).then_some([plain, tls]),
        }
    }

    pub fn take_ledger(&mut self) -> i64 {
        self.next_ledger += 1;
        self.next_ledger - 1
    }

    pub fn create_topic(&mut self, name: &str) {
        if !self.topics.contains_key(name) {
            let partition = name.rsplit_once("-partition-").and_then(|(_, n)| n.parse().ok()).unwrap_or(-1);
            let log = Log::starting_at(self.take_ledger());
            self.topics.insert(name.to_owned(), TopicState { log, cursors: BTreeMap::new(), partition });
        }
    }

    pub fn cursor(&mut self, topic: &str, subscription: &str) -> Option<&mut Cursor> {
        self.topics.get_mut(topic)?.cursors.get_mut(subscription)
    }

    pub fn consumer_of(&self, connection: u64, consumer: u64) -> Option<(String, String)> {
        self.peers.get(&connection)?.consumers.get(&consumer).cloned()
    }

    /// Answers the command in hand, unless the script withholds it.
    pub fn reply(&mut self, to: u64, command: BaseCommand) {
        match self.answering {
            Some((_, true)) => return,
            Some((index, false)) => self.commands[index].answered = true,
            None => {}
        }
        self.send(to, &command);
    }

    pub fn send(&mut self, to: u64, command: &BaseCommand) {
        self.put(to, Out::Frame(frame::command(command), Bytes::new()));
    }

    /// A connection that has just ended takes nothing any more, and that is as it should be.
    pub fn put(&self, to: u64, out: Out) {
        if let Some(peer) = self.peers.get(&to) {
            let _ = peer.out.send(out);
        }
    }

    /// Takes the consumer off its subscription and tells the client; a client too old to know the
    /// command loses its connection (`ServerCnx.closeConsumer`).
    pub fn close_consumer(&mut self, topic: &str, subscription: &str) {
        let Some(consumer) = self.cursor(topic, subscription).and_then(|cursor| cursor.consumer.take()) else { return };
        let Some(peer) = self.peers.get_mut(&consumer.connection) else { return };
        peer.consumers.remove(&consumer.id);
        if peer.protocol.unwrap_or(0) < 5 {
            self.put(consumer.connection, Out::Close);
            return;
        }
        let close = CommandCloseConsumer { consumer_id: consumer.id, request_id: u64::MAX };
        let close =
            BaseCommand { r#type: Type::CloseConsumer as i32, close_consumer: Some(close), ..Default::default() };
        self.send(consumer.connection, &close);
    }

    /// Sends what each consumer of the topic has permits for.
    pub fn dispatch(&mut self, topic: &str) {
        let Some(state) = self.topics.get(topic) else { return };
        for subscription in state.cursors.keys().cloned().collect::<Vec<_>>() {
            while self.read_round(topic, &subscription) {}
        }
    }

    /// One read of the dispatcher: up to as many *entries* as there are permits, sent whole, so that
    /// batches take the permits below 0 (`PersistentDispatcherSingleActiveConsumer`). False when there
    /// is nothing to send.
    fn read_round(&mut self, topic: &str, subscription: &str) -> bool {
        let Some(state) = self.topics.get_mut(topic) else { return false };
        let Some(cursor) = state.cursors.get(subscription) else { return false };
        let Some(consumer) = &cursor.consumer else { return false };
        let mut bytes = 0;
        let round: Vec<(Position, Stored)> = state
            .log
            .after(consumer.sent.max(cursor.mark_delete))
            .filter(|(position, _)| !cursor.acknowledged.contains(position))
            .take(consumer.permits.clamp(0, READ_ENTRIES) as usize)
            .take_while(|(_, stored)| {
                let fits = bytes == 0 || bytes + stored.body.len() <= READ_BYTES;
                bytes += stored.body.len();
                fits
            })
            .map(|(position, stored)| (position, stored.clone()))
            .collect();
        let sent_some = !round.is_empty();
        for (position, stored) in round {
            if !self.deliver(topic, subscription, position, &stored) {
                return false;
            }
        }
        sent_some
    }

    /// False when the consumer is gone.
    fn deliver(&mut self, topic: &str, subscription: &str, position: Position, stored: &Stored) -> bool {
        let act = self.script.hit(Type::Message);
        let partition = self.topics.get(topic).map_or(-1, |state| state.partition);
        let Some(consumer) = self.cursor(topic, subscription).and_then(|cursor| cursor.consumer.as_mut()) else {
            return false;
        };
        let connection = consumer.connection;
        consumer.sent = position;
        let body = match act {
            Some(Act::DropConnection) => {
                self.put(connection, Out::Close);
                self.disconnect(connection);
                return false;
            }
            Some(Act::ClosesConsumer) => {
                self.close_consumer(topic, subscription);
                return false;
            }
            Some(Act::NoAnswer) => return true,
            Some(Act::CorruptCrc) => stored.corrupt(),
            _ => stored.body.clone(),
        };
        consumer.permits -= stored.permits();
        let message = CommandMessage {
            consumer_id: consumer.id,
            message_id: id(position, partition),
            consumer_epoch: consumer.epoch,
            ..Default::default()
        };
        let command = BaseCommand { r#type: Type::Message as i32, message: Some(message), ..Default::default() };
        let Some(peer) = self.peers.get(&connection) else { return false };
        let protocol = peer.protocol.unwrap_or(0);
        let exposed = self.config.broker_metadata && peer.takes_broker_metadata && protocol >= 18;
        let broker = stored.composed.broker.as_ref().filter(|_| exposed).map(|metadata| metadata.encode_to_vec());
        let body = if protocol < 11 { body.slice(CHECKSUM_LENGTH..) } else { body };
        self.put(connection, Out::Frame(frame::message_head(&command, broker.as_deref(), &body), body));
        true
    }
}

/// -1 is carried as the unsigned number with the same bits.
pub(super) fn id(position: Position, partition: i32) -> MessageIdData {
    MessageIdData {
        ledger_id: position.ledger as u64,
        entry_id: position.entry as u64,
        partition: Some(partition),
        ..Default::default()
    }
}

pub(super) fn position(id: &MessageIdData) -> Position {
    Position::new(id.ledger_id as i64, id.entry_id as i64)
}

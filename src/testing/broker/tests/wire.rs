//! A client of bare frames: one command out, one frame in, nothing hidden.

use bytes::{Buf, Bytes};
use prost::Message as _;
use pulsar::proto::base_command::Type;
use pulsar::proto::command_ack::AckType;
use pulsar::proto::command_subscribe::{InitialPosition, SubType};
use pulsar::proto::*;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::Position;
use crate::testing::broker::Broker;

pub(super) const SUBSCRIPTION: &str = "backup";

pub(super) struct Wire {
    stream: TcpStream,
    requests: u64,
}

/// What came, with its payload if it was a message.
pub(super) struct Frame {
    pub command: BaseCommand,
    pub broker: Option<BrokerEntryMetadata>,
    pub checksum_fits: bool,
    pub metadata: MessageMetadata,
    pub payload: Bytes,
}

impl Frame {
    pub fn kind(&self) -> Type {
        Type::try_from(self.command.r#type).unwrap()
    }

    /// Of a message.
    pub fn position(&self) -> Position {
        let id = &self.command.message.as_ref().expect("a message").message_id;
        Position::new(id.ledger_id as i64, id.entry_id as i64)
    }

    /// Of an ERROR.
    pub fn error(&self) -> (ServerError, &str) {
        let error = self.command.error.as_ref().expect("an error");
        (ServerError::try_from(error.error).unwrap(), &error.message)
    }

    /// Last message id, its batch index, and the mark-delete position.
    pub fn last(&self) -> (Position, i32, Option<Position>) {
        let answer = self.command.get_last_message_id_response.as_ref().expect("a last message id");
        let position = |id: &MessageIdData| Position::new(id.ledger_id as i64, id.entry_id as i64);
        let last = &answer.last_message_id;
        (position(last), last.batch_index(), answer.consumer_mark_delete_position.as_ref().map(position))
    }
}

pub(super) fn base(kind: Type) -> BaseCommand {
    BaseCommand { r#type: kind as i32, ..Default::default() }
}

impl Wire {
    pub async fn open(broker: &Broker) -> Self {
        let address = broker.url().replace("pulsar://", "");
        let stream = TcpStream::connect(address).await.unwrap();
        stream.set_nodelay(true).unwrap();
        Wire { stream, requests: 0 }
    }

    /// Connected, as a client of protocol version 19 that reads broker metadata.
    pub async fn connect(broker: &Broker) -> Self {
        let mut wire = Wire::open(broker).await;
        assert_eq!(wire.connect_as(19, None).await.unwrap().kind(), Type::Connected);
        wire
    }

    pub async fn connect_as(&mut self, version: i32, token: Option<&str>) -> Option<Frame> {
        let connect = CommandConnect {
            client_version: "bare frames".into(),
            protocol_version: Some(version),
            auth_method_name: token.map(|_| "token".into()),
            auth_data: token.map(|token| token.as_bytes().to_vec()),
            feature_flags: Some(FeatureFlags { supports_broker_entry_metadata: Some(true), ..Default::default() }),
            ..Default::default()
        };
        self.send(BaseCommand { connect: Some(connect), ..base(Type::Connect) }).await;
        self.read().await
    }

    pub async fn send(&mut self, command: BaseCommand) {
        self.send_raw(&command.encode_to_vec()).await;
    }

    pub async fn send_raw(&mut self, command: &[u8]) {
        let mut frame = (command.len() as u32 + 4).to_be_bytes().to_vec();
        frame.extend((command.len() as u32).to_be_bytes());
        frame.extend(command);
        self.stream.write_all(&frame).await.unwrap();
    }

    /// None when the broker has closed the connection.
    pub async fn read(&mut self) -> Option<Frame> {
        let total = self.stream.read_u32().await.ok()?;
        let mut bytes = vec![0; total as usize];
        self.stream.read_exact(&mut bytes).await.ok()?;
        let mut bytes = Bytes::from(bytes);
        let size = bytes.get_u32() as usize;
        let command = BaseCommand::decode(bytes.split_to(size)).unwrap();
        let (mut broker, mut checksum_fits, mut metadata) = (None, false, MessageMetadata::default());
        if command.message.is_some() {
            if bytes[..2] == [0x0e, 0x02] {
                bytes.advance(2);
                let size = bytes.get_u32() as usize;
                broker = Some(BrokerEntryMetadata::decode(bytes.split_to(size)).unwrap());
            }
            if bytes[..2] == [0x0e, 0x01] {
                bytes.advance(2);
                checksum_fits = bytes.get_u32() == crc32c::crc32c(&bytes);
            }
            let size = bytes.get_u32() as usize;
            metadata = MessageMetadata::decode(bytes.split_to(size)).unwrap();
        }
        Some(Frame { command, broker, checksum_fits, metadata, payload: bytes })
    }

    pub async fn next(&mut self) -> Frame {
        self.read().await.expect("the connection is open")
    }

    /// Whatever is on its way has come when this returns: the frames before the pong.
    pub async fn drain(&mut self) -> Vec<Frame> {
        self.send(BaseCommand { ping: Some(CommandPing {}), ..base(Type::Ping) }).await;
        let mut frames = Vec::new();
        loop {
            let frame = self.next().await;
            if frame.kind() == Type::Pong {
                return frames;
            }
            frames.push(frame);
        }
    }

    /// The positions of the messages on their way.
    pub async fn messages(&mut self) -> Vec<Position> {
        self.drain().await.iter().map(Frame::position).collect()
    }

    pub fn request(&mut self) -> u64 {
        self.requests += 1;
        self.requests
    }

    pub async fn subscribe_with(
        &mut self,
        topic: &str,
        consumer: u64,
        change: impl FnOnce(&mut CommandSubscribe),
    ) -> Frame {
        let mut subscribe = CommandSubscribe {
            topic: format!("persistent://public/default/{topic}"),
            subscription: SUBSCRIPTION.into(),
            sub_type: SubType::Exclusive as i32,
            consumer_id: consumer,
            request_id: self.request(),
            initial_position: Some(InitialPosition::Earliest as i32),
            force_topic_creation: Some(false),
            ..Default::default()
        };
        change(&mut subscribe);
        self.send(BaseCommand { subscribe: Some(subscribe), ..base(Type::Subscribe) }).await;
        self.next().await
    }

    pub async fn subscribe(&mut self, topic: &str, consumer: u64) {
        let answer = self.subscribe_with(topic, consumer, |_| {}).await;
        assert_eq!(answer.kind(), Type::Success, "{:?}", answer.command);
    }

    pub async fn flow(&mut self, consumer: u64, permits: u32) {
        let flow = CommandFlow { consumer_id: consumer, message_permits: permits };
        self.send(BaseCommand { flow: Some(flow), ..base(Type::Flow) }).await;
    }

    /// Cumulative, with a receipt asked for.
    pub async fn acknowledge(&mut self, consumer: u64, position: Position) {
        let ack = CommandAck {
            consumer_id: consumer,
            ack_type: AckType::Cumulative as i32,
            message_id: vec![wire_id(position)],
            request_id: Some(self.request()),
            ..Default::default()
        };
        self.send(BaseCommand { ack: Some(ack), ..base(Type::Ack) }).await;
    }

    pub async fn last_message_id(&mut self, consumer: u64) -> Frame {
        let get = CommandGetLastMessageId { consumer_id: consumer, request_id: self.request() };
        self.send(BaseCommand { get_last_message_id: Some(get), ..base(Type::GetLastMessageId) }).await;
        self.next().await
    }

    pub async fn stats(&mut self, consumer: u64) -> Option<CommandConsumerStatsResponse> {
        let stats = CommandConsumerStats { consumer_id: consumer, request_id: self.request() };
        self.send(BaseCommand { consumer_stats: Some(stats), ..base(Type::ConsumerStats) }).await;
        self.read().await?.command.consumer_stats_response
    }

    pub async fn seek(&mut self, consumer: u64, id: Option<Position>, time: Option<u64>) {
        let seek = CommandSeek {
            consumer_id: consumer,
            request_id: self.request(),
            message_id: id.map(wire_id),
            message_publish_time: time,
        };
        self.send(BaseCommand { seek: Some(seek), ..base(Type::Seek) }).await;
    }

    pub async fn close(&mut self, consumer: u64) -> Frame {
        let close = CommandCloseConsumer { consumer_id: consumer, request_id: self.request() };
        self.send(BaseCommand { close_consumer: Some(close), ..base(Type::CloseConsumer) }).await;
        self.next().await
    }

    pub async fn redeliver(&mut self, consumer: u64) {
        let redeliver = CommandRedeliverUnacknowledgedMessages { consumer_id: consumer, ..Default::default() };
        let command = base(Type::RedeliverUnacknowledgedMessages);
        self.send(BaseCommand { redeliver_unacknowledged_messages: Some(redeliver), ..command }).await;
    }
}

fn wire_id(position: Position) -> MessageIdData {
    MessageIdData { ledger_id: position.ledger as u64, entry_id: position.entry as u64, ..Default::default() }
}

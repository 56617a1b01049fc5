//! A reader on the bare protocol: what the broker delivers, byte for byte.
//!
//! It has no durable cursor, so no subscription is touched. Not here: anything that interprets an entry.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::Duration;

use bytes::{Buf, Bytes};
use prost::Message as _;
use pulsar::proto::base_command::Type;
use pulsar::proto::command_subscribe::{InitialPosition, SubType};
use pulsar::proto::{
    BaseCommand, CommandConnect, CommandFlow, CommandLookupTopic, CommandSubscribe, FeatureFlags, MessageIdData,
};
use tdmq_backup::Position;

const LIMIT: Duration = Duration::from_secs(60);

/// Position, and what follows the command in the MESSAGE frame, of each entry up to `last`.
pub fn entries(url: &str, token: &str, topic: &str, last: Position) -> Vec<(Position, Bytes)> {
    let mut broker = Connection::open(url, token);
    broker.subscribe(topic);
    let mut found: Vec<(Position, Bytes)> = Vec::new();
    while found.last().is_none_or(|(position, _)| *position < last) {
        let (command, rest) = broker.next();
        let Some(message) = command.message else { continue };
        let id = message.message_id;
        found.push((Position::new(id.ledger_id as i64, id.entry_id as i64), rest));
    }
    found
}

struct Connection {
    stream: TcpStream,
}

impl Connection {
    fn open(url: &str, token: &str) -> Self {
        let stream = TcpStream::connect(url.strip_prefix("pulsar://").unwrap()).unwrap();
        stream.set_read_timeout(Some(LIMIT)).unwrap();
        let mut connection = Connection { stream };
        let flags = FeatureFlags { supports_broker_entry_metadata: Some(true), ..Default::default() };
        let connect = CommandConnect {
            client_version: "raw".to_owned(),
            protocol_version: Some(19),
            auth_method_name: Some("token".to_owned()),
            auth_data: Some(token.as_bytes().to_vec()),
            feature_flags: Some(flags),
            ..Default::default()
        };
        connection.send(BaseCommand { r#type: Type::Connect as i32, connect: Some(connect), ..Default::default() });
        connection.answer(Type::Connected);
        connection
    }

    fn subscribe(&mut self, topic: &str) {
        // The broker loads a topic when somebody looks it up.
        let lookup = CommandLookupTopic { topic: topic.to_owned(), request_id: 1, ..Default::default() };
        self.send(BaseCommand { r#type: Type::Lookup as i32, lookup_topic: Some(lookup), ..Default::default() });
        self.answer(Type::LookupResponse);
        let earliest = MessageIdData { ledger_id: u64::MAX, entry_id: u64::MAX, ..Default::default() };
        let subscribe = CommandSubscribe {
            topic: topic.to_owned(),
            subscription: "raw".to_owned(),
            sub_type: SubType::Exclusive as i32,
            consumer_id: 1,
            request_id: 2,
            durable: Some(false),
            start_message_id: Some(earliest),
            initial_position: Some(InitialPosition::Earliest as i32),
            force_topic_creation: Some(false),
            ..Default::default()
        };
        self.send(BaseCommand { r#type: Type::Subscribe as i32, subscribe: Some(subscribe), ..Default::default() });
        self.answer(Type::Success);
        let flow = CommandFlow { consumer_id: 1, message_permits: 1_000_000 };
        self.send(BaseCommand { r#type: Type::Flow as i32, flow: Some(flow), ..Default::default() });
    }

    fn answer(&mut self, expected: Type) {
        let (command, _) = self.next();
        assert_eq!(command.r#type, expected as i32, "{command:?}");
    }

    fn send(&mut self, command: BaseCommand) {
        let bytes = command.encode_to_vec();
        let size = bytes.len() as u32;
        let frame = [&(size + 4).to_be_bytes()[..], &size.to_be_bytes(), &bytes].concat();
        self.stream.write_all(&frame).unwrap();
    }

    fn next(&mut self) -> (BaseCommand, Bytes) {
        let mut total = [0; 4];
        self.stream.read_exact(&mut total).expect("the broker delivers the topic's last entry");
        let mut frame = vec![0; u32::from_be_bytes(total) as usize];
        self.stream.read_exact(&mut frame).unwrap();
        let mut frame = Bytes::from(frame);
        let size = frame.get_u32() as usize;
        (BaseCommand::decode(frame.split_to(size)).unwrap(), frame)
    }
}

//! Sending one message: what a run never does. `make smoke` needs one whose place it knows.
//!
//! Source: "Pulsar binary protocol specification", `ServerCnx.handleProducer` and `handleSend`.

use pulsar::proto::{
    BaseCommand, CommandProducer, CommandSend, CommandSendReceipt, MessageMetadata, base_command::Type,
};

use super::Cluster;
use super::connection::{ANSWER_LIMIT, Connection, command, connection_silent, within};
use super::failure::refused;
use super::lookup::answer;
use crate::error::{Error, Kind, Result};
use crate::message::Position;
use crate::rule::TopicName;

/// Any number: there is one producer on the connection, and it sends one message.
const PRODUCER: u64 = 1;
const SEQUENCE: u64 = 0;

impl Cluster<'_> {
    /// Sends one message in an entry of its own, and says where the broker stored it. `published` is ms since the
    /// epoch. The broker makes the topic where it makes topics: ask for its partitions first.
    ///
    /// Errors: `Denied` where the role may not produce, `Unknown` where the message left and no receipt came: it may
    /// be stored.
    pub(crate) async fn send(&self, topic: &TopicName, payload: &[u8], published: u64) -> Result<Position> {
        let mut connection = self.connect(topic).await?;
        let doing = format!("sending a message to {topic}");
        let request_id = connection.request_id();
        let producer =
            CommandProducer { topic: topic.to_string(), producer_id: PRODUCER, request_id, ..Default::default() };
        connection.send(&BaseCommand { producer: Some(producer), ..command(Type::Producer) }, &[]);
        let ready = answer(&mut connection, request_id, &doing).await?;
        let metadata = MessageMetadata {
            producer_name: ready.producer_success.map(|ready| ready.producer_name).unwrap_or_default(),
            sequence_id: SEQUENCE,
            publish_time: published,
            ..MessageMetadata::default()
        };
        let send =
            CommandSend { producer_id: PRODUCER, sequence_id: SEQUENCE, num_messages: Some(1), ..Default::default() };
        connection.send_message(&BaseCommand { send: Some(send), ..command(Type::Send) }, &metadata, payload);
        let position = receipt(&mut connection, &doing).await?;
        connection.close(ANSWER_LIMIT).await;
        Ok(position)
    }
}

async fn receipt(connection: &mut Connection, doing: &str) -> Result<Position> {
    let (address, deadline) = (connection.address().clone(), connection.deadline());
    // What the broker answers, and what keeps it from us.
    let wait = async {
        loop {
            let answer = connection.receive().await?.command;
            if let Some(CommandSendReceipt { message_id: Some(id), .. }) = answer.send_receipt {
                return Ok(Ok(Position::new(id.ledger_id as i64, id.entry_id as i64)));
            }
            if let Some(error) = answer.send_error {
                return Ok(Err(refused(doing, error.error, &error.message)));
            }
        }
    };
    let unknown = |error| Error::new(Kind::Unknown, format!("{doing}: it may be stored or not")).because(error);
    within(ANSWER_LIMIT, deadline, wait, || connection_silent(&address)).await.flatten().map_err(unknown)?
}

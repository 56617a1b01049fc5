//! What the broker does for a producer: one message at a time, each an entry.

use bytes::{Buf, Bytes};
use pulsar::proto::base_command::Type;
use pulsar::proto::{
    BaseCommand, CommandProducer, CommandProducerSuccess, CommandSend, CommandSendError, CommandSendReceipt,
    ServerError,
};

use super::connection::Next;
use super::frame::{CHECKSUM_LENGTH, Stored};
use super::state::{State, id};
use super::topic_name;

impl State {
    pub(super) fn produce(&mut self, from: u64, command: &BaseCommand, request: &CommandProducer) -> Next {
        let topic = topic_name(&request.topic);
        if self.config.auto_create_topics {
            self.create_topic(&topic);
        }
        if !self.topics.contains_key(&topic) {
            return self.refuse(from, command, ServerError::TopicNotFound, &format!("Topic {topic} does not exist"));
        }
        let Some(peer) = self.peers.get_mut(&from) else { return Next::Drop };
        peer.producers.insert(request.producer_id, topic);
        let success = CommandProducerSuccess {
            request_id: request.request_id,
            producer_name: format!("standalone-0-{from}"),
            last_sequence_id: Some(-1),
            schema_version: Some(Vec::new()),
            producer_ready: Some(true),
            ..CommandProducerSuccess::default()
        };
        let kind = Type::ProducerSuccess as i32;
        self.reply(from, BaseCommand { r#type: kind, producer_success: Some(success), ..Default::default() });
        Next::Read
    }

    /// A message whose checksum does not fit is refused, and not stored.
    pub(super) fn send_message(&mut self, from: u64, send: &CommandSend, message: Bytes) -> Next {
        let topic = self.peers.get(&from).and_then(|peer| peer.producers.get(&send.producer_id).cloned());
        let Some(topic) = topic else { return Next::Drop };
        if !is_whole(message.clone()) {
            return self.refuse_message(from, send, ServerError::ChecksumError, "Checksum failed on the broker");
        }
        let Some(state) = self.topics.get_mut(&topic) else { return Next::Drop };
        let position = state.log.append(Stored::raw(message));
        let receipt = CommandSendReceipt {
            producer_id: send.producer_id,
            sequence_id: send.sequence_id,
            message_id: Some(id(position, state.partition)),
            highest_sequence_id: None,
        };
        self.dispatch(&topic);
        let kind = Type::SendReceipt as i32;
        self.reply(from, BaseCommand { r#type: kind, send_receipt: Some(receipt), ..Default::default() });
        Next::Read
    }

    pub(super) fn refuse_message(&mut self, from: u64, send: &CommandSend, error: ServerError, text: &str) -> Next {
        let (producer_id, sequence_id) = (send.producer_id, send.sequence_id);
        let answer = CommandSendError { producer_id, sequence_id, error: error as i32, message: text.to_owned() };
        let kind = Type::SendError as i32;
        self.reply(from, BaseCommand { r#type: kind, send_error: Some(answer), ..Default::default() });
        Next::Read
    }
}

fn is_whole(mut message: Bytes) -> bool {
    if message.len() < CHECKSUM_LENGTH + 4 {
        return false;
    }
    message.advance(2);
    message.get_u32() == crc32c::crc32c(&message)
}

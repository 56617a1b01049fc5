//! The broker's answers, each made from the command it answers. None for a command that asks for none.

use pulsar::proto::base_command::Type;
use pulsar::proto::{
    AuthData, BaseCommand, CommandAckResponse, CommandAuthChallenge, CommandConnected, CommandConsumerStatsResponse,
    CommandError, CommandGetLastMessageIdResponse, CommandGetTopicsOfNamespaceResponse, CommandLookupTopicResponse,
    CommandPartitionedTopicMetadataResponse, CommandPing, CommandPong, CommandSuccess, ServerError,
    command_lookup_topic_response::LookupType, command_partitioned_topic_metadata_response::LookupType as Metadata,
};

use super::cursor::Cursor;
use super::frame::Stored;
use super::state::id;
use crate::Position;

fn of(kind: Type) -> BaseCommand {
    BaseCommand { r#type: kind as i32, ..Default::default() }
}

/// The consumer a command speaks of.
pub(super) fn consumer_id(command: &BaseCommand) -> Option<u64> {
    let c = command;
    let ids = [
        c.subscribe.as_ref().map(|c| c.consumer_id),
        c.ack.as_ref().map(|c| c.consumer_id),
        c.flow.as_ref().map(|c| c.consumer_id),
        c.seek.as_ref().map(|c| c.consumer_id),
        c.get_last_message_id.as_ref().map(|c| c.consumer_id),
        c.consumer_stats.as_ref().map(|c| c.consumer_id),
        c.close_consumer.as_ref().map(|c| c.consumer_id),
        c.unsubscribe.as_ref().map(|c| c.consumer_id),
        c.redeliver_unacknowledged_messages.as_ref().map(|c| c.consumer_id),
    ];
    ids.into_iter().flatten().next()
}

fn request_id(command: &BaseCommand) -> Option<u64> {
    let c = command;
    let ids = [
        c.subscribe.as_ref().map(|c| c.request_id),
        c.ack.as_ref().and_then(|c| c.request_id),
        c.seek.as_ref().map(|c| c.request_id),
        c.get_last_message_id.as_ref().map(|c| c.request_id),
        c.consumer_stats.as_ref().map(|c| c.request_id),
        c.close_consumer.as_ref().map(|c| c.request_id),
        c.unsubscribe.as_ref().map(|c| c.request_id),
        c.partition_metadata.as_ref().map(|c| c.request_id),
        c.lookup_topic.as_ref().map(|c| c.request_id),
        c.get_topics_of_namespace.as_ref().map(|c| c.request_id),
        c.producer.as_ref().map(|c| c.request_id),
        c.get_schema.as_ref().map(|c| c.request_id),
        // The broker answers a refused connection under the id -1.
        c.connect.as_ref().map(|_| u64::MAX),
    ];
    ids.into_iter().flatten().next()
}

/// The plain success: a receipt for an acknowledgement, Success for everything else.
pub(super) fn done(command: &BaseCommand) -> Option<BaseCommand> {
    let request_id = request_id(command)?;
    Some(match &command.ack {
        Some(ack) => {
            let receipt =
                CommandAckResponse { consumer_id: ack.consumer_id, request_id: Some(request_id), ..Default::default() };
            BaseCommand { ack_response: Some(receipt), ..of(Type::AckResponse) }
        }
        None => {
            let success = CommandSuccess { request_id, schema: None };
            BaseCommand { success: Some(success), ..of(Type::Success) }
        }
    })
}

/// The error, where the command's own answer has a place for it; else ERROR.
pub(super) fn refused(command: &BaseCommand, error: ServerError, text: &str) -> Option<BaseCommand> {
    let request_id = request_id(command)?;
    let (code, message) = (Some(error as i32), Some(text.to_owned()));
    Some(if command.partition_metadata.is_some() {
        let response = Some(Metadata::Failed as i32);
        metadata(CommandPartitionedTopicMetadataResponse {
            partitions: None,
            request_id,
            response,
            error: code,
            message,
        })
    } else if command.lookup_topic.is_some() {
        let response = Some(LookupType::Failed as i32);
        let answer = CommandLookupTopicResponse { request_id, response, error: code, message, ..Default::default() };
        BaseCommand { lookup_topic_response: Some(answer), ..of(Type::LookupResponse) }
    } else if let Some(ack) = &command.ack {
        let request_id = Some(request_id);
        let consumer_id = ack.consumer_id;
        let answer = CommandAckResponse { consumer_id, request_id, error: code, message, ..Default::default() };
        BaseCommand { ack_response: Some(answer), ..of(Type::AckResponse) }
    } else if command.consumer_stats.is_some() {
        let answer =
            CommandConsumerStatsResponse { request_id, error_code: code, error_message: message, ..Default::default() };
        BaseCommand { consumer_stats_response: Some(answer), ..of(Type::ConsumerStatsResponse) }
    } else {
        let answer = CommandError { request_id, error: error as i32, message: text.to_owned() };
        BaseCommand { error: Some(answer), ..of(Type::Error) }
    })
}

fn metadata(answer: CommandPartitionedTopicMetadataResponse) -> BaseCommand {
    BaseCommand { partition_metadata_response: Some(answer), ..of(Type::PartitionedMetadataResponse) }
}

pub(super) fn partitions(command: &BaseCommand, count: u32) -> Option<BaseCommand> {
    Some(metadata(CommandPartitionedTopicMetadataResponse {
        partitions: Some(count),
        request_id: request_id(command)?,
        response: Some(Metadata::Success as i32),
        error: None,
        message: None,
    }))
}

pub(super) fn connected(protocol_version: i32, max_message_size: i32) -> BaseCommand {
    let answer = CommandConnected {
        server_version: "Pulsar Server embedded".into(),
        protocol_version: Some(protocol_version),
        max_message_size: Some(max_message_size),
    };
    BaseCommand { connected: Some(answer), ..of(Type::Connected) }
}

pub(super) fn ping() -> BaseCommand {
    BaseCommand { ping: Some(CommandPing {}), ..of(Type::Ping) }
}

pub(super) fn pong() -> BaseCommand {
    BaseCommand { pong: Some(CommandPong {}), ..of(Type::Pong) }
}

/// The challenge to an authentication that has expired.
pub(super) fn challenge() -> BaseCommand {
    let challenge = AuthData { auth_method_name: Some("token".into()), auth_data: Some(b"PulsarAuthRefresh".to_vec()) };
    let challenge = CommandAuthChallenge {
        server_version: Some("Pulsar Server embedded".into()),
        challenge: Some(challenge),
        protocol_version: None,
    };
    BaseCommand { auth_challenge: Some(challenge), ..of(Type::AuthChallenge) }
}

pub(super) fn not_authenticated() -> BaseCommand {
    let (error, message) = (ServerError::AuthenticationError as i32, "Failed to authenticate".into());
    BaseCommand { error: Some(CommandError { request_id: u64::MAX, error, message }), ..of(Type::Error) }
}

pub(super) fn connect(command: &BaseCommand, plain: Option<String>, tls: Option<String>) -> Option<BaseCommand> {
    lookup(command, LookupType::Connect, [plain, tls], true, false)
}

/// A proxy says the same for both: how it reaches the broker is not the client's affair.
pub(super) fn through_proxy(command: &BaseCommand, broker: String) -> Option<BaseCommand> {
    lookup(command, LookupType::Connect, [Some(broker.clone()), Some(broker)], true, true)
}

pub(super) fn redirect(command: &BaseCommand, url: String, authoritative: bool) -> Option<BaseCommand> {
    let urls = if url.starts_with("pulsar+ssl:") { [None, Some(url)] } else { [Some(url), None] };
    lookup(command, LookupType::Redirect, urls, authoritative, false)
}

fn lookup(
    command: &BaseCommand,
    response: LookupType,
    [plain, tls]: [Option<String>; 2],
    authoritative: bool,
    proxied: bool,
) -> Option<BaseCommand> {
    let answer = CommandLookupTopicResponse {
        broker_service_url: plain,
        broker_service_url_tls: tls,
        response: Some(response as i32),
        request_id: request_id(command)?,
        authoritative: Some(authoritative),
        proxy_through_service_url: Some(proxied),
        ..Default::default()
    };
    Some(BaseCommand { lookup_topic_response: Some(answer), ..of(Type::LookupResponse) })
}

/// The topics of the namespace asked for, out of `all`.
pub(super) fn topics(command: &BaseCommand, all: Vec<String>) -> Option<BaseCommand> {
    let prefix = format!("persistent://{}/", command.get_topics_of_namespace.as_ref()?.namespace);
    let answer = CommandGetTopicsOfNamespaceResponse {
        request_id: request_id(command)?,
        topics: all.into_iter().filter(|name| name.starts_with(&prefix)).collect(),
        ..Default::default()
    };
    Some(BaseCommand { get_topics_of_namespace_response: Some(answer), ..of(Type::GetTopicsOfNamespaceResponse) })
}

/// -1:-1 where there is no last message; of a batch, the index of its last message.
pub(super) fn last_message_id(
    command: &BaseCommand,
    last: Option<(Position, &Stored)>,
    partition: i32,
    mark_delete: Option<Position>,
) -> Option<BaseCommand> {
    let (position, batch) = match last {
        Some((position, stored)) => (position, stored.composed.metadata.num_messages_in_batch),
        None => (Position::new(-1, -1), None),
    };
    let mut last_message_id = id(position, partition);
    last_message_id.batch_index = Some(batch.map_or(-1, |count| count - 1));
    let answer = CommandGetLastMessageIdResponse {
        last_message_id,
        request_id: request_id(command)?,
        consumer_mark_delete_position: mark_delete.map(|position| id(position, -1)),
    };
    Some(BaseCommand { get_last_message_id_response: Some(answer), ..of(Type::GetLastMessageIdResponse) })
}

pub(super) fn stats(command: &BaseCommand, cursor: &Cursor, backlog: Option<usize>) -> Option<BaseCommand> {
    let consumer = cursor.consumer.as_ref()?;
    let answer = CommandConsumerStatsResponse {
        request_id: request_id(command)?,
        msg_rate_out: Some(0.0),
        msg_throughput_out: Some(0.0),
        msg_rate_redeliver: Some(0.0),
        consumer_name: Some(consumer.name.clone()),
        available_permits: Some(consumer.permits as u64),
        unacked_messages: Some(0),
        blocked_consumer_on_unacked_msgs: Some(false),
        address: Some(format!("/127.0.0.1:{}", consumer.connection)),
        connected_since: Some(consumer.since.clone()),
        r#type: Some("Exclusive".into()),
        msg_rate_expired: Some(0.0),
        msg_backlog: backlog.map(|entries| entries as u64),
        message_ack_rate: Some(0.0),
        ..Default::default()
    };
    Some(BaseCommand { consumer_stats_response: Some(answer), ..of(Type::ConsumerStatsResponse) })
}

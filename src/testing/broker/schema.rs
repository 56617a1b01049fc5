//! The schemas of topics, and the answer to whoever asks for one.
//!
//! Follows `ServerCnx.handleGetSchema`: partitions share their topic's, an absent version is the newest, one that
//! does not exist is TopicNotFound, and one that is no number loses the connection.

use pulsar::proto::base_command::Type;
use pulsar::proto::{BaseCommand, CommandGetSchema, CommandGetSchemaResponse, Schema, ServerError};

use super::connection::Next;
use super::state::State;
use super::{Broker, topic_name};

impl Broker {
    /// Gives the topic another version of its schema, and answers the version as messages name it.
    pub fn add_schema(&self, topic: &str, schema: Schema) -> Vec<u8> {
        let mut state = self.shared.lock();
        let versions = state.schemas.entry(whole(&topic_name(topic)).to_owned()).or_default();
        versions.push(schema);
        (versions.len() as u64 - 1).to_be_bytes().to_vec()
    }
}

impl State {
    pub fn schema(&mut self, from: u64, request: &CommandGetSchema) -> Next {
        let name = topic_name(&request.topic);
        let versions = self.schemas.get(whole(&name)).map(Vec::as_slice).unwrap_or_default();
        let number = match request.schema_version.as_deref().map(<[u8]>::first_chunk::<8>) {
            None => (versions.len() as u64).wrapping_sub(1),
            Some(Some(version)) => u64::from_be_bytes(*version),
            Some(None) => return Next::Drop,
        };
        let found = usize::try_from(number).ok().and_then(|number| versions.get(number)).cloned();
        let mut answer = CommandGetSchemaResponse { request_id: request.request_id, ..Default::default() };
        match found {
            Some(schema) => {
                (answer.schema, answer.schema_version) = (Some(schema), Some(number.to_be_bytes().to_vec()));
            }
            None => {
                answer.error_code = Some(ServerError::TopicNotFound as i32);
                answer.error_message = Some("Topic not found or no-schema".into());
            }
        }
        let answer = BaseCommand {
            r#type: Type::GetSchemaResponse as i32,
            get_schema_response: Some(answer),
            ..Default::default()
        };
        self.reply(from, answer);
        Next::Read
    }
}

/// The topic that a partition belongs to.
fn whole(name: &str) -> &str {
    match name.rsplit_once("-partition-") {
        Some((whole, number)) if number.parse::<u32>().is_ok() => whole,
        _ => name,
    }
}

//! Asking for a schema. A broker that does not answer is not asked for long: the messages do not wait for it.

use std::time::Duration;

use pulsar::proto::{BaseCommand, CommandGetSchema, CommandGetSchemaResponse, ServerError, base_command::Type, schema};
use tokio::time::timeout;

use super::super::connection::{command, connection_silent};
use super::super::failure::refused;
use super::Consumer;
use crate::error::Result;
use crate::schemas::Schema;

const DOING: &str = "asking for a schema";
const SCHEMA_LIMIT: Duration = Duration::from_secs(2);

impl Consumer<'_> {
    pub(super) async fn ask_schema(&mut self, version: &[u8]) -> Result<Option<Schema>> {
        let mut answer = self.try_schema(version).await;
        if !self.attached {
            self.reattach().await?;
            answer = self.try_schema(version).await;
        }
        let answer = answer?;
        if let Some(code) = answer.error_code {
            // That is what a broker says where it has no such version.
            return match ServerError::try_from(code) {
                Ok(ServerError::TopicNotFound) => Ok(None),
                _ => Err(refused(DOING, code, answer.error_message.as_deref().unwrap_or_default())),
            };
        }
        Ok(answer.schema.map(|found| Schema {
            kind: schema::Type::try_from(found.r#type)
                .map_or_else(|_| found.r#type.to_string(), |kind| kind.as_str_name().to_owned()),
            name: found.name,
            properties: found.properties.into_iter().map(|pair| (pair.key, pair.value)).collect(),
            data: found.schema_data,
        }))
    }

    async fn try_schema(&mut self, version: &[u8]) -> Result<CommandGetSchemaResponse> {
        let request_id = self.connection.request_id();
        let ask = CommandGetSchema {
            request_id,
            topic: self.subscription.topic.clone(),
            schema_version: Some(version.to_vec()),
        };
        let ask = BaseCommand { get_schema: Some(ask), ..command(Type::GetSchema) };
        let silent = connection_silent(self.connection.address());
        let answer = timeout(SCHEMA_LIMIT, self.ask(DOING, request_id, ask)).await.map_err(|_| silent)??;
        Ok(answer.get_schema_response.unwrap_or_default())
    }
}

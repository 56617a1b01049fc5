//! What the broker has received, for a test to look at.

use bytes::Bytes;
use prost::Message;
use pulsar::proto::BaseCommand;
use pulsar::proto::base_command::Type as CommandType;

/// One command as it arrived.
#[derive(Clone, Debug)]
pub struct Recorded {
    /// Counted from 1, over the life of the broker.
    pub connection: u64,
    pub kind: CommandType,
    pub command: BaseCommand,
    /// The command's own bytes: also the fields that [`BaseCommand`] does not know.
    pub raw: Bytes,
    /// What follows the command: the message of a SEND.
    pub rest: Bytes,
    /// An answer was put on the connection.
    pub answered: bool,
}

impl Recorded {
    /// `metadata_auto_creation_enabled` of a partition metadata command, if the client sent it. The
    /// broker takes an absent field for true.
    pub fn metadata_auto_creation(&self) -> Option<bool> {
        Extended::decode(self.raw.clone()).ok()?.partition_metadata?.metadata_auto_creation_enabled
    }
}

/// The part of `BaseCommand` that is newer than the types in use.
#[derive(Clone, PartialEq, Message)]
struct Extended {
    #[prost(message, optional, tag = "21")]
    partition_metadata: Option<PartitionMetadata>,
}

#[derive(Clone, PartialEq, Message)]
struct PartitionMetadata {
    #[prost(bool, optional, tag = "6")]
    metadata_auto_creation_enabled: Option<bool>,
}

/// One request to the HTTP side.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HttpRequest {
    pub path: String,
    /// Without the question mark; empty if there is none.
    pub query: String,
    pub authorization: Option<String>,
    /// The header `X-Pulsar-ListenerName`.
    pub listener: Option<String>,
}

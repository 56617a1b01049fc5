//! The members of a line as a reader sees them: [`super::write`] says what they mean.

use std::fmt;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde::de::{Deserializer, Error, MapAccess, Visitor};
use serde::{Deserialize, Serialize, Serializer};
use serde_json::value::RawValue;

use crate::message::{self, MessageId};

/// Unknown members are refused: they would be lost on the way back into a topic.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Line<'a> {
    #[serde(deserialize_with = "id")]
    pub id: MessageId,
    pub publish_time: u64,
    pub event_time: Option<u64>,
    pub broker_time: Option<u64>,
    pub index: Option<u64>,
    pub key: Option<String>,
    pub key_base64: Option<String>,
    pub key_base64_invalid: Option<String>,
    pub ordering_key: Option<Base64>,
    #[serde(default)]
    pub properties: Properties,
    pub producer_name: String,
    pub sequence_id: u64,
    pub schema_version: Option<Base64>,
    pub replicated_from: Option<String>,
    pub deliver_at_time: Option<i64>,
    #[serde(default)]
    pub null_partition_key: bool,
    pub txnid_most_bits: Option<u64>,
    pub txnid_least_bits: Option<u64>,
    #[serde(default, deserialize_with = "some_id")]
    pub first_chunk_id: Option<MessageId>,
    pub uuid: Option<String>,
    pub num_chunks_from_msg: Option<i32>,
    #[serde(default)]
    pub null_value: bool,
    #[serde(borrow, default, deserialize_with = "even_null")]
    pub value: Option<&'a RawValue>,
    pub text: Option<String>,
    pub base64: Option<Base64>,
    pub undecodable: Option<Undecodable>,
    pub raw_base64: Option<Base64>,
}

/// The payload `null` is a value too.
fn even_null<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<&'de RawValue>, D::Error> {
    Deserialize::deserialize(deserializer).map(Some)
}

/// `ledger:entry:partition` or `ledger:entry:partition:batch`
pub fn id<'de, D: Deserializer<'de>>(deserializer: D) -> Result<MessageId, D::Error> {
    struct Text;
    impl Visitor<'_> for Text {
        type Value = MessageId;

        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("ledger:entry:partition[:batch]")
        }

        // Neither copied nor repeated in an error: whoever wrote it chose how long it is.
        fn visit_str<E: Error>(self, text: &str) -> Result<MessageId, E> {
            let parse = || {
                let mut parts = text.splitn(4, ':');
                let position = message::Position::new(parts.next()?.parse().ok()?, parts.next()?.parse().ok()?);
                let partition = parts.next()?.parse().ok()?;
                let batch_index = parts.next().map(str::parse).transpose().ok()?;
                Some(MessageId { position, partition, batch_index })
            };
            parse().ok_or_else(|| E::custom("an id is not ledger:entry:partition[:batch]"))
        }
    }
    deserializer.deserialize_str(Text)
}

pub fn some_id<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<MessageId>, D::Error> {
    id(deserializer).map(Some)
}

/// Bytes that the line carries in base64.
#[derive(Clone, Debug, PartialEq)]
pub struct Base64(pub Vec<u8>);

impl Serialize for Base64 {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&STANDARD.encode(&self.0))
    }
}

impl<'de> Deserialize<'de> for Base64 {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Text;
        impl Visitor<'_> for Text {
            type Value = Base64;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("base64")
            }

            fn visit_str<E: Error>(self, text: &str) -> Result<Base64, E> {
                STANDARD.decode(text).map(Base64).map_err(E::custom)
            }
        }
        deserializer.deserialize_str(Text)
    }
}

/// Every member, repeated ones too, in order.
#[derive(Debug, Default)]
pub struct Properties(pub Vec<(String, String)>);

impl<'de> Deserialize<'de> for Properties {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Object;
        impl<'de> Visitor<'de> for Object {
            type Value = Properties;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object of texts")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Properties, A::Error> {
                let mut properties = Vec::new();
                while let Some(property) = map.next_entry()? {
                    properties.push(property);
                }
                Ok(Properties(properties))
            }
        }
        deserializer.deserialize_map(Object)
    }
}

/// Written and read; the entry's bytes stand beside it, in `raw_base64`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Undecodable {
    pub reason: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub metadata_base64: Option<Base64>,
    /// The number in the wire's `CompressionType`, 0 for none.
    pub compression: i32,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub uncompressed_size: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub num_messages_in_batch: Option<i32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub chunk: Option<Chunk>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub encryption: Option<Encryption>,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Chunk {
    pub uuid: String,
    pub id: i32,
    pub of: i32,
    pub total_size: i32,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Encryption {
    pub keys: Vec<EncryptionKey>,
    pub algorithm: String,
    pub param_base64: Base64,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct EncryptionKey {
    pub name: String,
    pub value_base64: Base64,
    /// Pairs, in the producer's order.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub metadata: Vec<(String, String)>,
}

impl From<&message::EncryptionKey<'_>> for EncryptionKey {
    fn from(wire: &message::EncryptionKey<'_>) -> Self {
        let metadata = wire.metadata.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
        EncryptionKey { name: wire.name.to_owned(), value_base64: Base64(wire.value.to_vec()), metadata }
    }
}

impl EncryptionKey {
    fn message(&self) -> message::EncryptionKey<'_> {
        let metadata = self.metadata.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
        message::EncryptionKey { name: &self.name, value: &self.value_base64.0, metadata }
    }
}

impl From<&message::Undecodable<'_>> for Undecodable {
    fn from(wire: &message::Undecodable<'_>) -> Self {
        let chunk = wire.chunk.as_ref().map(|chunk| Chunk {
            uuid: chunk.uuid.to_owned(),
            id: chunk.id,
            of: chunk.of,
            total_size: chunk.total_size,
        });
        let encryption = wire.encryption.as_ref().map(|encryption| Encryption {
            keys: encryption.keys.iter().map(EncryptionKey::from).collect(),
            algorithm: encryption.algorithm.to_owned(),
            param_base64: Base64(encryption.param.to_vec()),
        });
        Undecodable {
            reason: wire.reason.clone(),
            metadata_base64: wire.metadata.map(|bytes| Base64(bytes.to_vec())),
            compression: wire.compression,
            uncompressed_size: wire.uncompressed_size,
            num_messages_in_batch: wire.num_messages_in_batch,
            chunk,
            encryption,
        }
    }
}

impl Undecodable {
    /// As the message had it, with its bytes.
    pub fn message<'s>(&'s self, raw: &'s [u8]) -> message::Undecodable<'s> {
        let chunk = self.chunk.as_ref().map(|chunk| message::Chunk {
            uuid: &chunk.uuid,
            id: chunk.id,
            of: chunk.of,
            total_size: chunk.total_size,
        });
        let encryption = self.encryption.as_ref().map(|encryption| message::Encryption {
            keys: encryption.keys.iter().map(EncryptionKey::message).collect(),
            algorithm: &encryption.algorithm,
            param: &encryption.param_base64.0,
        });
        message::Undecodable {
            reason: self.reason.clone(),
            raw,
            metadata: self.metadata_base64.as_ref().map(|bytes| &bytes.0[..]),
            compression: self.compression,
            uncompressed_size: self.uncompressed_size,
            num_messages_in_batch: self.num_messages_in_batch,
            chunk,
            encryption,
        }
    }
}

//! Lines back to messages.

use std::borrow::Cow;
use std::fmt;

use serde::Deserialize;
use serde::de::{self, Deserializer, IgnoredAny, MapAccess, Visitor};
use sha2::{Digest, Sha256};

use super::line::{self, Base64, Line};
use crate::error::{Error, Kind, Result};
use crate::message::{Body, Chunks, Key, Message, MessageId};

/// One line, decoded: [`Record::message`] is the message that [`super::write`] was given.
#[derive(Debug)]
pub struct Record<'a> {
    line: Line<'a>,
    content: Content<'a>,
}

#[derive(Debug)]
enum Content<'a> {
    Null,
    Payload(Cow<'a, [u8]>),
    Undecodable(line::Undecodable, Vec<u8>),
}

/// Reads one line, its `\n` there or not. Anything but what [`super::write`] writes is `Corrupt`: a member
/// that is missing, unknown, of another type or given twice, and two payloads or none.
pub fn read(line: &[u8]) -> Result<Record<'_>> {
    let mut line: Line<'_> = serde_json::from_slice(line).map_err(not_a_record)?;
    let keys = [&line.key, &line.key_base64, &line.key_base64_invalid];
    if keys.into_iter().flatten().count() > 1 {
        return Err(not_a_record("it has more than one key"));
    }
    if line.txnid_most_bits.is_some() != line.txnid_least_bits.is_some() {
        return Err(not_a_record("it has half a transaction id"));
    }
    let chunks = [line.first_chunk_id.is_some(), line.uuid.is_some(), line.num_chunks_from_msg.is_some()];
    if chunks.contains(&true) && chunks.contains(&false) {
        return Err(not_a_record("it says of its chunks only in part"));
    }
    let plain = (line.value.take(), line.text.take(), line.base64.take());
    let content = match (line.null_value, plain, line.undecodable.take(), line.raw_base64.take()) {
        (true, (None, None, None), None, None) => Content::Null,
        (false, (Some(value), None, None), None, None) => Content::Payload(value.get().as_bytes().into()),
        (false, (None, Some(text), None), None, None) => Content::Payload(text.into_bytes().into()),
        (false, (None, None, Some(Base64(bytes))), None, None) => Content::Payload(bytes.into()),
        (false, (None, None, None), Some(why), Some(Base64(raw))) => Content::Undecodable(why, raw),
        _ => return Err(not_a_record("it must have exactly one payload")),
    };
    Ok(Record { line, content })
}

impl Record<'_> {
    /// Every field as it was, the payload byte for byte.
    pub fn message(&self) -> Message<'_> {
        let line = &self.line;
        let bytes = (line.key_base64.as_deref()).or(line.key_base64_invalid.as_deref()).map(Key::Base64);
        Message {
            id: line.id,
            publish_time: line.publish_time,
            event_time: line.event_time,
            broker_time: line.broker_time,
            index: line.index,
            key: line.key.as_deref().map(Key::Text).or(bytes),
            ordering_key: line.ordering_key.as_ref().map(|key| &key.0[..]),
            properties: line.properties.0.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect(),
            producer_name: &line.producer_name,
            sequence_id: line.sequence_id,
            schema_version: line.schema_version.as_ref().map(|version| &version.0[..]),
            replicated_from: line.replicated_from.as_deref(),
            deliver_at_time: line.deliver_at_time,
            null_partition_key: line.null_partition_key,
            transaction: line.txnid_most_bits.zip(line.txnid_least_bits),
            chunks: line.first_chunk_id.zip(line.num_chunks_from_msg).map(|(first, count)| Chunks {
                first,
                uuid: line.uuid.as_deref().unwrap_or_default(),
                count,
            }),
            body: match &self.content {
                Content::Null => Body::Null,
                Content::Payload(payload) => Body::Payload(payload),
                Content::Undecodable(why, raw) => Body::Undecodable(why.message(raw)),
            },
        }
    }
}

/// What tells one message from another under the same id, in members that no broker changes; and of what chunks it was
/// put together.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fingerprint {
    pub id: MessageId,
    pub publish_time: u64,
    pub producer_name: Name,
    pub sequence_id: u64,
    pub first_chunk_id: Option<MessageId>,
    /// That its chunks had; of a message that came in one piece, none.
    pub uuid: Option<Name>,
}

/// The SHA-256 of a name. A producer chooses how long the name itself is, and thousands are kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Name([u8; 32]);

impl From<&str> for Name {
    fn from(text: &str) -> Self {
        Name(Sha256::digest(text).into())
    }
}

/// Without a copy of the text.
impl<'de> Deserialize<'de> for Name {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> std::result::Result<Self, D::Error> {
        struct Text;
        impl Visitor<'_> for Text {
            type Value = Name;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a name")
            }

            fn visit_str<E: de::Error>(self, text: &str) -> std::result::Result<Name, E> {
                Ok(text.into())
            }
        }
        deserializer.deserialize_str(Text)
    }
}

/// Reads only the fingerprint of a line, from as much of its beginning as comes before the payload: that is
/// not looked at, and may be cut off. Members that a later version adds are no hindrance.
pub fn fingerprint(line: &[u8]) -> Result<Fingerprint> {
    let mut seen = Seen::default();
    let read = serde_json::Deserializer::from_slice(line).deserialize_map(&mut seen);
    let Seen { id, publish_time, producer_name, sequence_id, first_chunk, uuid, to_payload } = seen;
    match (id, publish_time, producer_name, sequence_id) {
        (Some(Id(id)), Some(Number(publish_time)), Some(producer_name), Some(Number(sequence_id))) if to_payload => {
            let first_chunk_id = first_chunk.map(|Id(id)| id);
            Ok(Fingerprint { id, publish_time, producer_name, sequence_id, first_chunk_id, uuid })
        }
        _ => Err(not_a_record(read.err().map_or_else(|| "it lacks what identifies it".to_owned(), |e| e.to_string()))),
    }
}

/// With an error that does not repeat what stands in its place.
struct Number(u64);

impl<'de> Deserialize<'de> for Number {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> std::result::Result<Self, D::Error> {
        struct Digits;
        impl Visitor<'_> for Digits {
            type Value = Number;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a number")
            }

            fn visit_u64<E: de::Error>(self, number: u64) -> std::result::Result<Number, E> {
                Ok(Number(number))
            }

            fn visit_str<E: de::Error>(self, _: &str) -> std::result::Result<Number, E> {
                Err(E::custom("a text stands where a number should"))
            }
        }
        // Not `deserialize_u64`, which puts a text that it meets into its error.
        deserializer.deserialize_any(Digits)
    }
}

#[derive(Default)]
struct Seen {
    id: Option<Id>,
    publish_time: Option<Number>,
    producer_name: Option<Name>,
    sequence_id: Option<Number>,
    first_chunk: Option<Id>,
    uuid: Option<Name>,
    /// All that stands before the payload was read: of a line that is cut off, a number may be, too.
    to_payload: bool,
}

#[derive(Deserialize)]
struct Id(#[serde(deserialize_with = "line::id")] MessageId);

#[derive(Deserialize)]
#[serde(rename_all = "snake_case")]
enum Member {
    Id,
    PublishTime,
    ProducerName,
    SequenceId,
    FirstChunkId,
    Uuid,
    #[serde(alias = "null_value", alias = "value", alias = "text", alias = "base64", alias = "undecodable")]
    Payload,
    #[serde(other)]
    Other,
}

impl<'de> Visitor<'de> for &mut Seen {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a record")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<(), A::Error> {
        loop {
            match map.next_key()? {
                Some(Member::Id) => self.id = Some(map.next_value()?),
                Some(Member::PublishTime) => self.publish_time = Some(map.next_value()?),
                Some(Member::ProducerName) => self.producer_name = Some(map.next_value()?),
                Some(Member::SequenceId) => self.sequence_id = Some(map.next_value()?),
                Some(Member::FirstChunkId) => self.first_chunk = Some(map.next_value()?),
                Some(Member::Uuid) => self.uuid = Some(map.next_value()?),
                Some(Member::Other) => drop(map.next_value::<IgnoredAny>()?),
                Some(Member::Payload) | None => {
                    self.to_payload = true;
                    return Ok(());
                }
            }
        }
    }
}

fn not_a_record(why: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> Error {
    Error::new(Kind::Corrupt, "this line is not a record of this version").because(why)
}

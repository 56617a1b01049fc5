//! From an entry to its messages: decompressed, split, each with its own metadata.
//!
//! What cannot be decoded becomes one [`Body::Undecodable`] with the raw bytes: never an error, never
//! dropped. Compression is as the Java client writes it: LZ4 and Snappy as raw blocks, zlib and zstd
//! as streams, over the whole payload (in a batch: over all messages together).

use std::borrow::Cow;
use std::io::Read;

use bytes::Buf;
use prost::Message as _;
use pulsar::proto::{CompressionType, EncryptionKeys, KeyValue, MessageMetadata, SingleMessageMetadata};

use super::repeated;
use crate::message::{Body, Chunk, Chunks, Encryption, EncryptionKey, Entry, Key, Message, MessageId, Undecodable};

/// A payload that would be larger than this in memory stays as it is on the wire.
const MOST_DECODED_BYTES: usize = 32 << 20;
/// A batch of more messages than this stays as it is on the wire: two million empty ones fit into a
/// kilobyte there, and into hundreds of megabytes decoded. Clients make batches of thousands at most.
const MOST_MEMBERS: i32 = 100_000;

impl Entry {
    /// Calls `each` with every message of the entry, in order. Returns why, if the entry could not be
    /// decoded: then `each` saw one message that holds it raw.
    pub fn messages(&self, mut each: impl FnMut(&Message<'_>)) -> Option<String> {
        let reason = match self.decoded() {
            Ok(Decoded::One(payload)) => {
                let body = if self.metadata.null_value() { Body::Null } else { Body::Payload(&payload) };
                each(&self.single(body));
                return None;
            }
            Ok(Decoded::Batch(payload, members)) => {
                for (index, (metadata, range)) in members.iter().enumerate() {
                    each(&self.member(index as u32, members.len() as u64, metadata, &payload[range.clone()]));
                }
                return None;
            }
            Err(reason) => reason,
        };
        each(&self.single(Body::Undecodable(self.raw(reason.clone()))));
        Some(reason)
    }

    fn decoded(&self) -> Result<Decoded<'_>, String> {
        if let Some(reason) = self.undecodable_by_envelope() {
            return Err(reason);
        }
        let payload = decompress(&self.metadata, &self.payload)?;
        match self.metadata.num_messages_in_batch {
            None => Ok(Decoded::One(payload)),
            Some(count) => {
                let members = split(&payload, count)?;
                Ok(Decoded::Batch(payload, members))
            }
        }
    }

    fn undecodable_by_envelope(&self) -> Option<String> {
        let metadata = &self.metadata;
        if self.unreadable.is_some() {
            return Some("its metadata does not parse (text that is not UTF-8?) or has too many properties".into());
        }
        if !metadata.encryption_keys.is_empty() {
            return Some("encrypted by its producer".into());
        }
        if let Some(chunk) = self.chunk() {
            return Some(format!("part {} of {} of a chunked message", chunk.id + 1, chunk.of));
        }
        None
    }

    fn single<'a>(&'a self, body: Body<'a>) -> Message<'a> {
        let m = &self.metadata;
        Message {
            id: MessageId { position: self.position, partition: self.partition, batch_index: None },
            event_time: m.event_time,
            index: self.broker.as_ref().and_then(|broker| broker.index),
            key: key(m.partition_key.as_deref(), m.partition_key_b64_encoded),
            ordering_key: m.ordering_key.as_deref(),
            properties: properties(&m.properties),
            sequence_id: m.sequence_id,
            null_partition_key: m.null_partition_key(),
            chunks: self.chunks(),
            ..self.enveloped(body)
        }
    }

    fn member<'a>(&'a self, index: u32, of: u64, m: &'a SingleMessageMetadata, payload: &'a [u8]) -> Message<'a> {
        let body = if m.null_value() { Body::Null } else { Body::Payload(payload) };
        // The broker's index is that of the last message of the batch.
        let first =
            self.broker.as_ref().and_then(|broker| broker.index).and_then(|last| last.checked_add(1)?.checked_sub(of));
        Message {
            id: MessageId { position: self.position, partition: self.partition, batch_index: Some(index) },
            event_time: m.event_time,
            index: first.map(|first| first + u64::from(index)),
            key: key(m.partition_key.as_deref(), m.partition_key_b64_encoded),
            ordering_key: m.ordering_key.as_deref(),
            properties: properties(&m.properties),
            sequence_id: m.sequence_id.unwrap_or(self.metadata.sequence_id),
            null_partition_key: m.null_partition_key(),
            ..self.enveloped(body)
        }
    }

    /// What every message of an entry shares; the rest is filled in by the caller.
    fn enveloped<'a>(&'a self, body: Body<'a>) -> Message<'a> {
        let m = &self.metadata;
        Message {
            id: MessageId { position: self.position, partition: self.partition, batch_index: None },
            publish_time: m.publish_time,
            event_time: None,
            broker_time: self.broker.as_ref().and_then(|broker| broker.broker_timestamp),
            index: None,
            key: None,
            ordering_key: None,
            properties: Vec::new(),
            producer_name: &m.producer_name,
            sequence_id: m.sequence_id,
            schema_version: m.schema_version.as_deref(),
            replicated_from: m.replicated_from.as_deref(),
            deliver_at_time: m.deliver_at_time,
            null_partition_key: false,
            transaction: m.txnid_most_bits.zip(m.txnid_least_bits),
            chunks: None,
            body,
        }
    }

    /// What it says of itself as one chunk of a message.
    fn chunk(&self) -> Option<Chunk<'_>> {
        let m = &self.metadata;
        let of = self.num_chunks().filter(|_| self.first_chunk.is_none())?;
        Some(Chunk {
            uuid: m.uuid.as_deref().unwrap_or_default(),
            id: m.chunk_id.unwrap_or(0),
            of,
            total_size: m.total_chunk_msg_size.unwrap_or(0),
        })
    }

    fn chunks(&self) -> Option<Chunks<'_>> {
        let first = MessageId { position: self.first_chunk?, partition: self.partition, batch_index: None };
        let m = &self.metadata;
        Some(Chunks { first, uuid: m.uuid.as_deref().unwrap_or_default(), count: m.num_chunks_from_msg.unwrap_or(0) })
    }

    fn raw(&self, reason: String) -> Undecodable<'_> {
        let m = &self.metadata;
        let encryption = (!m.encryption_keys.is_empty()).then(|| Encryption {
            keys: m.encryption_keys.iter().map(encryption_key).collect(),
            algorithm: m.encryption_algo.as_deref().unwrap_or_default(),
            param: m.encryption_param.as_deref().unwrap_or_default(),
        });
        Undecodable {
            reason,
            raw: &self.payload,
            metadata: self.unreadable.as_deref(),
            compression: m.compression.unwrap_or(0),
            uncompressed_size: m.uncompressed_size,
            num_messages_in_batch: m.num_messages_in_batch,
            chunk: self.chunk(),
            encryption,
        }
    }
}

type Members = Vec<(SingleMessageMetadata, std::ops::Range<usize>)>;

enum Decoded<'a> {
    One(Cow<'a, [u8]>),
    Batch(Cow<'a, [u8]>, Members),
}

fn key(text: Option<&str>, base64: Option<bool>) -> Option<Key<'_>> {
    text.map(|text| if base64.unwrap_or(false) { Key::Base64(text) } else { Key::Text(text) })
}

fn encryption_key(key: &EncryptionKeys) -> EncryptionKey<'_> {
    EncryptionKey { name: &key.key, value: &key.value, metadata: properties(&key.metadata) }
}

fn properties(pairs: &[KeyValue]) -> Vec<(&str, &str)> {
    pairs.iter().map(|pair| (pair.key.as_str(), pair.value.as_str())).collect()
}

/// The payload as the producer handed it over, in a batch all messages together, or why that cannot be had.
pub(crate) fn decompress<'a>(metadata: &MessageMetadata, payload: &'a [u8]) -> Result<Cow<'a, [u8]>, String> {
    let number = metadata.compression.unwrap_or(0);
    let codec = CompressionType::try_from(number).map_err(|_| format!("compression {number} is not known"))?;
    if codec == CompressionType::None {
        return Ok(Cow::Borrowed(payload));
    }
    let size = metadata.uncompressed_size.unwrap_or(0) as usize;
    if size > MOST_DECODED_BYTES {
        return Err(format!("it would take {size} bytes in memory, {MOST_DECODED_BYTES} are allowed"));
    }
    let name = codec.as_str_name();
    let broken = |why: String| format!("{name} does not decompress: {why}");
    let bytes = match codec {
        CompressionType::None => unreachable!("returned above"),
        CompressionType::Lz4 => lz4_flex::block::decompress(payload, size).map_err(|e| broken(e.to_string()))?,
        CompressionType::Zlib => {
            read(flate2::read::ZlibDecoder::new(payload), size).map_err(|e| broken(e.to_string()))?
        }
        CompressionType::Zstd => {
            let mut decoder = zstd::stream::read::Decoder::with_buffer(payload).map_err(|e| broken(e.to_string()))?;
            decoder.window_log_max(MOST_DECODED_BYTES.ilog2()).map_err(|e| broken(e.to_string()))?;
            read(decoder, size).map_err(|e| broken(e.to_string()))?
        }
        CompressionType::Snappy => {
            let said = snap::raw::decompress_len(payload).map_err(|e| broken(e.to_string()))?;
            if said != size {
                return Err(broken(format!("it holds {said} bytes, its metadata says {size}")));
            }
            snap::raw::Decoder::new().decompress_vec(payload).map_err(|e| broken(e.to_string()))?
        }
    };
    match bytes.len() == size {
        true => Ok(Cow::Owned(bytes)),
        false => Err(broken(format!("it holds {} bytes or more, its metadata says {size}", bytes.len()))),
    }
}

/// At most one byte more than `size`: enough to see that it is too long.
///
/// The Java client flushes its zlib stream and never ends it, so an end that is missing behind the last
/// byte is no fault; the entry's own checksum covers what the stream's would have.
fn read(decoder: impl Read, size: usize) -> std::io::Result<Vec<u8>> {
    let mut bytes = Vec::with_capacity(size + 1);
    match decoder.take(size as u64 + 1).read_to_end(&mut bytes) {
        Err(error) if error.kind() != std::io::ErrorKind::UnexpectedEof || bytes.len() != size => Err(error),
        _ => Ok(bytes),
    }
}

/// `[metadata size u32][SingleMessageMetadata][payload]`, `count` times and nothing after.
fn split(payload: &[u8], count: i32) -> Result<Members, String> {
    if count > MOST_MEMBERS {
        return Err(format!("a batch of {count} messages is more than the {MOST_MEMBERS} that are taken apart"));
    }
    let broken = |index: i32, why: &str| format!("message {index} of its batch of {count} {why}");
    let mut members = Vec::new();
    let mut items = 0;
    let mut rest = payload;
    for index in 0..count {
        let size = rest.try_get_u32().map_err(|_| broken(index, "is missing"))? as usize;
        let (metadata, behind) = rest.split_at_checked(size).ok_or_else(|| broken(index, "is cut off"))?;
        items += repeated::of_member(metadata);
        if items > repeated::MOST_ITEMS_IN_BATCH {
            return Err(broken(index, "has one property more than are taken apart"));
        }
        let metadata = SingleMessageMetadata::decode(metadata).map_err(|_| broken(index, "has broken metadata"))?;
        let start = payload.len() - behind.len();
        let length = usize::try_from(metadata.payload_size).ok().filter(|length| *length <= behind.len());
        let length = length.ok_or_else(|| broken(index, "is cut off"))?;
        rest = &behind[length..];
        members.push((metadata, start..start + length));
    }
    match rest.is_empty() && count > 0 {
        true => Ok(members),
        false => Err(format!("{} bytes stand behind its batch of {count}", rest.len())),
    }
}

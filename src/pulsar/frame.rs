//! The binary protocol's frames: bytes to commands and back, without copying a payload.
//!
//! ```text
//! simple   [total u32][command size u32][BaseCommand]
//! message  [total u32][command size u32][BaseCommand: MESSAGE]
//!          [0x0e02][size u32][BrokerEntryMetadata]            where the broker adds it
//!          [0x0e01][CRC-32C u32 of all that follows]          absent from very old producers
//!          [metadata size u32][MessageMetadata][payload]
//! ```
//!
//! Source: "Pulsar binary protocol specification" and `Commands.java` of Apache Pulsar.

use bytes::{Buf, BufMut, Bytes, BytesMut};
use prost::Message as _;
use pulsar::proto::{BaseCommand, BrokerEntryMetadata, MessageMetadata};

use super::repeated;
use crate::error::{Error, Kind, Result};

const CHECKSUM_MAGIC: u16 = 0x0e01;
const BROKER_METADATA_MAGIC: u16 = 0x0e02;

/// Room beside a payload of `max_message_size` for its command and metadata, as the broker reckons it.
const FRAME_PADDING: usize = 10 * 1024;

/// One frame as it arrived.
#[derive(Debug)]
pub(crate) struct Frame {
    pub command: BaseCommand,
    /// What follows the command: only a MESSAGE has it.
    pub rest: Bytes,
}

/// The envelope and the payload of a MESSAGE frame.
pub(crate) struct Delivered {
    pub broker: Option<BrokerEntryMetadata>,
    pub metadata: MessageMetadata,
    /// The metadata's bytes, where they do not parse, or would take too much memory if they did.
    pub unreadable: Option<Bytes>,
    /// What the metadata takes in memory beside its bytes.
    pub overhead: usize,
    /// What the broker counts the entry as, whether the metadata parses or not.
    pub messages: i32,
    pub payload: Bytes,
}

/// What identifies an entry, in a form that parses whatever a producer put into its texts: the wire's
/// strings are UTF-8 by convention only, and an entry must not block the topic.
#[derive(Clone, PartialEq, prost::Message)]
struct Fingerprint {
    #[prost(bytes = "vec", tag = "1")]
    producer_name: Vec<u8>,
    #[prost(uint64, tag = "2")]
    sequence_id: u64,
    #[prost(uint64, tag = "3")]
    publish_time: u64,
    /// No part of the identity: what the entry costs of the permits.
    #[prost(int32, optional, tag = "11")]
    num_messages_in_batch: Option<i32>,
}

impl From<Fingerprint> for MessageMetadata {
    fn from(Fingerprint { producer_name, sequence_id, publish_time, .. }: Fingerprint) -> Self {
        let producer_name = String::from_utf8_lossy(&producer_name).into_owned();
        MessageMetadata { producer_name, sequence_id, publish_time, ..MessageMetadata::default() }
    }
}

/// Takes the next whole frame from `inbox`, or says how many bytes it wants to be whole.
pub(crate) fn take(inbox: &mut BytesMut, max_message_size: usize) -> Result<Result<Frame, usize>> {
    let Some(head) = inbox.first_chunk::<4>() else { return Ok(Err(4)) };
    let total = u32::from_be_bytes(*head) as usize;
    if !(4..=max_message_size + FRAME_PADDING).contains(&total) {
        return Err(match head {
            b"HTTP" => elsewhere("HTTP", "http://host:8080 or pulsar://host:6650"),
            // An alert: the other side takes our words for a bad handshake.
            [0x15, 3, ..] => elsewhere("TLS", "pulsar+ssl:// or https:// for a port that has it"),
            _ => corrupt(format!(
                "a frame claims {total} bytes: is this a Pulsar broker's binary port? Check service_url: \
                 http://host:8080 or pulsar://host:6650"
            )),
        });
    }
    if inbox.len() < 4 + total {
        return Ok(Err(4 + total));
    }
    let mut frame = inbox.split_to(4 + total).freeze();
    frame.advance(4);
    let size = frame.get_u32() as usize;
    if size > frame.len() {
        return Err(corrupt(format!("a command claims {size} bytes in a frame of {total}")));
    }
    let command =
        BaseCommand::decode(frame.split_to(size)).map_err(|e| corrupt("a command does not parse").because(e))?;
    Ok(Ok(Frame { command, rest: frame }))
}

/// Splits what follows a MESSAGE command, its checksum verified.
pub(crate) fn delivered(mut rest: Bytes) -> Result<Delivered> {
    let mut broker = None;
    if magic(&rest) == Some(BROKER_METADATA_MAGIC) {
        rest.advance(2);
        let part = sized(&mut rest)?;
        broker =
            Some(BrokerEntryMetadata::decode(part).map_err(|e| corrupt("broker metadata does not parse").because(e))?);
    }
    if magic(&rest) == Some(CHECKSUM_MAGIC) && rest.len() >= 6 {
        rest.advance(2);
        let said = rest.get_u32();
        let found = crc32c::crc32c(&rest);
        if said != found {
            return Err(corrupt(format!("its CRC-32C is {found:08x}, the frame says {said:08x}")));
        }
    }
    let bytes = sized(&mut rest)?;
    let items = repeated::of_envelope(&bytes);
    let decoded = (items <= repeated::MOST_ITEMS).then(|| MessageMetadata::decode(bytes.clone()).ok()).flatten();
    let (metadata, messages, unreadable) = match decoded {
        Some(metadata) => {
            let messages = metadata.num_messages_in_batch;
            (metadata, messages, None)
        }
        None => {
            let known = Fingerprint::decode(bytes.clone()).unwrap_or_default();
            let messages = known.num_messages_in_batch;
            (known.into(), messages, Some(bytes))
        }
    };
    let overhead = if unreadable.is_some() { 0 } else { items * repeated::ITEM };
    Ok(Delivered { broker, metadata, unreadable, overhead, messages: messages.unwrap_or(1), payload: rest })
}

/// Appends `command` as a simple frame. `extra` stands behind the command's own bytes, as fields
/// that the crate's types do not know.
pub(crate) fn put(outbox: &mut BytesMut, command: &BaseCommand, extra: &[u8]) {
    let size = command.encoded_len() + extra.len();
    outbox.reserve(8 + size);
    outbox.put_u32(4 + size as u32);
    outbox.put_u32(size as u32);
    command.encode(outbox).expect("a BytesMut grows");
    outbox.put_slice(extra);
}

/// Appends `command` with one message: a frame as a producer sends it, which the broker stores from the checksum on.
pub(crate) fn put_message(outbox: &mut BytesMut, command: &BaseCommand, metadata: &MessageMetadata, payload: &[u8]) {
    let mut covered = BytesMut::with_capacity(4 + metadata.encoded_len() + payload.len());
    covered.put_u32(metadata.encoded_len() as u32);
    metadata.encode(&mut covered).expect("a BytesMut grows");
    covered.put_slice(payload);
    let size = command.encoded_len();
    outbox.put_u32((4 + size + 6 + covered.len()) as u32);
    outbox.put_u32(size as u32);
    command.encode(outbox).expect("a BytesMut grows");
    outbox.put_u16(CHECKSUM_MAGIC);
    outbox.put_u32(crc32c::crc32c(&covered));
    outbox.put_slice(&covered);
}

fn magic(rest: &Bytes) -> Option<u16> {
    rest.first_chunk::<2>().map(|bytes| u16::from_be_bytes(*bytes))
}

fn sized(rest: &mut Bytes) -> Result<Bytes> {
    let size = rest.first_chunk::<4>().map(|bytes| u32::from_be_bytes(*bytes) as usize);
    match size {
        Some(size) if size <= rest.len() - 4 => {
            rest.advance(4);
            Ok(rest.split_to(size))
        }
        _ => Err(corrupt("its parts are longer than the frame")),
    }
}

fn corrupt(what: impl Into<String>) -> Error {
    Error::new(Kind::Corrupt, what)
}

fn elsewhere(answer: &str, instead: &str) -> Error {
    let text =
        format!("the answer is {answer}: this is not a Pulsar broker's binary port; write {instead} in service_url");
    Error::new(Kind::Invalid, text)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A MESSAGE's rest with this metadata, its checksum right.
    fn rest(metadata: &[u8]) -> Bytes {
        let mut covered = BytesMut::new();
        covered.put_u32(metadata.len() as u32);
        covered.put_slice(metadata);
        covered.put_slice(b"payload");
        let mut rest = BytesMut::new();
        rest.put_u16(CHECKSUM_MAGIC);
        rest.put_u32(crc32c::crc32c(&covered));
        rest.put_slice(&covered);
        rest.freeze()
    }

    #[test]
    fn metadata_with_text_that_is_not_utf_8_is_kept_and_still_identifies_its_entry() {
        let named = MessageMetadata {
            producer_name: "p".into(),
            sequence_id: 7,
            publish_time: 1_000,
            partition_key: Some("kk".into()),
            ..MessageMetadata::default()
        };
        let mut bytes = named.encode_to_vec();
        let key = bytes.windows(2).position(|window| window == b"kk").unwrap();
        bytes[key..key + 2].copy_from_slice(&[0xff, 0xfe]);
        let delivered = delivered(rest(&bytes)).unwrap();
        assert_eq!(delivered.unreadable.as_deref(), Some(&bytes[..]));
        let found = delivered.metadata;
        assert_eq!((found.producer_name.as_str(), found.sequence_id, found.publish_time), ("p", 7, 1_000));
        assert_eq!(&delivered.payload[..], b"payload");
    }

    #[test]
    fn sizes_that_lie_are_errors() {
        for size in [0_u32, 3, 100 << 20, u32::MAX] {
            let mut inbox = BytesMut::from(&size.to_be_bytes()[..]);
            assert!(take(&mut inbox, 5 << 20).is_err(), "{size}");
        }
        let mut inbox = BytesMut::from(&[0, 0, 0, 8, 0, 0, 0, 9, 1, 2, 3, 4][..]);
        assert!(take(&mut inbox, 5 << 20).is_err());
        assert!(delivered(Bytes::from_static(&[0, 0, 0, 9, 1])).is_err());
    }

    #[test]
    fn a_frame_that_is_not_whole_says_how_much_it_wants() {
        let mut inbox = BytesMut::from(&[0, 0, 0, 100, 0][..]);
        assert_eq!(take(&mut inbox, 5 << 20).unwrap().unwrap_err(), 104);
        assert_eq!(inbox.len(), 5);
    }
}

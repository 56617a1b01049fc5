//! What the broker delivers: an [`Entry`] at a [`Position`], holding one [`Message`] or a batch of them.
//!
//! An entry is the broker's unit of storage and of acknowledgement; a producer's batch is one entry.
//! Nothing here speaks the wire's framing: `pulsar::entry` makes these from frames.

use std::fmt;
use std::str::FromStr;

use bytes::Bytes;
use serde::{Deserialize, Serialize};

/// Where an entry stands in its topic: ledger and entry, -1 for "before the first".
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Position {
    pub ledger: i64,
    pub entry: i64,
}

impl Position {
    pub const fn new(ledger: i64, entry: i64) -> Self {
        Position { ledger, entry }
    }
}

/// `ledger:entry`
impl fmt::Display for Position {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.ledger, self.entry)
    }
}

impl FromStr for Position {
    type Err = ();

    fn from_str(text: &str) -> Result<Self, ()> {
        let (ledger, entry) = text.split_once(':').ok_or(())?;
        Ok(Position { ledger: ledger.parse().map_err(|_| ())?, entry: entry.parse().map_err(|_| ())? })
    }
}

impl Serialize for Position {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Position {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        text.parse().map_err(|()| serde::de::Error::custom(format!("`{text}` is not ledger:entry")))
    }
}

/// One entry as delivered: its envelope decoded, its payload still as the producer wrote it.
#[derive(Clone, Debug)]
pub struct Entry {
    pub position: Position,
    /// -1 on a topic without partitions, as Pulsar prints it.
    pub partition: i32,
    /// The broker's own metadata, where the broker adds it.
    pub broker: Option<pulsar::proto::BrokerEntryMetadata>,
    pub metadata: pulsar::proto::MessageMetadata,
    /// Bytes that the entry takes in memory: its whole frame, and what its properties take when they are decoded.
    pub size: usize,
    /// The envelope's bytes where they do not parse; then `metadata` has only what identifies the entry.
    pub unreadable: Option<Bytes>,
    /// Compressed, batched or encrypted as `metadata` says.
    pub payload: Bytes,
    /// Where the first chunk stands, if this is a message put together from its chunks: `position`,
    /// `metadata` and `broker` are then the last chunk's.
    pub first_chunk: Option<Position>,
}

/// By how much a producer's clock may be ahead, in ms: where the broker stamps entries, nothing depends on it.
pub const PRODUCERS_CLOCK_MS: u64 = 10 * 60 * 1000;

impl Entry {
    /// When the broker took it, where brokers stamp entries; else when its producer says that it sent it. In ms.
    pub fn time(&self) -> u64 {
        self.broker.as_ref().and_then(|broker| broker.broker_timestamp).unwrap_or(self.metadata.publish_time)
    }

    /// How many chunks its message was sent in, where there were several.
    pub fn num_chunks(&self) -> Option<i32> {
        self.metadata.num_chunks_from_msg.filter(|of| *of > 1)
    }
}

/// One message with everything Pulsar knows of it. Times are ms since the epoch.
#[derive(Clone, Debug, PartialEq)]
pub struct Message<'a> {
    pub id: MessageId,
    pub publish_time: u64,
    pub event_time: Option<u64>,
    pub broker_time: Option<u64>,
    pub index: Option<u64>,
    pub key: Option<Key<'a>>,
    pub ordering_key: Option<&'a [u8]>,
    /// In the producer's order; a key may come more than once.
    pub properties: Vec<(&'a str, &'a str)>,
    pub producer_name: &'a str,
    pub sequence_id: u64,
    pub schema_version: Option<&'a [u8]>,
    pub replicated_from: Option<&'a str>,
    pub deliver_at_time: Option<i64>,
    pub null_partition_key: bool,
    /// Most and least significant bits.
    pub transaction: Option<(u64, u64)>,
    /// How it was cut, where it was put together from chunks.
    pub chunks: Option<Chunks<'a>>,
    pub body: Body<'a>,
}

/// `ledger:entry:partition`, and `:batch` inside a batch, as Pulsar's own clients print it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct MessageId {
    pub position: Position,
    pub partition: i32,
    pub batch_index: Option<u32>,
}

impl fmt::Display for MessageId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.position, self.partition)?;
        self.batch_index.map_or(Ok(()), |index| write!(f, ":{index}"))
    }
}

/// A message key: set as text, or as bytes (which the wire carries in base64).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Key<'a> {
    Text(&'a str),
    /// Standard base64 with padding, exactly as the producing client wrote it.
    Base64(&'a str),
}

#[derive(Clone, Debug, PartialEq)]
pub enum Body<'a> {
    /// The payload, byte for byte as the producer handed it to its client.
    Payload(&'a [u8]),
    /// A null value: not the same as an empty payload.
    Null,
    /// What could not be decoded: the entry's payload exactly as it was on the wire.
    Undecodable(Undecodable<'a>),
}

/// Why an entry could not be decoded, and all that is needed to decode it elsewhere.
#[derive(Clone, Debug, PartialEq)]
pub struct Undecodable<'a> {
    pub reason: String,
    pub raw: &'a [u8],
    /// The envelope's bytes, where it is they that cannot be decoded.
    pub metadata: Option<&'a [u8]>,
    /// The number in the wire's `CompressionType`, 0 for none.
    pub compression: i32,
    pub uncompressed_size: Option<u32>,
    pub num_messages_in_batch: Option<i32>,
    pub chunk: Option<Chunk<'a>>,
    pub encryption: Option<Encryption<'a>>,
}

/// The chunks of a message that was put together; it stands at the last one's id.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Chunks<'a> {
    pub first: MessageId,
    pub uuid: &'a str,
    pub count: i32,
}

/// One chunk that stands by itself.
#[derive(Clone, Debug, PartialEq)]
pub struct Chunk<'a> {
    pub uuid: &'a str,
    pub id: i32,
    pub of: i32,
    pub total_size: i32,
}

#[derive(Clone, Debug, PartialEq)]
pub struct Encryption<'a> {
    pub keys: Vec<EncryptionKey<'a>>,
    pub algorithm: &'a str,
    pub param: &'a [u8],
}

/// The data key, encrypted for one reader.
#[derive(Clone, Debug, PartialEq)]
pub struct EncryptionKey<'a> {
    pub name: &'a str,
    pub value: &'a [u8],
    pub metadata: Vec<(&'a str, &'a str)>,
}

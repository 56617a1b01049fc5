//! Entries as Pulsar's Java client writes them: single messages, batches, chunks, every field.
//!
//! ```text
//! Draft ──┐
//! Draft ──┼─▶ Composer ─▶ Composed { metadata, payload, broker } ─▶ Topic::append
//! Draft ──┘
//! ```
//!
//! A [`Draft`] is one message, a [`Composer`] the producer with its settings. Nothing reads a clock:
//! the caller gives the publish time.

mod compress;
mod draft;
mod sample;
#[cfg(test)]
mod tests;

use bytes::{BufMut, Bytes, BytesMut};
use prost::Message as _;
use pulsar::proto::{BrokerEntryMetadata, EncryptionKeys, MessageMetadata};

pub use self::compress::Compression;
pub use self::draft::Draft;
pub use self::sample::sample;
use crate::{Entry, Position};

/// One entry, not yet in a topic.
#[derive(Clone, Debug)]
pub struct Composed {
    pub metadata: MessageMetadata,
    /// Framed as a batch, compressed and encrypted as `metadata` says.
    pub payload: Bytes,
    pub broker: Option<BrokerEntryMetadata>,
}

impl Composed {
    /// The entry at its place, as a consumer knows it. `partition` is -1 outside a partitioned topic.
    pub fn entry(self, position: Position, partition: i32) -> Entry {
        let Composed { metadata, payload, broker } = self;
        Entry {
            position,
            partition,
            size: payload.len(),
            broker,
            metadata,
            unreadable: None,
            payload,
            first_chunk: None,
        }
    }

    /// Ms since the epoch: the broker's time where it added one, else the producer's.
    pub fn timestamp(&self) -> u64 {
        self.broker.as_ref().and_then(|broker| broker.broker_timestamp).unwrap_or(self.metadata.publish_time)
    }

    /// Changes any field, also into what no producer would write.
    pub fn with(mut self, change: impl FnOnce(&mut Self)) -> Self {
        change(&mut self);
        self
    }
}

/// A producer: its name, the sequence id it will give next, and what it puts on every entry.
#[derive(Clone, Debug)]
pub struct Composer {
    envelope: MessageMetadata,
    compression: Compression,
    broker: Option<BrokerEntryMetadata>,
}

impl Composer {
    /// Starts at sequence id 0, publish time 0, without compression.
    pub fn new(producer: &str) -> Self {
        let envelope = MessageMetadata { producer_name: producer.to_owned(), ..Default::default() };
        Composer { envelope, compression: Compression::None, broker: None }
    }

    /// The publish time of what is composed from now on, in ms since the epoch.
    pub fn at(mut self, publish_time: u64) -> Self {
        self.envelope.publish_time = publish_time;
        self
    }

    pub fn sequence(mut self, id: u64) -> Self {
        self.envelope.sequence_id = id;
        self
    }

    pub fn compression(mut self, compression: Compression) -> Self {
        self.compression = compression;
        self
    }

    pub fn schema_version(mut self, version: &[u8]) -> Self {
        self.envelope.schema_version = Some(version.to_vec());
        self
    }

    pub fn replicated_from(mut self, cluster: &str) -> Self {
        self.envelope.replicated_from = Some(cluster.to_owned());
        self
    }

    pub fn transaction(mut self, most: u64, least: u64) -> Self {
        (self.envelope.txnid_most_bits, self.envelope.txnid_least_bits) = (Some(most), Some(least));
        self
    }

    /// Ms since the epoch.
    pub fn deliver_at(mut self, time: i64) -> Self {
        self.envelope.deliver_at_time = Some(time);
        self
    }

    /// What the broker adds to the next entries: its time, and the index of their last message.
    pub fn broker(mut self, timestamp: Option<u64>, index: Option<u64>) -> Self {
        self.broker = Some(BrokerEntryMetadata { broker_timestamp: timestamp, index });
        self
    }

    /// Marks what is composed from now on as encrypted. The payload is not encrypted: give ciphertext.
    pub fn encrypted(mut self, keys: &[(&str, &[u8])], algorithm: &str, param: &[u8]) -> Self {
        let key = |(name, value): &(&str, &[u8])| EncryptionKeys {
            key: (*name).to_owned(),
            value: value.to_vec(),
            metadata: Vec::new(),
        };
        self.envelope.encryption_keys = keys.iter().map(key).collect();
        self.envelope.encryption_algo = Some(algorithm.to_owned());
        self.envelope.encryption_param = Some(param.to_vec());
        self
    }

    /// One message in an entry of its own; the next sequence id is one higher.
    pub fn single(&mut self, draft: Draft) -> Composed {
        let mut metadata = self.envelope.clone();
        draft.describe(&mut metadata);
        metadata.uncompressed_size = Some(draft.payload().len() as u32);
        metadata.compression = self.compression.number();
        self.envelope.sequence_id += 1;
        Composed { metadata, payload: self.compression.apply(draft.payload()).into(), broker: self.broker }
    }

    /// All of `drafts` in one entry, under consecutive sequence ids. Panics if there are none.
    pub fn batch(&mut self, drafts: impl IntoIterator<Item = Draft>) -> Composed {
        let drafts: Vec<Draft> = drafts.into_iter().collect();
        let first = self.envelope.sequence_id;
        let mut framed = BytesMut::new();
        for (sequence, draft) in (first..).zip(&drafts) {
            let metadata = draft.member(sequence).encode_to_vec();
            framed.put_u32(metadata.len() as u32);
            framed.put_slice(&metadata);
            framed.put_slice(draft.payload());
        }
        let mut metadata = self.envelope.clone();
        drafts.first().expect("a batch has a message").describe_key(&mut metadata);
        self.envelope.sequence_id += drafts.len() as u64;
        metadata.num_messages_in_batch = Some(drafts.len() as i32);
        metadata.highest_sequence_id = Some(self.envelope.sequence_id - 1);
        metadata.compression = self.compression.number();
        metadata.uncompressed_size = metadata.compression.map(|_| framed.len() as u32);
        Composed { metadata, payload: self.compression.apply(&framed).into(), broker: self.broker }
    }

    /// One message over several entries of at most `size` bytes each, compressed as a whole. All carry
    /// the message's sequence id.
    pub fn chunks(&mut self, draft: Draft, size: usize, uuid: &str) -> Vec<Composed> {
        let whole = self.single(draft);
        let count = whole.payload.len().div_ceil(size);
        let chunk = |id: usize| {
            let part = whole.payload.slice(id * size..whole.payload.len().min((id + 1) * size));
            let mut metadata = whole.metadata.clone();
            metadata.uuid = Some(uuid.to_owned());
            metadata.chunk_id = Some(id as i32);
            metadata.num_chunks_from_msg = Some(count as i32);
            metadata.total_chunk_msg_size = Some(whole.payload.len() as i32);
            Composed { metadata, payload: part, broker: self.broker }
        };
        (0..count).map(chunk).collect()
    }
}

//! One message, as an application hands it to its client.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use pulsar::proto::{KeyValue, MessageMetadata, SingleMessageMetadata};

/// A message: its value and everything the application can set on it.
#[derive(Clone, Debug, Default)]
pub struct Draft {
    value: Option<Vec<u8>>,
    key: Option<String>,
    key_is_base64: bool,
    null_key: bool,
    ordering_key: Option<Vec<u8>>,
    properties: Vec<KeyValue>,
    event_time: Option<u64>,
    compacted_out: bool,
}

impl Draft {
    pub fn new(value: impl Into<Vec<u8>>) -> Self {
        Draft { value: Some(value.into()), ..Default::default() }
    }

    /// A message without a value: a tombstone, where keys are compacted.
    pub fn null() -> Self {
        Draft::default()
    }

    pub fn key(mut self, key: &str) -> Self {
        (self.key, self.key_is_base64) = (Some(key.to_owned()), false);
        self
    }

    pub fn key_bytes(mut self, key: &[u8]) -> Self {
        (self.key, self.key_is_base64) = (Some(STANDARD.encode(key)), true);
        self
    }

    /// A key that is null, of a schema that has the key apart from the value.
    pub fn null_key(mut self) -> Self {
        self.null_key = true;
        self
    }

    pub fn ordering_key(mut self, key: &[u8]) -> Self {
        self.ordering_key = Some(key.to_vec());
        self
    }

    /// Adds one; order is kept, and a key may come again.
    pub fn property(mut self, key: &str, value: &str) -> Self {
        self.properties.push(KeyValue { key: key.to_owned(), value: value.to_owned() });
        self
    }

    /// Ms since the epoch.
    pub fn event_time(mut self, time: u64) -> Self {
        self.event_time = Some(time);
        self
    }

    /// A member of a batch that compaction has emptied. Only has a meaning in a batch.
    pub fn compacted_out(mut self) -> Self {
        self.compacted_out = true;
        self
    }

    pub(super) fn payload(&self) -> &[u8] {
        self.value.as_deref().unwrap_or_default()
    }

    /// Puts all of it on the envelope of a single message.
    pub(super) fn describe(&self, metadata: &mut MessageMetadata) {
        self.describe_key(metadata);
        metadata.properties = self.properties.clone();
        metadata.event_time = self.event_time;
        metadata.null_value = flag(self.value.is_none());
        metadata.null_partition_key = flag(self.null_key);
    }

    /// Puts the keys on an envelope: on a batch's, the Java client puts those of its first message.
    pub(super) fn describe_key(&self, metadata: &mut MessageMetadata) {
        metadata.partition_key = self.key.clone();
        metadata.partition_key_b64_encoded = self.key.as_ref().map(|_| self.key_is_base64);
        metadata.ordering_key = self.ordering_key.clone();
    }

    pub(super) fn member(&self, sequence: u64) -> SingleMessageMetadata {
        SingleMessageMetadata {
            properties: self.properties.clone(),
            partition_key: self.key.clone(),
            payload_size: self.payload().len() as i32,
            compacted_out: flag(self.compacted_out),
            event_time: self.event_time,
            partition_key_b64_encoded: self.key.as_ref().map(|_| self.key_is_base64),
            ordering_key: self.ordering_key.clone(),
            sequence_id: Some(sequence),
            null_value: flag(self.value.is_none()),
            null_partition_key: flag(self.null_key),
        }
    }
}

/// The Java client writes these fields only where they are true.
fn flag(set: bool) -> Option<bool> {
    set.then_some(true)
}

//! JSON lines: a message is one line of JSON that ends with `\n`, and comes back from it byte for byte.
//!
//! Members, in this order. Those in brackets are left out where the message has no such thing. Times are
//! ms since the epoch; numbers are integers up to 64 bits, so a reader that holds numbers in an IEEE
//! double (JavaScript, jq before 1.7) rounds those beyond 2^53: sequence ids, mostly.
//!
//! | Member | |
//! |---|---|
//! | `id` | `ledger:entry:partition`, and `:batch` inside a batch |
//! | `publish_time` | |
//! | \[`event_time`\] \[`broker_time`\] \[`index`\] | |
//! | \[`key`\] | a key set as text |
//! | or \[`key_base64`\] | a key set as bytes, in base64 |
//! | or \[`key_base64_invalid`\] | a key marked as base64 that is not canonical base64: its text on the wire |
//! | \[`ordering_key`\] | base64 |
//! | \[`properties`\] | an object, in the producer's order |
//! | `producer_name` `sequence_id` | |
//! | \[`schema_version`\] | base64 |
//! | \[`replicated_from`\] \[`deliver_at_time`\] | |
//! | \[`null_partition_key`\] | `true` |
//! | \[`txnid_most_bits`\] \[`txnid_least_bits`\] | both or none |
//! | \[`first_chunk_id`\] \[`uuid`\] \[`num_chunks_from_msg`\] | all or none: the message came in chunks; `id` is the last one's |
//!
//! Then the payload, always last, as exactly one of:
//!
//! | Member | |
//! |---|---|
//! | `null_value` | `true`: the message has a null value, not an empty payload |
//! | `value` | the payload itself, where that is one line of JSON: see [`json`] |
//! | `text` | a payload of other UTF-8, `""` for the empty one |
//! | `base64` | a payload of other bytes |
//! | `undecodable`, `raw_base64` | why, and what the wire says of it; the entry's bytes as they were there |
//!
//! Base64 is the standard alphabet with padding (RFC 4648, 4). A property that comes twice is a repeated
//! member of `properties`: RFC 8259 allows that and leaves its meaning to the reader. Most keep the last
//! value; [`read()`] gives all, in order. The same holds inside `value`, which nobody here interprets.

pub mod json;
mod line;
mod read;

use std::io::{self, Write};

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde::Serialize;

use crate::message::{Body, Key, Message};

pub use read::{Fingerprint, Name, Record, fingerprint, read};

/// Writes the line of `message` to `out`, in pieces: no payload is copied as a whole.
pub fn write(message: &Message<'_>, out: &mut impl Write) -> io::Result<()> {
    let mut line = Object { out, empty: true };
    line.member("id", &format_args!("{}", message.id))?;
    line.member("publish_time", &message.publish_time)?;
    line.optional("event_time", message.event_time)?;
    line.optional("broker_time", message.broker_time)?;
    line.optional("index", message.index)?;
    match message.key {
        None => {}
        Some(Key::Text(text)) => line.member("key", text)?,
        Some(Key::Base64(text)) if STANDARD.decode(text).is_ok() => line.member("key_base64", text)?,
        Some(Key::Base64(text)) => line.member("key_base64_invalid", text)?,
    }
    if let Some(key) = message.ordering_key {
        line.base64("ordering_key", key)?;
    }
    if !message.properties.is_empty() {
        line.properties(&message.properties)?;
    }
    line.member("producer_name", message.producer_name)?;
    line.member("sequence_id", &message.sequence_id)?;
    if let Some(version) = message.schema_version {
        line.base64("schema_version", version)?;
    }
    line.optional("replicated_from", message.replicated_from)?;
    line.optional("deliver_at_time", message.deliver_at_time)?;
    line.optional("null_partition_key", message.null_partition_key.then_some(true))?;
    line.optional("txnid_most_bits", message.transaction.map(|(most, _)| most))?;
    line.optional("txnid_least_bits", message.transaction.map(|(_, least)| least))?;
    if let Some(chunks) = &message.chunks {
        line.member("first_chunk_id", &format_args!("{}", chunks.first))?;
        line.member("uuid", chunks.uuid)?;
        line.member("num_chunks_from_msg", &chunks.count)?;
    }
    match &message.body {
        Body::Null => line.member("null_value", &true)?,
        Body::Payload(payload) => match str::from_utf8(payload) {
            Ok(text) if json::is_value_on_one_line(text) => {
                line.name("value")?;
                line.out.write_all(payload)?;
            }
            Ok(text) => line.member("text", text)?,
            Err(_) => line.base64("base64", payload)?,
        },
        Body::Undecodable(undecodable) => {
            line.member("undecodable", &line::Undecodable::from(undecodable))?;
            line.base64("raw_base64", undecodable.raw)?;
        }
    }
    out.write_all(b"}\n")
}

/// Letters of base64 that are written at once.
const LETTERS: usize = 4 << 10;

/// A JSON object being written, its last brace still missing.
struct Object<'o, W> {
    out: &'o mut W,
    empty: bool,
}

impl<W: Write> Object<'_, W> {
    fn name(&mut self, name: &str) -> io::Result<()> {
        self.out.write_all(if self.empty { b"{" } else { b"," })?;
        self.empty = false;
        self.value(name)?;
        self.out.write_all(b":")
    }

    fn value<T: Serialize + ?Sized>(&mut self, value: &T) -> io::Result<()> {
        serde_json::to_writer(&mut *self.out, value).map_err(io::Error::from)
    }

    fn member<T: Serialize + ?Sized>(&mut self, name: &str, value: &T) -> io::Result<()> {
        self.name(name)?;
        self.value(value)
    }

    fn optional<T: Serialize>(&mut self, name: &str, value: Option<T>) -> io::Result<()> {
        value.map_or(Ok(()), |value| self.member(name, &value))
    }

    fn base64(&mut self, name: &str, bytes: &[u8]) -> io::Result<()> {
        self.name(name)?;
        self.out.write_all(b"\"")?;
        let mut letters = [0; LETTERS];
        // Whole groups of three bytes, so that only the last piece is padded.
        for piece in bytes.chunks(LETTERS / 4 * 3) {
            let length = STANDARD.encode_slice(piece, &mut letters).expect("four letters for each three bytes");
            self.out.write_all(&letters[..length])?;
        }
        self.out.write_all(b"\"")
    }

    /// Not a map: a map keeps one of two equal keys, and need not keep their order.
    fn properties(&mut self, properties: &[(&str, &str)]) -> io::Result<()> {
        self.name("properties")?;
        let mut object = Object { out: &mut *self.out, empty: true };
        properties.iter().try_for_each(|(name, value)| object.member(name, value))?;
        self.out.write_all(b"}")
    }
}

#[cfg(test)]
mod tests;

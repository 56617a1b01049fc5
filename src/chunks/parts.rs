//! The parts of one message that wait for the rest of it, in a temporary file.
//!
//! The file has no name and is gone with its last part, however the process ends. In memory stays what
//! identifies a part and where it stands in the file.

use std::fs::{File, Permissions};
use std::io;
use std::os::unix::fs::{FileExt, PermissionsExt};
use std::path::Path;
use std::sync::Arc;

use bytes::Bytes;
use prost::Message as _;
use pulsar::proto::{BrokerEntryMetadata, MessageMetadata};

use crate::message::{Entry, Position};

/// One chunk that waits.
pub(super) struct Part {
    pub position: Position,
    /// The last entry that came before it.
    pub before: Option<Position>,
    pub publish_time: u64,
    /// Its chunk came before: it is no piece of the message.
    pub repeats: bool,
    id: i32,
    partition: i32,
    broker: Option<BrokerEntryMetadata>,
    size: usize,
    bytes: Extent,
    file: Arc<File>,
}

/// Where the file has a part: its metadata, then its payload.
#[derive(Clone, Copy)]
struct Extent {
    start: u64,
    metadata: usize,
    payload: usize,
}

impl Part {
    /// The entry as it was delivered.
    pub fn read(&self) -> io::Result<Entry> {
        let mut bytes = vec![0; self.bytes.metadata + self.bytes.payload];
        self.file.read_exact_at(&mut bytes, self.bytes.start)?;
        let mut payload = Bytes::from(bytes);
        let metadata = MessageMetadata::decode(payload.split_to(self.bytes.metadata)).map_err(io::Error::other)?;
        Ok(Entry {
            position: self.position,
            partition: self.partition,
            broker: self.broker,
            metadata,
            size: self.size,
            unreadable: None,
            payload,
            first_chunk: None,
        })
    }
}

/// The parts of one message, in the order in which they came.
pub(super) struct Parts {
    file: Arc<File>,
    length: u64,
    parts: Vec<Part>,
}

impl Parts {
    pub fn new(dir: &Path) -> io::Result<Self> {
        let file = tempfile::tempfile_in(dir)?;
        file.set_permissions(Permissions::from_mode(0o600))?;
        Ok(Parts { file: Arc::new(file), length: 0, parts: Vec::new() })
    }

    /// Takes the part with chunk number `id`. After an error all is as it was.
    pub fn push(&mut self, entry: &Entry, id: i32, before: Option<Position>) -> io::Result<()> {
        let metadata = entry.metadata.encode_to_vec();
        let bytes = Extent { start: self.length, metadata: metadata.len(), payload: entry.payload.len() };
        let written = self.file.write_all_at(&metadata, self.length);
        written.and_then(|()| self.file.write_all_at(&entry.payload, self.length + metadata.len() as u64))?;
        self.length += (metadata.len() + entry.payload.len()) as u64;
        self.keep(entry, id, before, bytes, false);
        Ok(())
    }

    /// Takes the entry if it is the chunk `id` once more, byte for byte.
    pub fn push_repeated(&mut self, entry: &Entry, id: i32, before: Option<Position>) -> io::Result<bool> {
        let Some(first) = self.parts.iter().find(|part| part.id == id) else { return Ok(false) };
        let bytes = first.bytes;
        let known = first.read()?;
        if known.metadata != entry.metadata || known.payload != entry.payload {
            return Ok(false);
        }
        self.keep(entry, id, before, bytes, true);
        Ok(true)
    }

    fn keep(&mut self, entry: &Entry, id: i32, before: Option<Position>, bytes: Extent, repeats: bool) {
        let Entry { position, partition, broker, size, .. } = *entry;
        let publish_time = entry.metadata.publish_time;
        let file = Arc::clone(&self.file);
        self.parts.push(Part { position, before, publish_time, repeats, id, partition, broker, size, bytes, file });
    }

    pub fn as_slice(&self) -> &[Part] {
        &self.parts
    }

    pub fn into_vec(self) -> Vec<Part> {
        self.parts
    }

    /// The payloads of the chunks one behind the other, then `last`. `None` where that is not `size` bytes.
    pub fn join(&self, last: &[u8], size: usize) -> io::Result<Option<Vec<u8>>> {
        let chunks = || self.parts.iter().filter(|part| !part.repeats);
        if chunks().map(|part| part.bytes.payload).sum::<usize>() + last.len() != size {
            return Ok(None);
        }
        let mut joined = vec![0; size];
        let mut rest = &mut joined[..];
        for Part { bytes, .. } in chunks() {
            let (piece, behind) = rest.split_at_mut(bytes.payload);
            self.file.read_exact_at(piece, bytes.start + bytes.metadata as u64)?;
            rest = behind;
        }
        rest.copy_from_slice(last);
        Ok(Some(joined))
    }
}

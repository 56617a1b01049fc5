//! Where an object ends.
//!
//! A batch takes whole entries until one does not fit. An entry that is larger than the caps by itself
//! still gets an object of its own: it must not block the topic.

use std::io;

use crate::budget;
use crate::encode::Compression;
use crate::encode::compress::Compressor;
use crate::encode::jsonl;
use crate::encode::spool::{Body, Spool};
use crate::message::Entry;
use crate::span::Span;

/// A scratch buffer larger than this is given back after the entry that needed it.
const SCRATCH: usize = 1 << 20;

/// How much one object may hold.
#[derive(Clone, Copy, Debug)]
pub struct Caps {
    pub messages: u64,
    /// Of the records before compression, and of the written file.
    pub bytes: u64,
}

/// Which cap an entry would have broken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Full {
    Messages,
    Bytes,
}

/// The entries of one object, encoded and compressed as they come.
pub struct Batch {
    caps: Caps,
    compression: Compression,
    compressor: Compressor,
    scratch: Vec<u8>,
    contents: Contents,
}

/// What a batch holds, in figures.
#[derive(Clone, Copy, Debug, Default)]
pub struct Contents {
    pub span: Option<Span>,
    pub messages: u64,
    pub entries: u64,
    /// Records before compression.
    pub bytes: u64,
    /// Entries that could not be decoded and stand in the object raw.
    pub undecodable: u64,
    /// Publish time of the first message: it names the object's folder.
    pub first_publish_time: u64,
    pub earliest_publish_time: u64,
    pub latest_publish_time: u64,
}

impl Contents {
    /// Adds up figures of several objects; the span stays unknown.
    pub fn add(&mut self, more: &Contents) {
        let first = self.messages == 0;
        self.messages += more.messages;
        self.entries += more.entries;
        self.bytes += more.bytes;
        self.undecodable += more.undecodable;
        let earliest = more.earliest_publish_time;
        self.earliest_publish_time = if first { earliest } else { self.earliest_publish_time.min(earliest) };
        self.latest_publish_time = self.latest_publish_time.max(more.latest_publish_time);
    }
}

impl Batch {
    /// An empty batch. `caps` is `None` for a span that a predecessor pinned.
    pub fn new(caps: Option<Caps>, compression: Compression) -> Self {
        let spool = Spool::new(&std::env::temp_dir(), budget::SPOOL);
        Batch {
            caps: caps.unwrap_or(Caps { messages: u64::MAX, bytes: u64::MAX }),
            compression,
            compressor: Compressor::new(compression, spool),
            scratch: Vec::new(),
            contents: Contents::default(),
        }
    }

    pub fn contents(&self) -> &Contents {
        &self.contents
    }

    pub fn span(&self) -> Option<Span> {
        self.contents.span
    }

    /// Takes the entry, or says which cap stands against it; then the batch is as it was.
    pub fn offer(&mut self, entry: &Entry) -> io::Result<Result<(), Full>> {
        self.scratch.clear();
        let mut messages = 0;
        let scratch = &mut self.scratch;
        let undecodable = entry.messages(|message| {
            messages += 1;
            jsonl::write(message, scratch);
        });
        if let Some(full) = self.full(messages) {
            return Ok(Err(full));
        }
        self.compressor.append(&self.scratch)?;
        self.count(entry, messages, undecodable.is_some());
        if self.scratch.capacity() > SCRATCH {
            self.scratch = Vec::new();
        }
        Ok(Ok(()))
    }

    fn full(&self, messages: u64) -> Option<Full> {
        let size = self.scratch.len();
        // The first entry is taken whatever its size.
        self.contents.span?;
        if self.contents.messages + messages > self.caps.messages {
            return Some(Full::Messages);
        }
        let plain = self.contents.bytes + size as u64;
        let written = self.compressor.written_at_most(size);
        (plain > self.caps.bytes || written > self.caps.bytes).then_some(Full::Bytes)
    }

    fn count(&mut self, entry: &Entry, messages: u64, undecodable: bool) {
        let Contents { span, .. } = self.contents;
        let published = entry.metadata.publish_time;
        let c = &mut self.contents;
        if span.is_none() {
            (c.first_publish_time, c.earliest_publish_time) = (published, published);
        }
        c.messages += messages;
        c.entries += 1;
        c.bytes += self.scratch.len() as u64;
        c.undecodable += u64::from(undecodable);
        c.earliest_publish_time = c.earliest_publish_time.min(published);
        c.latest_publish_time = c.latest_publish_time.max(published);
        let first = span.map_or(entry.position.into(), |span| span.first);
        c.span = Some(Span { first, last: entry.position.into(), count: c.messages });
    }

    pub fn compression(&self) -> Compression {
        self.compression
    }

    /// The length that the file cannot exceed as things are.
    pub fn written_at_most(&self) -> u64 {
        self.compressor.written_at_most(0)
    }

    /// Whether the caps leave room for one more message.
    pub fn is_full(&self) -> Option<Full> {
        if self.contents.messages >= self.caps.messages {
            return Some(Full::Messages);
        }
        (self.contents.bytes >= self.caps.bytes).then_some(Full::Bytes)
    }

    pub fn finish(self) -> io::Result<(Contents, Body)> {
        Ok((self.contents, self.compressor.finish()?))
    }
}

//! Where an object's bytes wait for the store: memory first, a temporary file past a few MiB.
//!
//! ```text
//!  append ─▶ tail (≤ `memory`) ── when full ──▶ file (unnamed, 0600)
//!             └────────────── finish ───────────────┴──▶ Body: file, then tail
//! ```
//!
//! The newest bytes always stay in memory, for two reasons. An append that finds the disk full leaves
//! everything before it as it was; and to finish takes no disk, so what was appended can always
//! become an object. The file has no name: it is gone when its last [`Body`] is, however the process
//! ends. Not here: which bytes belong to one entry (the caller appends whole entries, or uses
//! [`Spool::mark`]), and retries.

use std::fs::{File, Permissions};
use std::io;
use std::iter;
use std::ops::Range;
use std::os::unix::fs::{FileExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use bytes::Bytes;
use md5::{Digest, Md5};
use sha2::Sha256;

/// The longest slice a [`Body`] hands out.
const SLICE: u64 = 64 << 10;

/// The longest [`Part`]. Stores take parts from 5 MiB, and at most 10,000 of them.
pub const PART: u64 = 16 << 20;

/// A stretch of a [`Body`] that can travel by itself. All but the last are [`PART`] bytes long.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Part {
    pub range: Range<u64>,
    pub md5: [u8; 16],
}

/// Bytes being collected, with the digests of what was accepted so far.
pub struct Spool {
    dir: PathBuf,
    memory: usize,
    file: Option<File>,
    /// How much of the file counts. Anything after it is what a failed write left.
    on_disk: u64,
    tail: Vec<u8>,
    digests: Digests,
}

/// A length to return to: [`Spool::rollback`].
pub struct Mark {
    length: u64,
    digests: Digests,
}

/// Each byte goes through MD5 once: for the part that it is in.
#[derive(Clone, Default)]
struct Digests {
    part: Md5,
    length: u64,
    /// Of the parts that are full.
    full: Vec<[u8; 16]>,
    sha256: Sha256,
}

impl Digests {
    fn update(&mut self, mut bytes: &[u8]) {
        self.sha256.update(bytes);
        while !bytes.is_empty() {
            // A part ends when something follows it, so a body of exactly one part has one.
            if self.length > 0 && self.length.is_multiple_of(PART) {
                self.full.push(self.part.finalize_reset().into());
            }
            let room = PART - self.length % PART;
            let (now, later) = bytes.split_at(bytes.len().min(usize::try_from(room).unwrap_or(usize::MAX)));
            self.part.update(now);
            self.length += now.len() as u64;
            bytes = later;
        }
    }

    fn finish(mut self) -> (Vec<[u8; 16]>, [u8; 32]) {
        self.full.push(self.part.finalize().into());
        (self.full, self.sha256.finalize().into())
    }
}

impl Spool {
    /// An empty spool that holds up to `memory` bytes before it makes a file in `dir`.
    pub fn new(dir: &Path, memory: usize) -> Self {
        Spool {
            dir: dir.to_owned(),
            memory,
            file: None,
            on_disk: 0,
            tail: Vec::with_capacity(memory),
            digests: Digests::default(),
        }
    }

    pub fn length(&self) -> u64 {
        self.on_disk + self.tail.len() as u64
    }

    /// Takes all of `bytes`, or fails and takes none: what was appended before is intact, and can be
    /// finished or appended to. [`is_full`] tells a full disk from other failures.
    pub fn append(&mut self, bytes: &[u8]) -> io::Result<()> {
        if self.tail.len() + bytes.len() <= self.memory {
            self.tail.extend_from_slice(bytes);
        } else {
            self.spill()?;
            if bytes.len() <= self.memory {
                self.tail.extend_from_slice(bytes);
            } else {
                self.write(bytes)?;
            }
        }
        self.digests.update(bytes);
        Ok(())
    }

    /// The present length, to come back to when an entry of several appends does not fit.
    pub fn mark(&self) -> Mark {
        Mark { length: self.length(), digests: self.digests.clone() }
    }

    /// Forgets everything appended after `mark`, which must be this spool's. Cannot fail.
    pub fn rollback(&mut self, mark: Mark) {
        if self.on_disk > mark.length {
            self.on_disk = mark.length;
            self.tail.clear();
            self.free_the_rest();
        } else {
            self.tail.truncate((mark.length - self.on_disk) as usize);
        }
        self.digests = mark.digests;
    }

    /// The finished bytes, `last` at their end. `last` stays in memory: finishing takes no disk.
    pub fn finish(mut self, last: &[u8]) -> Body {
        self.tail.extend_from_slice(last);
        self.digests.update(last);
        let (md5s, sha256) = self.digests.finish();
        Body(Arc::new(Content { file: self.file, on_disk: self.on_disk, tail: self.tail.into(), md5s, sha256 }))
    }

    /// Moves the tail to the file.
    fn spill(&mut self) -> io::Result<()> {
        let tail = std::mem::take(&mut self.tail);
        let outcome = self.write(&tail);
        self.tail = tail;
        outcome.map(|()| self.tail.clear())
    }

    /// Writes at the end of what is on disk; a partial write does not count.
    fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        if bytes.is_empty() {
            return Ok(());
        }
        let at = self.on_disk;
        let outcome = self.open().and_then(|file| file.write_all_at(bytes, at));
        match outcome {
            Ok(()) => {
                self.on_disk += bytes.len() as u64;
                Ok(())
            }
            Err(error) => {
                self.free_the_rest();
                let doing = format!("cannot spool {} bytes into {}: {error}", bytes.len(), self.dir.display());
                Err(io::Error::new(error.kind(), doing))
            }
        }
    }

    fn open(&mut self) -> io::Result<&File> {
        match &mut self.file {
            Some(file) => Ok(file),
            none => {
                let file = tempfile::tempfile_in(&self.dir)?;
                file.set_permissions(Permissions::from_mode(0o600))?;
                Ok(none.insert(file))
            }
        }
    }

    /// Gives back the room of what does not count. Nothing depends on it: later writes go over it.
    fn free_the_rest(&self) {
        if let Some(file) = &self.file {
            let _ = file.set_len(self.on_disk);
        }
    }
}

/// Lower-case hexadecimal, as ETags and metadata carry digests.
pub fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Whether there was no room for the bytes: the object may still end before them.
pub fn is_full(error: &io::Error) -> bool {
    use io::ErrorKind::{FileTooLarge, QuotaExceeded, StorageFull};
    matches!(error.kind(), StorageFull | QuotaExceeded | FileTooLarge)
}

/// The finished bytes of an object, readable any number of times, with their digests.
///
/// A clone is another handle to the same bytes. Reads are positional, so they do not disturb each other.
#[derive(Clone, Debug)]
pub struct Body(Arc<Content>);

#[derive(Debug)]
struct Content {
    file: Option<File>,
    on_disk: u64,
    tail: Bytes,
    /// Of the parts, in their order; there is at least one.
    md5s: Vec<[u8; 16]>,
    sha256: [u8; 32],
}

impl Body {
    pub fn length(&self) -> u64 {
        self.0.on_disk + self.0.tail.len() as u64
    }

    /// A body of this length whose bytes are gone.
    #[cfg(feature = "testing")]
    pub fn lost(length: u64) -> io::Result<Self> {
        let file = Some(File::open("/dev/null")?);
        let md5s = vec![[0; 16]; length.div_ceil(PART).max(1) as usize];
        Ok(Body(Arc::new(Content { file, on_disk: length, tail: Bytes::new(), md5s, sha256: [0; 32] })))
    }

    /// The parts in their order: one up to [`PART`] bytes, which is the whole; an empty body has an empty one.
    pub fn parts(&self) -> impl ExactSizeIterator<Item = Part> + '_ {
        let length = self.length();
        self.0.md5s.iter().enumerate().map(move |(at, md5)| {
            let start = at as u64 * PART;
            Part { range: start..length.min(start + PART), md5: *md5 }
        })
    }

    pub fn sha256(&self) -> [u8; 32] {
        self.0.sha256
    }

    /// The SHA-256 in lower-case hex, as heads and metadata carry it.
    pub fn sha256_hex(&self) -> String {
        hex(&self.sha256())
    }

    /// The bytes from the start, in slices of at most 64 KiB. See [`Body::slices_of`].
    pub fn slices(&self) -> impl Iterator<Item = io::Result<Bytes>> + Send + 'static + use<> {
        self.slices_of(0..self.length())
    }

    /// The bytes of `range`, cut off at the end of the body, in slices of at most 64 KiB: one at a time
    /// is read from the file; those in memory are not copied. Ends after the first error.
    pub fn slices_of(&self, range: Range<u64>) -> impl Iterator<Item = io::Result<Bytes>> + Send + 'static + use<> {
        let content = Arc::clone(&self.0);
        let end = range.end.min(self.length());
        let mut at = range.start;
        iter::from_fn(move || {
            (at < end).then(|| {
                let slice = content.slice(at, end.min(at + SLICE));
                at = slice.as_ref().map_or(end, |slice| at + slice.len() as u64);
                slice
            })
        })
    }
}

impl Content {
    /// From `start` towards `end`, but not over the border between file and memory.
    fn slice(&self, start: u64, end: u64) -> io::Result<Bytes> {
        match &self.file {
            Some(file) if start < self.on_disk => {
                let mut slice = vec![0; (end.min(self.on_disk) - start) as usize];
                file.read_exact_at(&mut slice, start)?;
                Ok(slice.into())
            }
            _ => Ok(self.tail.slice((start - self.on_disk) as usize..(end - self.on_disk) as usize)),
        }
    }
}

impl From<Vec<u8>> for Body {
    fn from(bytes: Vec<u8>) -> Self {
        let mut digests = Digests::default();
        digests.update(&bytes);
        let (md5s, sha256) = digests.finish();
        Body(Arc::new(Content { file: None, on_disk: 0, tail: bytes.into(), md5s, sha256 }))
    }
}

#[cfg(test)]
mod tests;

//! Records into a spool, compressed on the way.
//!
//! ```text
//!  append ─▶ pending (< 1 MiB) ── each full MiB ──▶ one gzip member ─▶ Spool
//! ```
//!
//! Members are cut by the length of the records alone, so the way they were appended does not show in
//! the bytes. Their headers are constant: no time, no name, operating system 255, "unknown".
//! Concatenated members are one gzip file (RFC 1952, 2.2); each can be read without those before it.
//! libdeflate compresses only whole buffers, which is why there are members at all; level 1 costs what
//! zlib's level 1 costs and compresses like its level 3.
//!
//! Owns what waits for its member. Does not own where the compressed bytes are kept ([`Spool`]).

use std::io;

use libdeflater::CompressionLvl;

use super::Compression;
use super::spool::{self, Body, Spool};

/// How much of the records one gzip member holds.
const MEMBER: usize = 1 << 20;

/// The lowest that compresses: libdeflate's "fastest", 0, only stores.
const LEVEL: i32 = 1;

/// Takes records and makes the body of one object.
pub struct Compressor {
    spool: Spool,
    gzip: Option<Gzip>,
}

/// A state to return to: [`Compressor::rollback`].
pub struct Mark {
    spool: spool::Mark,
    pending: Vec<u8>,
}

struct Gzip {
    deflate: libdeflater::Compressor,
    /// Less than a member, between two calls.
    pending: Vec<u8>,
    /// Room for the longest member there can be.
    member: Vec<u8>,
}

impl Compressor {
    pub fn new(compression: Compression, spool: Spool) -> Self {
        let gzip = match compression {
            Compression::Gzip => Some(Gzip::new()),
            Compression::None => None,
        };
        Compressor { spool, gzip }
    }

    /// Takes all of `records`, or fails and takes none: the entries before are intact and can be
    /// finished. So append whole entries, or [`Compressor::mark`] where an entry begins; and where
    /// [`is_full`](super::spool::is_full) says that the disk is full, end the object there.
    pub fn append(&mut self, records: &[u8]) -> io::Result<()> {
        match &mut self.gzip {
            Some(gzip) => gzip.append(records, &mut self.spool),
            None => self.spool.append(records),
        }
    }

    /// The present state, to come back to when an entry of several appends does not fit.
    pub fn mark(&self) -> Mark {
        let pending = self.gzip.as_ref().map(|gzip| gzip.pending.clone());
        Mark { spool: self.spool.mark(), pending: pending.unwrap_or_default() }
    }

    /// Forgets everything appended after `mark`, which must be this compressor's. Cannot fail.
    pub fn rollback(&mut self, mark: Mark) {
        self.spool.rollback(mark.spool);
        if let Some(gzip) = &mut self.gzip {
            gzip.pending.clear();
            gzip.pending.extend_from_slice(&mark.pending);
        }
    }

    /// The length the finished body cannot exceed if `more` bytes of records are appended first; 0 for
    /// the present state. At most 1 MiB, a thousandth and `more` above what it will be.
    pub fn written_at_most(&self, more: usize) -> u64 {
        self.spool.length() + self.gzip.as_ref().map_or(more, |gzip| gzip.bound(more)) as u64
    }

    /// The object's body. Takes no disk. An object without records is never made: `InvalidInput`.
    pub fn finish(mut self) -> io::Result<Body> {
        let last = match &mut self.gzip {
            Some(gzip) if !gzip.pending.is_empty() => compress(&mut gzip.deflate, &gzip.pending, &mut gzip.member),
            _ => &[],
        };
        if last.is_empty() && self.spool.length() == 0 {
            return Err(io::Error::new(io::ErrorKind::InvalidInput, "an object without records is never made"));
        }
        Ok(self.spool.finish(last))
    }
}

impl Gzip {
    fn new() -> Self {
        let mut deflate =
            libdeflater::Compressor::new(CompressionLvl::new(LEVEL).expect("libdeflate has levels 0 to 12"));
        let member = vec![0; deflate.gzip_compress_bound(MEMBER)];
        Gzip { deflate, pending: Vec::with_capacity(MEMBER), member }
    }

    fn append(&mut self, records: &[u8], spool: &mut Spool) -> io::Result<()> {
        if self.pending.len() + records.len() < MEMBER {
            self.pending.extend_from_slice(records);
            return Ok(());
        }
        let (waiting, mark) = (self.pending.len(), spool.mark());
        let outcome = self.members(records, spool);
        if outcome.is_err() {
            self.pending.truncate(waiting);
            spool.rollback(mark);
        }
        outcome
    }

    /// Writes out every full member. What was pending stays at the front of `pending` until all of
    /// them are written, so that a failure can be undone.
    fn members(&mut self, records: &[u8], spool: &mut Spool) -> io::Result<()> {
        let (first, rest) = records.split_at(MEMBER - self.pending.len());
        self.pending.extend_from_slice(first);
        spool.append(compress(&mut self.deflate, &self.pending, &mut self.member))?;
        let mut members = rest.chunks_exact(MEMBER);
        for member in &mut members {
            spool.append(compress(&mut self.deflate, member, &mut self.member))?;
        }
        self.pending.clear();
        self.pending.extend_from_slice(members.remainder());
        Ok(())
    }

    fn bound(&self, more: usize) -> usize {
        let length = self.pending.len() + more;
        length + length.div_ceil(MEMBER) * (self.member.len() - MEMBER)
    }
}

fn compress<'m>(deflate: &mut libdeflater::Compressor, records: &[u8], member: &'m mut [u8]) -> &'m [u8] {
    let length = deflate.gzip_compress(records, member).expect("the buffer has the longest member's length");
    &member[..length]
}

#[cfg(test)]
mod tests;

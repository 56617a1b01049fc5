//! Entries to the bytes of an object.
//!
//! ```text
//!  Message ─ jsonl::write ─▶ record ─ Compressor::append ─▶ member ─▶ Spool ─ finish ─▶ Body
//!                            (a line)                     (≤ 1 MiB)  (memory, then disk)
//! ```
//!
//! The guarantee: the same messages give the same bytes, on every machine and in every run that has
//! the same [`LAYOUT`]. A dead run's late write and its successor's write are then one and the same
//! object. Nothing here reads a clock, a random number or the order of a hash map.
//!
//! It does not decide where an object ends (`batch`), nor what it is called (`object`).

pub mod compress;
pub mod jsonl;
pub mod spool;

/// The version of "same messages, same bytes". The head records it next to an announced object: a
/// span announced under another layout is not rebuilt.
///
/// To be raised with every change that gives other bytes for the same messages: a member of the
/// record, the rule that chooses between `value`, `text` and `base64`, the member size, the
/// compression level, and the versions of libdeflate (its output is fixed per version, not across
/// versions) and of serde_json (its choice of escapes).
pub const LAYOUT: u32 = 2;

/// How the bytes of an object are compressed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Compression {
    /// RFC 1952, in members of 1 MiB of input.
    Gzip,
    None,
}

impl Compression {
    /// What a head calls it.
    pub fn name(self) -> &'static str {
        match self {
            Compression::Gzip => "gzip",
            Compression::None => "none",
        }
    }

    /// What follows the format in an object's name: `.gz`, or nothing.
    pub fn suffix(self) -> &'static str {
        match self {
            Compression::Gzip => ".gz",
            Compression::None => "",
        }
    }
}

//! What a run may hold in memory: 64 MiB for the whole process, whatever the topic holds.
//!
//! Each partition that is being read holds
//!
//! | | bytes |
//! |---|---|
//! | read-ahead: entries that wait or are on their way | its share of [`READ_AHEAD`] |
//! | one entry beyond it, and the buffer that the next one arrives in | at most twice the broker's largest message, 5 MiB by default |
//! | records of the object that are compressed and not yet on disk | [`SPOOL`] |
//! | records that wait for their gzip member, and the member | 2 MiB |
//!
//! The records of the one entry being encoded come once for the whole process: encoding waits for nothing.

/// Partitions that are read at a time. Three 5 MiB messages with all that belongs to them fit, four do not.
pub const READERS: usize = 3;

/// Of all consumers together.
const READ_AHEAD: usize = 8 << 20;

/// Past this an object goes on in a temporary file.
pub const SPOOL: usize = 1 << 20;

/// The read-ahead of each of so many consumers.
pub fn read_ahead(readers: usize) -> usize {
    READ_AHEAD / readers.max(1)
}

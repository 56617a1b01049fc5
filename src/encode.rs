//! Entries to the bytes of an object.

pub mod spool;

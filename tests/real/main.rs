//! The program itself, run as a process, between components that are not ours: see README.md.
//!
//! What is expected comes from the other clients, from documents or from arithmetic; what is in the
//! bucket is read by `python/objects.py`, never by our own reader.

mod access;
mod broker;
mod caps;
mod cells;
mod harness;
mod kills;
mod lambda;
mod messages;
mod process;
mod proxies;
mod records;
mod stores;
mod wire;

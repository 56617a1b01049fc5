//! The program itself, run as a process, between components that are not ours: see README.md.
//!
//! What is expected comes from the other clients, from documents or from arithmetic; what is in the
//! bucket is read by `python/objects.py`, never by our own reader.

mod access;
mod addresses;
mod broker;
mod caps;
mod cells;
mod door;
mod dry;
#[path = "../../handler/tests/function/events.rs"]
mod events;
mod harness;
#[path = "../matrix/history.rs"]
mod history;
mod interruptions;
mod invoke;
mod java;
mod kills;
mod lambda;
mod matrix;
mod memory;
mod messages;
mod missing;
mod package;
mod partitions;
#[expect(dead_code, reason = "its faults are played in process")]
#[path = "../../handler/tests/function/platform.rs"]
mod platform;
mod process;
mod proxies;
mod raw;
mod records;
mod replay;
mod scf;
mod second;
mod send;
mod start;
mod stores;
mod table;
mod tls;
mod topics;
mod torture;
mod transactions;
mod unsubscribe;
mod watch;
mod wire;

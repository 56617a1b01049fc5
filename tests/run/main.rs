//! One run against an embedded broker and an embedded bucket: what the product promises, by name.

mod addresses;
mod again;
mod attacks;
mod bad_heads;
mod bad_input;
mod brokers;
mod caps;
mod certificates;
mod chunks;
mod chunks_again;
mod consumer;
mod deaths;
mod dry_run;
mod event_files;
#[path = "../../handler/tests/function/events.rs"]
mod events;
mod foreign;
mod heads;
mod histories;
#[path = "../matrix/history.rs"]
mod history;
mod hostile;
mod interruptions;
mod looks;
mod matrix;
mod meetings;
mod missing;
mod moved;
mod names;
mod partitions;
mod parts;
mod promises;
mod recovery;
mod removed;
mod schemas;
mod secrets;
mod seek_event;
mod send;
mod spool;
mod spread;
mod start;
mod tls;
mod unsubscribe;
mod world;

//! One run against an embedded broker and an embedded bucket: what the product promises, by name.

mod addresses;
mod again;
mod attacks;
mod bad_input;
mod brokers;
mod caps;
mod certificates;
mod chunks;
mod consumer;
mod deaths;
mod dry_run;
mod heads;
mod histories;
mod interruptions;
mod meetings;
mod missing;
mod partitions;
mod parts;
mod promises;
mod recovery;
mod schemas;
mod seek_event;
mod spread;
mod start;
mod tls;
mod world;

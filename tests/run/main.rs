//! One run against an embedded broker and an embedded bucket: what the product promises, by name.

mod again;
mod attacks;
mod bad_input;
mod brokers;
mod caps;
mod consumer;
mod deaths;
mod heads;
mod histories;
mod promises;
mod recovery;
mod world;

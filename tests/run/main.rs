//! One run against an embedded broker and an embedded bucket: what the product promises, by name.

mod again;
mod attacks;
mod bad_input;
mod caps;
mod consumer;
mod deaths;
mod heads;
mod histories;
mod parts;
mod promises;
mod recovery;
mod spread;
mod world;

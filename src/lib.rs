//! Copies the messages of a Pulsar topic into objects of an S3 store, exactly once.
//!
//! ```text
//!  Rule ── checked once, at start ───────┐
//!                                        ▼
//!  Source ─ Entry ─▶ Batch ─▶ encode ─▶ Object ─▶ announce ─▶ store ─▶ Stored ─▶ acknowledge ─▶ receipt
//!    ▲                                              (head)      │
//!    └────────────────── redelivered by the broker ◀────────────┘ no Stored
//! ```
//!
//! The guarantee: an entry is acknowledged only after the store has confirmed the object that holds
//! it, and no entry that the broker still delivers is lost or stored twice, whatever instant a run
//! dies at. [`run`] puts a rule, an event and the wire together; [`drain`] is
//! the run itself; [`head`] says why it keeps the promise.

#![forbid(unsafe_code)]

pub mod batch;
mod budget;
pub mod catalogue;
pub mod chunks;
pub mod clock;
pub mod drain;
mod dry;
pub mod encode;
pub mod error;
pub mod event;
pub mod head;
pub mod message;
pub mod object;
pub mod pulsar;
pub mod report;
pub mod rule;
pub mod run;
pub mod schemas;
pub mod secret;
pub mod source;
pub mod span;
pub mod store;
#[cfg(feature = "testing")]
pub mod testing;
pub mod ticks;
mod tls;
mod vault;

pub use clock::Clock;
pub use error::{Error, Kind, Result};
pub use message::{Entry, Position};
pub use rule::Rule;
pub use secret::Secret;

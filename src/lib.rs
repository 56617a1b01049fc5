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
//! dies at. [`drain`] is the run; [`head`] says why it keeps the promise.

pub mod clock;
pub mod encode;
pub mod error;
pub mod message;
pub mod secret;

pub use clock::Clock;
pub use error::{Error, Kind, Result};
pub use message::{Entry, Position};
pub use secret::Secret;

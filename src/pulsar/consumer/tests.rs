//! How much the consumer holds.

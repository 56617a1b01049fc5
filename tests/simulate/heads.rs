//! What the heads say that runs write.

use tdmq_backup::Position;
use tdmq_backup::head::{Head, StartState};
use tdmq_backup::span::Span;

/// Where a start that is pending is to begin, if its place was found beforehand.
pub fn begins(head: &[u8]) -> Option<Position> {
    let Head { start, .. } = serde_json::from_slice(head).expect("a run writes heads that it can read");
    (start.state == StartState::Pending && !matches!(&*start.asked, "continue" | "earliest"))
        .then_some(start.resolved)?
}

/// The object that a head announces, and until when.
pub fn announced(head: &[u8]) -> Option<(Span, u64)> {
    let head: Head = serde_json::from_slice(head).expect("a run writes heads that it can read");
    head.next.map(|next| (next.span, next.until))
}

//! What was done and seen on one partition, and by which run: what replies are held against.

use tdmq_backup::span::Span;
use tdmq_backup::{Kind, Position};

/// Not a run: the broker by itself, or an administrator.
pub const NOBODY: u64 = 0;

/// The errors of the model. A reply may end in one only where its run was told so.
pub const LOST: &str = "the connection was lost";
pub const HELD: &str = "somebody else holds the subscription";
pub const WENT_BACK: &str = "the cursor went back";
pub const UNAVAILABLE: &str = "the store is not available";
pub const UNANSWERED: &str = "the store did not answer";
pub const UPLOAD_ENDED: &str = "somebody else ended the upload";
pub const TOLD: [&str; 6] = [LOST, HELD, WENT_BACK, UNAVAILABLE, UNANSWERED, UPLOAD_ENDED];

#[derive(Debug)]
pub struct Deed {
    pub by: u64,
    pub what: What,
}

#[derive(Debug)]
pub enum What {
    /// It was told this error.
    Told(Kind, String),
    /// It got hold of the subscription.
    Attached,
    /// An entry came to it that objects held then.
    CameStored(Position),
    /// Its head arrived, with the object that it announces and when its writer gives up (ms).
    Head(Option<(Span, u64)>),
    /// Its object of this key arrived.
    Object(String),
    /// The cursor went forward.
    Passed { from: Position, to: Position },
}

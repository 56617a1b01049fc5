//! A new consumer in place of one that is gone: the topic was unloaded, the broker restarted, the connection
//! was lost, or too much came at once.
//!
//! ```text
//!  lost, or closed by the broker ─▶ look up ─▶ connect ─▶ SUBSCRIBE with a new consumer id ─▶ Next::Reattached
//!                                      ▲                     │ fenced, not ready, busy
//!                                      └──── a pause ◀───────┘
//! ```
//!
//! The broker delivers again from behind the mark-delete position; what was accepted before is dropped, so
//! that no entry is lost or repeated. Does not own the question whether somebody else held the subscription
//! meanwhile: that is the run's.

use std::time::Duration;

use pulsar::proto::BaseCommand;
use tokio::time::{sleep, timeout_at};

use super::Consumer;
use crate::error::{Kind, Result};

const FIRST_PAUSE: Duration = Duration::from_millis(50);
const LONGEST_PAUSE: Duration = Duration::from_secs(5);
/// A little more than the minute in which a broker notices that a connection is dead: so long the
/// subscription may be held by our own old consumer.
const MOST_TRIES: u32 = 20;
/// How often one question is asked of a broker that loses us over it.
const MOST_QUESTIONS: u32 = 3;

impl Consumer<'_> {
    /// Asks what may be asked any number of times, if need be on a new attachment. `question` makes it of a
    /// consumer id and a request id.
    pub(super) async fn question(
        &mut self,
        doing: &str,
        question: impl Fn(u64, u64) -> BaseCommand,
    ) -> Result<BaseCommand> {
        let mut left = MOST_QUESTIONS;
        loop {
            self.unbroken()?;
            if !self.attached {
                self.reattach().await?;
            }
            let request_id = self.connection.request_id();
            left -= 1;
            match self.ask(doing, request_id, question(self.id, request_id)).await {
                // Where the broker does not know our consumer, it says so as an error of its own.
                Err(error) if error.kind() == Kind::Unavailable && left > 0 => self.attached = false,
                answer => return answer,
            }
        }
    }

    /// Takes our consumer off and attaches a new one.
    pub(super) async fn renew(&mut self) -> Result<()> {
        if self.attached {
            let old = self.id;
            self.forget_attachment();
            let renewed = match self.close_consumer(old).await {
                Ok(()) => self.subscribe().await,
                Err(error) => Err(error),
            };
            match renewed {
                Ok(()) => {
                    self.attached = true;
                    return Ok(());
                }
                Err(error) if error.kind() == Kind::Unavailable => {}
                Err(error) => return Err(error),
            }
        }
        self.reattach().await
    }

    /// Looks the topic up and attaches, again and again for about a minute, and not beyond the deadline.
    ///
    /// Errors: `Busy` where somebody else holds the subscription all that time.
    pub(super) async fn reattach(&mut self) -> Result<()> {
        let deadline = self.connection.deadline();
        let mut pause = FIRST_PAUSE;
        for _ in 1..MOST_TRIES {
            match self.try_reattaching().await {
                Err(error) if may_pass(error.kind()) => {
                    if timeout_at(deadline, sleep(pause)).await.is_err() {
                        return Err(error);
                    }
                }
                tried => return tried,
            }
            pause = (pause * 2).min(LONGEST_PAUSE);
        }
        self.try_reattaching().await
    }

    async fn try_reattaching(&mut self) -> Result<()> {
        self.forget_attachment();
        // The old connection is closed by this, and with it the old consumer, if the broker still has it.
        self.connection = self.cluster.connect(&self.topic).await?;
        self.subscribe().await?;
        self.attached = true;
        Ok(())
    }

    /// What is still on its way for the old consumer is not for the new one: from here on it is dropped.
    pub(super) fn forget_attachment(&mut self) {
        self.attached = false;
        self.id += 1;
        self.dropped = false;
        self.first_from = self.floor;
        self.permits.restart();
    }
}

/// Whether what stands in the way may be gone in a moment.
fn may_pass(kind: Kind) -> bool {
    match kind {
        // Busy: the broker may not have noticed yet that our old connection is gone.
        Kind::Unavailable | Kind::Busy => true,
        Kind::Invalid
        | Kind::Denied
        | Kind::NotFound
        | Kind::Unknown
        | Kind::Conflict
        | Kind::Corrupt
        | Kind::Internal => false,
    }
}

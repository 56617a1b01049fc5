//! Moving the cursor. The broker fences the subscription, takes its consumers off it, moves the cursor,
//! answers, and lifts the fence: what comes in which order differs between versions.
//!
//! ```text
//!  SEEK ──▶ broker ──▶ CLOSE_CONSUMER, SUCCESS (either order) ──▶ SUBSCRIBE with a new consumer id,
//!                                                                 again while the fence stands
//! ```
//!
//! Source: `ServerCnx.handleSeek`, `PersistentSubscription.resetCursor`, `ManagedCursorImpl.asyncResetCursor`,
//! which forgets what was acknowledged one by one, and parts of batches, also where the position stays.

use std::time::Duration;

use pulsar::proto::{BaseCommand, CommandSeek, ServerError, base_command::Type};
use tokio::time::{sleep, timeout};

use super::super::connection::{ANSWER_LIMIT, answered, command, connection_silent, within};
use super::super::failure::refused;
use super::{Consumer, wire_id};
use crate::error::{Error, Kind, Result};
use crate::message::Position;
use crate::source::Seek;

/// How long after its success a seek may leave our consumer attached, before we take it off ourselves.
const CLOSE_LIMIT: Duration = Duration::from_secs(5);
/// How long the subscription may stay fenced, or held by the consumer that the seek takes off.
const FENCED_LIMIT: Duration = Duration::from_secs(15);
const FIRST_PAUSE: Duration = Duration::from_millis(20);
const LONGEST_PAUSE: Duration = Duration::from_secs(1);

impl Consumer<'_> {
    pub(super) async fn move_cursor(&mut self, to: Seek) -> Result<()> {
        self.unbroken()?;
        let request_id = self.connection.request_id();
        let (message_id, message_publish_time) = match to {
            Seek::Earliest => (Some(wire_id(Position::new(-1, -1))), None),
            Seek::Time(ms) => (None, Some(ms)),
            Seek::To(at) => (Some(wire_id(at)), None),
        };
        let seek = CommandSeek { consumer_id: self.id, request_id, message_id, message_publish_time };
        self.connection.send(&BaseCommand { seek: Some(seek), ..command(Type::Seek) }, &[]);
        let (address, deadline) = (self.connection.address().clone(), self.connection.deadline());
        let silent = || connection_silent(&address);
        self.attached = false;
        let closed = within(ANSWER_LIMIT, deadline, self.sought(request_id), silent).await??;
        if !closed {
            within(ANSWER_LIMIT, deadline, self.taken_off(), silent).await??;
        }
        self.queue.clear();
        self.queued_bytes = 0;
        (self.accepted, self.floor) = (None, None);
        self.forget_attachment();
        self.subscribe_again().await?;
        self.attached = true;
        Ok(())
    }

    /// Waits for the answer; true if our consumer was closed before it.
    async fn sought(&mut self, request_id: u64) -> Result<bool> {
        let mut closed = false;
        loop {
            let received = self.connection.receive().await?.command;
            closed |= self.is_our_close(&received);
            if answered(&received) == Some(request_id) {
                return match received.error {
                    Some(error) => Err(refused("moving the subscription", error.error, &error.message)),
                    None => Ok(closed),
                };
            }
        }
    }

    /// Waits until the broker closes our consumer; closes it where that does not come.
    async fn taken_off(&mut self) -> Result<()> {
        let told = async {
            loop {
                let received = self.connection.receive().await?.command;
                if self.is_our_close(&received) {
                    return Ok(());
                }
            }
        };
        match timeout(CLOSE_LIMIT, told).await {
            Ok(told) => told,
            Err(_) => self.close_consumer(self.id).await,
        }
    }

    fn is_our_close(&self, received: &BaseCommand) -> bool {
        received.r#type() == Type::CloseConsumer
            && received.close_consumer.as_ref().is_some_and(|close| close.consumer_id == self.id)
    }

    /// Subscribes with a new consumer id, and waits while the subscription is fenced or not free yet.
    pub(super) async fn subscribe_again(&mut self) -> Result<()> {
        let deadline = self.connection.deadline();
        let fenced = || {
            let text = format!(
                "the subscription did not become free within {} s; the next run tries again",
                FENCED_LIMIT.as_secs()
            );
            Error::new(Kind::Unavailable, text)
        };
        within(FENCED_LIMIT, deadline, self.subscribe_until_free(), fenced).await?
    }

    async fn subscribe_until_free(&mut self) -> Result<()> {
        let mut pause = FIRST_PAUSE;
        loop {
            self.id += 1;
            let (doing, request_id, ask) = self.subscription_request();
            let Some(error) = self.ask_any(request_id, ask).await?.error else { return Ok(()) };
            if !matches!(
                ServerError::try_from(error.error),
                Ok(ServerError::ServiceNotReady | ServerError::ConsumerBusy)
            ) {
                return Err(refused(&doing, error.error, &error.message));
            }
            sleep(pause).await;
            pause = (pause * 2).min(LONGEST_PAUSE);
        }
    }
}

//! The consumer as a run sees it: bounds, entries, acknowledgements.

use std::future::Future;

use pulsar::proto::{
    BaseCommand, CommandAck, CommandConsumerStats, CommandGetLastMessageId, MessageIdData, base_command::Type,
    command_ack::AckType,
};
use tokio::time::{Instant, timeout, timeout_at};

use super::super::connection::command;
use super::super::failure::refused;
use super::{Consumer, GOODBYE_LIMIT, Initial, RECEIPTS_SINCE, position};
use crate::error::{Kind, Result};
use crate::message::{Entry, Position};
use crate::object::Stored;
use crate::schemas::Schema;
use crate::source::{Bounds, Next, Receipt, Seek, Source};

impl Source for Consumer<'_> {
    async fn bounds(&mut self) -> Result<Bounds> {
        let ask = |consumer_id, request_id| {
            let ask = CommandGetLastMessageId { consumer_id, request_id };
            BaseCommand { get_last_message_id: Some(ask), ..command(Type::GetLastMessageId) }
        };
        let answer = self.question("asking for the last message id", ask).await?;
        let answer = answer.get_last_message_id_response.unwrap_or_default();
        // The subscription exists. If it is removed under us, it must not begin anew behind what is unread.
        if self.subscription.durable {
            self.subscription.initial = Initial::Earliest;
        }
        self.says_cursor = answer.consumer_mark_delete_position.is_some();
        Ok(Bounds {
            last: position(&answer.last_message_id),
            mark_delete: answer.consumer_mark_delete_position.as_ref().map(position),
        })
    }

    async fn seek(&mut self, to: Seek) -> Result<()> {
        self.move_cursor(to).await
    }

    async fn next(&mut self, until: Instant) -> Result<Next> {
        self.unbroken()?;
        loop {
            if let Some(entry) = self.pop() {
                return Ok(Next::Entry(entry));
            }
            if !self.attached || self.dropped {
                self.renew().await?;
                return Ok(Next::Reattached);
            }
            self.grant();
            match timeout_at(until, self.receive()).await {
                Err(_) => return Ok(Next::Silence),
                Ok(Err(error)) if error.kind() == Kind::Unavailable => {}
                Ok(received) => drop(received?),
            }
        }
    }

    fn attachment(&self) -> Option<u64> {
        self.attached.then_some(self.id)
    }

    fn unread(&mut self, entry: Entry) {
        self.queued_bytes += entry.size;
        self.queue.push_front(entry);
    }

    async fn rewind(&mut self) -> Result<()> {
        self.queue.clear();
        self.queued_bytes = 0;
        self.accepted = None;
        self.floor = None;
        self.renew().await
    }

    async fn backlog(&mut self) -> Result<Option<u64>> {
        let ask = |consumer_id, request_id| {
            let ask = CommandConsumerStats { request_id, consumer_id };
            BaseCommand { consumer_stats: Some(ask), ..command(Type::ConsumerStats) }
        };
        let doing = "asking for the backlog";
        let answer = self.question(doing, ask).await?.consumer_stats_response.unwrap_or_default();
        match answer.error_code {
            Some(code) => Err(refused(doing, code, answer.error_message.as_deref().unwrap_or_default())),
            None => Ok(answer.msg_backlog),
        }
    }

    async fn acknowledge(&mut self, stored: Stored) -> Result<Receipt> {
        let through = stored.through();
        if !self.attached || (self.first_from.is_some() && !self.says_cursor) {
            // Where the cursor stands is not known any more: what lies behind it may not be ours to acknowledge.
            return Ok(Receipt::Unconfirmed);
        }
        let sent_by = self.id;
        let received = self.send_acknowledgement(through).await?;
        // The broker handles a connection's commands in order: this answer comes after the acknowledgement,
        // and its mark-delete position shows what became of it, also where we had to attach anew.
        let now = self.bounds().await;
        let answered = received || self.id == sent_by;
        if !now.is_ok_and(|now| now.confirms(through, answered)) {
            return Ok(Receipt::Unconfirmed);
        }
        self.floor = self.floor.max(Some(Position::new(through.ledger, through.entry.saturating_add(1))));
        Ok(Receipt::Confirmed)
    }

    async fn schema(&mut self, version: &[u8]) -> Result<Option<Schema>> {
        self.ask_schema(version).await
    }

    async fn attend<F: Future>(&mut self, work: F) -> F::Output {
        tokio::pin!(work);
        loop {
            tokio::select! {
                biased;
                done = &mut work => return done,
                received = self.receive(), if self.attached && self.broken.is_none() => {
                    // A lost connection is no error yet: whoever needs it next attaches anew.
                    self.broken = received.err().filter(|error| error.kind() != Kind::Unavailable);
                }
            }
        }
    }

    async fn close(mut self) {
        if self.read_anything && self.attached && self.broken.is_none() {
            // Whether or not the broker answers, the connection is closed next.
            let deadline = self.connection.deadline();
            let _ = timeout_at(deadline, timeout(GOODBYE_LIMIT, self.close_consumer(self.id))).await;
        }
        self.connection.close(GOODBYE_LIMIT).await;
    }
}

impl Consumer<'_> {
    /// Whether the broker sent its receipt. Not, where it sends none or the connection is lost over it.
    async fn send_acknowledgement(&mut self, through: Position) -> Result<bool> {
        let receipts = self.connection.server_protocol() >= RECEIPTS_SINCE;
        let request_id = self.connection.request_id();
        let id =
            MessageIdData { ledger_id: through.ledger as u64, entry_id: through.entry as u64, ..Default::default() };
        let ack = CommandAck {
            consumer_id: self.id,
            ack_type: AckType::Cumulative as i32,
            message_id: vec![id],
            request_id: receipts.then_some(request_id),
            ..CommandAck::default()
        };
        let ack = BaseCommand { ack: Some(ack), ..command(Type::Ack) };
        if !receipts {
            self.connection.send(&ack, &[]);
            return Ok(false);
        }
        let doing = "acknowledging";
        let answer = match self.ask(doing, request_id, ack).await {
            Ok(answer) => answer.ack_response.unwrap_or_default(),
            Err(error) if error.kind() == Kind::Unavailable => return Ok(false),
            Err(error) => return Err(error),
        };
        match answer.error.map(|code| refused(doing, code, answer.message.as_deref().unwrap_or_default())) {
            Some(error) if error.kind() == Kind::Unavailable => Ok(false),
            Some(error) => Err(error),
            None => Ok(true),
        }
    }
}

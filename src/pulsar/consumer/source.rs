//! The consumer as a run sees it: bounds, entries, acknowledgements.

use std::future::Future;

use pulsar::proto::{
    BaseCommand, CommandAck, CommandConsumerStats, CommandGetLastMessageId, MessageIdData, base_command::Type,
    command_ack::AckType,
};
use tokio::time::{Instant, timeout, timeout_at};

use super::super::connection::command;
use super::super::failure::refused;
use super::{Consumer, GOODBYE_LIMIT, RECEIPTS_SINCE, position};
use crate::error::{Kind, Result};
use crate::message::Entry;
use crate::object::Stored;
use crate::source::{Bounds, Next, Receipt, Seek, Source};

impl Source for Consumer {
    async fn bounds(&mut self) -> Result<Bounds> {
        let request_id = self.connection.request_id();
        let ask = CommandGetLastMessageId { consumer_id: self.id, request_id };
        let ask = BaseCommand { get_last_message_id: Some(ask), ..command(Type::GetLastMessageId) };
        let answer = self.ask("asking for the last message id", request_id, ask).await?;
        let answer = answer.get_last_message_id_response.unwrap_or_default();
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
            if self.dropped {
                self.reattach().await?;
                return Ok(Next::Reattached);
            }
            self.grant();
            match timeout_at(until, self.receive()).await {
                Err(_) => return Ok(Next::Silence),
                Ok(received) => drop(received?),
            }
        }
    }

    fn unread(&mut self, entry: Entry) {
        self.queued_bytes += entry.size;
        self.queue.push_front(entry);
    }

    async fn rewind(&mut self) -> Result<()> {
        self.queue.clear();
        self.queued_bytes = 0;
        self.accepted = None;
        self.reattach().await
    }

    async fn backlog(&mut self) -> Result<Option<u64>> {
        let request_id = self.connection.request_id();
        let ask = CommandConsumerStats { request_id, consumer_id: self.id };
        let ask = BaseCommand { consumer_stats: Some(ask), ..command(Type::ConsumerStats) };
        let doing = "asking for the backlog";
        let answer = self.ask(doing, request_id, ask).await?.consumer_stats_response.unwrap_or_default();
        match answer.error_code {
            Some(code) => Err(refused(doing, code, answer.error_message.as_deref().unwrap_or_default())),
            None => Ok(answer.msg_backlog),
        }
    }

    async fn acknowledge(&mut self, stored: Stored) -> Result<Receipt> {
        let through = stored.through();
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
        if receipts {
            match self.ask("acknowledging", request_id, ack).await {
                Ok(answer) => {
                    let answer = answer.ack_response.unwrap_or_default();
                    if let Some(code) = answer.error {
                        return Err(refused("acknowledging", code, answer.message.as_deref().unwrap_or_default()));
                    }
                }
                Err(error) if error.kind() == Kind::Unavailable => return Ok(Receipt::Unconfirmed),
                Err(error) => return Err(error),
            }
        } else {
            self.connection.send(&ack, &[]);
        }
        // The broker handles a connection's commands in order: this answer comes after the acknowledgement,
        // and its mark-delete position shows what became of it.
        match self.bounds().await {
            Ok(Bounds { mark_delete: Some(at), .. }) if at < through => Ok(Receipt::Unconfirmed),
            Ok(_) => Ok(Receipt::Confirmed),
            Err(_) => Ok(Receipt::Unconfirmed),
        }
    }

    async fn attend<F: Future>(&mut self, work: F) -> F::Output {
        tokio::pin!(work);
        loop {
            tokio::select! {
                biased;
                done = &mut work => return done,
                received = self.receive(), if self.broken.is_none() => self.broken = received.err(),
            }
        }
    }

    async fn close(mut self) {
        if self.read_anything && self.broken.is_none() {
            // Whether or not the broker answers, the connection is closed next.
            let deadline = self.connection.deadline();
            let _ = timeout_at(deadline, timeout(GOODBYE_LIMIT, self.close_consumer(self.id))).await;
        }
        self.connection.close(GOODBYE_LIMIT).await;
    }
}

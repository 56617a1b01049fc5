//! A topic, from the outside: what a producer, an administrator or time itself does to it.

use std::sync::Arc;

use bytes::Bytes;

use super::Shared;
use super::cursor::Cursor;
use super::frame::Stored;
use super::state::{State, TopicState};
use crate::testing::compose::Composed;
use crate::{Entry, Position};

/// One topic of a [`Broker`](super::Broker), or one partition of one. Every call takes effect at once.
#[derive(Clone)]
pub struct Topic {
    pub(super) shared: Arc<Shared>,
    pub(super) name: String,
}

/// A subscription as it stands now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Subscription {
    pub mark_delete: Position,
    /// Entries not acknowledged, delivered or not.
    pub backlog: usize,
    /// A consumer is attached.
    pub attached: bool,
}

impl Topic {
    /// The full name, `persistent://tenant/namespace/topic`.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Stores the entry and delivers it to whoever has permits.
    pub fn append(&self, composed: Composed) -> Position {
        self.with(|state, name| {
            let position = topic(state, name).log.append(Stored::new(composed));
            state.dispatch(name);
            position
        })
    }

    /// Stores an entry that another broker delivered, byte for byte and at its position there. `wire` is
    /// what follows the command in the MESSAGE frame, broker entry metadata included. Panics if it does
    /// not parse, or if the position is not behind all others: what is left out between two was never
    /// delivered.
    pub fn append_raw(&self, position: Position, wire: Bytes) {
        self.with(|state, name| {
            topic(state, name).log.append_at(position, Stored::raw(wire));
            state.dispatch(name);
        })
    }

    pub fn append_all(&self, composed: impl IntoIterator<Item = Composed>) -> Vec<Position> {
        composed.into_iter().map(|composed| self.append(composed)).collect()
    }

    /// Closes the current ledger. The next entry is entry 0 of the next one; other topics may have taken
    /// the ids between.
    pub fn roll_ledger(&self) {
        self.with(|state, name| {
            let next = state.take_ledger();
            topic(state, name).log.roll(next);
        });
    }

    /// Removes closed ledgers that end at or before `upto`. A mark-delete position in one of them moves
    /// to before the first entry of the first ledger that is left.
    pub fn trim(&self, upto: Position) {
        self.with(|state, name| {
            let topic = topic(state, name);
            topic.log.trim(upto);
            let floor = Position::new(topic.log.first_ledger(), -1);
            for cursor in topic.cursors.values_mut().filter(|cursor| cursor.mark_delete < floor) {
                cursor.mark_delete = floor;
            }
        });
    }

    /// The time to live of the `n` oldest entries is over: every subscription moves over them.
    pub fn expire(&self, n: usize) {
        self.with(|state, name| {
            let topic = topic(state, name);
            let Some(upto) = topic.log.all().take(n).map(|(position, _)| position).last() else { return };
            for cursor in topic.cursors.values_mut() {
                cursor.acknowledge_upto(upto, &topic.log);
            }
        });
    }

    /// What the topic holds, as a consumer should come to know it.
    pub fn entries(&self) -> Vec<Entry> {
        self.look(|state, name| {
            let topic = topic(state, name);
            let entry = |(position, stored): (_, &Stored)| stored.composed.clone().entry(position, topic.partition);
            topic.log.all().map(entry).collect()
        })
    }

    /// None if there is no such subscription.
    pub fn subscription(&self, subscription: &str) -> Option<Subscription> {
        self.look(|state, name| {
            let topic = topic(state, name);
            let cursor = topic.cursors.get(subscription)?;
            Some(Subscription {
                mark_delete: cursor.mark_delete,
                backlog: cursor.backlog(&topic.log),
                attached: cursor.consumer.is_some(),
            })
        })
    }

    /// Makes the subscription, if it is missing, with everything in the topic still to be delivered.
    pub fn subscribe_at_earliest(&self, subscription: &str) {
        self.with(|state, name| {
            let topic = topic(state, name);
            let start = Position::new(topic.log.first_ledger(), -1);
            topic.cursors.entry(subscription.to_owned()).or_insert_with(|| Cursor::at(start));
        });
    }

    /// The subscription is gone, as after its expiry; a consumer on it is closed.
    pub fn delete_subscription(&self, subscription: &str) {
        self.with(|state, name| {
            state.close_consumer(name, subscription);
            topic(state, name).cursors.remove(subscription);
        });
    }

    /// An administrator moves the subscription. Back: its consumer is closed, as by a cursor reset.
    /// Forward: the consumer stays, as with skipped messages. Panics if there is no such subscription.
    pub fn set_mark_delete(&self, subscription: &str, position: Position) {
        self.with(|state, name| {
            let before = topic(state, name).cursors.get(subscription).map(|cursor| cursor.mark_delete);
            if position < before.expect("the subscription exists") {
                state.close_consumer(name, subscription);
            }
            if let Some(cursor) = state.cursor(name, subscription) {
                let sent = cursor.consumer.as_ref().map(|consumer| consumer.sent);
                cursor.reset(position);
                if let (Some(consumer), Some(sent)) = (&mut cursor.consumer, sent) {
                    consumer.sent = sent.max(position);
                }
            }
        });
    }

    /// Somebody acknowledged this one entry earlier, on a shared subscription: it is not delivered.
    pub fn acknowledge_one(&self, subscription: &str, position: Position) {
        self.with(|state, name| {
            let topic = topic(state, name);
            if let Some(cursor) = topic.cursors.get_mut(subscription) {
                cursor.acknowledge_one(position, &topic.log);
            }
        });
    }

    /// While fenced, nobody can subscribe. A consumer that is attached stays.
    pub fn fence(&self, subscription: &str, fenced: bool) {
        self.with(|state, name| {
            if let Some(cursor) = state.cursor(name, subscription) {
                cursor.fenced = fenced;
            }
        });
    }

    /// The topic moves to another broker, which is this one again: its consumers are closed.
    pub fn unload(&self) {
        self.with(|state, name| {
            for subscription in topic(state, name).cursors.keys().cloned().collect::<Vec<_>>() {
                state.close_consumer(name, &subscription);
            }
        });
    }

    /// The topic is gone, with its entries and subscriptions. Its name made anew gets higher ledger ids.
    /// The handle must not be used afterwards.
    pub fn delete(self) {
        self.unload();
        self.with(|state, name| state.topics.remove(name));
    }

    /// For what changes something: whoever waits looks again.
    fn with<T>(&self, change: impl FnOnce(&mut State, &str) -> T) -> T {
        let result = self.look(change);
        self.shared.changed.notify_waiters();
        result
    }

    /// For what only looks: it must wake nobody, since [`Broker::until`](super::Broker::until) looks.
    fn look<T>(&self, at: impl FnOnce(&mut State, &str) -> T) -> T {
        at(&mut self.shared.lock(), &self.name)
    }
}

fn topic<'a>(state: &'a mut State, name: &str) -> &'a mut TopicState {
    state.topics.get_mut(name).expect("the topic has not been deleted")
}

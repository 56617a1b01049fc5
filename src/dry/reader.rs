//! A topic read from where a subscription stands, or would stand, without it.

use std::future::Future;

use tokio::time::Instant;

use crate::drain::Beginning;
use crate::error::{Error, Kind, Result};
use crate::message::{Entry, Position};
use crate::object::Stored;
use crate::pulsar::{Cluster, Consumer, Initial};
use crate::rule::TopicName;
use crate::schemas::Schema;
use crate::source::{Bounds, Next, Receipt, Seek, Source};

/// Nobody can take a reader's place: there is one attachment, and it stays.
const ATTACHMENT: u64 = 0;

pub struct Reader<'c> {
    cluster: &'c Cluster<'c>,
    topic: &'c TopicName,
    subscription: &'c str,
    consumer: Consumer<'c>,
    /// Names this run's readers, of which there were so many.
    tag: u64,
    readers: u32,
    /// Where the subscription would stand by now.
    mark_delete: Position,
    /// Entries handed out that would not be acknowledged yet, and how many would be.
    handed_out: Vec<Position>,
    acknowledged: u64,
}

impl<'c> Reader<'c> {
    /// A subscription that does not exist would begin at `beginning`; it is not made. `tag` is no other run's.
    ///
    /// Errors: as [`Cluster::attach`]'s, and `Invalid` where the broker does not say where a subscription stands.
    pub async fn attach(
        cluster: &'c Cluster<'c>,
        topic: &'c TopicName,
        subscription: &'c str,
        beginning: Beginning,
        tag: u64,
    ) -> Result<Self> {
        let stands = cluster.standing(topic, subscription).await?;
        let initial = match (stands, beginning) {
            (None, Beginning::Latest) => Initial::Latest,
            (Some(_), _) | (None, Beginning::Earliest) => Initial::Earliest,
        };
        let mut consumer = cluster.reader(topic, subscription, &format!("{tag}.0"), initial, stands).await?;
        let mark_delete = match (stands, initial) {
            (Some(stands), _) => stands,
            (None, _) => {
                let bounds = consumer.bounds().await?;
                let at_end = initial == Initial::Latest && bounds.last.entry >= 0;
                if at_end { bounds.last } else { stood(&bounds)? }
            }
        };
        Ok(Reader {
            cluster,
            topic,
            subscription,
            consumer,
            tag,
            readers: 1,
            mark_delete,
            handed_out: Vec::new(),
            acknowledged: 0,
        })
    }

    /// Reads on behind `from`, or from the first entry there is.
    async fn read_from(&mut self, from: Option<Position>) -> Result<()> {
        let tag = format!("{}.{}", self.tag, self.readers);
        self.readers += 1;
        let reader = self.cluster.reader(self.topic, self.subscription, &tag, Initial::Earliest, from).await?;
        std::mem::replace(&mut self.consumer, reader).close().await;
        self.handed_out.clear();
        self.acknowledged = 0;
        self.mark_delete = match from {
            Some(from) => from,
            None => stood(&self.consumer.bounds().await?)?,
        };
        Ok(())
    }
}

fn stood(bounds: &Bounds) -> Result<Position> {
    let text =
        "this broker does not say where a subscription stands (those before 2.8 do not): there is no dry run with it";
    bounds.mark_delete.ok_or_else(|| Error::new(Kind::Invalid, text))
}

impl Source for Reader<'_> {
    async fn bounds(&mut self) -> Result<Bounds> {
        let Bounds { last, .. } = self.consumer.bounds().await?;
        Ok(Bounds { last, mark_delete: Some(self.mark_delete) })
    }

    async fn seek(&mut self, to: Seek) -> Result<()> {
        match to {
            Seek::Earliest => self.read_from(None).await,
            Seek::To(at) => self.read_from(Some(Position::new(at.ledger, at.entry - 1))).await,
            Seek::Time(_) => {
                Err(Error::new(Kind::Internal, "a run moves the cursor to a place, not to a time: report it"))
            }
        }
    }

    async fn next(&mut self, until: Instant) -> Result<Next> {
        let next = self.consumer.next(until).await?;
        if let Next::Entry(entry) = &next {
            self.handed_out.push(entry.position);
        }
        Ok(next)
    }

    fn attachment(&self) -> Option<u64> {
        Some(ATTACHMENT)
    }

    fn unread(&mut self, entry: Entry) {
        self.handed_out.pop();
        self.consumer.unread(entry);
    }

    async fn rewind(&mut self) -> Result<()> {
        self.read_from(Some(self.mark_delete)).await
    }

    async fn backlog(&mut self) -> Result<Option<u64>> {
        // The reader's own, which acknowledges nothing and so counts from where it began.
        let backlog = self.consumer.backlog().await?;
        Ok(backlog.map(|entries| entries.saturating_sub(self.acknowledged)))
    }

    async fn acknowledge(&mut self, stored: Stored) -> Result<Receipt> {
        let through = stored.through();
        let before = self.handed_out.len();
        self.handed_out.retain(|at| *at > through);
        self.acknowledged += (before - self.handed_out.len()) as u64;
        self.mark_delete = self.mark_delete.max(through);
        Ok(Receipt::Confirmed)
    }

    async fn schema(&mut self, version: &[u8]) -> Result<Option<Schema>> {
        self.consumer.schema(version).await
    }

    async fn attend<F: Future>(&mut self, work: F) -> F::Output {
        self.consumer.attend(work).await
    }

    async fn close(self) {
        self.consumer.close().await;
    }
}

//! Finding where a start lies, with a reader: a consumer of a subscription of its own that is not durable.

use std::time::Duration;

use tokio::time::timeout;

use super::{Consumer, Initial};
use crate::error::{Error, Kind, Result};
use crate::message::Position;
use crate::rule::Start;
use crate::source::{Bounds, Next, Seek, Source};

/// How long the message of a given id may take to come.
const FIRST_LIMIT: Duration = Duration::from_secs(5);
const MOST_ATTEMPTS: u32 = 6;

impl Consumer<'_> {
    /// The mark-delete position of a subscription that begins at `start` now; then the reader is gone.
    pub(crate) async fn place(mut self, start: Start) -> Result<Position> {
        let found = self.find(start).await;
        self.close().await;
        found
    }

    /// A seek takes the reader off, and with it brokers may take the cursor, or may take off the next reader
    /// as well. One that had to be made anew stands where readers begin: an answer that could be that is
    /// not believed until a reader that begins at the other end gives it.
    async fn find(&mut self, start: Start) -> Result<Position> {
        for attempt in 0..MOST_ATTEMPTS {
            if attempt > 0 {
                self.subscription.initial = match self.subscription.initial {
                    Initial::Earliest => Initial::Latest,
                    Initial::Latest => Initial::Earliest,
                };
            }
            match self.look(start).await {
                Ok(Some(found)) => return Ok(found),
                Ok(None) => {}
                Err(error) if error.kind() == Kind::Unavailable => self.renew().await?,
                Err(error) => return Err(error),
            }
        }
        let text = "the broker does not keep a reader over a seek, so where the start lies is not known; nothing was moved: run again, or set start = \"continue\"";
        Err(Error::new(Kind::Unavailable, text))
    }

    /// `None` where the reader may have been made anew.
    async fn look(&mut self, start: Start) -> Result<Option<Position>> {
        let bounds = self.bounds().await?;
        let to = match start {
            Start::Timestamp(ms) if bounds.last.entry >= 0 => Seek::Time(ms),
            Start::Id(id) => return self.before(id, &bounds).await.map(Some),
            // Not where the reader stands: the broker may remember one of a run that died.
            Start::Latest if bounds.last.entry >= 0 => return stands_at(&bounds).map(|_| Some(bounds.last)),
            Start::Timestamp(_) | Start::Latest | Start::Earliest | Start::Continue => {
                return stands_at(&bounds).map(Some);
            }
        };
        self.seek(to).await?;
        let bounds = self.bounds().await?;
        let found = stands_at(&bounds)?;
        let doubtful = match self.subscription.initial {
            Initial::Earliest => found.entry < 0,
            Initial::Latest => found >= bounds.last,
        };
        Ok((!doubtful).then_some(found))
    }

    /// Where a reader stands that was made directly before `id`. The broker silently takes the next entry for one that
    /// does not exist: what it delivers shows it.
    async fn before(&mut self, id: Position, bounds: &Bounds) -> Result<Position> {
        if bounds.last < id {
            return Err(no_message(id, &format!("the topic ends at {}", bounds.last)));
        }
        let stands = stands_at(bounds)?;
        match self.first().await? {
            Some(first) if first == id => Ok(stands),
            Some(first) => Err(no_message(id, &format!("the next one is {first}"))),
            None => Err(no_message(id, "the broker delivers none there")),
        }
    }

    async fn first(&mut self) -> Result<Option<Position>> {
        let until = self.connection.deadline();
        let first = async {
            loop {
                match self.next(until).await? {
                    Next::Entry(entry) => return Ok(Some(entry.position)),
                    Next::Reattached => {}
                    Next::Silence => return Ok(None),
                }
            }
        };
        timeout(FIRST_LIMIT, first).await.unwrap_or(Ok(None))
    }
}

fn stands_at(bounds: &Bounds) -> Result<Position> {
    let silent = "this broker does not say where a subscription stands (those before 2.8 do not), so only \"continue\" and \"earliest\" can be had";
    bounds.mark_delete.ok_or_else(|| Error::new(Kind::Invalid, silent))
}

fn no_message(id: Position, instead: &str) -> Error {
    let text = format!("message {id} does not exist in this topic, {instead}; nothing was moved: name one that exists");
    Error::new(Kind::Invalid, text)
}

//! Finding where a start lies, with a reader: a consumer of a subscription of its own that is not durable.

use std::time::Duration;

use tokio::time::timeout;

use super::Consumer;
use crate::error::{Error, Kind, Result};
use crate::message::Position;
use crate::rule::Start;
use crate::source::{Bounds, Next, Seek, Source};

/// How long the message of a given id may take to come.
const FIRST_LIMIT: Duration = Duration::from_secs(10);

impl Consumer {
    /// The mark-delete position of a subscription that begins at `start` now; then the reader is gone.
    pub(crate) async fn place(mut self, start: Start) -> Result<Position> {
        let found = self.find(start).await;
        self.close().await;
        found
    }

    /// A reader that a broker forgets over the seek (those before 2.8 may) is made anew at the earliest
    /// entry: then more is stored than was asked for, and nothing is passed over.
    async fn find(&mut self, start: Start) -> Result<Position> {
        let bounds = self.bounds().await?;
        match start {
            Start::Timestamp(ms) if bounds.last.entry >= 0 => self.seek(Seek::Time(ms)).await?,
            Start::Id(id) => {
                if bounds.last < id {
                    return Err(no_message(id, &format!("the topic ends at {}", bounds.last)));
                }
                self.seek(Seek::To(id)).await?;
                let before = stands_at(self.bounds().await?)?;
                self.comes_next(id).await?;
                return Ok(before);
            }
            Start::Timestamp(_) | Start::Latest | Start::Earliest | Start::Continue => {}
        }
        stands_at(self.bounds().await?)
    }

    /// The broker silently takes the next entry for one that does not exist: only what it delivers shows it.
    async fn comes_next(&mut self, id: Position) -> Result<()> {
        let until = self.connection.deadline();
        let first = async {
            loop {
                match self.next(until).await? {
                    Next::Entry(entry) => return Ok(Some(entry.position)),
                    Next::Reattached => {}
                    Next::Silence => return Ok::<_, Error>(None),
                }
            }
        };
        match timeout(FIRST_LIMIT, first).await.unwrap_or(Ok(None))? {
            Some(first) if first == id => Ok(()),
            Some(first) => Err(no_message(id, &format!("the next one is {first}"))),
            None => Err(no_message(id, "the broker delivers none there")),
        }
    }
}

fn stands_at(bounds: Bounds) -> Result<Position> {
    let silent = "this broker does not say where a subscription stands (those before 2.8 do not), so only \"continue\" and \"earliest\" can be had";
    bounds.mark_delete.ok_or_else(|| Error::new(Kind::Invalid, silent))
}

fn no_message(id: Position, instead: &str) -> Error {
    let text = format!("message {id} does not exist in this topic, {instead}; nothing was moved: name one that exists");
    Error::new(Kind::Invalid, text)
}

//! Where a start lies, as the broker says.

use tdmq_backup::rule::Start;
use tdmq_backup::{Error, Kind, Position, Result};
use tokio::time::{Instant, timeout_at};

use crate::source::lost;
use crate::world::World;

impl World {
    /// Where a subscription that begins at `start` would stand.
    pub async fn place(&self, topic: usize, start: Start, until: Instant) -> Result<Option<Position>> {
        let placing = async {
            self.step().await;
            self.step().await;
            let mut state = self.state();
            if state.fails(20) {
                return Err(lost());
            }
            let says_cursor = state.settings.says_cursor;
            let topic = &state.topics[topic];
            if !topic.born {
                return Ok(None);
            }
            if !says_cursor {
                return Err(Error::new(Kind::Invalid, "the broker does not say where a subscription stands"));
            }
            let last = topic.last();
            Ok(Some(match start {
                Start::Latest if last.entry >= 0 => last,
                Start::Latest | Start::Earliest | Start::Continue => topic.beginning(),
                Start::Timestamp(_) if last.entry < 0 => topic.beginning(),
                Start::Timestamp(ms) => {
                    let first = topic.log.iter().find(|slot| !slot.gone && slot.composed.timestamp() >= ms);
                    first.map_or(last, |slot| topic.behind(slot.at))
                }
                Start::Id(at) => match topic.log.iter().find(|slot| slot.at == at && at <= last && !slot.gone) {
                    Some(slot) => topic.behind(slot.at),
                    None => return Err(Error::new(Kind::Invalid, "there is no such message")),
                },
            }))
        };
        let placed = timeout_at(until, placing).await.unwrap_or_else(|_| Err(lost()));
        self.told(topic, placed)
    }
}

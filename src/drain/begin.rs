//! How a partition without a head begins, and one that the broker does not know.
//!
//! A rule begins once for its topic. A partition that was there then begins as the rule says; one that was
//! added later begins at its first entry, or what was written to it before its first run would be passed
//! over. Each head says how many partitions the topic had when the rule began, so a run that dies between
//! two partitions, or gets no turn for one, changes nothing for those that are left.
//!
//! An event moves the cursors that there are when it comes. Of a timer that keeps its message a later partition
//! therefore takes over that the others have obeyed it, and one that nobody has written to notes it.

use std::rc::Rc;

use tokio::sync::OnceCell;

use crate::clock::Clock;
use crate::error::Result;
use crate::event::SeekEvent;
use crate::head::{HeadFile, Obeyed, Owner};
use crate::report::{Report, Stop};
use crate::store::Store;

use super::Job;

/// The partitions of one topic, those of other shards too, for whichever of them has no head.
#[derive(Debug)]
pub struct Siblings {
    count: u32,
    began: OnceCell<Option<Began>>,
}

/// What their heads say of the rule's beginning.
#[derive(Clone, Debug)]
struct Began {
    /// How many partitions there were.
    with: u32,
    /// Events since.
    obeyed: Vec<Obeyed>,
}

impl Siblings {
    pub fn new(count: u32) -> Rc<Self> {
        Rc::new(Siblings { count, began: OnceCell::new() })
    }
}

impl Job {
    /// Of this partition, which has no head: the events that the others obeyed, if it was added after the rule began;
    /// and how many partitions there were then.
    pub(super) async fn appeared_later(&self, store: &impl Store) -> Result<(Option<Vec<Obeyed>>, Option<u32>)> {
        let Some(siblings) = &self.siblings else { return Ok((None, None)) };
        let began = siblings.began.get_or_try_init(|| self.began(siblings.count, store)).await?;
        let later = began.as_ref().filter(|began| i64::from(self.owner.partition) >= i64::from(began.with));
        let with = began.as_ref().map_or(siblings.count, |began| began.with);
        Ok((later.map(|began| began.obeyed.clone()), Some(with)))
    }

    /// How the rule began; `None` where none of so many partitions has a head yet. A head that does not say with how
    /// many is one of a rule that named a single partition: then every other one came later.
    async fn began(&self, count: u32, store: &impl Store) -> Result<Option<Began>> {
        let mut began: Option<Began> = None;
        for number in 0..count {
            let (folder, owner) = self.sibling(number);
            let Some(HeadFile { head, .. }) = HeadFile::read(store, &folder, &owner).await? else { continue };
            let with = head.partitions.unwrap_or(0);
            began.get_or_insert(Began { with, obeyed: Vec::new() }).obeyed.extend(head.events());
            // Any of them may have had no turn yet.
            if self.seek.is_none() {
                break;
            }
        }
        Ok(began)
    }

    /// Folder and owner of another partition: they differ from this one's in the number alone.
    fn sibling(&self, number: u32) -> (String, Owner) {
        let Owner { topic, subscription, partition } = &self.owner;
        let folder = self.folder.strip_suffix(&format!("{partition}/")).unwrap_or(&self.folder);
        let topic = topic.strip_suffix(&partition.to_string()).unwrap_or(topic);
        let owner =
            Owner { topic: format!("{topic}{number}"), subscription: subscription.clone(), partition: number as i32 };
        (format!("{folder}{number}/"), owner)
    }

    /// A partition that the metadata names and the broker does not know: nobody has written to it yet. It
    /// gets its head now, so that its first entries are not passed over once there are some.
    pub(super) async fn is_absent(
        &self,
        store: &impl Store,
        mut head: HeadFile,
        clock: &Clock,
        asked_at: u64,
        report: &mut Report,
    ) -> Result<()> {
        report.stop = Some(Stop::Drained);
        report.backlog_entries = Some(0);
        if head.head.done.is_some() || head.head.next.is_some() {
            let text = "it was backed up before, and the broker does not know it any more: it was deleted";
            report.warnings.push(text.into());
        } else {
            report.complete_through = Some(asked_at);
        }
        let now = clock.now_ms();
        let mut noted = head.head.clone();
        if let Some(SeekEvent { to, id: Some(event), .. }) = &self.seek {
            noted.remember(Obeyed { asked: to.to_string(), event: event.clone() });
        }
        match head.is_new() || noted != head.head {
            true => head.write(store, noted, now).await,
            false => head.refresh(store, now).await,
        }
    }
}

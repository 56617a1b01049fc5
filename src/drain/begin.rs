//! How a partition without a head begins, and one that the broker does not know.
//!
//! A rule begins once for its topic. A partition that was there then begins as the rule says; one that was
//! added later begins at its first entry, or what was written to it before its first run would be passed
//! over. Each head says how many partitions the topic had when the rule began, so a run that dies between
//! two partitions, or gets no turn for one, changes nothing for those that are left.
//!
//! An event moves the cursors that there are when it comes. A partition that was added later counts the events that
//! the others obeyed as its own, and the one that its first run comes with; one that nobody has written to notes it.

use std::rc::Rc;

use tokio::sync::OnceCell;

use crate::clock::Clock;
use crate::error::{Kind, Result};
use crate::event::SeekEvent;
use crate::head::{HeadFile, Obeyed, Owner};
use crate::report::{Report, Stop};
use crate::store::Store;

use super::Job;

/// The partitions of one topic, those of other shards too, for whichever of them has no head.
#[derive(Debug)]
pub struct Siblings {
    count: u32,
    began_with: OnceCell<Option<u32>>,
    obeyed: OnceCell<Vec<Obeyed>>,
}

impl Siblings {
    pub fn new(count: u32) -> Rc<Self> {
        Rc::new(Siblings { count, began_with: OnceCell::new(), obeyed: OnceCell::new() })
    }
}

impl Job {
    /// Of this partition, which has no head: if it was added after the rule began, the events that are not for it; and
    /// how many partitions there were then.
    pub(super) async fn appeared_later(&self, store: &impl Store) -> Result<(Option<Vec<Obeyed>>, Option<u32>)> {
        let Some(siblings) = &self.siblings else { return Ok((None, None)) };
        let began_with = *siblings.began_with.get_or_try_init(|| self.began_with(siblings.count, store)).await?;
        let with = Some(began_with.unwrap_or(siblings.count));
        if began_with.is_none_or(|count| i64::from(self.owner.partition) < i64::from(count)) {
            return Ok((None, with));
        }
        let mut events = siblings.obeyed.get_or_try_init(|| self.obeyed(siblings.count, store)).await?.clone();
        events.extend(self.named());
        Ok((Some(events), with))
    }

    /// How many partitions there were when the rule began; `None` where none of so many has a head yet. A
    /// head that does not say is one of a rule that named a single partition: then every other one came later.
    async fn began_with(&self, count: u32, store: &impl Store) -> Result<Option<u32>> {
        for number in 0..count {
            let (folder, owner) = self.sibling(number);
            if let Some(found) = HeadFile::read(store, &folder, &owner).await? {
                return Ok(Some(found.head.partitions.unwrap_or(0)));
            }
        }
        Ok(None)
    }

    /// The events of all heads: any of them may have had no turn for one. What cannot be read is its own partition's
    /// affair.
    async fn obeyed(&self, count: u32, store: &impl Store) -> Result<Vec<Obeyed>> {
        let mut obeyed = Vec::new();
        for number in 0..count {
            let (folder, owner) = self.sibling(number);
            match HeadFile::read(store, &folder, &owner).await {
                Ok(found) => {
                    for event in found.iter().flat_map(|found| found.head.events()) {
                        if !obeyed.contains(&event) {
                            obeyed.push(event);
                        }
                    }
                }
                Err(error) if matches!(error.kind(), Kind::Corrupt | Kind::Invalid) => {}
                Err(error) => return Err(error),
            }
        }
        Ok(obeyed)
    }

    /// The event that this run comes with, if it has a name.
    fn named(&self) -> Option<Obeyed> {
        let SeekEvent { to, id, .. } = self.seek.as_ref()?;
        Some(Obeyed { asked: to.to_string(), event: id.clone()? })
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
        self.named().into_iter().for_each(|event| noted.remember(event));
        match head.is_new() || noted != head.head {
            true => head.write(store, noted, now).await,
            false => head.refresh(store, now).await,
        }
    }
}

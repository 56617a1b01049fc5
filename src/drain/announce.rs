//! The announcement, and what of a long object must stand in it.
//!
//! ```text
//!  begin the upload ─▶ announce the object with the upload's id ─▶ look again ─▶ parts
//! ```
//!
//! A run that dies after the announcement leaves an upload that its successor finds and ends. One that dies before
//! leaves an upload without a part: no bytes and no name.

use crate::error::Result;
use crate::head::{Head, Next};
use crate::object::Object;
use crate::source::Source;
use crate::store::{Store, UploadId};

use super::Drain;

impl<S: Source, T: Store> Drain<'_, S, T> {
    /// Ends the upload of a dead run that announced this object before, and begins this run's if there is to be one.
    pub(super) async fn begin_upload(&mut self, object: &Object, next: &mut Next) -> Result<Option<UploadId>> {
        self.end_upload(next).await;
        let begun = self.source.attend(object.begin(self.store)).await?;
        next.upload_id = begun.as_ref().map(|id| id.as_str().to_owned());
        Ok(begun)
    }

    /// Writes the head, and looks again: a successor can only have come before this, or will read it.
    /// The first of its messages was `published` then.
    pub(super) async fn announce(&mut self, next: &Next, published: u64, begun: Option<&UploadId>) -> Result<()> {
        let announced = Head { next: Some(next.clone()), ..self.head().clone() };
        let mut outcome = self.source.attend(self.head.write(self.store, announced, self.clock.now_ms())).await;
        if outcome.is_ok() {
            outcome = self.look_again(next, published).await;
        }
        if let (Err(_), Some(id)) = (&outcome, begun) {
            // Where the announcement stands all the same, the next run ends it.
            let _ = self.source.attend(self.store.abort(&next.key, id)).await;
        }
        outcome
    }

    /// Ends the upload that an announcement left behind. One that stays costs room and harms nothing: it holds the
    /// very bytes that its key may hold.
    pub(super) async fn end_upload(&mut self, next: &Next) {
        let Some(id) = next.upload_id.as_deref().map(UploadId::new) else { return };
        if let Err(error) = self.source.attend(self.store.abort(&next.key, &id)).await {
            self.report.warnings.push(format!(
                "the unfinished upload of {} could not be ended ({}): a lifecycle rule for incomplete uploads removes it",
                next.key,
                error.chain()
            ));
        }
    }
}

//! A dry run: the run itself, between a store that is only read and a reader beside the subscription.
//!
//! ```text
//!  Reading ─── reads ──▶ bucket        what the run writes stands here alone, and is read back from here
//!  Reader ──── reads ──▶ topic         where the subscription stands is asked; what the run moves or acknowledges stands here
//! ```
//!
//! So the plan is what the next run does, by the same code, as long as nothing comes or goes in between. Nothing here
//! can write: of the bucket only the reading requests are passed on, and a reader has no cursor but its own.

mod reader;

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use crate::error::Result;
use crate::store::{Download, Expect, Found, Held, Listed, SHA256, Store, Upload, UploadId, Version};

pub use reader::Reader;

/// A bucket that is read. What would be written is kept: small objects whole, others as a look would show them.
pub struct Reading<'s, T> {
    store: &'s T,
    written: Mutex<Written>,
}

#[derive(Default)]
struct Written {
    small: BTreeMap<String, Found>,
    objects: BTreeMap<String, Held>,
}

impl<'s, T: Store> Reading<'s, T> {
    pub fn new(store: &'s T) -> Self {
        Reading { store, written: Mutex::default() }
    }

    fn written(&self) -> MutexGuard<'_, Written> {
        self.written.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<T: Store + Sync> Store for Reading<'_, T> {
    async fn read_small(&self, key: &str) -> Result<Option<Found>> {
        let written = self.written().small.get(key).cloned();
        match written {
            Some(found) => Ok(Some(found)),
            None => self.store.read_small(key).await,
        }
    }

    /// Whether it would be taken is not known: somebody else may write before the next run.
    async fn write_small(&self, key: &str, bytes: Vec<u8>, _expect: Expect<'_>) -> Result<Version> {
        let mut written = self.written();
        let version = Version::new(format!("planned-{}", written.small.len()));
        written.small.insert(key.to_owned(), Found { bytes, version: version.clone() });
        Ok(version)
    }

    async fn begin(&self, _upload: &Upload<'_>) -> Result<Option<UploadId>> {
        Ok(None)
    }

    async fn put(&self, upload: &Upload<'_>, _begun: Option<&UploadId>) -> Result<()> {
        let mut metadata: BTreeMap<String, String> = upload.metadata.iter().cloned().collect();
        metadata.insert(SHA256.into(), upload.body.sha256_hex());
        let held = Held { length: upload.body.length(), metadata, version: Version::new("planned") };
        self.written().objects.insert(upload.key.to_owned(), held);
        Ok(())
    }

    async fn abort(&self, _key: &str, _id: &UploadId) -> Result<()> {
        Ok(())
    }

    async fn look(&self, key: &str) -> Result<Option<Held>> {
        let written = self.written().objects.get(key).cloned();
        match written {
            Some(held) => Ok(Some(held)),
            None => self.store.look(key).await,
        }
    }

    async fn list(&self, prefix: &str, after: Option<&str>, limit: u32) -> Result<(Vec<Listed>, bool)> {
        self.store.list(prefix, after, limit).await
    }

    async fn open(&self, key: &str) -> Result<Option<Download>> {
        self.store.open(key).await
    }
}

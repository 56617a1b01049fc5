//! What a store is asked by somebody who wants to know what it can do. No run calls any of this.

use std::sync::atomic::Ordering::Relaxed;

use rusoto_s3::{DeleteObjectRequest, HeadObjectRequest, S3 as _};

use super::{Repeat, S3};
use crate::store::dispatch::Answer;
use crate::store::failure::Failure;
use crate::store::{SMALL, Store as _};
use crate::{Error, Kind, Result};

/// The folder of probes: below it, and nowhere else, is anything removed.
pub const PROBES: &str = "_smoke/";

impl S3 {
    /// Whether the store has taken every condition so far, rather than calling it unknown.
    pub fn knows_conditions(&self) -> bool {
        !self.shared.unconditional.load(Relaxed)
    }

    /// The class that the store says an object has; `None` where it names none, as S3 does for `STANDARD`.
    pub async fn class_of(&self, key: &str) -> Result<Option<String>> {
        let doing = self.doing("look at", key, false);
        let request = || HeadObjectRequest { bucket: self.bucket(), key: key.to_owned(), ..Default::default() };
        let answer = self.call(&doing, Answer::Whole(0), None, Repeat::Harmless, |client| {
            let request = request();
            async move { client.head_object(request).await }
        });
        answer.await.map(|output| output.storage_class).map_err(Failure::into_error)
    }

    /// Removes a probe, and looks whether it is gone. `Invalid` for any key that is not right below a [`PROBES`] folder:
    /// nothing that a run wrote is ever removed.
    pub async fn remove_probe(&self, key: &str) -> Result<()> {
        let folder = key.rsplit_once('/').map_or("", |(folder, _)| folder);
        if !format!("/{folder}/").ends_with(&format!("/{PROBES}")) {
            return Err(Error::new(Kind::Invalid, format!("{key} is no probe, and nothing else is removed")));
        }
        let doing = self.doing("remove", key, true);
        let request = || DeleteObjectRequest { bucket: self.bucket(), key: key.to_owned(), ..Default::default() };
        let gone = self.call(&doing, Answer::Document(SMALL), None, Repeat::Harmless, |client| {
            let request = request();
            async move { client.delete_object(request).await }
        });
        gone.await.map_err(Failure::into_error)?;
        match self.look(key).await? {
            None => Ok(()),
            Some(_) => Err(Error::new(Kind::Conflict, format!("{key} is still there after it was removed"))),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Clock;
    use crate::store::Addressing;
    use crate::testing::bucket::Bucket;

    #[tokio::test]
    async fn what_is_no_probe_is_not_removed() {
        let bucket = Bucket::start().await.unwrap();
        let store = S3::new(bucket.settings(Addressing::Path), Clock::starting_at(0)).unwrap();
        let others = ["tdmq/_smoke/t/1.gz", "tdmq/_head.json", "_head.json", "my_smoke/1", "tdmq/my_smoke/1"];
        let probes = ["_smoke/1", "tdmq/_smoke/1"];
        for key in others.iter().chain(&probes) {
            bucket.plant(key, b"object", &[]).unwrap();
        }
        for key in others {
            assert_eq!(store.remove_probe(key).await.unwrap_err().kind(), Kind::Invalid, "{key}");
        }
        for key in probes {
            store.remove_probe(key).await.unwrap();
        }
        let mut left = others.map(str::to_owned);
        left.sort();
        assert_eq!(bucket.keys(), left);
    }
}

//! Reads: what is there, and what is in it. They change nothing, so they are sent again as often as may help.

use rusoto_s3::{GetObjectOutput, GetObjectRequest, HeadObjectRequest, ListObjectsV2Request, S3 as _};

use super::{Repeat, S3};
use crate::Result;
use crate::store::dispatch::Answer;
use crate::store::failure::{Failure, Meaning};
use crate::store::stream::Timed;
use crate::store::{Download, Found, Held, Listed, SMALL, Version};

/// The answer to a listing of 1000 keys of 1024 bytes, every one of them escaped, with room to spare.
const LISTING: usize = 16 << 20;

impl S3 {
    /// [`Store::read_small`](super::super::Store::read_small).
    pub(super) async fn read_whole(&self, key: &str) -> Result<Option<Found>> {
        let Some(output) = self.get(key, Answer::Whole(SMALL)).await.map_err(Failure::into_error)? else {
            return Ok(None);
        };
        let tag = output.e_tag.expect("`get` answers nothing without one");
        let mut bytes = Vec::new();
        let mut body = Download::new(Timed::new(output.body, self.doing("read", key, false), self.allowance()));
        while let Some(chunk) = body.next().await? {
            bytes.extend_from_slice(&chunk);
        }
        Ok(Some(Found { bytes, version: Version(tag) }))
    }

    /// [`Store::list`](super::super::Store::list).
    pub(super) async fn page(&self, prefix: &str, after: Option<&str>, limit: u32) -> Result<(Vec<Listed>, bool)> {
        let doing = self.doing("list", prefix, false);
        let garbled = |why: &str| Err(doing.fails(Meaning::Garbled, why).into_error());
        let mut token: Option<String> = None;
        loop {
            let request = || ListObjectsV2Request {
                bucket: self.bucket(),
                prefix: Some(prefix.to_owned()),
                start_after: after.map(str::to_owned),
                continuation_token: token.clone(),
                max_keys: Some(limit.into()),
                ..Default::default()
            };
            let answer = self.call(&doing, Answer::Document(LISTING), None, Repeat::Harmless, |client| {
                let request = request();
                async move { client.list_objects_v2(request).await }
            });
            let output = answer.await.map_err(Failure::into_error)?;
            // rusoto reads any XML, a login page too, as an empty listing, which would say that nothing is stored.
            let Some(more) = output.is_truncated else { return garbled("the answer is no listing") };
            let mut listed: Vec<Listed> = Vec::new();
            for object in output.contents.unwrap_or_default() {
                let (Some(key), Some(Ok(length))) = (object.key, object.size.map(u64::try_from)) else {
                    return garbled("a line of the answer lacks its key or its length");
                };
                let last = listed.last().map(|last| &*last.key).or(after);
                if !key.starts_with(prefix) || last.is_some_and(|last| *key <= *last) {
                    let key = self.shared.line.keys.redact(&key);
                    return garbled(&format!("the answer lists what was not asked for, or not in order: {key:?}"));
                }
                listed.push(Listed { key, length });
            }
            if !more || !listed.is_empty() {
                return Ok((listed, more));
            }
            // What was deleted from a bucket with versions may take up a whole page.
            let next = output.next_continuation_token.filter(|next| !next.is_empty() && Some(next) != token.as_ref());
            if next.is_none() {
                return garbled("the answer is empty and says that there is more");
            }
            token = next;
        }
    }

    /// A look. The refusal of a HEAD has no text, so the reason is asked for with a GET: only a store that says
    /// `NoSuchKey` has no such key.
    pub(super) async fn head(&self, key: &str) -> Result<Option<Held>, Failure> {
        let mute =
            |failure: &Failure| matches!(failure.meaning, Meaning::Missing | Meaning::Forbidden | Meaning::Rejected);
        match self.head_once(key).await {
            Ok(held) => Ok(Some(held)),
            Err(failure) if mute(&failure) => match self.get(key, Answer::Streamed).await? {
                None => Ok(None),
                // It came between the two.
                Some(_) => self.head_once(key).await.map(Some),
            },
            Err(failure) => Err(failure),
        }
    }

    async fn head_once(&self, key: &str) -> Result<Held, Failure> {
        let doing = self.doing("look at", key, false);
        let request = || HeadObjectRequest { bucket: self.bucket(), key: key.to_owned(), ..Default::default() };
        let answer = self.call(&doing, Answer::Whole(0), None, Repeat::Harmless, |client| {
            let request = request();
            async move { client.head_object(request).await }
        });
        let output = answer.await?;
        let (Some(length), Some(tag)) = (output.content_length.and_then(|it| u64::try_from(it).ok()), output.e_tag)
        else {
            return Err(doing.fails(Meaning::Garbled, "the answer lacks the length or the ETag"));
        };
        let metadata = output.metadata.unwrap_or_default().into_iter().collect();
        Ok(Held { length, metadata, version: Version(tag) })
    }

    pub(super) async fn get(&self, key: &str, answer: Answer) -> Result<Option<GetObjectOutput>, Failure> {
        let doing = self.doing("read", key, false);
        let request = || GetObjectRequest { bucket: self.bucket(), key: key.to_owned(), ..Default::default() };
        let answer = self.call(&doing, answer, None, Repeat::Harmless, |client| {
            let request = request();
            async move { client.get_object(request).await }
        });
        match answer.await {
            Ok(output) if output.e_tag.is_none() => Err(doing.fails(Meaning::Garbled, "the answer lacks the ETag")),
            Ok(output) => Ok(Some(output)),
            Err(failure) if failure.meaning == Meaning::NoSuchKey => Ok(None),
            Err(failure) => Err(failure),
        }
    }
}

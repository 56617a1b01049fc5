//! [`Store`] on an S3 or COS bucket.
//!
//! Owns: which rusoto operation carries which call; the writes are in [`upload`], those in parts in [`parts`].
//! Does not own: how a request travels ([`super::dispatch`]) and what a refusal means ([`super::failure`]).
//!
//! All requests go through [`S3::call`]; trying again belongs there and nowhere else. What may be sent again while
//! nobody knows what became of the first:
//!
//! | request | again | because |
//! |---|---|---|
//! | GET, HEAD, listing | yes | they change nothing |
//! | PUT with a condition | yes | one of the two wins, the other meets 412; then a look, or the head read back, tells whose it is |
//! | PUT without | no | it may go over what somebody else wrote in between |
//! | Create | yes | what the first left is an upload without a part; it has no name and no bytes |
//! | UploadPart | yes | the same bytes under the same number |
//! | Complete | yes | the upload ends once; the second meets 404, 412 or the same success, then a look decides |
//! | Abort | yes | an upload ends once |

mod parts;
mod upload;

use std::fmt;
use std::future::Future;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::Duration;

use rusoto_core::{Region, RusotoError};
use rusoto_s3::{GetObjectOutput, GetObjectRequest, HeadObjectRequest, ListObjectsV2Request, S3 as _, S3Client};
use tokio::time::{Instant, sleep};

use super::dispatch::{Answer, Call, Line, Slot};
use super::endpoint::Endpoint;
use super::failure::{Again, Doing, Failure, Meaning};
use super::limits::Allowance;
use super::stream::Timed;
use super::{
    Addressing, Download, Expect, Found, Held, Keys, Limits, Listed, SMALL, Store, Upload, UploadId, Version, wire,
};
use crate::{Clock, Error, Kind, Result};
use upload::check;

/// The answer to a listing of 1000 keys of 1024 bytes, every one of them escaped, with room to spare.
const LISTING: usize = 16 << 20;

/// Everything that one bucket's client is made from.
#[derive(Clone, Debug)]
pub struct Settings {
    /// `http(s)://host[:port]`, without the bucket.
    pub endpoint: String,
    /// The region that signatures name.
    pub region: String,
    pub bucket: String,
    pub addressing: Addressing,
    pub keys: Keys,
    /// For objects, not for heads; the store's default if absent.
    pub storage_class: Option<String>,
    /// `x-amz-server-side-encryption` of every write; the bucket's default if absent.
    pub sse: Option<String>,
    pub limits: Limits,
}

/// `If-None-Match` or `If-Match`, and its value.
type Condition = (&'static str, String);

/// What a request does if it is sent once more while the first may have been carried out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Repeat {
    /// Nothing that the first did not do.
    Harmless,
    /// The same, but where another write was under way there is more to repeat than this request.
    Finish,
    /// Nobody knows, so only what surely was not done is sent again.
    Never,
}

impl Repeat {
    /// Whether to send it again after this failure.
    fn after(self, failure: &Failure) -> bool {
        match failure.meaning.again() {
            Again::Pointless => false,
            Again::Undone => true,
            Again::Anew => self != Repeat::Finish,
            Again::Unsure => self != Repeat::Never,
        }
    }
}

/// A bucket. A clone is cheap and shares the connections.
#[derive(Clone)]
pub struct S3 {
    shared: Arc<Shared>,
    client: wire::Client,
    clock: Clock,
    deadline: Option<Instant>,
}

struct Shared {
    line: Arc<Line>,
    connector: wire::Connector,
    settings: Settings,
    region: Region,
    /// The store answered a condition with "not implemented", and the same write without it went through.
    unconditional: AtomicBool,
}

impl fmt::Debug for S3 {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("S3").field("settings", &self.shared.settings).finish_non_exhaustive()
    }
}

impl S3 {
    /// Sends nothing. `Invalid` if the endpoint or the bucket cannot be addressed.
    pub fn new(settings: Settings, clock: Clock) -> Result<Self> {
        if settings.bucket.is_empty()
            || !settings.bucket.bytes().all(|b| b.is_ascii_alphanumeric() || b"-._".contains(&b))
        {
            let text = format!("bucket: must be letters, digits, `-`, `.` and `_`, got `{}`", settings.bucket);
            return Err(Error::new(Kind::Invalid, text));
        }
        let endpoint = Endpoint::new(&settings.endpoint, &settings.bucket, settings.addressing)?;
        let region = Region::Custom { name: settings.region.clone(), endpoint: endpoint.base().to_owned() };
        let connector = wire::connector(settings.limits.connect);
        let line = Arc::new(Line { endpoint, keys: settings.keys.clone() });
        Ok(S3 {
            client: wire::client(connector.clone()),
            shared: Arc::new(Shared { line, connector, settings, region, unconditional: AtomicBool::new(false) }),
            clock,
            deadline: None,
        })
    }

    /// The same bucket for one run: no request is begun or waited for after `deadline`, and none travels on
    /// a connection from before, which may have died while the function was frozen.
    pub fn until(&self, deadline: Instant) -> S3 {
        let client = wire::client(self.shared.connector.clone());
        S3 { deadline: Some(deadline), client, ..self.clone() }
    }

    fn doing(&self, verb: &'static str, key: &str, write: bool) -> Doing {
        Doing { verb, key: key.to_owned(), bucket: self.bucket(), write }
    }

    fn bucket(&self) -> String {
        self.shared.settings.bucket.clone()
    }

    fn allowance(&self) -> Allowance {
        Allowance { clock: self.clock, progress: self.shared.settings.limits.progress, deadline: self.deadline }
    }

    /// One request, from rusoto's operation to its output, sent again where that can help and harms nothing.
    async fn call<T, E, F>(
        &self,
        doing: &Doing,
        answer: Answer,
        condition: Option<Condition>,
        repeat: Repeat,
        operation: impl Fn(S3Client) -> F,
    ) -> Result<T, Failure>
    where
        F: Future<Output = Result<T, RusotoError<E>>>,
    {
        let limits = &self.shared.settings.limits;
        let (mut tries, mut doubt, mut skewed) = (0, false, false);
        loop {
            let failure = match self.send(doing, answer, condition.clone(), &operation).await {
                Ok(output) => return Ok(output),
                Err(failure) => failure,
            };
            tries += 1;
            let pause = limits.pause(tries, failure.retry_after, self.clock, &doing.key);
            // One that was signed anew, and is refused for its time again, was not old: the clock is wrong.
            let wrong_clock = skewed && failure.meaning == Meaning::Skewed;
            skewed |= failure.meaning == Meaning::Skewed;
            let in_time = |pause: &Duration| self.deadline.is_none_or(|at| at > self.clock.now() + *pause);
            let Some(pause) = pause.filter(in_time) else { return Err(failure.after(tries, doubt)) };
            if !repeat.after(&failure) || tries >= limits.tries || wrong_clock {
                return Err(failure.after(tries, doubt));
            }
            doubt |= failure.meaning.again() == Again::Unsure;
            sleep(pause).await;
        }
    }

    async fn send<T, E, F>(
        &self,
        doing: &Doing,
        answer: Answer,
        condition: Option<Condition>,
        operation: impl Fn(S3Client) -> F,
    ) -> Result<T, Failure>
    where
        F: Future<Output = Result<T, RusotoError<E>>>,
    {
        let slot = Slot::default();
        let call = Call {
            line: Arc::clone(&self.shared.line),
            client: self.client.clone(),
            doing: doing.clone(),
            condition,
            answer,
            allowance: self.allowance(),
            slot: slot.clone(),
        };
        let client = S3Client::new_with_client(call.through(), self.shared.region.clone());
        operation(client).await.map_err(|error| match (slot.take(), error) {
            (Some(failure), _) => failure,
            (None, RusotoError::ParseError(why)) => doing
                .fails(Meaning::Garbled, "the answer cannot be understood")
                .because(self.shared.line.keys.redact(&why)),
            (None, _) => doing.fails(Meaning::Garbled, "the answer cannot be understood"),
        })
    }

    /// A look. The refusal of a HEAD has no text, so the reason is asked for with a GET: only a store that says
    /// `NoSuchKey` has no such key.
    async fn head(&self, key: &str) -> Result<Option<Held>, Failure> {
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

    async fn get(&self, key: &str, answer: Answer) -> Result<Option<GetObjectOutput>, Failure> {
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

impl Store for S3 {
    async fn read_small(&self, key: &str) -> Result<Option<Found>> {
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

    async fn write_small(&self, key: &str, bytes: Vec<u8>, expect: Expect<'_>) -> Result<Version> {
        self.replace(key, bytes, expect).await
    }

    async fn begin(&self, upload: &Upload<'_>) -> Result<Option<UploadId>> {
        check(upload)?;
        match upload.body.parts().len() {
            0 | 1 => Ok(None),
            _ => self.begin_parts(upload).await.map(Some).map_err(Failure::into_error),
        }
    }

    async fn put(&self, upload: &Upload<'_>, begun: Option<&UploadId>) -> Result<()> {
        check(upload)?;
        match (begun, upload.body.parts().len()) {
            (None, 0 | 1) => self.put_whole(upload).await,
            _ => self.put_parts(upload, begun).await,
        }
    }

    async fn abort(&self, key: &str, id: &UploadId) -> Result<()> {
        self.end_parts(key, id).await.map_err(Failure::into_error)
    }

    async fn look(&self, key: &str) -> Result<Option<Held>> {
        self.head(key).await.map_err(Failure::into_error)
    }

    async fn list(&self, prefix: &str, after: Option<&str>, limit: u32) -> Result<(Vec<Listed>, bool)> {
        let doing = self.doing("list", prefix, false);
        let request = || ListObjectsV2Request {
            bucket: self.bucket(),
            prefix: Some(prefix.to_owned()),
            start_after: after.map(str::to_owned),
            max_keys: Some(limit.into()),
            ..Default::default()
        };
        let answer = self.call(&doing, Answer::Document(LISTING), None, Repeat::Harmless, |client| {
            let request = request();
            async move { client.list_objects_v2(request).await }
        });
        let output = answer.await.map_err(Failure::into_error)?;
        let garbled = |why| doing.fails(Meaning::Garbled, why).into_error();
        // rusoto reads any XML, a login page too, as an empty listing, which would say that nothing is stored.
        let Some(more) = output.is_truncated else { return Err(garbled("the answer is no listing")) };
        let mut listed: Vec<Listed> = Vec::new();
        for object in output.contents.unwrap_or_default() {
            let (Some(key), Some(Ok(length))) = (object.key, object.size.map(u64::try_from)) else {
                return Err(garbled("a line of the answer lacks its key or its length"));
            };
            let last = listed.last().map(|last| &*last.key).or(after);
            if !key.starts_with(prefix) || last.is_some_and(|last| *key <= *last) {
                return Err(garbled("the answer lists what was not asked for, or not in order"));
            }
            listed.push(Listed { key, length });
        }
        if more && listed.is_empty() {
            return Err(garbled("the answer is empty and says that there is more"));
        }
        Ok((listed, more))
    }

    async fn open(&self, key: &str) -> Result<Option<Download>> {
        let Some(output) = self.get(key, Answer::Streamed).await.map_err(Failure::into_error)? else { return Ok(None) };
        Ok(Some(Download::new(Timed::new(output.body, self.doing("read", key, false), self.allowance()))))
    }
}

//! [`Store`] on an S3 or COS bucket.
//!
//! Owns: which rusoto operation carries which call; the reads are in [`read`], the writes in [`upload`], those in parts in [`parts`].
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
#[cfg(feature = "cli")]
mod probe;
mod read;
mod upload;

use std::fmt;
use std::future::Future;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::Duration;

use rusoto_core::{Region, RusotoError};
use rusoto_s3::S3Client;
use tokio::time::{Instant, sleep};

use super::dispatch::{Answer, Call, Line, Slot};
use super::endpoint::Endpoint;
use super::failure::{Again, Doing, Failure, Meaning};
use super::limits::Allowance;
use super::stream::Timed;
use super::{Addressing, Download, Expect, Found, Held, Keys, Limits, Listed, Store, Upload, UploadId, Version, wire};
use crate::{Clock, Error, Kind, Result};
#[cfg(feature = "cli")]
pub use probe::PROBES;
use upload::check;

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

/// Far less than others wait for an announced object to arrive.
const LONGEST_SLEEP: Duration = Duration::from_secs(5 * 60);

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
            // Without a condition it would go over the write that it met.
            Again::Anew => self == Repeat::Harmless,
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
    /// The machine's clock when the run began.
    began: Clock,
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
            began: Clock::system(),
        })
    }

    /// The same bucket for one run: no request is begun or waited for after `deadline`, and none travels on
    /// a connection from before, which may have died while the function was frozen. No write of a key is begun where
    /// the machine was suspended meanwhile.
    pub fn until(&self, deadline: Instant) -> S3 {
        let client = wire::client(self.shared.connector.clone());
        S3 { deadline: Some(deadline), client, began: Clock::system(), ..self.clone() }
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
            if doing.write && self.deadline.is_some() {
                self.is_awake(doing).map_err(|failure| failure.after(tries, doubt))?;
            }
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

    /// The monotonic clock, and so the deadline, may stand still while a machine is suspended, and others wait for this
    /// run's writes only so long.
    fn is_awake(&self, doing: &Doing) -> Result<(), Failure> {
        let slept = Clock::system().now_ms().saturating_sub(self.began.now_ms()) / 1000;
        if slept < LONGEST_SLEEP.as_secs() {
            return Ok(());
        }
        let text = format!(
            "this machine was suspended for {slept} s, or its clock was set: this run writes no more; run again"
        );
        Err(doing.fails(Meaning::NotSent, &text))
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
}

impl Store for S3 {
    async fn read_small(&self, key: &str) -> Result<Option<Found>> {
        self.read_whole(key).await
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
        self.page(prefix, after, limit).await
    }

    async fn open(&self, key: &str) -> Result<Option<Download>> {
        let Some(output) = self.get(key, Answer::Streamed).await.map_err(Failure::into_error)? else { return Ok(None) };
        Ok(Some(Download::new(Timed::new(output.body, self.doing("read", key, false), self.allowance()))))
    }
}

#[cfg(all(test, feature = "testing"))]
mod tests {
    use super::*;
    use crate::testing::bucket::{Bucket, Op};

    #[tokio::test]
    async fn a_run_that_slept_through_minutes_begins_no_more_writes() {
        let bucket = Bucket::start().await.unwrap();
        let clock = Clock::system();
        let store =
            S3::new(bucket.settings(Addressing::Path), clock).unwrap().until(clock.now() + Duration::from_secs(60));
        let slept = |seconds: u64| S3 { began: Clock::starting_at(clock.now_ms() - seconds * 1000), ..store.clone() };
        slept(200).write_small("head", b"1".to_vec(), Expect::Absent).await.unwrap();
        let sent = bucket.requests();
        assert!(sent.contains(&Op::Put), "{sent:?}");
        let error = slept(400).write_small("other", b"1".to_vec(), Expect::Absent).await.unwrap_err();
        assert_eq!((error.kind(), bucket.requests().len()), (Kind::Unavailable, sent.len()), "{error}");
        assert!(error.chain().contains("was suspended for 40"), "{}", error.chain());
        assert!(slept(400).read_small("head").await.unwrap().is_some());
    }
}

//! [`Store`] on an S3 or COS bucket.
//!
//! Owns: which rusoto operation carries which call, and when an object counts as stored: the answer's ETag
//! is the MD5 of what was sent, or a look finds its length and SHA-256. Does not own: how a request travels
//! ([`super::dispatch`]) and what a refusal means ([`super::failure`]).
//!
//! Every body carries `Content-MD5`, which is signed, so the store refuses other bytes than these. All
//! requests go through [`S3::call`]; trying again belongs there and nowhere else.

use std::collections::HashMap;
use std::future::Future;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use rusoto_core::{Region, RusotoError};
use rusoto_s3::{
    GetObjectOutput, GetObjectRequest, HeadObjectRequest, ListObjectsV2Request, PutObjectRequest, S3 as _, S3Client,
};
use tokio::time::Instant;

use super::bytes::{Slices, Timed};
use super::dispatch::{Answer, Call, Line, Slot};
use super::endpoint::Endpoint;
use super::failure::{Doing, Failure, Meaning};
use super::limits::Allowance;
use super::{Addressing, Download, Expect, Found, Held, Keys, Limits, Listed, SHA256, SMALL, Store, Upload, Version, wire};
use crate::encode::spool::Body;
use crate::{Clock, Error, Kind, Result};

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

/// A bucket. A clone is cheap and shares the connections.
#[derive(Clone)]
pub struct S3 {
    shared: Arc<Shared>,
    clock: Clock,
    deadline: Option<Instant>,
}

struct Shared {
    line: Arc<Line>,
    settings: Settings,
    region: Region,
    /// The store answered a condition with "not implemented", and the same write without it went through.
    unconditional: AtomicBool,
}

impl S3 {
    /// Sends nothing. `Invalid` if the endpoint or the bucket cannot be addressed.
    pub fn new(settings: Settings, clock: Clock) -> Result<Self> {
        if settings.bucket.is_empty() || !settings.bucket.bytes().all(|b| b.is_ascii_alphanumeric() || b"-._".contains(&b)) {
            let text = format!("bucket: must be letters, digits, `-`, `.` and `_`, got `{}`", settings.bucket);
            return Err(Error::new(Kind::Invalid, text));
        }
        let endpoint = Endpoint::new(&settings.endpoint, &settings.bucket, settings.addressing)?;
        let region = Region::Custom { name: settings.region.clone(), endpoint: endpoint.base().to_owned() };
        let client = wire::client(settings.limits.connect)?;
        let line = Arc::new(Line { client, endpoint, keys: settings.keys.clone() });
        Ok(S3 {
            shared: Arc::new(Shared { line, settings, region, unconditional: AtomicBool::new(false) }),
            clock,
            deadline: None,
        })
    }

    /// The same bucket for one run: no request is begun or waited for after `deadline`.
    pub fn until(&self, deadline: Instant) -> S3 {
        S3 { deadline: Some(deadline), ..self.clone() }
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

    /// One request, from rusoto's operation to its output.
    async fn call<T, E, F>(
        &self,
        doing: &Doing,
        answer: Answer,
        condition: Option<(&'static str, String)>,
        operation: impl Fn(S3Client) -> F,
    ) -> Result<T, Failure>
    where
        F: Future<Output = Result<T, RusotoError<E>>>,
    {
        let slot = Slot::default();
        let call = Call {
            line: Arc::clone(&self.shared.line),
            doing: doing.clone(),
            condition,
            answer,
            allowance: self.allowance(),
            slot: slot.clone(),
        };
        let client = S3Client::new_with_client(call.client(), self.shared.region.clone());
        operation(client).await.map_err(|error| match (slot.take(), error) {
            (Some(failure), _) => failure,
            (None, RusotoError::ParseError(why)) => {
                doing.fails(Meaning::Garbled, "the answer cannot be understood").because(why)
            }
            (None, _) => doing.fails(Meaning::Garbled, "the answer cannot be understood"),
        })
    }

    /// A PUT under a condition, where the store knows conditions; elsewhere a look stands in for it.
    async fn write(
        &self,
        doing: &Doing,
        expect: Expect<'_>,
        request: impl Fn() -> PutObjectRequest,
    ) -> Result<Option<Version>, Failure> {
        let send = async |condition| {
            let put = self.call(doing, Answer::Whole(SMALL), condition, |client| {
                let request = request();
                async move { client.put_object(request).await }
            });
            put.await.map(|output| output.e_tag.map(Version))
        };
        if !self.shared.unconditional.load(Relaxed) {
            let condition = match expect {
                Expect::Absent => ("If-None-Match", "*".to_owned()),
                Expect::Unchanged(version) => ("If-Match", version.as_str().to_owned()),
            };
            match send(Some(condition)).await {
                Err(failure) if failure.meaning == Meaning::Unsupported => {}
                other => return other,
            }
        }
        let held = self.head(&doing.key).await?;
        match (expect, &held) {
            (Expect::Absent, None) => {}
            (Expect::Unchanged(version), Some(held)) if held.version == *version => {}
            _ => return Err(doing.fails(Meaning::Precondition, "somebody else wrote it")),
        }
        let written = send(None).await?;
        self.shared.unconditional.store(true, Relaxed);
        Ok(written)
    }

    fn request(&self, key: &str, body: &Body) -> PutObjectRequest {
        PutObjectRequest {
            bucket: self.bucket(),
            key: key.to_owned(),
            content_md5: Some(STANDARD.encode(body.md5())),
            server_side_encryption: self.shared.settings.sse.clone(),
            body: Some(Slices::of(body)),
            ..PutObjectRequest::default()
        }
    }

    async fn head(&self, key: &str) -> Result<Option<Held>, Failure> {
        let doing = self.doing("look at", key, false);
        let request = || HeadObjectRequest { bucket: self.bucket(), key: key.to_owned(), ..Default::default() };
        let answer = self.call(&doing, Answer::Whole(0), None, |client| {
            let request = request();
            async move { client.head_object(request).await }
        });
        let output = match absent(answer.await)? {
            None => return Ok(None),
            Some(output) => output,
        };
        let (Some(length), Some(tag)) = (output.content_length.and_then(|it| u64::try_from(it).ok()), output.e_tag) else {
            return Err(doing.fails(Meaning::Garbled, "the answer lacks the length or the ETag"));
        };
        let metadata = output.metadata.unwrap_or_default().into_iter().collect();
        Ok(Some(Held { length, metadata, version: Version(tag) }))
    }

    async fn get(&self, key: &str, answer: Answer) -> Result<Option<GetObjectOutput>, Failure> {
        let doing = self.doing("read", key, false);
        let request = || GetObjectRequest { bucket: self.bucket(), key: key.to_owned(), ..Default::default() };
        let answer = self.call(&doing, answer, None, |client| {
            let request = request();
            async move { client.get_object(request).await }
        });
        absent(answer.await)
    }

    /// Whether what is stored under a key is this upload, after its PUT was refused or left a doubt.
    async fn settle(&self, upload: &Upload<'_>, doing: &Doing, doubt: Option<Failure>) -> Result<()> {
        let sure = doubt.as_ref().is_some_and(|doubt| matches!(doubt.meaning, Meaning::Precondition | Meaning::Contended));
        match self.head(upload.key).await {
            Ok(Some(held)) if same(&held, upload.body) => Ok(()),
            Ok(Some(_)) => {
                let text = format!("`{}` in bucket `{}` already holds something else", upload.key, self.bucket());
                let error = Error::new(Kind::Conflict, text);
                Err(match doubt {
                    Some(doubt) => error.because(doubt.into_error()),
                    None => error,
                })
            }
            // Gone again, or not yet there: nothing of ours was stored by this call.
            Ok(None) if sure => Err(doing.fails(Meaning::Broken, "another write of this key was under way").into_error()),
            Ok(None) => Err(match doubt {
                Some(doubt) => doubt.into_error(),
                None => doing.fails(Meaning::Unanswered, "the store confirmed it but does not show it").into_error(),
            }),
            Err(failure) if sure && failure.kind() == Kind::Denied => Err(failure.into_error()),
            Err(failure) => {
                let text = match doubt {
                    Some(doubt) => doubt.into_error().chain(),
                    None => format!("the ETag of `{}` does not prove what was stored", upload.key),
                };
                Err(Error::new(Kind::Unknown, format!("{text}; a look did not settle it")).because(failure.into_error()))
            }
        }
    }
}

impl Store for S3 {
    async fn read_small(&self, key: &str) -> Result<Option<Found>> {
        let Some(output) = self.get(key, Answer::Whole(SMALL)).await.map_err(Failure::into_error)? else { return Ok(None) };
        let doing = self.doing("read", key, false);
        let Some(tag) = output.e_tag else {
            return Err(doing.fails(Meaning::Garbled, "the answer lacks the ETag").into_error());
        };
        let mut bytes = Vec::new();
        let mut body = Download::new(Timed::new(output.body, doing, self.allowance()));
        while let Some(chunk) = body.next().await? {
            bytes.extend_from_slice(&chunk);
        }
        Ok(Some(Found { bytes, version: Version(tag) }))
    }

    async fn write_small(&self, key: &str, bytes: Vec<u8>, expect: Expect<'_>) -> Result<Version> {
        let doing = self.doing("write", key, true);
        let body = Body::from(bytes);
        let request = || PutObjectRequest {
            content_type: Some("application/json".to_owned()),
            ..self.request(key, &body)
        };
        match self.write(&doing, expect, request).await {
            Ok(Some(version)) => Ok(version),
            Ok(None) => Err(doing.fails(Meaning::Garbled, "the answer lacks the ETag").into_error()),
            // The answer to If-Match on a key that is gone.
            Err(failure) if failure.meaning == Meaning::NoSuchKey => {
                Err(doing.fails(Meaning::Precondition, "somebody else removed it").into_error())
            }
            Err(failure) => Err(failure.into_error()),
        }
    }

    async fn put(&self, upload: &Upload<'_>) -> Result<()> {
        let doing = self.doing("store", upload.key, true);
        check(upload)?;
        let request = || {
            let mut metadata: HashMap<_, _> = upload.metadata.iter().cloned().collect();
            metadata.insert(SHA256.to_owned(), hex(&upload.body.sha256()));
            PutObjectRequest {
                content_type: Some(upload.content_type.to_owned()),
                content_encoding: upload.content_encoding.map(str::to_owned),
                metadata: Some(metadata),
                storage_class: self.shared.settings.storage_class.clone(),
                ..self.request(upload.key, upload.body)
            }
        };
        let doubt = match self.write(&doing, Expect::Absent, request).await {
            Ok(Some(version)) if version.as_str().trim_matches('"') == hex(&upload.body.md5()) => return Ok(()),
            // With server-side encryption an ETag is not the MD5.
            Ok(_) => None,
            Err(failure) if failure.may_be_stored() => Some(failure),
            Err(failure) => return Err(failure.into_error()),
        };
        self.settle(upload, &doing, doubt).await
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
        let answer = self.call(&doing, Answer::Whole(LISTING), None, |client| {
            let request = request();
            async move { client.list_objects_v2(request).await }
        });
        let output = answer.await.map_err(Failure::into_error)?;
        let line = |object: rusoto_s3::Object| {
            Some(Listed { key: object.key?, length: u64::try_from(object.size?).ok()? })
        };
        let listed: Option<Vec<_>> = output.contents.unwrap_or_default().into_iter().map(line).collect();
        // A listing with a line left out would say that an object is not there.
        let Some(listed) = listed else {
            return Err(doing.fails(Meaning::Garbled, "a line of the answer lacks its key or length").into_error());
        };
        Ok((listed, output.is_truncated.unwrap_or(false)))
    }

    async fn open(&self, key: &str) -> Result<Option<Download>> {
        let Some(output) = self.get(key, Answer::Streamed).await.map_err(Failure::into_error)? else { return Ok(None) };
        Ok(Some(Download::new(Timed::new(output.body, self.doing("read", key, false), self.allowance()))))
    }
}

/// `None` for a missing key.
fn absent<T>(answer: Result<T, Failure>) -> Result<Option<T>, Failure> {
    match answer {
        Ok(output) => Ok(Some(output)),
        Err(failure) if failure.meaning == Meaning::NoSuchKey => Ok(None),
        Err(failure) => Err(failure),
    }
}

fn same(held: &Held, body: &Body) -> bool {
    held.length == body.length() && held.metadata.get(SHA256).is_some_and(|held| *held == hex(&body.sha256()))
}

/// Names and values that every store takes and that every implementation of the signature reads alike.
fn check(upload: &Upload<'_>) -> Result<()> {
    for (name, value) in upload.metadata {
        let plain = !name.is_empty() && name.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-');
        let tidy = value.bytes().all(|b| b.is_ascii_graphic() || b == b' ') && value.trim() == value && !value.contains("  ");
        if !plain || !tidy {
            let text = format!("metadata `{name}` of `{}` cannot be sent as a header", upload.key);
            return Err(Error::new(Kind::Internal, text));
        }
    }
    Ok(())
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

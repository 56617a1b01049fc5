//! Writes: conditions, and when an object counts as stored.
//!
//! An object is stored when the answer's ETag is the MD5 of what was sent, or when a look finds its length and
//! SHA-256. Every body carries `Content-MD5`, which is signed, so the store refuses other bytes than these.

use std::collections::HashMap;
use std::future::Future;
use std::sync::atomic::Ordering::Relaxed;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use rusoto_s3::{PutObjectRequest, S3 as _};

use super::{Condition, Repeat, S3};
use crate::encode::spool::{Body, Part, hex};
use crate::store::dispatch::Answer;
use crate::store::failure::{Doing, Failure, Meaning};
use crate::store::stream::Slices;
use crate::store::{Expect, Held, SHA256, SMALL, Store as _, Upload, Version};
use crate::{Error, Kind, Result};

impl S3 {
    /// [`Store::write_small`](super::super::Store::write_small).
    pub(super) async fn replace(&self, key: &str, bytes: Vec<u8>, expect: Expect<'_>) -> Result<Version> {
        let doing = self.doing("write", key, true);
        let body = Body::from(bytes);
        let request =
            || PutObjectRequest { content_type: Some("application/json".to_owned()), ..self.request(key, &body) };
        match self.write(&doing, expect, request).await {
            Ok(Some(version)) => Ok(version),
            Ok(None) => Err(doing.fails(Meaning::Garbled, "the answer lacks the ETag").into_error()),
            // An earlier try of this very write may be what stands there now.
            Err(failure) if failure.doubt => self.recognise(&doing, &body, failure).await,
            // The answer to If-Match on a key that is gone.
            Err(failure) if failure.meaning == Meaning::NoSuchKey => {
                Err(doing.fails(Meaning::Precondition, "somebody else removed it").into_error())
            }
            Err(failure) => Err(failure.into_error()),
        }
    }

    /// The version of a write that was sent several times: its own, where the key holds its bytes.
    async fn recognise(&self, doing: &Doing, body: &Body, failure: Failure) -> Result<Version> {
        match self.read_small(&doing.key).await {
            Ok(Some(found)) if same_bytes(&found.bytes, body) => Ok(found.version),
            Ok(_) if matches!(failure.meaning, Meaning::Precondition | Meaning::NoSuchKey) => {
                Err(doing.fails(Meaning::Precondition, "somebody else wrote or removed it").into_error())
            }
            Ok(_) => Err(failure.into_error()),
            Err(error) => Err(Error::new(Kind::Unknown, failure.into_error().chain()).because(error)),
        }
    }

    /// [`Store::put`](super::super::Store::put) in one request.
    pub(super) async fn put_whole(&self, upload: &Upload<'_>) -> Result<()> {
        let doing = self.doing("store", upload.key, true);
        let md5 = whole(upload.body).md5;
        let request = || PutObjectRequest {
            content_type: Some(upload.content_type.to_owned()),
            content_encoding: upload.content_encoding.map(str::to_owned),
            metadata: Some(metadata(upload)),
            storage_class: self.shared.settings.storage_class.clone(),
            ..self.request(upload.key, upload.body)
        };
        let doubt = match self.write(&doing, Expect::Absent, request).await {
            Ok(Some(version)) if is_tag(version.as_str(), &hex(&md5)) => return Ok(()),
            // With server-side encryption an ETag is not the MD5.
            Ok(_) => None,
            Err(failure) if failure.may_be_stored() => Some(failure),
            Err(failure) => return Err(failure.into_error()),
        };
        self.settle(upload, &doing, doubt).await?.into_result()
    }

    /// A PUT under a condition, where the store knows conditions; elsewhere a look stands in for it.
    async fn write(
        &self,
        doing: &Doing,
        expect: Expect<'_>,
        request: impl Fn() -> PutObjectRequest,
    ) -> Result<Option<Version>, Failure> {
        let request = &request;
        let send = |condition: Option<Condition>| async move {
            let repeat = if condition.is_some() { Repeat::Harmless } else { Repeat::Never };
            let put = self.call(doing, Answer::Document(SMALL), condition, repeat, |client| {
                let request = request();
                async move { client.put_object(request).await }
            });
            put.await.map(|output| output.e_tag.map(Version))
        };
        self.conditional(doing, expect, send).await
    }

    /// Any write under a condition, as `send` makes it; without one after a look, where the store knows none.
    pub(super) async fn conditional<T, F>(
        &self,
        doing: &Doing,
        expect: Expect<'_>,
        send: impl Fn(Option<Condition>) -> F,
    ) -> Result<T, Failure>
    where
        F: Future<Output = Result<T, Failure>>,
    {
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
        let Part { range, md5 } = whole(body);
        PutObjectRequest {
            bucket: self.bucket(),
            key: key.to_owned(),
            content_md5: Some(STANDARD.encode(md5)),
            server_side_encryption: self.shared.settings.sse.clone(),
            body: Some(Slices::of(body, range)),
            ..PutObjectRequest::default()
        }
    }

    /// Whether what is stored under a key is this upload, after its write was refused or left a doubt.
    pub(super) async fn settle(&self, upload: &Upload<'_>, doing: &Doing, doubt: Option<Failure>) -> Result<Settled> {
        let sure =
            doubt.as_ref().is_some_and(|doubt| matches!(doubt.meaning, Meaning::Precondition | Meaning::Contended));
        match self.head(upload.key).await {
            Ok(Some(held)) if same(&held, upload.body) => Ok(Settled::Stored),
            Ok(Some(_)) => {
                let text = format!("`{}` in bucket `{}` already holds something else", upload.key, self.bucket());
                let error = Error::new(Kind::Conflict, text);
                Err(match doubt {
                    Some(doubt) => error.because(doubt.into_error()),
                    None => error,
                })
            }
            // Gone again, or not yet there: nothing of ours was stored by this call.
            Ok(None) if sure => Ok(Settled::Not(doing.fails(Meaning::Slow, "another write of this key was under way"))),
            Ok(None) => Ok(Settled::Not(match doubt {
                Some(doubt) => doubt,
                None => doing.fails(Meaning::Unanswered, "the store confirmed it but does not show it"),
            })),
            Err(failure) if sure && failure.kind() == Kind::Denied => Err(failure.into_error()),
            Err(failure) => {
                let text = match doubt {
                    Some(doubt) => doubt.into_error().chain(),
                    None => format!("the ETag of `{}` does not prove what was stored", upload.key),
                };
                Err(Error::new(Kind::Unknown, format!("{text}; a look did not settle it"))
                    .because(failure.into_error()))
            }
        }
    }
}

/// What a look says of a write that left a doubt.
pub(super) enum Settled {
    Stored,
    /// It is not there, and why it is not.
    Not(Failure),
}

impl Settled {
    fn into_result(self) -> Result<()> {
        match self {
            Settled::Stored => Ok(()),
            Settled::Not(failure) => Err(failure.into_error()),
        }
    }
}

/// The only part of a body that goes up in one request.
fn whole(body: &Body) -> Part {
    body.parts().next().expect("a body has a part")
}

/// What a reader can check without the bytes.
pub(super) fn metadata(upload: &Upload<'_>) -> HashMap<String, String> {
    let mut metadata: HashMap<_, _> = upload.metadata.iter().cloned().collect();
    metadata.insert(SHA256.to_owned(), upload.body.sha256_hex());
    metadata
}

/// Whether an ETag, in its quotes or without, is `expected`.
pub(super) fn is_tag(tag: &str, expected: &str) -> bool {
    tag.trim_matches('"') == expected
}

fn same_bytes(bytes: &[u8], body: &Body) -> bool {
    bytes.len() as u64 == body.length() && Body::from(bytes.to_vec()).sha256() == body.sha256()
}

fn same(held: &Held, body: &Body) -> bool {
    held.length == body.length() && held.metadata.get(SHA256).is_some_and(|held| *held == body.sha256_hex())
}

/// Names and values that every store takes and that every implementation of the signature reads alike.
pub(super) fn check(upload: &Upload<'_>) -> Result<()> {
    for (name, value) in upload.metadata {
        let plain = !name.is_empty() && name.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-');
        let tidy =
            value.bytes().all(|b| b.is_ascii_graphic() || b == b' ') && value.trim() == value && !value.contains("  ");
        if !plain || !tidy {
            let text = format!("metadata `{name}` of `{}` cannot be sent as a header", upload.key);
            return Err(Error::new(Kind::Internal, text));
        }
    }
    Ok(())
}

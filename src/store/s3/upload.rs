//! Writes: conditions, and when an object counts as stored.
//!
//! An object is stored when the answer's ETag is the MD5 of what was sent, or when a look finds its length and
//! SHA-256. Every body carries `Content-MD5`, which is signed, so the store refuses other bytes than these.

use std::collections::HashMap;
use std::sync::atomic::Ordering::Relaxed;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use rusoto_s3::{PutObjectRequest, S3 as _};

use super::S3;
use crate::encode::spool::Body;
use crate::store::dispatch::Answer;
use crate::store::failure::{Doing, Failure, Meaning};
use crate::store::stream::Slices;
use crate::store::{Expect, Held, SHA256, SMALL, Upload, Version};
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
            // The answer to If-Match on a key that is gone.
            Err(failure) if failure.meaning == Meaning::NoSuchKey => {
                Err(doing.fails(Meaning::Precondition, "somebody else removed it").into_error())
            }
            Err(failure) => Err(failure.into_error()),
        }
    }

    /// [`Store::put`](super::super::Store::put).
    pub(super) async fn create(&self, upload: &Upload<'_>) -> Result<()> {
        let doing = self.doing("store", upload.key, true);
        check(upload)?;
        let request = || {
            let mut metadata: HashMap<_, _> = upload.metadata.iter().cloned().collect();
            metadata.insert(SHA256.to_owned(), upload.body.sha256_hex());
            PutObjectRequest {
                content_type: Some(upload.content_type.to_owned()),
                content_encoding: upload.content_encoding.map(str::to_owned),
                metadata: Some(metadata),
                storage_class: self.shared.settings.storage_class.clone(),
                ..self.request(upload.key, upload.body)
            }
        };
        let doubt = match self.write(&doing, Expect::Absent, request).await {
            Ok(Some(version)) if version.as_str().trim_matches('"') == upload.body.md5_hex() => return Ok(()),
            // With server-side encryption an ETag is not the MD5.
            Ok(_) => None,
            Err(failure) if failure.may_be_stored() => Some(failure),
            Err(failure) => return Err(failure.into_error()),
        };
        self.settle(upload, &doing, doubt).await
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

    /// Whether what is stored under a key is this upload, after its PUT was refused or left a doubt.
    async fn settle(&self, upload: &Upload<'_>, doing: &Doing, doubt: Option<Failure>) -> Result<()> {
        let sure =
            doubt.as_ref().is_some_and(|doubt| matches!(doubt.meaning, Meaning::Precondition | Meaning::Contended));
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
            Ok(None) if sure => {
                Err(doing.fails(Meaning::Broken, "another write of this key was under way").into_error())
            }
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
                Err(Error::new(Kind::Unknown, format!("{text}; a look did not settle it"))
                    .because(failure.into_error()))
            }
        }
    }
}

fn same(held: &Held, body: &Body) -> bool {
    held.length == body.length() && held.metadata.get(SHA256).is_some_and(|held| *held == body.sha256_hex())
}

/// Names and values that every store takes and that every implementation of the signature reads alike.
fn check(upload: &Upload<'_>) -> Result<()> {
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

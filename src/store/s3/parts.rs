//! A long object, in parts.
//!
//! ```text
//!  Create ─▶ id ─▶ the head announces it ─▶ parts, a few at a time ─▶ Complete ─▶ stored
//!                                              └────── any failure ──────┴─▶ Abort
//! ```
//!
//! Nothing has a name before Complete, and Complete is one request under the same condition as a PUT. It is believed
//! when its ETag is made of the parts' own digests; else a look finds length and SHA-256, or it is not. Parts are read
//! from the spool while they are sent, 64 KiB at a time: how many are under way costs connections, not memory.

use std::future::{Future, poll_fn};
use std::pin::Pin;
use std::task::Poll;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use md5::{Digest, Md5};
use rusoto_s3::{
    AbortMultipartUploadRequest, CompleteMultipartUploadRequest, CompletedMultipartUpload, CompletedPart,
    CreateMultipartUploadRequest, S3 as _, UploadPartRequest,
};

use super::upload::{Settled, is_tag, metadata};
use super::{Condition, Repeat, S3};
use crate::encode::spool::{Body, Part, hex};
use crate::store::dispatch::Answer;
use crate::store::failure::{Failure, Meaning};
use crate::store::stream::Slices;
use crate::store::{Expect, SMALL, Upload, UploadId};
use crate::{Kind, Result};

/// Parts under way at one time.
const AT_ONCE: usize = 4;

/// A Complete that met another write of the key begins anew, this often.
const ANEW: u32 = 2;

impl S3 {
    /// Begins an upload.
    pub(super) async fn begin_parts(&self, upload: &Upload<'_>) -> Result<UploadId, Failure> {
        let doing = self.doing("begin to store", upload.key, false);
        let settings = &self.shared.settings;
        let request = || CreateMultipartUploadRequest {
            bucket: self.bucket(),
            key: upload.key.to_owned(),
            content_type: Some(upload.content_type.to_owned()),
            content_encoding: upload.content_encoding.map(str::to_owned),
            metadata: Some(metadata(upload)),
            storage_class: settings.storage_class.clone(),
            server_side_encryption: settings.sse.clone(),
            ..CreateMultipartUploadRequest::default()
        };
        let begun = self.call(&doing, Answer::Document(SMALL), None, Repeat::Harmless, |client| {
            let request = request();
            async move { client.create_multipart_upload(request).await }
        });
        match begun.await?.upload_id.filter(|id| !id.is_empty()) {
            Some(id) => Ok(UploadId::new(id)),
            None => Err(doing.fails(Meaning::Garbled, "the answer lacks the upload's id")),
        }
    }

    /// Ends an upload, if it has not ended.
    pub(super) async fn end_parts(&self, key: &str, id: &UploadId) -> Result<(), Failure> {
        let doing = self.doing("end an upload of", key, false);
        let request = || AbortMultipartUploadRequest {
            bucket: self.bucket(),
            key: key.to_owned(),
            upload_id: id.as_str().to_owned(),
            ..AbortMultipartUploadRequest::default()
        };
        let ended = self.call(&doing, Answer::Document(SMALL), None, Repeat::Harmless, |client| {
            let request = request();
            async move { client.abort_multipart_upload(request).await }
        });
        match ended.await {
            Ok(_) => Ok(()),
            Err(failure) if failure.meaning == Meaning::NoSuchUpload => Ok(()),
            Err(failure) => Err(failure),
        }
    }

    /// [`Store::put`](super::super::Store::put) of an object that has several parts.
    pub(super) async fn put_parts(&self, upload: &Upload<'_>, begun: Option<&UploadId>) -> Result<()> {
        let mut begun = begun.cloned();
        for round in 1.. {
            let id = match begun.take() {
                Some(id) => id,
                None => self.begin_parts(upload).await.map_err(Failure::into_error)?,
            };
            let error = match self.all_parts(upload, &id).await {
                Ok(parts) => match self.complete(upload, &id, parts).await {
                    Ok(Settled::Stored) => return Ok(()),
                    Ok(Settled::Not(failure)) if failure.meaning == Meaning::Contended && round < ANEW => None,
                    Ok(Settled::Not(failure)) => Some(failure.into_error()),
                    Err(error) => Some(error),
                },
                Err(failure) => Some(failure.into_error()),
            };
            // It may yet be completed, or be so already: the next run finds out, and aborts it if it is not.
            if !error.as_ref().is_some_and(|error| error.kind() == Kind::Unknown) {
                // What could not be aborted now is aborted by whoever reads its id in the head.
                let _ = self.end_parts(upload.key, &id).await;
            }
            if let Some(error) = error {
                return Err(error);
            }
        }
        unreachable!("the last round returns")
    }

    /// Sends every part; they are in their order. The first failure ends them all.
    async fn all_parts(&self, upload: &Upload<'_>, id: &UploadId) -> Result<Vec<CompletedPart>, Failure> {
        type Sending<'a> = Pin<Box<dyn Future<Output = Result<CompletedPart, Failure>> + Send + 'a>>;
        let mut waiting = (1..).zip(upload.body.parts());
        let mut under_way: Vec<Sending<'_>> = Vec::with_capacity(AT_ONCE);
        let mut sent = Vec::with_capacity(upload.body.parts().len());
        loop {
            while under_way.len() < AT_ONCE {
                let Some((number, part)) = waiting.next() else { break };
                under_way.push(Box::pin(self.part(upload, id, number, part)));
            }
            if under_way.is_empty() {
                break;
            }
            // No task of its own for a part: a run that is dropped sends nothing more.
            let done = poll_fn(|context| {
                for at in 0..under_way.len() {
                    if let Poll::Ready(done) = under_way[at].as_mut().poll(context) {
                        drop(under_way.swap_remove(at));
                        return Poll::Ready(done);
                    }
                }
                Poll::Pending
            });
            sent.push(done.await?);
        }
        sent.sort_by_key(|part| part.part_number);
        Ok(sent)
    }

    async fn part(
        &self,
        upload: &Upload<'_>,
        id: &UploadId,
        number: i64,
        Part { range, md5 }: Part,
    ) -> Result<CompletedPart, Failure> {
        let doing = self.doing("store a part of", upload.key, false);
        let request = || UploadPartRequest {
            bucket: self.bucket(),
            key: upload.key.to_owned(),
            upload_id: id.as_str().to_owned(),
            part_number: number,
            content_md5: Some(STANDARD.encode(md5)),
            body: Some(Slices::of(upload.body, range.clone())),
            ..UploadPartRequest::default()
        };
        let sent = self.call(&doing, Answer::Document(SMALL), None, Repeat::Harmless, |client| {
            let request = request();
            async move { client.upload_part(request).await }
        });
        let output = sent.await?;
        let Some(tag) = output.e_tag else {
            return Err(doing.fails(Meaning::Garbled, "the answer lacks the ETag"));
        };
        // With a key service's encryption an ETag is no MD5; the signed Content-MD5 stands alone.
        let opaque = [&output.server_side_encryption, &self.shared.settings.sse]
            .into_iter()
            .flatten()
            .any(|kind| kind.contains("kms"));
        if !opaque && !is_tag(&tag, &hex(&md5)) {
            return Err(doing.fails(Meaning::Damaged, "the ETag of a part is not the MD5 of what was sent"));
        }
        Ok(CompletedPart { e_tag: Some(tag), part_number: Some(number) })
    }

    /// Makes one object of the parts, under its name, if nothing else has it.
    async fn complete(&self, upload: &Upload<'_>, id: &UploadId, parts: Vec<CompletedPart>) -> Result<Settled> {
        let doing = self.doing("store", upload.key, true);
        let request = &|| CompleteMultipartUploadRequest {
            bucket: self.bucket(),
            key: upload.key.to_owned(),
            upload_id: id.as_str().to_owned(),
            multipart_upload: Some(CompletedMultipartUpload { parts: Some(parts.clone()) }),
            ..CompleteMultipartUploadRequest::default()
        };
        let doing = &doing;
        let send = |condition: Option<Condition>| async move {
            let completed = self.call(doing, Answer::Document(SMALL), condition, Repeat::Finish, |client| {
                let request = request();
                async move { client.complete_multipart_upload(request).await }
            });
            completed.await.map(|output| output.e_tag)
        };
        let doubt = match self.conditional(doing, Expect::Absent, send).await {
            Ok(Some(tag)) if is_tag(&tag, &tag_of_parts(upload.body)) => return Ok(Settled::Stored),
            Ok(_) => None,
            Err(failure) if failure.may_be_stored() => Some(failure),
            Err(failure) => return Ok(Settled::Not(failure)),
        };
        let contended = doubt.as_ref().is_some_and(|doubt| doubt.meaning == Meaning::Contended);
        match self.settle(upload, doing, doubt).await? {
            Settled::Not(_) if contended => {
                Ok(Settled::Not(doing.fails(Meaning::Contended, "another write of this key was under way")))
            }
            // It may be there from another upload than this.
            Settled::Stored => {
                let _ = self.end_parts(upload.key, id).await;
                Ok(Settled::Stored)
            }
            settled => Ok(settled),
        }
    }
}

/// The ETag of an object that was stored in the parts of `body`: the MD5 of their MD5s, and how many they are.
fn tag_of_parts(body: &Body) -> String {
    let mut whole = Md5::new();
    let parts = body.parts();
    let count = parts.len();
    for part in parts {
        whole.update(part.md5);
    }
    format!("{}-{count}", hex(&whole.finalize()))
}

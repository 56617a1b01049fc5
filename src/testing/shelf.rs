//! One bucket's objects as plain files, behind the S3 operations that this project uses.
//!
//! Owns: what a store must get right for the tests to mean anything: a missing bucket is refused, bytes that
//! do not match their `Content-MD5` or length are not kept, and of several conditional writes one
//! wins. Does not own: objects that come in parts (`testing::uploads`), signatures, hosts and XML, which are the server library's.
//!
//! `s3s-fs` is not used: it makes a missing bucket, keeps what it refuses, lets several conditional writes
//! win, and puts a key into one file name, which ends near 160 bytes.

use std::collections::{BTreeMap, HashMap};
use std::fs::{self, File};
use std::future::poll_fn;
use std::io::{self, Read, Write};
use std::ops::Bound::{Excluded, Included, Unbounded};
use std::path::{Path, PathBuf};
use std::pin::Pin;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll};

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use futures_core::Stream;
use md5::{Digest, Md5};
use s3s::dto::{
    AbortMultipartUploadInput, AbortMultipartUploadOutput, CompleteMultipartUploadInput, CompleteMultipartUploadOutput,
    CreateMultipartUploadInput, CreateMultipartUploadOutput, DeleteObjectInput, DeleteObjectOutput, ETag,
    GetObjectInput, GetObjectOutput, HeadObjectInput, HeadObjectOutput, IfMatch, IfNoneMatch, ListObjectsV2Input,
    ListObjectsV2Output, Object, PutObjectInput, PutObjectOutput, StreamingBlob, UploadPartInput, UploadPartOutput,
};
use s3s::{S3, S3Error, S3Request, S3Response, S3Result, s3_error};
use tempfile::TempPath;

use super::uploads::Uploads;
use crate::encode::spool::hex;

/// Of a file, in bytes.
const LONGEST_NAME: usize = 250;

#[derive(Clone)]
pub(super) struct Shelf(Arc<Inner>);

struct Inner {
    dir: PathBuf,
    bucket: String,
    incoming: AtomicU64,
    objects: Mutex<BTreeMap<String, Stored>>,
    uploads: Uploads,
}

#[derive(Clone)]
pub(super) struct Stored {
    pub length: u64,
    pub md5: String,
    pub metadata: HashMap<String, String>,
    pub content_type: Option<String>,
    pub content_encoding: Option<String>,
    pub storage_class: Option<String>,
    pub sse: Option<String>,
}

/// `If-None-Match` and `If-Match`.
pub(super) type Expected = (Option<IfNoneMatch>, Option<IfMatch>);

impl Shelf {
    pub fn new(dir: &Path, bucket: &str) -> io::Result<Self> {
        fs::create_dir_all(dir.join(bucket))?;
        fs::create_dir_all(dir.join(".incoming"))?;
        let objects = Mutex::default();
        Ok(Shelf(Arc::new(Inner {
            dir: dir.to_owned(),
            bucket: bucket.to_owned(),
            incoming: AtomicU64::new(0),
            objects,
            uploads: Uploads::default(),
        })))
    }

    pub fn objects(&self) -> MutexGuard<'_, BTreeMap<String, Stored>> {
        self.0.objects.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The ids of multipart uploads under way.
    pub fn uploads(&self) -> Vec<String> {
        self.0.uploads.ids()
    }

    /// Where the bytes of a key lie. A key that ends with `/` is a marker, which other keys may lie below; a part that
    /// is longer than the name of a file goes on in folders of its own.
    pub fn path(&self, key: &str) -> PathBuf {
        let mut path = self.0.dir.join(&self.0.bucket);
        for part in key.split('/') {
            if part.len() <= LONGEST_NAME {
                path.push(part);
                continue;
            }
            let letters: Vec<char> = part.chars().collect();
            letters.chunks(LONGEST_NAME / 4).for_each(|piece| path.push(String::from_iter(piece) + "~"));
        }
        if key.ends_with('/') { path.join(".marker") } else { path }
    }

    fn known(&self, bucket: &str) -> S3Result<()> {
        if bucket == self.0.bucket { Ok(()) } else { Err(s3_error!(NoSuchBucket, "the bucket does not exist")) }
    }

    fn find(&self, bucket: &str, key: &str) -> S3Result<Stored> {
        self.known(bucket)?;
        self.objects().get(key).cloned().ok_or_else(|| s3_error!(NoSuchKey, "the key does not exist"))
    }

    /// Keeps an object if its key is in the state that the writer expects.
    pub fn keep(&self, key: &str, stored: Stored, from: &Path, expect: &Expected) -> S3Result<()> {
        let mut objects = self.objects();
        let held = objects.get(key).map(|held| ETag::Strong(held.md5.clone()));
        if expect.0.as_ref().is_some_and(|it| it.is_any()) && held.is_some() {
            return Err(s3_error!(PreconditionFailed, "at least one of the preconditions did not hold"));
        }
        if let Some(expected) = expect.1.as_ref() {
            let Some(held) = held else { return Err(s3_error!(NoSuchKey, "the key does not exist")) };
            if expected.as_etag().is_some_and(|expected| *expected != held) {
                return Err(s3_error!(PreconditionFailed, "at least one of the preconditions did not hold"));
            }
        }
        let path = self.path(key);
        let parent = path.parent().ok_or_else(|| s3_error!(InvalidArgument))?;
        fs::create_dir_all(parent).and_then(|()| fs::rename(from, &path)).map_err(S3Error::internal_error)?;
        objects.insert(key.to_owned(), stored);
        Ok(())
    }

    /// The bytes of a request, whole and as they were sent, in a file that goes when its path is dropped.
    pub async fn receive(
        &self,
        body: Option<StreamingBlob>,
        length: Option<i64>,
        md5: Option<&String>,
    ) -> S3Result<(TempPath, u64, [u8; 16])> {
        let mut body = body.ok_or_else(|| s3_error!(IncompleteBody))?;
        let spare = TempPath::try_from_path(self.spare()).map_err(S3Error::internal_error)?;
        let mut file = File::create(&spare).map_err(S3Error::internal_error)?;
        let (mut taken, mut digest) = (0, Md5::new());
        while let Some(chunk) = poll_fn(|context| Pin::new(&mut body).poll_next(context)).await {
            let chunk = chunk.map_err(|_| s3_error!(IncompleteBody))?;
            file.write_all(&chunk).map_err(S3Error::internal_error)?;
            digest.update(&chunk);
            taken += chunk.len() as u64;
        }
        let digest: [u8; 16] = digest.finalize().into();
        if length.is_some_and(|told| told as u64 != taken) {
            return Err(s3_error!(IncompleteBody, "fewer bytes than Content-Length"));
        }
        if md5.is_some_and(|told| *told != STANDARD.encode(digest)) {
            return Err(s3_error!(BadDigest, "the bytes do not match Content-MD5"));
        }
        Ok((spare, taken, digest))
    }

    pub fn spare(&self) -> PathBuf {
        self.0.dir.join(".incoming").join(self.0.incoming.fetch_add(1, Relaxed).to_string())
    }
}

#[async_trait::async_trait]
impl S3 for Shelf {
    async fn put_object(&self, request: S3Request<PutObjectInput>) -> S3Result<S3Response<PutObjectOutput>> {
        let mut input = request.input;
        self.known(&input.bucket)?;
        let body = input.body.take();
        let (spare, length, md5) = self.receive(body, input.content_length, input.content_md5.as_ref()).await?;
        let md5 = hex(&md5);
        let stored = Stored {
            length,
            md5: md5.clone(),
            metadata: input.metadata.unwrap_or_default(),
            content_type: input.content_type,
            content_encoding: input.content_encoding,
            storage_class: input.storage_class.map(|it| it.as_str().to_owned()),
            sse: input.server_side_encryption.map(|it| it.as_str().to_owned()),
        };
        self.keep(&input.key, stored, &spare, &(input.if_none_match, input.if_match))?;
        Ok(S3Response::new(PutObjectOutput { e_tag: Some(ETag::Strong(md5)), ..Default::default() }))
    }

    async fn create_multipart_upload(
        &self,
        request: S3Request<CreateMultipartUploadInput>,
    ) -> S3Result<S3Response<CreateMultipartUploadOutput>> {
        self.known(&request.input.bucket)?;
        self.0.uploads.create(request.input).map(S3Response::new)
    }

    async fn upload_part(&self, request: S3Request<UploadPartInput>) -> S3Result<S3Response<UploadPartOutput>> {
        self.known(&request.input.bucket)?;
        self.0.uploads.part(self, request.input).await.map(S3Response::new)
    }

    async fn complete_multipart_upload(
        &self,
        request: S3Request<CompleteMultipartUploadInput>,
    ) -> S3Result<S3Response<CompleteMultipartUploadOutput>> {
        self.known(&request.input.bucket)?;
        self.0.uploads.complete(self, request.input).map(S3Response::new)
    }

    async fn abort_multipart_upload(
        &self,
        request: S3Request<AbortMultipartUploadInput>,
    ) -> S3Result<S3Response<AbortMultipartUploadOutput>> {
        self.known(&request.input.bucket)?;
        self.0.uploads.abort(&request.input).map(S3Response::new)
    }

    async fn get_object(&self, request: S3Request<GetObjectInput>) -> S3Result<S3Response<GetObjectOutput>> {
        let input = request.input;
        let stored = self.find(&input.bucket, &input.key)?;
        let file = File::open(self.path(&input.key)).map_err(S3Error::internal_error)?;
        Ok(S3Response::new(GetObjectOutput {
            body: Some(StreamingBlob::wrap(Chunks(file))),
            content_length: Some(stored.length as i64),
            e_tag: Some(ETag::Strong(stored.md5)),
            metadata: Some(stored.metadata),
            content_type: stored.content_type,
            content_encoding: stored.content_encoding,
            ..Default::default()
        }))
    }

    async fn head_object(&self, request: S3Request<HeadObjectInput>) -> S3Result<S3Response<HeadObjectOutput>> {
        let stored = self.find(&request.input.bucket, &request.input.key)?;
        Ok(S3Response::new(HeadObjectOutput {
            content_length: Some(stored.length as i64),
            e_tag: Some(ETag::Strong(stored.md5)),
            metadata: Some(stored.metadata),
            content_type: stored.content_type,
            content_encoding: stored.content_encoding,
            storage_class: stored.storage_class.map(Into::into),
            ..Default::default()
        }))
    }

    async fn delete_object(&self, request: S3Request<DeleteObjectInput>) -> S3Result<S3Response<DeleteObjectOutput>> {
        self.known(&request.input.bucket)?;
        self.objects().remove(&request.input.key);
        Ok(S3Response::new(DeleteObjectOutput::default()))
    }

    async fn list_objects_v2(
        &self,
        request: S3Request<ListObjectsV2Input>,
    ) -> S3Result<S3Response<ListObjectsV2Output>> {
        let input = request.input;
        self.known(&input.bucket)?;
        let prefix = input.prefix.unwrap_or_default();
        let most = input.max_keys.unwrap_or(1000).clamp(0, 1000) as usize;
        let from = match &input.start_after {
            Some(after) if *after >= prefix => Excluded(after.clone()),
            Some(_) | None if prefix.is_empty() => Unbounded,
            Some(_) | None => Included(prefix.clone()),
        };
        let objects = self.objects();
        let mut found = objects.range((from, Unbounded)).filter(|(key, _)| key.starts_with(&prefix));
        let contents: Vec<Object> = found
            .by_ref()
            .take(most)
            .map(|(key, stored)| Object {
                key: Some(key.clone()),
                size: Some(stored.length as i64),
                e_tag: Some(ETag::Strong(stored.md5.clone())),
                ..Default::default()
            })
            .collect();
        let more = found.next().is_some();
        Ok(S3Response::new(ListObjectsV2Output {
            name: Some(input.bucket),
            key_count: Some(contents.len() as i32),
            max_keys: Some(most as i32),
            contents: Some(contents),
            is_truncated: Some(more),
            ..Default::default()
        }))
    }
}

/// A file in pieces of 64 KiB. Reading blocks, as a test server may.
struct Chunks(File);

impl Stream for Chunks {
    type Item = io::Result<Bytes>;

    fn poll_next(mut self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Option<io::Result<Bytes>>> {
        let mut chunk = vec![0; 64 << 10];
        Poll::Ready(match self.0.read(&mut chunk) {
            Ok(0) => None,
            Ok(read) => {
                chunk.truncate(read);
                Some(Ok(Bytes::from(chunk)))
            }
            Err(error) => Some(Err(error)),
        })
    }
}

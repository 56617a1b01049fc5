//! One bucket's objects as plain files, behind the S3 operations that this project uses.
//!
//! Owns: what a store must get right for the tests to mean anything: a missing bucket is refused, bytes that
//! do not match their `Content-MD5` or length are not kept, and of several conditional writes one
//! wins. Does not own: signatures, hosts and XML, which are the server library's.
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
    ETag, GetObjectInput, GetObjectOutput, HeadObjectInput, HeadObjectOutput, ListObjectsV2Input, ListObjectsV2Output,
    Object, PutObjectInput, PutObjectOutput, StreamingBlob,
};
use s3s::{S3, S3Error, S3Request, S3Response, S3Result, s3_error};

#[derive(Clone)]
pub(super) struct Shelf(Arc<Inner>);

struct Inner {
    dir: PathBuf,
    bucket: String,
    incoming: AtomicU64,
    objects: Mutex<BTreeMap<String, Stored>>,
}

#[derive(Clone)]
pub(super) struct Stored {
    pub length: u64,
    pub md5: String,
    pub metadata: HashMap<String, String>,
    pub content_type: Option<String>,
    pub content_encoding: Option<String>,
}

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
        })))
    }

    pub fn objects(&self) -> MutexGuard<'_, BTreeMap<String, Stored>> {
        self.0.objects.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub fn path(&self, key: &str) -> PathBuf {
        self.0.dir.join(&self.0.bucket).join(key)
    }

    fn known(&self, bucket: &str) -> S3Result<()> {
        if bucket == self.0.bucket { Ok(()) } else { Err(s3_error!(NoSuchBucket, "the bucket does not exist")) }
    }

    fn find(&self, bucket: &str, key: &str) -> S3Result<Stored> {
        self.known(bucket)?;
        self.objects().get(key).cloned().ok_or_else(|| s3_error!(NoSuchKey, "the key does not exist"))
    }

    /// Keeps an object if its key is in the state that the writer expects.
    pub fn keep(&self, key: &str, stored: Stored, from: &Path, input: Option<&PutObjectInput>) -> S3Result<()> {
        let mut objects = self.objects();
        let held = objects.get(key).map(|held| ETag::Strong(held.md5.clone()));
        if let Some(input) = input {
            if input.if_none_match.as_ref().is_some_and(|it| it.is_any()) && held.is_some() {
                return Err(s3_error!(PreconditionFailed, "at least one of the preconditions did not hold"));
            }
            if let Some(expected) = input.if_match.as_ref() {
                let Some(held) = held else { return Err(s3_error!(NoSuchKey, "the key does not exist")) };
                if expected.as_etag().is_some_and(|expected| *expected != held) {
                    return Err(s3_error!(PreconditionFailed, "at least one of the preconditions did not hold"));
                }
            }
        }
        let path = self.path(key);
        let parent = path.parent().ok_or_else(|| s3_error!(InvalidArgument))?;
        fs::create_dir_all(parent).and_then(|()| fs::rename(from, &path)).map_err(S3Error::internal_error)?;
        objects.insert(key.to_owned(), stored);
        Ok(())
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
        let mut body = input.body.take().ok_or_else(|| s3_error!(IncompleteBody))?;
        let spare = tempfile::TempPath::try_from_path(self.spare()).map_err(S3Error::internal_error)?;
        let mut file = File::create(&spare).map_err(S3Error::internal_error)?;
        let (mut length, mut digest) = (0, Md5::new());
        while let Some(chunk) = poll_fn(|context| Pin::new(&mut body).poll_next(context)).await {
            let chunk = chunk.map_err(|_| s3_error!(IncompleteBody))?;
            file.write_all(&chunk).map_err(S3Error::internal_error)?;
            digest.update(&chunk);
            length += chunk.len() as u64;
        }
        let md5 = digest.finalize();
        if input.content_length.is_some_and(|told| told as u64 != length) {
            return Err(s3_error!(IncompleteBody, "fewer bytes than Content-Length"));
        }
        if input.content_md5.as_ref().is_some_and(|told| *told != STANDARD.encode(md5)) {
            return Err(s3_error!(BadDigest, "the bytes do not match Content-MD5"));
        }
        let md5: String = md5.iter().map(|byte| format!("{byte:02x}")).collect();
        let stored = Stored {
            length,
            md5: md5.clone(),
            metadata: input.metadata.clone().unwrap_or_default(),
            content_type: input.content_type.clone(),
            content_encoding: input.content_encoding.clone(),
        };
        self.keep(&input.key, stored, &spare, Some(&input))?;
        Ok(S3Response::new(PutObjectOutput { e_tag: Some(ETag::Strong(md5)), ..Default::default() }))
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
            ..Default::default()
        }))
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

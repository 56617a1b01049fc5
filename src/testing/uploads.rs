//! Multipart uploads of the embedded bucket.
//!
//! Owns: that a part is kept only whole, that an upload ends once, and that only the parts that its Complete names, with
//! their ETags and in their order, become the object.

use std::collections::{BTreeMap, HashMap};
use std::fs::File;
use std::io;
use std::sync::{Mutex, MutexGuard, PoisonError};

use md5::{Digest, Md5};
use s3s::dto::{
    AbortMultipartUploadInput, AbortMultipartUploadOutput, CompleteMultipartUploadInput, CompleteMultipartUploadOutput,
    CreateMultipartUploadInput, CreateMultipartUploadOutput, ETag, UploadPartInput, UploadPartOutput,
};
use s3s::{S3Error, S3Result, s3_error};
use tempfile::TempPath;

use super::shelf::{Shelf, Stored};
use crate::encode::spool::hex;

/// All parts but the last are at least this long.
const LEAST: u64 = 5 << 20;

#[derive(Default)]
pub(super) struct Uploads {
    begun: Mutex<HashMap<String, Upload>>,
    count: Mutex<u64>,
}

struct Upload {
    key: String,
    /// What the object will be, its length and digest aside.
    stored: Stored,
    parts: BTreeMap<i32, (TempPath, u64, [u8; 16])>,
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Uploads {
    pub fn ids(&self) -> Vec<String> {
        let mut ids: Vec<String> = lock(&self.begun).keys().cloned().collect();
        ids.sort();
        ids
    }

    pub fn create(&self, input: CreateMultipartUploadInput) -> S3Result<CreateMultipartUploadOutput> {
        let id = {
            let mut count = lock(&self.count);
            *count += 1;
            format!("upload-{count:04}")
        };
        let stored = Stored {
            length: 0,
            md5: String::new(),
            metadata: input.metadata.unwrap_or_default(),
            content_type: input.content_type,
            content_encoding: input.content_encoding,
            storage_class: input.storage_class.map(|it| it.as_str().to_owned()),
            sse: input.server_side_encryption.map(|it| it.as_str().to_owned()),
        };
        lock(&self.begun).insert(id.clone(), Upload { key: input.key.clone(), stored, parts: BTreeMap::new() });
        Ok(CreateMultipartUploadOutput {
            bucket: Some(input.bucket),
            key: Some(input.key),
            upload_id: Some(id),
            ..Default::default()
        })
    }

    pub async fn part(&self, shelf: &Shelf, mut input: UploadPartInput) -> S3Result<UploadPartOutput> {
        let body = input.body.take();
        let part = shelf.receive(body, input.content_length, input.content_md5.as_ref()).await?;
        let tag = hex(&part.2);
        let mut begun = lock(&self.begun);
        find(&mut begun, &input.upload_id, &input.key)?.parts.insert(input.part_number, part);
        Ok(UploadPartOutput { e_tag: Some(ETag::Strong(tag)), ..Default::default() })
    }

    pub fn complete(
        &self,
        shelf: &Shelf,
        input: CompleteMultipartUploadInput,
    ) -> S3Result<CompleteMultipartUploadOutput> {
        let mut begun = lock(&self.begun);
        let upload = find(&mut begun, &input.upload_id, &input.key)?;
        let named = input.multipart_upload.and_then(|upload| upload.parts).unwrap_or_default();
        let spare = TempPath::try_from_path(shelf.spare()).map_err(S3Error::internal_error)?;
        let mut whole = File::create(&spare).map_err(S3Error::internal_error)?;
        let (mut length, mut tags, mut before) = (0, Md5::new(), 0);
        for (at, part) in named.iter().enumerate() {
            let number = part.part_number.unwrap_or(0);
            if number <= before {
                return Err(s3_error!(InvalidPartOrder));
            }
            before = number;
            let Some((path, bytes, md5)) = upload.parts.get(&number) else { return Err(s3_error!(InvalidPart)) };
            if part.e_tag.as_ref() != Some(&ETag::Strong(hex(md5))) {
                return Err(s3_error!(InvalidPart, "the ETag is another part's"));
            }
            if *bytes < LEAST && at + 1 < named.len() {
                return Err(s3_error!(EntityTooSmall));
            }
            let mut part = File::open(path).map_err(S3Error::internal_error)?;
            io::copy(&mut part, &mut whole).map_err(S3Error::internal_error)?;
            length += bytes;
            tags.update(md5);
        }
        if named.is_empty() {
            return Err(s3_error!(MalformedXML));
        }
        let md5 = format!("{}-{}", hex(&tags.finalize()), named.len());
        let stored = Stored { length, md5: md5.clone(), ..upload.stored.clone() };
        shelf.keep(&input.key, stored, &spare, &(input.if_none_match, input.if_match))?;
        begun.remove(&input.upload_id);
        Ok(CompleteMultipartUploadOutput {
            bucket: Some(input.bucket),
            key: Some(input.key),
            e_tag: Some(ETag::Strong(md5)),
            ..Default::default()
        })
    }

    pub fn abort(&self, input: &AbortMultipartUploadInput) -> S3Result<AbortMultipartUploadOutput> {
        let mut begun = lock(&self.begun);
        find(&mut begun, &input.upload_id, &input.key)?;
        begun.remove(&input.upload_id);
        Ok(AbortMultipartUploadOutput::default())
    }
}

fn find<'a>(begun: &'a mut HashMap<String, Upload>, id: &str, key: &str) -> S3Result<&'a mut Upload> {
    let known = begun.get_mut(id).filter(|upload| upload.key == key);
    known.ok_or_else(|| s3_error!(NoSuchUpload, "the upload has ended or never began"))
}

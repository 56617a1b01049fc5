//! What a run needs of an object store, and the words for it.
//!
//! ```text
//!  drain, head, catalogue ──▶ Store ──▶ store::s3 ──▶ rusoto_s3 ──▶ store::dispatch ──▶ store::wire ──▶ COS, S3
//!                                        operations    requests      host, signature,     TLS, limits
//!                                        confirmed                   condition, answers
//! ```
//!
//! Owns: the seam and what its answers mean. Does not own: key names, what is in an object, when to
//! try again in another run. Nothing here logs.

mod answer;
mod credentials;
mod dispatch;
mod endpoint;
mod failure;
mod limits;
mod s3;
mod stream;
mod wire;

use std::collections::BTreeMap;
use std::fmt;
use std::future::{Future, poll_fn};
use std::pin::Pin;

use bytes::Bytes;
use futures_core::Stream;

use crate::Result;
use crate::encode::spool::Body;

pub use credentials::Keys;
pub use endpoint::Addressing;
pub use limits::Limits;
#[cfg(feature = "cli")]
pub use s3::PROBES;
pub use s3::{S3, Settings};

/// The most that [`Store::read_small`] takes.
pub const SMALL: usize = 64 << 10;

/// The name of the metadata entry that holds an object's SHA-256 in lower-case hex. Every [`Store::put`]
/// writes it.
pub const SHA256: &str = "sha256";

/// One state of one object: the store's ETag, never interpreted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Version(String);

impl Version {
    pub fn new(tag: impl Into<String>) -> Self {
        Version(tag.into())
    }

    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// A multipart upload under way: the store's own name for it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UploadId(String);

impl UploadId {
    pub fn new(id: impl Into<String>) -> Self {
        UploadId(id.into())
    }

    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// What must be true of a key for a write to happen.
#[derive(Clone, Copy, Debug)]
pub enum Expect<'a> {
    Absent,
    Unchanged(&'a Version),
}

/// A small object as read.
#[derive(Clone, Debug)]
pub struct Found {
    pub bytes: Vec<u8>,
    pub version: Version,
}

/// What the store knows of an object without its bytes.
#[derive(Clone, Debug)]
pub struct Held {
    pub length: u64,
    /// User metadata, names in lower case. Values that are not visible ASCII are left out.
    pub metadata: BTreeMap<String, String>,
    pub version: Version,
}

/// One line of a listing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Listed {
    pub key: String,
    pub length: u64,
}

/// An object about to be written.
#[derive(Clone, Copy, Debug)]
pub struct Upload<'a> {
    pub key: &'a str,
    pub content_type: &'a str,
    pub content_encoding: Option<&'a str>,
    /// Names of lower-case letters, digits and `-` (COS takes no `_`); values of visible ASCII and single
    /// spaces. [`SHA256`] is added by the store.
    pub metadata: &'a [(String, String)],
    pub body: &'a Body,
}

/// The bytes of an object while they arrive.
pub struct Download(Pin<Box<dyn Stream<Item = Result<Bytes>> + Send>>);

impl fmt::Debug for Download {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Download")
    }
}

impl Download {
    pub fn new(chunks: impl Stream<Item = Result<Bytes>> + Send + 'static) -> Self {
        Download(Box::pin(chunks))
    }

    /// The next bytes; `None` only when the object came to its end. Errors are `Unavailable`: a cut
    /// download is never taken for a short object.
    pub async fn next(&mut self) -> Result<Option<Bytes>> {
        poll_fn(|context| self.0.as_mut().poll_next(context)).await.transpose()
    }
}

/// One bucket.
///
/// Every call ends by its deadline, if the store was given one. Common errors: `Denied`, `NotFound`
/// (the bucket), `Invalid` (endpoint, region or names), `Unavailable` (not sent, or the store says that it
/// failed).
pub trait Store {
    /// The whole of an object of at most [`SMALL`] bytes; `None` when there is no such key. A larger one is
    /// `Corrupt`: nothing that is read this way is ever large.
    fn read_small(&self, key: &str) -> impl Future<Output = Result<Option<Found>>> + Send;

    /// Writes `bytes` if `expect` holds, and answers the new version. `Conflict`: it did not hold, and
    /// nothing was written. `Unknown`: sent and not answered.
    fn write_small(
        &self,
        key: &str,
        bytes: Vec<u8>,
        expect: Expect<'_>,
    ) -> impl Future<Output = Result<Version>> + Send;

    /// Begins an object that is too long for one request, and answers under which id its parts will go up, so that
    /// the id can be announced before any part is sent; `None` for an object that needs none. What was begun
    /// and is neither stored nor aborted stays in the store, without a name.
    fn begin(&self, upload: &Upload<'_>) -> impl Future<Output = Result<Option<UploadId>>> + Send;

    /// Stores an object under a key of its own, in the parts that were `begun` if it is long. `Ok` means that the store confirmed these very bytes, be it
    /// from this call or an earlier one. `Conflict`: the key holds something else, which stays where the
    /// store honours create-only writes. `Busy`: somebody else aborted the upload. `Unknown`: sent, and neither the
    /// answer nor a look settled it. After any other failure the upload is aborted, if the store answers.
    fn put(&self, upload: &Upload<'_>, begun: Option<&UploadId>) -> impl Future<Output = Result<()>> + Send;

    /// Ends an upload and forgets its parts. `Ok` also when it has ended already.
    fn abort(&self, key: &str, id: &UploadId) -> impl Future<Output = Result<()>> + Send;

    /// Length, metadata and version; `None` when the store says that there is no such key.
    fn look(&self, key: &str) -> impl Future<Output = Result<Option<Held>>> + Send;

    /// At most `limit` (1 to 1000) keys that start with `prefix` and sort after `after`, in the order of their
    /// bytes, and whether there are more.
    fn list(
        &self,
        prefix: &str,
        after: Option<&str>,
        limit: u32,
    ) -> impl Future<Output = Result<(Vec<Listed>, bool)>> + Send;

    /// The bytes of an object, streamed; `None` when there is no such key.
    fn open(&self, key: &str) -> impl Future<Output = Result<Option<Download>>> + Send;
}

//! Where an object's bytes wait for the store: memory first, a temporary file past a few MiB.

use std::io;
use std::sync::Arc;

use bytes::Bytes;
use md5::{Digest, Md5};
use sha2::Sha256;

/// The finished bytes of an object, readable any number of times, with their digests.
#[derive(Clone, Debug)]
pub struct Body {
    bytes: Arc<Vec<u8>>,
    md5: [u8; 16],
    sha256: [u8; 32],
}

impl Body {
    pub fn length(&self) -> u64 {
        self.bytes.len() as u64
    }

    pub fn md5(&self) -> [u8; 16] {
        self.md5
    }

    pub fn sha256(&self) -> [u8; 32] {
        self.sha256
    }

    /// The bytes from the start, in slices of at most 64 KiB.
    pub fn slices(&self) -> impl Iterator<Item = io::Result<Bytes>> + Send + 'static {
        let bytes = Arc::clone(&self.bytes);
        (0..bytes.len()).step_by(64 << 10).map(move |at| {
            let end = bytes.len().min(at + (64 << 10));
            Ok(Bytes::copy_from_slice(&bytes[at..end]))
        })
    }
}

impl From<Vec<u8>> for Body {
    fn from(bytes: Vec<u8>) -> Self {
        let md5 = Md5::digest(&bytes).into();
        let sha256 = Sha256::digest(&bytes).into();
        Body { bytes: Arc::new(bytes), md5, sha256 }
    }
}

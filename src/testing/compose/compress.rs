//! Compression as the Java client does it, byte layout for byte layout.

use std::io::Write as _;

use flate2::write::ZlibEncoder;
use pulsar::proto::CompressionType;

/// What a producer compresses with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Compression {
    None,
    /// A raw block: no size in front, no frame.
    Lz4,
    Zlib,
    /// A frame.
    Zstd,
    /// A raw block, not Snappy's framing format.
    Snappy,
    /// A number that nobody knows; the payload stays as it is.
    Unknown(i32),
}

impl Compression {
    /// The number for the envelope, which is absent without compression.
    pub(super) fn number(self) -> Option<i32> {
        match self {
            Compression::None => None,
            Compression::Lz4 => Some(CompressionType::Lz4 as i32),
            Compression::Zlib => Some(CompressionType::Zlib as i32),
            Compression::Zstd => Some(CompressionType::Zstd as i32),
            Compression::Snappy => Some(CompressionType::Snappy as i32),
            Compression::Unknown(number) => Some(number),
        }
    }

    pub(super) fn apply(self, payload: &[u8]) -> Vec<u8> {
        match self {
            Compression::None | Compression::Unknown(_) => payload.to_vec(),
            Compression::Lz4 => lz4_flex::block::compress(payload),
            Compression::Zlib => zlib(payload).expect("writing to memory does not fail"),
            Compression::Zstd => zstd::bulk::compress(payload, 3).expect("writing to memory does not fail"),
            Compression::Snappy => {
                snap::raw::Encoder::new().compress_vec(payload).expect("a message is far below 4 GiB")
            }
        }
    }
}

fn zlib(payload: &[u8]) -> std::io::Result<Vec<u8>> {
    let mut encoder = ZlibEncoder::new(Vec::new(), flate2::Compression::default());
    encoder.write_all(payload)?;
    encoder.finish()
}

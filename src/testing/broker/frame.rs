//! The wire's framing, from the broker's side.
//!
//! ```text
//! command:  total u32 | size u32 | BaseCommand
//! message:  total u32 | size u32 | BaseCommand | [0x0e02 size u32 BrokerEntryMetadata]
//!           | 0x0e01 crc32c u32 | size u32 | MessageMetadata | payload
//! ```
//!
//! The checksum covers everything after it. What follows the broker's metadata is built once per entry
//! and shared by every delivery of it.

use bytes::{Buf, BufMut, Bytes, BytesMut};
use prost::Message as _;
use pulsar::proto::{BaseCommand, BrokerEntryMetadata, MessageMetadata};
use tokio::io::{AsyncRead, AsyncReadExt};

use crate::testing::compose::Composed;

const CHECKSUM_MAGIC: u16 = 0x0e01;
const BROKER_METADATA_MAGIC: u16 = 0x0e02;
/// What stands before the metadata's size: the magic number and the checksum.
pub(super) const CHECKSUM_LENGTH: usize = 6;
/// As Pulsar's default: the largest message, and 10 KiB for what is around it.
const MAX_FRAME: usize = 5 * 1024 * 1024 + 10 * 1024;

/// An entry in its log, ready to be framed.
#[derive(Clone, Debug)]
pub(super) struct Stored {
    pub composed: Composed,
    /// From the checksum's magic number to the end of the payload.
    pub body: Bytes,
}

impl Stored {
    pub fn new(composed: Composed) -> Self {
        let metadata = composed.metadata.encode_to_vec();
        let mut checked = BytesMut::with_capacity(4 + metadata.len() + composed.payload.len());
        checked.put_u32(metadata.len() as u32);
        checked.put_slice(&metadata);
        checked.put_slice(&composed.payload);
        let mut body = BytesMut::with_capacity(CHECKSUM_LENGTH + checked.len());
        body.put_u16(CHECKSUM_MAGIC);
        body.put_u32(crc32c::crc32c(&checked));
        body.unsplit(checked);
        Stored { composed, body: body.freeze() }
    }

    /// An entry as it was delivered: what follows the command. Panics if it does not parse, or has no
    /// checksum.
    pub fn raw(mut wire: Bytes) -> Self {
        let mut broker = None;
        if wire.starts_with(&BROKER_METADATA_MAGIC.to_be_bytes()) {
            wire.advance(2);
            let size = wire.get_u32() as usize;
            broker = Some(BrokerEntryMetadata::decode(wire.split_to(size)).expect("broker metadata parses"));
        }
        assert!(wire.starts_with(&CHECKSUM_MAGIC.to_be_bytes()), "an entry has a checksum");
        let body = wire.clone();
        wire.advance(CHECKSUM_LENGTH);
        let size = wire.get_u32() as usize;
        let metadata = MessageMetadata::decode(wire.split_to(size)).expect("metadata parses");
        Stored { composed: Composed { metadata, payload: wire, broker }, body }
    }

    /// Permits that a delivery costs: the messages in the batch, 1 for a single message.
    pub fn permits(&self) -> i64 {
        self.composed.metadata.num_messages_in_batch.map_or(1, i64::from)
    }

    /// The body under a checksum that does not fit.
    pub fn corrupt(&self) -> Bytes {
        let mut body = self.body.to_vec();
        body[2] ^= 0xff;
        body.into()
    }
}

/// One frame without a payload.
pub(super) fn command(command: &BaseCommand) -> Bytes {
    let size = command.encoded_len();
    let mut frame = BytesMut::with_capacity(8 + size);
    frame.put_u32(4 + size as u32);
    frame.put_u32(size as u32);
    frame.put_slice(&command.encode_to_vec());
    frame.freeze()
}

/// The part of a message's frame that comes before `body`.
pub(super) fn message_head(command: &BaseCommand, broker: Option<&[u8]>, body: &Bytes) -> Bytes {
    let size = command.encoded_len();
    let extra = broker.map_or(0, |metadata| 6 + metadata.len());
    let mut head = BytesMut::with_capacity(8 + size + extra);
    head.put_u32((4 + size + extra + body.len()) as u32);
    head.put_u32(size as u32);
    head.put_slice(&command.encode_to_vec());
    if let Some(metadata) = broker {
        head.put_u16(BROKER_METADATA_MAGIC);
        head.put_u32(metadata.len() as u32);
        head.put_slice(metadata);
    }
    head.freeze()
}

/// The next command's bytes, and what follows them: only a SEND has it. None at the end of the stream, and for what
/// is not this protocol.
pub(super) async fn read<R: AsyncRead + Unpin>(stream: &mut R) -> Option<(Bytes, Bytes)> {
    let total = stream.read_u32().await.ok()? as usize;
    if !(4..=MAX_FRAME).contains(&total) {
        return None;
    }
    let mut frame = vec![0; total];
    stream.read_exact(&mut frame).await.ok()?;
    let size = u32::from_be_bytes(*frame.first_chunk()?) as usize;
    let frame = Bytes::from(frame);
    (4 + size <= total).then(|| (frame.slice(4..4 + size), frame.slice(4 + size..)))
}

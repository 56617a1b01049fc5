//! What producers compress with, and what of it nobody can decode.

use bytes::Bytes;
use tdmq_backup::testing::compose::{Composed, Composer, Compression, Draft};

use crate::dice::Dice;

const COMPRESSIONS: [Compression; 4] = [Compression::Lz4, Compression::Zlib, Compression::Zstd, Compression::Snappy];

/// None, but for one in so many.
pub(super) fn compression(dice: &mut Dice, one_in: u64) -> Compression {
    if dice.one_in(one_in) { dice.pick(&COMPRESSIONS) } else { Compression::None }
}

/// Makes an entry one that cannot be decoded, in any of the ways in which it cannot.
pub(super) fn poisoned(dice: &mut Dice, entry: &mut Composed) {
    let plain = entry.metadata.compression.is_none();
    let kind = dice.roll(6);
    if (1..4).contains(&kind) && plain {
        compress(dice.pick(&COMPRESSIONS), entry);
    }
    let metadata = &mut entry.metadata;
    match kind {
        0 => metadata.compression = Some(77),
        1 => entry.payload = entry.payload.slice(..entry.payload.len() / 2),
        2 => entry.payload = Bytes::from(vec![0xff; entry.payload.len()]),
        3 => {
            let size = metadata.uncompressed_size.unwrap();
            metadata.uncompressed_size = Some(dice.pick(&[size - 1, size + 1, 0, u32::MAX]));
        }
        4 => encrypt(entry),
        // A member more than there is.
        _ => metadata.num_messages_in_batch = Some(metadata.num_messages_in_batch.unwrap_or(1) + 1),
    }
}

fn compress(compression: Compression, entry: &mut Composed) {
    let composed = Composer::new("").compression(compression).single(Draft::new(entry.payload.to_vec()));
    let metadata = composed.metadata;
    (entry.metadata.compression, entry.metadata.uncompressed_size) = (metadata.compression, metadata.uncompressed_size);
    entry.payload = composed.payload;
}

fn encrypt(entry: &mut Composed) {
    let marked = Composer::new("").encrypted(&[("key", b"wrapped")], "RSA", b"iv").single(Draft::new(""));
    entry.metadata.encryption_keys = marked.metadata.encryption_keys;
    entry.metadata.encryption_algo = marked.metadata.encryption_algo;
    entry.metadata.encryption_param = marked.metadata.encryption_param;
}

/// Makes the chunks of a message, which zlib compressed, some that never become whole.
pub(super) fn spoil(dice: &mut Dice, chunks: &mut [Composed]) {
    let which = dice.roll(chunks.len() as u64) as usize;
    match dice.roll(5) {
        0 => encrypt(&mut chunks[which]),
        1 => chunks.iter_mut().for_each(encrypt),
        2 => chunks[which].payload = Bytes::from(vec![0xff; chunks[which].payload.len()]),
        3 => (chunks.iter_mut()).for_each(|chunk| {
            chunk.metadata.total_chunk_msg_size = chunk.metadata.total_chunk_msg_size.map(|size| size + 1)
        }),
        _ => (chunks.iter_mut())
            .for_each(|chunk| chunk.metadata.uncompressed_size = chunk.metadata.uncompressed_size.map(|size| size + 1)),
    }
}

use std::path::Path;

use bytes::Bytes;
use pulsar::proto::MessageMetadata;

use super::*;
use crate::message::Position;

const ALL: Range<u32> = 0..u32::MAX;

/// An entry of one message that does not compress.
fn entry(at: i64, length: usize) -> Entry {
    let mut state = 7_u32;
    let payload = std::iter::repeat_with(|| {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        (state >> 24) as u8
    });
    Entry {
        position: Position::new(3, at),
        partition: -1,
        broker: None,
        metadata: MessageMetadata { producer_name: "p".into(), publish_time: 1, ..Default::default() },
        size: length,
        unreadable: None,
        payload: payload.take(length).collect::<Vec<u8>>().into(),
        first_chunk: None,
    }
}

fn body(batch: Batch) -> Vec<u8> {
    batch.finish().unwrap().1.slices().flat_map(|slice| slice.unwrap()).collect()
}

#[test]
fn a_large_entry_that_finds_the_disk_full_leaves_the_batch_as_it_was() {
    // Room in memory for what is small, and no disk at all.
    let spool = || Spool::new(Path::new("/does/not/exist"), 64 << 10);
    for compression in [Compression::Gzip, Compression::None] {
        let batch = || Batch { compressor: Compressor::new(compression, spool()), ..Batch::new(None, compression) };
        let mut tried = batch();
        assert_eq!(tried.offer(&entry(0, 1000), ALL).unwrap(), Offer::All);
        tried.offer(&entry(1, 5 << 20), ALL).unwrap_err();
        assert_eq!(tried.contents().messages, 1);
        assert_eq!(tried.offer(&entry(2, 1000), ALL).unwrap(), Offer::All);
        let mut spared = batch();
        spared.offer(&entry(0, 1000), ALL).unwrap();
        spared.offer(&entry(2, 1000), ALL).unwrap();
        assert!(body(tried) == body(spared));
    }
}

#[test]
fn a_large_entry_is_written_as_a_small_one_is() {
    let mut batch = Batch::new(None, Compression::None);
    let large = entry(0, SCRATCH + 1);
    batch.offer(&large, ALL).unwrap();
    let mut line = Vec::new();
    large.messages(|message| jsonl::write(message, &mut line).unwrap());
    assert_eq!(batch.contents().bytes, line.len() as u64);
    assert!(body(batch) == line);
}

#[test]
fn an_entry_whose_metadata_is_large_does_not_grow_the_scratch_buffer_for_good() {
    let mut batch = Batch::new(None, Compression::None);
    let mut large = entry(0, 10);
    large.metadata.partition_key = Some("\u{1}".repeat(SCRATCH));
    large.payload = Bytes::new();
    batch.offer(&large, ALL).unwrap();
    assert!(batch.scratch.capacity() <= 2 * SCRATCH);
}

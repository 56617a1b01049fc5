//! Composed entries taken apart again, by decoders that did not make them.

use std::io::Read as _;

use bytes::Buf;
use prost::Message as _;
use pulsar::proto::SingleMessageMetadata;

use super::{Composed, Composer, Compression, Draft, sample};

fn unpack(entry: &Composed) -> Vec<(SingleMessageMetadata, Vec<u8>)> {
    let mut bytes = decompress(entry);
    let mut bytes: &[u8] = &mut bytes;
    let mut members = Vec::new();
    while bytes.has_remaining() {
        let size = bytes.get_u32() as usize;
        let metadata = SingleMessageMetadata::decode(&bytes[..size]).unwrap();
        bytes.advance(size);
        let payload = bytes[..metadata.payload_size as usize].to_vec();
        bytes.advance(payload.len());
        members.push((metadata, payload));
    }
    members
}

fn decompress(entry: &Composed) -> Vec<u8> {
    let size = entry.metadata.uncompressed_size.unwrap_or_default() as usize;
    match entry.metadata.compression.unwrap_or_default() {
        0 => entry.payload.to_vec(),
        1 => lz4_flex::block::decompress(&entry.payload, size).unwrap(),
        2 => {
            let mut plain = Vec::new();
            flate2::read::ZlibDecoder::new(&entry.payload[..]).read_to_end(&mut plain).unwrap();
            plain
        }
        3 => zstd::stream::decode_all(&entry.payload[..]).unwrap(),
        4 => snap::raw::Decoder::new().decompress_vec(&entry.payload).unwrap(),
        unknown => panic!("compression {unknown}"),
    }
}

#[test]
fn every_compression_gives_back_what_went_in_and_states_its_size() {
    let text = "the same words again and again; ".repeat(40);
    for compression in [Compression::Lz4, Compression::Zlib, Compression::Zstd, Compression::Snappy] {
        let entry = Composer::new("p").compression(compression).single(Draft::new(text.as_str()));
        assert!(entry.payload.len() < text.len(), "{compression:?}");
        assert_eq!(entry.metadata.uncompressed_size, Some(text.len() as u32));
        assert_eq!(decompress(&entry), text.as_bytes(), "{compression:?}");
    }
}

#[test]
fn lz4_and_snappy_are_raw_blocks() {
    let text = "a".repeat(300);
    let lz4 = Composer::new("p").compression(Compression::Lz4).single(Draft::new(text.as_str()));
    assert_ne!(&lz4.payload[..4], &300u32.to_le_bytes(), "a size in front");
    assert_ne!(&lz4.payload[..4], &0x184d_2204u32.to_le_bytes(), "a frame");
    let snappy = Composer::new("p").compression(Compression::Snappy).single(Draft::new(text.as_str()));
    assert_eq!(&snappy.payload[..2], &[0xac, 0x02], "300 as a varint begins a raw block");
}

#[test]
fn a_single_message_has_everything_on_its_envelope() {
    let mut composer = Composer::new("p")
        .at(5_000)
        .sequence(7)
        .schema_version(&[0, 1])
        .replicated_from("us")
        .transaction(1, 2)
        .deliver_at(9_000)
        .broker(Some(5_001), Some(33))
        .encrypted(&[("k", b"wrapped")], "RSA", b"iv");
    let draft = Draft::null().key_bytes(b"\0\xff").null_key().ordering_key(b"o").property("a", "1").property("a", "2");
    let entry = composer.single(draft.event_time(4_000));
    let metadata = &entry.metadata;
    assert_eq!((metadata.sequence_id, metadata.publish_time, metadata.event_time), (7, 5_000, Some(4_000)));
    assert_eq!(metadata.partition_key.as_deref(), Some("AP8="));
    assert!(metadata.partition_key_b64_encoded() && metadata.null_partition_key() && metadata.null_value());
    assert_eq!(metadata.properties.len(), 2);
    assert_eq!((metadata.txnid_most_bits, metadata.txnid_least_bits), (Some(1), Some(2)));
    assert_eq!(metadata.encryption_keys[0].value, b"wrapped");
    assert_eq!(metadata.num_messages_in_batch, None);
    assert_eq!(entry.broker.unwrap().index, Some(33));
    assert_eq!(composer.single(Draft::new("next")).metadata.sequence_id, 8);
}

#[test]
fn a_batch_keeps_each_message_apart_under_its_own_sequence_id() {
    let mut composer = Composer::new("p").sequence(10).compression(Compression::Zstd);
    let entry = composer.batch([Draft::new("one").key("k"), Draft::null().property("a", "b"), Draft::new("")]);
    assert_eq!(entry.metadata.num_messages_in_batch, Some(3));
    assert_eq!((entry.metadata.sequence_id, entry.metadata.highest_sequence_id), (10, Some(12)));
    let members = unpack(&entry);
    let sequence: Vec<_> = members.iter().map(|(metadata, _)| metadata.sequence_id()).collect();
    assert_eq!(sequence, [10, 11, 12]);
    assert_eq!(members[0].1, b"one");
    assert!(members[1].0.null_value() && !members[2].0.null_value());
}

#[test]
fn chunks_are_cut_out_of_the_compressed_message() {
    let value: Vec<u8> = (0..10_000u32).flat_map(u32::to_le_bytes).collect();
    let mut composer = Composer::new("p").compression(Compression::Lz4);
    let chunks = composer.chunks(Draft::new(value.clone()), 4_096, "p-0");
    assert!(chunks.len() > 2);
    let whole: Vec<u8> = chunks.iter().flat_map(|chunk| chunk.payload.to_vec()).collect();
    assert_eq!(chunks[0].metadata.total_chunk_msg_size, Some(whole.len() as i32));
    assert_eq!(lz4_flex::block::decompress(&whole, value.len()).unwrap(), value);
}

#[test]
fn the_sample_is_the_same_every_time_and_holds_every_kind() {
    let entries = sample(300, 1_700_000_000_000);
    let again = sample(300, 1_700_000_000_000);
    assert!(entries.iter().zip(&again).all(|(a, b)| a.metadata == b.metadata && a.payload == b.payload));
    let messages: i32 = entries.iter().map(|entry| entry.metadata.num_messages_in_batch()).sum();
    assert_eq!(messages, 300);
    let mut compressions: Vec<_> = entries.iter().map(|entry| entry.metadata.compression()).collect();
    compressions.sort();
    compressions.dedup();
    assert_eq!(compressions.len(), 5);
    let batches = entries.iter().filter(|entry| entry.metadata.num_messages_in_batch.is_some());
    let members: Vec<_> = batches.flat_map(unpack).collect();
    assert!(members.iter().any(|(metadata, _)| metadata.null_value()));
    assert!(members.iter().any(|(metadata, _)| metadata.partition_key_b64_encoded()));
}

//! What a broker passes on from producers: frames, envelopes, batches, compressed payloads, chunks.

use std::cell::RefCell;

use prost::Message as _;
use pulsar::proto::{
    BaseCommand, BrokerEntryMetadata, CommandMessage, CommandSuccess, MessageIdData, MessageMetadata, base_command,
};
use tdmq_backup::batch::{Batch, Caps, Offer};
use tdmq_backup::chunks::{Assembler, Offered};
use tdmq_backup::encode::{Compression as Written, jsonl};
use tdmq_backup::message::Body;
use tdmq_backup::testing::compose::{Composed, Composer, Compression, Draft, sample};
use tdmq_backup::testing::parsers;
use tdmq_backup::{Entry, Position};

use crate::Parser;
use crate::dice::Dice;
use crate::mutate::{mutated, noise, varint};

const MAX_MESSAGE_SIZE: usize = 5 << 20;
/// What an entry may become in memory.
const MOST_DECODED: u32 = 32 << 20;

pub fn parsers() -> Vec<Parser> {
    let envelopes: Vec<Vec<u8>> = composed().iter().map(|one| one.metadata.encode_to_vec()).collect();
    let payloads: Vec<Vec<u8>> = composed().iter().map(|one| one.payload.to_vec()).collect();
    let frames: Vec<Vec<u8>> = composed().iter().enumerate().map(|(at, one)| framed(at as u64, one)).collect();
    let pairs = composed();
    vec![
        Parser::new("frames", move |dice| mutated(dice, &frames), |bytes| taken(bytes).map(drop)),
        Parser::new(
            "entries",
            move |dice| {
                let payload = if dice.one_in(3) { mutated(dice, &payloads) } else { payloads_at(dice, &payloads) };
                let envelope = if dice.one_in(20) { noise(dice, 300) } else { mutated(dice, &envelopes) };
                let broker = if dice.one_in(4) { Some(noise(dice, 20)) } else { None };
                frame(&message(dice.roll(9)), broker.as_deref(), &envelope, &payload)
            },
            |bytes| taken(bytes)?.iter().try_for_each(kept),
        ),
        Parser::new(
            "payloads",
            move |dice| {
                let one = &pairs[dice.roll(pairs.len() as u64) as usize];
                let mut metadata = one.metadata.clone();
                let mut payload = mutated(dice, &[one.payload.to_vec()]);
                match dice.roll(10) {
                    0 => metadata.compression = Some(dice.roll(6) as i32),
                    1 => metadata.uncompressed_size = Some(dice.pick(&[0, 1, 100, MOST_DECODED, u32::MAX])),
                    2 => metadata.num_messages_in_batch = Some(dice.pick(&[-1, 0, 1, 2, 100_000, i32::MAX])),
                    3 => (metadata, payload) = bomb(dice),
                    _ => {}
                }
                frame(&message(1), None, &metadata.encode_to_vec(), &payload)
            },
            |bytes| taken(bytes)?.iter().try_for_each(kept),
        ),
        Parser::new("chunks", chunks, assembled),
    ]
}

fn payloads_at(dice: &mut Dice, payloads: &[Vec<u8>]) -> Vec<u8> {
    payloads[dice.roll(payloads.len() as u64) as usize].clone()
}

/// Every kind of entry.
fn composed() -> Vec<Composed> {
    let mut all = sample(60, 1_795_255_200_000);
    let full = Composer::new("p")
        .at(1)
        .schema_version(&[0; 8])
        .replicated_from("elsewhere")
        .transaction(1, 2)
        .encrypted(&[("k", b"v")], "AES", b"iv");
    all.push(full.clone().single(Draft::new("secret").property("a", "b")));
    all.extend(Composer::new("p").compression(Compression::Zstd).chunks(Draft::new("x".repeat(999)), 5, "u"));
    all.push(Composer::new("p").compression(Compression::Unknown(9)).single(Draft::null()));
    all
}

fn message(entry: u64) -> BaseCommand {
    let message_id = MessageIdData { ledger_id: 7, entry_id: entry, ..Default::default() };
    let message = CommandMessage { consumer_id: 1, message_id, ..Default::default() };
    BaseCommand { r#type: base_command::Type::Message as i32, message: Some(message), ..BaseCommand::default() }
}

/// The frame of an entry, behind one of a plain command; everything in it right.
fn framed(entry: u64, one: &Composed) -> Vec<u8> {
    let broker = BrokerEntryMetadata { broker_timestamp: Some(5), index: Some(entry) }.encode_to_vec();
    let success = CommandSuccess { request_id: entry, schema: None };
    let success =
        BaseCommand { r#type: base_command::Type::Success as i32, success: Some(success), ..BaseCommand::default() };
    let success = success.encode_to_vec();
    let size = |length: usize| (length as u32).to_be_bytes();
    let simple = [&size(4 + success.len())[..], &size(success.len()), &success].concat();
    [simple, frame(&message(entry), Some(&broker), &one.metadata.encode_to_vec(), &one.payload)].concat()
}

/// A MESSAGE frame of these parts, its sizes and its checksum right.
fn frame(command: &BaseCommand, broker: Option<&[u8]>, metadata: &[u8], payload: &[u8]) -> Vec<u8> {
    let command = command.encode_to_vec();
    let size = |length: usize| (length as u32).to_be_bytes();
    let covered = [&size(metadata.len())[..], metadata, payload].concat();
    let mut rest = Vec::new();
    if let Some(broker) = broker {
        rest.extend([&[0x0e, 0x02][..], &size(broker.len()), broker].concat());
    }
    rest.extend([&[0x0e, 0x01][..], &crc32c::crc32c(&covered).to_be_bytes(), &covered].concat());
    [&size(4 + command.len() + rest.len())[..], &size(command.len()), &command, &rest].concat()
}

/// What is small on the wire and claims to be, or is, large.
fn bomb(dice: &mut Dice) -> (MessageMetadata, Vec<u8>) {
    let mut metadata = MessageMetadata { producer_name: "bomb".into(), ..Default::default() };
    let kind = dice.roll(4);
    // Text of this length is written and read again several times; properties are not even decoded.
    let length = if kind == 1 { dice.pick(&[1_usize << 16, 4 << 20]) } else { dice.pick(&[1_usize << 12, 1 << 17]) };
    let plain = match kind {
        // Empty members; one member of nothing but empty properties; zeros.
        0 => {
            metadata.num_messages_in_batch = Some((length / 6) as i32);
            [0, 0, 0, 2, 0x18, 0].repeat(length / 6)
        }
        1 => {
            metadata.num_messages_in_batch = Some(1);
            let member = [&[0x0a, 0].repeat(length / 2)[..], &[0x18, 0]].concat();
            [&(member.len() as u32).to_be_bytes()[..], &member].concat()
        }
        2 => {
            metadata.num_messages_in_batch = Some(2);
            [varint(dice.roll(u64::MAX)), vec![0; length]].concat()
        }
        _ => vec![0; length],
    };
    let said = if dice.one_in(3) { dice.roll(2 * plain.len() as u64) as u32 } else { plain.len() as u32 };
    (metadata.compression, metadata.uncompressed_size) = (Some(dice.roll(4) as i32 + 1), Some(said));
    let payload = match metadata.compression {
        Some(1) => lz4_flex::block::compress(&plain),
        Some(2) => {
            let mut encoder = flate2::write::ZlibEncoder::new(Vec::new(), flate2::Compression::fast());
            std::io::Write::write_all(&mut encoder, &plain).unwrap();
            encoder.finish().unwrap()
        }
        Some(3) => zstd::bulk::compress(&plain, 1).unwrap(),
        _ => snap::raw::Encoder::new().compress_vec(&plain).unwrap(),
    };
    (metadata, payload)
}

fn taken(bytes: &[u8]) -> Result<Vec<Entry>, String> {
    Ok(parsers::entries(bytes, MAX_MESSAGE_SIZE).unwrap_or_default())
}

/// What becomes of an entry: messages, which come back from their records as they were, and a batch takes it.
fn kept(entry: &Entry) -> Result<(), String> {
    let mut wrong = None;
    let (mut count, mut plain) = (0_u32, 0);
    let mut line = Vec::new();
    let why = entry.messages(|message| {
        count += 1;
        if let Body::Payload(payload) = message.body {
            plain += payload.len();
        }
        if count > 200 || wrong.is_some() {
            return;
        }
        line.clear();
        jsonl::write(message, &mut line).unwrap();
        match jsonl::read(&line) {
            Ok(record) if record.message() == *message => {}
            Ok(record) => wrong = Some(format!("{message:?} came back as {:?}", record.message())),
            Err(error) => wrong = Some(format!("{message:?} does not come back: {}", error.chain())),
        }
        match jsonl::fingerprint(&line) {
            Ok(print) if print.id == message.id && print.producer_name == message.producer_name.into() => {}
            other => wrong = Some(format!("{message:?} is taken for {other:?}")),
        }
    });
    let declared = match entry.metadata.compression.unwrap_or(0) {
        0 => entry.payload.len(),
        _ => entry.metadata.uncompressed_size.unwrap_or(0) as usize,
    };
    if why.is_none() && plain > declared {
        return Err(format!("{plain} bytes came out of an entry that says {declared}"));
    }
    if count == 0 {
        return Err("an entry without a message".into());
    }
    let mut batch = Batch::new(Some(Caps { messages: 50, bytes: 1 << 20 }), Written::None);
    let (mut from, mut objects) = (0, 0);
    while objects < 5 {
        match batch.offer(entry, from..u32::MAX).map_err(|error| error.to_string())? {
            Offer::All => break,
            Offer::Before(index) if index > from => from = index,
            other => return Err(format!("an empty batch answers {other:?} from {from} on")),
        }
        batch = Batch::new(Some(Caps { messages: 50, bytes: 1 << 20 }), Written::None);
        objects += 1;
    }
    wrong.map_or(Ok(()), Err)
}

/// A number for each entry, and what it is.
fn chunks(dice: &mut Dice) -> Vec<u8> {
    noise(dice, 120)
}

/// Chunks in any order, of any numbers: each entry comes out exactly once, by itself or in a message.
fn assembled(script: &[u8]) -> Result<(), String> {
    thread_local! {
        static CHUNKS: RefCell<Vec<Composed>> = RefCell::new(
            [("p", "u", Compression::None), ("p", "v", Compression::Lz4), ("q", "u", Compression::Zstd)]
                .into_iter()
                .flat_map(|(producer, uuid, compression)| {
                    let draft = Draft::new("0123456789abcdef".repeat(4));
                    Composer::new(producer).at(1_000).compression(compression).chunks(draft, 8, uuid)
                })
                .collect(),
        );
    }
    let mut assembler = Assembler::new(&std::env::temp_dir());
    let mut waiting = 0_usize;
    for (at, bytes) in script.chunks(3).enumerate() {
        let pick = bytes[0] as usize;
        let mut one = CHUNKS.with_borrow(|all| all[pick % all.len()].clone());
        let (how, much) = (bytes.get(1).copied().unwrap_or(0), bytes.get(2).copied().unwrap_or(0));
        let m = &mut one.metadata;
        match how {
            0..8 => m.chunk_id = Some(i32::from(much as i8)),
            8..16 => m.num_chunks_from_msg = Some(i32::from(much as i8)),
            16..24 => m.total_chunk_msg_size = Some(i32::from(much as i8)),
            24..28 => m.total_chunk_msg_size = Some(i32::MAX),
            28..32 => m.num_chunks_from_msg = Some(i32::MAX),
            32..40 => m.publish_time = u64::from(much) * 100_000,
            40..44 => m.publish_time = u64::MAX,
            44..48 => m.uuid = None,
            48..56 => m.uncompressed_size = Some(u32::from(much)),
            56..60 => m.chunk_id = None,
            60..64 => one.payload = one.payload.slice(..one.payload.len().min(much.into())),
            _ => {}
        }
        let entry = one.entry(Position::new(7, at as i64), -1);
        loop {
            while let Some(given_up) = assembler.given_up().map_err(|e| e.to_string())? {
                waiting -= 1;
                kept(&given_up.entry)?;
                assembler.given_up_is_stored();
            }
            match assembler.offer(&entry).map_err(|e| e.to_string())? {
                Offered::Single => kept(&entry)?,
                Offered::Waits => waiting += 1,
                Offered::NoRoom => return Err("no room".into()),
                Offered::GaveUp => continue,
                Offered::Last => match assembler.join(&entry).map_err(|e| e.to_string())? {
                    Ok(joined) => {
                        kept(&joined)?;
                        waiting -= assembler.is_stored(&entry);
                    }
                    Err(_) => {
                        assembler.give_up(&entry);
                        continue;
                    }
                },
            }
            break;
        }
        assembler.passed(entry.position);
        if assembler.entries() != waiting {
            return Err(format!("{} wait, {waiting} should", assembler.entries()));
        }
    }
    Ok(())
}

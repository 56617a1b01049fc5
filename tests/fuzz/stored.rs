//! What stands in the bucket: heads, keys, and the records of objects.

use futures::FutureExt;
use tdmq_backup::catalogue::{Catalogue, Held as Holding};
use tdmq_backup::encode::jsonl;
use tdmq_backup::head::{Head, HeadFile, Owner};
use tdmq_backup::span::{Span, key};
use tdmq_backup::store::{Download, Expect, Found, Held, Listed, Store, Upload, UploadId, Version};
use tdmq_backup::testing::compose::sample;
use tdmq_backup::{Entry, Position, Result};

use crate::Parser;
use crate::dice::Dice;
use crate::mutate::mutated;

const FOLDER: &str = "p/t/n/x/partition=-1/";
const HEAD: &str = r#"{"version":1,"topic":"persistent://t/n/x","subscription":"s","partition":-1,
    "start":{"asked":"earliest","resolved":"7:-1","state":"applied"},
    "seek":{"asked":"7:3","event":"timer a","resolved":"7:2","from":"7:9","state":"pending"},
    "done":{"key":"p/t/n/x/partition=-1/dt=2026-11-21/hour=10/a.jsonl","last":"7:4","seq":3,"digest":"00ff"},
    "next":{"first":"7:5","last":"7:9:3","count":12,"key":"p/k","seq":4,"digest":"ee","format":"jsonl","compression":"gzip",
      "layout":2,"upload_id":"u","first_chunk":"7:1","until":1795255200000,"runs":2},
    "partitions":3,"late":{"first":"6:0","last":"6:9","until":5},"passed":"7:4","written":1795255200000}"#;

/// A bucket that holds one thing.
struct Shelf {
    bytes: Vec<u8>,
    keys: Vec<String>,
}

impl Store for Shelf {
    async fn read_small(&self, _: &str) -> Result<Option<Found>> {
        Ok(Some(Found { bytes: self.bytes.clone(), version: Version::new("1") }))
    }

    async fn write_small(&self, _: &str, _: Vec<u8>, _: Expect<'_>) -> Result<Version> {
        unreachable!("a reader writes nothing")
    }

    async fn begin(&self, _: &Upload<'_>) -> Result<Option<UploadId>> {
        unreachable!("a reader writes nothing")
    }

    async fn put(&self, _: &Upload<'_>, _: Option<&UploadId>) -> Result<()> {
        unreachable!("a reader writes nothing")
    }

    async fn abort(&self, _: &str, _: &UploadId) -> Result<()> {
        unreachable!("a reader writes nothing")
    }

    async fn look(&self, _: &str) -> Result<Option<Held>> {
        let metadata = [("seq".to_owned(), String::from_utf8_lossy(&self.bytes).into_owned())].into();
        Ok(Some(Held { length: 1, metadata, version: Version::new("1") }))
    }

    async fn list(&self, _: &str, _: Option<&str>, _: u32) -> Result<(Vec<Listed>, bool)> {
        Ok((self.keys.iter().map(|key| Listed { key: key.clone(), length: 1 }).collect(), false))
    }

    async fn open(&self, _: &str) -> Result<Option<Download>> {
        // In two pieces, cut anywhere.
        let cut = self.bytes.len() * 2 / 3;
        let pieces = [self.bytes[..cut].to_vec(), self.bytes[cut..].to_vec()];
        Ok(Some(Download::new(futures::stream::iter(pieces.map(|piece| Ok(piece.into()))))))
    }
}

pub fn parsers() -> Vec<Parser> {
    let names: Vec<Vec<u8>> = entries().iter().map(|entry| key_of(entry).into_bytes()).collect();
    let lines: Vec<Vec<u8>> = entries().iter().map(line).collect();
    let objects = objects();
    vec![
        Parser::new("heads", |dice| mutated(dice, &[HEAD.into()]), head),
        Parser::new("keys", move |dice| mutated(dice, &names), key_text),
        Parser::new("records", move |dice| mutated(dice, &lines), record),
        Parser::new(
            "objects",
            move |dice| {
                let said = [dice.pick(&[0, 0, 1, 2])];
                [said.to_vec(), if dice.one_in(200) { bomb(dice) } else { mutated(dice, &objects) }].concat()
            },
            object,
        ),
    ]
}

fn entries() -> Vec<Entry> {
    let composed = sample(60, 1_795_255_200_000).into_iter().enumerate();
    composed.map(|(at, one)| one.entry(Position::new(7, at as i64), -1)).collect()
}

fn key_of(entry: &Entry) -> String {
    let span = Span { first: entry.position.into(), last: Position::new(8, 0).into(), count: 9 };
    key(FOLDER, &span, entry.metadata.publish_time, "jsonl.gz")
}

/// The lines of an entry.
fn line(entry: &Entry) -> Vec<u8> {
    let mut line = Vec::new();
    entry.messages(|message| jsonl::write(message, &mut line).unwrap());
    line
}

/// Plain objects, and the same as gzip.
fn objects() -> Vec<Vec<u8>> {
    let lines: Vec<u8> = entries().iter().flat_map(line).collect();
    let mut gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    std::io::Write::write_all(&mut gzip, &lines).unwrap();
    let gzip = gzip.finish().unwrap();
    vec![[gzip.clone(), gzip.clone()].concat(), gzip, lines]
}

/// What is small as gzip and large behind it: many records, long names, a line that does not end in time. Written line
/// by line: what an input takes to be made is counted, too.
fn bomb(dice: &mut Dice) -> Vec<u8> {
    let (lines, length) = dice.pick(&[(400_000, 1), (5_000, 8 << 10), (9, 16 << 20), (1, 64 << 20)]);
    let mut gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    let mut put = |bytes: &[u8]| std::io::Write::write_all(&mut gzip, bytes).unwrap();
    for entry in 0..lines {
        put(format!("{{\"id\":\"7:{entry}:-1\",\"publish_time\":1,\"producer_name\":\"").as_bytes());
        (0..length / 1024).for_each(|_| put(&[b'p'; 1024]));
        put(b"\",\"sequence_id\":1,\"text\":\"\"}\n");
    }
    gzip.finish().unwrap()
}

/// A head is refused, or it is written as it was read.
fn head(bytes: &[u8]) -> std::result::Result<(), String> {
    let owner = Owner { topic: "persistent://t/n/x".into(), subscription: "s".into(), partition: -1 };
    let shelf = Shelf { bytes: bytes.to_vec(), keys: Vec::new() };
    let read = HeadFile::read(&shelf, FOLDER, &owner).now_or_never().expect("nothing waits");
    match read {
        Err(error) => quiet(&error.chain()),
        Ok(None) => Err("a head that is there was not seen".into()),
        Ok(Some(file)) => {
            let again: Head = serde_json::from_slice(&serde_json::to_vec(&file.head).unwrap()).unwrap();
            let found = (&*file.head.topic, &*file.head.subscription, file.head.partition);
            (again == file.head && found == (&*owner.topic, &*owner.subscription, -1))
                .then_some(())
                .ok_or_else(|| format!("{again:?} is not {:?}", file.head))
        }
    }
}

/// Text that goes to a terminal or into a log moves no cursor there, and begins no line.
pub fn quiet(text: &str) -> std::result::Result<(), String> {
    let loud =
        |c: char| c.is_control() || ('\u{202a}'..='\u{202e}').contains(&c) || ('\u{2066}'..='\u{2069}').contains(&c);
    match text.chars().any(loud) {
        true => Err(format!("this would be printed: {text:?}")),
        false => Ok(()),
    }
}

/// A key says no span, or is the one key that says it.
fn key_text(bytes: &[u8]) -> std::result::Result<(), String> {
    let Ok(text) = str::from_utf8(bytes) else { return Ok(()) };
    let Some(span) = Span::of_key(text) else { return Ok(()) };
    let again = key("", &span, 0, "jsonl");
    let name = |key: &str| key.rsplit('/').next().unwrap().split('.').next().unwrap().to_owned();
    if name(&again) != name(text) || Span::of_key(&again) != Some(span) {
        return Err(format!("{text:?} is taken for {span:?}"));
    }
    let shelf = Shelf { bytes: bytes.to_vec(), keys: vec![text.to_owned()] };
    let newest = Catalogue::new(&shelf, FOLDER).newest().now_or_never().expect("nothing waits");
    match newest.map_err(|error| error.chain())? {
        Some(link) if !link.key.starts_with(FOLDER) || link.key[FOLDER.len()..].matches('/').count() != 2 => {
            Err(format!("{} is not in the folder", link.key))
        }
        _ => Ok(()),
    }
}

/// A line is refused, or comes out as it went in.
fn record(bytes: &[u8]) -> std::result::Result<(), String> {
    let print = jsonl::fingerprint(bytes);
    let Ok(record) = jsonl::read(bytes) else { return Ok(()) };
    let message = record.message();
    let mut line = Vec::new();
    jsonl::write(&message, &mut line).unwrap();
    match jsonl::read(&line) {
        Ok(again) if again.message() == message => {}
        other => return Err(format!("{message:?} comes back as {other:?}")),
    }
    match print {
        Ok(print) if print.id == message.id && print.sequence_id == message.sequence_id => Ok(()),
        other => Err(format!("{message:?} is read, and taken for {other:?}")),
    }
}

/// Whatever an object holds: it is never said to hold an entry that none of its lines says, nor read where it has more
/// lines than its key says. The first byte is how many those are.
fn object(input: &[u8]) -> std::result::Result<(), String> {
    let Some((said, bytes)) = input.split_first() else { return Ok(()) };
    let entries = entries();
    let mut count = 0;
    entries.iter().for_each(|entry| drop(entry.messages(|_| count += 1)));
    let count = [count, 5_000, u64::MAX][usize::from(*said).min(2)];
    let gzip = bytes.starts_with(&[0x1f, 0x8b]);
    let span = Span { first: Position::new(7, 0).into(), last: Position::new(7, 99).into(), count };
    let name = key(FOLDER, &span, 0, if gzip { "jsonl.gz" } else { "jsonl" });
    let shelf = Shelf { bytes: bytes.to_vec(), keys: vec![name] };
    let mut catalogue = Catalogue::new(&shelf, FOLDER);
    catalogue.load(Position::new(0, 0)).now_or_never().expect("nothing waits").map_err(|error| error.chain())?;
    for entry in entries.iter().step_by(7) {
        let held = match catalogue.holds(entry).now_or_never().expect("nothing waits") {
            Ok(held) => held,
            Err(error) => return quiet(&error.chain()),
        };
        if !gzip && bytes.iter().filter(|byte| **byte == b'\n').count() as u64 > count {
            return Err(format!("more than {count} messages were read"));
        }
        if !gzip && !matches!(held, Holding::Nothing) {
            let id = format!("\"{}:{}", entry.position, entry.partition);
            if !bytes.windows(id.len()).any(|window| window == id.as_bytes()) {
                return Err(format!("{id} is held by nobody"));
            }
        }
    }
    Ok(())
}

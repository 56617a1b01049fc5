//! From something valid to something that is nearly so: the same dice, the same bytes.

use super::dice::Dice;

/// Numbers at which sizes, signs and counts turn over.
const NUMBERS: [u64; 16] = [
    0,
    1,
    2,
    0x7f,
    0x80,
    0xff,
    0x7fff,
    0xffff,
    1 << 20,
    0x7fff_ffff,
    0x8000_0000,
    0xffff_fffe,
    0xffff_ffff,
    0x7fff_ffff_ffff_ffff,
    0x8000_0000_0000_0000,
    u64::MAX,
];
/// What means something to a terminal, a log, a path, UTF-8, a protobuf decoder, JSON, TOML or XML.
const WORDS: [&[u8]; 30] = [
    b"\x1b[2J\x1b]0;x\x07",
    b"\r\n",
    b"\n",
    b"\0",
    b"\xff\xfe",
    b"\xed\xa0\x80",
    b"\xf4\x90\x80\x80",
    b"\xc0\xae",
    b"../../",
    b"%2e%2e%2f",
    b"\x80\x80\x80\x80\x80\x80\x80\x80\x80\x80\x01",
    b"\xff\xff\xff\xff\x0f",
    b"\x0b\x0b\x0b\x0b",
    b"null",
    b"true",
    b"-0",
    b"1e999",
    b"18446744073709551616",
    b"-9223372036854775809",
    b"\"\\ud800\"",
    b"\"\\u0000\"",
    b"\"\"",
    b"{}",
    b"[]",
    b"&#x110000;",
    b"<![CDATA[",
    b"<!DOCTYPE a [<!ENTITY b \"bb\"><!ENTITY c \"&b;&b;&b;&b;\">]>",
    b"</",
    b"]]]",
    b"\"\"\"",
];
/// What opens and can stand in itself.
const NESTS: [(&[u8], &[u8]); 5] =
    [(b"[", b"]"), (b"{\"a\":", b"}"), (b"<a>", b"</a>"), (b"a = [", b"]"), (b"\x0a\x7f", b"")];
/// Nothing gets longer, but for what is repeated on purpose.
const LONGEST: usize = 256 << 10;

/// One of `corpus` with some changes; now and then with none.
pub fn mutated(dice: &mut Dice, corpus: &[Vec<u8>]) -> Vec<u8> {
    let mut bytes = corpus[dice.roll(corpus.len() as u64) as usize].clone();
    let mut changes = 1 + dice.roll(3);
    if dice.one_in(8) {
        changes += dice.roll(12);
    } else if dice.one_in(40) {
        changes = 0;
    }
    for _ in 0..changes {
        change(dice, &mut bytes, corpus);
    }
    bytes
}

/// Any bytes.
pub fn noise(dice: &mut Dice, most: u64) -> Vec<u8> {
    (0..dice.roll(most)).map(|_| dice.roll(256) as u8).collect()
}

fn change(dice: &mut Dice, bytes: &mut Vec<u8>, corpus: &[Vec<u8>]) {
    let length = bytes.len() as u64;
    let at = dice.roll(length + 1) as usize;
    let reach = 1 + (1 << dice.roll(12));
    let end = at + dice.roll((length - at as u64 + 1).min(reach)) as usize;
    match dice.roll(16) {
        0 | 1 if at < bytes.len() => bytes[at] ^= 1 << dice.roll(8),
        2 if at < bytes.len() => bytes[at] = dice.roll(256) as u8,
        3 => bytes.truncate(at),
        4 => drop(bytes.drain(at..end)),
        5 => {
            let again = bytes[at..end].to_vec();
            put(bytes, at, &again);
        }
        6 => {
            let power = if dice.one_in(50) { 16 } else { 7 };
            let again = bytes[at..end].repeat((1 << dice.roll(power)).min(LONGEST / (end - at).max(1)));
            put(bytes, at, &again);
        }
        7 => {
            let other = &corpus[dice.roll(corpus.len() as u64) as usize];
            let from = dice.roll(other.len() as u64 + 1) as usize;
            bytes.truncate(at);
            put(bytes, at, &other[from..]);
        }
        8 => {
            let other = noise(dice, 16);
            put(bytes, at, &other);
        }
        9 | 10 => {
            let word = dice.pick(&WORDS);
            put(bytes, at, word);
        }
        11 => {
            let number = dice.pick(&NUMBERS).to_be_bytes();
            let width = dice.pick(&[1, 2, 4, 4, 4, 8]).min(bytes.len() - at);
            bytes[at..at + width].copy_from_slice(&number[8 - width..]);
        }
        12 => {
            let varint = varint(dice.pick(&NUMBERS));
            put(bytes, at, &varint);
        }
        13 => digits(dice, bytes),
        14 => {
            let (open, close) = dice.pick(&NESTS);
            let power = if dice.one_in(20) { 15 } else { 8 };
            let depth = 1 << dice.roll(power);
            let nest = [open.repeat(depth), close.repeat(if dice.one_in(4) { 0 } else { depth })].concat();
            put(bytes, at, &nest);
        }
        _ => {
            let (one, other) = (at.min(bytes.len()), end.min(bytes.len()));
            bytes[one..other].reverse();
        }
    }
}

fn put(bytes: &mut Vec<u8>, at: usize, more: &[u8]) {
    if bytes.len() + more.len() <= LONGEST {
        bytes.splice(at..at, more.iter().copied());
    }
}

/// Another number in the place of one that is written in digits.
fn digits(dice: &mut Dice, bytes: &mut Vec<u8>) {
    let from = dice.roll(bytes.len() as u64 + 1) as usize;
    let Some(start) = bytes[from..].iter().position(u8::is_ascii_digit).map(|at| from + at) else { return };
    let end = bytes[start..].iter().position(|byte| !byte.is_ascii_digit()).map_or(bytes.len(), |at| start + at);
    let number = dice.pick(&NUMBERS).to_string();
    bytes.splice(start..end, number.into_bytes());
}

pub fn varint(mut number: u64) -> Vec<u8> {
    let mut bytes = Vec::new();
    while number >= 0x80 {
        bytes.push(number as u8 | 0x80);
        number >>= 7;
    }
    bytes.push(number as u8);
    bytes
}

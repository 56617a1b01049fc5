use std::io::Read;
use std::path::Path;

use proptest::prelude::*;

use super::*;

fn spool() -> Spool {
    Spool::new(&std::env::temp_dir(), 64 << 10)
}

fn all(body: &Body) -> Vec<u8> {
    body.slices().flat_map(|slice| slice.unwrap()).collect()
}

fn unpacked(gzip: &[u8]) -> Vec<u8> {
    let mut bytes = Vec::new();
    flate2::read::MultiGzDecoder::new(gzip).read_to_end(&mut bytes).unwrap();
    bytes
}

/// Records that compress about as JSON does; `hard` ones do not compress at all.
fn records(length: usize, hard: bool) -> Vec<u8> {
    let mut state = 7_u32;
    std::iter::repeat_with(|| {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        if hard { (state >> 24) as u8 } else { b'a' + ((state >> 24) % 7) as u8 }
    })
    .take(length)
    .collect()
}

#[test]
fn an_object_of_several_members_reads_as_one_gzip_file() {
    for length in [1, 1000, MEMBER - 1, MEMBER, MEMBER + 1, 3 * MEMBER + 12_345] {
        let records = records(length, false);
        let mut compressor = Compressor::new(Compression::Gzip, spool());
        records.chunks(100_003).for_each(|chunk| compressor.append(chunk).unwrap());
        let body = compressor.finish().unwrap();
        assert!(unpacked(&all(&body)) == records, "{length} bytes");
    }
}

#[test]
fn the_header_of_every_member_is_constant() {
    let mut compressor = Compressor::new(Compression::Gzip, spool());
    compressor.append(&records(2 * MEMBER + 5, false)).unwrap();
    let bytes = all(&compressor.finish().unwrap());
    let mut rest = &bytes[..];
    let mut members = 0;
    while !rest.is_empty() {
        // magic, deflate, no flags, no time, fastest, operating system unknown
        assert_eq!(rest[..10], [0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 4, 255]);
        let mut member = flate2::bufread::GzDecoder::new(rest);
        let length = io::copy(&mut member, &mut io::sink()).unwrap();
        assert!(length == MEMBER as u64 || length == 5);
        rest = member.into_inner();
        members += 1;
    }
    assert_eq!(members, 3);
}

#[test]
fn these_records_have_these_bytes() {
    // A change here is a change of LAYOUT.
    let records = records(MEMBER + 1000, false);
    let mut compressor = Compressor::new(Compression::Gzip, spool());
    compressor.append(&records).unwrap();
    let body = compressor.finish().unwrap();
    assert!(body.length() < records.len() as u64 / 2, "{} bytes", body.length());
    assert_eq!(body.sha256()[..8], [6, 157, 7, 8, 207, 79, 177, 231]);
}

#[test]
fn without_compression_the_records_are_the_object() {
    let records = records(200_000, true);
    let mut compressor = Compressor::new(Compression::None, spool());
    records.chunks(999).for_each(|chunk| compressor.append(chunk).unwrap());
    assert_eq!(compressor.written_at_most(1), 200_001);
    assert!(all(&compressor.finish().unwrap()) == records);
}

#[test]
fn an_object_without_records_is_never_made() {
    for compression in [Compression::Gzip, Compression::None] {
        let mut compressor = Compressor::new(compression, spool());
        compressor.append(&[]).unwrap();
        assert_eq!(compressor.finish().unwrap_err().kind(), io::ErrorKind::InvalidInput);
    }
}

#[test]
fn an_entry_that_does_not_fit_leaves_the_object_as_it_was_before() {
    // Memory for one hard member, and nowhere to write a second: a full disk is no other to the compressor.
    let room = MEMBER + MEMBER / 2;
    let before = records(MEMBER + 4321, true);
    let mut compressor = Compressor::new(Compression::Gzip, Spool::new(Path::new("/does/not/exist"), room));
    compressor.append(&before).unwrap();
    let at_most = compressor.written_at_most(0);
    for entry in [MEMBER, 3 * MEMBER] {
        compressor.append(&records(entry, true)).unwrap_err();
        assert_eq!(compressor.written_at_most(0), at_most);
    }
    compressor.append(b"one more that fits").unwrap();
    let body = compressor.finish().unwrap();
    assert!(unpacked(&all(&body)) == [&before[..], b"one more that fits"].concat());
}

#[test]
fn an_entry_whose_second_member_does_not_fit_is_taken_back_whole() {
    let entry = [records(MEMBER, false), records(2 * MEMBER, true)].concat();
    let mut compressor = Compressor::new(Compression::Gzip, Spool::new(Path::new("/does/not/exist"), MEMBER));
    compressor.append(b"first").unwrap();
    compressor.append(&entry).unwrap_err();
    compressor.append(b"second").unwrap();
    assert_eq!(unpacked(&all(&compressor.finish().unwrap())), b"firstsecond");
}

#[test]
fn an_entry_of_several_appends_is_taken_back_to_its_mark() {
    for compression in [Compression::Gzip, Compression::None] {
        let mut compressor = Compressor::new(compression, spool());
        let before = records(MEMBER + 999, false);
        compressor.append(&before).unwrap();
        let mark = compressor.mark();
        for _ in 0..5 {
            compressor.append(&records(MEMBER - 5, true)).unwrap();
        }
        compressor.rollback(mark);
        compressor.append(b"after").unwrap();
        let mut straight = Compressor::new(compression, spool());
        straight.append(&[&before[..], b"after"].concat()).unwrap();
        assert_eq!(compressor.finish().unwrap().sha256(), straight.finish().unwrap().sha256());
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    #[test]
    fn the_bytes_do_not_depend_on_how_the_records_were_appended(
        lengths in prop::collection::vec(prop_oneof![0..5000_usize, 0..3 * MEMBER], 1..6),
        hard: bool,
    ) {
        let records = records(lengths.iter().sum::<usize>() + 1, hard);
        let mut whole = Compressor::new(Compression::Gzip, spool());
        whole.append(&records).unwrap();
        let mut split = Compressor::new(Compression::Gzip, spool());
        let mut rest = &records[..];
        for length in lengths {
            let (now, later) = rest.split_at(length);
            let at_most = split.written_at_most(length);
            split.append(now).unwrap();
            prop_assert!(split.written_at_most(0) <= at_most);
            rest = later;
        }
        split.append(rest).unwrap();
        let at_most = split.written_at_most(0);
        let (whole, split) = (whole.finish().unwrap(), split.finish().unwrap());
        prop_assert!(split.length() <= at_most);
        prop_assert_eq!(whole.sha256(), split.sha256());
    }
}

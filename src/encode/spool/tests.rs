use std::fs;

use super::*;

fn all(body: &Body) -> Vec<u8> {
    body.slices().flat_map(|slice| slice.unwrap()).collect()
}

fn noise(length: usize, seed: u32) -> Vec<u8> {
    let mut state = seed | 1;
    iter::repeat_with(|| {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        (state >> 24) as u8
    })
    .take(length)
    .collect()
}

/// Every write to it fails for want of room.
fn full_device() -> File {
    fs::OpenOptions::new().write(true).open("/dev/full").unwrap()
}

#[test]
fn a_body_gives_back_what_was_appended_wherever_it_was_kept() {
    let dir = tempfile::tempdir().unwrap();
    for memory in [0, 1, 1000, 70_000, 1 << 20] {
        for lengths in [&[0_usize, 1][..], &[1000, 1000, 1], &[70_000, 200_000, 3, 65_536], &[999, 2, 70_001]] {
            let mut spool = Spool::new(dir.path(), memory);
            let mut expected = Vec::new();
            for (seed, length) in lengths.iter().enumerate() {
                let bytes = noise(*length, seed as u32);
                spool.append(&bytes).unwrap();
                expected.extend(bytes);
                assert!(spool.tail.len() <= memory);
                assert_eq!(spool.length(), expected.len() as u64);
            }
            expected.extend(b"the end");
            let body = spool.finish(b"the end");
            let plain = Body::from(expected.clone());
            assert_eq!(all(&body), expected);
            assert_eq!(all(&body.clone()), expected, "a second reading");
            assert_eq!(body.length(), expected.len() as u64);
            assert_eq!((&body.0.md5s, body.sha256()), (&plain.0.md5s, plain.sha256()));
        }
    }
}

#[test]
fn the_digests_are_md5_and_sha_256() {
    let body = Body::from(b"abc".to_vec());
    assert_eq!(hex(&body.parts().next().unwrap().md5), "900150983cd24fb0d6963f7d28e17f72");
    assert_eq!(body.sha256_hex(), "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
}

#[test]
fn slices_are_at_most_64_kib_and_those_in_memory_are_not_copied() {
    let body = Body::from(noise(150_000, 1));
    let slices: Vec<Bytes> = body.slices().map(Result::unwrap).collect();
    assert_eq!(slices.iter().map(Bytes::len).collect::<Vec<_>>(), [65_536, 65_536, 18_928]);
    assert_eq!(slices[1].as_ptr(), body.0.tail[65_536..].as_ptr());
}

#[test]
fn a_part_may_cross_from_the_file_into_memory() {
    let dir = tempfile::tempdir().unwrap();
    let bytes = noise(5000, 1);
    let mut spool = Spool::new(dir.path(), 2000);
    bytes.chunks(1500).for_each(|chunk| spool.append(chunk).unwrap());
    let body = spool.finish(&[]);
    assert!((1..5000).contains(&body.0.on_disk));
    for range in [0..5000, 1400..4600, 0..1, 4999..5000, 4500..9000, 5000..5001, 7..7] {
        let part: Vec<u8> = body.slices_of(range.clone()).flat_map(|slice| slice.unwrap()).collect();
        assert_eq!(part, bytes[range.start as usize..(range.end as usize).min(5000)], "{range:?}");
    }
}

#[test]
fn the_file_has_no_name_and_is_only_the_owners_to_read() {
    use std::os::unix::fs::MetadataExt;
    let dir = tempfile::tempdir().unwrap();
    let mut spool = Spool::new(dir.path(), 10);
    spool.append(&[1; 100]).unwrap();
    let metadata = spool.file.as_ref().unwrap().metadata().unwrap();
    assert_eq!((metadata.mode() & 0o777, metadata.nlink()), (0o600, 0));
    assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 0);
}

/// Files in `dir` that this process has open.
fn open_in(dir: &Path) -> usize {
    let open = fs::read_dir("/proc/self/fd").unwrap().flatten();
    open.filter(|fd| fs::read_link(fd.path()).is_ok_and(|to| to.starts_with(dir))).count()
}

#[test]
fn the_file_goes_with_the_last_that_has_it_also_in_a_panic() {
    let dir = tempfile::tempdir().unwrap();
    let spooled = || {
        let mut spool = Spool::new(dir.path(), 10);
        spool.append(&[1; 100]).unwrap();
        spool
    };
    let (dropped, body) = (spooled(), spooled().finish(b"end"));
    let (other, mut slices) = (body.clone(), body.slices());
    assert_eq!(open_in(dir.path()), 2);
    drop(dropped);
    drop((body, other));
    assert_eq!(open_in(dir.path()), 1, "somebody still reads it");
    assert_eq!(slices.next().unwrap().unwrap().len(), 100);
    drop(slices);
    assert_eq!(open_in(dir.path()), 0);
    let (spool, body) = (spooled(), spooled().finish(b"end"));
    let panicked = std::thread::spawn(move || {
        let _held = (spool, body);
        panic!("on purpose");
    });
    panicked.join().unwrap_err();
    assert_eq!((open_in(dir.path()), fs::read_dir(dir.path()).unwrap().count()), (0, 0));
}

#[test]
fn what_fits_in_memory_needs_no_directory() {
    let mut spool = Spool::new(Path::new("/does/not/exist"), 10);
    spool.append(&[1; 10]).unwrap();
    let error = spool.append(&[2]).unwrap_err();
    assert_eq!(error.kind(), io::ErrorKind::NotFound);
    assert!(error.to_string().contains("/does/not/exist"), "{error}");
    assert!(!is_full(&error));
    assert_eq!(all(&spool.finish(&[])), [1; 10]);
}

#[test]
fn a_full_disk_refuses_one_append_and_keeps_all_before_it() {
    let dir = tempfile::tempdir().unwrap();
    let mut spool = Spool::new(dir.path(), 100);
    spool.append(&[1; 150]).unwrap();
    spool.append(&[2; 80]).unwrap();
    let real = spool.file.replace(full_device());
    for refused in [vec![3; 50], vec![3; 500]] {
        let error = spool.append(&refused).unwrap_err();
        assert!(is_full(&error), "{error}");
        assert_eq!(spool.length(), 230);
    }
    spool.append(&[4; 20]).expect("what fits in memory is taken, full disk or not");
    spool.file = real;
    let expected = [&[1; 150][..], &[2; 80], &[4; 20], &[5; 30]].concat();
    let body = spool.finish(&[5; 30]);
    assert_eq!(all(&body), expected);
    assert_eq!(body.sha256(), Body::from(expected).sha256());
}

#[test]
fn an_append_refused_after_the_tail_was_written_out_loses_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let mut spool = Spool::new(dir.path(), 100);
    spool.append(&[1; 90]).unwrap();
    spool.spill().unwrap();
    let real = spool.file.replace(full_device());
    assert!(is_full(&spool.append(&[2; 500]).unwrap_err()));
    spool.file = real;
    spool.append(&[3; 500]).unwrap();
    assert_eq!(all(&spool.finish(&[])), [&[1; 90][..], &[3; 500]].concat());
}

#[test]
fn a_rollback_forgets_what_came_after_the_mark_in_memory_and_on_disk() {
    let dir = tempfile::tempdir().unwrap();
    for after in [&[5_usize][..], &[90], &[300], &[90, 90, 90, 300, 7]] {
        let mut spool = Spool::new(dir.path(), 100);
        spool.append(&[1; 120]).unwrap();
        spool.append(&[2; 60]).unwrap();
        let mark = spool.mark();
        after.iter().for_each(|length| spool.append(&vec![3; *length]).unwrap());
        spool.rollback(mark);
        assert_eq!(spool.length(), 180);
        spool.append(&[4; 70]).unwrap();
        let expected = [&[1; 120][..], &[2; 60], &[4; 70]].concat();
        let body = spool.finish(&[]);
        assert_eq!(all(&body), expected, "after {after:?}");
        assert_eq!(body.0.md5s, Body::from(expected).0.md5s);
    }
}

#[test]
fn a_long_body_has_parts_whose_digests_are_those_of_their_bytes() {
    let dir = tempfile::tempdir().unwrap();
    for over in [0, 1, PART as usize] {
        let bytes = noise(PART as usize + over, 7);
        let mut spool = Spool::new(dir.path(), 1 << 20);
        for chunk in bytes.chunks(3 << 20) {
            spool.append(chunk).unwrap();
        }
        let mark = spool.mark();
        spool.append(&noise(PART as usize, 8)).unwrap();
        spool.rollback(mark);
        let body = spool.finish(b"");
        let parts: Vec<Part> = body.parts().collect();
        assert_eq!(parts.len(), if over == 0 { 1 } else { 2 });
        for part in parts {
            let of = &bytes[part.range.start as usize..part.range.end as usize];
            assert_eq!(part.md5, <[u8; 16]>::from(Md5::digest(of)));
        }
    }
    assert_eq!(Body::from(Vec::new()).parts().next().unwrap().range, 0..0);
}

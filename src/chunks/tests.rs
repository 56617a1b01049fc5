use super::*;
use crate::testing::compose::{Composed, Composer, Compression, Draft};
use Offered::{GaveUp, Last, Single, Waits};

fn at(entry: i64) -> Position {
    Position::new(7, entry)
}

/// A topic that is read entry by entry.
struct Topic {
    assembler: Assembler,
    next: i64,
}

impl Topic {
    fn new() -> Self {
        Topic { assembler: Assembler::new(&std::env::temp_dir()), next: 0 }
    }

    fn entry(&mut self, composed: &Composed) -> Entry {
        self.next += 1;
        composed.clone().entry(at(self.next - 1), -1)
    }

    /// Offers the next entry; what is taken or would be put into an object has passed.
    fn offer(&mut self, composed: &Composed) -> (Offered, Entry) {
        let entry = self.entry(composed);
        let offered = self.assembler.offer(&entry).unwrap();
        match offered {
            Single | Waits => self.assembler.passed(entry.position),
            _ => self.next -= 1,
        }
        (offered, entry)
    }

    fn expect(&mut self, composed: &Composed, expected: Offered) -> Entry {
        let (offered, entry) = self.offer(composed);
        assert_eq!(offered, expected, "{}", entry.position);
        entry
    }

    /// The next entry is no chunk, and as long as this.
    fn expect_sized(&mut self, size: usize, expected: Offered) {
        let mut entry = self.entry(&single());
        entry.size = size;
        assert_eq!(self.assembler.offer(&entry).unwrap(), expected, "{}", entry.position);
        self.assembler.passed(entry.position);
    }

    fn given_up(&mut self) -> Vec<Entry> {
        let mut entries = Vec::new();
        while let Some(part) = self.assembler.given_up().unwrap() {
            entries.push(part.entry);
            self.assembler.given_up_is_stored();
        }
        entries
    }
}

fn single() -> Composed {
    Composer::new("other").single(Draft::new("x"))
}

/// A message of 100 bytes in `count` chunks.
fn chunks(producer: &str, count: usize) -> Vec<Composed> {
    let value: Vec<u8> = (0..100).collect();
    Composer::new(producer).chunks(Draft::new(value), 100usize.div_ceil(count), &format!("{producer}-0"))
}

#[test]
fn an_entry_that_is_no_chunk_is_single_and_nothing_waits() {
    let mut topic = Topic::new();
    topic.expect(&single(), Single);
    assert_eq!((topic.assembler.waiting(), topic.assembler.entries()), (Waiting::Nothing, 0));
}

#[test]
fn a_message_is_joined_at_its_last_chunk_and_waits_until_its_object_is_stored() {
    for compression in [Compression::None, Compression::Zstd] {
        let mut topic = Topic::new();
        topic.expect(&single(), Single);
        let value: Vec<u8> = (0..5_000u32).flat_map(|n| n.wrapping_mul(2_654_435_761).to_le_bytes()).collect();
        let mut composer = Composer::new("p").at(5).compression(compression);
        let chunks = composer.chunks(Draft::new(value.clone()).property("a", "b"), 8_000, "p-0");
        let (last, parts) = chunks.split_last().unwrap();
        for part in parts {
            topic.expect(part, Waits);
        }
        let last = topic.expect(last, Last);
        let whole = topic.assembler.join(&last).unwrap().unwrap();
        assert_eq!((&whole.payload[..], whole.position, whole.first_chunk), (&value[..], last.position, Some(at(1))));
        assert_eq!((whole.metadata.compression, &whole.metadata.properties), (None, &last.metadata.properties));
        assert_eq!(topic.assembler.entries(), parts.len());
        topic.assembler.is_placed(&last);
        assert_eq!((topic.assembler.waiting(), topic.assembler.entries()), (Waiting::Behind(Some(at(0))), 0));
        topic.assembler.placed_is_stored();
        assert_eq!(topic.assembler.waiting(), Waiting::Nothing);
    }
}

#[test]
fn everything_behind_the_first_open_message_waits() {
    let mut topic = Topic::new();
    let (a, b) = (chunks("a", 2), chunks("b", 2));
    topic.expect(&a[0], Waits);
    assert_eq!(topic.assembler.waiting(), Waiting::Behind(None));
    topic.expect(&single(), Single);
    topic.expect(&b[0], Waits);
    let last = topic.expect(&a[1], Last);
    topic.assembler.is_stored(&last);
    assert_eq!(topic.assembler.waiting(), Waiting::Behind(Some(at(1))));
}

#[test]
fn given_up_parts_are_the_entries_that_came_in_their_order() {
    let mut topic = Topic::new();
    let stamp = |it: &Composed| {
        let broker = pulsar::proto::BrokerEntryMetadata { broker_timestamp: Some(9), index: Some(3) };
        it.clone().with(|it| it.broker = Some(broker))
    };
    let (a, b) = (chunks("a", 3), chunks("b", 3));
    let sent = [stamp(&a[0]), stamp(&b[0]), stamp(&a[1]), stamp(&a[0]), stamp(&b[1])];
    let came: Vec<Entry> = sent.iter().map(|chunk| topic.expect(chunk, Waits)).collect();
    let much_later = Composer::new("late").at(PATIENCE_MS + 9).single(Draft::new(""));
    topic.expect(&much_later, GaveUp);
    assert_eq!(topic.assembler.waiting(), Waiting::Behind(None));
    let given_up = topic.given_up();
    assert_eq!(format!("{given_up:?}"), format!("{came:?}"));
    assert_eq!(topic.assembler.waiting(), Waiting::Nothing);
    topic.expect(&much_later, Single);
}

#[test]
fn a_message_without_its_first_chunk_waits_for_its_last_and_is_none() {
    let mut topic = Topic::new();
    let chunks = chunks("a", 3);
    topic.expect(&chunks[1], Waits);
    let last = topic.expect(&chunks[2], Last);
    assert!(topic.assembler.join(&last).unwrap().is_err());
    topic.assembler.give_up(&last);
    assert_eq!(topic.given_up().len(), 1);
    topic.expect(&chunks[2], Single);
}

#[test]
fn a_gap_and_a_chunk_that_only_looks_repeated_give_a_message_up() {
    let four = chunks("a", 4);
    let other_payload = four[0].clone().with(|it| it.payload = Bytes::from_static(b"other"));
    let other_time = four[0].clone().with(|it| it.metadata.publish_time = 1);
    let other_length = four[1].clone().with(|it| it.metadata.total_chunk_msg_size = Some(101));
    for wrong in [&four[2], &other_payload, &other_time, &other_length] {
        let mut topic = Topic::new();
        topic.expect(&four[0], Waits);
        topic.expect(wrong, GaveUp);
        assert_eq!(topic.given_up().len(), 1);
        topic.expect(wrong, Waits);
    }
}

#[test]
fn room_is_reckoned_by_what_messages_say_so_that_it_does_not_matter_where_reading_began() {
    let claim = |producer: &str| -> Vec<Composed> {
        let claimed = |it: Composed| it.with(|it| it.metadata.total_chunk_msg_size = Some(12 << 20));
        chunks(producer, 4).into_iter().map(claimed).collect()
    };
    for begin in 0..3 {
        let mut topic = Topic::new();
        // Ten of 12 MiB fit into 128.
        for n in 0..10 {
            topic.expect(&claim(&format!("p{n}"))[begin], Waits);
        }
        topic.expect(&claim("one more")[0], GaveUp);
        assert_eq!(topic.given_up()[0].metadata.producer_name, "p0", "from chunk {begin}");
        topic.expect(&claim("one more")[0], Waits);
    }
}

#[test]
fn more_messages_than_files_may_be_open_are_not() {
    let mut topic = Topic::new();
    for n in 0..MOST_OPEN {
        topic.expect(&chunks(&format!("p{n}"), 2)[0], Waits);
    }
    topic.expect(&chunks("one more", 2)[0], GaveUp);
    assert_eq!(topic.given_up()[0].metadata.producer_name, "p0");
}

#[test]
fn chunks_that_no_client_makes_and_those_too_large_to_hold_never_wait() {
    type Spoil = fn(&mut MessageMetadata);
    let spoils: [Spoil; 10] = [
        |m| m.chunk_id = Some(-1),
        |m| m.chunk_id = Some(3),
        |m| m.chunk_id = None,
        |m| m.uuid = Some(String::new()),
        |m| m.uuid = Some("u".repeat(LONGEST_NAME + 1)),
        |m| m.total_chunk_msg_size = Some(0),
        |m| m.total_chunk_msg_size = Some((13 << 20) + 1),
        |m| (m.compression, m.uncompressed_size) = (Some(1), Some(u32::MAX)),
        |m| m.num_chunks_from_msg = Some(i32::MAX),
        |m| m.num_messages_in_batch = Some(1),
    ];
    for spoil in spoils {
        let mut topic = Topic::new();
        topic.expect(&chunks("a", 3)[0].clone().with(|it| spoil(&mut it.metadata)), Single);
        assert_eq!(topic.assembler.entries(), 0);
    }
}

#[test]
fn a_part_that_cannot_be_written_is_not_taken() {
    let mut topic = Topic::new();
    topic.assembler = Assembler::new(Path::new("/nowhere/at/all"));
    let entry = topic.entry(&chunks("a", 2)[0]);
    assert!(topic.assembler.offer(&entry).is_err());
    assert_eq!((topic.assembler.waiting(), topic.assembler.entries()), (Waiting::Nothing, 0));
}

#[test]
fn a_message_is_given_up_behind_more_than_a_run_may_have_to_skip() {
    for (entries, size) in [(PATIENCE_ENTRIES, 100), (1024, 1 << 20)] {
        let mut topic = Topic::new();
        topic.expect(&chunks("a", 2)[0], Waits);
        for _ in 0..entries {
            topic.expect_sized(size, Single);
        }
        topic.expect_sized(size, GaveUp);
        assert_eq!(topic.given_up().len(), 1);
    }
}

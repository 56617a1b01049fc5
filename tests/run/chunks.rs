//! Chunked messages: one record each, whatever comes in between, and raw where they never become whole.

use serde_json::Value;
use tdmq_backup::Position;
use tdmq_backup::report::{Outcome, Report, Stop};
use tdmq_backup::span::Span;
use tdmq_backup::testing::broker::Config;
use tdmq_backup::testing::compose::{Composed, Composer, Compression, Draft};

use crate::world::{NOW, SUBSCRIPTION, World};

pub const PATIENCE_MS: u64 = 10 * 60 * 1000;

/// A world whose runs may write as many objects as they need.
pub async fn world() -> World {
    let mut world = World::new().await;
    world.set("max_objects", 10);
    world
}

pub fn before_all() -> Position {
    Position::new(Config::default().first_ledger, -1)
}

/// The id of a record of this topic.
fn id(at: Position) -> String {
    format!("{at}:-1")
}

fn record(world: &World, at: Position) -> Value {
    let lines = world.all_lines();
    lines.iter().find(|line| line["id"] == id(at)).unwrap_or_else(|| panic!("nothing at {at}")).clone()
}

pub fn raw_ids(world: &World) -> Vec<String> {
    let raw = world.all_lines().into_iter().filter(|line| !line["undecodable"]["chunk"].is_null());
    let mut ids: Vec<String> = raw.map(|line| line["id"].as_str().unwrap().to_owned()).collect();
    ids.sort();
    ids
}

pub fn ids(positions: &[Position]) -> Vec<String> {
    positions.iter().map(|at| id(*at)).collect()
}

/// An object of chunks that were given up reaches over nothing that another object holds.
#[track_caller]
pub fn given_up_lie_apart(world: &World) {
    let position = |line: &Value| {
        let id = line["id"].as_str().unwrap().split(':').map(|part| part.parse().unwrap()).collect::<Vec<_>>();
        Position::new(id[0], id[1])
    };
    for key in world.objects() {
        let (span, lines) = (Span::of_key(&key).unwrap(), world.lines(&key));
        if lines.iter().any(|line| !line["undecodable"]["chunk"].is_null()) {
            let inside = world.all_lines().iter().filter(|line| span.covers(position(line))).count();
            assert_eq!(inside, lines.len(), "{key} reaches over others: {:#?}", world.objects());
        }
    }
}

/// A message at this time, of a producer that sends nothing else.
pub fn late(world: &World, after_ms: u64) -> Position {
    let payload = format!("{{\"n\":{}}}", 1000 + after_ms);
    world.topic.append(Composer::new("late").at(NOW - 60_000 + after_ms).single(Draft::new(payload)))
}

#[track_caller]
pub fn is_drained(report: &Report) {
    assert_eq!(
        (report.outcome, report.stop, report.open_chunks),
        (Outcome::Stored, Some(Stop::Drained), 0),
        "{report:?}"
    );
    assert!(report.complete_through.is_some());
}

#[tokio::test]
async fn a_chunked_message_is_one_record_at_its_last_chunks_place() {
    let mut world = world().await;
    world.send(&[1]);
    let chunks = world.chunks("big", 3);
    let uuid = chunks[0].metadata.uuid.clone().unwrap();
    let at = world.topic.append_all(chunks);
    let last = world.send(&[1])[0];
    let report = world.run().await;
    is_drained(&report);
    world.assert_exactly_once();
    world.assert_every_entry_is_stored_once();
    assert_eq!((report.messages, report.objects[0].undecodable, report.objects[0].acknowledged), (3, 0, true));
    assert_eq!(world.mark_delete(), last);
    let record = record(&world, at[2]);
    assert_eq!(record["first_chunk_id"], id(at[0]));
    assert_eq!((&record["uuid"], &record["num_chunks_from_msg"]), (&Value::from(uuid), &Value::from(3)));
    assert_eq!(world.run().await.outcome, Outcome::NothingToDo);
}

#[tokio::test]
async fn an_open_message_holds_back_the_acknowledgement_over_objects_and_runs() {
    let mut world = world().await;
    world.set("max_messages", 2);
    let before = world.send(&[1])[0];
    let mut chunks = world.chunks("big", 3).into_iter();
    world.topic.append(chunks.next().unwrap());
    world.send(&[1, 1]);
    world.topic.append(chunks.next().unwrap());
    world.send(&[1]);

    let report = world.run().await;
    assert_eq!((report.outcome, report.stop, report.open_chunks), (Outcome::Stored, Some(Stop::Drained), 2));
    assert_eq!(report.complete_through, None, "two entries are not in the bucket");
    let acknowledged: Vec<bool> = report.objects.iter().map(|object| object.acknowledged).collect();
    assert_eq!((acknowledged, world.objects().len()), (vec![false, false], 2));
    assert_eq!(world.mark_delete(), before);
    world.assert_nothing_acknowledged_unstored();

    let report = world.run().await;
    assert_eq!(
        (report.outcome, report.skipped_entries, report.open_chunks),
        (Outcome::NothingToDo, 3, 2),
        "{report:?}"
    );
    assert_eq!((world.mark_delete(), world.objects().len()), (before, 2));

    world.send(&[1]);
    let last = world.topic.append(chunks.next().unwrap());
    is_drained(&world.run().await);
    assert_eq!((world.mark_delete(), world.objects().len()), (last, 3));
    world.assert_exactly_once();
    world.assert_every_entry_is_stored_once();
    assert_eq!(world.run().await.outcome, Outcome::NothingToDo);
}

#[tokio::test]
async fn nothing_is_acknowledged_where_an_open_message_comes_first() {
    let mut world = world().await;
    let mut chunks = world.chunks("big", 2).into_iter();
    world.topic.append(chunks.next().unwrap());
    world.send(&[1]);
    let report = world.run().await;
    assert_eq!((report.outcome, report.stop), (Outcome::Stored, Some(Stop::Drained)));
    assert_eq!((report.open_chunks, report.objects[0].acknowledged), (1, false));
    assert_eq!((world.mark_delete(), report.warnings.len()), (before_all(), 0));
    let last = world.topic.append(chunks.next().unwrap());
    is_drained(&world.run().await);
    assert_eq!(world.mark_delete(), last);
    world.assert_exactly_once();
}

#[tokio::test]
async fn messages_of_two_producers_and_of_one_are_told_apart() {
    for (one, other) in [("a", "b"), ("same", "same")] {
        let mut world = world().await;
        let (first, second) = (world.chunks(one, 3), world.chunks(other, 4));
        let [a0, a1, a2] = first.try_into().unwrap();
        let [b0, b1, b2, b3]: [Composed; 4] = second.try_into().unwrap();
        world.topic.append_all([a0, b0, b1, a1]);
        world.send(&[1]);
        world.topic.append_all([b2, a2]);
        world.send(&[1]);
        let last = world.topic.append(b3);
        is_drained(&world.run().await);
        assert_eq!(world.mark_delete(), last);
        world.assert_exactly_once();
        world.assert_every_entry_is_stored_once();
    }
}

#[tokio::test]
async fn a_chunk_that_comes_again_belongs_to_its_message() {
    let mut world = world().await;
    let [a0, a1, a2] = <[Composed; 3]>::try_from(world.chunks("big", 3)).unwrap();
    world.topic.append_all([a0.clone(), a1.clone(), a0, a1]);
    let last = world.topic.append(a2);
    let report = world.run().await;
    is_drained(&report);
    assert_eq!((report.messages, world.mark_delete()), (1, last));
    world.assert_exactly_once();
    world.assert_every_entry_is_stored_once();
}

#[tokio::test]
async fn a_message_with_a_gap_is_kept_raw_part_by_part() {
    let mut world = world().await;
    let [a0, _, a2, a3] = <[Composed; 4]>::try_from(world.chunks("big", 4)).unwrap();
    let first = world.topic.append(a0);
    world.send(&[1]);
    let mut parts = vec![first];
    parts.extend(world.topic.append_all([a2, a3]));
    let report = world.run().await;
    is_drained(&report);
    assert_eq!(raw_ids(&world), ids(&parts));
    assert_eq!(world.mark_delete(), parts[2]);
    given_up_lie_apart(&world);
    world.assert_every_entry_is_stored_once();
    let reason = record(&world, first)["undecodable"]["reason"].clone();
    assert_eq!(reason, "part 1 of 4 of a chunked message");
}

#[tokio::test]
async fn a_message_is_given_up_at_an_entry_ten_minutes_later_and_not_before() {
    let mut world = world().await;
    let mut chunks = world.chunks("big", 3).into_iter();
    let parts = [chunks.next().unwrap(), chunks.next().unwrap()];
    let since = parts[0].metadata.publish_time - (NOW - 60_000);
    let parts = world.topic.append_all(parts);
    late(&world, since + PATIENCE_MS - 1);
    let report = world.run().await;
    assert_eq!((report.open_chunks, world.mark_delete()), (2, before_all()));

    let last = late(&world, since + PATIENCE_MS);
    let report = world.run().await;
    is_drained(&report);
    assert_eq!(report.objects.iter().map(|object| object.undecodable).collect::<Vec<_>>(), [2, 0]);
    assert_eq!((raw_ids(&world), world.mark_delete()), (ids(&parts), last));
    world.assert_every_entry_is_stored_once();

    // And when its last chunk comes after all, that is raw too.
    let end = world.topic.append(chunks.next().unwrap());
    is_drained(&world.run().await);
    assert_eq!((raw_ids(&world).len(), world.mark_delete()), (3, end));

    for k in [before_all(), parts[0], parts[1], last] {
        world.topic.set_mark_delete(SUBSCRIPTION, k);
        is_drained(&world.run().await);
        assert_eq!(world.mark_delete(), end);
        world.assert_every_entry_is_stored_once();
    }
}

#[tokio::test]
async fn the_brokers_time_counts_where_entries_have_it() {
    let mut world = world().await;
    let mut chunks = world.chunks("big", 2).into_iter();
    let stamp = |composed: Composed, time: u64| {
        composed.with(|it| {
            it.broker = Some(pulsar::proto::BrokerEntryMetadata { broker_timestamp: Some(time), index: None })
        })
    };
    world.topic.append(stamp(chunks.next().unwrap(), NOW));
    // A producer whose clock is an hour fast.
    let fast = Composer::new("fast").at(NOW + 3_600_000).single(Draft::new("{\"n\":99}"));
    world.topic.append(stamp(fast, NOW + 1));
    world.topic.append(stamp(chunks.next().unwrap(), NOW + 2));
    is_drained(&world.run().await);
    assert_eq!(raw_ids(&world).len(), 0);
    world.assert_every_entry_is_stored_once();
}

/// As a producer sends that begins to count anew.
pub fn under_the_uuid_of(old: &Composed, chunks: Vec<Composed>) -> Vec<Composed> {
    let (uuid, sequence) = (&old.metadata.uuid, old.metadata.sequence_id);
    let renamed =
        |chunk: Composed| chunk.with(|it| (it.metadata.uuid, it.metadata.sequence_id) = (uuid.clone(), sequence));
    chunks.into_iter().map(renamed).collect()
}

#[tokio::test]
async fn another_message_under_the_same_uuid_does_not_mix_with_the_first() {
    let mut world = world().await;
    let [old, _] = <[Composed; 2]>::try_from(world.chunks("big", 2)).unwrap();
    let first = world.topic.append(old.clone());
    let new = under_the_uuid_of(&old, world.chunks("big", 2));
    let at = world.topic.append_all(new);
    is_drained(&world.run().await);
    assert_eq!(raw_ids(&world), ids(&[first]));
    assert_eq!(record(&world, at[1])["value"]["n"], 2);
    world.assert_every_entry_is_stored_once();
}

#[tokio::test]
async fn the_message_that_opened_first_is_given_up_where_there_is_no_room() {
    let mut world = world().await;
    let mut parts = Vec::new();
    let mut rest = Vec::new();
    for n in 0..11 {
        let [first, last] = <[Composed; 2]>::try_from(world.chunks(&format!("p{n}"), 2)).unwrap();
        // What they say of themselves counts: 12 MiB each, and ten of them fit.
        let first = first.with(|it| it.metadata.total_chunk_msg_size = Some(12 << 20));
        parts.push(world.topic.append(first));
        rest.push(last);
    }
    let report = world.run().await;
    assert_eq!((report.open_chunks, raw_ids(&world)), (10, ids(&parts[..1])));
    assert_eq!(world.mark_delete(), parts[0]);
    world.assert_nothing_acknowledged_unstored();
}

#[tokio::test]
async fn every_compression_is_undone_over_the_whole_message() {
    for compression in [Compression::None, Compression::Lz4, Compression::Zlib, Compression::Zstd, Compression::Snappy]
    {
        let world = world().await;
        let value: String = (0..2_000u32).map(|n| format!("{:x},", n.wrapping_mul(2_654_435_761))).collect();
        let mut composer = Composer::new("big").at(NOW).compression(compression);
        let draft = Draft::new(value.as_str()).key("k").property("p", "v").event_time(5);
        let at = world.topic.append_all(composer.chunks(draft, 900, "big-0"));
        assert!(at.len() > 3);
        is_drained(&world.run().await);
        let record = record(&world, at[at.len() - 1]);
        assert_eq!((&record["text"], &record["key"]), (&Value::from(value), &Value::from("k")), "{compression:?}");
        assert_eq!((&record["properties"]["p"], &record["event_time"]), (&Value::from("v"), &Value::from(5)));
        assert_eq!(world.mark_delete(), at[at.len() - 1]);
    }
}

#[tokio::test]
async fn what_cannot_be_put_together_is_kept_raw_and_blocks_nothing() {
    type Spoil = fn(&mut Composed);
    let spoils: [(&str, Spoil); 6] = [
        ("does not decompress", |it| it.metadata.compression = Some(3)),
        ("another length", |it| it.metadata.total_chunk_msg_size = Some(10)),
        ("larger than memory", |it| it.metadata.total_chunk_msg_size = Some((13 << 20) + 1)),
        ("an unknown compression", |it| it.metadata.compression = Some(77)),
        ("no uuid", |it| it.metadata.uuid = None),
        ("encrypted", |it| it.metadata.encryption_keys = vec![Default::default()]),
    ];
    for (why, spoil) in spoils {
        let mut world = world().await;
        let chunks = world.chunks("big", 3).into_iter().map(|chunk| chunk.with(spoil));
        let parts = world.topic.append_all(chunks);
        let last = world.send(&[1])[0];
        is_drained(&world.run().await);
        assert_eq!((raw_ids(&world), world.mark_delete()), (ids(&parts), last), "{why}");
    }
}

#[tokio::test]
async fn a_message_above_max_bytes_gets_an_object_of_its_own() {
    let mut world = world().await;
    world.set("max_bytes", 1 << 20);
    world.send(&[1]);
    let payload: String = (0..300_000u32).map(|n| format!("{:08x}", n.wrapping_mul(2_654_435_761))).collect();
    let draft = Draft::new(payload.as_str());
    let at = world.topic.append_all(Composer::new("big").at(NOW).chunks(draft, 300_000, "big-0"));
    let last = world.send(&[1])[0];
    let report = world.run().await;
    is_drained(&report);
    assert_eq!(report.objects.iter().map(|object| object.messages).collect::<Vec<_>>(), [1, 1, 1]);
    assert_eq!(world.mark_delete(), last);
    assert_eq!(record(&world, at[at.len() - 1])["text"], payload);
}

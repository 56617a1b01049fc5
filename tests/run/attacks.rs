//! Histories that once broke the promise, or tried to; and random ones.

use std::time::Duration;

use tdmq_backup::report::Outcome;
use tdmq_backup::run::Function;
use tdmq_backup::testing::broker::{Act, CommandType, Config, ServerError, When};
use tdmq_backup::testing::compose::{Composer, Compression, Draft};
use tdmq_backup::{Clock, Position, Rule};

use crate::world::{NOW, SUBSCRIPTION, World};

fn composer() -> Composer {
    Composer::new("attacker").at(NOW)
}

/// `rewind` closes the old consumer while frames for it are on their way; they are accepted as if they
/// were the new consumer's, and `accepted` then hides everything before them.
#[tokio::test]
async fn a_rewind_with_entries_on_their_way_loses_nothing() {
    let mut world = World::with(Config { max_message_size: 1 << 20, ..Config::default() }).await;
    world.set("max_messages", 6);
    world.send(&[1]);
    world.run().await;
    world.send(&[1; 20]);
    world.dies_before_storing().await;
    // Message 2 is expired: the pinned span cannot be rebuilt, and is given up in due time.
    world.topic.expire(2);
    world.clock = Clock::starting_at(NOW + 23 * 60_000);
    world.run().await;
    world.drain(10).await;
    let expected: Vec<u64> = (1..=21).filter(|n| *n != 2).collect();
    assert_eq!(world.numbers(), expected);
}

/// The same where the pinned span does not come again byte for byte (broker metadata switched, say).
#[tokio::test]
async fn a_pinned_span_of_other_bytes_is_planned_anew_without_a_loss() {
    let mut world = World::new().await;
    world.set("max_messages", 6);
    world.send(&[1]);
    world.run().await;
    world.send(&[1; 50]);
    world.dies_before_storing().await;
    let mut head = world.head().unwrap();
    head["next"]["digest"] = "00".repeat(32).into();
    world.bucket.plant(&world.head_key(), head.to_string().as_bytes(), &[]).unwrap();
    world.clock = Clock::starting_at(NOW + 23 * 60_000);
    world.run().await;
    world.drain(20).await;
    world.assert_exactly_once();
}

/// A head whose `next` overlaps other objects is known to be stale; entries must then be looked up.
#[tokio::test]
async fn a_stale_head_that_contradicts_the_objects_makes_the_run_look() {
    stale_head_reaching(4).await;
}

#[tokio::test]
async fn a_stale_head_that_overlaps_other_objects_makes_the_run_look() {
    stale_head_reaching(5).await;
}

async fn stale_head_reaching(last: u64) {
    let mut world = World::new().await;
    world.set("max_messages", 2);
    world.send(&[1, 1]);
    world.run().await;
    world.send(&[1; 2]);
    // The writer that is frozen after its look, whose head lands late on a store without conditions.
    world.dies_before_storing().await;
    let stale = world.bucket.read(&world.head_key()).unwrap();
    let mut stale: serde_json::Value = serde_json::from_slice(&stale).unwrap();
    world.set("max_messages", 4);
    world.send(&[1; 4]);
    world.drain(5).await;
    // It had planned one entry more, under another name.
    let ledger = Config::default().first_ledger;
    stale["next"]["last"] = format!("{ledger}:{last}").into();
    stale["next"]["key"] = stale["next"]["key"].as_str().unwrap().replace("_2.jsonl", "_9.jsonl").into();
    world.bucket.plant(&world.head_key(), stale.to_string().as_bytes(), &[]).unwrap();
    // The broker crashes and rewinds, or an administrator does, into the middle of the last object.
    world.topic.set_mark_delete(SUBSCRIPTION, Position::new(ledger, 4));
    // Its writer may still be at it for a while.
    world.clock = Clock::starting_at(NOW + 30 * 60_000);
    world.drain(5).await;
    world.assert_exactly_once();
}

/// What a broker or a proxy repeats of the token must not get into the report.
#[tokio::test]
async fn a_broker_that_repeats_the_token_does_not_get_it_into_the_report() {
    const MARKER: &str = "marker-token-7f3a";
    for http in [false, true] {
        let mut world = World::new().await;
        if http {
            let url = format!("{:?}", world.broker.http_url());
            world.set("service_url", url);
            world.broker.answer_http(502, &format!("<pre>GET /admin\nAuthorization: Bearer {MARKER}</pre>"));
        } else {
            let words = format!("cannot verify token {MARKER}");
            world.broker.script(When::next(CommandType::Connect), Act::Error(ServerError::AuthenticationError, words));
        }
        let mut env: Vec<(String, String)> = world
            .rule
            .iter()
            .map(|(key, value)| (format!("TDMQ_BACKUP_{}", key.to_uppercase()), value.trim_matches('"').to_owned()))
            .collect();
        env.push(("TDMQ_BACKUP_TOKEN".into(), MARKER.into()));
        let function = Function::new(Rule::load(None, env).unwrap(), |name| world.env(name), world.clock).unwrap();
        let report = function.invoke(None, &world.clock, &mut |_| {}).await;
        let text = serde_json::to_string(&report).unwrap();
        assert!(!text.contains(MARKER), "{http}: {text}");
    }
}

/// What this program wrote it must be able to read back.
#[tokio::test]
async fn a_message_of_control_characters_is_recognised_when_it_comes_again() {
    let world = World::new().await;
    let draft = Draft::new(vec![1_u8; 12 << 20]);
    world.topic.append(composer().compression(Compression::Zstd).single(draft));
    let report = world.run().await;
    assert_eq!(report.outcome, Outcome::Stored, "{report:?}");
    world.topic.set_mark_delete(SUBSCRIPTION, Position::new(Config::default().first_ledger, -1));
    let report = world.run().await;
    assert_eq!((report.outcome, report.skipped_entries), (Outcome::Stored, 1), "{report:?}");
}

/// One producer's nonsense in `num_messages_in_batch` must not make a FLOW that a broker refuses
/// (it reads the number as a signed one, and demands more than 0).
#[tokio::test]
async fn a_batch_that_claims_two_billion_messages_does_not_break_the_flow() {
    let mut world = World::new().await;
    world.send(&[1; 6]);
    let entry = composer().single(Draft::new("x")).with(|c| c.metadata.num_messages_in_batch = Some(i32::MAX));
    world.topic.append(entry);
    world.send(&[1]);
    world.run_for(Duration::from_secs(4)).await;
    let flows: Vec<u32> =
        world.broker.commands().iter().filter_map(|c| c.command.flow.as_ref().map(|f| f.message_permits)).collect();
    assert!(flows.iter().all(|permits| *permits <= i32::MAX as u32), "{flows:?}");
}

/// Entries that expired with the ledger before are missing too.
#[tokio::test]
async fn missing_names_what_expired_at_the_front_of_a_ledger() {
    let mut world = World::new().await;
    world.send(&[1]);
    world.run().await;
    world.topic.roll_ledger();
    let gone = world.send(&[1, 1]);
    world.topic.expire(3);
    world.send(&[1]);
    let report = world.run().await;
    assert_eq!(report.messages, 1, "{report:?}");
    assert_eq!(report.missing.len(), 1, "{gone:?} {report:?}");
}

/// `busy` is documented as "nothing was written or acknowledged".
#[tokio::test]
async fn busy_is_not_said_of_a_run_that_stored_something() {
    let mut world = World::begun().await;
    world.set("max_messages", 1);
    world.set("max_objects", 2);
    world.send(&[1, 1]);
    // bounds, look, look again, after ack, then the second object's look.
    let words = "taken over".to_owned();
    world.broker.script(When::nth(CommandType::GetLastMessageId, 5), Act::Error(ServerError::ConsumerBusy, words));
    let report = world.run().await;
    assert_eq!(report.objects.len(), 1, "{report:?}");
    assert_ne!(report.outcome, Outcome::Busy);
}

/// The records of a partition say which partition, as the folder does.
#[tokio::test]
async fn the_ids_of_a_partition_name_it() {
    let mut world = World::new().await;
    let topic = world.broker.topic("orders-partition-3");
    topic.append(composer().single(Draft::new("{\"n\":1}")));
    let name = format!("{:?}", topic.name());
    world.set("topic", name);
    let report = world.run().await;
    assert_eq!(report.outcome, Outcome::Stored, "{report:?}");
    assert!(world.objects()[0].contains("/partition=3/"), "{:?}", world.objects());
    let id = world.all_lines()[0]["id"].as_str().unwrap().to_owned();
    assert!(id.ends_with(":3"), "{id}");
}

/// Publish times that no calendar knows.
#[tokio::test]
async fn publish_times_beyond_the_calendar_are_stored_and_recognised() {
    for time in [0, u64::MAX, i64::MAX as u64, 8_210_266_876_799_999, 8_210_266_876_800_000, 316_516_464_000_000] {
        let mut world = World::new().await;
        world.topic.append(Composer::new("p").at(time).single(Draft::new("{\"n\":1}")));
        world.topic.append(Composer::new("p").at(0).single(Draft::new("{\"n\":2}")));
        world.set("max_messages", 1);
        world.set("max_objects", 3);
        let report = world.run().await;
        assert_eq!((report.outcome, report.objects.len()), (Outcome::Stored, 2), "{time} {report:?}");
        world.topic.set_mark_delete(SUBSCRIPTION, Position::new(Config::default().first_ledger, -1));
        let report = world.run().await;
        assert_eq!(report.skipped_entries, 2, "{time} {report:?}");
    }
}

/// Large entries behind small ones: frames past the budget are dropped and come again.
#[tokio::test]
async fn what_is_dropped_for_want_of_memory_comes_again() {
    let mut world = World::new().await;
    world.set("max_messages", 6);
    world.set("max_objects", 9);
    world.send(&[1; 5]);
    for n in 0..24 {
        world.send_entry(1, if n % 5 == 0 { 10 } else { 1 << 20 });
    }
    world.run().await;
    assert!(was_dropped(&world), "nothing was dropped");
    world.drain(3).await;
    world.assert_exactly_once();
}

/// Whether the one run so far took its consumer off before its end, to have what it had dropped come again.
fn was_dropped(world: &World) -> bool {
    world.broker.commands().iter().filter(|c| c.kind == CommandType::CloseConsumer).count() > 1
}

/// An administrator goes back while no consumer is attached, between the two halves of a reattachment:
/// what is delivered again is hidden by `accepted`, and the next acknowledgement goes over it.
#[tokio::test]
async fn going_back_during_a_reattachment_is_noticed() {
    let mut world = World::new().await;
    world.set("start", "\"latest\"");
    world.set("max_messages", 6);
    world.set("max_objects", 9);
    world.send(&[1; 5]);
    world.run().await;
    world.send(&[1; 5]);
    for _ in 0..40 {
        world.send_entry(1, 1 << 20);
    }
    world.broker.script(When::nth(CommandType::Subscribe, 2), Act::Delay(Duration::from_millis(300)));
    let meddle = async {
        // The first run subscribed twice: a reader found the start.
        world.broker.until(|b| b.commands().iter().filter(|c| c.kind == CommandType::Subscribe).count() >= 4).await;
        assert!(!world.topic.subscription(SUBSCRIPTION).unwrap().attached);
        world.topic.set_mark_delete(SUBSCRIPTION, Position::new(Config::default().first_ledger, -1));
    };
    tokio::time::timeout(Duration::from_secs(30), async { tokio::join!(world.run(), meddle) })
        .await
        .expect("no reattachment came");
    world.drain(20).await;
    world.assert_exactly_once();
}

/// Payloads of 1 MiB are dropped past the budget (see above); properties of 1 MiB must be too.
#[tokio::test]
async fn read_ahead_counts_properties_too() {
    let mut world = World::new().await;
    world.set("max_messages", 6);
    world.set("max_objects", 9);
    world.send(&[1; 5]);
    for _ in 0..24 {
        world.topic.append(composer().single(Draft::new("").property("p", &"x".repeat(1 << 20))));
    }
    let report = world.run().await;
    assert_eq!(report.outcome, Outcome::Stored, "{report:?}");
    assert!(was_dropped(&world), "24 MiB were kept in a read-ahead of 8 MiB");
}

/// One entry of some kilobytes that holds two million messages is kept as it is: taken apart it would be
/// hundreds of megabytes.
#[tokio::test]
async fn an_entry_of_millions_of_tiny_messages_is_kept_raw() {
    let world = World::new().await;
    let count = 2_000_000;
    // A member without a payload: the size of its metadata, and in that `payload_size` = 0.
    let payload = [0, 0, 0, 2, 0x18, 0].repeat(count);
    let packed = zstd::bulk::compress(&payload, 3).unwrap();
    let entry = composer().single(Draft::new("")).with(|c| {
        c.metadata.num_messages_in_batch = Some(count as i32);
        c.metadata.compression = Some(3);
        c.metadata.uncompressed_size = Some(payload.len() as u32);
        c.payload = packed.into();
    });
    world.topic.append(entry);
    let report = world.run().await;
    assert_eq!((report.messages, report.objects[0].undecodable), (1, 1), "{report:?}");
    assert!(report.objects[0].bytes < 10_000);
}

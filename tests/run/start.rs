//! Where a new rule begins, on a subscription that is missing and on one that is there.

use tdmq_backup::Position;
use tdmq_backup::report::{Outcome, Report};
use tdmq_backup::testing::broker::{Act, CommandType, Config, ServerError, When};

use crate::world::{NOW, SUBSCRIPTION, World};

/// More requests than any run here makes.
const MOST: usize = 70;

fn quoted(text: impl ToString) -> String {
    format!("{:?}", text.to_string())
}

/// The instant of the message with this number.
fn time(number: u64) -> String {
    let at = chrono::DateTime::from_timestamp_millis((NOW - 60_000 + number) as i64).unwrap();
    quoted(at.to_rfc3339_opts(chrono::SecondsFormat::Millis, true))
}

fn before_all() -> Position {
    Position::new(Config::default().first_ledger, -1)
}

fn refused(report: &Report) -> &str {
    let error = report.error.as_ref().unwrap();
    assert_eq!((report.outcome, error.kind), (Outcome::Failed, "invalid"), "{error:?}");
    &error.message
}

fn seeks(world: &World) -> usize {
    world.broker.commands().iter().filter(|recorded| recorded.kind == CommandType::Seek).count()
}

/// Five messages in two ledgers, and a rule that begins at `start`.
async fn world(start: &str) -> (World, Vec<Position>) {
    let mut world = World::new().await;
    world.set("start", start);
    let mut ids = world.send(&[1, 1, 1]);
    world.topic.roll_ledger();
    ids.extend(world.send(&[1, 1]));
    (world, ids)
}

/// Runs, and checks what is stored: the start is applied, only once, and all that came later is stored too.
async fn stores(world: &mut World, mut expected: Vec<u64>) {
    world.drain(3).await;
    assert_eq!(world.numbers(), expected);
    assert_eq!(world.head().unwrap()["start"]["state"], "applied");
    world.assert_at_rest_with(&expected);
    let before = seeks(world);
    world.send(&[1]);
    world.drain(3).await;
    expected.push(6);
    assert_eq!(world.numbers(), expected);
    assert_eq!(seeks(world), before, "moved again");
}

#[tokio::test]
async fn a_missing_subscription_begins_at_every_start() {
    let table = [
        ("\"continue\"".to_owned(), vec![1, 2, 3, 4, 5]),
        ("\"earliest\"".to_owned(), vec![1, 2, 3, 4, 5]),
        ("\"latest\"".to_owned(), vec![]),
        (time(0), vec![1, 2, 3, 4, 5]),
        (time(2), vec![3, 4, 5]),
        (time(3), vec![4, 5]),
        (time(4), vec![5]),
        (time(1000), vec![]),
    ];
    for (start, expected) in table {
        let (mut world, _) = world(&start).await;
        stores(&mut world, expected).await;
    }
    for n in 0..5 {
        let (mut world, ids) = world("\"continue\"").await;
        world.set("start", quoted(ids[n]));
        stores(&mut world, (n as u64 + 1..=5).collect()).await;
        assert_eq!(world.head().unwrap()["start"]["asked"], ids[n].to_string());
    }
}

#[tokio::test]
async fn an_existing_subscription_goes_back_to_every_start_that_lies_before_it() {
    // It stands behind message 4, and owes message 5.
    let table = [
        ("\"continue\"".to_owned(), vec![5]),
        ("\"earliest\"".to_owned(), vec![1, 2, 3, 4, 5]),
        (time(0), vec![1, 2, 3, 4, 5]),
        (time(2), vec![3, 4, 5]),
        (time(3), vec![4, 5]),
        (time(4), vec![5]),
    ];
    for (start, expected) in table {
        let (mut world, ids) = world(&start).await;
        world.topic.subscribe_at_earliest(SUBSCRIPTION);
        world.topic.set_mark_delete(SUBSCRIPTION, ids[3]);
        stores(&mut world, expected).await;
    }
    for n in 0..5 {
        let (mut world, ids) = world("\"continue\"").await;
        world.set("start", quoted(ids[n]));
        world.topic.subscribe_at_earliest(SUBSCRIPTION);
        world.topic.set_mark_delete(SUBSCRIPTION, ids[3]);
        stores(&mut world, (n as u64 + 1..=5).collect()).await;
    }
}

#[tokio::test]
async fn a_start_that_would_pass_over_messages_is_refused_until_the_rule_is_mended() {
    for start in ["\"latest\"".to_owned(), time(4), time(1000), "id".to_owned()] {
        let (mut world, ids) = world("\"continue\"").await;
        world.set("start", if start == "id" { quoted(ids[4]) } else { start });
        world.topic.subscribe_at_earliest(SUBSCRIPTION);
        world.topic.set_mark_delete(SUBSCRIPTION, ids[1]);
        for _ in 0..2 {
            let report = world.run().await;
            assert!(refused(&report).contains("existed already and stands at"), "{report:?}");
            assert!(refused(&report).contains("\"confirm\":\"backup\""), "{report:?}");
            assert_eq!((world.mark_delete(), seeks_of(&world), world.objects().len()), (ids[1], 0, 0));
        }
        world.set("start", "\"continue\"");
        stores(&mut world, vec![3, 4, 5]).await;
    }
}

/// Seeks of the subscription itself, not of the reader that finds a start.
fn seeks_of(world: &World) -> usize {
    let subscribed = |recorded: &tdmq_backup::testing::broker::Recorded| {
        let subscribe = recorded.command.subscribe.as_ref()?;
        subscribe.durable().then_some((recorded.connection, subscribe.consumer_id))
    };
    let commands = world.broker.commands();
    let ours: Vec<_> = commands.iter().filter_map(subscribed).collect();
    let seek = |recorded: &&tdmq_backup::testing::broker::Recorded| {
        let seek = recorded.command.seek.as_ref();
        seek.is_some_and(|seek| ours.contains(&(recorded.connection, seek.consumer_id)))
    };
    commands.iter().filter(seek).count()
}

#[tokio::test]
async fn latest_on_a_subscription_that_owes_nothing_begins_there() {
    let (mut world, ids) = world("\"latest\"").await;
    world.topic.subscribe_at_earliest(SUBSCRIPTION);
    world.topic.set_mark_delete(SUBSCRIPTION, ids[4]);
    stores(&mut world, vec![]).await;
}

#[tokio::test]
async fn an_id_that_does_not_exist_is_refused_with_what_would_have_come() {
    let (mut world, ids) = world("\"continue\"").await;
    let (first, second) = (ids[0].ledger, ids[3].ledger);
    for (id, next) in [
        (Position::new(first, 3), format!("the next one is {}", ids[3])),
        (Position::new(first - 5, 0), format!("the next one is {}", ids[0])),
        (Position::new(second, 2), format!("the topic ends at {}", ids[4])),
        (Position::new(second + 9, 0), format!("the topic ends at {}", ids[4])),
    ] {
        world.set("start", quoted(id));
        let report = world.run().await;
        assert!(refused(&report).contains(&next), "{report:?}");
        assert!(world.bucket.keys().is_empty());
        assert_eq!(world.topic.subscription(SUBSCRIPTION), None);
    }
    world.set("start", quoted(ids[1]));
    stores(&mut world, vec![2, 3, 4, 5]).await;
}

#[tokio::test]
async fn what_a_shared_subscription_acknowledged_one_by_one_is_stored() {
    for start in ["\"continue\"", "\"earliest\"", "id"] {
        let (mut world, ids) = world("\"continue\"").await;
        if start == "id" {
            world.set("start", quoted(ids[1]));
        } else {
            world.set("start", start);
        }
        world.topic.subscribe_at_earliest(SUBSCRIPTION);
        world.topic.set_mark_delete(SUBSCRIPTION, ids[0]);
        for hole in [2, 4] {
            world.topic.acknowledge_one(SUBSCRIPTION, ids[hole]);
        }
        let from = if start == "\"earliest\"" { 1 } else { 2 };
        stores(&mut world, (from..=5).collect()).await;
    }
}

#[tokio::test]
async fn a_rule_that_has_begun_is_not_moved_by_another_start_nor_by_a_lost_subscription() {
    let (mut world, ids) = world("\"continue\"").await;
    world.set("start", quoted(ids[3]));
    world.drain(2).await;
    for start in ["\"earliest\"", "\"latest\"", "\"1970-01-01T00:00:00Z\""] {
        world.set("start", start);
        world.drain(2).await;
        assert_eq!(world.numbers(), [4, 5]);
    }
    // The broker forgot the subscription: it is made again at the earliest message.
    world.topic.delete_subscription(SUBSCRIPTION);
    world.set("start", "\"latest\"");
    world.drain(4).await;
    world.assert_exactly_once();
}

#[tokio::test]
async fn objects_without_a_head_are_a_rule_that_has_begun() {
    let (mut world, ids) = world("\"continue\"").await;
    world.drain(2).await;
    let head = world.head_key();
    world.bucket.remove(&head);
    world.set("start", quoted(ids[4]));
    world.topic.set_mark_delete(SUBSCRIPTION, before_all());
    world.drain(3).await;
    world.assert_exactly_once();
}

#[tokio::test]
async fn a_death_at_any_request_of_a_start_applies_it_once_and_loses_and_repeats_nothing() {
    for start in ["continue", "earliest", "latest", "time", "id"] {
        for exists in [false, true] {
            for k in 1..MOST {
                let (mut world, ids) = world("\"continue\"").await;
                world.set(
                    "start",
                    match start {
                        "time" => time(2),
                        "id" => quoted(ids[2]),
                        word => quoted(word),
                    },
                );
                if exists {
                    world.topic.subscribe_at_earliest(SUBSCRIPTION);
                    world.topic.set_mark_delete(SUBSCRIPTION, if start == "latest" { ids[4] } else { ids[2] });
                    if start != "latest" {
                        world.topic.acknowledge_one(SUBSCRIPTION, ids[4]);
                    }
                }
                let begun = world.run_dying_at(k).await.is_some();
                let placed = world.head().is_some();
                // What comes between the two runs is stored, once a place is known.
                world.send(&[1]);
                // Mended after the death: what was pending is finished first.
                if placed {
                    world.set("start", if start == "earliest" { "\"latest\"" } else { "\"earliest\"" });
                }
                if start == "latest" && exists && !placed {
                    // Nothing had begun, and by now the subscription owes a message.
                    refused(&world.run().await);
                    continue;
                }
                world.drain(4).await;
                let from = match (start, exists) {
                    ("continue" | "earliest", false) | ("earliest", true) => 1,
                    ("continue", true) => 4,
                    ("latest", _) => 6,
                    _ => 3,
                };
                let all: Vec<u64> = (from..=6).collect();
                let late: &[u64] = if start == "latest" && !placed { &[] } else { &all };
                assert_eq!(world.numbers(), late, "{start}, exists: {exists}, died at {k}");
                assert_eq!(world.head().unwrap()["start"]["state"], "applied");
                if begun {
                    assert!(k > 8, "only {} deaths were tried", k - 1);
                    break;
                }
            }
        }
    }
}

#[tokio::test]
async fn a_subscription_that_stays_fenced_for_a_while_is_waited_for() {
    for (error, text) in [
        (ServerError::ServiceNotReady, "Subscription is fenced"),
        (ServerError::ConsumerBusy, "Exclusive consumer is already connected"),
    ] {
        let (mut world, _) = world("\"earliest\"").await;
        for n in 2..5 {
            world.broker.script(When::nth(CommandType::Subscribe, n), Act::Error(error, text.into()));
        }
        stores(&mut world, vec![1, 2, 3, 4, 5]).await;
        assert_eq!(world.broker.faults_left(), 0);
    }
}

#[tokio::test]
async fn the_answer_to_a_seek_may_come_before_the_consumer_is_closed() {
    let (mut world, _) = world("\"earliest\"").await;
    world.broker.script(When::next(CommandType::Seek), Act::AnswerBeforeClose);
    stores(&mut world, vec![1, 2, 3, 4, 5]).await;
    assert_eq!(world.broker.faults_left(), 0);
}

#[tokio::test]
async fn a_seek_that_fails_ends_the_run_with_nothing_read_and_the_next_run_goes_on() {
    let refusal = || Act::Error(ServerError::UnknownError, "Error when resetting subscription: no".into());
    for act in [refusal(), Act::DropConnection, Act::AnswerThenDrop, Act::NoAnswer] {
        let waits = matches!(act, Act::NoAnswer);
        let (mut world, ids) = world("\"earliest\"").await;
        world.topic.subscribe_at_earliest(SUBSCRIPTION);
        world.topic.set_mark_delete(SUBSCRIPTION, ids[2]);
        world.broker.script(When::next(CommandType::Seek), act);
        let report = match waits {
            true => world.run_for(std::time::Duration::from_millis(800)).await,
            false => world.run().await,
        };
        assert_eq!((report.outcome, report.error.unwrap().kind), (Outcome::Failed, "unavailable"));
        assert_eq!(world.objects().len(), 0);
        assert_eq!(world.head().unwrap()["start"]["state"], "pending");
        assert!(!world.broker.commands().iter().any(|recorded| recorded.kind == CommandType::Flow));
        stores(&mut world, vec![1, 2, 3, 4, 5]).await;
    }
}

#[tokio::test]
async fn a_seek_that_was_answered_and_not_carried_out_is_noticed() {
    let (mut world, ids) = world("\"earliest\"").await;
    world.topic.subscribe_at_earliest(SUBSCRIPTION);
    world.topic.set_mark_delete(SUBSCRIPTION, ids[2]);
    world.broker.script(When::next(CommandType::Seek), Act::ReceiptButNoAck);
    let report = world.run().await;
    let error = report.error.unwrap();
    assert!(error.message.contains("was to be moved before the first message and stands at"), "{error:?}");
    assert_eq!(world.objects().len(), 0);
    stores(&mut world, vec![1, 2, 3, 4, 5]).await;
}

#[tokio::test]
async fn a_broker_that_does_not_say_where_a_subscription_stands_continues_and_goes_to_the_earliest_only() {
    for (start, expected) in [("\"continue\"", vec![1, 2]), ("\"earliest\"", vec![1, 2])] {
        let mut world = World::with(Config { mark_delete_position: false, ..Config::default() }).await;
        world.set("start", start);
        world.send(&[1, 1]);
        world.run().await;
        assert_eq!(world.numbers(), expected);
    }
    for start in [quoted("latest"), time(1)] {
        let mut world = World::with(Config { mark_delete_position: false, ..Config::default() }).await;
        world.set("start", start);
        world.send(&[1, 1]);
        let report = world.run().await;
        assert!(refused(&report).contains("does not say where"), "{report:?}");
        assert_eq!((world.topic.subscription(SUBSCRIPTION), world.bucket.keys().len()), (None, 0));
    }
}

#[tokio::test]
async fn a_message_id_is_refused_for_more_than_one_partition() {
    let mut world = World::new().await;
    let partitions = world.broker.partitioned("parted", 2);
    world.set("topic", quoted("persistent://public/default/parted"));
    world.set("start", quoted("17:0"));
    let report = world.run().await;
    assert!(refused(&report).contains("is one partition's, and 2 are read"), "{report:?}");
    assert!(world.bucket.keys().is_empty());
    assert!(partitions.iter().all(|partition| partition.subscription(SUBSCRIPTION).is_none()));
}

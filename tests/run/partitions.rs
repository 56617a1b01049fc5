//! Partitioned topics: each partition as a topic of its own, one report over all.

use std::collections::BTreeSet;
use std::time::Duration;

use serde_json::{Value, json};
use tdmq_backup::pulsar::{Cluster, Initial};
use tdmq_backup::report::{Outcome, Report, Stop};
use tdmq_backup::testing::broker::{Act, CommandType, ServerError, Topic, When};
use tdmq_backup::testing::bucket::{Fault, Op};
use tdmq_backup::{Clock, Position};

use crate::world::{NOW, SUBSCRIPTION, World};

/// A world whose rule reads a partitioned topic.
struct Many {
    world: World,
    partitions: Vec<Topic>,
}

impl Many {
    async fn new(count: u32) -> Self {
        let mut world = World::new().await;
        world.set("topic", "\"persistent://public/default/many\"");
        let partitions = world.broker.partitioned("many", count);
        Many { world, partitions }
    }

    fn send(&mut self, partition: usize, entries: &[usize]) -> Vec<Position> {
        self.world.topic = self.partitions[partition].clone();
        self.world.send(entries)
    }

    fn grow(&mut self, count: u32) {
        self.partitions = self.world.broker.partitioned("many", count);
    }

    fn mark_delete(&self, partition: usize) -> Position {
        self.partitions[partition].subscription(SUBSCRIPTION).unwrap().mark_delete
    }

    fn head(&self, partition: usize) -> Value {
        let key = format!("tdmq/public/default/many/partition={partition}/_head.json");
        serde_json::from_slice(&self.world.bucket.read(&key).unwrap()).unwrap()
    }

    /// Everything acknowledged in any partition is in the bucket, in that partition's folder.
    fn assert_nothing_acknowledged_unstored(&self) {
        let id = |line: &Value| line["id"].as_str().unwrap().split(':').take(3).collect::<Vec<_>>().join(":");
        let stored: BTreeSet<String> = self.world.all_lines().iter().map(id).collect();
        for (number, topic) in self.partitions.iter().enumerate() {
            let Some(subscription) = topic.subscription(SUBSCRIPTION) else { continue };
            for entry in topic.entries().iter().filter(|entry| entry.position <= subscription.mark_delete) {
                assert!(stored.contains(&format!("{}:{number}", entry.position)), "{} of {number}", entry.position);
            }
        }
    }
}

fn outcomes(report: &Report) -> Vec<Outcome> {
    report.partitions.iter().map(|one| one.outcome).collect()
}

#[tokio::test]
async fn each_partition_has_its_own_objects_head_chain_and_acknowledgement() {
    let mut many = Many::new(3).await;
    many.world.set("max_messages", 2);
    let (first, last) = (many.send(0, &[1, 1, 1]), many.send(2, &[2]));
    let report = many.world.run().await;
    assert_eq!((report.outcome, report.stop, report.messages), (Outcome::Stored, Some(Stop::MaxMessages), 4));
    assert_eq!(outcomes(&report), [Outcome::Stored, Outcome::NothingToDo, Outcome::Stored]);
    assert_eq!((report.backlog_entries, report.complete_through), (Some(1), None));
    let objects: Vec<_> = report.objects.iter().map(|it| (it.partition.unwrap(), it.messages)).collect();
    assert_eq!(objects, [(0, 2), (2, 2)]);
    assert!(report.objects.iter().all(|it| it.key.contains(&format!("/partition={}/", it.partition.unwrap()))));
    assert_eq!((many.mark_delete(0), many.mark_delete(2)), (first[1], last[0]));

    let report = many.world.run().await;
    assert_eq!(outcomes(&report), [Outcome::Stored, Outcome::NothingToDo, Outcome::NothingToDo]);
    assert!(report.complete_through.is_some_and(|at| at >= NOW) && report.backlog_entries == Some(0));
    let metadata = many.world.bucket.metadata(&report.objects[0].key).unwrap();
    assert_eq!((&*metadata["seq"], &*metadata["previous-id"]), ("2", &*first[1].to_string()));
    assert_eq!(many.head(1)["done"], Value::Null);
    many.world.assert_exactly_once();
    assert_eq!(many.world.run().await.outcome, Outcome::NothingToDo);
    assert_eq!(many.world.broker.connections(), 0);
}

#[tokio::test]
async fn a_topic_of_one_partition_is_partition_0() {
    let mut many = Many::new(1).await;
    many.send(0, &[1]);
    let report = many.world.run().await;
    assert!(report.objects[0].key.contains("/many/partition=0/"), "{report:?}");
    many.world.assert_exactly_once();
}

#[tokio::test]
async fn a_partition_that_somebody_else_holds_is_left_to_him_and_the_others_are_read() {
    let mut many = Many::new(3).await;
    (0..3).for_each(|n| drop(many.send(n, &[1])));
    let mut held = many.world.function().rule().clone();
    held.topic.topic = "many-partition-1".into();
    let cluster = Cluster::new(&held, many.world.clock.now() + Duration::from_secs(20));
    let holder = cluster.attach(&held.topic, SUBSCRIPTION, Initial::Earliest).await.unwrap();
    let report = many.world.run().await;
    assert_eq!(outcomes(&report), [Outcome::Stored, Outcome::Busy, Outcome::Stored]);
    assert_eq!((report.outcome, report.complete_through, report.backlog_entries), (Outcome::Stored, None, None));
    assert!(report.warnings.iter().any(|text| text.starts_with("partition 1: ")), "{report:?}");
    drop(holder);
    many.world.let_go().await;
    many.world.drain(3).await;
    many.world.assert_exactly_once();
}

#[tokio::test]
async fn a_partition_that_fails_stops_no_other_and_the_outcome_says_so() {
    for (act, kind) in [
        (Act::Error(ServerError::AuthorizationError, "no".into()), "denied"),
        (Act::Error(ServerError::SubscriptionNotFound, "no".into()), "not_found"),
    ] {
        let mut many = Many::new(3).await;
        (0..3).for_each(|n| drop(many.send(n, &[1])));
        many.world.broker.script(When::nth(CommandType::Subscribe, 2), act);
        let report = many.world.run().await;
        assert_eq!((report.outcome, report.messages, report.complete_through), (Outcome::Failed, 2, None));
        assert_eq!(outcomes(&report).iter().filter(|it| **it == Outcome::Failed).count(), 1);
        let error = report.error.unwrap();
        assert!(error.kind == kind && error.message.starts_with("partition "), "{error:?}");
        many.assert_nothing_acknowledged_unstored();
        many.world.drain(3).await;
        many.world.assert_exactly_once();
    }
}

#[tokio::test]
async fn an_object_that_is_refused_or_not_answered_is_its_own_partitions_affair() {
    for (fault, outcome) in
        [(Fault::Refuse(403, "AccessDenied"), Outcome::Failed), (Fault::StoreThenDrop, Outcome::Stored)]
    {
        let mut many = Many::new(4).await;
        many.world.run().await;
        (0..4).for_each(|n| drop(many.send(n, &[1])));
        many.world.bucket.fail_next(Op::Put, fault);
        let report = many.world.run().await;
        assert_eq!(report.outcome, outcome, "{report:?}");
        many.assert_nothing_acknowledged_unstored();
        many.world.drain(3).await;
        many.world.assert_exactly_once();
    }
}

#[tokio::test]
async fn a_death_at_any_request_of_a_run_over_three_partitions_loses_and_repeats_nothing() {
    for (begun, rewound, step) in [(false, 0, 1), (true, 0, 1), (true, 2, 5)] {
        for k in (1..).step_by(step) {
            let mut many = Many::new(3).await;
            many.world.set("max_messages", 3);
            if begun {
                (0..3).for_each(|n| drop(many.send(n, &[1, 2])));
                many.world.drain(3).await;
            }
            many.send(0, &[1, 3]);
            many.send(2, &[2, 1, 1]);
            if many.world.run_dying_at(k).await.is_some() {
                assert!(k > 30, "a run makes only {k} requests");
                break;
            }
            many.assert_nothing_acknowledged_unstored();
            many.world.broker.crash_rewinding(rewound);
            many.world.let_go().await;
            many.world.drain(8).await;
            many.world.assert_exactly_once();
            many.assert_nothing_acknowledged_unstored();
        }
    }
}

#[tokio::test]
async fn partitions_that_are_added_later_begin_at_their_first_entry_whatever_start_says() {
    let mut many = Many::new(2).await;
    many.world.set("start", "\"latest\"");
    many.send(0, &[1]);
    many.world.run().await;
    assert!(many.world.objects().is_empty());
    many.grow(4);
    many.send(3, &[1, 1]);
    let report = many.world.run().await;
    assert_eq!((report.partitions.len(), many.world.numbers()), (4, vec![2, 3]));
    assert_eq!(many.head(3)["partitions"], 2);
}

/// A timer is left with its message, and the topic grows.
#[tokio::test]
async fn an_event_that_came_before_a_partition_was_written_to_passes_over_nothing_of_it() {
    let left = json!({
        "Type": "Timer", "TriggerName": "once", "Time": "2026-11-21T10:00:00Z",
        "Message": json!({ "seek": "latest", "confirm": SUBSCRIPTION }).to_string(),
    });
    for begun in [true, false] {
        let mut many = Many::new(2).await;
        // The third is known by its number alone, and the fourth not at all.
        many.world.broker.set_partitions("many", 3);
        many.send(0, &[1]);
        if begun {
            many.world.run().await;
        }
        many.send(1, &[1]);
        let report = many.world.event(&left).await;
        assert_eq!((report.passed_over, report.partitions.len()), (None, 3));
        assert!(report.partitions[1].passed_over.is_some());
        let stored = many.world.numbers();
        many.grow(4);
        many.send(2, &[1, 1]);
        many.send(3, &[1, 1]);
        for _ in 0..2 {
            let report = many.world.event(&left).await;
            assert!(report.partitions.iter().all(|one| one.moved.is_none()), "{report:?}");
            assert!(report.complete_through.is_some() && report.error.is_none(), "{report:?}");
        }
        assert_eq!(many.world.numbers(), [stored, vec![3, 4, 5, 6]].concat());
        // Nor does one that comes with their first run, in whatever order they have their turns.
        many.grow(8);
        (4..8).for_each(|partition| drop(many.send(partition, &[1])));
        let mut another = left.clone();
        another["TriggerName"] = "another".into();
        let report = many.world.event(&another).await;
        assert_eq!(report.messages, 4, "{report:?}");
        assert!(report.partitions[4..].iter().all(|one| one.moved.is_none()), "{report:?}");
        // A new event is for all that there are.
        many.send(3, &[1]);
        let wish = json!({ "seek": "latest", "confirm": SUBSCRIPTION });
        assert!(many.world.event(&wish).await.partitions[3].passed_over.is_some());
    }
}

#[tokio::test]
async fn a_rule_that_begins_at_the_end_stores_nothing_older_whatever_request_its_first_run_dies_at() {
    for k in 1.. {
        let mut many = Many::new(3).await;
        many.world.set("start", "\"latest\"");
        (0..3).for_each(|n| drop(many.send(n, &[1])));
        let ended = many.world.run_dying_at(k).await.is_some();
        many.world.drain(3).await;
        assert!(many.world.objects().is_empty(), "death at request {k}: {:?}", many.world.objects());
        (0..3).for_each(|n| drop(many.send(n, &[1])));
        many.world.drain(3).await;
        assert_eq!(many.world.numbers(), [4, 5, 6]);
        if ended {
            assert!(k > 20, "a run makes only {k} requests");
            break;
        }
    }
}

#[tokio::test]
async fn a_partition_that_nobody_has_written_to_is_empty_and_loses_nothing_once_it_is() {
    for http in [false, true] {
        let mut many = Many::new(0).await;
        if http {
            let url = format!("{:?}", many.world.broker.http_url());
            many.world.set("service_url", url);
        }
        many.world.set("start", "\"latest\"");
        many.world.broker.set_partitions("many", 3);
        many.partitions = [0, 2].map(|n| many.world.broker.topic(&format!("many-partition-{n}"))).to_vec();
        let report = many.world.run().await;
        assert_eq!((report.outcome, outcomes(&report)), (Outcome::NothingToDo, vec![Outcome::NothingToDo; 3]));
        assert!(report.complete_through.is_some() && report.warnings.is_empty(), "{report:?}");
        assert!(!many.world.broker.has_topic("many-partition-1") && !many.world.broker.has_topic("many"));
        many.grow(3);
        many.send(1, &[1, 1]);
        many.world.run().await;
        many.world.assert_exactly_once();
    }
}

#[tokio::test]
async fn a_partition_that_was_backed_up_and_is_gone_is_said_to_be() {
    let mut many = Many::new(2).await;
    many.send(0, &[1]);
    many.world.run().await;
    many.partitions.remove(0).delete();
    let report = many.world.run().await;
    assert_eq!((report.outcome, report.complete_through), (Outcome::NothingToDo, None));
    assert!(report.warnings[0].contains("partition 0: ") && report.warnings[0].contains("deleted"), "{report:?}");
}

#[tokio::test]
async fn shards_together_store_everything_once_and_each_only_its_own() {
    let mut many = Many::new(5).await;
    (0..5).for_each(|n| drop(many.send(n, &[1, 1])));
    many.world.set("shard", "\"1/2\"");
    let report = many.world.run().await;
    assert_eq!(report.partitions.iter().map(|one| one.partition).collect::<Vec<_>>(), [0, 2, 4]);
    assert!(report.complete_through.is_some());
    many.world.set("shard", "\"2/2\"");
    assert_eq!(many.world.run().await.messages, 4);
    many.world.assert_exactly_once();
}

#[tokio::test]
async fn a_shard_without_partitions_has_nothing_to_do_and_says_so() {
    let mut world = World::new().await;
    world.send(&[1]);
    world.set("shard", "\"2/2\"");
    let report = world.run().await;
    assert_eq!((report.outcome, report.stop), (Outcome::NothingToDo, Some(Stop::Drained)));
    assert!(report.warnings[0].contains("shard"), "{report:?}");
    assert!(world.bucket.requests().is_empty());
    world.set("shard", "\"1/2\"");
    assert_eq!(world.run().await.messages, 1);
    let mut many = Many::new(2).await;
    many.world.set("shard", "\"3/3\"");
    assert!(many.world.run().await.warnings[0].contains("shard"));
}

#[tokio::test]
async fn partitions_without_a_turn_are_reported_and_come_first_in_a_later_run() {
    let mut many = Many::new(6).await;
    (0..6).for_each(|n| drop(many.send(n, &[1])));
    let mut read = BTreeSet::new();
    for tick in 0..2 {
        many.world.clock = Clock::starting_at(NOW + tick * 300_000);
        // Three partitions hang until the run's time is over.
        for _ in 0..3 {
            many.world.broker.script(When::next(CommandType::GetLastMessageId), Act::NoAnswer);
        }
        let report = many.world.run_for(Duration::from_secs(2)).await;
        let missed: Vec<_> = report.partitions.iter().filter(|one| one.outcome == Outcome::NotRead).collect();
        assert_eq!((report.outcome, missed.len()), (Outcome::Failed, 3), "{report:?}");
        assert_eq!((report.stop, report.complete_through), (Some(Stop::Deadline), None));
        read.extend(report.partitions.iter().filter(|one| one.outcome != Outcome::NotRead).map(|one| one.partition));
        many.world.let_go().await;
    }
    assert_eq!(read.len(), 6, "each had its turn");
    many.world.drain(3).await;
    many.world.assert_exactly_once();
}

#[tokio::test]
async fn a_rule_that_named_one_partition_may_go_on_to_all_of_them() {
    let mut many = Many::new(3).await;
    (0..3).for_each(|n| drop(many.send(n, &[1])));
    many.world.set("topic", "\"persistent://public/default/many-partition-1\"");
    let report = many.world.run().await;
    assert_eq!((report.messages, report.partitions.len(), report.objects[0].partition), (1, 0, None));
    many.world.set("topic", "\"persistent://public/default/many\"");
    many.world.set("start", "\"latest\"");
    assert_eq!(many.world.run().await.messages, 2);
    many.world.assert_exactly_once();
}

#[tokio::test]
async fn what_is_missing_says_of_which_partition() {
    let mut many = Many::new(2).await;
    many.world.run().await;
    let gone = many.send(1, &[1]);
    many.partitions[1].expire(1);
    let report = many.world.run().await;
    let [missing] = report.missing[..] else { panic!("{report:?}") };
    assert_eq!((missing.partition, missing.first, missing.entries), (Some(1), gone[0], Some(1)));
}

#[tokio::test]
async fn an_idle_partition_costs_five_round_trips_and_one_request_to_the_store() {
    let mut costs = Vec::new();
    for count in [1, 8, 32] {
        let many = Many::new(count).await;
        many.world.run().await;
        let (round_trips, requests) = (many.world.broker.round_trips(), many.world.bucket.requests().len());
        assert_eq!(many.world.run().await.outcome, Outcome::NothingToDo);
        let cost = (many.world.broker.round_trips() - round_trips, many.world.bucket.requests().len() - requests);
        costs.push((count as usize, cost.0, cost.1));
    }
    println!("partitions, round trips, requests to the store: {costs:?}");
    assert!(costs.iter().all(|(count, trips, requests)| *trips <= 1 + 5 * count && requests == count), "{costs:?}");
}

#[tokio::test]
async fn progress_is_of_all_partitions() {
    let mut many = Many::new(2).await;
    (0..2).for_each(|n| drop(many.send(n, &[1, 1])));
    let mut last = None;
    many.world.run_while(|progress| last = Some(progress)).await;
    let last = last.unwrap();
    assert_eq!((last.partitions, last.messages), (2, many.world.sent()));
}

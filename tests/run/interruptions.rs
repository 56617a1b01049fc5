//! Whatever happens to the connection or to the cursor while a run is under way: every message that the broker
//! still delivers is stored once, and the run goes on where it can.

use std::time::Duration;

use tdmq_backup::Position;
use tdmq_backup::report::{Outcome, Report, Stop};
use tdmq_backup::testing::broker::{Act, CommandType, Config, ServerError, When};

use crate::world::{SUBSCRIPTION, World};

/// More requests than any run here makes.
const MOST: usize = 90;

/// What becomes of runs that are interrupted at each of their requests.
#[derive(Debug, Default)]
struct Tally {
    runs: usize,
    /// Everything stored and acknowledged by the interrupted run itself.
    whole: usize,
    /// Everything stored; an acknowledgement was not confirmed.
    unconfirmed: usize,
}

/// A world with a stored history and new entries, so that there are a head, a chain and a cursor.
async fn world(config: Config) -> World {
    let mut world = World::with(config).await;
    world.set("max_messages", 4);
    world.set("max_objects", 9);
    world.send(&[1, 2]);
    world.run().await;
    world.send(&[1, 3, 2, 1, 1, 2]);
    world
}

/// Interrupts a run at each `step`th of its requests.
async fn at_requests(
    step: usize,
    config: Config,
    interrupt: impl AsyncFn(&World),
    judge: impl Fn(&World, &Report),
) -> Tally {
    let mut tally = Tally::default();
    for k in (1..MOST).step_by(step) {
        let world = world(config.clone()).await;
        let Some(report) = world.run_interrupted_at(k, async || interrupt(&world).await).await else {
            assert!(k > 30, "only {} interruptions were tried", k - 1);
            return tally;
        };
        world.assert_nothing_acknowledged_unstored();
        let all = world.numbers().len() == 13;
        tally.runs += 1;
        tally.whole += usize::from(all && report.outcome == Outcome::Stored && report.stop == Some(Stop::Drained));
        tally.unconfirmed += usize::from(report.stop == Some(Stop::Unconfirmed));
        world.let_go().await;
        judge(&world, &report);
        // What came too late for this run happens to others.
        while world.broker.faults_left() > 0 {
            world.run().await;
        }
        world.drain(8).await;
        world.assert_exactly_once();
        world.assert_nothing_acknowledged_unstored();
    }
    panic!("a run makes more than {MOST} requests");
}

/// Nothing is lost by it, and nothing but the acknowledgement under way can fail.
fn carried_on(_: &World, report: &Report) {
    assert_eq!(report.outcome, Outcome::Stored, "{report:?}");
    assert!(matches!(report.stop, Some(Stop::Drained | Stop::Unconfirmed)), "{report:?}");
}

fn whatever(_: &World, _: &Report) {}

#[tokio::test]
async fn a_run_carries_on_after_its_topic_is_unloaded() {
    let tally = at_requests(1, Config::default(), async |world| world.topic.unload(), carried_on).await;
    assert!(tally.unconfirmed * 8 < tally.runs && tally.whole + tally.unconfirmed == tally.runs, "{tally:?}");
}

#[tokio::test]
async fn a_run_carries_on_after_its_connection_is_lost() {
    let lost = async |world: &World| world.broker.drop_connections();
    // At the very first requests there is no consumer yet: those are an ordinary failure.
    let tally = at_requests(1, Config::default(), lost, whatever).await;
    assert!(tally.runs - tally.whole - tally.unconfirmed <= 6 && tally.unconfirmed * 8 < tally.runs, "{tally:?}");
}

#[tokio::test]
async fn a_run_at_a_broker_that_says_little_carries_on_too() {
    let config = Config { receipts: false, mark_delete_position: false, protocol_version: 15, ..Config::default() };
    // Between an announcement and its object it ends instead: nobody says whether somebody else ran meanwhile.
    let judge = |world: &World, report: &Report| {
        let text = report.error.iter().map(|error| &error.message).chain(&report.warnings);
        if !text.into_iter().any(|text| text.contains("does not say whether somebody else acknowledged")) {
            carried_on(world, report);
        }
    };
    let tally = at_requests(3, config, async |world| world.topic.unload(), judge).await;
    // Such a broker does not say where the cursor is: what was read before is then not acknowledged after.
    assert!(tally.whole * 3 > tally.runs, "{tally:?}");
    assert!((tally.runs - tally.whole - tally.unconfirmed) * 4 < tally.runs, "{tally:?}");
}

#[tokio::test]
async fn a_run_waits_for_a_subscription_that_is_fenced_while_its_topic_moves() {
    let moved = async |world: &World| {
        world.topic.unload();
        world
            .broker
            .script(When::next(CommandType::Subscribe), Act::Error(ServerError::ServiceNotReady, "fenced".into()));
        world.broker.script(When::next(CommandType::Lookup), Act::Error(ServerError::ServiceNotReady, "moving".into()));
    };
    let tally = at_requests(2, Config::default(), moved, whatever).await;
    assert!(tally.runs - tally.whole - tally.unconfirmed <= 6, "{tally:?}");
}

#[tokio::test]
async fn a_broker_that_forgets_acknowledgements_while_a_run_is_under_way_makes_it_prove_what_comes_again() {
    for acks in [1, 3] {
        let crash = async |world: &World| world.broker.crash_rewinding(acks);
        let tally = at_requests(2, Config::default(), crash, whatever).await;
        assert!(tally.runs - tally.whole - tally.unconfirmed <= 6, "{tally:?}");
    }
}

/// An administrator goes back to the beginning, or somebody removes the subscription: `latest` had passed
/// over entries that nobody stored, so that acknowledging over them would lose them.
#[tokio::test]
async fn going_back_while_a_run_is_under_way_loses_nothing_that_is_delivered_again() {
    let first = Position::new(Config::default().first_ledger, -1);
    for (removed, step) in [(false, 1), (true, 3)] {
        for k in (1..MOST).step_by(step) {
            let mut world = World::new().await;
            world.set("start", "\"latest\"");
            world.set("max_messages", 4);
            world.set("max_objects", 9);
            world.send(&[1, 1, 1]);
            world.run().await;
            world.send(&[1, 3, 2, 1, 1, 2]);
            let goes_back = async || match removed {
                true => world.topic.clone().delete_subscription(SUBSCRIPTION),
                false => world.topic.set_mark_delete(SUBSCRIPTION, first),
            };
            if world.run_interrupted_at(k, goes_back).await.is_none() {
                assert!(k > 30);
                break;
            }
            world.assert_nothing_acknowledged_unstored();
            world.let_go().await;
            world.drain(12).await;
            world.assert_exactly_once();
        }
    }
}

/// Skipped by an administrator or expired, some or all of it: what was delivered is stored, nothing twice, and
/// what comes after it is all there.
#[tokio::test]
async fn what_is_skipped_or_expires_while_a_run_is_under_way_does_not_end_it() {
    for (last, from) in [(3, 1), (5, 2), (7, 3)] {
        for k in (from..MOST).step_by(3) {
            let mut world = world(Config::default()).await;
            let to = Position::new(Config::default().first_ledger, last);
            let Some(report) = world
                .run_interrupted_at(k, async || {
                    // A cursor does not go back by this.
                    if to > world.mark_delete() {
                        world.topic.set_mark_delete(SUBSCRIPTION, to);
                    }
                })
                .await
            else {
                assert!(k > 10, "{k}");
                break;
            };
            assert!(matches!(report.outcome, Outcome::Stored | Outcome::NothingToDo), "{k}: {report:?}");
            assert!(matches!(report.stop, Some(Stop::Drained)), "{k}: {report:?}");
            world.let_go().await;
            world.send(&[1, 1]);
            world.drain(8).await;
            let numbers = world.numbers();
            let mut once = numbers.clone();
            once.dedup();
            assert_eq!(numbers, once, "{k}");
            // Entries after the skipped ones hold these messages.
            let owed: Vec<u64> = match last {
                3 => (8..=15).collect(),
                5 => (11..=15).collect(),
                _ => (14..=15).collect(),
            };
            assert!(owed.iter().all(|n| numbers.contains(n)), "{k}: {numbers:?}");
            if numbers.len() < 15 {
                missing_is_named(&world, &report).await;
            }
        }
    }
}

/// Each entry that is in no object stands in the report of the run that passed over it.
async fn missing_is_named(world: &World, report: &Report) {
    let stored: Vec<String> = world.all_lines().iter().map(|line| line["id"].as_str().unwrap().to_owned()).collect();
    for entry in world.topic.entries() {
        let held = stored.iter().any(|id| id.starts_with(&format!("{}:", entry.position)));
        let named = report.missing.iter().any(|gap| gap.first <= entry.position && entry.position <= gap.last);
        // What was skipped at the end is named by the run that finds something behind it.
        let at_the_end = report.missing.is_empty() && !held;
        assert!(held || named || at_the_end, "{} {report:?}", entry.position);
    }
}

/// Another run takes the subscription while ours is off the net, and ends: ours must notice.
#[tokio::test]
async fn a_run_that_comes_back_after_another_one_ran_stores_nothing_twice() {
    for k in 1..MOST {
        let world = world(Config::default()).await;
        let other = async || {
            world.broker.drop_connections();
            let report = world.run().await;
            assert!(matches!(report.outcome, Outcome::Stored | Outcome::NothingToDo), "{report:?}");
        };
        let Some(report) = world.run_interrupted_at(k, other).await else {
            assert!(k > 30);
            return;
        };
        world.assert_exactly_once();
        assert!(report.outcome != Outcome::NothingToDo || report.objects.is_empty(), "{k}: {report:?}");
        world.let_go().await;
        world.drain(4).await;
        world.assert_exactly_once();
    }
    panic!("a run makes more than {MOST} requests");
}

#[tokio::test]
async fn a_connection_cut_at_any_byte_costs_nothing_but_time() {
    let sent = async |cut: usize| {
        let mut world = World::begun().await;
        world.set("max_messages", 1);
        world.set("max_objects", 3);
        world.send(&[1, 1]);
        world.broker.cut_after(cut);
        let report = world.run().await;
        world.assert_nothing_acknowledged_unstored();
        // Past the consumer's first answer a cut does not end the run.
        let ended = report.outcome != Outcome::Stored;
        let connections = world.broker.commands().iter().filter(|command| command.kind == CommandType::Connect).count();
        world.broker.cut_after(usize::MAX);
        world.let_go().await;
        world.drain(4).await;
        world.assert_exactly_once();
        (ended, connections)
    };
    let mut ended = Vec::new();
    for from in (0..).step_by(72) {
        // Every third of them: those between are among the deaths of `bad_input`.
        let cuts = (from..from + 72).step_by(3);
        let several = futures::future::join_all(cuts.clone().map(|cut| Box::pin(sent(cut)))).await;
        if several.iter().all(|(ended, connections)| !ended && *connections == 2) {
            assert!(from > 500, "a run is sent more than {from} bytes");
            break;
        }
        ended.extend(cuts.zip(several).filter(|(_, (ended, _))| *ended).map(|(cut, _)| cut));
    }
    // Connecting, partitions, lookup: until then nothing is held that could be carried on with.
    let last = ended.last().copied().unwrap_or(0);
    assert!(!ended.is_empty() && last < 300, "{ended:?}");
}

#[tokio::test]
async fn a_consumer_that_is_closed_at_any_command_is_attached_anew() {
    let kinds = [
        (CommandType::Flow, 3),
        (CommandType::GetLastMessageId, 6),
        (CommandType::Ack, 2),
        (CommandType::ConsumerStats, 1),
        (CommandType::Message, 6),
    ];
    for (kind, most) in kinds {
        for nth in 1..=most {
            for act in [Act::ClosesConsumer, Act::DropConnection] {
                let world = world(Config::default()).await;
                world.broker.script(When::nth(kind, nth), act.clone());
                let report = world.run().await;
                assert_eq!(report.outcome, Outcome::Stored, "{kind:?} {nth} {act:?}: {report:?}");
                assert_eq!(world.broker.faults_left(), 0, "{kind:?} {nth} {act:?}");
                world.assert_nothing_acknowledged_unstored();
                world.let_go().await;
                world.drain(4).await;
                world.assert_exactly_once();
            }
        }
    }
}

/// The broker has not noticed that our old connection is gone: the subscription is held by our own ghost.
#[tokio::test]
async fn our_own_ghost_on_the_subscription_is_waited_for() {
    let world = world(Config::default()).await;
    for _ in 0..3 {
        let words = "Exclusive consumer is already connected".to_owned();
        world.broker.script(When::nth(CommandType::Subscribe, 2), Act::Error(ServerError::ConsumerBusy, words));
    }
    world.broker.script(When::nth(CommandType::GetLastMessageId, 2), Act::DropConnection);
    let report = world.run().await;
    assert_eq!((report.outcome, report.stop), (Outcome::Stored, Some(Stop::Drained)), "{report:?}");
    assert_eq!(world.broker.faults_left(), 0);
    world.assert_exactly_once();
}

/// Somebody else took the subscription for good: the run ends within its time, and says why.
#[tokio::test]
async fn somebody_else_who_takes_the_subscription_and_keeps_it_ends_the_run() {
    let world = world(Config::default()).await;
    for _ in 0..40 {
        let words = "Exclusive consumer is already connected".to_owned();
        world.broker.script(When::nth(CommandType::Subscribe, 2), Act::Error(ServerError::ConsumerBusy, words));
    }
    world.broker.script(When::nth(CommandType::GetLastMessageId, 2), Act::DropConnection);
    let (time, started) = (Duration::from_secs(4), world.clock.now());
    let report = world.run_for(time).await;
    assert!(started.elapsed() < time);
    assert_eq!((report.outcome, report.objects.len()), (Outcome::Busy, 0), "{report:?}");
    assert_eq!(world.numbers(), [1, 2, 3]);
    world.assert_nothing_acknowledged_unstored();
}

/// Brokers that do not say where the cursor stands show it by what they deliver.
#[tokio::test]
async fn going_back_at_a_broker_that_says_little_loses_nothing() {
    let first = Position::new(Config::default().first_ledger, -1);
    let config = Config { receipts: false, mark_delete_position: false, protocol_version: 15, ..Config::default() };
    let interrupted = async |k: usize| {
        let mut world = World::with(config.clone()).await;
        world.set("max_messages", 4);
        world.set("max_objects", 9);
        world.send(&[1, 1, 1]);
        world.run().await;
        world.send(&[1, 3, 2, 1, 1, 2]);
        let goes_back = async || world.topic.set_mark_delete(SUBSCRIPTION, first);
        let happened = world.run_interrupted_at(k, goes_back).await.is_some();
        if happened {
            world.assert_nothing_acknowledged_unstored();
            world.let_go().await;
            while world.run().await.outcome != Outcome::NothingToDo {}
            world.assert_exactly_once();
        }
        happened
    };
    let happened = futures::future::join_all((1..MOST).map(|k| Box::pin(interrupted(k)))).await;
    assert!((25..MOST - 1).contains(&happened.iter().filter(|it| **it).count()));
}

//! Random histories: deaths, frozen and woken runs, crashes, rewinds, changed rules. `SEED` and `COUNT` choose which and how many.

use std::collections::VecDeque;

use tdmq_backup::report::Outcome;
use tdmq_backup::testing::broker::Config;
use tdmq_backup::testing::compose::Composed;
use tdmq_backup::{Clock, Position};

use crate::world::{SUBSCRIPTION, World};

/// A generator that needs no crate.
struct Dice(u64);

impl Dice {
    fn roll(&mut self, sides: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 % sides
    }
}

/// Random histories: deaths, frozen and woken runs, crashes, rewinds, changed rules; every second one with entries larger
/// than the caps, with what happens inside a run, and with events that move the cursor back.
async fn history(seed: u64) {
    let mut dice = Dice(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1);
    for _ in 0..5 {
        dice.roll(2);
    }
    // Half of the brokers allow only small entries: then many are on their way from the first one on.
    let most = if dice.roll(2) == 0 { 100_000 } else { Config::default().max_message_size };
    let mut config = Config { max_message_size: most, ..Config::default() };
    if std::env::var_os("OLD").is_some() {
        config = Config { receipts: false, mark_delete_position: false, protocol_version: 15, ..config };
    }
    let mut world = World::with(config).await;
    world.set("max_messages", 4);
    let ledger = Config::default().first_ledger;
    let mut log: Vec<String> = Vec::new();
    let mut entries = 0;
    let latest = dice.roll(3) == 0 && std::env::var_os("OLD").is_none();
    if latest {
        // What a start at latest passes over is a hole at first.
        log.push("start latest".into());
        world.set("start", "\"latest\"");
        world.send(&[1; 9]);
        entries = 9;
        world.run().await;
    }
    let wild = seed.is_multiple_of(2);
    type Run = std::pin::Pin<Box<dyn Future<Output = tdmq_backup::report::Report>>>;
    let mut frozen: Vec<Run> = Vec::new();
    let mut open: Vec<VecDeque<Composed>> = Vec::new();
    for _ in 0..14 {
        let act = dice.roll(if wild { 14 } else { 10 });
        match act {
            0 | 1 => {
                let mut sizes: Vec<usize> = (0..1 + dice.roll(40)).map(|_| 1 + dice.roll(3) as usize).collect();
                if wild {
                    // Some are larger than the caps: they are spread.
                    sizes.iter_mut().filter(|_| dice.roll(6) == 0).for_each(|size| *size += 8);
                }
                log.push(format!("send {sizes:?}"));
                entries += sizes.len();
                world.send(&sizes);
                if dice.roll(2) == 0 {
                    let (producer, of) = (["big", "huge"][dice.roll(2) as usize], 2 + dice.roll(4) as usize);
                    log.push(format!("begins {of} chunks of {producer}"));
                    open.push(world.chunks(producer, of).into());
                }
                // One after the other, of several messages, with other messages between; some come again.
                while let Some(message) = open.first_mut().filter(|_| dice.roll(4) > 0) {
                    let chunk: Composed = message.pop_front().unwrap();
                    log.push(format!("chunk {} of {:?}", chunk.metadata.chunk_id(), chunk.metadata.uuid));
                    entries += 1;
                    if dice.roll(8) == 0 && !message.is_empty() {
                        message.push_front(chunk.clone());
                    }
                    world.topic.append(chunk);
                    let message = open.remove(0);
                    if !message.is_empty() {
                        open.push(message);
                    }
                    if dice.roll(3) == 0 {
                        entries += world.send(&[1]).len();
                    }
                }
            }
            2 => {
                let k = 1 + dice.roll(30) as usize;
                log.push(format!("dies at {k}"));
                world.run_dying_at(k).await;
            }
            3 => {
                let k = 1 + dice.roll(30) as usize;
                log.push(format!("freezes at {k}"));
                let (function, clock, before) = (world.function(), world.clock, world.requests());
                let mut run: Run = Box::pin(async move { function.invoke(None, &clock, &mut |_| {}).await });
                let ended = std::future::poll_fn(|context| {
                    if world.requests() - before >= k {
                        return std::task::Poll::Ready(false);
                    }
                    run.as_mut().poll(context).map(|_| true)
                });
                if !ended.await {
                    world.broker.drop_connections();
                    frozen.push(run);
                }
            }
            4 if !frozen.is_empty() => {
                log.push("wakes".into());
                let run = frozen.remove(dice.roll(frozen.len() as u64) as usize);
                let report = run.await;
                log.push(format!("  {:?} {:?}", report.outcome, report.error.map(|e| e.message)));
            }
            5 => {
                let acks = dice.roll(4) as usize;
                log.push(format!("crash {acks}"));
                world.broker.crash_rewinding(acks);
            }
            6 if world.topic.subscription(SUBSCRIPTION).is_some() && entries > 0 => {
                let at = world.mark_delete();
                let to = Position::new(ledger, dice.roll(entries as u64 + 1) as i64 - 1);
                if to < at {
                    log.push(format!("rewind to {to}"));
                    world.topic.set_mark_delete(SUBSCRIPTION, to);
                }
            }
            10 | 11 => {
                let k = 1 + dice.roll(60) as usize;
                let to = Position::new(ledger, dice.roll(entries as u64 + 1) as i64 - 1);
                let kind = dice.roll(4);
                log.push(format!("at {k} happens {kind} ({to})"));
                let happens = async || match kind {
                    0 => world.broker.drop_connections(),
                    1 => world.topic.unload(),
                    2 => world.broker.crash_rewinding(2),
                    _ if world.topic.subscription(SUBSCRIPTION).is_some() && to < world.mark_delete() => {
                        world.topic.set_mark_delete(SUBSCRIPTION, to);
                    }
                    _ => {
                        world.broker.drop_connections();
                        let report = world.run().await;
                        assert!(report.missing.is_empty() || latest, "seed {seed} {report:?}");
                    }
                };
                let report = world.run_interrupted_at(k, happens).await;
                log.push(format!(
                    "  {:?}",
                    report.map(|it| (it.outcome, it.stop, it.missing.len(), it.error.map(|e| e.message)))
                ));
            }
            12 | 13 if entries > 0 && world.topic.subscription(SUBSCRIPTION).is_some() => {
                // An event that moves the cursor back, delivered to a run that may die.
                let entry = dice.roll(world.mark_delete().entry.max(0) as u64 + 1);
                let to = if dice.roll(2) == 0 { "earliest".to_owned() } else { format!("{ledger}:{entry}") };
                let (k, dies) = (1 + dice.roll(60) as usize, dice.roll(2) == 0);
                let event = serde_json::json!({ "seek": to, "confirm": SUBSCRIPTION });
                log.push(format!("event {to} dies {dies} at {k}"));
                let report = world.event_dying_at(&event, if dies { k } else { 100_000 }).await;
                log.push(format!("  {:?}", report.map(|it| (it.outcome, it.stop, it.error.map(|e| e.message)))));
            }
            8 => {
                log.push("half an hour passes".into());
                world.clock = Clock::starting_at(world.clock.now_ms() + 30 * 60_000);
            }
            7 => {
                let (messages, objects) = (1 + dice.roll(8), 1 + dice.roll(4));
                log.push(format!("rule {messages} {objects}"));
                world.set("max_messages", messages);
                world.set("max_objects", objects);
                world.set("compression", if dice.roll(2) == 0 { "\"none\"" } else { "\"gzip\"" });
            }
            _ => {
                let report = world.run().await;
                log.push(format!("run {:?} {:?} {:?}", report.outcome, report.stop, report.error.map(|e| e.message)));
            }
        }
        if !latest {
            world.assert_nothing_acknowledged_unstored();
        }
    }
    for run in frozen {
        let report = run.await;
        log.push(format!("  woken at last: {:?} {:?}", report.outcome, report.error.map(|e| e.message)));
    }
    world.topic.append_all(open.into_iter().flatten());
    world.broker.drop_connections();
    world.let_go().await;
    world.clock = Clock::starting_at(world.clock.now_ms() + 30 * 60_000);
    to_the_end(&world, &mut log).await;
    // Only now: a move that an event had asked for is made before that.
    if world.topic.subscription(SUBSCRIPTION).is_some() && (latest || dice.roll(2) == 0) {
        world.topic.set_mark_delete(SUBSCRIPTION, Position::new(ledger, -1));
        to_the_end(&world, &mut log).await;
    }
    let told = || format!("seed {seed}\n{}\n{:#?}", log.join("\n"), world.objects());
    assert_eq!(world.topic.subscription(SUBSCRIPTION).map_or(0, |s| s.backlog), 0, "{}", told());
    let result = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| world.assert_every_entry_is_stored_once()));
    assert!(result.is_ok(), "{}", told());
}

async fn to_the_end(world: &World, log: &mut Vec<String>) {
    for _ in 0..500 {
        let report = world.run().await;
        log.push(format!("end {:?} {:?} {:?}", report.outcome, report.stop, report.error.map(|e| e.message)));
        if report.outcome == Outcome::NothingToDo {
            break;
        }
    }
}

#[tokio::test]
async fn random_histories_lose_and_repeat_nothing() {
    let from = std::env::var("SEED").ok().and_then(|s| s.parse().ok()).unwrap_or(1);
    let count: u64 = std::env::var("COUNT").ok().and_then(|s| s.parse().ok()).unwrap_or(40);
    for seed in from..from + count {
        history(seed).await;
    }
}

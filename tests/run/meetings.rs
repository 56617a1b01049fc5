//! Where one thing meets another: spread entries, chunks, other runs, announced objects.

use std::path::Path;

use tdmq_backup::Position;
use tdmq_backup::report::{Outcome, Stop};
use tdmq_backup::testing::broker::Config;
use tdmq_backup::testing::compose::{Composer, Draft};

use crate::world::{NOW, SUBSCRIPTION, World};

/// The last part of a spread entry shares its object with the entry behind it; the run that announced that died.
#[tokio::test]
async fn an_announced_object_that_begins_inside_a_spread_entry_is_written_as_announced() {
    for k in 1..60 {
        let mut world = World::begun().await;
        world.set("max_messages", 3);
        world.send(&[7, 1, 1]);
        if world.run_dying_at(k).await.is_some() {
            assert!(k > 15);
            return;
        }
        for _ in 0..6 {
            let report = world.run().await;
            assert!(
                matches!(report.outcome, Outcome::Stored | Outcome::NothingToDo) && report.warnings.is_empty(),
                "died at {k}: {report:?}"
            );
        }
        world.assert_exactly_once();
    }
}

/// The last chunk alone was stored, raw: what came before it was passed over by the start.
#[tokio::test]
async fn a_message_whose_last_chunk_alone_is_stored_is_not_stored_again_with_it() {
    for of in [2, 3] {
        let mut world = World::new().await;
        world.set("max_objects", 10);
        world.set("start", "\"latest\"");
        let chunks = world.chunks("big", of);
        world.topic.append_all(chunks[..of - 1].to_vec());
        world.run().await;
        world.topic.append_all(chunks[of - 1..].to_vec());
        world.run().await;
        world.topic.set_mark_delete(SUBSCRIPTION, Position::new(Config::default().first_ledger, -1));
        world.drain(3).await;
        world.assert_every_entry_is_stored_once();
    }
}

/// The same, where that last chunk does not begin its object.
#[tokio::test]
async fn a_message_whose_last_chunk_alone_is_stored_among_others_is_not_stored_again_with_it() {
    let mut world = World::new().await;
    world.set("max_objects", 10);
    world.set("start", "\"latest\"");
    let chunks = world.chunks("big", 2);
    world.topic.append(chunks[0].clone());
    world.run().await;
    world.send(&[1]);
    world.topic.append(chunks[1].clone());
    world.run().await;
    world.topic.set_mark_delete(SUBSCRIPTION, Position::new(Config::default().first_ledger, -1));
    world.drain(3).await;
    world.assert_every_entry_is_stored_once();
}

/// A run that had stored all loses its connection at the end; another one stores more meanwhile.
#[tokio::test]
async fn what_another_run_stored_is_not_named_as_missing() {
    for k in 1..60 {
        let mut world = World::begun().await;
        world.send(&[1, 1]);
        let more: Vec<_> = (0..2)
            .map(|n| Composer::new("other").at(NOW).single(Draft::new(format!("{{\"n\":{}}}", 90 + n))))
            .collect();
        let other = async || {
            world.broker.drop_connections();
            world.topic.append_all(more.clone());
            world.run().await;
        };
        let Some(report) = world.run_interrupted_at(k, other).await else {
            assert!(k > 15);
            return;
        };
        assert!(report.missing.is_empty(), "{k}: {report:?}");
    }
}

/// Each part of a message that was given up has an object of its own; the topic must not wait a run for each.
#[tokio::test]
async fn a_message_that_is_given_up_does_not_cost_a_run_for_each_of_its_chunks() {
    let mut world = World::begun().await;
    let chunks = world.chunks("big", 12);
    for chunk in chunks.into_iter().take(11) {
        world.topic.append(chunk);
        world.send(&[1]);
    }
    world.topic.append(Composer::new("late").at(NOW + 30 * 60_000).single(Draft::new("{\"n\":99}")));
    let mut runs = 0;
    while world.run().await.stop != Some(Stop::Drained) {
        runs += 1;
    }
    world.assert_every_entry_is_stored_once();
    assert!(runs <= 3, "{runs} runs");
}

/// Time to live between runs and inside them: what is not stored is named, what is stored is not.
#[tokio::test]
async fn in_random_histories_with_expiry_what_is_not_stored_is_named_and_nothing_else() {
    for seed in 1..60u64 {
        let mut dice = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
        let mut roll = |sides: u64| {
            dice ^= dice << 13;
            dice ^= dice >> 7;
            dice ^= dice << 17;
            dice % sides
        };
        let mut world = World::begun().await;
        world.set("max_messages", 4);
        world.set("max_objects", 1 + seed % 5);
        let (mut log, mut missing, mut excused) = (Vec::new(), Vec::new(), None);
        for _ in 0..12 {
            let all = world.topic.entries().len() as u64;
            match roll(6) {
                0 | 1 => {
                    let sizes: Vec<usize> = (0..1 + roll(9)).map(|_| 1 + roll(3) as usize).collect();
                    world.send(&sizes);
                    log.push(format!("send {}", sizes.len()));
                }
                2 => {
                    let n = roll(all + 1) as usize;
                    log.push(format!("expire {n}"));
                    world.topic.expire(n);
                }
                3 => {
                    log.push("roll".into());
                    world.topic.roll_ledger();
                }
                4 => {
                    let (k, n) = (1 + roll(50) as usize, roll(all + 1) as usize);
                    log.push(format!("at {k} expire {n}"));
                    let lost = roll(2) == 0;
                    let happens = async || {
                        world.topic.expire(n);
                        if lost {
                            world.broker.drop_connections();
                        }
                    };
                    match world.run_interrupted_at(k, happens).await {
                        Some(report) => missing.extend(report.missing),
                        // It ended before, and the harness keeps no report then.
                        None => excused = excused.max(Some(world.mark_delete())),
                    }
                }
                _ => {
                    log.push("run".into());
                    missing.extend(world.run().await.missing);
                }
            }
        }
        world.let_go().await;
        for _ in 0..40 {
            let report = world.run().await;
            missing.extend(report.missing);
            if report.outcome == Outcome::NothingToDo {
                break;
            }
        }
        let lines = world.all_lines();
        for entry in world.topic.entries() {
            let at = entry.position;
            let named = missing.iter().filter(|gap| gap.first <= at && at <= gap.last).count();
            let times = crate::world::times_stored(&entry, &lines);
            let told = if times == 1 { named == 0 } else { named >= 1 || Some(at) <= excused };
            assert!(times <= 1 && told, "seed {seed}: {at} stored {times} named {named}\n{log:#?}\n{missing:#?}");
        }
    }
}

/// As `thirty_two_partitions_take_less_than_64_mib_of_memory`, of messages in chunks: in a process of its own, whose build
/// is let off what it takes beside a release, which takes less than 14 MiB for a run with nothing to do.
#[tokio::test(flavor = "multi_thread")]
async fn messages_in_chunks_take_less_than_64_mib_of_memory() {
    let mut world = World::new().await;
    let topics = world.broker.partitioned("many", 3);
    world.set("topic", "\"persistent://public/default/many\"");
    let dir = tempfile::tempdir().unwrap();
    let (idle, outcome) = peak(&world, dir.path()).await;
    assert_eq!(outcome, "nothing_to_do");
    let mut number = 1u64;
    let payload: Vec<u8> = (0..(13 << 20) - (64 << 10))
        .map(|_| {
            number ^= number << 13;
            number ^= number >> 7;
            number ^= number << 17;
            number as u8
        })
        .collect();
    let compression = tdmq_backup::testing::compose::Compression::Zstd;
    let chunks = Composer::new("big").at(NOW).compression(compression).chunks(Draft::new(payload), 4 << 20, "big-0");
    topics.iter().for_each(|topic| drop(topic.append_all(chunks.clone())));
    let (peak, outcome) = peak(&world, dir.path()).await;
    assert_eq!(outcome, "stored");
    assert!(peak - idle <= 50, "{peak} MiB of memory, {idle} where there is nothing to do");
}

/// The most memory that a run of the program takes, in MiB, and what comes of it.
async fn peak(world: &World, temporary: &Path) -> (u64, String) {
    let mut program = world.program(temporary, false);
    let output = tokio::task::spawn_blocking(move || program.output().unwrap()).await.unwrap();
    let report: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    (report["peak_memory_bytes"].as_u64().unwrap() >> 20, report["outcome"].as_str().unwrap().to_owned())
}

//! Random histories of runs over a model broker and a model bucket, on a clock of their own: the run is the real one,
//! everything around it can fail at any step. After each run its reply is checked, after each history every promise.
//!
//! ```text
//!  dice ─▶ history ─▶ runs: begin, die, freeze, wake ─▶ source, store ─▶ world: log, cursor, objects
//!              └────▶ what happens meanwhile ────────────────────────────▶   │
//!                                                     peace, then: once? true? ◀┘
//! ```
//!
//! `make simulate SEED=… HISTORIES=…`. A plain test runs a fixed set, `.ci/run` a fresh one too. A history that fails
//! prints the command that repeats it.

mod deeds;
mod dice;
mod heads;
mod history;
mod past;
mod place;
mod source;
mod store;
mod topic;
mod world;

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::thread;

use dice::number;
use history::{Verdict, history};
use tdmq_backup::Clock;

/// Of a plain test.
const FIXED: u64 = 400;

/// One that panics is broken too, and is repeated as any other.
fn one(seed: u64) -> Verdict {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build().unwrap();
    let verdict = catch_unwind(AssertUnwindSafe(|| runtime.block_on(history(seed))));
    verdict
        .unwrap_or_else(|_| Verdict { broken: vec!["it panicked, as stands above".to_owned()], ..Verdict::default() })
}

/// Runs histories on every core; panics with the first that broke a promise.
fn simulate(seeds: std::ops::Range<u64>) {
    assert!(!seeds.is_empty(), "HISTORIES says that there is nothing to try");
    let began = Clock::system().now_ms();
    let (next, sum) = (AtomicU64::new(seeds.start), Mutex::new(Verdict::default()));
    let (histories, known) = (seeds.end - seeds.start, AtomicU64::new(0));
    let failed = Mutex::new(Vec::new());
    thread::scope(|scope| {
        for _ in 0..thread::available_parallelism().map_or(1, usize::from) {
            scope.spawn(|| {
                loop {
                    let seed = next.fetch_add(1, Relaxed);
                    if seed >= seeds.end || failed.lock().unwrap().len() > 20 {
                        return;
                    }
                    let verdict = one(seed);
                    known.fetch_add(u64::from(verdict.known), Relaxed);
                    if !verdict.broken.is_empty() {
                        failed.lock().unwrap().push((seed, verdict));
                        continue;
                    }
                    let mut sum = sum.lock().unwrap();
                    sum.runs += verdict.runs;
                    sum.messages += verdict.messages;
                }
            });
        }
    });
    let mut failed = failed.into_inner().unwrap();
    failed.sort_by_key(|(seed, verdict)| (verdict.log.len(), *seed));
    for (seed, verdict) in failed.iter().rev() {
        println!("SEED={seed}: {:?}", verdict.broken);
    }
    if let Some((seed, verdict)) = failed.first() {
        panic!(
            "{}\n{:#?}\nrepeat it with: make simulate SEED={seed} HISTORIES=1",
            verdict.log.join("\n"),
            verdict.broken
        );
    }
    let (sum, known) = (sum.into_inner().unwrap(), known.into_inner());
    let a_minute = histories * 60_000 / (Clock::system().now_ms() - began).max(1);
    println!(
        "{histories} histories, 0 lost, 0 twice, 0 false replies ({} runs, {} messages, {a_minute} histories a minute; on stores without conditions {known} of the one known kind)",
        sum.runs, sum.messages
    );
}

/// The same each time; or those that `SEED` and `HISTORIES` name.
#[test]
fn histories_lose_and_repeat_nothing_and_every_reply_is_true() {
    let from = number("SEED").unwrap_or(1);
    simulate(from..from + number("HISTORIES").unwrap_or(FIXED));
}

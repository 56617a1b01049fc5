//! Random kills at real components, while a producer goes on: see README.md.
//!
//! The plan of a history is its seed's, and so is each instant as a part of a run; the rest is what the machine makes of
//! it. `make torture` acts as many histories as its `KILLS` take.

mod cuts;
#[path = "../simulate/dice.rs"]
mod dice;
mod history;
mod parts;
mod plan;
mod producer;
mod replies;
mod running;
mod verdict;

use std::fmt;

use tdmq_backup::Clock;

use dice::number;
use history::act;
use parts::Parts;
use plan::{Kills, Plan};
use verdict::Verdict;

/// Of one history that `make torture` acts.
const EACH: Kills = Kills { functions: 10, broker: 1, store: 1, connections: 10, frozen: 1 };
const SHORT: Kills = Kills { functions: 12, broker: 1, store: 1, connections: 12, frozen: 2 };
const SHORT_SEED: u64 = 21;
/// Topics that the broker may be unable to open again after its crash.
const MOST_GONE: u64 = 3;

#[derive(Default)]
struct Total {
    kills: Kills,
    messages: usize,
    lost: usize,
    twice: usize,
    false_replies: usize,
    lost_by_broker: usize,
    wrong: usize,
}

impl Total {
    fn add(&mut self, verdict: &Verdict) {
        self.kills += verdict.kills;
        self.messages += verdict.messages;
        self.lost += verdict.lost;
        self.twice += verdict.twice;
        self.false_replies += verdict.false_replies;
        self.lost_by_broker += verdict.lost_by_broker;
        self.wrong += usize::from(!verdict.problems.is_empty());
    }
}

impl fmt::Display for Total {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Total { kills, lost, twice, false_replies, lost_by_broker, wrong, .. } = self;
        write!(f, "{kills} (functions, broker, store, connections, frozen): ")?;
        write!(f, "{lost} lost, {twice} twice, {false_replies} false replies")?;
        if *lost_by_broker > 0 {
            write!(f, "; {lost_by_broker} confirmed messages lost by the broker itself")?;
        }
        if *wrong > 0 {
            write!(f, "; {wrong} histories WRONG")?;
        }
        Ok(())
    }
}

/// Says how to act this history's plan again when it is dropped, also where the history does not come to its end.
struct Again(u64);

impl Drop for Again {
    fn drop(&mut self) {
        println!("torture:   this plan again: make torture SEED={} KILLS={}", self.0, EACH.functions);
    }
}

#[test]
fn a_short_torture_loses_and_repeats_nothing_and_every_reply_is_true() {
    let parts = Parts::start("torture-short");
    let verdict = (0..MOST_GONE).find_map(|_| act(&parts, Plan::of(SHORT_SEED, SHORT)));
    let verdict = verdict.expect("the broker opens the topic again");
    println!("torture: {verdict}");
    assert!(verdict.problems.is_empty(), "{verdict}");
}

#[test]
#[ignore = "minutes: make torture"]
fn a_whole_torture_loses_and_repeats_nothing_and_every_reply_is_true() {
    let clock = Clock::system();
    let began = clock.now_ms();
    let (seed, kills) = (number("SEED").unwrap_or(began / 1_000), number("KILLS").unwrap_or(200));
    let histories = kills.div_ceil(EACH.functions as u64).max(1);
    println!("torture: SEED={seed}, {histories} histories");
    let parts = Parts::start("torture");
    let mut total = Total::default();
    let (mut number, mut gone) = (0, 0);
    while number < histories {
        let again = Again(seed + number + gone);
        let Some(verdict) = act(&parts, Plan::of(again.0, EACH)) else {
            println!("torture: seed {}: the broker cannot open this topic again; another one in its place", again.0);
            std::mem::forget(again);
            gone += 1;
            assert!(gone < MOST_GONE + histories / 10, "the broker loses {gone} topics");
            continue;
        };
        number += 1;
        println!("torture: history {number} of {histories}, seed {}: {verdict}", again.0);
        if verdict.problems.is_empty() {
            std::mem::forget(again);
        }
        total.add(&verdict);
    }
    println!(
        "torture: {} messages, {gone} topics lost by the broker, {} s",
        total.messages,
        (clock.now_ms() - began) / 1_000
    );
    println!("torture: {total}");
    assert_eq!(total.wrong, 0, "the lines above say what is wrong");
}

//! What histories have found, each made small and by its name.

use std::time::Duration;

use crate::history::History;

/// More than the steps of a run in these.
const STEPS: u64 = 80;

/// A run that waits to see whether something is held back did so beyond its deadline.
#[tokio::test(start_paused = true)]
async fn a_run_over_an_open_transaction_keeps_every_deadline() {
    for ms in (5..3000).step_by(15) {
        let mut history = History::calm();
        history.message(true);
        history.run_for(Duration::from_millis(ms)).await;
        assert_eq!(history.broken(), Vec::<String>::new(), "{ms} ms");
    }
}

/// `complete_through` was said where the broker did not answer what it still has.
#[tokio::test(start_paused = true)]
async fn nothing_is_claimed_to_be_complete_where_the_broker_falls_silent_at_any_step() {
    for step in 1..STEPS {
        let mut history = History::calm();
        history.message(false);
        history.message(true);
        let silent = move |state: &mut crate::world::State, now| {
            state.topics[0].let_go();
            state.topics[0].down_until = now + 3_600_000;
        };
        history.run(&[0], None, step, silent).await;
        assert_eq!(history.broken(), Vec::<String>::new(), "step {step}");
    }
}

/// `complete_through` was said of a message that a transaction had held back, where what the transaction wrote was
/// aborted and stood at the beginning of the topic or of a ledger, or where its producer's clock is ahead.
#[tokio::test(start_paused = true)]
async fn what_a_transaction_held_back_is_not_claimed_wherever_it_began_and_whenever_it_ends() {
    for (before, aborted, ahead) in
        [(false, false, 0), (false, true, 0), (true, false, 0), (true, true, 0), (true, true, 9 * 60_000)]
    {
        for step in 1..STEPS {
            let mut history = History::calm();
            if before {
                history.message(false);
                history.world.state().topics[0].roll_ledger();
            }
            history.message(true);
            history.message(false);
            let held = history.world.state().topics[0].log.len() - 1;
            history.world.state().topics[0].log[held].composed.metadata.publish_time += ahead;
            tokio::time::advance(Duration::from_secs(1)).await;
            let ends = move |state: &mut crate::world::State, _| {
                let from = state.topics[0].blocked.take().unwrap();
                state.topics[0].log[from].gone = aborted;
            };
            history.run(&[0], None, step, ends).await;
            assert_eq!(history.broken(), Vec::<String>::new(), "step {step}, {before} {aborted} {ahead}");
        }
    }
}

/// A run that found an announced object absent, and then an entry of it stored, called the head an old one: its writer had
/// only been slow.
#[tokio::test(start_paused = true)]
async fn an_announced_object_that_arrives_at_any_step_of_the_next_run_is_what_was_announced() {
    let mut arrived = 0;
    for dies in 1..STEPS {
        for step in 1..STEPS / 2 {
            let mut history = History::calm();
            (0..3).for_each(|_| history.message(false));
            history.die_after(&[0], None, dies).await;
            history.world.state().topics[0].let_go();
            let flying: Vec<u64> = history.world.state().flying.keys().copied().collect();
            if flying.is_empty() {
                break;
            }
            arrived += 1;
            let lands = move |state: &mut crate::world::State, _| {
                flying.into_iter().for_each(|id| {
                    state.land(id);
                })
            };
            history.run(&[0], None, step, lands).await;
            assert_eq!(history.broken(), Vec::<String>::new(), "dead after {dies}, arrived at {step}");
        }
    }
    assert!(arrived > 100, "only {arrived}");
}

//! Whatever instant a run dies at: every message is stored once, and nothing is acknowledged unstored.

use crate::world::World;

/// More requests than any run here makes.
const MOST: usize = 60;

/// A world with a stored history and new entries, so that there are a head, a chain and a cursor.
async fn world(max_objects: u32) -> World {
    let mut world = World::new().await;
    world.set("max_messages", 4);
    world.set("max_objects", max_objects);
    world.send(&[1, 2]);
    world.drain(3).await;
    world.send(&[1, 3, 2, 1, 1]);
    world
}

async fn dies_at_every_request(first_run_too: bool, max_objects: u32, rewound: usize) {
    for k in 1..MOST {
        let world = match first_run_too {
            true => {
                let mut world = World::new().await;
                world.set("max_messages", 4);
                world.set("max_objects", max_objects);
                world.send(&[1, 3, 2, 1, 1]);
                world
            }
            false => world(max_objects).await,
        };
        if world.run_dying_at(k).await.is_some() {
            assert!(k > 10, "only {} deaths were tried", k - 1);
            return;
        }
        world.assert_nothing_acknowledged_unstored();
        world.broker.crash_rewinding(rewound);
        world.let_go().await;
        world.drain(8).await;
        world.assert_exactly_once();
        world.assert_nothing_acknowledged_unstored();
    }
    panic!("a run makes more than {MOST} requests");
}

#[tokio::test]
async fn a_death_at_any_request_of_a_run_loses_and_repeats_nothing() {
    dies_at_every_request(false, 1, 0).await;
}

#[tokio::test]
async fn a_death_at_any_request_of_the_very_first_run_loses_and_repeats_nothing() {
    dies_at_every_request(true, 1, 0).await;
}

#[tokio::test]
async fn a_death_in_a_run_of_several_objects_loses_and_repeats_nothing() {
    dies_at_every_request(false, 3, 0).await;
}

#[tokio::test]
async fn a_death_followed_by_a_broker_that_forgot_acknowledgements_loses_and_repeats_nothing() {
    dies_at_every_request(false, 3, 1).await;
    dies_at_every_request(false, 3, 5).await;
}

#[tokio::test]
async fn two_deaths_in_a_row_lose_and_repeat_nothing() {
    for first in (1..24).step_by(4) {
        for second in (1..24).step_by(3) {
            let world = world(2).await;
            if world.run_dying_at(first).await.is_some() || world.run_dying_at(second).await.is_some() {
                break;
            }
            world.drain(8).await;
            world.assert_exactly_once();
        }
    }
}

//! How much the consumer holds while nobody takes it, and what that costs.

use std::time::Duration;

use tokio::time::{Instant, sleep};

use super::Initial;
use crate::budget;
use crate::clock::Clock;
use crate::pulsar::Cluster;
use crate::rule::Rule;
use crate::source::{Next, Source};
use crate::testing::broker::{Broker, Config, Topic};
use crate::testing::compose::{Composer, Draft};

const LARGE: usize = 5 << 20;
/// Room for a command, metadata and the piece that the socket is read in.
const BESIDE: usize = 300 << 10;

fn append(topic: &Topic, sizes: impl IntoIterator<Item = usize>) -> usize {
    topic.append_all(sizes.into_iter().map(|size| Composer::new("p").single(Draft::new(vec![7; size])))).len()
}

/// Reads `count` entries with pauses in which nobody takes what comes, as when an object is stored. Answers how often it
/// had to attach anew.
async fn held(broker: &Broker, count: usize, pause_after: impl Fn(usize) -> bool) -> usize {
    let text = format!(
        "name = \"orders\"\nservice_url = {:?}\ntopic = \"persistent://public/default/orders\"\nsubscription = \"backup\"\n\
         bucket = \"orders\"\nregion = \"local\"\nendpoint = \"http://127.0.0.1:1\"\naddressing = \"path\"\ninterval = \"5m\"\n",
        broker.url()
    );
    let rule = Rule::from_toml(&text).unwrap_or_else(|problems| panic!("{problems}"));
    let far: Instant = Clock::starting_at(0).now() + Duration::from_secs(300);
    let cluster = Cluster::new(&rule, far);
    let mut consumer = cluster.attach(&rule.topic, "backup", Initial::Earliest).await.unwrap();
    let (mut taken, mut reattached) = (0, 0);
    while taken < count {
        match consumer.next(far).await.unwrap() {
            Next::Entry(entry) => {
                assert_eq!(entry.position.entry, taken as i64);
                taken += 1;
            }
            Next::Reattached => reattached += 1,
            Next::Silence => panic!("silence after {taken}"),
        }
        if pause_after(taken) {
            // Long enough for all that was granted to arrive.
            consumer.attend(sleep(Duration::from_millis(100))).await;
        }
        let queued: usize = consumer.queue.iter().map(|entry| entry.size).sum();
        assert_eq!(queued, consumer.queued_bytes);
        let held = queued + consumer.connection.buffered();
        assert!(
            queued <= budget::read_ahead(1) && held <= budget::read_ahead(1) + LARGE + BESIDE,
            "{queued} of {held} at {taken}"
        );
    }
    consumer.close().await;
    reattached
}

#[tokio::test]
async fn large_entries_after_thousands_of_small_ones_do_not_exceed_the_budget() {
    let broker = Broker::start(Config::default()).await;
    let topic = broker.topic("orders");
    let small = append(&topic, [100; 3000]);
    let large = append(&topic, [LARGE - 1000; 12]);
    // Permits for the small ones are out when the large ones come.
    let reattached = held(&broker, small + large, |taken| taken >= 2900 && taken % 25 == 0 || taken > small).await;
    assert!((1..=2).contains(&reattached), "{reattached}");
}

#[tokio::test]
async fn what_grows_slowly_is_dropped_only_a_few_times() {
    let broker = Broker::start(Config::default()).await;
    let topic = broker.topic("orders");
    // Each a twentieth larger than the one before: 1 KB to 1.4 MB.
    let sizes: Vec<usize> = (0..150).map(|n| (1000.0 * 1.05_f64.powi(n)) as usize).collect();
    let count = append(&topic, sizes);
    let reattached = held(&broker, count, |taken| taken % 10 == 0).await;
    assert!(reattached <= 6, "{reattached}");
}

#[tokio::test]
async fn large_and_small_ones_in_turn_are_read_without_a_drop() {
    let broker = Broker::start(Config::default()).await;
    let topic = broker.topic("orders");
    let count = append(&topic, (0..60).map(|n| if n % 6 == 0 { LARGE - 1000 } else { 100 }));
    assert_eq!(held(&broker, count, |taken| taken % 4 == 0).await, 0);
}

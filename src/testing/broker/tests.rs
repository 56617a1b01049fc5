//! The broker judged by two clients: the `pulsar` crate's consumer, which knows nothing of it, and bare
//! frames, for what no client shows.

mod connecting;
mod crate_client;
mod delivering;
mod faults;
mod http;
mod wire;

use self::wire::Wire;
use super::{Broker, Config, Topic};
use crate::Position;
use crate::testing::compose::{Composer, Draft};

async fn broker() -> Broker {
    Broker::start(Config::default()).await
}

/// A topic of `n` single messages, published a second apart.
fn filled(broker: &Broker, n: u64) -> (Topic, Vec<Position>) {
    let topic = broker.topic("orders");
    let single = |n: u64| Composer::new("p").at(1_000 * n).sequence(n).single(Draft::new(n.to_string()));
    let positions = topic.append_all((0..n).map(single));
    (topic, positions)
}

async fn attached(broker: &Broker) -> Wire {
    let mut wire = Wire::connect(broker).await;
    wire.subscribe("orders", 1).await;
    wire
}

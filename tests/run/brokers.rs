//! Brokers that are older than ours, or hosted by somebody: what they leave out. Acted by the embedded broker alone, from
//! their documents; rows of the table that no real broker here can make.

use std::time::Duration;

use tdmq_backup::report::Outcome;
use tdmq_backup::testing::broker::Config;

use crate::world::World;

/// Two runs: what is there is stored and acknowledged, and then there is nothing to do.
async fn is_served(config: Config) {
    let told = format!("{config:?}");
    let mut world = World::with(config).await;
    let ids = world.send(&[1, 3, 1]);
    let report = world.run().await;
    assert_eq!((report.outcome, report.messages), (Outcome::Stored, 5), "{told}: {report:?}");
    assert_eq!(world.mark_delete(), ids[2], "{told}");
    world.assert_exactly_once();
    let report = world.run_for(Duration::from_secs(4)).await;
    assert_eq!(report.outcome, Outcome::NothingToDo, "{told}: {report:?}");
    assert_eq!(world.objects().len(), 1, "{told}");
}

#[tokio::test]
async fn brokers_of_older_protocol_versions_are_served() {
    // 12 brought the last message id, 17 receipts, 18 broker entry metadata; 21 is newer than what is announced here.
    for protocol_version in [12, 16, 17, 18, 21] {
        is_served(Config { protocol_version, ..Config::default() }).await;
    }
}

#[tokio::test]
async fn receipts_and_mark_delete_positions_may_each_be_missing() {
    is_served(Config { receipts: false, ..Config::default() }).await;
    is_served(Config { mark_delete_position: false, ..Config::default() }).await;
    is_served(Config { broker_metadata: false, ..Config::default() }).await;
}

/// TDMQ's address is HTTP, and its answer names the broker in one member alone, or beside an empty address for TLS.
#[tokio::test]
async fn a_lookup_over_http_may_answer_with_the_brokers_address_alone() {
    for rest in ["", r#","brokerUrlSsl":"""#, r#","brokerUrlTls":"","httpUrl":"","nativeUrl":"","httpUrlTls":"""#] {
        let mut world = World::new().await;
        let url = format!("{:?}", world.broker.http_url());
        world.set("service_url", url);
        world.send(&[1, 2]);
        world.broker.answer_http(200, r#"{"partitions":0}"#);
        world.broker.answer_http(200, &format!(r#"{{"brokerUrl":"{}"{rest}}}"#, world.broker.url()));
        let report = world.run().await;
        assert_eq!(report.outcome, Outcome::Stored, "{rest}: {report:?}");
        world.assert_exactly_once();
    }
}

//! The subscription goes with the function where its name is typed, and nowhere else.

use serde_json::json;
use tdmq_backup::testing::broker::{Broker, Config, Topic};
use tdmq_backup::testing::compose::{Composer, Draft};

use crate::scf::RULE;
use crate::world::{TOKEN, World};

const TOPIC: &str = "persistent://pulsar-abc/prod/orders";

/// A deployed rule whose topic lies in this process, with a subscription that owes three entries.
pub async fn world() -> (World, Broker, Topic) {
    world_on(Config::default()).await
}

pub async fn world_on(config: Config) -> (World, Broker, Topic) {
    let broker = Broker::start(Config { token: Some(TOKEN.into()), ..config }).await;
    let topic = broker.topic(TOPIC);
    topic.subscribe_at_earliest("backup");
    let mut composer = Composer::new("producer-1");
    topic.append_all((0..3).map(|n| composer.single(Draft::new(format!("{n}")))));
    let mut world = World::start();
    world.env.push(("TDMQ_BACKUP_TOKEN".into(), TOKEN.into()));
    world.rule(&at(&broker, RULE));
    world.run("scf", &["deploy"]).ok();
    world.calls();
    (world, broker, topic)
}

pub fn at(broker: &Broker, rule: &str) -> String {
    rule.replace("http://pulsar-abc.tdmq.ap-gz.qcloud.tencenttdmq.com:8080", &broker.url())
}

pub const REMOVE: [&str; 2] = ["delete", "--unsubscribe"];

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_subscription_goes_when_its_name_is_typed_and_what_is_given_up_is_said_first() {
    let (world, broker, topic) = world().await;
    for (arguments, reason) in [
        (&[][..], "nobody is here to confirm it; nothing was removed: say CONFIRM=backup"),
        (&["--confirm", "Backup"], "\"Backup\" is not the subscription, which is \"backup\"; nothing was removed"),
    ] {
        let run = world.run("scf", &[&REMOVE, arguments].concat());
        assert_eq!(run.code(), 2);
        let text = run.refused();
        assert!(
            text.contains("owes 3 entries") && text.contains("they are given up") && text.contains(reason),
            "{text}"
        );
        assert_eq!((world.changes(), topic.subscription("backup").unwrap().backlog), (vec![], 3));
    }
    let text = world.run("scf", &[&REMOVE[..], &["--dry-run"]].concat()).ok();
    assert!(text.contains("owes 3 entries") && text.contains("# UNSUBSCRIBE \"backup\" from "), "{text}");
    assert_eq!((world.changes(), topic.subscription("backup").unwrap().backlog), (vec![], 3));

    let text = world.run("scf", &[&REMOVE[..], &["--confirm", "backup"]].concat()).ok();
    assert_eq!(world.changes(), ["UpdateTriggerStatus", "DeleteTrigger", "DeleteFunction"]);
    assert!(
        text.contains("gone: subscription \"backup\"") && text.contains("3 entries that it owed are given up"),
        "{text}"
    );
    assert!(text.contains("stays: every object and head") && !text.contains("its backlog grows"), "{text}");
    assert_eq!(topic.subscription("backup"), None);
    let text = world.run("scf", &REMOVE).ok();
    assert!(text.contains("there is no function") && text.contains("there is no subscription"), "{text}");
    // The reader that asked may still be going.
    broker.until(|_| topic.subscription("backup").is_none()).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_drain_comes_before_it_and_one_that_fails_keeps_function_and_subscription() {
    let (world, _broker, topic) = world().await;
    let drained = [&REMOVE[..], &["--drain", "--confirm", "backup"]].concat();
    world.replies(&[json!({ "outcome": "failed", "error": { "kind": "denied", "message": "no grant" } })]);
    let text = world.run("scf", &drained).refused();
    assert!(text.contains("they are stored first") && text.contains("nothing was removed"), "{text}");
    assert_eq!(world.changes(), ["UpdateTriggerStatus", "InvokeFunction", "UpdateTriggerStatus"]);
    assert_eq!(topic.subscription("backup").unwrap().backlog, 3);
    let text = world.run("scf", &drained).ok();
    assert_eq!(world.changes(), ["UpdateTriggerStatus", "InvokeFunction", "DeleteTrigger", "DeleteFunction"]);
    assert!(text.contains("gone: subscription"), "{text}");
    assert_eq!(topic.subscription("backup"), None);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_subscription_that_is_held_or_read_by_another_function_or_out_of_reach_keeps_everything() {
    let (mut world, broker, topic) = world().await;
    let confirmed = [&REMOVE[..], &["--confirm", "backup"]].concat();
    let rule =
        tdmq_backup::Rule::load(Some(&world.path("rule.toml")), [("TDMQ_BACKUP_TOKEN".to_owned(), TOKEN.to_owned())]);
    let (rule, clock) = (rule.unwrap(), tdmq_backup::Clock::system());
    let cluster = tdmq_backup::pulsar::Cluster::new(&rule, clock.now() + std::time::Duration::from_secs(60));
    let earliest = tdmq_backup::pulsar::Initial::Earliest;
    let run = cluster.attach(&rule.topic, "backup", earliest).await.unwrap();
    let tried = [&REMOVE[..], &["--dry-run"]].concat();
    for arguments in [&confirmed, &tried] {
        assert!(world.run("scf", arguments).refused().contains("a run is under way"), "{arguments:?}");
    }
    drop(run);
    broker.until(|broker| broker.connections() == 0).await;

    world.rule(&at(&broker, &RULE.replace("orders-backup", "another")));
    for arguments in [&confirmed, &tried] {
        let text = world.run("scf", arguments).refused();
        assert!(text.contains("\"orders-backup\" reads the same subscription; nothing was removed"), "{text}");
    }
    world.rule(&at(&broker, RULE));

    world.env.retain(|(name, _)| name != "TDMQ_BACKUP_TOKEN");
    for arguments in [&confirmed, &tried] {
        let text = world.run("scf", arguments).refused();
        assert!(text.contains("the role's key in TDMQ_BACKUP_TOKEN"), "{text}");
    }
    // Only that nobody is reached from here is no reason not to show the calls.
    world.rule(&RULE.replace("http://pulsar-abc.tdmq.ap-gz.qcloud.tencenttdmq.com:8080", "pulsar://127.0.0.1:1"));
    assert!(world.run("scf", &confirmed).refused().contains("the broker was not asked what is owed"));
    let text = world.run("scf", &tried).ok();
    assert!(
        text.contains("warning: the broker was not asked what is owed") && text.contains("# UNSUBSCRIBE"),
        "{text}"
    );
    assert_eq!(world.checked(&text), 4, "{text}");
    assert_eq!((world.changes(), topic.subscription("backup").unwrap().backlog), (vec![], 3));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_rule_that_was_edited_and_not_deployed_removes_nothing_that_its_function_does_not_read() {
    let (world, broker, topic) = world().await;
    topic.subscribe_at_earliest("billing");
    world.rule(&at(&broker, &RULE.replace("\"backup\"", "\"billing\"")));
    for arguments in [&["--confirm", "billing"][..], &["--drain", "--confirm", "billing"], &["--dry-run"]] {
        let text = world.run("scf", &[&REMOVE, arguments].concat()).refused();
        assert!(text.contains("reads subscription \"backup\"") && text.contains("nothing was done"), "{text}");
    }
    assert_eq!(world.changes(), [""; 0]);
    assert!(topic.subscription("billing").is_some() && topic.subscription("backup").is_some());
}

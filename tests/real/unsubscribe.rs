//! A subscription that is removed through the protocol is gone at the broker, and nothing else is.

use tdmq_backup::pulsar::{Cluster, Initial};
use tdmq_backup::run::subscription::{Owed, owed, unsubscribe};
use tdmq_backup::source::Source;
use tdmq_backup::{Clock, Rule};

use crate::broker::administer;
use crate::harness::{Stage, component, entry_of};

/// With the role's own token, which may consume and nothing else.
fn rule(stage: &Stage) -> Rule {
    let variables = stage.variables().iter().map(|(name, value)| ((*name).to_owned(), value.clone()));
    Rule::load(Some(&stage.rule_file()), variables).unwrap()
}

#[tokio::test]
async fn a_removed_subscription_is_gone_on_every_partition_and_what_it_owed_was_counted() {
    for partitions in [None, Some(3)] {
        let stage = Stage::new("unsubscribe");
        if let Some(count) = partitions {
            let path = format!("/admin/v2/{}/partitions", stage.topic.replace("://", "/"));
            let (http, token) = (component("REAL_BROKER_HTTP"), component("REAL_ADMIN_TOKEN"));
            assert!((200..300).contains(&administer(&http, &token, "PUT", &path, &count.to_string())));
        }
        let send = || stage.produce("python", "bulk", &["--count", "6", "--size", "25000"]).remove(0);
        send();
        let (rule, clock) = (rule(&stage), Clock::system());
        let soon = || clock.now() + std::time::Duration::from_secs(60);
        if partitions.is_none() {
            // As long as somebody else owes it, the broker keeps what the removed subscription owed.
            let cluster = Cluster::new(&rule, soon());
            let other = cluster.attach(&rule.topic, "other", Initial::Earliest).await.unwrap();
            other.close().await;
        }
        assert_eq!(stage.invoke().outcome(), "stored");
        let exists = partitions.map_or(1, |count| count as usize);
        assert_eq!(owed(&rule, soon()).await.unwrap(), Owed { partitions: exists, entries: Some(0) });
        let last = send();
        let files = stage.files();
        let six = Owed { partitions: exists, entries: Some(6) };
        assert_eq!(owed(&rule, soon()).await.unwrap(), six);
        assert_eq!(owed(&rule, soon()).await.unwrap(), six, "a look leaves everything as it was");
        assert_eq!(unsubscribe(&rule, soon()).await.unwrap(), six);
        assert_eq!(owed(&rule, soon()).await.unwrap(), Owed::NONE);
        assert_eq!(unsubscribe(&rule, soon()).await.unwrap(), Owed::NONE);
        assert_eq!(stage.files(), files);
        if partitions.is_none() {
            assert_eq!(stage.standing().mark_delete, None, "the broker's own statistics know none");
            // A rule that begins again stores what was given up, and nothing twice.
            let run = stage.invoke();
            assert_eq!((run.outcome(), run.report["messages"].as_u64()), ("stored", Some(6)), "{run:?}");
            let objects = stage.objects();
            let mut ids: Vec<_> =
                objects.iter().flat_map(|object| &object.records).map(|one| entry_of(&one["id"])).collect();
            assert_eq!((objects.len(), ids.len(), run.report["backlog_entries"].as_u64()), (2, 12, Some(0)), "{run:?}");
            ids.sort_unstable();
            ids.dedup();
            assert_eq!(ids.len(), 12, "{ids:?}");
            stage.is_at_rest(&last["last"]);
        }
    }
}

//! A subscription that is removed through the protocol is gone at the broker, and nothing else is.

use tdmq_backup::run::subscription::{Owed, owed, unsubscribe};
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
        assert_eq!(stage.invoke().outcome(), "stored");
        let (rule, clock) = (rule(&stage), Clock::system());
        let soon = || clock.now() + std::time::Duration::from_secs(60);
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
            // What nobody owes any more may be stored again by a rule that begins again, and never twice.
            let report = stage.invoke().report;
            let messages = report["messages"].as_u64().unwrap();
            assert!(messages == 0 || messages == 6, "{report}");
            if messages == 6 {
                stage.is_at_rest(&last["last"]);
                assert!(!entry_of(&last["last"]).is_empty());
            }
        }
    }
}

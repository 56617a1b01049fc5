//! A message that the tool itself sends is one that the Java client reads, and the next run stores.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use tdmq_backup::run::send::{Sent, send};
use tdmq_backup::{Clock, Kind, Rule};

use crate::harness::{Stage, component};

#[tokio::test]
async fn a_message_that_is_sent_is_read_by_another_client_and_stored() {
    let mut stage = Stage::new("send");
    let text = "{\"smoke\": \"é\"}";
    stage.produce("python", "bulk", &["--count", "1", "--size", "10"]);
    for address in ["REAL_BROKER_URL", "REAL_BROKER_HTTP"] {
        stage.text("service_url", &component(address));
        let rule = |token: &str| {
            let variables = stage.variables().iter().map(|(name, value)| ((*name).to_owned(), value.clone()));
            let token = [("TDMQ_BACKUP_TOKEN".to_owned(), component(token))];
            Rule::load(Some(&stage.rule_file()), variables.filter(|(name, _)| name != "TDMQ_BACKUP_TOKEN").chain(token))
                .unwrap()
        };
        let clock = Clock::system();
        let soon = clock.now() + std::time::Duration::from_secs(60);
        // A role that may consume and nothing else.
        let error = send(&rule("REAL_BACKUP_TOKEN"), text.as_bytes(), clock.now_ms(), soon).await.unwrap_err();
        assert_eq!(error.kind(), Kind::Denied, "{}", error.chain());
        let published = clock.now_ms();
        let sent = send(&rule("REAL_ADMIN_TOKEN"), text.as_bytes(), published, soon).await.unwrap();
        let Sent { partition: -1, position } = sent else { panic!("{sent:?}") };
        let seen = stage.dump().pop().unwrap();
        assert_eq!(seen["payload_base64"], STANDARD.encode(text), "{seen}");
        assert_eq!(seen["publish_time"], published);
        let run = stage.invoke();
        assert_eq!(run.outcome(), "stored");
        assert_eq!(run.report["objects"][0]["last_id"], position.to_string(), "{run:?}");
    }
}

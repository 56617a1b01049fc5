//! The test on a live account, here on the embedded broker and bucket and the fake of the cloud.

use serde_json::{Value, json};
use tdmq_backup::run::Function;
use tdmq_backup::testing::Bucket;
use tdmq_backup::testing::broker::{Act, Broker, CommandType, Config, ServerError, When};
use tdmq_backup::testing::bucket::{Fault, Op};
use tdmq_backup::testing::compose::{Composer, Draft};
use tdmq_backup::{Clock, Rule};

use crate::scf::{RULE, on_bucket};
use crate::world::{Run, TOKEN, World};

const SMOKE: [&str; 3] = ["smoke", "--region", "ap-guangzhou"];

const ADDRESS: &str = "http://pulsar-abc.tdmq.ap-gz.qcloud.tencenttdmq.com:8080";

async fn broker() -> Broker {
    Broker::start(Config { token: Some(TOKEN.into()), ..Config::default() }).await
}

async fn world() -> (World, Broker, Bucket) {
    let broker = broker().await;
    let bucket = Bucket::start().await.unwrap();
    let mut world = World::start();
    let (id, secret) = bucket.key_pair();
    for (name, value) in [("AWS_ACCESS_KEY_ID", id), ("AWS_SECRET_ACCESS_KEY", secret), ("TDMQ_BACKUP_TOKEN", TOKEN)] {
        world.env.push((name.into(), value.into()));
    }
    let rule = on_bucket(RULE, &bucket).replace(ADDRESS, &broker.url());
    world.rule(&rule.replace("prefix  ", "storage_class = \"STANDARD_IA\"\nprefix"));
    (world, broker, bucket)
}

/// What a real run of the rule answers.
async fn report(world: &World) -> Value {
    let variables = world.env.clone();
    let rule = Rule::load(Some(&world.path("rule.toml")), variables.clone()).unwrap();
    let clock = Clock::system();
    let of = |name: &str| variables.iter().find(|(known, _)| known == name).map(|(_, value)| value.clone());
    let function = Function::new(rule, of, clock).unwrap();
    serde_json::to_value(function.invoke(None, &clock, &mut |_| {}).await).unwrap()
}

/// The verdict of the line that begins with these words.
fn verdict(text: &str, what: &str) -> String {
    let line = text.lines().find(|line| line.get(10..).is_some_and(|rest| rest.starts_with(what)));
    line.unwrap_or_else(|| panic!("no {what:?} in {text}"))[..8].trim().to_owned()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn each_fact_has_a_verdict_and_nothing_but_the_message_is_left_in_the_bucket() {
    let (world, broker, bucket) = world().await;
    assert!(world.run("scf", &SMOKE).refused().contains("make deploy first"));
    assert_eq!(bucket.requests(), []);
    world.run("scf", &["deploy", "--region", "ap-guangzhou"]).ok();
    let topic = broker.topic("persistent://pulsar-abc/prod/orders");
    topic.append(Composer::new("producer-1").single(Draft::new("{\"n\":1}")));
    world.replies(&[report(&world).await]);
    let stored = bucket.keys();
    world.calls();
    let text = world.run("scf", &SMOKE).ok();
    assert_eq!(world.changes(), ["InvokeFunction"]);
    for what in [
        "store: If-None-Match",
        "store: If-Match",
        "store: a body",
        "store: x-amz-meta",
        "store: the storage class",
        "TDMQ: the broker answers",
        "TDMQ: the broker says",
        "TDMQ: an address of the form pulsar://",
        "a message that was sent is a file under the delivery path: tdmq/pulsar-abc/prod/orders/partition=-1/",
    ] {
        assert_eq!(verdict(&text, what), "true", "{what}: {text}");
    }
    for what in ["SCF: an instance that goes on", "SCF: an instance is frozen", "SCF: the zone"] {
        assert_eq!(verdict(&text, what), "not seen", "{text}");
    }
    assert_eq!(bucket.keys(), stored);
    assert!(stored.iter().any(|key| key.ends_with(".jsonl.gz")));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_not_so_is_false_and_what_did_not_show_is_not_seen() {
    let (world, _broker, bucket) = world().await;
    world.run("scf", &["deploy", "--region", "ap-guangzhou"]).ok();
    let smoke = |report: Value| -> Run {
        world.replies(&[report]);
        world.run("scf", &SMOKE)
    };
    let object = json!({ "key": "tdmq/not/there.jsonl.gz", "acknowledged": false });
    bucket.fail_next(Op::Put, Fault::Refuse(501, "NotImplemented"));
    let run = smoke(json!({ "outcome": "stored", "objects": [object] }));
    assert_eq!(run.code(), 1);
    let text = run.text();
    for what in ["store: If-None-Match", "TDMQ: the broker answers", "a message that was sent"] {
        assert_eq!(verdict(&text, what), "false", "{what}: {text}");
    }
    for what in ["store: If-Match", "TDMQ: the broker says"] {
        assert_eq!(verdict(&text, what), "not seen", "{what}: {text}");
    }
    let text = smoke(json!({ "outcome": "busy", "objects": [] })).ok();
    for what in ["TDMQ: the broker answers", "TDMQ: an address", "a message that was sent"] {
        assert_eq!(verdict(&text, what), "not seen", "{what}: {text}");
    }
    let run = smoke(json!({ "outcome": "failed", "error": { "kind": "denied", "message": "no grant" } }));
    assert_eq!(verdict(&run.text(), "a run of the deployed function succeeds: no grant"), "false");
    assert_eq!(bucket.keys(), [""; 0]);
    world.refuses(&["InvokeFunction"]);
    let text = world.run("scf", &SMOKE).refused();
    assert_eq!(
        verdict(&text, "a run of the deployed function succeeds: tccli scf InvokeFunction was refused"),
        "false"
    );
    // A probe that cannot be removed is named.
    bucket.fail_next(Op::Delete, Fault::Refuse(403, "AccessDenied"));
    let text = smoke(json!({ "outcome": "nothing_to_do", "objects": [], "complete_through": 1 })).ok();
    assert!(text.contains("warning: remove tdmq/_smoke/"), "{text}");
    assert_eq!(bucket.keys().len(), 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_message_that_is_sent_is_the_one_whose_file_is_looked_for() {
    let (world, first, bucket) = world().await;
    world.run("scf", &["deploy", "--region", "ap-guangzhou"]).ok();
    let name = "persistent://pulsar-abc/prod/orders";
    first.topic(name).append(Composer::new("producer-1").single(Draft::new("{\"n\":1}")));
    let report = report(&world).await;
    // On another broker like it, the message that is sent lies where the one lay that the report has stored.
    let second = broker().await;
    let topic = second.topic(name);
    world.rule(&on_bucket(RULE, &bucket).replace(ADDRESS, &second.http_url()));
    let smoke = |replies: &[Value]| -> String {
        world.replies(replies);
        world.run("scf", &[&SMOKE[..], &["--send", "{\"n\":2}"]].concat()).text()
    };
    let what = "a message that was sent is a file under the delivery path";
    let (receipt, place) = ("TDMQ: a message that is sent has a receipt", topic.entries().len());
    let text = smoke(std::slice::from_ref(&report));
    let sent = topic.entries().remove(place);
    assert_eq!((&sent.payload[..], verdict(&text, receipt).as_str()), (&b"{\"n\":2}"[..], "true"), "{text}");
    assert_eq!(report["objects"][0]["first_id"], sent.position.to_string());
    assert_eq!(verdict(&text, what), "true", "{text}");
    // Another message, and the same object: the run has not come to it.
    let text = smoke(std::slice::from_ref(&report));
    assert_eq!((topic.entries().len(), verdict(&text, what).as_str()), (2, "not seen"), "{text}");
    assert!(text.contains("not come to the message yet"), "{text}");
    // One that may not be sent: whatever the run has stored, it is not that.
    second.script(When::next(CommandType::Producer), Act::Error(ServerError::AuthorizationError, "no".into()));
    world.replies(std::slice::from_ref(&report));
    let run = world.run("scf", &[&SMOKE[..], &["--send", "x"]].concat());
    assert_eq!((run.code(), verdict(&run.text(), what).as_str()), (1, "not seen"), "{}", run.text());
    assert!(run.text().contains("`produce`, to send"), "{}", run.text());
    let too_long = "x".repeat(65_537);
    assert!(world.run("scf", &[&SMOKE[..], &["--send", &too_long]].concat()).refused().contains("64 KB"));
    // The function reads what it was deployed with: nothing is sent elsewhere.
    world.rule(&on_bucket(RULE, &bucket).replace(ADDRESS, &second.http_url()).replace("prod/orders", "prod/others"));
    assert!(world.run("scf", &[&SMOKE[..], &["--send", "x"]].concat()).refused().contains("make deploy first"));
    assert_eq!((topic.entries().len(), second.has_topic("persistent://pulsar-abc/prod/others")), (2, false));
}

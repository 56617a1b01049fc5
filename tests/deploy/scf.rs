//! On SCF.

use serde_json::json;
use tdmq_backup::testing::bucket::Bucket;

use crate::world::{TOKEN, World};

pub const RULE: &str = r#"
name         = "orders-backup"
service_url  = "http://pulsar-abc.tdmq.ap-gz.qcloud.tencenttdmq.com:8080"
topic        = "persistent://pulsar-abc/prod/orders"
subscription = "backup"
bucket       = "orders-1250000000"
region       = "ap-guangzhou"
prefix       = "tdmq/"
interval     = "5m"

[deploy]
vpc            = "vpc-abc"
subnet         = "subnet-abc"
execution_role = "tdmq-backup"
log_topic      = "set-1/topic-1"
"#;

pub fn world() -> World {
    let mut world = World::start();
    world.env.push(("TDMQ_BACKUP_TOKEN".into(), TOKEN.into()));
    world.rule(RULE);
    world
}

#[test]
fn a_rule_is_deployed_edited_listed_watched_and_removed() {
    let world = world();
    let text = world.run("scf", &["deploy"]).ok();
    assert!(text.contains("orders-backup: new on scf in ap-guangzhou"), "{text}");
    let log = std::fs::read_to_string(world.path(".tccli/log/tccli.log")).unwrap();
    assert!(log.contains("scf CreateFunction") && !log.contains("MARKER"), "{log}");
    let calls = world.calls();
    let made = calls.iter().find(|(action, _)| action == "CreateFunction").unwrap().1.clone();
    assert_eq!((made["Timeout"].as_u64(), made["MemorySize"].as_u64()), (Some(285), Some(512)));
    assert_eq!(made["VpcConfig"], json!({ "VpcId": "vpc-abc", "SubnetId": "subnet-abc" }));
    let variables = made["Environment"]["Variables"].as_array().unwrap();
    assert!(variables.contains(&json!({ "Key": "TDMQ_BACKUP_TOKEN", "Value": TOKEN })));
    let once = &calls.iter().find(|(action, _)| action == "UpdateFunctionEventInvokeConfig").unwrap().1;
    assert_eq!(once["AsyncTriggerConfig"], json!({ "MsgTTL": 285, "RetryConfig": [{ "RetryNum": 0 }] }));
    let trigger = &calls.iter().find(|(action, _)| action == "CreateTrigger").unwrap().1;
    assert_eq!(trigger["TriggerDesc"], "0 */5 * * * * *");

    world.rule(&RULE.replace("\"5m\"", "\"7m\"").replace("[deploy]", "[deploy]\nmemory = 1024"));
    let text = world.run("scf", &["deploy"]).ok();
    for line in [
        "interval: 5m -> 7m",
        "memory: 512 -> 1024",
        "timeout: 285 -> 225",
        "schedule: 0 */5 * * * * * -> 0 */7 * * * * *",
    ] {
        assert!(text.contains(line), "{line} in {text}");
    }
    assert!(text.contains("00, 07, 14, 21, 28, 35, 42, 49, 56 of each hour, the last 4 minutes before"), "{text}");
    let changes = world.changes();
    let expected =
        ["UpdateFunctionCode", "UpdateFunctionConfiguration", "UpdateFunctionEventInvokeConfig", "UpdateTrigger"];
    assert_eq!(changes, expected);

    world.replies(&[json!({ "outcome": "stored", "messages": 7, "objects": [{}], "backlog_entries": 3, "complete_through": 1_700_000_000_000u64 })]);
    let text = world.run("scf", &["invoke"]).ok();
    assert!(text.contains("\"messages\":7"), "{text}");
    let text = world.run("scf", &["status"]).ok();
    for word in ["orders-backup", "Active", "7m", "stored", "2023-11-14T22:13:20Z", "3"] {
        assert!(text.lines().nth(1).unwrap().contains(word), "{word} in {text}");
    }
    let text = world.run("scf", &["logs"]).ok();
    assert!(
        text.contains("stored         7 messages in 1 objects  backlog 3  complete through 2023-11-14T22:13:20Z"),
        "{text}"
    );
    world.calls();

    let text = world.run("scf", &["delete"]).ok();
    assert_eq!(world.changes(), ["DeleteTrigger", "DeleteFunction"]);
    assert!(text.contains("stays: every object and head below orders-1250000000/tdmq/"), "{text}");
    assert!(text.contains("its backlog grows"), "{text}");
    assert!(world.run("scf", &["status"]).ok().contains("no function"));
    assert!(world.run("scf", &["delete"]).ok().contains("there is no function"));
}

#[test]
fn a_drain_runs_until_nothing_is_left_and_a_run_that_fails_keeps_the_function() {
    let world = world();
    world.run("scf", &["deploy"]).ok();
    world.calls();
    let stored = |left: u64| json!({ "outcome": "stored", "messages": 5, "objects": [], "backlog_entries": left });
    world.replies(&[stored(9), json!({ "outcome": "failed", "error": { "kind": "denied", "message": "no grant" } })]);
    let text = world.run("scf", &["delete", "--drain"]).refused();
    assert!(text.contains("nothing was removed") && text.contains("no grant"), "{text}");
    let changes = world.changes();
    assert_eq!(changes, ["UpdateTriggerStatus", "InvokeFunction", "InvokeFunction", "UpdateTriggerStatus"]);

    // What the broker keeps back is not asked for without end.
    let idle = json!({ "outcome": "nothing_to_do", "messages": 0, "objects": [], "backlog_entries": 2 });
    world.replies(&[stored(9), idle.clone(), idle.clone(), idle.clone(), idle]);
    assert!(world.run("scf", &["delete", "--drain"]).refused().contains("does not deliver what is left"));
    assert_eq!(world.changes().len(), 6);

    world.replies(&[stored(9), stored(4), stored(0)]);
    world.run("scf", &["delete", "--drain"]).ok();
    let changes = world.changes();
    let run = "InvokeFunction";
    assert_eq!(changes, ["UpdateTriggerStatus", run, run, run, "DeleteTrigger", "DeleteFunction"]);
}

#[test]
fn a_changed_name_is_refused_and_so_is_a_function_that_somebody_else_made() {
    let world = world();
    world.run("scf", &["deploy"]).ok();
    world.calls();
    world.rule(&RULE.replace("orders-backup", "orders-backup-2"));
    let text = world.run("scf", &["deploy"]).refused();
    assert!(text.contains("a name cannot be changed after creation") && text.contains("\"orders-backup\""), "{text}");
    assert_eq!(world.changes(), [""; 0]);
    // Another shard of the same subscription is another rule.
    world.rule(&RULE.replace("orders-backup", "orders-2").replace("prefix", "shard = \"2/2\"\nprefix"));
    world.run("scf", &["deploy"]).ok();

    let other = World::start();
    other.rule(RULE);
    let foreign =
        json!({ "FunctionName": "orders-backup", "Code": { "CosBucketName": "b", "CosObjectName": "/x.zip" } });
    other.call_scf("CreateFunction", &foreign);
    other.calls();
    for arguments in [&["deploy"][..], &["delete"]] {
        let text = other.run("scf", arguments).refused();
        assert!(text.contains("was not made by tdmq-backup"), "{text}");
    }
    assert_eq!(other.changes(), [""; 0]);
}

#[test]
fn an_edit_without_the_token_does_not_take_it_from_the_function() {
    let mut world = world();
    assert!(world.run("scf", &["deploy"]).ok().contains("token: none -> in the environment"));
    world.changes();
    let token = world.env.pop();
    let text = world.run("scf", &["deploy"]).refused();
    assert!(text.contains("token: \"orders-backup\" has one"), "{text}");
    assert_eq!(world.changes(), [""; 0]);
    world.env.extend(token);
    assert!(!world.run("scf", &["deploy"]).ok().contains("token:"));
}

#[test]
fn what_is_wrong_is_said_at_once_before_anything_is_called() {
    let world = World::start();
    let rule = RULE.replace("\"5m\"", "\"301s\"").replace("execution_role", "# ").replace("set-1/topic-1", "topic-1");
    world.rule(
        &rule.replace("ap-guangzhou", "ap-shanghai").replace("orders-backup", "o").replace("vpc  ", "security_group "),
    );
    std::fs::remove_file(world.path("package.zip")).unwrap();
    let text = world.run("scf", &["deploy"]).refused();
    for problem in [
        "interval: timers tick in whole minutes",
        "deploy.execution_role: is missing",
        "name/cos:PutObject",
        "qcs::cos:ap-shanghai:uid/1250000000:orders-1250000000/tdmq/*",
        "deploy.log_topic: SCF needs the log set too",
        "service_url: the cluster is in ap-guangzhou and the bucket",
        "name: SCF takes 2 to 60",
        "deploy.vpc, deploy.subnet: SCF needs both",
        "deploy.security_group: SCF functions have none",
        "package.zip cannot be read",
    ] {
        assert!(text.contains(problem), "{problem} in {text}");
    }
    assert_eq!(world.calls(), []);
}

#[test]
fn every_printed_call_is_one_of_the_services_definitions_and_nothing_is_called() {
    let world = world();
    let text = world.run("scf", &["deploy", "--dry-run"]).ok();
    assert_eq!(world.checked(&text), 5, "{text}");
    assert_eq!(world.changes(), [""; 0]);
    assert!(text.contains(r#"{"Key":"TDMQ_BACKUP_TOKEN","Value":"***"}"#), "{text}");
    world.run("scf", &["deploy"]).ok();
    world.changes();
    world.rule(&RULE.replace("\"tdmq/\"", "\"other/\""));
    let text = world.run("scf", &["deploy", "--dry-run"]).ok();
    assert_eq!(world.checked(&text), 9, "{text}");
    let text = world.run("scf", &["delete", "--dry-run", "--drain"]).ok();
    assert_eq!(world.checked(&text), 5, "{text}");
    assert_eq!(world.changes(), [""; 0]);
}

/// What one run leaves.
pub fn head(subscription: &str) -> Vec<u8> {
    let head = json!({ "topic": "persistent://pulsar-abc/prod/orders", "subscription": subscription, "partition": -1, "done": { "seq": 4 } });
    serde_json::to_vec(&head).unwrap()
}

/// The rule on the embedded bucket.
pub fn on_bucket(rule: &str, bucket: &Bucket) -> String {
    let rule = rule.replace("\"orders-1250000000\"", &format!("{:?}", bucket.name()));
    let rule = rule.replace("prefix  ", &format!("endpoint = {:?}\naddressing = \"path\"\nprefix", bucket.endpoint()));
    rule.replace("\"ap-guangzhou\"", &format!("{:?}", bucket.region()))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_edited_prefix_carries_the_heads_along_after_a_last_run_and_with_the_timer_off() {
    let bucket = Bucket::start().await.unwrap();
    let mut world = world();
    let (id, secret) = bucket.key_pair();
    for (name, value) in [("AWS_ACCESS_KEY_ID", id), ("AWS_SECRET_ACCESS_KEY", secret)] {
        world.env.push((name.into(), value.into()));
    }
    let rule = on_bucket(RULE, &bucket).replace("ap-gz.qcloud", "ap-xx.qcloud");
    world.rule(&rule);
    let deploy = ["deploy", "--region", "ap-guangzhou"];
    world.run("scf", &deploy).ok();
    world.calls();
    bucket.plant("tdmq/pulsar-abc/prod/orders/partition=-1/_head.json", &head("backup"), &[]).unwrap();

    world.rule(&rule.replace("\"tdmq/\"", "\"new/\""));
    world.replies(&[json!({ "outcome": "busy" })]);
    let text = world.run("scf", &deploy).refused();
    assert!(
        text.contains("last run ended as busy; nothing was changed") && text.contains("the timer is on again"),
        "{text}"
    );
    assert_eq!(world.changes(), ["UpdateTriggerStatus", "InvokeFunction", "UpdateTriggerStatus"]);
    assert_eq!(bucket.keys(), ["tdmq/pulsar-abc/prod/orders/partition=-1/_head.json"]);

    // Of a topic with partitions the last run says of each that nobody was at it, and not that nobody is.
    world.timeout("orders-backup", 2);
    let partitions =
        |outcome| json!({ "outcome": "stored", "partitions": [{ "outcome": outcome }, { "outcome": "stored" }] });
    world.replies(&[partitions("nothing_to_do"), partitions("busy")]);
    let text = world.run("scf", &deploy).refused();
    assert!(text.find("timer: goes off") < text.find("waiting 2 s"), "{text}");
    assert!(text.contains("waiting 2 s") && text.contains("last run ended as busy; nothing was changed"), "{text}");
    assert_eq!(world.changes(), ["UpdateTriggerStatus", "InvokeFunction", "InvokeFunction", "UpdateTriggerStatus"]);
    assert_eq!(bucket.keys().len(), 1);

    let text = world.run("scf", &deploy).ok();
    assert!(text.contains("prefix: tdmq/ -> new/") && text.contains("1 heads copied"), "{text}");
    let changes = world.changes();
    assert_eq!(changes[..3], ["UpdateTriggerStatus", "InvokeFunction", "UpdateFunctionCode"]);
    assert_eq!(changes.last().unwrap(), "UpdateTrigger");
    assert_eq!(bucket.read("new/pulsar-abc/prod/orders/partition=-1/_head.json").unwrap(), head("backup"));
    assert_eq!(bucket.keys().len(), 2);
}

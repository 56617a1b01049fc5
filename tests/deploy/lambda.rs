//! On Lambda.

use serde_json::{Value, json};
use tdmq_backup::testing::bucket::Bucket;

use crate::scf::{head, on_bucket};
use crate::world::{TOKEN, World};

pub const RULE: &str = r#"
name         = "orders_backup"
service_url  = "pulsar+ssl://pulsar.example.com:6651"
topic        = "persistent://pulsar-abc/prod/orders"
subscription = "backup"
bucket       = "orders"
region       = "eu-west-1"
prefix       = "tdmq/"
endpoint     = "https://s3.eu-west-1.amazonaws.com"
interval     = "7m"

[deploy]
subnet         = "subnet-1,subnet-2"
security_group = "sg-1"
token_secret   = "tdmq-backup/orders"
"#;

pub fn world() -> World {
    let world = World::start();
    world.rule(RULE);
    world
}

fn parameters(call: &Value) -> Vec<(String, String)> {
    let pairs = call["Parameters"].as_array().unwrap().iter();
    pairs
        .map(|pair| (pair["ParameterKey"].as_str().unwrap().into(), pair["ParameterValue"].as_str().unwrap().into()))
        .collect()
}

#[test]
fn a_rule_is_deployed_edited_listed_watched_and_removed() {
    let world = world();
    let text =
        world.run("lambda", &["deploy", "--set", "AlarmTopicArn=arn:aws:sns:eu-west-1:123456789012:alarms"]).ok();
    assert!(text.contains("orders_backup: new on lambda in eu-west-1") && text.contains("Add Function"), "{text}");
    let calls = world.calls();
    let set = calls.iter().find(|(action, _)| action == "CreateChangeSet").unwrap().1.clone();
    assert_eq!((&set["StackName"], &set["ChangeSetType"]), (&json!("orders-backup"), &json!("CREATE")));
    let given = parameters(&set);
    for (key, value) in [
        ("Name", "orders_backup"),
        ("IntervalMinutes", "7"),
        ("SubnetIds", "subnet-1,subnet-2"),
        ("TokenSecret", "tdmq-backup/orders"),
        ("CodeBucket", "orders"),
    ] {
        assert!(given.contains(&(key.into(), value.into())), "{key} in {given:?}");
    }

    world.package("second");
    world.rule(&RULE.replace("\"7m\"", "\"10m\""));
    let text = world.run("lambda", &["deploy"]).ok();
    assert!(text.contains("interval: 7 -> 10") && !text.contains("AlarmTopicArn:"), "{text}");
    let calls = world.calls();
    let set = &calls.iter().find(|(action, _)| action == "CreateChangeSet").unwrap().1;
    assert_eq!(set["ChangeSetType"], "UPDATE");
    assert!(parameters(set).iter().any(|(key, value)| key == "AlarmTopicArn" && value.ends_with(":alarms")));
    let text = world.run("lambda", &["deploy"]).ok();
    assert!(text.contains("nothing to change"), "{text}");
    assert_eq!(world.changes(), ["PutObject", "CreateChangeSet", "DeleteChangeSet"]);

    world.replies(&[
        json!({ "outcome": "stored", "messages": 7, "objects": [{}], "backlog_entries": 3, "complete_through": 1_700_000_000_000u64 }),
        json!({ "outcome": "failed", "error": { "kind": "denied", "message": "no grant" } }),
    ]);
    assert!(world.run("lambda", &["invoke"]).ok().contains("\"messages\":7"));
    assert!(world.run("lambda", &["invoke"]).refused().contains("denied: no grant"));
    world.replies(&[json!({ "outcome": "failed", "error": { "kind": "invalid", "message": "no topic" } })]);
    assert_eq!(world.run("lambda", &["invoke"]).code(), 2);
    let text = world.run("lambda", &["status"]).ok();
    for word in ["orders_backup", "UPDATE_COMPLETE", "10m", "failed"] {
        assert!(text.lines().nth(1).unwrap().contains(word), "{word} in {text}");
    }
    let text = world.run("lambda", &["logs"]).ok();
    assert!(
        text.contains("stored         7 messages in 1 objects  backlog 3  complete through 2023-11-14T22:13:20Z"),
        "{text}"
    );
    assert!(text.contains("error no grant"), "{text}");
    assert_eq!(world.run("lambda", &["logs", "--json"]).ok().lines().count(), 3);
    world.calls();

    let text = world.run("lambda", &["delete", "--drain"]).ok();
    assert_eq!(world.changes(), ["UpdateSchedule", "Invoke", "DeleteStack"]);
    assert!(text.contains("stays: every object") && text.contains("its backlog grows"), "{text}");
    assert!(world.run("lambda", &["status"]).ok().contains("no function"));
}

#[test]
fn what_is_wrong_is_said_at_once_before_anything_is_called() {
    let mut world = World::start();
    world.env.push(("TDMQ_BACKUP_TOKEN".into(), TOKEN.into()));
    world.env.push(("TENCENTCLOUD_SECRETID".into(), String::new()));
    let rule =
        RULE.replace("token_secret", "log_topic").replace("security_group = \"sg-1\"", "execution_role = \"backup\"");
    let rule = rule.replace("endpoint", "# ").replace("\"orders\"", "\"orders-1250000000\"");
    world
        .rule(&rule.replace("pulsar+ssl://pulsar.example.com:6651", "http://p.tdmq.ap-gz.qcloud.tencenttdmq.com:8080"));
    let text = world.run("lambda", &["deploy"]).refused();
    for problem in [
        "deploy.token_secret: is missing: on Lambda the token comes from Secrets Manager",
        "deploy.log_topic: on Lambda",
        "deploy.execution_role: Lambda needs the role's ARN",
        "deploy.subnet, deploy.security_group: Lambda needs both",
        "endpoint: the store is COS and the function runs on Lambda, whose role does not open it",
        "CODE_BUCKET:",
        "is an address inside of Tencent Cloud",
    ] {
        assert!(text.contains(problem), "{problem} in {text}");
    }
    assert_eq!(world.calls(), []);
}

#[test]
fn keys_of_the_other_clouds_store_go_up_and_are_shown_nowhere() {
    let mut world = world();
    let rule = RULE
        .replace("endpoint", "# ")
        .replace("\"orders\"", "\"orders-1250000000\"")
        .replace("\"eu-west-1\"", "\"ap-guangzhou\"");
    world.rule(&rule);
    let arguments = ["deploy", "--region", "eu-west-1", "--code-bucket", "code"];
    let text = world.run("lambda", &[&arguments[..], &["--dry-run"]].concat()).ok();
    assert!(text.contains(r#"{"ParameterKey":"StoreKeySecret","ParameterValue":"***"}"#), "{text}");
    world.checked(&text);
    world.run("lambda", &arguments).ok();
    let calls = world.calls();
    let set = &calls.iter().find(|(action, _)| action == "CreateChangeSet").unwrap().1;
    assert!(parameters(set).contains(&("StoreKeySecret".into(), "MARKER-SECRET".into())));
    // Those of a session would end in the function.
    world.env.push(("TENCENTCLOUD_SESSIONTOKEN".into(), "MARKER-SESSION".into()));
    assert!(world.run("lambda", &arguments).refused().contains("and no session token"));
}

#[test]
fn a_changed_name_is_refused_and_so_is_the_stack_of_another_rule() {
    let world = world();
    world.run("lambda", &["deploy"]).ok();
    world.calls();
    world.rule(&RULE.replace("orders_backup", "another"));
    assert!(world.run("lambda", &["deploy"]).refused().contains("a name cannot be changed after creation"));
    // The names of stacks have no `_`: these two meet.
    world.rule(&RULE.replace("orders_backup", "orders-backup").replace("\"backup\"", "\"other\""));
    for arguments in [&["deploy"][..], &["delete"]] {
        let text = world.run("lambda", arguments).refused();
        assert!(
            text.contains("\"orders_backup\"") && text.contains("was not made by tdmq-backup for this rule"),
            "{text}"
        );
    }
    assert_eq!(world.changes(), [""; 0]);
}

#[test]
fn what_the_rule_or_the_environment_decides_is_not_set_by_hand() {
    let mut world = world();
    for parameter in ["StoreKeySecret=MARKER-SECRET", "Prefix=other/", "Name=other", "CodeKey=x.zip"] {
        let text = world.run("lambda", &["deploy", "--dry-run", "--set", parameter]).0.stderr;
        assert!(String::from_utf8_lossy(&text).contains("is not set by hand"), "{parameter}");
    }
    // Nor by a variable that the function does not have.
    world.env.push(("TDMQ_BACKUP_PREFIX".into(), "other/".into()));
    let text = world.run("lambda", &["deploy", "--dry-run"]).ok();
    assert!(text.contains("prefix: none -> tdmq/"), "{text}");
}

#[test]
fn a_package_that_holds_another_rule_is_not_deployed() {
    let world = world();
    std::fs::write(world.path("rule.toml"), RULE.replace("\"tdmq/\"", "\"other/\"")).unwrap();
    let text = world.run("lambda", &["deploy"]).refused();
    assert!(text.contains("package.zip holds another rule"), "{text}");
    assert_eq!(world.calls(), []);
}

#[test]
fn an_edit_that_makes_a_function_another_ones_twin_is_refused() {
    let world = world();
    world.run("lambda", &["deploy"]).ok();
    let second = RULE.replace("orders_backup", "second");
    world.rule(&second.replace("\"backup\"", "\"other\""));
    world.run("lambda", &["deploy"]).ok();
    world.changes();
    world.rule(&second);
    let text = world.run("lambda", &["deploy"]).refused();
    assert!(text.contains("are deployed as \"orders_backup\""), "{text}");
    assert_eq!(world.changes(), [""; 0]);
}

#[test]
fn every_printed_call_is_one_of_the_services_definitions_and_nothing_is_called() {
    let world = world();
    let text = world.run("lambda", &["deploy", "--dry-run"]).ok();
    assert_eq!(world.checked(&text), 7, "{text}");
    world.run("lambda", &["deploy"]).ok();
    world.changes();
    world.rule(&RULE.replace("\"tdmq/\"", "\"other/\""));
    let text = world.run("lambda", &["deploy", "--dry-run"]).ok();
    assert_eq!(world.checked(&text), 12, "{text}");
    let text = world.run("lambda", &["delete", "--dry-run", "--drain"]).ok();
    assert_eq!(world.checked(&text), 6, "{text}");
    assert_eq!(world.changes(), [""; 0]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_edited_prefix_carries_the_heads_along_and_the_schedule_is_on_again_after_it() {
    let bucket = Bucket::start().await.unwrap();
    let mut world = world();
    let (id, secret) = bucket.key_pair();
    for (name, value) in [("AWS_ACCESS_KEY_ID", id), ("AWS_SECRET_ACCESS_KEY", secret)] {
        world.env.push((name.into(), value.into()));
    }
    let rule = on_bucket(&RULE.replace("endpoint", "# ").replace("\"orders\"", "\"orders-1250000000\""), &bucket);
    let rule = rule.replace("\"eu-west-1\"", &format!("{:?}", bucket.region()));
    world.rule(&rule);
    let deploy = ["deploy", "--region", "eu-west-1", "--code-bucket", "code"];
    world.run("lambda", &deploy).ok();
    world.calls();
    bucket.plant("tdmq/pulsar-abc/prod/orders/partition=-1/_head.json", &head("backup"), &[]).unwrap();
    world.rule(&rule.replace("\"tdmq/\"", "\"new/\""));
    world.run("lambda", &deploy).ok();
    assert_eq!(
        world.changes(),
        ["PutObject", "CreateChangeSet", "UpdateSchedule", "Invoke", "ExecuteChangeSet", "UpdateSchedule"]
    );
    assert_eq!(bucket.read("new/pulsar-abc/prod/orders/partition=-1/_head.json").unwrap(), head("backup"));

    // A deployment that was cut off left the schedule off: status shows it, and the next one switches it on.
    world.schedule_off("orders_backup");
    assert!(world.run("lambda", &["status", "--region", "eu-west-1"]).ok().contains("7m, off"));
    let text = world.run("lambda", &deploy).ok();
    assert!(text.contains("nothing to change"), "{text}");
    assert_eq!(
        world.changes(),
        ["UpdateSchedule", "PutObject", "CreateChangeSet", "DeleteChangeSet", "UpdateSchedule"]
    );
    assert!(!world.run("lambda", &["status", "--region", "eu-west-1"]).ok().contains("off"));
}

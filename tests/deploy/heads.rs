//! Status where no run has left a log.

use serde_json::{Value, json};
use tdmq_backup::testing::bucket::Bucket;

use crate::scf::{RULE, on_bucket};
use crate::world::World;

fn head(partition: i32, subscription: &str, last: &str, written: u64) -> Vec<u8> {
    let head = json!({ "topic": "persistent://pulsar-abc/prod/orders", "subscription": subscription, "partition": partition,
        "done": { "last": last, "seq": 4 }, "written": written });
    serde_json::to_vec(&head).unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn where_no_run_is_in_the_log_status_says_what_the_heads_say_and_that_it_is_they() {
    let bucket = Bucket::start().await.unwrap();
    let mut world = World::start();
    let (id, secret) = bucket.key_pair();
    for (name, value) in [("AWS_ACCESS_KEY_ID", id), ("AWS_SECRET_ACCESS_KEY", secret), ("TDMQ_BACKUP_TOKEN", "x.y.z")]
    {
        world.env.push((name.into(), value.into()));
    }
    let rule = on_bucket(RULE, &bucket).replace("ap-gz.qcloud", "ap-xx.qcloud");
    world.rule(&rule);
    let region = ["--region", "ap-guangzhou"];
    world.run("scf", &[&["deploy"], &region[..]].concat()).ok();
    let status = || world.run("scf", &[&["status"], &region[..]].concat()).ok();
    assert!(status().contains("none in a day"));

    let folder = "tdmq/pulsar-abc/prod/orders";
    let plant = |partition, head: &[u8]| {
        bucket.plant(&format!("{folder}/partition={partition}/_head.json"), head, &[]).unwrap();
    };
    plant(-1, &head(-1, "backup", "17:42", 1_700_000_000_000));
    let text = status();
    let row = text.lines().nth(1).unwrap();
    assert!(row.contains("head: 2023-11-14T22:13:20Z  head: through 17:42  "), "{text}");
    assert!(
        text.contains(
            "no run is in the log of the last day, or the log was not read; this is what the head in the bucket says"
        ),
        "{text}"
    );
    plant(0, &head(0, "backup", "18:1", 1_700_000_060_000));
    // Somebody else's, of a path that two rules share.
    plant(1, &head(1, "other", "19:1", 1_800_000_000_000));
    assert!(status().lines().nth(1).unwrap().contains("head: 2023-11-14T22:14:20Z  heads of 2 partitions"));
    let text = world.run("scf", &[&["status", "--json"], &region[..]].concat()).ok();
    let line: Value = serde_json::from_str(text.lines().next().unwrap()).unwrap();
    assert_eq!(line["heads"][1], json!({ "partition": 0, "last": "18:1", "written": 1_700_000_060_000u64 }));
    assert_eq!((line["heads"].as_array().unwrap().len(), &line["report"]), (2, &Value::Null));

    // A run that is in the log says more.
    world.replies(&[
        json!({ "outcome": "stored", "messages": 7, "objects": [{}], "complete_through": 1_700_000_000_000u64 }),
    ]);
    world.run("scf", &[&["invoke"], &region[..]].concat()).ok();
    assert!(!status().contains("head"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_bucket_that_may_not_be_read_is_a_warning_and_the_row_stays() {
    let bucket = Bucket::start().await.unwrap();
    let mut world = World::start();
    world.env.push(("TDMQ_BACKUP_TOKEN".into(), "x.y.z".into()));
    world.rule(&on_bucket(RULE, &bucket).replace("ap-gz.qcloud", "ap-xx.qcloud"));
    let region = ["--region", "ap-guangzhou"];
    world.run("scf", &[&["deploy"], &region[..]].concat()).ok();
    let text = world.run("scf", &[&["status"], &region[..]].concat()).ok();
    assert!(text.contains("warning: orders-backup: its heads were not read"), "{text}");
    assert!(text.contains("orders-backup  Active  5m     none in a day  -"), "{text}");
}

//! Addresses, credentials and things that are not there: what is said, and that nothing was touched.

use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use crate::broker::{Standing, get};
use crate::harness::{Run, SUBSCRIPTION, Stage, component, script};
use crate::process::{end, start};
use crate::records::are_those;

/// A topic with messages in it.
pub fn stage(name: &str) -> Stage {
    let stage = Stage::new(name);
    stage.produce("python", "keys", &[]);
    stage
}

/// The run failed as it should: one clear line, the same in the report, no secret in sight.
pub fn refused(stage: &Stage, kind: &str, words: &[&str]) -> Run {
    let run = stage.invoke();
    let code = if kind == "invalid" { Some(2) } else { Some(1) };
    assert_eq!(run.code, code, "{run:?}");
    assert_eq!((run.outcome(), &run.report["error"]["kind"]), ("failed", &kind.into()), "{run:?}");
    let message = run.report["error"]["message"].as_str().unwrap();
    for word in words {
        assert!(message.contains(word), "{word:?} is not in: {message}");
    }
    // For people the same words stand on standard error, once.
    let mut command = stage.command();
    let text = end(start(without_json(&mut command)));
    assert_eq!(text.code, code);
    assert_eq!(text.stderr.lines().filter(|line| line.starts_with("tdmq-backup: ")).count(), 1, "{}", text.stderr);
    assert!(text.stderr.contains(words[0]), "{}", text.stderr);
    for secret in ["TDMQ_BACKUP_TOKEN", "AWS_SECRET_ACCESS_KEY"].map(|name| &stage.variables()[name]) {
        let printed = [&run.stdout, &run.stderr, &text.stdout, &text.stderr];
        assert!(printed.iter().all(|it| !it.contains(secret.as_str())), "a secret was printed");
        assert!(!is_anywhere_in(&stage.bucket_folder(), secret));
    }
    run
}

/// The same run for a reader.
fn without_json(command: &mut Command) -> &mut Command {
    let arguments: Vec<_> = command.get_args().filter(|it| *it != "--json").map(|it| it.to_owned()).collect();
    let variables: Vec<_> =
        command.get_envs().filter_map(|(name, value)| Some((name.to_owned(), value?.to_owned()))).collect();
    *command = Command::new(env!("CARGO_BIN_EXE_tdmq-backup"));
    command.args(arguments).env_clear().envs(variables)
}

fn is_anywhere_in(folder: &Path, text: &str) -> bool {
    let has = |bytes: Vec<u8>| bytes.windows(text.len()).any(|window| window == text.as_bytes());
    folder.exists() && {
        let grep = Command::new("grep").args(["-r", "-q", "-F", "-e", text]).arg(folder).status().unwrap();
        grep.success() || has(folder.as_os_str().as_encoded_bytes().to_vec())
    }
}

pub const UNTOUCHED: Standing = Standing { mark_delete: None, backlog: None, consumers: 0 };

#[test]
fn a_lookup_over_http_gives_the_same_object_as_one_in_the_binary_protocol() {
    let mut stage = Stage::new("over-http");
    let sent = stage.produce("java", "keys", &[]);
    let seen = stage.dump();
    stage.text("prefix", "binary/");
    assert_eq!(stage.invoke().outcome(), "stored");
    stage.text("service_url", &component("REAL_BROKER_HTTP")).text("prefix", "http/").text("subscription", "other");
    assert_eq!(stage.invoke().outcome(), "stored");
    let objects = stage.objects();
    assert_eq!(objects.len(), 2);
    assert_eq!(objects[0].sha256, objects[1].sha256);
    let keys: Vec<&str> = objects.iter().map(|object| object.key.split_once('/').unwrap().1).collect();
    assert_eq!(keys[0], keys[1]);
    are_those(&objects[1].records, &sent, &seen);
    stage.text("subscription", SUBSCRIPTION).text("prefix", "binary/");
    stage.is_at_rest(&sent[sent.len() - 1]["id"]);
}

#[test]
fn virtual_and_path_addressing_give_the_same_object() {
    let mut stage = Stage::new("addressing");
    let sent = stage.produce("python", "keys", &[]);
    stage.text("prefix", "path/");
    assert_eq!(stage.invoke().outcome(), "stored");
    stage.text("endpoint", &component("REAL_S3_VIRTUAL_ENDPOINT")).text("addressing", "virtual");
    stage.text("prefix", "virtual/").text("subscription", "other");
    let run = stage.invoke();
    assert_eq!(run.outcome(), "stored", "{run:?}");
    let objects = stage.objects();
    assert_eq!(objects.len(), 2);
    assert_eq!((&objects[0].sha256, objects[0].records.len()), (&objects[1].sha256, sent.len()));
}

#[test]
fn a_token_that_the_broker_does_not_know_is_denied_and_nothing_is_left_behind() {
    for service in ["REAL_BROKER_URL", "REAL_BROKER_HTTP"] {
        let mut stage = stage("wrong-token");
        // The right form and the wrong signature.
        let token = component("REAL_BACKUP_TOKEN");
        let (body, _) = token.rsplit_once('.').unwrap();
        stage.text("service_url", &component(service));
        stage.variable("TDMQ_BACKUP_TOKEN", &format!("{body}.c2lnbmVkIGJ5IG5vYm9keQ"));
        refused(&stage, "denied", &["token"]);
        assert_eq!(stage.files(), [""; 0]);
        assert_eq!(stage.standing(), UNTOUCHED);
    }
}

#[test]
fn a_role_without_rights_is_denied_and_nothing_is_left_behind() {
    for service in ["REAL_BROKER_URL", "REAL_BROKER_HTTP"] {
        let mut stage = stage("stranger");
        stage.text("service_url", &component(service)).variable("TDMQ_BACKUP_TOKEN", &component("REAL_STRANGER_TOKEN"));
        refused(&stage, "denied", &["consume"]);
        assert_eq!(stage.files(), [""; 0]);
        assert_eq!(stage.standing(), UNTOUCHED);
    }
}

#[test]
fn a_mistyped_topic_is_not_found_and_does_not_come_into_being() {
    for (service, name) in [("REAL_BROKER_URL", "mistyped-binary"), ("REAL_BROKER_HTTP", "mistyped-http")] {
        let mut stage = Stage::new(name);
        stage.text("service_url", &component(service));
        refused(&stage, "not_found", &["topic"]);
        assert_eq!(stage.files(), [""; 0]);
        let (http, token) = (component("REAL_BROKER_HTTP"), component("REAL_ADMIN_TOKEN"));
        for list in ["persistent/public/default", "persistent/public/default/partitioned"] {
            let (status, topics) = get(&http, &token, &format!("/admin/v2/{list}"));
            assert_eq!(status, 200);
            assert!(!topics.as_array().unwrap().contains(&stage.topic.as_str().into()), "{topics}");
        }
    }
}

#[test]
fn without_the_bucket_nothing_is_acknowledged() {
    let mut stage = stage("no-bucket");
    stage.text("bucket", "there-is-no-such-bucket");
    refused(&stage, "not_found", &["bucket"]);
    let standing = stage.standing();
    assert!(
        standing == UNTOUCHED || standing.mark_delete.is_some_and(|at| at.ends_with(":-1")),
        "nothing was acknowledged"
    );
}

#[test]
fn a_wrong_secret_key_of_the_store_is_denied_and_the_subscription_is_not_touched() {
    let mut stage = stage("wrong-secret");
    stage.variable("AWS_SECRET_ACCESS_KEY", "a-secret-that-is-not-the-right-one");
    refused(&stage, "denied", &["secret key"]);
    assert_eq!(stage.files(), [""; 0]);
    assert_eq!(stage.standing(), UNTOUCHED);
}

/// Somebody else's consumer; it lets go when dropped.
struct Holder(Child);

impl Holder {
    fn of(topic: &str) -> Self {
        let mut python = Command::new(PathBuf::from(component("REAL_DIR")).join("venv/bin/python"));
        python.arg("-B").arg(script("python/hold.py"));
        python.args([&component("REAL_BROKER_URL"), &component("REAL_BACKUP_TOKEN"), topic, SUBSCRIPTION]);
        let mut child = python.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
        let mut line = String::new();
        BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
        assert_eq!(line, "held\n");
        Holder(child)
    }
}

impl Drop for Holder {
    fn drop(&mut self) {
        drop(self.0.stdin.take());
        self.0.wait().unwrap();
    }
}

#[test]
fn a_subscription_that_somebody_else_holds_is_left_to_him() {
    let stage = Stage::new("held");
    let sent = stage.produce("python", "keys", &[]);
    let holder = Holder::of(&stage.topic);
    let before = stage.standing();
    assert_eq!(before.consumers, 1);
    let run = stage.invoke();
    assert_eq!((run.code, run.outcome()), (Some(3), "busy"), "{run:?}");
    assert_eq!((&run.report["error"]["kind"], &run.report["messages"]), (&"busy".into(), &0.into()));
    assert_eq!(stage.standing(), before, "he still holds it, and nothing moved");
    assert_eq!(stage.files(), [""; 0]);
    drop(holder);
    let run = stage.invoke();
    assert_eq!((run.outcome(), &run.report["messages"]), ("stored", &sent.len().into()));
    stage.is_at_rest(&sent[sent.len() - 1]["id"]);
}

#[test]
fn two_rules_must_not_share_a_path_and_the_second_one_reads_nothing() {
    let mut stage = stage("shared-path");
    assert_eq!(stage.invoke().outcome(), "stored");
    let before = stage.files();
    stage.text("subscription", "another");
    let run = stage.invoke();
    assert_eq!((run.code, run.outcome()), (Some(2), "failed"), "{run:?}");
    assert!(run.report["error"]["message"].as_str().unwrap().contains("prefix"), "{run:?}");
    assert_eq!(stage.files(), before);
}

//! The packaged function as AWS Lambda runs it: under Lambda's own runtime emulator.

use std::fs::{self, File};
use std::net::{TcpListener, TcpStream};
use std::path::PathBuf;
use std::process::{Child, Command};
use std::thread;
use std::time::Duration;

use serde_json::Value;

use crate::broker::ask;
use crate::events;
use crate::harness::{SUBSCRIPTION, Stage, component};
use crate::invoke::every_event_file_is_answered;
use crate::package::unpacked;

/// The emulator with one function in it.
struct Lambda {
    emulator: Child,
    address: String,
    log: PathBuf,
}

impl Lambda {
    fn of(stage: &Stage) -> Self {
        let free = || TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().to_string();
        let (address, runtime) = (free(), free());
        let (folder, log) = (unpacked(stage, "lambda"), stage.folder().join("lambda.log"));
        let mut emulator = Command::new(component("REAL_RIE"));
        emulator
            .args(["--runtime-interface-emulator-address", &address, "--runtime-api-address", &runtime])
            .arg(folder.join("bootstrap"));
        emulator.env_clear().envs(stage.variables()).env("LAMBDA_TASK_ROOT", &folder).current_dir(stage.folder());
        let file = File::create(&log).unwrap();
        emulator.stdout(file.try_clone().unwrap()).stderr(file);
        Lambda { emulator: emulator.spawn().unwrap(), address, log }
    }

    /// The reply to one event.
    fn invoke(&self, event: &str) -> Value {
        // The emulator does not say when it listens: it is asked until it answers.
        let mut tries = (0..500).map(|_| {
            let stream = TcpStream::connect(&self.address);
            stream.inspect_err(|_| thread::sleep(Duration::from_millis(20)))
        });
        let stream = tries.find_map(Result::ok).expect("the emulator listens");
        let (path, length) = ("/2015-03-31/functions/function/invocations", event.len());
        let host = &self.address;
        let (status, reply) =
            ask(stream, &format!("POST {path} HTTP/1.0\r\nHost: {host}\r\nContent-Length: {length}\r\n\r\n{event}"));
        assert_eq!(status, 200, "{reply}: {}", self.printed());
        reply
    }

    fn printed(&self) -> String {
        fs::read_to_string(&self.log).unwrap()
    }

    /// No secret of the stage in anything the function printed.
    fn keeps_secrets_of(&self, stage: &Stage) {
        let printed = self.printed();
        for name in ["TDMQ_BACKUP_TOKEN", "AWS_SECRET_ACCESS_KEY"] {
            assert!(!printed.contains(&stage.variables()[name]), "{name} was printed");
        }
    }
}

impl Drop for Lambda {
    fn drop(&mut self) {
        // SIGTERM, so that it ends the function too.
        let _ = Command::new("kill").arg(self.emulator.id().to_string()).status();
        let _ = self.emulator.wait();
    }
}

#[test]
fn every_event_that_a_platform_sends_stores_what_has_come_and_a_second_one_finds_nothing() {
    let stage = Stage::new("lambda");
    let lambda = Lambda::of(&stage);
    let mut sent = Vec::new();
    // What a person asks for has a test of its own.
    let timers = |(name, _): &(String, String)| !["seek.json", "dry-run.json"].contains(&name.as_str());
    for (_, event) in events::all().into_iter().filter(timers) {
        let before = sent.len();
        sent.extend(stage.produce("python", "keys", &[]));
        let reply = lambda.invoke(&event);
        assert_eq!(
            (&reply["outcome"], &reply["messages"]),
            (&"stored".into(), &(sent.len() - before).into()),
            "{reply}"
        );
        let key = reply["objects"][0]["key"].as_str().unwrap();
        assert!(stage.files().iter().any(|file| file == key), "{key}");
        // The log line says what the reply says.
        assert!(
            lambda.printed().lines().any(|line| serde_json::from_str::<Value>(line).is_ok_and(|line| line == reply))
        );
        let again = lambda.invoke(&event);
        assert_eq!(again["outcome"], "nothing_to_do", "{again}");
    }
    let objects = stage.objects();
    let records: Vec<&Value> = objects.iter().flat_map(|object| &object.records).collect();
    let pick = |line: &Value| (line["id"].clone(), line["payload_base64"].clone());
    assert_eq!(records.into_iter().map(pick).collect::<Vec<_>>(), sent.iter().map(pick).collect::<Vec<_>>());
    let reply = lambda.invoke(&serde_json::json!({ "seek": "earliest", "confirm": SUBSCRIPTION }).to_string());
    assert_eq!((&reply["outcome"], &reply["messages"]), (&"stored".into(), &0.into()), "{reply}");
    assert_eq!(reply["moved"]["asked"], "earliest", "{reply}");
    assert_eq!(stage.head()["seek"]["event"].as_str().unwrap().split(' ').next(), Some("request"));
    lambda.keeps_secrets_of(&stage);
    stage.is_at_rest(&sent[sent.len() - 1]["id"]);
}

#[test]
fn every_event_file_is_answered_with_what_it_asks_for() {
    let mut stage = Stage::new("lambda-events");
    let sent = stage.produce("python", "keys", &[]);
    stage.number("max_messages", sent.len() as u64 - 1);
    let lambda = Lambda::of(&stage);
    every_event_file_is_answered(&stage, sent, |event| lambda.invoke(event));
    lambda.keeps_secrets_of(&stage);
}

#[test]
fn an_unknown_event_is_refused_with_what_was_expected_and_nothing_is_read() {
    let stage = Stage::new("lambda-event");
    stage.produce("python", "keys", &[]);
    let lambda = Lambda::of(&stage);
    for event in [r#"{"Records":[{"eventSource":"aws:s3"}]}"#, r#"{"dry_runs":true}"#] {
        let reply = lambda.invoke(event);
        assert_eq!(reply["errorType"], "invalid", "{reply}");
        assert!(reply["errorMessage"].as_str().unwrap().contains("Timer"), "{reply}");
    }
    assert_eq!((stage.files(), stage.standing().mark_delete), (Vec::new(), None));
    lambda.keeps_secrets_of(&stage);
}

#[test]
fn a_wrong_rule_fails_the_invocation_with_the_key_that_is_wrong() {
    let mut stage = Stage::new("lambda-rule");
    // A rule file as wrong as this would not be packed.
    stage.variable("TDMQ_BACKUP_INTERVAL", "3m");
    let lambda = Lambda::of(&stage);
    let reply = lambda.invoke("{}");
    assert_eq!(reply["errorType"], "invalid", "{reply}");
    assert!(reply["errorMessage"].as_str().unwrap().contains("INTERVAL: must be"), "{reply}");
    lambda.keeps_secrets_of(&stage);
}

#[test]
fn a_run_that_fails_fails_the_invocation_and_the_token_is_in_no_log() {
    let mut stage = Stage::new("lambda-denied");
    stage.produce("python", "keys", &[]);
    stage.variable("TDMQ_BACKUP_TOKEN", &component("REAL_STRANGER_TOKEN"));
    let lambda = Lambda::of(&stage);
    let reply = lambda.invoke("{}");
    assert_eq!(reply["errorType"], "denied", "{reply}");
    assert_eq!(stage.files(), [""; 0]);
    lambda.keeps_secrets_of(&stage);
}

//! The packaged function under `cargo lambda watch`, asked by `cargo lambda invoke`.
//!
//! Only watch's runtime API is used: left alone, watch would compile the function for minutes, and another one than the package has.

use std::fs::{self, File};
use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU16, Ordering::Relaxed};
use std::thread;
use std::time::Duration;

use serde_json::Value;

use crate::harness::{Stage, component};
use crate::invoke::every_event_file_is_answered;
use crate::package::unpacked;
use crate::process::{Ended, end, start};

/// Watch, and the function that asks it for events.
struct Watch {
    port: String,
    event: PathBuf,
    log: PathBuf,
    /// The function first: it ends before what it asks.
    children: Vec<Child>,
}

impl Watch {
    fn of(stage: &Stage) -> Self {
        let (folder, log) = (unpacked(stage, "lambda"), stage.folder().join("watch.log"));
        let port = free_port().to_string();
        let file = File::create(&log).unwrap();
        let mut watch = cargo_lambda(&port, "watch");
        watch.arg("--only-lambda-apis").stdin(Stdio::null());
        watch.stdout(file.try_clone().unwrap()).stderr(file.try_clone().unwrap());
        let event = stage.folder().join("event.json");
        let mut watch = Watch { children: vec![watch.spawn().unwrap()], event, log, port };
        watch.listens();
        let mut function = Command::new(folder.join("bootstrap"));
        function.env_clear().envs(stage.variables()).env("LAMBDA_TASK_ROOT", &folder).current_dir(stage.folder());
        // What watch says to whoever starts a function for it.
        function.env("AWS_LAMBDA_RUNTIME_API", format!("http://127.0.0.1:{}/.rt", watch.port));
        for (name, value) in [("NAME", "_"), ("VERSION", "1"), ("MEMORY_SIZE", "4096")] {
            function.env(format!("AWS_LAMBDA_FUNCTION_{name}"), value);
        }
        watch.children.insert(0, function.stdout(file.try_clone().unwrap()).stderr(file).spawn().unwrap());
        watch
    }

    /// It prints that it listens before it does: it is asked until it answers.
    fn listens(&mut self) {
        let address = format!("127.0.0.1:{}", self.port);
        for _ in 0..1500 {
            if TcpStream::connect(&address).is_ok() {
                return;
            }
            assert_eq!(self.children[0].try_wait().unwrap(), None, "{}", self.printed());
            thread::sleep(Duration::from_millis(20));
        }
        panic!("cargo lambda watch does not listen: {}", self.printed());
    }

    fn ask(&self, event: &str) -> Ended {
        fs::write(&self.event, event).unwrap();
        end(start(cargo_lambda(&self.port, "invoke").arg("--data-file").arg(&self.event)))
    }

    /// The reply to one event.
    fn invoke(&self, event: &str) -> Value {
        let reply = self.ask(event);
        assert_eq!(reply.code, Some(0), "{event}: {} {}", reply.stderr, self.printed());
        serde_json::from_str(&reply.stdout).unwrap()
    }

    fn printed(&self) -> String {
        fs::read_to_string(&self.log).unwrap()
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        for child in &mut self.children {
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

/// `cargo lambda` on the loopback, in the project's folder, without a network.
fn cargo_lambda(port: &str, action: &str) -> Command {
    let mut command = Command::new(component("REAL_CARGO_LAMBDA"));
    command.args(["lambda", action, "--invoke-address", "127.0.0.1", "--invoke-port", port]);
    command.current_dir(Path::new(env!("CARGO_MANIFEST_DIR"))).env("CARGO_NET_OFFLINE", "true");
    command
}

/// Below the range of outgoing connections, and each once: neither another test nor a connection of ours takes it before it
/// is listened on.
fn free_port() -> u16 {
    static NEXT: AtomicU16 = AtomicU16::new(0);
    let begin = (std::process::id() % 12_000) as u16;
    let mut ports = (0..12_000).map(|_| 20_000 + (begin + NEXT.fetch_add(1, Relaxed)) % 12_000);
    ports.find(|port| TcpListener::bind(("127.0.0.1", *port)).is_ok()).unwrap()
}

#[test]
fn every_event_file_is_answered_under_cargo_lambda_watch_whose_deadline_has_passed_long_ago() {
    let mut stage = Stage::new("watch");
    let all = stage.produce("python", "keys", &[]);
    stage.number("max_messages", all.len() as u64 - 1);
    let watch = Watch::of(&stage);
    every_event_file_is_answered(&stage, all, |event| watch.invoke(event));
    assert_eq!(stage.head()["seek"]["event"].as_str().unwrap().split(' ').next(), Some("request"));
    let printed = watch.printed();
    for name in ["TDMQ_BACKUP_TOKEN", "AWS_SECRET_ACCESS_KEY"] {
        assert!(!printed.contains(&stage.variables()[name]), "{name} was printed");
    }
}

#[test]
fn an_event_that_nothing_knows_fails_cargo_lambda_invoke_with_what_was_expected() {
    let stage = Stage::new("watch-event");
    stage.produce("python", "keys", &[]);
    let watch = Watch::of(&stage);
    let said = watch.ask(r#"{"dry_runs":true}"#);
    assert_eq!((said.code, said.stdout.as_str()), (Some(1), ""));
    // It frames what it shows, and breaks its lines.
    let stderr = said.stderr.replace('│', " ");
    let stderr = stderr.split_whitespace().collect::<Vec<_>>().join(" ");
    for words in ["Error: invalid", "the event has a field", "expected an SCF timer event"] {
        assert_eq!(stderr.matches(words).count(), 1, "{words}: {stderr}");
    }
    assert_eq!((stage.files(), stage.standing().mark_delete), (Vec::new(), None));
}

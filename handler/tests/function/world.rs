//! A broker and a bucket in this process, and `bootstrap` as a process that reaches them as it would the real ones.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Child, Command};
use std::sync::mpsc;
use std::thread;
use std::time::Duration;

use serde_json::Value;
use tdmq_backup::testing::Bucket;
use tdmq_backup::testing::broker::{Broker, Config, Topic};
use tdmq_backup::testing::compose::{Composer, Draft};
use tempfile::TempDir;
use tokio::sync::oneshot;
use tokio::time::timeout;

pub const SUBSCRIPTION: &str = "backup";
pub const TOKEN: &str = "eyJhbGciOiJub25lIn0.eyJzdWIiOiJiYWNrdXAifQ.marker";
/// How long the broker may take to see that a connection is closed.
const LIMIT: Duration = Duration::from_secs(10);
const SESSION_TOKEN: &str = "a-session-token-as-long-as-real-ones-are";

pub struct World {
    pub broker: Broker,
    pub bucket: Bucket,
    pub topic: Topic,
    folder: TempDir,
    sent: u64,
    /// Ends the thread that they live on.
    _alive: oneshot::Sender<()>,
}

impl World {
    pub fn new() -> Self {
        let (ours, theirs) = mpsc::channel();
        let (alive, over) = oneshot::channel();
        thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
            runtime.block_on(async {
                let broker = Broker::start(Config { token: Some(TOKEN.into()), ..Config::default() }).await;
                let bucket = Bucket::start().await.unwrap();
                ours.send((broker, bucket)).unwrap();
                let _ = over.await;
            });
        });
        let (broker, bucket) = theirs.recv().unwrap();
        let topic = broker.topic("orders");
        let world = World { broker, bucket, topic, folder: TempDir::new().unwrap(), sent: 0, _alive: alive };
        world.write_rule(&world.broker.url());
        world
    }

    pub fn write_rule(&self, service_url: &str) {
        let rule = format!(
            "name = \"orders\"\nservice_url = {service_url:?}\ntopic = {:?}\nsubscription = {SUBSCRIPTION:?}\n\
             bucket = {:?}\nregion = {:?}\nendpoint = {:?}\naddressing = \"path\"\nprefix = \"tdmq/\"\n\
             interval = \"5m\"\nmax_messages = 2\n",
            self.topic.name(),
            self.bucket.name(),
            self.bucket.region(),
            self.bucket.endpoint(),
        );
        fs::write(self.folder.path().join("rule.toml"), rule).unwrap();
    }

    /// So many single messages.
    pub fn send(&mut self, count: usize) {
        for _ in 0..count {
            self.sent += 1;
            let mut composer = Composer::new("producer-1").sequence(self.sent).at(1_795_255_200_000 + self.sent);
            self.topic.append(composer.single(Draft::new(format!("{{\"n\":{}}}", self.sent))));
        }
    }

    /// The broker sees that no connection of ours is left: a moment after the reply, which does not wait for that.
    pub fn is_let_go_of(&self) -> bool {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
        let gone = async { timeout(LIMIT, self.broker.until(|broker| broker.connections() == 0)).await };
        runtime.block_on(gone).is_ok()
    }

    /// The keys of objects, heads left out.
    pub fn objects(&self) -> Vec<String> {
        self.bucket.keys().into_iter().filter(|key| !key.ends_with(".json")).collect()
    }

    /// Every key with its bytes.
    pub fn everything(&self) -> BTreeMap<String, Vec<u8>> {
        self.bucket.keys().into_iter().map(|key| (key.clone(), self.bucket.read(&key).unwrap())).collect()
    }

    /// `bootstrap` in the package's folder, with these variables and nothing else but its keys.
    pub fn start(&self, variables: &[(&'static str, String)]) -> Instance {
        let (id, secret) = self.bucket.key_pair();
        let log = self.folder.path().join("log");
        let file = File::create(&log).unwrap();
        let mut command = Command::new(env!("CARGO_BIN_EXE_bootstrap"));
        command
            .env_clear()
            .envs(variables.iter().map(|(name, value)| (*name, value)))
            .env("TDMQ_BACKUP_TOKEN", TOKEN)
            .env("TENCENTCLOUD_SECRETID", id)
            .env("TENCENTCLOUD_SECRETKEY", secret)
            .env("TENCENTCLOUD_SESSIONTOKEN", SESSION_TOKEN)
            .env("USER_CODE_ROOT", self.folder.path())
            .env("LAMBDA_TASK_ROOT", self.folder.path())
            .current_dir("/")
            .stdout(file.try_clone().unwrap())
            .stderr(file);
        let child = command.spawn().unwrap();
        Instance { child, log, secrets: [TOKEN.into(), secret.into(), SESSION_TOKEN.into()] }
    }
}

/// A running function. What it printed never holds a secret.
pub struct Instance {
    child: Child,
    log: PathBuf,
    secrets: [String; 3],
}

impl Instance {
    pub fn printed(&self) -> String {
        read(&self.log)
    }

    /// The lines of JSON that it printed: one for each run.
    pub fn reports(&self) -> Vec<Value> {
        self.printed().lines().filter_map(|line| serde_json::from_str(line).ok()).collect()
    }

    /// Its exit code, once it has ended by itself.
    pub fn ended(&mut self) -> Option<i32> {
        for _ in 0..6000 {
            if let Some(status) = self.child.try_wait().unwrap() {
                return status.code();
            }
            thread::sleep(Duration::from_millis(10));
        }
        panic!("it goes on: {}", self.printed());
    }
}

impl Drop for Instance {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
        let printed = read(&self.log);
        if !thread::panicking() {
            assert!(self.secrets.iter().all(|secret| !printed.contains(secret)), "a secret was printed: {printed}");
        }
    }
}

fn read(log: &Path) -> String {
    fs::read_to_string(log).unwrap()
}

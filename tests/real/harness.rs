//! What `tests/real/run` started, and the stage of one test: a topic, a bucket and a rule of its own.

use std::collections::BTreeMap;
use std::fs;
use std::hash::{BuildHasher, RandomState};
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::Value;
use tempfile::TempDir;

use crate::broker::{Standing, standing};
use crate::java;
use crate::process::{Ended, end, lines, start};
use crate::table;

pub const SUBSCRIPTION: &str = "backup";

/// A variable that `tests/real/run` sets.
pub fn component(name: &str) -> String {
    std::env::var(name).unwrap_or_else(|_| panic!("{name} is not set: run it by tests/real/run cargo test --test real"))
}

pub fn script(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/real").join(name)
}

/// One run of the program.
#[derive(Debug)]
pub struct Run {
    pub code: Option<i32>,
    /// `Null` where none was printed.
    pub report: Value,
    pub stdout: String,
    pub stderr: String,
}

impl Run {
    pub fn of(ended: Ended) -> Self {
        let Ended { code, stdout, stderr } = ended;
        let report = serde_json::from_str(&stdout).unwrap_or(Value::Null);
        Run { code, report, stdout, stderr }
    }

    pub fn outcome(&self) -> &str {
        self.report["outcome"].as_str().unwrap_or_else(|| panic!("no outcome: {self:?}"))
    }
}

/// An object as it lies in the bucket, read by `python/objects.py`.
#[derive(Debug)]
pub struct Object {
    pub key: String,
    pub sha256: String,
    /// User metadata, and the content type, as the store keeps them.
    pub metadata: Value,
    pub content_type: Value,
    /// Of the file.
    pub bytes: u64,
    pub records: Vec<Value>,
}

pub struct Broker {
    pub url: String,
    pub http: String,
    pub token: String,
}

/// A topic, a bucket and a rule that no other test has.
pub struct Stage {
    pub topic: String,
    pub bucket: String,
    keys: BTreeMap<&'static str, String>,
    variables: BTreeMap<&'static str, String>,
    /// Where the store keeps its buckets.
    buckets: PathBuf,
    /// What the other clients use: the broker's two addresses, and a token that may do all.
    broker: Broker,
    folder: TempDir,
}

impl Stage {
    /// `name`: lower-case letters, digits and `-`.
    pub fn new(name: &str) -> Self {
        Stage::named(name, name)
    }

    /// The topic's name begins with `topic`, which may hold anything but a slash.
    pub fn named(name: &str, topic: &str) -> Self {
        let unique = RandomState::new().hash_one(name) & 0xffff_ffff;
        let (topic, bucket) = (format!("{topic}-{unique:08x}"), format!("{name}-{unique:08x}"));
        fs::create_dir(Path::new(&component("REAL_S3_DIR")).join(&bucket)).unwrap();
        let mut stage = Stage {
            topic: format!("persistent://public/default/{topic}"),
            bucket: bucket.clone(),
            keys: BTreeMap::new(),
            variables: BTreeMap::new(),
            buckets: PathBuf::from(component("REAL_S3_DIR")),
            broker: Broker {
                url: component("REAL_BROKER_URL"),
                http: component("REAL_BROKER_HTTP"),
                token: component("REAL_ADMIN_TOKEN"),
            },
            folder: TempDir::new().unwrap(),
        };
        let topic = stage.topic.clone();
        stage.text("name", "real").text("service_url", &component("REAL_BROKER_URL")).text("topic", &topic);
        stage.text("subscription", SUBSCRIPTION).text("bucket", &bucket).text("region", "us-east-1");
        stage.text("endpoint", &component("REAL_S3_ENDPOINT")).text("addressing", "path").text("interval", "5m");
        stage.variable("AWS_ACCESS_KEY_ID", &component("REAL_S3_ACCESS_KEY"));
        stage.variable("AWS_SECRET_ACCESS_KEY", &component("REAL_S3_SECRET_KEY"));
        stage.variable("TDMQ_BACKUP_TOKEN", &component("REAL_BACKUP_TOKEN"));
        stage
    }

    pub fn text(&mut self, key: &'static str, value: &str) -> &mut Self {
        self.keys.insert(key, format!("{value:?}"));
        self
    }

    pub fn number(&mut self, key: &'static str, value: u64) -> &mut Self {
        self.keys.insert(key, value.to_string());
        self
    }

    pub fn variable(&mut self, name: &'static str, value: &str) -> &mut Self {
        self.variables.insert(name, value.to_owned());
        self
    }

    pub fn variables(&self) -> &BTreeMap<&'static str, String> {
        &self.variables
    }

    /// A folder of this test's own.
    pub fn folder(&self) -> &Path {
        self.folder.path()
    }

    pub fn rule_file(&self) -> PathBuf {
        let path = self.folder.path().join("rule.toml");
        fs::write(&path, self.rule_with(&[])).unwrap();
        path
    }

    /// The rule with some other texts.
    pub fn rule_with(&self, changes: &[(&'static str, &str)]) -> String {
        let mut keys = self.keys.clone();
        keys.extend(changes.iter().map(|(key, value)| (*key, format!("{value:?}"))));
        keys.iter().map(|(key, value)| format!("{key} = {value}\n")).collect()
    }

    pub fn broker(&self) -> &Broker {
        &self.broker
    }

    /// The program, with this rule. Only what a test sets is in its environment, and its temporary
    /// files have a folder of their own.
    pub fn command(&self) -> Command {
        let temporary = self.folder.path().join("temporary");
        fs::create_dir_all(&temporary).unwrap();
        let mut command = Command::new(env!("CARGO_BIN_EXE_tdmq-backup"));
        command.args(["invoke", "--json", "--rule"]).arg(self.rule_file());
        command.env_clear().envs(&self.variables).env("TMPDIR", temporary);
        command
    }

    pub fn invoke(&self) -> Run {
        let run = Run::of(end(start(&mut self.command())));
        table::ran(run.report["peak_memory_bytes"].as_u64().unwrap_or(0));
        run
    }

    /// In a process that may take 96 MiB: what a function of 128 MB leaves when its platform has taken a quarter.
    pub fn invoke_small(&self) -> Run {
        let whole = self.command();
        let mut small = Command::new("/bin/sh");
        small.args(["-c", "ulimit -d 98304 && exec \"$@\"", "sh"]).arg(whole.get_program()).args(whole.get_args());
        small.env_clear().envs(whole.get_envs().filter_map(|(name, value)| Some((name, value?))));
        Run::of(end(start(&mut small)))
    }

    /// Temporary files that the program left behind.
    pub fn litter(&self) -> usize {
        fs::read_dir(self.folder.path().join("temporary")).unwrap().count()
    }

    /// Sends one case, and answers what was meant, a line for each message.
    pub fn produce(&self, client: &str, case: &str, more: &[&str]) -> Vec<Value> {
        self.client(client, "produce", &[&["--case", case], more].concat())
    }

    /// All that the Java reader sees.
    pub fn dump(&self) -> Vec<Value> {
        self.client("java", "dump", &[])
    }

    /// The same of another topic, as one of its partitions is.
    pub fn dump_of(&self, topic: &str) -> Vec<Value> {
        java::ask(&["dump", "--url", &self.broker.url, "--token", &self.broker.token, "--topic", topic])
    }

    pub fn client(&self, client: &str, command: &str, more: &[&str]) -> Vec<Value> {
        let Broker { url, token, .. } = &self.broker;
        let arguments = [&[command, "--url", url, "--token", token, "--topic", &self.topic], more].concat();
        if client == "java" {
            return java::ask(&arguments);
        }
        let mut program = Command::new(Path::new(&component("REAL_BIN")).join(format!("{client}-client")));
        program.args(&arguments);
        lines(&end(start(&mut program)).successful(&format!("{client}-client {command} {more:?}")))
    }

    /// Another broker than the one that is always there, and a token of its own.
    pub fn at_broker(&mut self, url: &str, http: &str, token: &str) {
        self.broker = Broker { url: url.to_owned(), http: http.to_owned(), token: token.to_owned() };
        self.text("service_url", url).variable("TDMQ_BACKUP_TOKEN", token);
    }

    /// Another store, with its folder and its keys.
    pub fn at_store(&mut self, endpoint: &str, buckets: PathBuf, [id, secret]: [&str; 2]) {
        self.text("endpoint", endpoint).variable("AWS_ACCESS_KEY_ID", id).variable("AWS_SECRET_ACCESS_KEY", secret);
        self.buckets = buckets;
        fs::create_dir(self.bucket_folder()).unwrap();
    }

    pub fn bucket_folder(&self) -> PathBuf {
        self.buckets.join(&self.bucket)
    }

    /// The keys of everything in the bucket, heads too.
    pub fn files(&self) -> Vec<String> {
        let mut found = Vec::new();
        walk(&self.bucket_folder(), "", &mut found);
        found.sort();
        found
    }

    pub fn objects(&self) -> Vec<Object> {
        objects(&self.bucket_folder())
    }

    /// What the head says.
    pub fn head(&self) -> Value {
        let files = self.files();
        let mut heads = files.iter().filter(|key| key.ends_with("/_head.json"));
        let head = heads.next().expect("there is a head");
        assert_eq!(heads.next(), None);
        serde_json::from_slice(&fs::read(self.bucket_folder().join(head)).unwrap()).unwrap()
    }

    /// Where the subscription stands, as the broker's own statistics say.
    pub fn standing(&self) -> Standing {
        standing(&self.broker.http, &self.broker.token, &self.topic)
    }

    /// After a test's last run: all is acknowledged, and another run finds nothing to do and writes nothing.
    pub fn is_at_rest(&self, last: &Value) {
        let standing = self.standing();
        assert_eq!(standing.mark_delete.as_deref(), Some(entry_of(last).as_str()), "the acknowledged position");
        assert_eq!(standing.backlog, Some(0));
        let before = self.files();
        let again = self.invoke();
        assert_eq!((again.code, again.outcome()), (Some(0), "nothing_to_do"), "{again:?}");
        assert_eq!(self.files(), before);
        assert_eq!(self.litter(), 0);
    }
}

/// The entry of a message id: its first two parts.
pub fn entry_of(id: &Value) -> String {
    id.as_str().unwrap().split(':').take(2).collect::<Vec<_>>().join(":")
}

fn walk(folder: &Path, below: &str, found: &mut Vec<String>) {
    for entry in fs::read_dir(folder).unwrap() {
        let entry = entry.unwrap();
        let name = format!("{below}{}", entry.file_name().into_string().unwrap());
        match entry.file_type().unwrap().is_dir() {
            true => walk(&entry.path(), &format!("{name}/"), found),
            false => found.push(name),
        }
    }
}

pub fn objects(folder: &Path) -> Vec<Object> {
    let printed = end(start(Command::new("python3").arg("-B").arg(script("python/objects.py")).arg(folder)));
    let mut found: Vec<Object> = Vec::new();
    for line in lines(&printed.successful("objects.py")) {
        let Some(key) = line["object"].as_str() else {
            found.last_mut().unwrap().records.push(line);
            continue;
        };
        found.push(Object {
            key: key.to_owned(),
            sha256: line["sha256"].as_str().unwrap().to_owned(),
            metadata: line["metadata"].clone(),
            content_type: line["content_type"].clone(),
            bytes: line["bytes"].as_u64().unwrap(),
            records: Vec::new(),
        });
    }
    found
}

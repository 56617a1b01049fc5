//! A broker and a store of the test's own, which are killed and come back on the same data and addresses.

use std::collections::BTreeMap;
use std::fs;
use std::path::PathBuf;
use std::process::Command;

use crate::harness::{Stage, component, script};
use crate::process::{end, start};
use crate::second::Second;
use crate::torture::cuts::Cuts;

/// A frozen function is found out within some seconds, and nothing that was acknowledged leaves the topic: it is what
/// the bucket is compared with. The bookie's journal has no checksums: an entry that a crash cut in two, because it is larger
/// than its buffer, is taken for whole, and its ledger cannot be opened any more.
const SETTINGS: &str = "keepAliveIntervalSeconds=2 defaultRetentionTimeInMinutes=-1 defaultRetentionSizeInMB=-1 \
    journalWriteBufferSizeKB=8192";

pub struct Parts {
    pub cuts: Cuts,
    broker: Second,
    store: Store,
}

impl Parts {
    /// `name`: of the folders, and so of who may be alive at the same time.
    pub fn start(name: &str) -> Parts {
        let store = Store::start(&format!("{name}-store"));
        let broker = Second::start(&format!("{name}-broker"), &[("REAL_BROKER_SETTINGS", SETTINGS)]);
        let host = |url: &str| url.split_once("://").unwrap().1.to_owned();
        let cuts = Cuts::before(&host(&broker.variable("REAL_BROKER_URL")), &host(&store.of("ENDPOINT")));
        Parts { cuts, broker, store }
    }

    pub fn store_endpoint(&self) -> String {
        self.store.of("ENDPOINT")
    }

    pub fn stage(&self, name: &str) -> Stage {
        let mut stage = self.broker.stage(name);
        stage.at_store(
            &self.store_endpoint(),
            PathBuf::from(self.store.of("DIR")),
            [&self.store.of("ACCESS_KEY"), &self.store.of("SECRET_KEY")],
        );
        stage
    }

    pub fn kill_broker(&self) {
        self.broker.command("kill", &[]);
    }

    pub fn start_broker(&self) {
        self.broker.command("start", &[]);
    }

    pub fn kill_store(&self) {
        self.store.command("kill", &[]);
    }

    pub fn start_store(&self) {
        self.store.command("start", &["--keep"]);
    }
}

struct Store {
    folder: PathBuf,
}

impl Store {
    fn start(name: &str) -> Store {
        let store = Store { folder: PathBuf::from(component("REAL_DIR")).join(name) };
        store.command("start", &[]);
        store
    }

    fn command(&self, word: &str, more: &[&str]) {
        let mut store = Command::new(script("store"));
        store.arg(word).args(more).env("REAL_STORE_DIR", &self.folder).env("REAL_STORE_KIND", "versitygw");
        end(start(&mut store)).successful(word);
    }

    fn of(&self, name: &str) -> String {
        let file = fs::read_to_string(self.folder.join("env")).unwrap();
        let variables: BTreeMap<&str, &str> = file.lines().filter_map(|line| line.split_once('=')).collect();
        variables[&*format!("REAL_S3_{name}")].to_owned()
    }
}

impl Drop for Store {
    fn drop(&mut self) {
        self.command("stop", &[]);
    }
}

//! A broker beside the one that is always there, with settings of its own, for as long as a test needs it.

use std::path::PathBuf;
use std::process::Command;

use crate::harness::{Stage, component, script};
use crate::process::{end, start};

pub struct Second {
    folder: PathBuf,
    variables: Vec<(&'static str, String)>,
}

impl Second {
    /// `variables` are those of the script `broker`.
    pub fn start(name: &str, variables: &[(&'static str, &str)]) -> Self {
        let variables = variables.iter().map(|(name, value)| (*name, (*value).to_owned())).collect();
        let broker = Second { folder: PathBuf::from(component("REAL_DIR")).join(name), variables };
        broker.command("start", &["--fresh"]);
        broker
    }

    pub fn command(&self, word: &str, more: &[&str]) {
        let mut broker = Command::new(script("broker"));
        broker.arg(word).args(more).env("REAL_BROKER_DIR", &self.folder);
        broker.envs(self.variables.iter().map(|(name, value)| (*name, value)));
        end(start(&mut broker)).successful(word);
    }

    pub fn variable(&self, name: &str) -> String {
        let file = std::fs::read_to_string(self.folder.join("env")).unwrap();
        let line = file.lines().find_map(|line| line.strip_prefix(&format!("{name}=")));
        line.unwrap().to_owned()
    }

    /// A stage at this broker.
    pub fn stage(&self, name: &str) -> Stage {
        let mut stage = Stage::new(name);
        let [url, http, token] =
            ["REAL_BROKER_URL", "REAL_BROKER_HTTP", "REAL_ADMIN_TOKEN"].map(|it| self.variable(it));
        stage.at_broker(&url, &http, &token);
        stage
    }
}

impl Drop for Second {
    fn drop(&mut self) {
        self.command("stop", &[]);
    }
}

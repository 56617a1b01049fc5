//! The broker, the store and the files of one measurement.
//!
//! Owns a bucket and a folder for rules, both gone afterwards. Topics stay: the broker of `tests/real/run` is new
//! each time, and their names hold the number of this process for where it is not.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context, Result, ensure};
use tempfile::TempDir;

use crate::Case;
use crate::child::{Done, Task};

const START: &str = "start it with `REAL_BROKER_JAVA= tests/real/run cargo bench --bench run`";

pub struct World {
    folder: TempDir,
    bucket: PathBuf,
    /// Different for every measurement.
    name: String,
}

impl World {
    pub fn new() -> Result<Self> {
        let name = format!("bench-{}", std::process::id());
        let bucket = Path::new(&variable("REAL_S3_DIR")?).join(&name);
        std::fs::create_dir(&bucket).with_context(|| format!("no bucket can be made at {}", bucket.display()))?;
        Ok(World { folder: tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR"))?, bucket, name })
    }

    /// Where the store keeps the object.
    pub fn object(&self, key: &str) -> PathBuf {
        self.bucket.join(key)
    }

    /// Fills the case's topic.
    pub fn produce(&self, case: &Case) -> Result<()> {
        let mut command = Command::new(Path::new(&variable("REAL_BIN")?).join("python-client"));
        command.args(["produce", "--case", "bulk"]);
        command.args(["--url", &variable("REAL_BROKER_URL")?, "--token", &variable("REAL_BACKUP_TOKEN")?]);
        command.args(["--topic", &self.topic(case), "--count", &case.messages.to_string()]);
        command.args(["--size", &case.size.to_string()]);
        let said: serde_json::Value = serde_json::from_slice(&output(&mut command)?)?;
        let sent = (said["count"].as_u64(), said["bytes"].as_u64());
        ensure!(sent == (Some(case.messages), Some(case.bytes())), "the producer sent something else: {said}");
        Ok(())
    }

    fn topic(&self, case: &Case) -> String {
        format!("persistent://public/default/{}-{}", self.name, case.slug)
    }

    /// Writes a rule for the case's topic, with a subscription and a prefix of that name.
    pub fn rule(&self, case: &Case, name: &str) -> Result<PathBuf> {
        let slug = case.slug;
        let rule = toml::toml! {
            addressing = "path"
            region = "us-east-1"
            interval = "5m"
        };
        let more = [
            ("name", format!("{slug}-{name}")),
            ("service_url", variable("REAL_BROKER_URL")?),
            ("topic", self.topic(case)),
            ("subscription", name.to_owned()),
            ("bucket", self.name.clone()),
            ("endpoint", variable("REAL_S3_ENDPOINT")?),
            ("prefix", format!("{slug}/{name}/")),
        ];
        let more = more.map(|(key, value)| (key.to_owned(), toml::Value::String(value)));
        let path = self.folder.path().join(format!("{slug}-{name}.toml"));
        std::fs::write(&path, toml::to_string(&rule.into_iter().chain(more).collect::<toml::Table>())?)?;
        Ok(path)
    }

    /// Does a task in a process of its own, in an environment that holds nothing but the keys.
    pub fn start(&self, task: Task, path: &Path) -> Result<Done> {
        let mut command = Command::new(std::env::current_exe()?);
        command.args(["--child", task.name()]).arg(path).env_clear();
        command.envs(std::env::var_os("TMPDIR").map(|folder| ("TMPDIR", folder)));
        command.env("TDMQ_BACKUP_TOKEN", variable("REAL_BACKUP_TOKEN")?);
        command.env("AWS_ACCESS_KEY_ID", variable("REAL_S3_ACCESS_KEY")?);
        command.env("AWS_SECRET_ACCESS_KEY", variable("REAL_S3_SECRET_KEY")?);
        Ok(serde_json::from_slice(&output(&mut command)?)?)
    }
}

impl Drop for World {
    fn drop(&mut self) {
        // What stays is removed when the next store is started.
        let _ = std::fs::remove_dir_all(&self.bucket);
    }
}

/// What the command prints.
fn output(command: &mut Command) -> Result<Vec<u8>> {
    let program = Path::new(command.get_program()).to_owned();
    let output = command.stderr(Stdio::inherit()).output().with_context(|| program.display().to_string())?;
    ensure!(output.status.success(), "{} ended with {}", program.display(), output.status);
    Ok(output.stdout)
}

fn variable(name: &str) -> Result<String> {
    std::env::var(name).with_context(|| format!("{name} is not set: {START}"))
}

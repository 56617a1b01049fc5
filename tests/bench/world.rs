//! The broker, the store and the files of one measurement.
//!
//! Owns a bucket and a folder for rules, both gone afterwards. Topics stay: the broker of `tests/real/run` is new
//! each time, and their names hold the number of this process for where it is not.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use tdmq_backup::Clock;
use tempfile::TempDir;

use crate::Case;
use crate::child::{Done, Task};

const START: &str = "start it with `REAL_BROKER_JAVA= tests/real/run cargo bench --bench run`";

/// An S3 server.
#[derive(Clone, Copy)]
pub enum Server {
    Versitygw,
    MinIo,
}

impl Server {
    pub fn name(self) -> &'static str {
        match self {
            Server::Versitygw => "versitygw",
            Server::MinIo => "minio",
        }
    }

    fn variable(self, name: &str) -> Result<String> {
        variable(&match self {
            Server::Versitygw => format!("REAL_S3_{name}"),
            Server::MinIo => format!("REAL_MINIO_{name}"),
        })
    }
}

pub struct World {
    folder: TempDir,
    pub server: Server,
    bucket: PathBuf,
    /// Different for every measurement.
    name: String,
}

impl World {
    /// With a bucket and topics whose names begin with `name`.
    pub fn new(server: Server, name: &str) -> Result<Self> {
        let name = format!("{name}-{}", std::process::id());
        let bucket = Path::new(&server.variable("DIR")?).join(&name);
        std::fs::create_dir(&bucket).with_context(|| format!("no bucket can be made at {}", bucket.display()))?;
        Ok(World { folder: tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR"))?, server, bucket, name })
    }

    /// Where the store keeps the object.
    pub fn object(&self, key: &str) -> PathBuf {
        self.bucket.join(key)
    }

    /// Fills the case's topic.
    pub fn produce(&self, case: &Case) -> Result<()> {
        let mut command = Command::new(Path::new(&variable("REAL_BIN")?).join("python-client"));
        command.args(["produce", "--case", "bulk"]);
        command.args(["--url", &variable("REAL_BROKER_URL")?, "--token", &variable("REAL_ADMIN_TOKEN")?]);
        command.args(["--topic", &self.topic(case), "--count", &case.messages.to_string()]);
        command.args(["--size", &case.size.to_string()]);
        command.args(case.noise.then_some("--noise"));
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
        let compression = if case.noise { "none" } else { "gzip" };
        let more = [
            ("name", format!("{slug}-{name}")),
            ("service_url", variable("REAL_BROKER_URL")?),
            ("topic", self.topic(case)),
            ("subscription", name.to_owned()),
            ("bucket", self.name.clone()),
            ("compression", compression.to_owned()),
            ("endpoint", self.server.variable("ENDPOINT")?),
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
        command.env("AWS_ACCESS_KEY_ID", self.server.variable("ACCESS_KEY")?);
        command.env("AWS_SECRET_ACCESS_KEY", self.server.variable("SECRET_KEY")?);
        Ok(serde_json::from_slice(&output(&mut command)?)?)
    }

    /// A plain PUT of a file by curl, to the same server.
    pub fn put(&self, file: &Path) -> Result<Duration> {
        let (endpoint, bucket) = (self.server.variable("ENDPOINT")?, &self.name);
        let keys = format!("{}:{}", self.server.variable("ACCESS_KEY")?, self.server.variable("SECRET_KEY")?);
        let mut curl = Command::new("curl");
        curl.args(["-sSf", "--noproxy", "*", "--aws-sigv4", "aws:amz:us-east-1:s3", "--user", &keys]);
        curl.args(["-H", "x-amz-content-sha256: UNSIGNED-PAYLOAD", "-H", "Expect:", "-T"]).arg(file);
        let clock = Clock::system();
        let began = clock.now();
        output(curl.arg(format!("{endpoint}/{bucket}/plain")))?;
        Ok(clock.now() - began)
    }

    /// Makes room: what was stored is gone.
    pub fn empty(&self) -> Result<()> {
        std::fs::remove_dir_all(&self.bucket)?;
        Ok(std::fs::create_dir(&self.bucket)?)
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

//! The processes that are measured: each does one thing, and prints what it took as a line of JSON.

use std::fs::File;
use std::hint::black_box;
use std::io::Read;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use serde::{Deserialize, Serialize};
use tdmq_backup::encode::Compression;
use tdmq_backup::encode::compress::Compressor;
use tdmq_backup::encode::spool::Spool;
use tdmq_backup::message::Body;
use tdmq_backup::pulsar::{Cluster, Initial};
use tdmq_backup::source::{Next, Source};
use tdmq_backup::{Clock, Rule};

use crate::cost::{Cost, Whose, cpu, peak};

/// Nothing measured here takes as long; what does is stuck.
const LIMIT: Duration = Duration::from_secs(60);
/// As much as the program keeps in memory of an object.
const SPOOL_MEMORY: usize = 1 << 20;
/// The records come to the compressor in pieces of at most this size, about that of a large message.
const SLICE: usize = 100 << 10;

#[derive(Clone, Copy)]
pub enum Task {
    /// The program, with a rule: all of its process.
    Run,
    /// A topic read by the program's consumer, decoded and dropped; all of this process.
    Drain,
    /// The records of an object through the compressor; unpacking them is not counted.
    Compress,
}

impl Task {
    pub fn named(name: &str) -> Option<Self> {
        [Task::Run, Task::Drain, Task::Compress].into_iter().find(|task| task.name() == name)
    }

    pub fn name(self) -> &'static str {
        match self {
            Task::Run => "run",
            Task::Drain => "drain",
            Task::Compress => "compress",
        }
    }
}

/// What a task did, to see that it did all of it, and what that took.
#[derive(Debug, Serialize, Deserialize)]
pub struct Done {
    pub cost: Cost,
    pub messages: u64,
    /// Bytes that went in: payloads of a drain, otherwise records.
    pub read: u64,
    /// Bytes that came out, compressed.
    pub written: u64,
    /// The object, where one was stored.
    pub key: Option<String>,
    /// How long a run took to announce and store it.
    pub storing: Duration,
}

/// Does the task on a rule or an object.
pub fn run(task: Task, path: &Path) -> Result<()> {
    let done = match task {
        Task::Run => program(path)?,
        Task::Drain => tokio::runtime::Builder::new_current_thread().enable_all().build()?.block_on(drain(path))?,
        Task::Compress => compress(path)?,
    };
    println!("{}", serde_json::to_string(&done)?);
    Ok(())
}

/// The program has its own process, and this one nothing but that child: the peak is the child's own figure.
fn program(rule: &Path) -> Result<Done> {
    let clock = Clock::system();
    let started = clock.now();
    let mut command = Command::new(env!("CARGO_BIN_EXE_tdmq-backup"));
    command.arg("invoke").arg("--rule").arg(rule).args(["--timeout", &LIMIT.as_secs().to_string(), "--json"]);
    let output = command.stderr(Stdio::inherit()).output().context("the program does not start")?;
    let (wall, cpu) = (clock.now() - started, cpu(Whose::Children));
    let text = String::from_utf8_lossy(&output.stdout);
    ensure!(output.status.success(), "the run failed: {text}");

    let report: Report = serde_json::from_str(&text).with_context(|| format!("not a report: {text}"))?;
    ensure!(report.objects.len() <= 1 && report.objects.iter().all(|o| o.acknowledged), "not one object: {text}");
    let object = report.objects.into_iter().next();
    Ok(Done {
        cost: Cost { wall, cpu, peak: report.peak_memory_bytes },
        messages: report.messages,
        read: object.as_ref().map_or(0, |object| object.bytes_before_compression),
        written: object.as_ref().map_or(0, |object| object.bytes),
        key: object.map(|object| object.key),
        storing: Duration::from_millis(report.phases.store_ms),
    })
}

/// What is used of the program's report.
#[derive(Deserialize)]
struct Report {
    messages: u64,
    objects: Vec<Object>,
    peak_memory_bytes: u64,
    phases: Phases,
}

#[derive(Deserialize)]
struct Phases {
    store_ms: u64,
}

#[derive(Deserialize)]
struct Object {
    key: String,
    bytes: u64,
    bytes_before_compression: u64,
    acknowledged: bool,
}

async fn drain(rule: &Path) -> Result<Done> {
    let clock = Clock::system();
    let started = clock.now();
    let rule = Rule::load(Some(rule), std::env::vars())?;
    let cluster = Cluster::new(&rule, started + LIMIT);
    let mut source = cluster.attach(&rule.topic, &rule.subscription, Initial::Earliest).await?;
    let bounds = source.bounds().await?;
    let (mut messages, mut read) = (0, 0);
    let mut ended = bounds.nothing_to_do();
    while !ended {
        match source.next(started + LIMIT).await? {
            Next::Entry(entry) => {
                let undecodable = entry.messages(|message| {
                    messages += 1;
                    if let Body::Payload(payload) = black_box(message).body {
                        read += payload.len() as u64;
                    }
                });
                ensure!(undecodable.is_none(), "an entry cannot be decoded: {undecodable:?}");
                ended = entry.position >= bounds.last;
            }
            Next::Reattached => {}
            Next::Silence => bail!("the topic was not read within {LIMIT:?}"),
        }
    }
    source.close().await;
    let cost = Cost { wall: clock.now() - started, cpu: cpu(Whose::Mine), peak: peak()? };
    Ok(Done { cost, messages, read, written: 0, key: None, storing: Duration::ZERO })
}

fn compress(object: &Path) -> Result<Done> {
    let clock = Clock::system();
    let (mut wall, mut busy, mut read) = (Duration::ZERO, Duration::ZERO, 0);
    let packed = File::open(object).with_context(|| format!("the object {} is not there", object.display()))?;
    let mut records = flate2::read::MultiGzDecoder::new(packed);
    let mut compressor = Compressor::new(Compression::Gzip, Spool::new(&std::env::temp_dir(), SPOOL_MEMORY));
    let mut slice = vec![0; SLICE];
    loop {
        let length = records.read(&mut slice)?;
        let (at, used) = (clock.now(), cpu(Whose::Mine));
        if length == 0 {
            let written = compressor.finish()?.length();
            let cost = Cost { wall: wall + (clock.now() - at), cpu: busy + (cpu(Whose::Mine) - used), peak: peak()? };
            return Ok(Done { cost, messages: 0, read, written, key: None, storing: Duration::ZERO });
        }
        compressor.append(&slice[..length])?;
        wall += clock.now() - at;
        busy += cpu(Whose::Mine) - used;
        read += length as u64;
    }
}

//! What was measured, as text, and whether it is good enough.

use std::fmt::Write;
use std::time::Duration;

use crate::Case;
use crate::cost::Cost;
use crate::noise::Parts;

/// The most memory a run of the largest object may take, in MiB.
const MOST_MIB: f64 = 64.0;
/// The most that parts may take longer than a plain PUT of the same bytes, in seconds.
const MOST_SECONDS: f64 = 1.0;
/// The most processor time of a run, in those of a null drain and the compressor together.
const MOST_CPU: f64 = 2.0;

#[derive(Clone, Copy, PartialEq, Eq)]
pub enum What {
    Run,
    Drain,
    Compressor,
}

impl What {
    fn name(self) -> &'static str {
        match self {
            What::Run => "run",
            What::Drain => "null drain",
            What::Compressor => "compressor alone",
        }
    }
}

pub struct Row {
    pub case: Case,
    pub what: What,
    pub cost: Cost,
}

/// Where, and how often.
pub fn machine(repeat: usize) -> String {
    let cores = std::thread::available_parallelism().map_or("?".into(), |cores| cores.to_string());
    let load = std::fs::read_to_string("/proc/loadavg").unwrap_or_default();
    let load = load.split(' ').next().unwrap_or("?");
    format!(
        "{cores} cores, shared with the broker and the store; load before: {load}; {repeat} times each\n\
         One machine's figures: times are medians, peaks the largest, MB/s of payload by wall time.\n"
    )
}

pub fn table(rows: &[Row]) -> String {
    let mut text =
        format!("{:<16}{:<18}{:>8}{:>8}{:>10}{:>8}\n", "case", "what", "wall s", "CPU s", "peak MiB", "MB/s");
    for row in rows {
        let Cost { wall, cpu, peak } = row.cost;
        let speed = match row.case.bytes() {
            0 => "-".into(),
            bytes => format!("{:.0}", bytes as f64 / 1e6 / wall.as_secs_f64()),
        };
        let (name, what) = (row.case.name, row.what.name());
        let (wall, cpu, peak) = (wall.as_secs_f64(), cpu.as_secs_f64(), mib(peak));
        writeln!(text, "{name:<16}{what:<18}{wall:>8.3}{cpu:>8.3}{peak:>10.1}{speed:>8}").expect("a string grows");
    }
    text
}

pub fn parts(measured: &[Parts]) -> String {
    let mut text = format!(
        "\n{:<16}{:>12}{:>12}{:>10}{:>14}{:>12}\n",
        "one long object", "bytes", "run: CPU s", "peak MiB", "in parts s", "one PUT s"
    );
    for Parts { server, bytes, run, storing, put } in measured {
        let (cpu, peak) = (run.cpu.as_secs_f64(), mib(run.peak));
        let (name, storing, put) = (server.name(), storing.as_secs_f64(), put.as_secs_f64());
        writeln!(text, "{name:<16}{bytes:>12}{cpu:>12.3}{peak:>10.1}{storing:>14.3}{put:>12.3}")
            .expect("a string grows");
    }
    text
}

/// Each target with its outcome, and whether all are met. `largest` is the case whose memory counts.
pub fn targets(rows: &[Row], parts: &[Parts], largest: &Case) -> (String, bool) {
    let mut text = format!("{:<50}{:>8}{:>10}\n", "target", "is", "at most");
    let mut met = true;
    let mut judge = |what: String, is: f64, limit: f64| {
        let verdict = if is <= limit { "ok" } else { "MISSED" };
        met &= is <= limit;
        writeln!(text, "{what:<50}{is:>8.2}{limit:>10.2}  {verdict}").expect("a string grows");
    };
    for run in rows.iter().filter(|row| row.what == What::Run) {
        let name = run.case.name;
        let beside = |what| rows.iter().find(|row| row.case.name == name && row.what == what).map(|row| row.cost.cpu);
        if let (Some(drain), Some(compressor)) = (beside(What::Drain), beside(What::Compressor)) {
            let what = format!("{name}: CPU ÷ (null drain + compressor)");
            judge(what, seconds(run.cost.cpu) / seconds(drain + compressor), MOST_CPU);
        }
        if name == largest.name {
            judge(format!("{name}: peak MiB of a run"), mib(run.cost.peak), MOST_MIB);
        }
    }
    for Parts { server, run, storing, put, .. } in parts {
        let name = server.name();
        judge(format!("{name}, long object: peak MiB of a run"), mib(run.peak), MOST_MIB);
        let longer = storing.as_secs_f64() - put.as_secs_f64();
        judge(format!("{name}, long object: parts − one PUT, s"), longer, MOST_SECONDS);
    }
    (text, met)
}

fn seconds(time: Duration) -> f64 {
    // Nothing is faster than the kernel's count.
    time.as_secs_f64().max(1e-6)
}

fn mib(bytes: u64) -> f64 {
    bytes as f64 / f64::from(1 << 20)
}

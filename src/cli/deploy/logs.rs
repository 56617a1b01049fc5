//! `tdmq-backup status` and `tdmq-backup logs`: what the functions' runs have reported.

use std::process::ExitCode;
use std::time::Duration;

use anyhow::Result;
use clap::Args;
use serde_json::{Value, json};
use tdmq_backup::Clock;
use tdmq_backup::error::visible;

use super::standing::{self, Standing};
use super::wanted::Deployed;
use super::{Place, shown, text};
use crate::cli::summary::instant;

/// How far back a function's last run is looked for.
const BACK_MS: u64 = 24 * 60 * 60 * 1000;
/// Between two looks at the log.
const FOLLOW: Duration = Duration::from_secs(10);
/// Looks that may fail one after the other.
const MOST_FAILURES: u32 = 10;

#[derive(Args)]
pub struct Status {
    #[command(flatten)]
    place: Place,
    /// One line of JSON for each function
    #[arg(long)]
    json: bool,
}

impl Status {
    pub async fn run(self) -> Result<ExitCode> {
        let clock = Clock::system();
        let rule = self.place.rule()?;
        let cloud = self.place.cloud(&rule);
        let mut rows = vec![HEADINGS.map(str::to_owned)];
        let (mut by_heads, mut all_read) = (false, true);
        for mut function in cloud.ours()? {
            function.paused = cloud.is_timer_on(&function)? == Some(false);
            let from = clock.now_ms().saturating_sub(BACK_MS);
            let runs = match cloud.reports(&function.name, from, 1) {
                Ok(runs) => Runs::Read(runs.into_iter().next_back()),
                Err(error) => {
                    eprintln!("{}: the log of its runs was not read: {error:#}", function.name);
                    all_read = false;
                    Runs::NotRead
                }
            };
            let heads = match &runs {
                Runs::Read(Some(_)) => Vec::new(),
                _ => standing::standing(&function, &rule, &cloud.region, &clock).await.unwrap_or_else(|error| {
                    eprintln!(
                        "warning: {}: its heads were not read: {}",
                        function.name,
                        visible(&format!("{error:#}"))
                    );
                    Vec::new()
                }),
            };
            by_heads |= !heads.is_empty();
            match self.json {
                true => println!("{}", visible(&as_json(&function, &runs, &heads).to_string())),
                false => rows.push(row(&function, &runs, &heads)),
            }
        }
        match rows.len() {
            _ if self.json => {}
            1 => println!("no function on {} in {} was made by tdmq-backup", self.place.target.name(), cloud.region),
            _ => table(&rows),
        }
        if by_heads && !self.json {
            println!(
                "head: no run is in the log of the last day, or the log was not read; this is what the head in the bucket says, written \
                 with each object"
            );
        }
        Ok(if all_read { ExitCode::SUCCESS } else { ExitCode::FAILURE })
    }
}

/// What the log says of a function's runs.
enum Runs {
    /// The last one of a day, if there was one: when it was, and its report.
    Read(Option<(String, Value)>),
    /// Nobody knows.
    NotRead,
}

impl Runs {
    fn last(&self) -> Option<&(String, Value)> {
        match self {
            Runs::Read(last) => last.as_ref(),
            Runs::NotRead => None,
        }
    }
}

const HEADINGS: [&str; 7] = ["RULE", "STATE", "EVERY", "LAST RUN", "OUTCOME", "COMPLETE THROUGH", "BACKLOG"];

fn row(function: &Deployed, runs: &Runs, heads: &[Standing]) -> [String; 7] {
    let nothing = Value::Null;
    let report = runs.last().map_or(&nothing, |(_, report)| report);
    let by_heads = standing::shown(heads);
    let [at, outcome] = match runs {
        Runs::Read(Some((at, report))) => [at.clone(), shown(report, "/outcome")],
        Runs::Read(None) => by_heads.unwrap_or_else(|| ["none in a day", "-"].map(str::to_owned)),
        Runs::NotRead => ["not read".to_owned(), by_heads.map_or("-".to_owned(), |[_, stored]| stored)],
    };
    let timer = match function.timer {
        true if function.paused => format!("{}, off", every(function)),
        true => every(function),
        false => "no timer".to_owned(),
    };
    [
        function.name.clone(),
        function.state.clone(),
        timer,
        at,
        outcome,
        complete_through(report),
        shown(report, "/backlog_entries"),
    ]
}

fn every(function: &Deployed) -> String {
    let interval = function.fact("interval");
    if interval.ends_with('m') { interval.to_owned() } else { format!("{interval}m") }
}

fn complete_through(report: &Value) -> String {
    report["complete_through"].as_u64().and_then(instant).unwrap_or_else(|| "-".to_owned())
}

fn as_json(function: &Deployed, runs: &Runs, heads: &[Standing]) -> Value {
    let last = runs.last();
    json!({
        "rule": function.name,
        "state": function.state,
        "timer": function.timer && !function.paused,
        "deployed": function.facts,
        "log_read": !matches!(runs, Runs::NotRead),
        "last_run": last.map(|(at, _)| at),
        "report": last.map(|(_, report)| report),
        "heads": standing::as_json(heads),
    })
}

#[derive(Args)]
pub struct Logs {
    #[command(flatten)]
    place: Place,
    /// Goes on as runs end, until Ctrl-C: exit code 130, as of every program that is interrupted
    #[arg(long)]
    follow: bool,
    /// The reports as they are, a line each
    #[arg(long)]
    json: bool,
    /// How many runs
    #[arg(long, value_name = "RUNS", default_value = "20", value_parser = clap::value_parser!(u64).range(1..=100))]
    limit: u64,
}

impl Logs {
    pub async fn run(self) -> Result<ExitCode> {
        let clock = Clock::system();
        let rule = self.place.rule()?;
        let cloud = self.place.cloud(&rule);
        let mut seen: Vec<(String, Value)> = Vec::new();
        let mut patience = Patience::default();
        loop {
            let from = clock.now_ms().saturating_sub(BACK_MS);
            let found = match patience.after(cloud.reports(&rule.name, from, self.limit as usize))? {
                Some(found) => found,
                None => {
                    tokio::time::sleep(FOLLOW).await;
                    continue;
                }
            };
            let new: Vec<_> = found.iter().filter(|row| !seen.contains(row)).cloned().collect();
            for (at, report) in &new {
                match self.json {
                    true => println!("{report}"),
                    false => println!("{}", visible(&line(at, report))),
                }
            }
            if !self.follow {
                if found.is_empty() {
                    eprintln!("no run of {} in the last day", rule.name);
                }
                return Ok(ExitCode::SUCCESS);
            }
            seen = found;
            tokio::time::sleep(FOLLOW).await;
        }
    }
}

/// With a log that can be read, and now and then cannot.
#[derive(Debug, Default)]
struct Patience {
    /// Looks that failed one after the other; `None` before the first one that did not: what fails from the beginning is
    /// not mended by looking again.
    failed: Option<u32>,
}

impl Patience {
    /// What was found; `None` where that is to be looked for again.
    fn after<T>(&mut self, looked: Result<T>) -> Result<Option<T>> {
        match (looked, self.failed.map_or(MOST_FAILURES, |failed| failed + 1)) {
            (Ok(found), _) => {
                self.failed = Some(0);
                Ok(Some(found))
            }
            (Err(error), MOST_FAILURES..) => Err(error),
            (Err(error), failed) => {
                self.failed = Some(failed);
                eprintln!("the log was not read, and is looked at again: {error:#}");
                Ok(None)
            }
        }
    }
}

/// A run in a row: when, how it ended, what it moved, what is left.
fn line(at: &str, report: &Value) -> String {
    let listed = report["objects"].as_array().map_or(0, Vec::len) as u64;
    let objects = listed + report["more_objects"].as_u64().unwrap_or(0);
    let counts = format!("{} messages in {objects} objects", report["messages"].as_u64().unwrap_or(0));
    let mut line = format!("{at}  {:<13}  {counts}", text(report, "/outcome"));
    for (name, value) in [
        ("backlog", text(report, "/backlog_entries")),
        ("complete through", complete_through(report)),
        ("ms", text(report, "/phases/total_ms")),
        ("error", text(report, "/error/message")),
    ] {
        if !value.is_empty() && value != "-" {
            line.push_str(&format!("  {name} {value}"));
        }
    }
    line
}

/// Columns as wide as their widest value.
fn table<const N: usize>(rows: &[[String; N]]) {
    let width = |column: usize| rows.iter().map(|row| row[column].chars().count()).max().unwrap_or(0);
    for row in rows {
        let cells: Vec<String> =
            row.iter().enumerate().map(|(at, cell)| format!("{cell:<width$}", width = width(at))).collect();
        println!("{}", visible(cells.join("  ").trim_end()));
    }
}

#[cfg(test)]
mod tests {
    use anyhow::anyhow;

    use super::*;

    #[test]
    fn a_log_that_cannot_be_read_is_looked_at_again_some_times_once_it_has_been_read() {
        let fails = || Err::<(), _>(anyhow!("throttled"));
        assert!(Patience::default().after(fails()).is_err());
        let mut patience = Patience::default();
        for _ in 0..2 {
            assert_eq!(patience.after(Ok(())).unwrap(), Some(()));
            for _ in 1..MOST_FAILURES {
                assert_eq!(patience.after(fails()).unwrap(), None);
            }
        }
        assert!(patience.after(fails()).is_err());
    }
}

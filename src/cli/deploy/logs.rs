//! `tdmq-backup status` and `tdmq-backup logs`: what the functions' runs have reported.

use std::process::ExitCode;
use std::time::Duration;

use anyhow::Result;
use clap::Args;
use serde_json::{Value, json};
use tdmq_backup::Clock;

use super::standing::{self, Standing};
use super::wanted::Deployed;
use super::{Place, shown, text};
use crate::cli::summary::instant;

/// How far back a function's last run is looked for.
const BACK_MS: u64 = 24 * 60 * 60 * 1000;
/// Between two looks at the log.
const FOLLOW: Duration = Duration::from_secs(10);

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
        let mut by_heads = false;
        for mut function in cloud.ours()? {
            function.paused = cloud.is_paused(&function)?;
            let from = clock.now_ms().saturating_sub(BACK_MS);
            let last = cloud.reports(&function.name, from, 1).unwrap_or_else(|error| {
                eprintln!("warning: {}: the log of its runs was not read: {error:#}", function.name);
                Vec::new()
            });
            let last = last.last();
            let heads = match last {
                Some(_) => Vec::new(),
                None => standing::standing(&function, &rule, &cloud.region, &clock).await.unwrap_or_else(|error| {
                    eprintln!("warning: {}: its heads were not read: {error:#}", function.name);
                    Vec::new()
                }),
            };
            by_heads |= !heads.is_empty();
            match self.json {
                true => println!("{}", as_json(&function, last, &heads)),
                false => rows.push(row(&function, last, &heads)),
            }
        }
        match rows.len() {
            _ if self.json => {}
            1 => println!("no function on {} in {} was made by tdmq-backup", self.place.target.name(), cloud.region),
            _ => table(&rows),
        }
        if by_heads && !self.json {
            println!(
                "head: no run is in the log of the last day; this is what the head in the bucket says, written with each object"
            );
        }
        Ok(ExitCode::SUCCESS)
    }
}

const HEADINGS: [&str; 7] = ["RULE", "STATE", "EVERY", "LAST RUN", "OUTCOME", "COMPLETE THROUGH", "BACKLOG"];

fn row(function: &Deployed, last: Option<&(String, Value)>, heads: &[Standing]) -> [String; 7] {
    let nothing = Value::Null;
    let report = last.map_or(&nothing, |(_, report)| report);
    let [at, outcome] = match last {
        Some((at, report)) => [at.clone(), shown(report, "/outcome")],
        None => standing::shown(heads).unwrap_or_else(|| ["none in a day", "-"].map(str::to_owned)),
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

fn as_json(function: &Deployed, last: Option<&(String, Value)>, heads: &[Standing]) -> Value {
    json!({
        "rule": function.name,
        "state": function.state,
        "timer": function.timer && !function.paused,
        "deployed": function.facts,
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
        loop {
            let from = clock.now_ms().saturating_sub(BACK_MS);
            let found = cloud.reports(&rule.name, from, self.limit as usize)?;
            let new: Vec<_> = found.iter().filter(|row| !seen.contains(row)).cloned().collect();
            for (at, report) in &new {
                match self.json {
                    true => println!("{report}"),
                    false => println!("{}", line(at, report)),
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

/// A run in a row: when, how it ended, what it moved, what is left.
fn line(at: &str, report: &Value) -> String {
    let objects = report["objects"].as_array().map_or(0, Vec::len);
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
        println!("{}", cells.join("  ").trim_end());
    }
}

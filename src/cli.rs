//! What the command line takes, and its exit codes.

mod check;
mod demo;
mod deploy;
mod invoke;
mod progress;
mod summary;

use std::process::ExitCode;

use anyhow::Context;
use clap::{Parser, Subcommand};
use tdmq_backup::error::visible_lines;
use tdmq_backup::report::{Outcome, Report};
use tdmq_backup::{Error, Kind};

#[derive(Parser)]
#[command(version, about = "Backs up Pulsar topics into COS or any S3 store, exactly once", after_help = EXAMPLES)]
pub struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Shows the whole thing here and now: a broker and a bucket in this process, messages, an object
    Demo(demo::Demo),
    /// Says what is wrong with a rule, all of it
    Check(check::Check),
    /// Runs the function once, here, with a rule and an event
    Invoke(invoke::Invoke),
    /// Makes the function on a cloud, or edits it
    Deploy(deploy::Deploy),
    /// All functions that deploy made, with their last run
    Status(deploy::logs::Status),
    /// The runs of the rule's function, a row each
    Logs(deploy::logs::Logs),
    /// After the first deployment: one run, and a verdict on what is not known without an account
    Smoke(deploy::smoke::Smoke),
    /// Removes the rule's function; objects stay, and so does the subscription unless it is asked for
    Delete(deploy::delete::Delete),
}

const EXAMPLES: &str = "\
Examples:
  tdmq-backup demo
  tdmq-backup invoke --rule rule.toml
  tdmq-backup invoke --rule rule.toml --event events/scf-timer.json --json

Exit codes:
  0  stored, or nothing to do
  1  the run failed; standard error says why and what to do
  2  the rule, the event or the arguments are wrong
  3  somebody else holds the subscription
  4  a write was not answered; the next run finds out whether it happened";

impl Cli {
    pub fn run(self) -> ExitCode {
        self.command().unwrap_or_else(|error| {
            eprintln!("tdmq-backup: {}", visible_lines(&format!("{error:#}")));
            match error.downcast_ref::<Error>().map(Error::kind) {
                Some(Kind::Invalid) => ExitCode::from(2),
                _ => ExitCode::from(1),
            }
        })
    }

    fn command(self) -> anyhow::Result<ExitCode> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().context("no runtime")?;
        runtime.block_on(async {
            match self.command {
                Command::Demo(demo) => demo.run().await,
                Command::Check(check) => check.run(),
                Command::Invoke(invoke) => invoke.run().await,
                Command::Deploy(deploy) => deploy.run().await,
                Command::Status(status) => status.run().await,
                Command::Logs(logs) => logs.run().await,
                Command::Smoke(smoke) => smoke.run().await,
                Command::Delete(delete) => delete.run().await,
            }
        })
    }
}

/// What a run's outcome is to a shell.
fn exit_code(report: &Report) -> ExitCode {
    ExitCode::from(match report.outcome {
        Outcome::Stored | Outcome::Planned | Outcome::NothingToDo => 0,
        Outcome::Failed if report.error.as_ref().is_some_and(|error| error.kind == Kind::Invalid.name()) => 2,
        Outcome::Failed | Outcome::NotRead => 1,
        Outcome::Busy => 3,
        Outcome::Unknown => 4,
    })
}

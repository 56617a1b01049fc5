//! `bootstrap`: the function's thin shell. The platform's event in, one run, the reply out.
//!
//! The rule is read once, when the instance starts: from `TDMQ_BACKUP_RULE`, or else from `rule.toml`
//! in the package. What is wrong with it is said at each invocation, where somebody sees it. Nothing
//! is left running after a reply. A run's report goes to standard output as one line of JSON. An instance whose
//! store keys have ended says so in its reply and ends, with exit code 1: the next one gets new keys. One that cannot
//! serve at all says why in a line of the same form, and ends with exit code 1 too.
//!
//! One program for both platforms: which one it is on is seen by the address of the runtime's API.

#![forbid(unsafe_code)]

mod lambda;
mod panics;
mod scf;
mod shell;

use std::env;
use std::process::ExitCode;

use anyhow::anyhow;
use scf::Ended;
use serde_json::Value;
use shell::Shell;
use tdmq_backup::{Clock, Error, Kind};

#[tokio::main(flavor = "current_thread")]
async fn main() -> ExitCode {
    panics::watch();
    let ended = panics::caught(serve()).await.unwrap_or_else(|error| Err(error.into()));
    ended.unwrap_or_else(|error| {
        shell::log_end(&error);
        ExitCode::FAILURE
    })
}

/// One instance, until it ends.
async fn serve() -> anyhow::Result<ExitCode> {
    let old_at = Clock::system().now() + scf::OLD_AFTER;
    if let Some(address) = env::var_os("AWS_LAMBDA_RUNTIME_API") {
        lambda::check(&address)?;
        lambda::serve(Shell::cold_start()).await.map_err(|error| anyhow!(error).context("the Lambda runtime ended"))?;
        return Ok(ExitCode::FAILURE);
    }
    if let Some(address) = scf::address(|name| env::var(name).ok())? {
        let shell = Shell::cold_start();
        let run = async |event: &Value, request: &str, deadline| shell.invoke(event, request, deadline).await;
        return Ok(match scf::serve(&address, old_at, shell.time_limit(), run).await? {
            Ended::Old => ExitCode::SUCCESS,
            Ended::Over => ExitCode::FAILURE,
        });
    }
    let text = "bootstrap is started by AWS Lambda or Tencent SCF (neither AWS_LAMBDA_RUNTIME_API nor SCF_RUNTIME_API is set); \
                to run the function here: tdmq-backup invoke --rule rule.toml";
    Err(Error::new(Kind::Invalid, text).into())
}

//! `bootstrap`: the function's thin shell. The platform's event in, one run, the reply out.
//!
//! The rule is read once, when the instance starts: from `TDMQ_BACKUP_RULE`, or else from `rule.toml`
//! in the package. What is wrong with it is said at each invocation, where somebody sees it. Nothing
//! is left running after a reply. A run's report goes to standard output as one line of JSON. An instance whose
//! store keys have ended says so in its reply and ends, with exit code 1: the next one gets new keys.

mod lambda;
mod shell;

use std::process::ExitCode;

use anyhow::{anyhow, ensure};
use shell::Shell;

#[tokio::main(flavor = "current_thread")]
async fn main() -> anyhow::Result<ExitCode> {
    ensure!(
        std::env::var_os("AWS_LAMBDA_RUNTIME_API").is_some(),
        "bootstrap is started by AWS Lambda (AWS_LAMBDA_RUNTIME_API is not set); to run the function here: tdmq-backup invoke --rule rule.toml"
    );
    lambda::serve(Shell::cold_start()).await.map_err(|error| anyhow!(error).context("the Lambda runtime ended"))?;
    Ok(ExitCode::FAILURE)
}

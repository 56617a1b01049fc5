//! `bootstrap`: the function's thin shell. The platform's event in, one run, the reply out.
//!
//! The rule is read once, when the instance starts: from `TDMQ_BACKUP_RULE`, or else from `rule.toml`
//! in the package. What is wrong with it is said at each invocation, where somebody sees it. Nothing
//! is left running after a reply. A run's report goes to standard output as one line of JSON.
//!
//! One program for both platforms: which one it is on is seen by the address of the runtime's API.

mod lambda;
mod panics;
mod scf;
mod shell;

use std::env;

use anyhow::{anyhow, bail};
use shell::Shell;
use tdmq_backup::Clock;

#[tokio::main(flavor = "current_thread")]
async fn main() -> anyhow::Result<()> {
    panics::watch();
    let old_at = Clock::system().now() + scf::OLD_AFTER;
    if env::var_os("AWS_LAMBDA_RUNTIME_API").is_some() {
        return lambda::serve(Shell::cold_start())
            .await
            .map_err(|error| anyhow!(error).context("the Lambda runtime ended"));
    }
    if let Some(address) = scf::address(|name| env::var(name).ok())? {
        let shell = Shell::cold_start();
        return scf::serve(&address, old_at, async |event, request, deadline| {
            shell.invoke(event, request, deadline).await
        })
        .await;
    }
    bail!(
        "bootstrap is started by AWS Lambda or Tencent SCF (neither AWS_LAMBDA_RUNTIME_API nor SCF_RUNTIME_API is set); to run the function here: tdmq-backup invoke --rule rule.toml"
    )
}

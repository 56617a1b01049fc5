//! `bootstrap`: the function's thin shell. The platform's event in, one run, the reply out.
//!
//! The rule is read once, when the instance starts: from `TDMQ_BACKUP_RULE`, or else from `rule.toml`
//! in the package. What is wrong with it is said at each invocation, where somebody sees it. Nothing
//! is left running after a reply. A run's report goes to standard output as one line of JSON.

mod lambda;
mod shell;

use std::process::ExitCode;

use shell::Shell;

#[tokio::main(flavor = "current_thread")]
async fn main() -> ExitCode {
    if std::env::var_os("AWS_LAMBDA_RUNTIME_API").is_none() {
        eprintln!(
            "bootstrap is started by AWS Lambda (AWS_LAMBDA_RUNTIME_API is not set); to run the function here: tdmq-backup invoke --rule rule.toml"
        );
        return ExitCode::from(2);
    }
    match lambda::serve(Shell::cold_start()).await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("the Lambda runtime ended: {error}");
            ExitCode::FAILURE
        }
    }
}

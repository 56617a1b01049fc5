//! The command line. Exit codes: 0 done or nothing to do, 1 failed, 2 the rule or the arguments are
//! wrong, 3 somebody else holds the subscription, 4 a write was not answered (the next run finds out).

#![forbid(unsafe_code)]

mod cli;

use std::process::ExitCode;

use clap::Parser;

fn main() -> ExitCode {
    cli::Cli::parse().run()
}

//! `tdmq-backup check`: whether a rule is one.

use std::env;
use std::ffi::OsString;
use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::Result;
use clap::Args;
use tdmq_backup::Rule;

#[derive(Args)]
#[command(after_help = "Examples:\n  tdmq-backup check --offline --rule rule.toml")]
pub struct Check {
    /// The rule file; single keys may come from TDMQ_BACKUP_<KEY>, the token from TDMQ_BACKUP_TOKEN
    #[arg(long, value_name = "FILE")]
    rule: Option<PathBuf>,
    /// The rule alone: connects to nothing. There is no other check yet
    #[arg(long, required = true)]
    offline: bool,
}

impl Check {
    /// The rule's name on standard output, its warnings on standard error.
    pub fn run(self) -> Result<ExitCode> {
        let text = |(name, value): (OsString, OsString)| Some((name.into_string().ok()?, value.into_string().ok()?));
        let rule = Rule::load(self.rule.as_deref(), env::vars_os().filter_map(text))?;
        for warning in &rule.warnings {
            eprintln!("warning: {warning}");
        }
        println!("{}: the rule is well formed", rule.name);
        Ok(ExitCode::SUCCESS)
    }
}

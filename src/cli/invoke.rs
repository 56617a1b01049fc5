//! `tdmq-backup invoke`: one run, as the timer would start it.

use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use anyhow::Result;
use clap::Args;
use tdmq_backup::event::Event;
use tdmq_backup::run::Function;
use tdmq_backup::{Clock, Error, Kind};

use super::deploy::{self, Target};
use super::progress::Meter;
use super::{exit_code, summary};

const EXAMPLES: &str = r#"Examples:
  TDMQ_BACKUP_TOKEN=… tdmq-backup invoke --rule rule.toml
  tdmq-backup invoke --rule rule.toml --json | jq .complete_through
  echo '{}' | tdmq-backup invoke --rule rule.toml --event -
  echo '{"dry_run":true}' | tdmq-backup invoke --rule rule.toml --event -
  echo '{"max_objects":20}' | tdmq-backup invoke --rule rule.toml --event -
  echo '{"seek":"latest","confirm":"backup"}' | tdmq-backup invoke --rule rule.toml --event -

A dry run reads and says what would be stored, and changes nothing. The last one moves the subscription once, forward too: to earliest, latest, an RFC 3339 time or ledger:entry.

Store keys come from TENCENTCLOUD_SECRETID and TENCENTCLOUD_SECRETKEY on COS, from AWS_ACCESS_KEY_ID
and AWS_SECRET_ACCESS_KEY elsewhere."#;

#[derive(Args)]
#[command(after_help = EXAMPLES)]
pub struct Invoke {
    /// The rule file; single keys may come from TDMQ_BACKUP_<KEY>, the token from TDMQ_BACKUP_TOKEN
    #[arg(long, value_name = "FILE")]
    rule: Option<PathBuf>,
    /// The platform's event, as in events/; `-` reads standard input
    #[arg(long, value_name = "FILE")]
    event: Option<PathBuf>,
    /// Seconds after which the run must have ended, as a platform would say; default: interval + 120
    #[arg(long, value_name = "SECONDS", value_parser = clap::value_parser!(u64).range(1..=86_400))]
    timeout: Option<u64>,
    /// Prints the report as one line of JSON
    #[arg(long)]
    json: bool,
    /// Runs the deployed function instead, on this cloud
    #[arg(long, value_enum)]
    target: Option<Target>,
    /// With --target: the function's region; default: the rule's
    #[arg(long, value_name = "REGION", requires = "target")]
    region: Option<String>,
}

impl Invoke {
    pub async fn run(self) -> Result<ExitCode> {
        let clock = Clock::system();
        let event = match &self.event {
            Some(path) => read(path)?,
            None => b"{}".to_vec(),
        };
        if let Some(target) = self.target {
            let rule = self.rule.unwrap_or_else(|| PathBuf::from("rule.toml"));
            Event::parse(&event)?;
            return deploy::invoke(target, rule, self.region, &String::from_utf8_lossy(&event));
        }
        let wish = Event::parse(&event)?.wish();
        let function = Function::load(self.rule.as_deref(), clock)?;
        let deadline = self.timeout.map(|seconds| clock.now() + Duration::from_secs(seconds));
        let rule = function.rule();
        let max_objects = wish.max_objects.unwrap_or(rule.max_objects);
        let mut meter = Meter::new(clock, rule.max_messages.into(), rule.max_bytes, max_objects);
        let report = function.answer(wish, deadline, &clock, &mut |progress| meter.show(progress)).await;
        meter.clear();
        match self.json {
            true => summary::json(&report)?,
            false => summary::text(&report),
        }
        Ok(exit_code(&report))
    }
}

fn read(path: &PathBuf) -> tdmq_backup::Result<Vec<u8>> {
    let read = match path.as_os_str() == "-" {
        true => {
            let mut bytes = Vec::new();
            std::io::Read::read_to_end(&mut std::io::stdin(), &mut bytes).map(|_| bytes)
        }
        false => std::fs::read(path),
    };
    read.map_err(|e| Error::new(Kind::Invalid, format!("the event file {} cannot be read", path.display())).because(e))
}

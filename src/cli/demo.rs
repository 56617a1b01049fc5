use std::process::ExitCode;
use clap::Args;
use tdmq_backup::Result;
#[derive(Args)]
pub struct Demo {}
impl Demo { pub async fn run(self) -> Result<ExitCode> { Ok(ExitCode::SUCCESS) } }

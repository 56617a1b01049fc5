//! What both platforms share: the function made once, an event in, a reply or a failure out.

use std::env;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::time::Duration;

use serde_json::Value;
use tdmq_backup::event::Event;
use tdmq_backup::report::{Outcome, Report};
use tdmq_backup::run::Function;
use tdmq_backup::{Clock, Error, Kind};

/// A failed invocation, as a platform is told.
#[derive(Debug)]
pub struct Failed {
    /// `invalid`, `denied`, `unavailable`, …: see [`Kind`].
    pub kind: &'static str,
    /// The whole chain of reasons, once, and what to do.
    pub message: String,
}

impl From<&Error> for Failed {
    fn from(error: &Error) -> Self {
        Failed { kind: error.kind().name(), message: error.chain() }
    }
}

/// The function, or why there is none.
pub struct Shell {
    function: Result<Function, Error>,
    over: AtomicBool,
}

impl Shell {
    pub fn cold_start() -> Self {
        Shell { function: Function::load(packaged_rule().as_deref(), Clock::system()), over: AtomicBool::new(false) }
    }

    /// Whether this instance can do nothing more: its keys came with it and have ended, and a new one gets new ones.
    /// A platform's loop asks after each reply, and returns; then the process ends with exit code 1.
    pub fn is_over(&self) -> bool {
        self.over.load(Relaxed)
    }

    /// One run. `deadline_ms` is the platform's, ms since the epoch; one that has passed means that it is
    /// not known.
    ///
    /// Everything that a run did stands in the log line, also where the invocation fails.
    ///
    /// `request` is the platform's name for this event, the same each time that it is delivered.
    pub async fn invoke(&self, event: &Value, request: &str, deadline_ms: u64) -> Result<Value, Failed> {
        let clock = Clock::system();
        let function = self.function.as_ref().map_err(logged)?;
        let mut seek = Event::from_value(event).map_err(|error| logged(&error))?.seek;
        if let Some(seek) = &mut seek {
            seek.id.get_or_insert_with(|| format!("request {request}"));
        }
        let left = Duration::from_millis(deadline_ms.saturating_sub(clock.now_ms()));
        let deadline = (!left.is_zero()).then(|| clock.now() + left);
        let report = function.obey(seek, deadline, &clock, &mut |_| {}).await;
        self.over.fetch_or(report.ends_instance, Relaxed);
        reply(&report)
    }
}

/// `rule.toml` in the package, unless a variable names another file.
fn packaged_rule() -> Option<PathBuf> {
    if env::var_os("TDMQ_BACKUP_RULE").is_some() {
        return None;
    }
    let folder = env::var_os("LAMBDA_TASK_ROOT").map(PathBuf::from).unwrap_or_default();
    Some(folder.join("rule.toml")).filter(|path| path.exists())
}

fn reply(report: &Report) -> Result<Value, Failed> {
    let value = serde_json::to_value(report)
        .map_err(|error| Failed { kind: Kind::Internal.name(), message: error.to_string() })?;
    println!("{value}");
    match (&report.error, report.outcome) {
        (Some(error), Outcome::Failed) => Err(Failed { kind: error.kind, message: error.message.clone() }),
        _ => Ok(value),
    }
}

fn logged(error: &Error) -> Failed {
    let failed = Failed::from(error);
    println!(
        "{}",
        serde_json::json!({ "outcome": Outcome::Failed, "error": { "kind": failed.kind, "message": failed.message } })
    );
    failed
}

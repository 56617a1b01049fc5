//! What both platforms share: the function made once, an event in, a reply or a failure out.

use std::env;
use std::path::PathBuf;
use std::time::Duration;

use serde_json::Value;
use tdmq_backup::event::Event;
use tdmq_backup::report::{Outcome, Report};
use tdmq_backup::run::Function;
use tdmq_backup::{Clock, Error, Kind, ticks};

use crate::panics::caught;

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

impl Failed {
    fn log(&self) {
        let error = serde_json::json!({ "kind": self.kind, "message": self.message });
        println!("{}", serde_json::json!({ "outcome": Outcome::Failed, "error": error }));
    }
}

/// What an invocation came to.
#[derive(Debug)]
pub struct Answer {
    pub outcome: Result<Value, Failed>,
    /// This instance can do nothing more: its keys came with it and have ended, and a new one gets new ones. The
    /// process ends after the reply, with exit code 1.
    pub last: bool,
}

impl Answer {
    fn failed(error: &Error) -> Self {
        Answer { outcome: Err(logged(error)), last: false }
    }

    /// To an event that is none.
    pub fn not_json(body: &[u8]) -> Self {
        let error = Event::parse(body).err();
        Answer::failed(&error.unwrap_or_else(|| Error::new(Kind::Internal, "an event was taken for none: report it")))
    }
}

/// The function, or why there is none.
pub struct Shell(Result<Function, Error>);

impl Shell {
    pub fn cold_start() -> Self {
        Shell(Function::load(packaged_rule().as_deref(), Clock::system()))
    }

    /// What a run may take where SCF does not say: as long as the function that is deployed with this rule. `None` where the
    /// rule is wrong, and there are no runs.
    pub fn time_limit(&self) -> Option<Duration> {
        self.0.as_ref().ok().map(|function| ticks::of_scf(function.rule().interval))
    }

    /// One run. `deadline_ms` is the platform's, ms since the epoch; one that has passed means that it is
    /// not known.
    ///
    /// Everything that a run did stands in the log line, also where the invocation fails.
    ///
    /// `request` is the platform's name for this event, the same each time that it is delivered; empty where the
    /// platform gives none.
    pub async fn invoke(&self, event: &Value, request: &str, deadline_ms: u64) -> Answer {
        caught(self.run(event, request, deadline_ms)).await.unwrap_or_else(|error| Answer::failed(&error))
    }

    async fn run(&self, event: &Value, request: &str, deadline_ms: u64) -> Answer {
        let clock = Clock::system();
        let function = match &self.0 {
            Ok(function) => function,
            Err(error) => return Answer::failed(error),
        };
        let mut event = match Event::from_value(event) {
            Ok(event) => event,
            Err(error) => return Answer::failed(&error),
        };
        if let Some(seek) = event.seek.as_mut().filter(|_| !request.is_empty()) {
            seek.id.get_or_insert_with(|| format!("request {request}"));
        }
        let deadline = time_left(deadline_ms, clock.now_ms()).map(|left| clock.now() + left);
        let report = function.answer(event.wish(), deadline, &clock, &mut |_| {}).await;
        Answer { outcome: reply(&report), last: report.ends_instance }
    }
}

/// What is left until the platform's deadline; `None` where that has passed. `cargo lambda watch` sends one of 1970.
fn time_left(deadline_ms: u64, now_ms: u64) -> Option<Duration> {
    let left = deadline_ms.checked_sub(now_ms).filter(|left| *left > 0)?;
    Some(Duration::from_millis(left))
}

/// `rule.toml` in the package, unless a variable names another file.
fn packaged_rule() -> Option<PathBuf> {
    if env::var_os("TDMQ_BACKUP_RULE").is_some() {
        return None;
    }
    let folder = ["LAMBDA_TASK_ROOT", "USER_CODE_ROOT"].into_iter().find_map(env::var_os);
    let folder = folder.map(PathBuf::from).unwrap_or_default();
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
    failed.log();
    failed
}

/// Why the instance ends without an invocation that could be told.
pub fn log_end(error: &anyhow::Error) {
    let failed = match error.downcast_ref::<Error>() {
        Some(error) => Failed::from(error),
        None => Failed { kind: Kind::Internal.name(), message: format!("{error:#}") },
    };
    failed.log();
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_time_limit_that_scf_does_not_say_is_the_timeout_that_is_deployed() {
        let of = |interval: &str| {
            let text = format!(
                "name = 'r'\nservice_url = 'pulsar://h'\ntopic = 'persistent://t/n/orders'\nsubscription = 's'\nbucket = 'bucket'\n\
                 region = 'r'\nendpoint = 'http://h'\ninterval = '{interval}'"
            );
            let keys = |name: &str| name.starts_with("AWS_").then(|| "key".to_owned());
            let function = Function::new(tdmq_backup::Rule::from_toml(&text).unwrap(), keys, Clock::system());
            Shell(function).time_limit().map(|limit| limit.as_secs())
        };
        let all = ["5m", "301s", "7m", "13m", "15m"].map(of);
        assert_eq!(all, [285, 285, 225, 465, 885].map(Some));
        assert_eq!(Shell(Err(Error::new(Kind::Invalid, "no rule"))).time_limit(), None);
    }

    #[test]
    fn a_deadline_in_the_past_is_not_known_and_one_to_come_is_what_is_left() {
        let now = 1_795_255_200_000;
        // What `cargo lambda watch` sends, whatever its --timeout says.
        assert_eq!(time_left(600_000, now), None);
        assert_eq!((time_left(0, now), time_left(now, now)), (None, None));
        assert_eq!(time_left(now + 4_981, now), Some(Duration::from_millis(4_981)));
    }
}

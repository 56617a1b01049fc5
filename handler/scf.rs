//! Tencent SCF's custom runtime: its loop around the shell.
//!
//! ```text
//!  init/ready ─▶ ┌ invocation/next ─▶ one run ─▶ invocation/response or invocation/error ┐ ─▶ exit
//!                └──────────────────── until the instance is an hour old ────────────────┘
//! ```
//!
//! Owns the order of these calls and what becomes of one that fails. Does not own a run ([`crate::shell`]) or the
//! calls themselves ([`api`]). Between a reply and the next event there is one open request and nothing else.
//!
//! The role's temporary keys stand in the environment and stay what they are as long as the process lives, so an
//! instance that is an hour old ends after its reply, long before they do; the platform starts another one.
//!
//! Source: "Custom Runtime", product 583, document 38129.

mod api;
#[cfg(test)]
mod tests;

use std::time::Duration;

use anyhow::Context;
use serde_json::Value;
use tdmq_backup::{Clock, Error, Kind};
use tokio::time::{Instant, sleep};

use crate::shell::{Answer, Failed};
use api::{Api, Invocation};

/// How old an instance may be when it takes another event.
pub const OLD_AFTER: Duration = Duration::from_secs(60 * 60);
/// Calls of the runtime API that may fail one after the other; then the process ends, and the platform starts another.
const MOST_FAILURES: u32 = 8;
/// How often a reply is sent: the platform takes the first one that it gets.
const REPLY_ATTEMPTS: u32 = 3;
const FIRST_PAUSE: Duration = Duration::from_millis(50);
const LONGEST_PAUSE: Duration = Duration::from_secs(5);

/// Why an instance takes no more events.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ended {
    Old,
    /// An [`Answer`] was its last.
    Over,
}

/// Serves invocations with `run`, which gets the event, its request's id and the deadline in ms since the epoch (0:
/// not known), until the instance has to end or is old, which it is at `old_at`. An event whose headers do not say what it
/// may take may take `unsaid`.
///
/// An error means that the runtime API does not work: the process should end with it.
pub async fn serve(
    address: &str,
    old_at: Instant,
    unsaid: Option<Duration>,
    run: impl AsyncFn(&Value, &str, u64) -> Answer,
) -> anyhow::Result<Ended> {
    let api = Api::new(address);
    let mut failures = Failures::default();
    while let Err(error) = api.ready().await {
        failures.another(error).await?;
    }
    // Of the invocation before, where the platform did not confirm it.
    let mut unconfirmed: Option<(String, Reply)> = None;
    loop {
        let invocation = match api.next().await {
            Ok(invocation) => invocation,
            Err(error) => {
                failures.another(error).await?;
                continue;
            }
        };
        let clock = Clock::system();
        let known = unconfirmed.take().filter(|(request, _)| !request.is_empty() && *request == invocation.request);
        let reply = match known {
            // It was carried out, and the platform has not got the answer.
            Some((_, reply)) => reply,
            None => answer(&run, &invocation, unsaid, &clock).await,
        };
        let sent = send(&api, &reply).await;
        if reply.last {
            return Ok(Ended::Over);
        }
        if clock.now() >= old_at {
            return Ok(Ended::Old);
        }
        match sent {
            Ok(()) => failures = Failures::default(),
            Err(error) => {
                unconfirmed = Some((invocation.request, reply));
                failures.another(error).await?;
            }
        }
    }
}

/// What an invocation came to.
struct Reply {
    outcome: Result<String, String>,
    /// The instance ends after it.
    last: bool,
}

async fn answer(
    run: &impl AsyncFn(&Value, &str, u64) -> Answer,
    invocation: &Invocation,
    unsaid: Option<Duration>,
    clock: &Clock,
) -> Reply {
    let limit = invocation.time_limit.or(unsaid.map(|limit| limit.as_millis() as u64));
    let deadline = limit.map_or(0, |limit| clock.now_ms().saturating_add(limit));
    let Answer { outcome, last } = match serde_json::from_slice::<Value>(&invocation.body) {
        Ok(event) => run(&event, &invocation.request, deadline).await,
        Err(_) => Answer::not_json(&invocation.body),
    };
    let outcome =
        outcome.map(|report| report.to_string()).map_err(|Failed { kind, message }| format!("{kind}: {message}"));
    Reply { outcome, last }
}

async fn send(api: &Api, reply: &Reply) -> anyhow::Result<()> {
    let mut failures = Failures::default();
    for _ in 1..REPLY_ATTEMPTS {
        match api.reply(&reply.outcome).await {
            Ok(()) => return Ok(()),
            Err(error) => failures.another(error).await?,
        }
    }
    api.reply(&reply.outcome).await
}

/// Failures in a row, with a pause after each that grows.
#[derive(Default)]
struct Failures(u32);

impl Failures {
    async fn another(&mut self, error: anyhow::Error) -> anyhow::Result<()> {
        self.0 += 1;
        eprintln!("{error:#}");
        if self.0 >= MOST_FAILURES {
            return Err(error).context("the runtime API failed 8 times in a row; the platform starts another instance");
        }
        sleep((FIRST_PAUSE * 2u32.pow(self.0 - 1)).min(LONGEST_PAUSE)).await;
        Ok(())
    }
}

/// Where the runtime API is; `None` outside of SCF.
pub fn address(env: impl Fn(&str) -> Option<String>) -> anyhow::Result<Option<String>> {
    let Some(host) = env("SCF_RUNTIME_API") else { return Ok(None) };
    let port = env("SCF_RUNTIME_API_PORT").unwrap_or_else(|| "9001".into());
    if host.is_empty() || port.parse::<u16>().is_err() {
        let text = format!("SCF_RUNTIME_API and SCF_RUNTIME_API_PORT name no address: {host:?}, {port:?}");
        return Err(Error::new(Kind::Invalid, text).into());
    }
    Ok(Some(format!("{host}:{port}")))
}

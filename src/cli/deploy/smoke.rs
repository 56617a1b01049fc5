//! `tdmq-backup smoke`: on a live account, the vendor guide's test and what could not be found out without one.
//!
//! ```text
//!  probes ─────▶ the store, with this shell's keys: below {prefix}_smoke/, and removed again
//!  --send ─────▶ one message to the topic, with this shell's token
//!  one run ────▶ of the deployed function, which stores the message
//!                 └─▶ its report, and the objects that it names ─▶ a verdict for each fact
//! ```
//!
//! Owns: the facts and what decides them. It deploys nothing, and sends nothing that was not asked for: other
//! subscriptions of the topic get the message too. What was not seen is said to be that.

mod probes;

use std::env;
use std::fmt;
use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Result, bail};
use clap::Args;
use serde_json::Value;
use tdmq_backup::run::send::{Sent, send};
use tdmq_backup::run::store_of;
use tdmq_backup::span::Span;
use tdmq_backup::store::{SHA256, Store};
use tdmq_backup::{Clock, Error, Kind, Rule};

use super::Place;
use super::cloud::Reply;
use super::wanted::{Target, list, text};

/// The vendor guide's test.
const DELIVERED: &str = "a message that was sent is a file under the delivery path";
/// Of a message that is sent.
const MOST_BYTES: usize = 64 << 10;
/// What all questions to the store may take, or to the broker.
const ASKING: Duration = Duration::from_secs(60);

#[derive(Args)]
pub struct Smoke {
    #[command(flatten)]
    place: Place,
    /// Sends this text to the topic first, as one message: every subscription gets it. The token's role needs `produce`
    #[arg(long, value_name = "TEXT", value_parser = message)]
    send: Option<String>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    True,
    False,
    NotSeen,
}

impl From<bool> for Verdict {
    fn from(so: bool) -> Self {
        if so { Verdict::True } else { Verdict::False }
    }
}

impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Verdict::True => "true",
            Verdict::False => "false",
            Verdict::NotSeen => "not seen",
        })
    }
}

/// One fact, as it was found, and by what.
#[derive(Debug)]
pub struct Fact {
    pub what: String,
    pub verdict: Verdict,
    pub seen: String,
}

impl Fact {
    pub fn new(what: impl Into<String>, verdict: impl Into<Verdict>, seen: impl Into<String>) -> Self {
        Fact { what: what.into(), verdict: verdict.into(), seen: seen.into() }
    }
}

impl Smoke {
    pub async fn run(self) -> Result<ExitCode> {
        let clock = Clock::system();
        let rule = self.place.rule()?;
        let cloud = self.place.cloud(&rule);
        let found = cloud.find(&rule.name)?.filter(|found| found.ours && found.name == rule.name);
        let Some(found) = found else {
            let text = format!("name: {:?} is not deployed on {}: make deploy first", rule.name, cloud.target.name());
            bail!(Error::new(Kind::Invalid, text));
        };
        found.is_of(&rule)?;
        let store = store_of(&rule, |name| env::var(name).ok(), clock)?.until(clock.now() + ASKING);
        let mut facts = probes::ask(&store, &rule, clock.now_ms()).await;
        let mut sent = None;
        if let Some(text) = &self.send {
            let (fact, at) = sent_to(&rule, text, &clock).await;
            facts.push(fact);
            sent = at;
        }
        let not_sent = self.send.is_some() && sent.is_none();
        let reply = cloud.invoke(&rule.name, "{}");
        // A run may take longer than the probes' time.
        let store = store.until(clock.now() + ASKING);
        let failed = |said| Fact::new("a run of the deployed function succeeds", false, said);
        match &reply {
            Ok(Reply::Report(report)) => {
                facts.extend(of_a_run(report, &rule));
                facts.push(match not_sent {
                    true => Fact::new(DELIVERED, Verdict::NotSeen, "the message was not sent, or nobody said so"),
                    false => delivered(report, &rule, sent, &store).await,
                });
            }
            Ok(Reply::Failed(said)) => facts.push(failed(said.clone())),
            Err(error) => facts.push(failed(format!("{error:#}"))),
        }
        facts.extend(unseen(cloud.target));
        for Fact { what, verdict, seen } in &facts {
            println!("{verdict:<8}  {what}: {seen}");
        }
        let wrong = facts.iter().filter(|fact| fact.verdict == Verdict::False).count();
        if wrong > 0 {
            eprintln!("{wrong} of {} facts are not so here: please report them, with the lines above", facts.len());
        }
        Ok(ExitCode::from(u8::from(wrong > 0 || not_sent)))
    }
}

/// What a report shows of the broker.
fn of_a_run(report: &Value, rule: &Rule) -> Vec<Fact> {
    let outcome = text(report, "/outcome");
    let objects = list(report, "/objects");
    let receipts = match objects.iter().map(|object| object["acknowledged"].as_bool()).collect::<Vec<_>>() {
        none if none.is_empty() => Verdict::NotSeen,
        all => all.iter().all(|confirmed| *confirmed == Some(true)).into(),
    };
    // Busy is decided before anything is asked.
    let reached = matches!(outcome.as_str(), "stored" | "nothing_to_do");
    let reached = if reached { Verdict::True } else { Verdict::NotSeen };
    let last_id = if report["complete_through"].is_u64() { Verdict::True } else { Verdict::NotSeen };
    let stop = text(report, "/stop");
    vec![
        Fact::new(
            "TDMQ: the broker answers acknowledgements with receipts",
            receipts,
            format!("{} objects", objects.len()),
        ),
        Fact::new("TDMQ: the broker says the last message id", last_id, format!("outcome {outcome}, stop {stop}")),
        Fact::new(
            format!("TDMQ: an address of the form {}://", rule.service_url.scheme.name()),
            reached,
            format!("outcome {outcome}"),
        ),
    ]
}

/// As the vendor guide's test has it.
fn message(text: &str) -> Result<String, &'static str> {
    match text.len() {
        1..=MOST_BYTES => Ok(text.to_owned()),
        _ => Err("the message is 1 byte to 64 KB"),
    }
}

/// Sends the message, and says what came of that.
async fn sent_to(rule: &Rule, text: &str, clock: &Clock) -> (Fact, Option<Sent>) {
    let fact = |verdict, seen| Fact::new("TDMQ: a message that is sent has a receipt", verdict, seen);
    match send(rule, text.as_bytes(), clock.now_ms(), clock.now() + ASKING).await {
        Ok(sent) => (fact(Verdict::True, format!("message {}", sent.position)), Some(sent)),
        // It may be stored, and nobody has said so.
        Err(error) if error.kind() == Kind::Unknown => (fact(Verdict::False, error.chain()), None),
        Err(error) => (fact(Verdict::NotSeen, error.chain()), None),
    }
}

/// The vendor guide's test: a message was sent, and its file lies under the delivery path.
async fn delivered(report: &Value, rule: &Rule, sent: Option<Sent>, store: &impl Store) -> Fact {
    let stored = list(report, "/objects");
    let keys: Vec<String> =
        stored.iter().filter(|object| holds(object, sent)).map(|object| text(object, "/key")).collect();
    if keys.is_empty() {
        let why = match sent {
            Some(_) if stored.is_empty() => "the run stored nothing: another one may have taken the message; again",
            Some(_) => {
                "the run has not come to the message yet, or another one has taken it: again, when the backlog is stored"
            }
            None => "nothing was new: SEND=text sends a message, or send one of at most 64 KB, and again",
        };
        return Fact::new(DELIVERED, Verdict::NotSeen, why);
    }
    for key in &keys {
        let seen = match store.look(key).await {
            Ok(Some(held)) if key.starts_with(rule.prefix.as_str()) && held.metadata.contains_key(SHA256) => continue,
            Ok(Some(_)) => format!("{key} is not what a run writes"),
            Ok(None) => format!("{key} is not in the bucket"),
            Err(error) => return Fact::new(DELIVERED, Verdict::NotSeen, error.chain()),
        };
        return Fact::new(DELIVERED, false, seen);
    }
    Fact::new(DELIVERED, true, keys.join(", "))
}

/// Whether an object of the report spans the message; any does where nothing is known of one.
fn holds(object: &Value, sent: Option<Sent>) -> bool {
    let Some(Sent { partition, position }) = sent else { return true };
    let covers = Span::of_key(&text(object, "/key")).is_some_and(|span| span.covers(position));
    covers && object["partition"].as_i64().is_none_or(|of| of == i64::from(partition))
}

/// What one run cannot show.
fn unseen(target: Target) -> Vec<Fact> {
    let facts: &[(&str, &str)] = match target {
        Target::Lambda => &[],
        Target::Scf => &[
            ("SCF: an instance that goes on gets new keys", "one run is too short; it ends after an hour in any case"),
            ("SCF: an instance is frozen after its reply", "nothing of ours runs then"),
            ("SCF: the zone in which the cron is read", "a timer each few minutes is the same in all"),
        ],
    };
    facts.iter().map(|(what, seen)| Fact::new(*what, Verdict::NotSeen, *seen)).collect()
}

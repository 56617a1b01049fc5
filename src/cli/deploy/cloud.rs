//! What is asked of a cloud and read from its answers, the same for both targets.

use anyhow::{Context, Result, bail};
use serde_json::{Deserializer, Value, json};

use super::call::Call;
use super::wanted::{Deployed, Target, list, raw, text};
use super::{lambda, scf};

/// A target in a region.
#[derive(Clone, Debug)]
pub struct Cloud {
    pub target: Target,
    pub region: String,
}

/// What an invocation came to.
pub enum Reply {
    Report(Value),
    /// The function failed: what it said.
    Failed(String),
}

impl Cloud {
    pub fn look(&self, name: &str) -> Call {
        match self.target {
            Target::Lambda => lambda::look(&self.region, name),
            Target::Scf => scf::look(&self.region, name),
        }
    }

    /// The function of this name, whoever made it.
    pub fn find(&self, name: &str) -> Result<Option<Deployed>> {
        let Some(answer) = self.look(name).find()? else { return Ok(None) };
        Ok(match self.target {
            // A stack whose first change set was never carried out is none yet.
            Target::Lambda => list(&answer, "/Stacks")
                .iter()
                .find(|stack| stack["StackStatus"] != "REVIEW_IN_PROGRESS")
                .map(lambda::deployed),
            Target::Scf => Some(scf::deployed(&answer)),
        })
    }

    /// Every function that this program made.
    pub fn ours(&self) -> Result<Vec<Deployed>> {
        let mut ours = match self.target {
            Target::Lambda => {
                let answer = lambda::all(&self.region).ask()?;
                list(&answer, "/Stacks").iter().map(lambda::deployed).collect()
            }
            Target::Scf => {
                let mut found = Vec::new();
                for page in 0.. {
                    let answer = scf::all(&self.region, page).ask()?;
                    let functions = list(&answer, "/Functions");
                    for function in functions.iter().filter(|function| scf::is_ours(function)) {
                        found.extend(self.find(&text(function, "/FunctionName"))?);
                    }
                    if functions.len() < 100 {
                        break;
                    }
                }
                found
            }
        };
        ours.retain(|function| function.ours);
        Ok(ours)
    }

    /// `None` where there is no timer.
    pub fn is_timer_on(&self, function: &Deployed) -> Result<Option<bool>> {
        match self.target {
            Target::Scf => Ok(function.timer.then_some(!function.paused)),
            Target::Lambda => {
                let there = lambda::timer(&self.region, &function.name).find()?;
                Ok(there.map(|there| lambda::is_on(&there)))
            }
        }
    }

    /// The calls that switch a timer: on Lambda the second one needs the first one's answer.
    pub fn timer_shown(&self, name: &str, on: bool) -> Vec<String> {
        match self.target {
            Target::Scf => vec![scf::timer_is(&self.region, name, state(on)).shown()],
            Target::Lambda => {
                let there = json!({ "Name": name, "<as answered>": "" });
                vec![lambda::timer(&self.region, name).shown(), lambda::timer_is(&self.region, &there, on).shown()]
            }
        }
    }

    pub fn timer(&self, name: &str, on: bool) -> Result<()> {
        match self.target {
            Target::Scf => scf::timer_is(&self.region, name, state(on)).ask().map(drop),
            Target::Lambda => {
                let there = lambda::timer(&self.region, name).ask()?;
                if lambda::is_on(&there) == on {
                    return Ok(());
                }
                lambda::timer_is(&self.region, &there, on).ask().map(drop)
            }
        }
    }

    pub fn invoke_call(&self, name: &str, event: &str) -> Call {
        match self.target {
            Target::Lambda => lambda::invoke(&self.region, name, event),
            Target::Scf => scf::invoke(&self.region, name, event),
        }
    }

    pub fn invoke(&self, name: &str, event: &str) -> Result<Reply> {
        let call = self.invoke_call(name, event);
        match self.target {
            Target::Scf => {
                let answer = call.ask()?;
                let failure = text(&answer, "/Result/ErrMsg");
                match failure.is_empty() {
                    true => {
                        let report = text(&answer, "/Result/RetMsg");
                        Ok(Reply::Report(
                            serde_json::from_str(&report).context("the function answered what is no report")?,
                        ))
                    }
                    false => Ok(Reply::Failed(failure)),
                }
            }
            Target::Lambda => {
                let said = match call.run()? {
                    Ok(text) => text,
                    Err(refusal) => bail!("{} was refused: {}", call.action, refusal.trim()),
                };
                let mut values = Deserializer::from_str(&said).into_iter::<Value>();
                let reply =
                    values.next().context("the function answered nothing")?.context("the answer is not JSON")?;
                let about = values.next().transpose().context("the answer is not JSON")?.unwrap_or_default();
                Ok(match about.get("FunctionError").is_some() {
                    true => Reply::Failed(format!("{}: {}", text(&reply, "/errorType"), text(&reply, "/errorMessage"))),
                    false => Reply::Report(reply),
                })
            }
        }
    }

    /// What runs reported since an instant, the oldest first: at most `most` of them, the newest. Empty where there is no log.
    pub fn reports(&self, name: &str, from_ms: u64, most: usize) -> Result<Vec<(String, Value)>> {
        let mut rows: Vec<(String, Value)> = match self.target {
            Target::Lambda => {
                let answer = lambda::logs(&self.region, name, from_ms).find()?.unwrap_or_default();
                let events = list(&answer, "/events");
                events
                    .iter()
                    .filter_map(|event| {
                        let at = event["timestamp"].as_u64().and_then(crate::cli::summary::instant)?;
                        Some((at, report_in(&raw(event, "/message"))?))
                    })
                    .collect()
            }
            Target::Scf => {
                let answer = scf::logs(&self.region, name, most.clamp(1, 100)).find()?.unwrap_or_default();
                let runs = list(&answer, "/Data").iter().rev();
                runs.filter_map(|run| Some((text(run, "/StartTime"), report_of(run)?))).collect()
            }
        };
        let surplus = rows.len().saturating_sub(most);
        rows.drain(..surplus);
        Ok(rows)
    }
}

fn state(on: bool) -> &'static str {
    if on { "OPEN" } else { "CLOSE" }
}

/// The report among the lines of a log.
fn report_in(log: &str) -> Option<Value> {
    let mut lines = log.lines().filter_map(|line| serde_json::from_str::<Value>(&line[line.find('{')?..]).ok());
    lines.rfind(|value| value.get("outcome").is_some())
}

/// A run of SCF: its report, or that it ended without one.
fn report_of(run: &Value) -> Option<Value> {
    let found = report_in(&raw(run, "/Log")).or_else(|| report_in(&raw(run, "/RetMsg")));
    found.or_else(|| {
        let failed = run["RetCode"].as_i64().is_some_and(|code| code != 0 && code != 2);
        failed.then(|| json!({ "outcome": "failed", "error": { "message": text(run, "/RetMsg") } }))
    })
}

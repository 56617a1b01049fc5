//! `tdmq-backup delete`: the function goes. Data never does.

use std::process::ExitCode;

use anyhow::{Result, bail};
use clap::Args;
use tdmq_backup::{Clock, Error, Kind, Rule};

use super::cloud::{Cloud, Reply};
use super::wanted::{Deployed, Target, text};
use super::{Place, lambda, scf, unsubscribe};

/// Runs of a drain. One run takes `max_objects` objects of each partition.
const MOST_RUNS: u32 = 200;
/// Of them that may find nothing one after the other, while the broker says that something is left.
const MOST_IDLE: u32 = 3;

#[derive(Args)]
pub struct Delete {
    #[command(flatten)]
    place: Place,
    /// First runs the function until the subscription owes nothing
    #[arg(long)]
    drain: bool,
    /// Then removes the subscription from the topic, with all that it still owes; its name must be typed
    #[arg(long)]
    unsubscribe: bool,
    /// The subscription's name, for a script that cannot be asked to type it
    #[arg(long, value_name = "SUBSCRIPTION", requires = "unsubscribe")]
    confirm: Option<String>,
    /// Prints every call, and changes nothing
    #[arg(long)]
    dry_run: bool,
}

impl Delete {
    pub async fn run(self) -> Result<ExitCode> {
        let clock = Clock::system();
        let rule = self.place.rule()?;
        let cloud = self.place.cloud(&rule);
        let found = self.found(&cloud, &rule)?;
        if found.is_none() {
            println!("there is no function {} on {} in {}", rule.name, cloud.target.name(), cloud.region);
        }
        let removes = self.unsubscribe && self.is_confirmed(found.as_ref(), &cloud, &rule, &clock).await?;
        if let Some(found) = &found {
            self.remove(found, &cloud, &rule)?;
        }
        if found.is_some() {
            println!("stays: every object and head below {}/{}", rule.bucket, rule.prefix);
        }
        match (removes, self.dry_run) {
            (true, true) => {
                println!("# UNSUBSCRIBE {:?} from {} at {}", rule.subscription, rule.topic, rule.service_url)
            }
            (true, false) => unsubscribe::remove(&rule, &clock).await?,
            (false, _) if found.is_some() && !self.unsubscribe => the_subscription_stays(&rule),
            (false, _) => {}
        }
        Ok(ExitCode::SUCCESS)
    }

    /// The function, if it is ours; in a dry run also one of which nobody could be asked.
    fn found(&self, cloud: &Cloud, rule: &Rule) -> Result<Option<Deployed>> {
        let found = match cloud.find(&rule.name) {
            Err(error) if self.dry_run => {
                eprintln!("warning: the cloud was not asked what is there ({error:#})");
                let (name, state) = (rule.name.clone(), String::new());
                Some(Deployed { name, ours: true, facts: Default::default(), state, timer: true, paused: false })
            }
            found => found?,
        };
        if let Some(found) = found.as_ref().filter(|found| !found.ours || found.name != rule.name) {
            let text = format!("name: {:?} was not made by tdmq-backup for this rule; nothing was removed", found.name);
            bail!(Error::new(Kind::Invalid, text));
        }
        Ok(found)
    }

    /// Whether there is a subscription, and its removal is meant. Before anything else is done.
    async fn is_confirmed(&self, found: Option<&Deployed>, cloud: &Cloud, rule: &Rule, clock: &Clock) -> Result<bool> {
        found.map_or(Ok(()), |found| unsubscribe::is_of(found, rule))?;
        let looked = match unsubscribe::is_free(cloud, rule) {
            Ok(()) => unsubscribe::look(rule, clock).await,
            Err(error) => Err(error),
        };
        let owed = match looked {
            Err(error) if self.dry_run => {
                eprintln!("warning: {error:#}");
                return Ok(true);
            }
            looked => looked?,
        };
        if owed.partitions == 0 {
            println!("there is no subscription {:?} of {}", rule.subscription, rule.topic);
            return Ok(false);
        }
        unsubscribe::say(rule, owed, self.drain && found.is_some());
        if !self.dry_run {
            unsubscribe::confirm(rule, self.confirm.as_deref())?;
        }
        Ok(true)
    }

    /// The function, after a drain where one is asked for.
    fn remove(&self, found: &Deployed, cloud: &Cloud, rule: &Rule) -> Result<()> {
        let calls = match cloud.target {
            Target::Scf => scf::delete(&cloud.region, found),
            Target::Lambda => lambda::delete(&cloud.region, &found.name),
        };
        if self.dry_run {
            println!("{}", cloud.look(&rule.name).shown());
            if self.drain {
                cloud.timer_shown(&rule.name, false).iter().for_each(|line| println!("{line}"));
                println!("{}", cloud.invoke_call(&rule.name, "{}").shown());
            }
            calls.iter().for_each(|call| println!("{}", call.shown()));
            return Ok(());
        }
        if self.drain {
            if found.timer {
                cloud.timer(&rule.name, false)?;
            }
            if let Err(error) = drain(cloud, &rule.name) {
                if found.timer {
                    cloud.timer(&rule.name, true)?;
                }
                return Err(error.context("the subscription is not drained, and nothing was removed"));
            }
        }
        for call in &calls {
            if let Err(error) = call.ask() {
                if self.drain && found.timer {
                    eprintln!("the timer is off: delete again, or deploy to go on");
                }
                return Err(error);
            }
            println!("{} {}: done", call.service, call.action);
        }
        Ok(())
    }
}

fn the_subscription_stays(rule: &Rule) {
    println!(
        "stays: subscription {:?} of {}. Nothing acknowledges for it now: its backlog grows, and where the namespace has a backlog \
         quota that holds producers back, it ends by blocking them. make delete with UNSUBSCRIBE=1 removes it, if nobody is to go on from it",
        rule.subscription, rule.topic
    );
}

fn drain(cloud: &Cloud, name: &str) -> Result<()> {
    let mut idle = 0;
    for _ in 0..MOST_RUNS {
        let report = match cloud.invoke(name, "{}")? {
            Reply::Report(report) => report,
            Reply::Failed(said) => bail!("a run failed: {said}"),
        };
        let outcome = text(&report, "/outcome");
        match (outcome.as_str(), report["backlog_entries"].as_u64()) {
            ("stored" | "nothing_to_do", Some(0)) => return Ok(()),
            ("nothing_to_do", None) if report["stop"] == "drained" => return Ok(()),
            ("stored" | "nothing_to_do", left) => {
                println!("{outcome}: {} messages, {} entries left", report["messages"], left.unwrap_or(0));
                idle = if outcome == "nothing_to_do" { idle + 1 } else { 0 };
                if idle == MOST_IDLE {
                    bail!(
                        "the broker does not deliver what is left: an open transaction or a chunked message holds it back, or it is none \
                         for consumers; try again later, or delete without draining"
                    );
                }
            }
            _ => bail!("a run ended as {outcome}: try again in a minute"),
        }
    }
    bail!("{MOST_RUNS} runs did not reach the end: raise max_objects, or delete without draining")
}

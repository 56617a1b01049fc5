//! `tdmq-backup delete`: the function goes. Data never does.

use std::process::ExitCode;

use anyhow::{Context, Result, bail};
use clap::Args;
use std::io::{IsTerminal, stdin};
use tdmq_backup::{Clock, Error, Kind, Rule};

use super::cloud::Cloud;
use super::drain::drain;
use super::wanted::{Deployed, Target};
use super::{Place, lambda, scf, switch_on_again, unsubscribe};

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
            self.remove(found, removes, &cloud, &rule, &clock).await?;
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
        // A dry run that could not ask the cloud has said so.
        if !self.dry_run || found.is_none_or(|found| !found.facts.is_empty()) {
            found.map_or(Ok(()), |found| found.is_of(rule))?;
            unsubscribe::is_free(cloud, rule)?;
        }
        let owed = match unsubscribe::look(rule, clock).await {
            Err(error) if self.dry_run && error.kind() == Kind::Unavailable => {
                eprintln!("warning: {}", error.chain());
                return Ok(true);
            }
            looked => looked?,
        };
        if owed.partitions == 0 {
            unsubscribe::there_is_none(rule);
            return Ok(false);
        }
        unsubscribe::say(rule, owed, self.drain && found.is_some());
        if !self.dry_run {
            let terminal = stdin().is_terminal().then(|| stdin().lock());
            unsubscribe::confirm(rule, self.confirm.as_deref(), terminal)?;
        }
        Ok(true)
    }

    /// The function. Where it matters what its runs do, its timer is off first, and on again if it stays.
    async fn remove(&self, found: &Deployed, removes: bool, cloud: &Cloud, rule: &Rule, clock: &Clock) -> Result<()> {
        let calls = match cloud.target {
            Target::Scf => scf::delete(&cloud.region, found),
            Target::Lambda => lambda::delete(&cloud.region, &found.name),
        };
        if self.dry_run {
            println!("{}", cloud.look(&rule.name).shown());
            if self.drain || self.unsubscribe {
                cloud.timer_shown(&rule.name, false).iter().for_each(|line| println!("{line}"));
            }
            if self.drain {
                println!("{}", cloud.invoke_call(&rule.name, "{}").shown());
            }
            calls.iter().for_each(|call| println!("{}", call.shown()));
            return Ok(());
        }
        let rests = self.drain || self.unsubscribe;
        let was_on = rests && is_on_as_said(cloud.is_timer_on(found)?);
        let stays = |error| {
            if was_on {
                switch_on_again(cloud, &rule.name);
            }
            Err(error)
        };
        // It may be off though nobody said so.
        if was_on && let Err(error) = cloud.timer(&rule.name, false) {
            return stays(error);
        }
        if let Err(error) = self.come_to_rest(removes, cloud, rule, clock).await {
            return stays(error);
        }
        for (at, call) in calls.iter().enumerate() {
            match call.ask() {
                Err(error) if at == 0 => return stays(error),
                Err(error) => {
                    eprintln!("the timer is off or gone: delete again, or deploy to go on");
                    return Err(error);
                }
                Ok(_) => {}
            }
            println!("{} {}: done", call.service, call.action);
        }
        Ok(())
    }

    /// With the timer off: the drain, and that no run is under way which would make again what is removed.
    async fn come_to_rest(&self, removes: bool, cloud: &Cloud, rule: &Rule, clock: &Clock) -> Result<()> {
        if self.drain {
            drain(cloud, &rule.name).context("the subscription is not drained, and nothing was removed")?;
        }
        // Also where there was no subscription: a run may have made one since.
        if self.unsubscribe && unsubscribe::look(rule, clock).await?.partitions > 0 && !removes {
            let text = "a run has made the subscription meanwhile, and nothing was removed: make delete again";
            bail!(Error::new(Kind::Busy, text));
        }
        Ok(())
    }
}

/// Whether the timer is on. How it stands is said before anything is done: it is known then whatever ends the removal,
/// a signal too.
fn is_on_as_said(timer: Option<bool>) -> bool {
    println!(
        "{}",
        match timer {
            Some(true) => "the timer is off meanwhile; if this is cut off, make deploy switches it on",
            Some(false) => "the timer is off, as it was found; if the function stays, make deploy switches it on",
            None => "there is no timer",
        }
    );
    timer == Some(true)
}

fn the_subscription_stays(rule: &Rule) {
    println!(
        "stays: subscription {:?} of {}. Nothing acknowledges for it now: its backlog grows, and where the namespace has a backlog \
         quota that holds producers back, it ends by blocking them. make delete with UNSUBSCRIBE=1 removes it, if nobody is to go on from it",
        rule.subscription, rule.topic
    );
}

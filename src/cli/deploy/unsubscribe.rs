//! `tdmq-backup delete --unsubscribe`: the subscription goes too, because somebody typed its name.
//!
//! Owns: what is said first, and the confirmation. Data in the bucket is not its business.

use std::io::{IsTerminal, Write, stdin};
use std::time::Duration;

use anyhow::{Context, Result, bail};
use tdmq_backup::run::subscription::{Owed, owed, unsubscribe};
use tdmq_backup::{Clock, Error, Kind, Rule};

use super::cloud::Cloud;
use super::wanted::{Deployed, identity};

/// What all the questions to the broker may take.
const ASKING: Duration = Duration::from_secs(120);

/// What the subscription owes; nothing is changed by asking.
pub async fn look(rule: &Rule, clock: &Clock) -> Result<Owed> {
    let looked = owed(rule, clock.now() + ASKING).await;
    Ok(looked.map_err(|error| {
        let text = match error.kind() {
            Kind::Busy => "a run is under way, or somebody else holds the subscription; nothing was removed: try again in a minute",
            _ => {
                "the broker was not asked what is owed, and nothing was removed: UNSUBSCRIBE=1 needs a machine that reaches \
                 service_url, and the role's key in TDMQ_BACKUP_TOKEN; else remove the subscription in the console"
            }
        };
        Error::new(error.kind(), text).because(error)
    })?)
}

/// The function that goes reads this very subscription, and not what the rule's file said before it was edited.
pub fn is_of(found: &Deployed, rule: &Rule) -> Result<()> {
    let deployed = found.identity();
    if found.facts.is_empty() || deployed == identity(rule) {
        return Ok(());
    }
    let [topic, subscription, _] = deployed;
    let text = format!(
        "UNSUBSCRIBE: the function {:?} reads subscription {subscription:?} of {topic}, and the rule's file says {:?} of {}; nothing was \
         removed: put the rule back as it is deployed, or deploy it first",
        found.name, rule.subscription, rule.topic
    );
    bail!(Error::new(Kind::Invalid, text))
}

/// Nobody else of ours goes on from this subscription.
pub fn is_free(cloud: &Cloud, rule: &Rule) -> Result<()> {
    let [topic, subscription, shard] = identity(rule);
    let other = cloud.ours()?.into_iter().find(|other| {
        let same = (other.fact("topic"), other.fact("subscription")) == (&topic, &subscription);
        let meets = [&shard, ""].contains(&other.fact("shard")) || shard.is_empty();
        other.name != rule.name && same && meets
    });
    match other {
        None => Ok(()),
        Some(other) => {
            let text = format!(
                "UNSUBSCRIBE: {:?} reads the same subscription; nothing was removed: delete that one first, or leave the subscription",
                other.name
            );
            bail!(Error::new(Kind::Invalid, text))
        }
    }
}

/// What goes with the subscription, for a reader.
pub fn say(rule: &Rule, owed: Owed, drain: bool) {
    let of = match owed.partitions {
        0 | 1 => String::new(),
        count => format!(" on {count} partitions"),
    };
    println!("subscription {:?} of {}{of} owes {} entries", rule.subscription, rule.topic, owed.entries);
    match drain {
        true => println!("they are stored first; whatever comes after the last run is given up with the subscription"),
        false => println!(
            "they are given up with the subscription: no run of this rule stores them any more (DRAIN=1 stores them first)"
        ),
    }
}

/// The subscription's name, as it was given or is typed now. Anything else ends it, with nothing removed.
pub fn confirm(rule: &Rule, given: Option<&str>) -> Result<()> {
    let name = rule.subscription.as_str();
    let typed = match given {
        Some(given) => given.to_owned(),
        None if stdin().is_terminal() => {
            print!("type its name to go on: ");
            std::io::stdout().flush().context("no terminal")?;
            let mut line = String::new();
            stdin().read_line(&mut line).context("no terminal")?;
            line.trim_end_matches(['\r', '\n']).to_owned()
        }
        None => {
            let text = format!("UNSUBSCRIBE: nobody is here to confirm it; nothing was removed: say CONFIRM={name}");
            bail!(Error::new(Kind::Invalid, text))
        }
    };
    if typed != name {
        let text = format!("UNSUBSCRIBE: {typed:?} is not the subscription, which is {name:?}; nothing was removed");
        bail!(Error::new(Kind::Invalid, text));
    }
    Ok(())
}

/// Removes the subscription, and says what that cost.
pub async fn remove(rule: &Rule, clock: &Clock) -> Result<()> {
    let gone = unsubscribe(rule, clock.now() + ASKING)
        .await
        .context("the function is removed, and the subscription is not, or not on every partition: make delete with UNSUBSCRIBE=1 again in a minute")?;
    match gone.partitions {
        0 => println!("there is no subscription {:?} of {}", rule.subscription, rule.topic),
        _ => println!(
            "gone: subscription {:?} of {}; {} entries that it owed are given up. A rule that is deployed on this prefix again begins \
             with the earliest entry that the broker still has, whatever its start says; what objects below the prefix hold is not \
             stored again",
            rule.subscription, rule.topic, gone.entries
        ),
    }
    Ok(())
}

//! `tdmq-backup delete --unsubscribe`: the subscription goes too, because somebody typed its name.
//!
//! Owns: what is said first, and the confirmation. Data in the bucket is not its business.

use std::io::{BufRead, Write};
use std::time::Duration;

use anyhow::{Context, Result, bail};
use tdmq_backup::run::subscription::{Owed, owed, unsubscribe};
use tdmq_backup::{Clock, Error, Kind, Rule};

use super::cloud::Cloud;
use super::reads::Reads;
use super::wanted::identity;

/// What all the questions to the broker may take.
const ASKING: Duration = Duration::from_secs(120);

/// What the subscription owes; nothing is changed by asking.
pub async fn look(rule: &Rule, clock: &Clock) -> tdmq_backup::Result<Owed> {
    owed(rule, clock.now() + ASKING).await.map_err(|error| {
        let text = match error.kind() {
            Kind::Busy => "a run is under way, or somebody else holds the subscription; nothing was removed: try again in a minute",
            _ => {
                "the broker was not asked what is owed, and nothing was removed: UNSUBSCRIBE=1 needs a machine that reaches \
                 service_url, and the role's key in TDMQ_BACKUP_TOKEN; else remove the subscription in the console"
            }
        };
        Error::new(error.kind(), text).because(error)
    })
}

/// Nobody else of ours goes on from this subscription.
pub fn is_free(cloud: &Cloud, rule: &Rule) -> Result<()> {
    let [topic, subscription, shard] = identity(rule);
    let ours = Reads::new(&topic, &shard);
    let other = cloud.ours()?.into_iter().find(|other| {
        let meets = || Reads::new(other.fact("topic"), other.fact("shard")).meets(&ours);
        other.name != rule.name && other.fact("subscription") == subscription && meets()
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

fn entries(owed: Owed) -> String {
    match owed.entries {
        Some(entries) => format!("{entries} entries"),
        None => "an unknown number of entries".to_owned(),
    }
}

/// Nothing is to be removed from the topic.
pub fn there_is_none(rule: &Rule) {
    println!(
        "there is no subscription {:?} of {}, or no such topic, at {}",
        rule.subscription, rule.topic, rule.service_url
    );
}

/// What goes with the subscription, for a reader.
pub fn say(rule: &Rule, owed: Owed, drain: bool) {
    let of = match owed.partitions {
        0 | 1 => String::new(),
        count => format!(" on {count} partitions"),
    };
    let address = &rule.service_url;
    println!("subscription {:?} of {}{of} at {address} owes {}", rule.subscription, rule.topic, entries(owed));
    match drain {
        true => println!("they are stored first; whatever comes after the last run is given up with the subscription"),
        false => println!(
            "they are given up with the subscription: no run of this rule stores them any more (DRAIN=1 stores them first)"
        ),
    }
}

/// The subscription's name, as it was given or is typed now at the terminal, if there is one. Anything else ends it, with
/// nothing removed.
pub fn confirm(rule: &Rule, given: Option<&str>, terminal: Option<impl BufRead>) -> Result<()> {
    let name = rule.subscription.as_str();
    let typed = match (given, terminal) {
        (Some(given), _) => given.to_owned(),
        (None, Some(mut terminal)) => {
            print!("type its name to go on: ");
            std::io::stdout().flush().context("no terminal")?;
            let mut line = String::new();
            terminal.read_line(&mut line).context("no terminal")?;
            line.trim_end_matches(['\r', '\n']).to_owned()
        }
        (None, None) => {
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
        0 => there_is_none(rule),
        _ => println!(
            "gone: subscription {:?} of {}; {} that it owed are given up. A rule that is deployed on this prefix again begins \
             with the earliest entry that the broker still has, whatever its start says; what objects below the prefix hold is not \
             stored again",
            rule.subscription,
            rule.topic,
            entries(gone)
        ),
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_name_itself_typed_or_given_confirms() {
        let rule = Rule::from_toml(include_str!("../../rule/example.toml")).unwrap();
        let name = rule.subscription.as_str();
        let typed = |line: &str| confirm(&rule, None, Some(line.as_bytes())).map_err(|error| error.to_string());
        for line in [format!("{name}\n"), format!("{name}\r\n"), format!("{name}\nmore\n"), name.to_owned()] {
            typed(&line).unwrap();
        }
        for line in ["", "\n", "y\n", &format!(" {name}\n"), &format!("{name} \n"), &name.to_uppercase()] {
            assert!(typed(line).unwrap_err().contains("is not the subscription"), "{line:?}");
        }
        confirm(&rule, Some(name), None::<&[u8]>).unwrap();
        // Given, nothing is asked.
        let given = confirm(&rule, Some("other"), Some(name.as_bytes())).unwrap_err();
        assert!(given.to_string().contains("\"other\" is not the subscription"), "{given}");
        assert!(confirm(&rule, None, None::<&[u8]>).unwrap_err().to_string().contains("nobody is here"));
    }
}

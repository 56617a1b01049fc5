//! The steps of a plan, shown or carried out one by one.

use std::env;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use serde_json::Value;
use tdmq_backup::Clock;
use tdmq_backup::encode::spool::Spool;
use tdmq_backup::run::store_of;
use tdmq_backup::store::{Store, Upload};

use super::cloud::{Cloud, Reply};
use super::wanted::{Step, Wanted, list, text};
use super::{carry, lambda};

/// What a step is, for a reader: command lines, and what happens between them.
pub fn show(step: &Step, wanted: &Wanted, cloud: &Cloud) {
    match step {
        Step::Call(call) => println!("{}", call.shown()),
        Step::Upload => {
            println!("# PUT {} to {}/{}", wanted.package.display(), wanted.rule.bucket, wanted.package_key())
        }
        Step::Timer(on) => cloud.timer_shown(&wanted.rule.name, *on).iter().for_each(|line| println!("{line}")),
        Step::Carry { from, longest } => {
            let run = cloud.invoke_call(&wanted.rule.name, "{}").shown();
            println!("{run}\n# where the topic has partitions: {longest} s later once more");
            println!("# copies the heads (_head.json) below {from:?} to below {:?}", wanted.rule.prefix.as_str());
        }
    }
}

/// Does it. `false`: there is nothing to change, and nothing was.
pub async fn carry_out(step: &Step, wanted: &Wanted, cloud: &Cloud, clock: &Clock) -> Result<bool> {
    let name = &wanted.rule.name;
    match step {
        Step::Call(call) if call.action == "wait change-set-create-complete" => {
            if let Err(said) = call.run()? {
                return no_change_set(wanted, &said);
            }
        }
        Step::Call(call) => {
            let answer = call.ask()?;
            if call.action == "describe-change-set" {
                lambda::set_changes(&answer).iter().for_each(|line| println!("  {line}"));
            }
            let is_update = ["CreateFunction", "UpdateFunctionCode"].contains(&call.action);
            println!("{} {}{}", call.service, call.action, if is_update { ": sent" } else { ": done" });
        }
        Step::Timer(on) => {
            if !on {
                println!("timer: goes off until the heads are copied; if this is cut off, make deploy switches it on");
            }
            cloud.timer(name, *on)?;
        }
        Step::Upload => upload(wanted, clock).await?,
        Step::Carry { from, longest } => {
            if last_run(cloud, name)? {
                println!(
                    "prefix: a run that began before may be at one partition while this one was at the others: waiting {longest} s for its end"
                );
                tokio::time::sleep(Duration::from_secs(*longest)).await;
                last_run(cloud, name)?;
            }
            let carried =
                carry::carry(&store_of(&wanted.rule, |name| env::var(name).ok(), *clock)?, &wanted.rule, from).await?;
            println!("prefix: {} heads copied, {} were there", carried.copied.len(), carried.same);
        }
    }
    Ok(true)
}

/// A change set that cannot be made: for want of changes, or for a reason.
fn no_change_set(wanted: &Wanted, said: &str) -> Result<bool> {
    let (region, name) = (wanted.region.as_str(), wanted.rule.name.as_str());
    let described = lambda::describe_set(region, name, wanted.stamp).ask()?;
    let reason = text(&described, "/StatusReason");
    lambda::drop_set(region, name, wanted.stamp).ask()?;
    match reason.contains("didn't contain changes") || reason.contains("No updates are to be performed") {
        true => Ok(false),
        false => bail!("the change set was refused: {}", if reason.is_empty() { said.trim() } else { &reason }),
    }
}

/// One run of the old rule, so that nothing is under way and nothing is announced that is not stored. Whether its topic
/// has partitions.
fn last_run(cloud: &Cloud, name: &str) -> Result<bool> {
    match cloud.invoke(name, "{}")? {
        Reply::Report(report) => match worst(&report).as_str() {
            "stored" | "nothing_to_do" => Ok(!list(&report, "/partitions").is_empty()),
            other => {
                bail!("prefix: the old rule's last run ended as {other}; nothing was changed: try again in a minute")
            }
        },
        Reply::Failed(said) => {
            bail!("prefix: the old rule's last run failed, and nothing was changed; mend this first: {said}")
        }
    }
}

/// What the run came to; or one of its partitions that somebody else may be at, or whose end is not known.
fn worst(report: &Value) -> String {
    let partitions = list(report, "/partitions").iter().map(|one| text(one, "/outcome"));
    let open = partitions.into_iter().find(|outcome| ["busy", "unknown", "failed"].contains(&outcome.as_str()));
    open.unwrap_or_else(|| text(report, "/outcome"))
}

async fn upload(wanted: &Wanted, clock: &Clock) -> Result<()> {
    let store = store_of(&wanted.rule, |name| env::var(name).ok(), *clock)?;
    let bytes = std::fs::read(&wanted.package).context("the package cannot be read")?;
    let mut spool = Spool::new(&env::temp_dir(), bytes.len() + 1);
    spool.append(&bytes).context("the package")?;
    let body = spool.finish(&[]);
    let key = wanted.package_key();
    let upload =
        Upload { key: &key, content_type: "application/zip", content_encoding: None, metadata: &[], body: &body };
    let begun = store.begin(&upload).await?;
    store.put(&upload, begun.as_ref()).await?;
    println!("package: {}/{key}", wanted.rule.bucket);
    Ok(())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_last_run_of_which_a_partition_was_busy_is_none() {
        let report = |outcome: &str| json!({ "outcome": "stored", "partitions": [{ "outcome": "stored" }, { "outcome": outcome }] });
        assert_eq!(worst(&report("nothing_to_do")), "stored");
        assert_eq!(worst(&report("busy")), "busy");
        assert_eq!(worst(&report("not_read")), "stored");
        assert_eq!(worst(&json!({ "outcome": "unknown" })), "unknown");
    }
}

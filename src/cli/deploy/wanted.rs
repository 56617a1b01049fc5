//! What a rule comes to as a function, on either cloud, and how that differs from what is deployed.

use std::collections::BTreeMap;
use std::path::PathBuf;

use anyhow::{Result, bail};
use clap::ValueEnum;
use serde_json::Value;
use tdmq_backup::error::visible;
use tdmq_backup::rule::Endpoint;
use tdmq_backup::ticks::{LONGEST, timeout};
use tdmq_backup::{Error, Kind, Rule, Secret};

use super::call::Call;

/// How the platforms' tags say whose a function is.
pub const TAG: (&str, &str) = ("made-by", "tdmq-backup");

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Target {
    Lambda,
    Scf,
}

impl Target {
    pub fn name(self) -> &'static str {
        match self {
            Target::Lambda => "lambda",
            Target::Scf => "scf",
        }
    }
}

/// Names and values that say what a function is and does; nothing secret. As they are: they are compared with a rule's,
/// and made fit for a terminal where they are printed.
pub type Facts = BTreeMap<String, String>;

/// Everything that a deployment is made from.
#[derive(Debug)]
pub struct Wanted {
    pub rule: Rule,
    /// The function's region.
    pub region: String,
    pub minutes: u64,
    pub package: PathBuf,
    /// SHA-256 of the package, in hex.
    pub digest: String,
    /// Where a package is kept that does not go up with a call.
    pub code_bucket: Option<String>,
    /// Keys of a store on the other cloud.
    pub keys: Option<(Secret, Secret)>,
    /// Parameters of the template that the user sets by name.
    pub set: Facts,
    /// Makes names of calls unique, ms since the epoch.
    pub stamp: u64,
}

impl Wanted {
    pub fn package_key(&self) -> String {
        format!("{}_deploy/{}-{}.zip", self.rule.prefix, self.rule.name, &self.digest[..16])
    }

    pub fn identity(&self) -> [String; 3] {
        identity(&self.rule)
    }

    /// Where an edited rule has another prefix and is still of the same subscription, its heads have to come along, whatever
    /// else was edited.
    pub fn carry(&self, old: &Deployed) -> Vec<Step> {
        let [topic, subscription, _] = self.identity();
        let same = old.fact("bucket") == self.rule.bucket.as_str()
            && (old.fact("topic"), old.fact("subscription")) == (&topic, &subscription);
        let from = old.fact("prefix").to_owned();
        match same && from != self.rule.prefix.as_str() {
            true => vec![Step::Timer(false), Step::Carry { from, longest: old.longest_run() }],
            false => Vec::new(),
        }
    }
}

/// What tells a rule from others, whatever its function is called: topic, subscription and shard.
pub fn identity(rule: &Rule) -> [String; 3] {
    let shard = rule.shard.map(|shard| format!("{}/{}", shard.index, shard.of)).unwrap_or_default();
    [rule.topic.to_string(), rule.subscription.clone(), shard]
}

/// A function as it stands on a cloud.
#[derive(Clone, Debug)]
pub struct Deployed {
    pub name: String,
    /// Whether this program made it.
    pub ours: bool,
    pub facts: Facts,
    /// The platform's word for its state.
    pub state: String,
    /// Whether its timer exists.
    pub timer: bool,
    /// Whether it was switched off; on Lambda nobody was asked.
    pub paused: bool,
}

impl Deployed {
    pub fn fact(&self, name: &str) -> &str {
        self.facts.get(name).map_or("", String::as_str)
    }

    /// After how many seconds a run of it has ended.
    fn longest_run(&self) -> u64 {
        let fact = |name| self.fact(name).parse().ok();
        fact("timeout").or(fact("interval").map(timeout)).unwrap_or(LONGEST)
    }

    pub fn identity(&self) -> [String; 3] {
        ["topic", "subscription", "shard"].map(|name| self.fact(name).to_owned())
    }

    /// It reads what the rule says, and not what the rule's file said before it was edited.
    pub fn is_of(&self, rule: &Rule) -> Result<()> {
        let deployed = self.identity();
        if deployed == identity(rule) {
            return Ok(());
        }
        let [topic, subscription, _] = deployed;
        let text = format!(
            "the function {:?} reads subscription {subscription:?} of {topic}, and the rule's file says {:?} of {}; nothing was done: \
             put the rule back as it is deployed, or make deploy first",
            self.name, rule.subscription, rule.topic
        );
        bail!(Error::new(Kind::Invalid, text))
    }
}

/// One thing to be done, in its order.
#[derive(Clone, Debug)]
pub enum Step {
    Call(Call),
    /// The package goes into the rule's bucket.
    Upload,
    /// The timer is switched on or off.
    Timer(bool),
    /// One more run of the old rule, then the heads under the old prefix are copied under the new one. `longest` is
    /// after how many seconds no run goes on that began before.
    Carry {
        from: String,
        longest: u64,
    },
}

/// `name: old -> new`, a line each.
pub fn changes(old: &Facts, new: &Facts) -> Vec<String> {
    let names: std::collections::BTreeSet<&String> = old.keys().chain(new.keys()).collect();
    let of = |facts: &Facts, name| facts.get(name).cloned().unwrap_or_default();
    let line = |name| {
        let (old, new) = (of(old, name), of(new, name));
        let shown = |value: &str| if value.is_empty() { "none".to_owned() } else { visible(value) };
        (old != new).then(|| format!("{name}: {} -> {}", shown(&old), shown(&new)))
    };
    names.into_iter().filter_map(line).collect()
}

/// Whether an endpoint is one of AWS's.
pub fn is_aws(endpoint: &Endpoint) -> bool {
    endpoint.host.ends_with(".amazonaws.com") || endpoint.host.ends_with(".amazonaws.com.cn")
}

/// The text at a pointer, on one line, as it may stand in a terminal; empty where there is none.
pub fn text(value: &Value, pointer: &str) -> String {
    visible(&raw(value, pointer))
}

/// The same with all that is in it: what is compared, and a log, which has lines.
pub fn raw(value: &Value, pointer: &str) -> String {
    match value.pointer(pointer) {
        Some(Value::String(text)) => text.clone(),
        Some(Value::Number(number)) => number.to_string(),
        _ => String::new(),
    }
}

/// The array at a pointer; empty where there is none.
pub fn list<'a>(value: &'a Value, pointer: &str) -> &'a [Value] {
    value.pointer(pointer).and_then(Value::as_array).map_or(&[], Vec::as_slice)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::super::{lambda, scf};
    use super::*;

    #[test]
    fn a_topic_with_a_mark_that_a_terminal_obeys_is_still_the_rules_and_is_printed_without_it() {
        let text = include_str!("../../rule/example.toml");
        let rule = Rule::from_toml(text).unwrap();
        let marked = format!("{}\u{200f}", rule.topic);
        let rule = Rule::from_toml(&text.replace(&rule.topic.to_string(), &marked)).unwrap();
        let subscription = &rule.subscription;
        let stack = json!({ "StackName": "s", "Parameters": [
            { "ParameterKey": "Topic", "ParameterValue": marked },
            { "ParameterKey": "Subscription", "ParameterValue": subscription },
        ] });
        let function = json!({ "Environment": { "Variables": [
            { "Key": "TDMQ_BACKUP_TOPIC", "Value": marked },
            { "Key": "TDMQ_BACKUP_SUBSCRIPTION", "Value": subscription },
        ] } });
        for deployed in [lambda::deployed(&stack), scf::deployed(&function)] {
            deployed.is_of(&rule).unwrap();
            let printed = changes(&deployed.facts, &Facts::new()).concat();
            assert!(printed.contains("topic: persistent://") && !printed.contains('\u{200f}'), "{printed}");
        }
    }
}

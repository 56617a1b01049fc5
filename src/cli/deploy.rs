//! `tdmq-backup deploy`: a rule becomes a function, or a function what its rule has become.
//!
//! ```text
//!  rule.toml ─▶ before ─▶ Wanted ─┐
//!                                 ├─▶ scf, lambda: the plan ─▶ shown ─▶ call: tccli, aws
//!  cloud: what is there ──────────┘                              └─ --dry-run ends here
//! ```
//!
//! Owns: the order of things. What is called is in [`scf`] and [`lambda`], what must be so first in [`before`].

mod before;
mod call;
mod carry;
mod cloud;
pub mod delete;
mod drain;
mod lambda;
pub mod logs;
mod reads;
mod scf;
mod schedule;
pub mod smoke;
mod standing;
mod steps;
mod unsubscribe;
mod wanted;

use std::collections::BTreeMap;
use std::env;
use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::{Result, bail};
use clap::Args;
use serde_json::Value;
use tdmq_backup::{Clock, Error, Kind, Rule, Secret};

use cloud::{Cloud, Reply};
pub use wanted::Target;
use wanted::{Deployed, Facts, Step, Wanted, changes, is_aws, text};

/// Which function is meant.
#[derive(Args)]
pub struct Place {
    /// The cloud
    #[arg(long, value_enum)]
    target: Target,
    /// The rule file
    #[arg(long, value_name = "FILE", default_value = "rule.toml")]
    rule: PathBuf,
    /// The function's region; default: the rule's
    #[arg(long, value_name = "REGION")]
    region: Option<String>,
}

impl Place {
    /// The rule as its file has it: of this shell's variables the function gets the token alone.
    fn rule(&self) -> tdmq_backup::Result<Rule> {
        const TOKEN: [&str; 2] = ["TDMQ_BACKUP_TOKEN", "TDMQ_BACKUP_TOKEN_FILE"];
        let ours = |name: &str| TOKEN.contains(&name) || !name.starts_with("TDMQ_BACKUP_");
        let text = |(name, value): (std::ffi::OsString, std::ffi::OsString)| {
            Some((name.into_string().ok()?, value.into_string().ok()?))
        };
        Rule::load(Some(&self.rule), env::vars_os().filter_map(text).filter(|(name, _)| ours(name)))
    }

    fn cloud(&self, rule: &Rule) -> Cloud {
        let own = match self.target {
            Target::Scf => rule.endpoint.is_cos(),
            Target::Lambda => is_aws(&rule.endpoint),
        };
        let elsewhere = match self.target {
            Target::Scf => env::var("TENCENTCLOUD_REGION"),
            Target::Lambda => env::var("AWS_REGION"),
        };
        let elsewhere = elsewhere.ok().filter(|region| !own && !region.is_empty());
        let region = self.region.clone().or(elsewhere).unwrap_or_else(|| rule.region.clone());
        Cloud { target: self.target, region }
    }
}

#[derive(Args)]
pub struct Deploy {
    #[command(flatten)]
    place: Place,
    /// The package; default: the one that make package made, dist/tdmq-backup-<target>-<name>.zip
    #[arg(long, value_name = "FILE")]
    package: Option<PathBuf>,
    /// Prints every call, and changes nothing
    #[arg(long)]
    dry_run: bool,
    /// Lambda: the S3 bucket for the package; default: the rule's own
    #[arg(long, value_name = "BUCKET")]
    code_bucket: Option<String>,
    /// Lambda: a parameter of template.yaml that the rule says nothing about, as in AlarmTopicArn=arn:aws:sns:…
    #[arg(long, value_name = "NAME=VALUE", value_parser = assignment)]
    set: Vec<(String, String)>,
}

fn assignment(text: &str) -> Result<(String, String), String> {
    match text.split_once('=') {
        // A secret would stand in a command line and in what is printed; the rest twice, and the heads would not be carried.
        Some((name, _)) if lambda::is_said(name) => {
            Err(format!("{name} is not set by hand: it follows from the rule, the package or the environment"))
        }
        Some((name, value)) if name.chars().all(char::is_alphanumeric) && !name.is_empty() => {
            Ok((name.to_owned(), value.to_owned()))
        }
        _ => Err("must be a parameter's name, = and its value".to_owned()),
    }
}

impl Deploy {
    pub async fn run(self) -> Result<ExitCode> {
        let clock = Clock::system();
        let rule = self.place.rule()?;
        let cloud = self.place.cloud(&rule);
        let (wanted, size) = self.wanted(rule, &cloud, &clock)?;
        let old = self.found(&cloud, &wanted)?;
        let facts = match cloud.target {
            Target::Scf => scf::facts(&wanted),
            Target::Lambda => lambda::facts(&wanted, old.as_ref()),
        };
        if cloud.target == Target::Scf
            && let Some(problem) = old.as_ref().and_then(|old| scf::loses(&wanted, old))
        {
            bail!(Error::of_lines(Kind::Invalid, format!("nothing was deployed:\n  {problem}")));
        }
        say_what_changes(&wanted, old.as_ref(), &facts, &cloud);
        let steps = match cloud.target {
            Target::Scf => scf::plan(&wanted, old.as_ref(), size),
            Target::Lambda => lambda::plan(&wanted, old.as_ref()),
        };
        if self.dry_run {
            println!("{}", cloud.look(&wanted.rule.name).shown());
            steps.iter().for_each(|step| steps::show(step, &wanted, &cloud));
            return Ok(ExitCode::SUCCESS);
        }
        let mut closed = false;
        for step in &steps {
            let done = Box::pin(steps::carry_out(step, &wanted, &cloud, &clock)).await;
            match done {
                Ok(true) => {
                    closed = matches!(step, Step::Timer(false)) || (closed && !matches!(step, Step::Timer(true)))
                }
                Ok(false) => {
                    // A deployment that was cut off may have left it off.
                    cloud.timer(&wanted.rule.name, true)?;
                    println!("nothing to change");
                    return Ok(ExitCode::SUCCESS);
                }
                Err(error) => {
                    if closed {
                        switch_on_again(&cloud, &wanted.rule.name);
                    }
                    return Err(error);
                }
            }
        }
        println!("{} is deployed; make status shows its runs", wanted.rule.name);
        Ok(ExitCode::SUCCESS)
    }

    /// The rule and the package, checked.
    fn wanted(&self, rule: Rule, cloud: &Cloud, clock: &Clock) -> Result<(Wanted, u64)> {
        let keys = keys_of_the_other_cloud(&rule, cloud.target);
        let mut found = before::rule(&rule, cloud.target, &cloud.region, keys.is_some());
        let default = || PathBuf::from(format!("dist/tdmq-backup-{}-{}.zip", cloud.target.name(), rule.name));
        let package = self.package.clone().unwrap_or_else(default);
        let checked =
            before::package(&package, &self.place.rule).and_then(|held| before::program(&package).map(|()| held));
        let (bytes, size) = checked.unwrap_or_else(|problem| {
            found.problems.push(problem);
            Default::default()
        });
        let own = is_aws(&rule.endpoint) && cloud.region == rule.region;
        let wanted = Wanted {
            region: cloud.region.clone(),
            minutes: schedule::minutes(&rule).unwrap_or(5),
            package,
            digest: digest(&bytes),
            code_bucket: self.code_bucket.clone().or_else(|| own.then(|| rule.bucket.to_string())),
            keys,
            set: self.set.iter().cloned().collect(),
            stamp: clock.now_ms(),
            rule,
        };
        found.problems.extend(before::sizes(&wanted, cloud.target, size));
        found.warnings.iter().for_each(|warning| eprintln!("warning: {warning}"));
        match found.problems.is_empty() {
            true => Ok((wanted, size)),
            false => {
                let lines: String = found.problems.iter().map(|problem| format!("\n  {problem}")).collect();
                bail!(Error::new(Kind::Invalid, format!("nothing was deployed:{lines}")))
            }
        }
    }

    /// The function that is there already. One that somebody else made is never touched, and neither is a rule deployed twice.
    fn found(&self, cloud: &Cloud, wanted: &Wanted) -> Result<Option<Deployed>> {
        let name = &wanted.rule.name;
        let looked = cloud.find(name).and_then(|found| {
            // An edit may turn a function into another one's twin.
            let known = found.as_ref().is_some_and(|found| found.identity() == wanted.identity());
            let ours = if known { Vec::new() } else { cloud.ours()? };
            Ok((found, ours))
        });
        let (found, ours) = match looked {
            Err(error) if self.dry_run => {
                eprintln!(
                    "warning: the cloud was not asked what is there ({error:#}); shown is what a new function takes"
                );
                return Ok(None);
            }
            looked => looked?,
        };
        if let Some(found) = found.as_ref().filter(|found| !found.ours || found.name != *name) {
            let text = format!(
                "name: {:?} on {} was not made by tdmq-backup for this rule; nothing was changed: choose another name",
                found.name,
                cloud.target.name()
            );
            bail!(Error::new(Kind::Invalid, text));
        }
        if let Some(found) =
            found.as_ref().filter(|found| cloud.target == Target::Lambda && lambda::was_never_made(found))
        {
            let text = format!(
                "name: the first deployment of {:?} failed ({}), and what is left of it cannot be edited: make delete, then deploy again \
                 (nothing is lost by that); the stack's events in the console say why",
                found.name, found.state
            );
            bail!(Error::new(Kind::Invalid, text));
        }
        let twin = ours.iter().find(|other| other.name != *name && other.identity() == wanted.identity());
        if let Some(twin) = twin {
            let text = format!(
                "name: this topic and subscription are deployed as {:?}, and a name cannot be changed after creation: two functions \
                 would take the subscription from each other; go on as {:?}, or make delete it first (nothing is lost by that)",
                twin.name, twin.name
            );
            bail!(Error::new(Kind::Invalid, text));
        }
        Ok(found)
    }
}

/// The timer, which was switched off for what is not done.
fn switch_on_again(cloud: &Cloud, name: &str) {
    match cloud.timer(name, true) {
        Ok(()) => eprintln!("the timer is on again"),
        Err(_) => eprintln!("the timer is off: switch it on, or deploy again"),
    }
}

fn digest(bytes: &[u8]) -> String {
    use sha2::Digest;
    tdmq_backup::encode::spool::hex(&sha2::Sha256::digest(bytes))
}

/// What the platform's role does not open has keys of its own. Keys that end with a session would end in the function.
fn keys_of_the_other_cloud(rule: &Rule, target: Target) -> Option<(Secret, Secret)> {
    let names = match target {
        Target::Lambda if rule.endpoint.is_cos() => {
            ["TENCENTCLOUD_SECRETID", "TENCENTCLOUD_SECRETKEY", "TENCENTCLOUD_SESSIONTOKEN"]
        }
        Target::Scf if is_aws(&rule.endpoint) => ["AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN"],
        _ => return None,
    };
    let [id, secret, session] =
        names.map(|name| env::var(name).ok().filter(|value| !value.is_empty()).map(Secret::new));
    id.zip(secret).filter(|_| session.is_none())
}

fn say_what_changes(wanted: &Wanted, old: Option<&Deployed>, facts: &Facts, cloud: &Cloud) {
    let name = &wanted.rule.name;
    let empty = BTreeMap::new();
    match old {
        None => println!("{name}: new on {} in {}", cloud.target.name(), cloud.region),
        Some(old) => println!("{name}: an edit on {} in {} (now {})", cloud.target.name(), cloud.region, old.state),
    }
    for line in changes(old.map_or(&empty, |old| &old.facts), facts) {
        println!("  {line}");
    }
    println!("  package: {} ({})", wanted.package.display(), &wanted.digest[..16]);
    if cloud.target == Target::Scf && old.is_some_and(|old| !wanted.carry(old).is_empty()) {
        eprintln!(
            "warning: prefix: the role's policy must let the function read and write below the new one first: {}",
            before::cam_policy(&wanted.rule)
        );
    }
    if let Some(old) = old
        && old.identity() == wanted.identity()
        && old.fact("bucket") != wanted.rule.bucket.as_str()
    {
        eprintln!("warning: bucket: heads are not carried to another bucket: there the rule begins anew, at its start");
    }
}

/// One run of the deployed function. What it reported is one line of JSON on standard output.
pub fn invoke(target: Target, rule: PathBuf, region: Option<String>, event: &str) -> Result<ExitCode> {
    let place = Place { target, rule, region };
    let rule = place.rule()?;
    match place.cloud(&rule).invoke(&rule.name, event)? {
        Reply::Report(report) => {
            println!("{report}");
            Ok(ExitCode::from(match text(&report, "/outcome").as_str() {
                "busy" => 3,
                "unknown" => 4,
                _ => 0,
            }))
        }
        Reply::Failed(said) if said.starts_with("invalid: ") => {
            bail!(Error::new(Kind::Invalid, format!("the run failed: {said}")))
        }
        Reply::Failed(said) => bail!("the run failed: {said}"),
    }
}

/// A report's member as it is shown.
fn shown(report: &Value, pointer: &str) -> String {
    match text(report, pointer) {
        text if text.is_empty() => "-".to_owned(),
        text => text,
    }
}

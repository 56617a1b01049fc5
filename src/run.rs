//! One invocation: a rule, the time there is, and the wire put together.

use std::env;
use std::ffi::OsString;
use std::path::Path;
use std::time::Duration;

use tokio::time::Instant;

use crate::batch::Caps;
use crate::clock::Clock;
use crate::drain::{self, Beginning, Job, Progress};
use crate::encode;
use crate::error::{Error, Kind, Result};
use crate::head::Owner;
use crate::pulsar::{Cluster, Initial};
use crate::report::Report;
use crate::rule::names::partition_folder;
use crate::rule::{Compression, Rule, Start, TopicName};
use crate::store::{Keys, Limits, S3, Settings};

/// What a run may take where the platform sets no limit of its own: the window and this much for storing.
const STORING: Duration = Duration::from_secs(120);

/// The function, set up once and invoked often.
pub struct Function {
    rule: Rule,
    store: S3,
}

impl Function {
    /// From a rule file and this process's environment, as the function and `invoke` do. Variables that are
    /// not text cannot be ours.
    pub fn load(rule: Option<&Path>, clock: Clock) -> Result<Self> {
        let text = |(name, value): (OsString, OsString)| Some((name.into_string().ok()?, value.into_string().ok()?));
        let rule = Rule::load(rule, env::vars_os().filter_map(text))?;
        Function::new(rule, |name| env::var(name).ok(), clock)
    }

    /// Reads credentials from `env`; connects to nothing.
    pub fn new(rule: Rule, env: impl Fn(&str) -> Option<String>, clock: Clock) -> Result<Self> {
        let endpoint = rule.endpoint.to_string();
        let settings = Settings {
            keys: Keys::from_env(env, &endpoint)?,
            endpoint,
            region: rule.region.clone(),
            bucket: rule.bucket.as_str().to_owned(),
            addressing: rule.addressing,
            storage_class: rule.storage_class.clone(),
            sse: rule.sse.map(|sse| sse.name().to_owned()),
            limits: Limits::default(),
        };
        Ok(Function { store: S3::new(settings, clock)?, rule })
    }

    pub fn rule(&self) -> &Rule {
        &self.rule
    }

    /// One run. `deadline` is when the platform ends it; `None` where that is not known. Never fails:
    /// what goes wrong stands in the report. Nothing of it is left running.
    pub async fn invoke(&self, deadline: Option<Instant>, clock: &Clock, watch: &mut dyn FnMut(Progress)) -> Report {
        let now = clock.now();
        let deadline = deadline.filter(|at| *at > now).unwrap_or(now + self.rule.interval + STORING);
        let (store_by, broker_by) = drain::last_answers(deadline, now);
        let store = self.store.until(store_by);
        let job = job(&self.rule, deadline);
        let report = Report::new(
            &self.rule.name,
            self.rule.topic.to_string(),
            &self.rule.subscription,
            self.rule.warnings.clone(),
        );
        let attach = async |beginning| {
            let initial = match beginning {
                Beginning::AsAsked if self.rule.start == Start::Latest => Initial::Latest,
                Beginning::AsAsked | Beginning::Earliest => Initial::Earliest,
            };
            let cluster = Cluster::new(&self.rule, broker_by);
            refuse_partitions(&self.rule.topic, cluster.partitions(&self.rule.topic).await?)?;
            cluster.attach(&self.rule.topic, &self.rule.subscription, initial).await
        };
        drain::run(&job, &store, attach, clock, report, watch).await
    }
}

/// What the reader of a partitioned topic needs to know until partitions are read one by one.
fn refuse_partitions(topic: &TopicName, partitions: u32) -> Result<()> {
    if partitions == 0 {
        return Ok(());
    }
    let text = format!(
        "topic {topic} has {partitions} partitions: partitioned topics are not yet available; name one partition, as in {topic}-partition-0"
    );
    Err(Error::new(Kind::Invalid, text))
}

fn job(rule: &Rule, deadline: Instant) -> Job {
    let partition = rule.topic.partition().unwrap_or(-1);
    Job {
        owner: Owner { topic: rule.topic.to_string(), subscription: rule.subscription.clone(), partition },
        folder: partition_folder(&rule.prefix, &whole(&rule.topic), partition),
        start: asked(&rule.start),
        caps: Caps { messages: rule.max_messages.into(), bytes: rule.max_bytes },
        max_objects: rule.max_objects,
        interval: rule.interval,
        compression: match rule.compression {
            Compression::Gzip => encode::Compression::Gzip,
            Compression::None => encode::Compression::None,
            Compression::Zstd | Compression::Snappy => {
                unreachable!("the rule's check refuses what is not yet available")
            }
        },
        deadline,
    }
}

/// The start as the rule file writes it.
fn asked(start: &Start) -> String {
    match start {
        Start::Continue => "continue".into(),
        Start::Earliest => "earliest".into(),
        Start::Latest => "latest".into(),
        Start::Timestamp(ms) => ms.to_string(),
        Start::Id(position) => position.to_string(),
    }
}

/// The topic that a partition belongs to: objects of `t-partition-3` stand beside those of its siblings.
fn whole(topic: &TopicName) -> TopicName {
    let mut whole = topic.clone();
    if topic.partition().is_some()
        && let Some((name, _)) = topic.topic.rsplit_once("-partition-")
    {
        whole.topic = name.to_owned();
    }
    whole
}

//! One invocation: a rule, the time there is, and the wire put together.

pub mod partitions;
pub mod send;
pub mod subscription;

use std::borrow::Cow;
use std::env;
use std::ffi::OsString;
use std::path::Path;
use std::time::Duration;

use tokio::time::Instant;

use crate::batch::Caps;
use crate::budget;
use crate::clock::Clock;
use crate::drain::{self, Beginning, Job, Progress};
use crate::dry;
use crate::encode;
use crate::error::{Error, Kind, Result};
use crate::event::{SeekEvent, Wish};
use crate::head::Owner;
use crate::pulsar::{Cluster, Initial, is_missing_topic};
use crate::report::Report;
use crate::rule::names::partition_folder;
use crate::rule::{Compression, Rule, Start, TopicName};
use crate::store::{Keys, Limits, S3, Settings};
use crate::vault::Vault;

/// What a run may take where the platform sets no limit of its own: the window and this much for storing.
const STORING: Duration = Duration::from_secs(120);

/// The function, set up once and invoked often.
pub struct Function {
    rule: Rule,
    store: S3,
    /// Where the token comes from that the rule does not have.
    vault: Option<Vault>,
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
        let store = store_of(&rule, &env, clock)?;
        let secret = rule.deploy.token_secret.as_deref().filter(|_| rule.token.is_none());
        Ok(Function { store, vault: secret.and_then(|name| Vault::from_env(env, name)), rule })
    }

    pub fn rule(&self) -> &Rule {
        &self.rule
    }

    /// One run. `deadline` is when the platform ends it; `None` where that is not known. Never fails:
    /// what goes wrong stands in the report. Nothing of it is left running.
    pub async fn invoke(&self, deadline: Option<Instant>, clock: &Clock, watch: &mut dyn FnMut(Progress)) -> Report {
        self.obey(None, deadline, clock, watch).await
    }

    /// [`invoke`](Function::invoke) that first moves the cursor as the event asks, if it does.
    pub async fn obey(
        &self,
        seek: Option<SeekEvent>,
        deadline: Option<Instant>,
        clock: &Clock,
        watch: &mut dyn FnMut(Progress),
    ) -> Report {
        self.answer(Wish { seek, ..Wish::default() }, deadline, clock, watch).await
    }

    /// [`invoke`](Function::invoke) with what an event asks for besides. A dry run changes nothing at the broker or in
    /// the bucket; its report says what the next run would write.
    pub async fn answer(
        &self,
        wish: Wish,
        deadline: Option<Instant>,
        clock: &Clock,
        watch: &mut dyn FnMut(Progress),
    ) -> Report {
        let Wish { seek, dry_run, max_objects } = wish;
        let started = clock.now();
        let deadline = deadline.filter(|at| *at > started).unwrap_or(started + self.rule.interval + STORING);
        let (store_by, broker_by) = drain::last_answers(deadline, started);
        let mut report = Report::new(
            &self.rule.name,
            self.rule.topic.to_string(),
            &self.rule.subscription,
            self.rule.warnings.clone(),
        );
        report.dry_run = dry_run;
        if let Err(error) = confirmed(seek.as_ref(), &self.rule.subscription) {
            report.failed(&error);
            return report;
        }
        let mut rule = Cow::Borrowed(&self.rule);
        if let Some(vault) = &self.vault {
            match vault.read(started).await {
                Ok(token) => rule.to_mut().token = Some(token),
                Err(error) => {
                    report.failed(&error);
                    return report;
                }
            }
        }
        let (store, cluster) = (self.store.until(store_by), Cluster::new(&rule, broker_by));
        let max_objects = max_objects.unwrap_or(rule.max_objects);
        let tick = Tick { rule: &rule, seek, dry_run, max_objects, store, cluster, clock, started, deadline };
        // On the heap: a run is large, and a platform's stack may be small.
        let mut report = Box::pin(tick.run(report, watch)).await;
        report.finish(clock.now().saturating_duration_since(started).as_millis() as u64);
        report.shorten();
        report.complete_through_age_ms = report.complete_through.map(|at| clock.now_ms().saturating_sub(at));
        report
    }
}

/// The bucket of a rule, with the keys that `env` holds. Connects to nothing.
pub fn store_of(rule: &Rule, env: impl Fn(&str) -> Option<String>, clock: Clock) -> Result<S3> {
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
    S3::new(settings, clock)
}

/// One run's rule, time and wires.
struct Tick<'a> {
    rule: &'a Rule,
    /// Where an event asks the cursor to be moved.
    seek: Option<SeekEvent>,
    dry_run: bool,
    max_objects: u32,
    store: S3,
    cluster: Cluster<'a>,
    clock: &'a Clock,
    started: Instant,
    deadline: Instant,
}

impl Tick<'_> {
    async fn run(mut self, mut report: Report, watch: &mut dyn FnMut(Progress)) -> Report {
        let asked_at = self.clock.now_ms();
        let all = self.cluster.partitions(&self.rule.topic).await;
        let asking_ms = self.clock.now_ms() - asked_at;
        let (count, read) = match all.and_then(|count| Ok((count, partitions::own(self.rule, count)?))) {
            Ok(own) => own,
            Err(error) => {
                report.failed(&error);
                return report;
            }
        };
        match read[..] {
            [] => report.not_in_shard(asked_at),
            [partition] if count == 0 => {
                let job = self.job(partition, false);
                report = self.one(&job, 0, report, watch).await;
            }
            _ => {
                self.cluster = self.cluster.shared_by(budget::READERS.min(read.len()));
                self.partitions(read, count, asked_at, &mut report, watch).await;
            }
        }
        report.phases.connect_ms += asking_ms;
        report
    }

    /// Runs one partition, of a topic that has so many. One of a partitioned topic may be missing: partitions are
    /// made when somebody writes to them.
    async fn one(&self, job: &Job, count: u32, report: Report, watch: &mut dyn FnMut(Progress)) -> Report {
        let topic = self.topic(job.owner.partition, count > 0);
        let known = |error: &Error| count == 0 || !is_missing_topic(error);
        let place = async |start| {
            one_partition_for(start, count)?;
            match Box::pin(self.cluster.place(&topic, &self.rule.subscription, start)).await {
                Err(error) if !known(&error) => Ok(None),
                found => found.map(Some),
            }
        };
        if self.dry_run {
            let subscription = &self.rule.subscription;
            let attach = async |beginning| {
                let now = self.clock.now_ms();
                match dry::Reader::attach(&self.cluster, &topic, subscription, beginning, now).await {
                    Err(error) if !known(&error) => Ok(None),
                    attached => attached.map(Some),
                }
            };
            let store = dry::Reading::new(&self.store);
            let mut report = Box::pin(drain::run(job, &store, place, attach, self.clock, report, watch)).await;
            report.only_planned();
            return report;
        }
        let attach = async |beginning| {
            let initial = match beginning {
                Beginning::Earliest => Initial::Earliest,
                Beginning::Latest => Initial::Latest,
            };
            match self.cluster.attach(&topic, &self.rule.subscription, initial).await {
                Err(error) if !known(&error) => Ok(None),
                attached => attached.map(Some),
            }
        };
        Box::pin(drain::run(job, &self.store, place, attach, self.clock, report, watch)).await
    }

    fn job(&self, partition: i32, partitioned: bool) -> Job {
        let rule = self.rule;
        // A partition's head is the same whether the rule names that one or the whole topic.
        let topic = self.topic(partition, partitioned).to_string();
        Job {
            owner: Owner { topic, subscription: rule.subscription.clone(), partition },
            folder: partition_folder(&rule.prefix, &rule.topic.whole(), partition),
            start: rule.start,
            seek: self.seek.clone(),
            caps: Caps { messages: rule.max_messages.into(), bytes: rule.max_bytes },
            max_objects: self.max_objects,
            interval: rule.interval,
            compression: match rule.compression {
                Compression::Gzip => encode::Compression::Gzip,
                Compression::None => encode::Compression::None,
                Compression::Zstd | Compression::Snappy => {
                    unreachable!("the rule's check refuses what is not yet available")
                }
            },
            started: self.started,
            deadline: self.deadline,
            readers: 1,
            siblings: None,
        }
    }

    fn topic(&self, partition: i32, partitioned: bool) -> TopicName {
        partition_of(&self.rule.topic, partition, partitioned)
    }
}

/// A move is one that somebody means: he names what is moved.
fn confirmed(seek: Option<&SeekEvent>, subscription: &str) -> Result<()> {
    match seek.filter(|seek| seek.confirm != subscription) {
        None => Ok(()),
        Some(seek) => {
            let text = format!(
                "the event's \"confirm\" is {:?}, and this rule's subscription is {subscription:?}; nothing was moved: \
                 make sure that this is the right function, and name its subscription",
                seek.confirm
            );
            Err(Error::new(Kind::Invalid, text))
        }
    }
}

/// A message id is one partition's: in the others it would silently become another place.
fn one_partition_for(start: Start, partitions: u32) -> Result<()> {
    match start {
        Start::Id(id) if partitions > 1 => {
            let text = format!(
                "message {id} is one partition's, and {partitions} are read: name one partition as the topic, or say a time"
            );
            Err(Error::new(Kind::Invalid, text))
        }
        _ => Ok(()),
    }
}

/// One partition of a topic that has some; the topic itself where it has none.
fn partition_of(topic: &TopicName, partition: i32, partitioned: bool) -> TopicName {
    let mut topic = topic.clone();
    if partitioned {
        topic.topic = format!("{}-partition-{partition}", topic.topic);
    }
    topic
}

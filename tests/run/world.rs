//! A broker, a bucket and a rule in this process, and what is left behind in them after a run.

use std::collections::BTreeMap;
use std::future::poll_fn;
use std::io::Read;
use std::task::Poll;
use std::time::Duration;

use serde_json::Value;
use tdmq_backup::drain::Progress;
use tdmq_backup::event::Event;
use tdmq_backup::report::{Outcome, Report};
use tdmq_backup::run::Function;
use tdmq_backup::testing::broker::{Broker, Config, Topic};
use tdmq_backup::testing::bucket::{Bucket, Op};
use tdmq_backup::testing::compose::{Composed, Composer, Draft};
use tdmq_backup::{Clock, Entry, Position, Rule};

/// 2026-11-21T10:00:00Z: when everything in these tests happens.
pub const NOW: u64 = 1_795_255_200_000;
pub const SUBSCRIPTION: &str = "backup";

pub struct World {
    pub broker: Broker,
    pub bucket: Bucket,
    pub topic: Topic,
    /// Lines added to the rule, or replacing those of the same key.
    pub rule: BTreeMap<&'static str, String>,
    pub clock: Clock,
    composer: Composer,
    sent: u64,
}

impl World {
    pub async fn new() -> Self {
        World::with(Config::default()).await
    }

    pub async fn with(config: Config) -> Self {
        let broker = Broker::start(config).await;
        let topic = broker.topic("orders");
        let bucket = Bucket::start().await.unwrap();
        let rule = BTreeMap::from([
            ("name", "\"orders\"".to_owned()),
            ("service_url", format!("{:?}", broker.url())),
            ("topic", format!("{:?}", topic.name())),
            ("subscription", format!("{SUBSCRIPTION:?}")),
            ("bucket", format!("{:?}", bucket.name())),
            ("region", format!("{:?}", bucket.region())),
            ("endpoint", format!("{:?}", bucket.endpoint())),
            ("addressing", "\"path\"".to_owned()),
            ("prefix", "\"tdmq/\"".to_owned()),
            ("interval", "\"5m\"".to_owned()),
        ]);
        let clock = Clock::starting_at(NOW);
        World { broker, bucket, topic, rule, clock, composer: Composer::new("producer-1"), sent: 0 }
    }

    /// A world after its first run: one message is stored, and there is a head.
    pub async fn begun() -> Self {
        let mut world = World::new().await;
        world.send(&[1]);
        world.run().await;
        world
    }

    /// Appends one entry for each number: 1 is a single message, more are a batch of so many.
    pub fn send(&mut self, entries: &[usize]) -> Vec<Position> {
        entries.iter().map(|count| self.send_entry(*count, 20)).collect()
    }

    /// One entry of `count` messages, each a line of JSON of about `size` bytes.
    pub fn send_entry(&mut self, count: usize, size: usize) -> Position {
        self.composer = std::mem::replace(&mut self.composer, Composer::new("")).at(NOW - 60_000 + self.sent);
        let mut drafts: Vec<Draft> = (0..count).map(|_| Draft::new(self.payload(size))).collect();
        let composed = match drafts.len() {
            1 => self.composer.single(drafts.remove(0)),
            _ => self.composer.batch(drafts),
        };
        self.topic.append(composed)
    }

    /// One message in so many chunks, to be appended one by one.
    pub fn chunks(&mut self, producer: &str, count: usize) -> Vec<Composed> {
        let payload = self.payload(40 * count);
        let mut composer = Composer::new(producer).sequence(self.sent).at(NOW - 60_000 + self.sent);
        let size = payload.len().div_ceil(count);
        composer.chunks(Draft::new(payload), size, &format!("{producer}-{}", self.sent))
    }

    fn payload(&mut self, size: usize) -> String {
        self.sent += 1;
        format!("{{\"n\":{},\"pad\":\"{}\"}}", self.sent, "x".repeat(size))
    }

    pub fn set(&mut self, key: &'static str, value: impl ToString) {
        self.rule.insert(key, value.to_string());
    }

    pub fn function(&self) -> Function {
        let text: String = self.rule.iter().map(|(key, value)| format!("{key} = {value}\n")).collect();
        let rule = Rule::from_toml(&text).unwrap_or_else(|problems| panic!("{problems}"));
        Function::new(rule, |name| self.env(name), self.clock).unwrap()
    }

    /// A run of the rule as variables, with this token; files that it names are read.
    pub async fn run_with_token(&self, token: &str) -> Report {
        self.run_with_token_while(token, |_| {}).await
    }

    pub async fn run_with_token_while(&self, token: &str, mut meddle: impl FnMut(Progress)) -> Report {
        let mut env: Vec<(String, String)> = (self.rule.iter())
            .map(|(key, value)| (format!("TDMQ_BACKUP_{}", key.to_uppercase()), value.trim_matches('"').to_owned()))
            .collect();
        env.push(("TDMQ_BACKUP_TOKEN".into(), token.to_owned()));
        let rule = Rule::load(None, env).unwrap();
        assert!(!format!("{rule:?}").contains(token));
        let function = Function::new(rule, |name| self.env(name), self.clock).unwrap();
        function.invoke(None, &self.clock, &mut meddle).await
    }

    pub fn env(&self, name: &str) -> Option<String> {
        let (id, secret) = self.bucket.key_pair();
        match name {
            "AWS_ACCESS_KEY_ID" => Some(id.to_owned()),
            "AWS_SECRET_ACCESS_KEY" => Some(secret.to_owned()),
            _ => None,
        }
    }

    pub async fn run(&self) -> Report {
        self.function().invoke(None, &self.clock, &mut |_| {}).await
    }

    /// A run that an event as in events/ starts.
    pub async fn event(&self, event: &Value) -> Report {
        let wish = Event::from_value(event).unwrap().wish();
        self.function().answer(wish, None, &self.clock, &mut |_| {}).await
    }

    /// A run that the platform gives this long.
    pub async fn run_for(&self, time: Duration) -> Report {
        self.function().invoke(Some(self.clock.now() + time), &self.clock, &mut |_| {}).await
    }

    /// A run during which `meddle` is called at each entry that was taken.
    pub async fn run_while(&self, mut meddle: impl FnMut(Progress)) -> Report {
        self.function().invoke(None, &self.clock, &mut meddle).await
    }

    /// Requests that the broker and the bucket have received.
    pub fn requests(&self) -> usize {
        self.broker.commands().len() + self.bucket.requests().len()
    }

    /// A run that dies when it would learn of the answer to its `k`th request: the request was carried out,
    /// its answer was never seen. `None` if it died, the report if it made fewer requests.
    pub async fn run_dying_at(&self, k: usize) -> Option<Report> {
        self.event_dying_at(&serde_json::json!({}), k).await
    }

    /// [`run_dying_at`](World::run_dying_at) of a run that an event starts.
    pub async fn event_dying_at(&self, event: &Value, k: usize) -> Option<Report> {
        let before = self.requests();
        let function = self.function();
        let mut watch = |_| {};
        let seek = Event::from_value(event).unwrap().seek;
        let mut run = Some(Box::pin(function.obey(seek, None, &self.clock, &mut watch)));
        let report = poll_fn(|context| {
            if self.requests() - before >= k {
                return Poll::Ready(None);
            }
            run.as_mut().unwrap().as_mut().poll(context).map(Some)
        });
        let report = report.await;
        drop(run.take());
        self.let_go().await;
        report
    }

    /// A run that dies once `dead` holds, which is asked whenever the run would go on. `None` if it died.
    pub async fn run_unless(&self, dead: impl Fn() -> bool) -> Option<Report> {
        let function = self.function();
        let mut watch = |_| {};
        let mut run = Some(Box::pin(function.invoke(None, &self.clock, &mut watch)));
        let report = poll_fn(|context| match dead() {
            true => Poll::Ready(None),
            false => run.as_mut().unwrap().as_mut().poll(context).map(Some),
        });
        let report = report.await;
        drop(run.take());
        self.let_go().await;
        report
    }

    /// A run to which something happens at its `k`th request, while nobody waits for it; then it goes on to its
    /// end. `None` if it made fewer requests: then nothing happened.
    pub async fn run_interrupted_at(&self, k: usize, happens: impl AsyncFnOnce()) -> Option<Report> {
        let before = self.requests();
        let function = self.function();
        let mut watch = |_| {};
        let mut run = Box::pin(function.invoke(None, &self.clock, &mut watch));
        let report = poll_fn(|context| {
            if self.requests() - before >= k {
                return Poll::Ready(None);
            }
            run.as_mut().poll(context).map(Some)
        });
        if report.await.is_some() {
            return None;
        }
        happens().await;
        Some(run.await)
    }

    /// A run that dies once its announcement is written and its object is not.
    pub async fn dies_before_storing(&self) {
        let puts = || self.bucket.requests().iter().filter(|op| **op == Op::Put).count();
        let before = puts();
        for k in 1.. {
            assert!(self.run_dying_at(k).await.is_none(), "the run did not die");
            if puts() > before {
                return;
            }
        }
    }

    /// Waits until the broker has seen that our connections are gone.
    pub async fn let_go(&self) {
        while self.broker.connections() > 0 {
            tokio::task::yield_now().await;
        }
    }

    /// Runs until there is nothing to do; panics if that takes more than `most` runs.
    pub async fn drain(&self, most: usize) {
        for _ in 0..most {
            let report = self.run().await;
            assert!(matches!(report.outcome, Outcome::Stored | Outcome::NothingToDo), "{report:?}");
            if report.outcome == Outcome::NothingToDo {
                return;
            }
        }
        panic!("not drained after {most} runs");
    }

    /// Keys of objects, heads and schemas left out.
    pub fn objects(&self) -> Vec<String> {
        self.bucket.keys().into_iter().filter(|key| !key.ends_with(".json")).collect()
    }

    /// How many messages were sent.
    pub fn sent(&self) -> u64 {
        self.sent
    }

    /// Panics if there is no head.
    pub fn head_key(&self) -> String {
        self.bucket.keys().into_iter().find(|key| key.ends_with("_head.json")).unwrap()
    }

    pub fn head(&self) -> Option<Value> {
        let key = self.bucket.keys().into_iter().find(|key| key.ends_with("_head.json"))?;
        Some(serde_json::from_slice(&self.bucket.read(&key).unwrap()).unwrap())
    }

    /// The lines of one object, parsed.
    pub fn lines(&self, key: &str) -> Vec<Value> {
        let bytes = self.bucket.read(key).unwrap();
        let mut text = String::new();
        match key.ends_with(".gz") {
            true => flate2::read::MultiGzDecoder::new(&bytes[..]).read_to_string(&mut text).unwrap(),
            false => (&bytes[..]).read_to_string(&mut text).unwrap(),
        };
        text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
    }

    /// All lines of all objects.
    pub fn all_lines(&self) -> Vec<Value> {
        self.objects().iter().flat_map(|key| self.lines(key)).collect()
    }

    /// The numbers in the payloads of all objects, sorted: a message twice is a number twice.
    pub fn numbers(&self) -> Vec<u64> {
        let mut numbers: Vec<u64> = self.all_lines().iter().map(|line| line["value"]["n"].as_u64().unwrap()).collect();
        numbers.sort_unstable();
        numbers
    }

    /// Every message that was sent is in the bucket once, and nothing else is.
    pub fn assert_exactly_once(&self) {
        let expected: Vec<u64> = (1..=self.sent).collect();
        assert_eq!(self.numbers(), expected, "objects: {:#?}", self.objects());
    }

    pub fn mark_delete(&self) -> Position {
        self.topic.subscription(SUBSCRIPTION).unwrap().mark_delete
    }

    /// Of the messages that the rule began with, those are in the bucket, and no reader was left behind.
    pub fn assert_at_rest_with(&self, expected: &[u64]) {
        assert_eq!(self.topic.subscription(&format!("{SUBSCRIPTION}.start")), None);
        assert_eq!(self.topic.subscription(SUBSCRIPTION).unwrap().backlog, 0);
        assert_eq!(self.numbers(), expected);
    }

    /// Everything acknowledged is in the bucket.
    pub fn assert_nothing_acknowledged_unstored(&self) {
        let Some(subscription) = self.topic.subscription(SUBSCRIPTION) else { return };
        let lines = self.all_lines();
        for entry in self.topic.entries().iter().filter(|entry| entry.position <= subscription.mark_delete) {
            assert!(times_stored(entry, &lines) > 0, "{} is acknowledged and not stored", entry.position);
        }
    }

    /// Every entry of the topic is in the bucket once, by itself or as a chunk of a message.
    pub fn assert_every_entry_is_stored_once(&self) {
        let lines = self.all_lines();
        for entry in self.topic.entries() {
            let times = times_stored(&entry, &lines);
            assert_eq!(times, 1, "{} is stored {times} times; objects: {:#?}", entry.position, self.objects());
        }
    }
}

/// How many of these records hold the entry: whole, or as a chunk of their message.
pub fn times_stored(entry: &Entry, lines: &[Value]) -> usize {
    let id = |line: &Value, name: &str| {
        let mut parts = line[name].as_str()?.split(':').map(|part| part.parse::<i64>().unwrap());
        Some(Position::new(parts.next()?, parts.next()?))
    };
    let m = &entry.metadata;
    let chunk_of = |line: &&Value| {
        line["uuid"].as_str() == m.uuid.as_deref()
            && id(line, "first_chunk_id").is_some_and(|first| first <= entry.position)
            && id(line, "id").unwrap() >= entry.position
    };
    let by_id = lines.iter().filter(|line| id(line, "id") == Some(entry.position));
    match m.num_messages_in_batch {
        Some(of) => by_id.count() / of as usize,
        None if m.uuid.is_some() => {
            by_id.filter(|line| line["uuid"].is_null()).count() + lines.iter().filter(chunk_of).count()
        }
        None => by_id.count(),
    }
}

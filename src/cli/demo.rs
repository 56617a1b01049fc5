//! `tdmq-backup demo`: the whole thing in one process, on loopback, with nothing to install.

use std::io::{BufRead, BufReader};
use std::process::ExitCode;

use anyhow::{Context, Result, bail};
use clap::Args;
use flate2::bufread::MultiGzDecoder;
use tdmq_backup::event::Event;
use tdmq_backup::report::Outcome;
use tdmq_backup::run::Function;
use tdmq_backup::testing::broker::{Broker, Config};
use tdmq_backup::testing::{Bucket, compose};
use tdmq_backup::{Clock, Error, Rule};

use super::progress::Meter;
use super::summary;

/// What a line of the object is cut to on the screen.
const WIDTH: usize = 360;

#[derive(Args)]
#[command(after_help = "Examples:\n  tdmq-backup demo\n  tdmq-backup demo --messages 5000 --lines 3")]
pub struct Demo {
    /// How many messages to back up
    #[arg(long, default_value_t = 300, value_parser = clap::value_parser!(u16).range(1..=5000))]
    messages: u16,
    /// How many lines of the object to show
    #[arg(long, default_value_t = 8)]
    lines: usize,
}

impl Demo {
    pub async fn run(self) -> Result<ExitCode> {
        let clock = Clock::system();
        let broker = Broker::start(Config::default()).await;
        let bucket = Bucket::start().await.context("the bucket does not start")?;
        let topic = broker.topic("persistent://demo/shop/orders");
        let count = usize::from(self.messages);
        let entries = topic.append_all(compose::sample(count, clock.now_ms() - 2_000 * count as u64)).len();

        title("A topic and a bucket, both in this process");
        println!("broker  {}   topic {} with {count} messages in {entries} entries", broker.url(), topic.name());
        println!("bucket  {}   {}, empty", bucket.endpoint(), bucket.name());

        let text = rule(&broker, &bucket, topic.name());
        title("The rule (rule.toml)");
        print!("{text}");
        let rule = Rule::from_toml(&text).map_err(Error::from)?;
        let (id, secret) = bucket.key_pair();
        let keys = |name: &str| match name {
            "AWS_ACCESS_KEY_ID" => Some(id.to_owned()),
            "AWS_SECRET_ACCESS_KEY" => Some(secret.to_owned()),
            _ => None,
        };
        let function = Function::new(rule, keys, clock)?;

        title("The timer fires");
        let timer = timer(&clock);
        println!("{timer}");
        let report = tick(&function, &timer, &clock).await?;
        let Some(object) = report.objects.first().filter(|_| report.outcome == Outcome::Stored) else {
            bail!("the demo stored nothing: {report:?}");
        };

        title("The object, its first lines");
        println!("{}", object.key);
        show(&bucket.read(&object.key).unwrap_or_default(), self.lines)?;

        title("The report: the function's reply and its log line");
        summary::json(&report)?;

        title("The timer fires again");
        let again = tick(&function, &timer, &clock).await?;
        if again.outcome != Outcome::NothingToDo {
            bail!("the second run should have had nothing to do: {again:?}");
        }
        summary::text(&again);
        println!("\nNow with a topic of your own: write a rule.toml like the one above, then");
        println!("  TDMQ_BACKUP_TOKEN=… tdmq-backup invoke --rule rule.toml");
        Ok(ExitCode::SUCCESS)
    }
}

fn rule(broker: &Broker, bucket: &Bucket, topic: &str) -> String {
    format!(
        "name         = \"orders-backup\"\n\
         service_url  = \"{}\"\n\
         topic        = \"{topic}\"\n\
         subscription = \"backup\"\n\
         bucket       = \"{}\"\n\
         region       = \"{}\"\n\
         endpoint     = \"{}\"   # leave this and the next line out for COS\n\
         addressing   = \"path\"\n\
         prefix       = \"tdmq/\"\n\
         interval     = \"5m\"\n",
        broker.url(),
        bucket.name(),
        bucket.region(),
        bucket.endpoint(),
    )
}

/// What SCF's timer sends.
fn timer(clock: &Clock) -> String {
    let time = summary::instant(clock.now_ms() / 1000 * 1000).unwrap_or_default();
    serde_json::json!({ "Type": "Timer", "TriggerName": "every-5-minutes", "Time": time, "Message": "" }).to_string()
}

async fn tick(function: &Function, event: &str, clock: &Clock) -> Result<tdmq_backup::report::Report> {
    Event::parse(event.as_bytes())?;
    let rule = function.rule();
    let mut meter = Meter::new(*clock, rule.max_messages.into(), rule.max_bytes, rule.max_objects);
    let report = function.invoke(None, clock, &mut |progress| meter.show(progress)).await;
    meter.clear();
    match &report.error {
        None => Ok(report),
        Some(error) => bail!("the demo's run failed: {}", error.message),
    }
}

fn show(object: &[u8], lines: usize) -> Result<()> {
    for line in BufReader::new(MultiGzDecoder::new(object)).lines().take(lines) {
        let line = line.context("the object does not decompress")?;
        match line.char_indices().nth(WIDTH) {
            Some((end, _)) => println!("{}…", &line[..end]),
            None => println!("{line}"),
        }
    }
    Ok(())
}

fn title(text: &str) {
    println!("\n── {text}");
}

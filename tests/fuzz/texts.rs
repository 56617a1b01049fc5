//! What users and platforms write: events, rules, credentials profiles.

use std::cell::RefCell;
use std::fs;

use tdmq_backup::Rule;
use tdmq_backup::event::{Event, EventKind};
use tdmq_backup::rule::names;
use tdmq_backup::store::Keys;

use crate::Parser;
use crate::mutate::mutated;
use crate::stored::quiet;

const RULE: &str = r#"
name = "orders-backup"
service_url = "pulsar://a.example:6650,b.example:6651"
topic = "persistent://t/n/orders"
subscription = "backup"
start = 2026-11-21T10:00:00Z
shard = "2/8"
listener_name = "custom:1250000000/vpc-abc/subnet-abc"
role = "reader"
bucket = "orders-1250000000"
region = "ap-guangzhou"
endpoint = "https://cos.ap-guangzhou.myqcloud.com"
addressing = "virtual"
prefix = "tdmq/a/"
storage_class = "STANDARD_IA"
sse = "AES256"
interval = "5m"
max_messages = 5000
max_bytes = "500MB"
max_objects = 3
format = "jsonl"
compression = "gzip"

[deploy]
vpc = "vpc-1"
memory = 128
"#;
const PROFILE: &str = "# mine\n[default]\naws_access_key_id=marker-id\naws_secret_access_key = marker=secret\n\n[ work ]\r\n\
                       aws_session_token = t\n[role]\nrole_arn = arn:marker\ns3 =\n  a = b\n";

pub fn parsers() -> Vec<Parser> {
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/events");
    let mut events: Vec<_> = fs::read_dir(folder).unwrap().map(|file| file.unwrap().path()).collect();
    events.sort();
    let events: Vec<Vec<u8>> = events.iter().map(|path| fs::read(path).unwrap()).collect();
    let folder = tempfile::tempdir().unwrap();
    vec![
        Parser::new("events", move |dice| mutated(dice, &events), event),
        Parser::new("rules", |dice| mutated(dice, &[RULE.into()]), rule),
        Parser::new(
            "profiles",
            |dice| mutated(dice, &[PROFILE.into()]),
            move |bytes| {
                let file = folder.path().join("credentials");
                fs::write(&file, bytes).unwrap();
                let file = file.to_str().unwrap().to_owned();
                let env = |name: &str| match name {
                    "AWS_SHARED_CREDENTIALS_FILE" | "AWS_CONFIG_FILE" => Some(file.clone()),
                    _ => None,
                };
                match Keys::from_env(env, "http://127.0.0.1:1") {
                    Ok(_) => Ok(()),
                    Err(error) if error.chain().contains("marker") => Err(format!("said: {}", error.chain())),
                    Err(error) => quiet(&error.chain()),
                }
            },
        ),
    ]
}

/// What is accepted is accepted again when it is written anew, and means the same.
fn event(bytes: &[u8]) -> Result<(), String> {
    thread_local!(static SEEN: RefCell<Option<Event>> = const { RefCell::new(None) });
    let event = match Event::parse(bytes) {
        Ok(event) => event,
        Err(error) => return quiet(&error.chain()),
    };
    let value: serde_json::Value = serde_json::from_slice(bytes).map_err(|error| error.to_string())?;
    let again = Event::parse(value.to_string().as_bytes()).map_err(|error| error.chain())?;
    if again != event {
        return Err(format!("{event:?}, and then {again:?}"));
    }
    let plain = event.seek.is_none() && !event.dry_run && event.max_objects.is_none();
    if event.kind == EventKind::Empty && !plain {
        return Err(format!("{event:?} asks for something"));
    }
    SEEN.set(Some(event));
    Ok(())
}

/// An accepted rule is within its limits, and nothing in it can leave the prefix, a header or a line.
fn rule(bytes: &[u8]) -> Result<(), String> {
    let Ok(text) = str::from_utf8(bytes) else { return Ok(()) };
    let rule = match Rule::from_toml(text) {
        Ok(rule) => rule,
        Err(problems) => return problems.to_string().lines().try_for_each(quiet),
    };
    let names = [&rule.name, &rule.subscription, &rule.region, &rule.topic.topic, &rule.bucket.to_string()];
    names.into_iter().try_for_each(|name| quiet(name).map_err(|why| format!("accepted: {why}")))?;
    let folder = names::partition_folder(&rule.prefix, &rule.topic, 99_999);
    let parts = folder.strip_prefix(&*rule.prefix.to_string()).unwrap_or("/");
    let sound = rule.longest_key() <= names::KEY_LIMIT
        && (1..=Rule::MAX_MESSAGES).contains(&rule.max_messages)
        && (1..=Rule::MAX_BYTES).contains(&rule.max_bytes)
        && (1..=1000).contains(&rule.max_objects)
        && parts.split('/').all(|part| part != "." && part != "..")
        && parts.matches('/').count() == 4;
    sound.then_some(()).ok_or_else(|| format!("accepted: {rule:?}"))
}

//! The one check of a rule: everything written in, a [`Rule`] or all problems out. No IO.

use std::sync::Arc;

use rustls::RootCertStore;

use super::address::{Endpoint, ServiceUrl};
use super::bucket::Bucket;
use super::file::Sheet;
use super::names::{KEY_LIMIT, longest_key};
use super::reader::Reader;
use super::token::{file_name, subject, token};
use super::topic::{Start, TopicName};
use super::values::{self, Malformed, Value, refuse, shown};
use super::{Addressing, Compression, Deploy, Format, Prefix, Problem, Rule, RuleError, Sse};

/// The regions that the console offers.
const REGIONS: [&str; 7] =
    ["ap-guangzhou", "ap-shanghai", "ap-hongkong", "ap-beijing", "ap-chengdu", "ap-singapore", "na-siliconvalley"];

pub(super) fn check(sheet: Sheet) -> Result<Rule, RuleError> {
    let mut read = Reader(sheet);
    let name = read.required("name", name);
    let service_url: Option<ServiceUrl> = read.required("service_url", values::parsed);
    let authorities = authorities(&mut read);
    let listener_name = read.optional("listener_name", values::text);
    let topic = topic(&mut read);
    let subscription = read.required("subscription", values::text);
    let start = read.or("start", Start::Continue, values::parsed);
    let shard = read.optional("shard", values::parsed);
    let role = read.optional("role", values::text);
    read.optional("token_file", file_name);
    let token = token(&mut read);
    let region = read.required("region", region);
    let (endpoint, bucket, addressing) = store(&mut read, region.as_deref());
    let prefix = read.or("prefix", Prefix::default(), values::parsed);
    let storage_class = read.optional("storage_class", storage_class);
    let sse = read.optional("sse", |value| {
        values::choice(value, &[("AES256", Sse::Aes256), ("cos/kms", Sse::CosKms), ("aws:kms", Sse::AwsKms)])
    });
    let interval = read.required("interval", values::interval);
    let max_messages =
        read.or("max_messages", Rule::MAX_MESSAGES, |value| values::number(value, 1, Rule::MAX_MESSAGES));
    let max_bytes = read.or("max_bytes", Rule::MAX_BYTES, |value| values::size(value, Rule::MAX_BYTES));
    let max_objects = read.or("max_objects", 1, |value| values::number(value, 1, 1000));
    let format = read.or("format", Format::Jsonl, |value| values::choice(value, &FORMATS));
    let compression = read.or("compression", Compression::Gzip, |value| values::choice(value, &COMPRESSIONS));
    let deploy = deploy(&mut read);

    if let (Some(prefix), Some(topic)) = (&prefix, &topic) {
        let longest = longest_key(prefix, topic);
        if longest > KEY_LIMIT {
            let over = longest - KEY_LIMIT;
            let (key, what) = match prefix.as_str().len() > over {
                true => ("prefix", format!("shorten the prefix by {over}")),
                false => (
                    "topic",
                    format!(
                        "prefix, tenant, namespace and topic have to be {over} bytes shorter, and bytes of a name other \
                         than A-Z a-z 0-9 - _ . count three times: only a topic of a shorter name can be backed up"
                    ),
                ),
            };
            let text =
                format!("object keys of this topic would take up to {longest} bytes, and {KEY_LIMIT} are allowed");
            read.problem(key, format!("{text}: {what}"));
        }
    }
    not_yet(&mut read, format, compression);

    let mut warnings = Vec::new();
    if let (Some(url), Some(_)) = (&service_url, &authorities)
        && !url.scheme.has_tls()
    {
        let scheme = url.scheme.name();
        warnings.push(format!("ca_file: {scheme}:// is without TLS: write pulsar+ssl:// or https://, or remove it"));
    }
    if let (Some(region), Some(true)) = (&region, endpoint.as_ref().map(Endpoint::is_cos))
        && !REGIONS.contains(&region.as_str())
    {
        warnings.push(format!("region: {} is none of {}: make sure it exists", shown(region), REGIONS.join(", ")));
    }
    if let (Some(role), Some(subject)) = (&role, token.as_ref().and_then(subject))
        && *role != subject
    {
        warnings.push(format!(
            "role: the token is for {}, not for {}: use the key of this role, or mend the role",
            shown(&subject),
            shown(role)
        ));
    }

    let made = || {
        Some(Rule {
            name: name?,
            service_url: service_url?,
            authorities,
            listener_name,
            topic: topic?,
            subscription: subscription?,
            start: start?,
            shard,
            role,
            token,
            bucket: bucket?,
            region: region?,
            endpoint: endpoint?,
            addressing: addressing?,
            prefix: prefix?,
            storage_class,
            sse,
            interval: interval?,
            max_messages: max_messages?,
            max_bytes: max_bytes?,
            max_objects: max_objects?,
            format: format?,
            compression: compression?,
            deploy,
            warnings,
        })
    };
    let problems = read.0.problems;
    made().filter(|_| problems.is_empty()).ok_or(RuleError(problems))
}

/// What a rule can say and this version cannot do. Refused here and nowhere else, and never ignored:
/// the line of a feature goes when the feature comes.
fn not_yet(read: &mut Reader, format: Option<Format>, compression: Option<Compression>) {
    if format.is_some_and(|format| format != Format::Jsonl) {
        read.problem("format", "anything but \"jsonl\" is not yet available: use \"jsonl\"");
    }
    if matches!(compression, Some(Compression::Zstd | Compression::Snappy)) {
        read.problem("compression", "\"zstd\" and \"snappy\" are not yet available: use \"gzip\" or \"none\"");
    }
}

const FORMATS: [(&str, Format); 5] = [
    ("jsonl", Format::Jsonl),
    ("avro", Format::Avro),
    ("parquet", Format::Parquet),
    ("raw", Format::Raw),
    ("lines", Format::Lines),
];

/// Of S3 and of COS.
const COLD: [&str; 4] = ["GLACIER", "DEEP_ARCHIVE", "ARCHIVE", "MAZ_ARCHIVE"];

const COMPRESSIONS: [(&str, Compression); 4] = [
    ("gzip", Compression::Gzip),
    ("zstd", Compression::Zstd),
    ("snappy", Compression::Snappy),
    ("none", Compression::None),
];

fn name(value: &Value) -> Result<String, Malformed> {
    match value {
        Value::Text(text)
            if (1..=60).contains(&text.len())
                && text.starts_with(|c: char| c.is_ascii_alphabetic())
                && text.chars().all(|c| c.is_ascii_alphanumeric() || c == '_' || c == '-') =>
        {
            Ok(text.clone())
        }
        other => refuse(format!("must be 1 to 60 of A-Z a-z 0-9 _ - and start with a letter, got {other}")),
    }
}

fn topic(read: &mut Reader) -> Option<TopicName> {
    let cluster = read.optional("cluster", values::text);
    let namespace = read.optional("namespace", values::text);
    let text = read.required("topic", values::text)?;
    if text.contains('/') {
        let topic = text.parse::<TopicName>().map_err(|error| read.problem("topic", error.to_string())).ok()?;
        for (key, given, part) in [("cluster", cluster, &topic.tenant), ("namespace", namespace, &topic.namespace)] {
            if let Some(given) = given.filter(|given| given != part) {
                let message = format!("must agree with the topic's {}, got {}: remove one", shown(part), shown(&given));
                read.problem(key, message);
            }
        }
        return Some(topic);
    }
    for key in ["cluster", "namespace"] {
        if !read.0.keys.contains_key(key) {
            read.problem(key, "is missing: a topic that is not a full URL needs cluster and namespace");
        }
    }
    let topic = TopicName::new(&cluster?, &namespace?, &text);
    topic.map_err(|error| read.problem("topic", error.to_string())).ok()
}

/// What `ca_file` holds. A file that nobody has read vouches for nobody.
fn authorities(read: &mut Reader) -> Option<Arc<RootCertStore>> {
    let found = read.0.authorities.take();
    read.optional("ca_file", file_name).map(|()| Arc::new(found.unwrap_or_else(RootCertStore::empty)))
}

fn region(value: &Value) -> Result<String, Malformed> {
    match value {
        Value::Text(text)
            if (1..=40).contains(&text.len())
                && text.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-') =>
        {
            Ok(text.clone())
        }
        other => refuse(format!(
            "must be the bucket's region in lower-case letters, digits and - (requests are signed for it, at every \
             endpoint), as in \"ap-guangzhou\", got {other}"
        )),
    }
}

fn store(read: &mut Reader, region: Option<&str>) -> (Option<Endpoint>, Option<Bucket>, Option<Addressing>) {
    let endpoint = match read.0.keys.contains_key("endpoint") {
        true => read.optional("endpoint", values::parsed::<Endpoint>),
        false => region.map(Endpoint::cos),
    };
    // Where the endpoint itself is refused, the wider rule stands for both.
    let cos = endpoint.as_ref().map_or(!read.0.keys.contains_key("endpoint"), Endpoint::is_cos);
    let bucket = read.required("bucket", |value| match value {
        Value::Text(text) => Bucket::new(text, cos),
        other => refuse(format!("must be text in quotes, got {other}")),
    });
    let addressing = read.or("addressing", Addressing::Virtual, |value| {
        values::choice(value, &[("virtual", Addressing::Virtual), ("path", Addressing::Path)])
    });
    if let (Some(endpoint), Some(bucket)) = (&endpoint, &bucket) {
        if endpoint.host.strip_prefix(bucket.as_str()).is_some_and(|rest| rest.starts_with('.')) {
            read.problem(
                "endpoint",
                format!("must be written without the bucket, got {}", shown(&endpoint.to_string())),
            );
        }
        if endpoint.is_ip() && addressing == Some(Addressing::Virtual) {
            read.problem(
                "addressing",
                format!("\"virtual\" needs a host name as endpoint, got {endpoint}: write addressing = \"path\""),
            );
        }
    }
    (endpoint, bucket, addressing)
}

/// Any class that a store may have, but for those whose objects have to be thawed for hours: a run reads objects back
/// when the broker delivers their entries again.
fn storage_class(value: &Value) -> Result<String, Malformed> {
    match value {
        Value::Text(text) if COLD.contains(&text.as_str()) => refuse(format!(
            "must be a class whose objects can be read at once, got {value}: let a lifecycle rule of the bucket move \
             objects there once they are old"
        )),
        Value::Text(text)
            if (1..=40).contains(&text.len())
                && text.chars().all(|c| c.is_ascii_uppercase() || c.is_ascii_digit() || c == '_') =>
        {
            Ok(text.clone())
        }
        other => refuse(format!("must be a storage class of the store, as in \"STANDARD_IA\", got {other}")),
    }
}

fn deploy(read: &mut Reader) -> Deploy {
    let written = std::mem::take(&mut read.0.deploy);
    let mut keep = |key: &str, result: Result<(), Malformed>| {
        if let Err(malformed) = result {
            read.0.problems.push(Problem { key: format!("deploy.{key}"), message: malformed.to_string() });
        }
    };
    let mut deploy = Deploy::default();
    for (key, value) in &written {
        let place = match *key {
            "memory" => {
                let memory = values::number(value, 128, 10_240);
                keep(key, memory.map(|memory| deploy.memory = Some(memory)));
                continue;
            }
            "vpc" => &mut deploy.vpc,
            "subnet" => &mut deploy.subnet,
            "security_group" => &mut deploy.security_group,
            "execution_role" => &mut deploy.execution_role,
            "log_topic" => &mut deploy.log_topic,
            "token_secret" => &mut deploy.token_secret,
            _ => continue,
        };
        keep(key, values::text(value).map(|text| *place = Some(text)));
    }
    deploy
}

//! What a rule's text makes; `load` has what comes from elsewhere.

mod load;

use std::time::Duration;

use super::*;

const SHORT: &str = r#"
name = "orders-backup"
service_url = "http://pulsar-abc:8080"
topic = "persistent://pulsar-abc/prod/orders"
subscription = "backup"
bucket = "orders-1250000000"
region = "ap-guangzhou"
interval = "5m"
"#;

/// [`SHORT`] with the lines of some keys replaced or added; a key alone is taken out.
fn rule(lines: &[&str]) -> String {
    let key = |line: &str| line.split('=').next().unwrap_or_default().trim().to_owned();
    let kept = SHORT.lines().filter(|line| !lines.iter().any(|new| key(new) == key(line)));
    let new = lines.iter().copied().filter(|line| line.contains(['=', '[']));
    kept.chain(new).collect::<Vec<_>>().join("\n")
}

fn problems(lines: &[&str]) -> Vec<String> {
    let RuleError(problems) = Rule::from_toml(&rule(lines)).expect_err("should be refused");
    problems.iter().map(Problem::to_string).collect()
}

fn good(lines: &[&str]) -> Rule {
    Rule::from_toml(&rule(lines)).unwrap_or_else(|error| panic!("{lines:?}: {error}"))
}

#[test]
fn the_shortest_rule_has_the_documented_defaults() {
    let rule = good(&[]);
    assert_eq!(rule.endpoint, Endpoint::cos("ap-guangzhou"));
    assert_eq!(rule.endpoint.to_string(), "https://cos.ap-guangzhou.myqcloud.com");
    assert_eq!(rule.addressing, Addressing::Virtual);
    assert_eq!(rule.start, Start::Continue);
    assert_eq!(rule.prefix.as_str(), "");
    assert_eq!((rule.max_messages, rule.max_bytes, rule.max_objects), (5_000, 524_288_000, 1));
    assert_eq!((rule.format, rule.compression), (Format::Jsonl, Compression::Gzip));
    assert_eq!(rule.interval, Duration::from_secs(300));
    assert_eq!(rule.service_url.hosts, [("pulsar-abc".to_owned(), 8080)]);
    assert_eq!(rule.deploy, Deploy::default());
    assert!(rule.token.is_none() && rule.warnings.is_empty());
}

#[test]
fn good_values_become_what_they_say() {
    assert_eq!(good(&[r#"max_bytes = "1MB""#]).max_bytes, 1 << 20);
    assert_eq!(good(&["max_bytes = 1"]).max_bytes, 1);
    assert_eq!(good(&["max_messages = 1"]).max_messages, 1);
    assert_eq!(good(&[r#"interval = "900s""#]).interval, Duration::from_secs(900));
    assert_eq!(good(&[r#"prefix = "a/b/""#]).prefix.as_str(), "a/b/");
    assert_eq!(good(&[r#"start = "latest""#]).start, Start::Latest);
    assert_eq!(good(&[r#"compression = "none""#]).compression, Compression::None);
    assert_eq!(good(&[r#"topic = "persistent://t/n/x-partition-3""#]).topic.partition(), Some(3));
    let parts = [r#"topic = "orders""#, r#"cluster = "t""#, r#"namespace = "n""#];
    assert_eq!(good(&parts).topic.to_string(), "persistent://t/n/orders");
    let local = [r#"endpoint = "http://127.0.0.1:9000""#, r#"addressing = "path""#, r#"bucket = "orders""#];
    assert_eq!(good(&local).endpoint.port, Some(9000));
    assert_eq!(good(&[r#"service_url = "pulsar+ssl://a,b""#]).service_url.to_string(), "pulsar+ssl://a:6651,b:6651");
    let listener = "custom:1250000000/vpc-abc/subnet-abc";
    assert_eq!(good(&[&format!("listener_name = {listener:?}")]).listener_name.as_deref(), Some(listener));
    let deploy =
        good(&["[deploy]", r#"vpc = "1""#, r#"subnet = "2""#, r#"security_group = "3""#, r#"execution_role = "4""#])
            .deploy;
    assert_eq!(
        [deploy.vpc, deploy.subnet, deploy.security_group, deploy.execution_role].map(Option::unwrap),
        ["1", "2", "3", "4"]
    );
    let deploy = good(&["[deploy]", r#"log_topic = "5""#, r#"token_secret = "6""#, "memory = 512"]).deploy;
    assert_eq!(
        (deploy.log_topic.unwrap(), deploy.token_secret.unwrap(), deploy.memory),
        ("5".into(), "6".into(), Some(512))
    );
}

#[test]
fn a_bad_value_is_refused_under_its_key_with_what_is_allowed() {
    let table = [
        (r#"name = "1st""#, r#"name: must be 1 to 60 of A-Z a-z 0-9 _ - and start with a letter, got "1st""#),
        ("name = 5", "name: must be 1 to 60 of A-Z a-z 0-9 _ - and start with a letter, got 5"),
        (r#"interval = "3m""#, r#"interval: must be 5 to 15 minutes in whole seconds, as in "5m" or "300s", got "3m""#),
        ("interval = 5", r#"interval: needs its unit, in quotes, as in "5m" or "300s", got 5"#),
        ("max_messages = 5001", "max_messages: must be a whole number from 1 to 5000, got 5001"),
        ("max_messages = 0", "max_messages: must be a whole number from 1 to 5000, got 0"),
        (r#"max_messages = "9""#, r#"max_messages: must be a whole number from 1 to 5000, got "9""#),
        ("max_messages = 1.5", "max_messages: must be a whole number from 1 to 5000, got a number with a fraction"),
        ("max_bytes = 524288001", "max_bytes: must be 1 to 524288000 bytes"),
        (r#"max_bytes = "501MB""#, "max_bytes: must be 1 to 524288000 bytes"),
        ("max_objects = 1001", "max_objects: must be a whole number from 1 to 1000, got 1001"),
        (r#"region = "AP""#, "region: must be the bucket's region"),
        (r#"bucket = "orders""#, "bucket: must be <name>-<appid>"),
        (r#"endpoint = "cos""#, "endpoint: must be http(s)://host"),
        (
            r#"endpoint = "https://orders-1250000000.cos.ap-guangzhou.myqcloud.com""#,
            "endpoint: must be written without the bucket",
        ),
        (r#"endpoint = "http://[::1]""#, r#"addressing: "virtual" needs a host name"#),
        (r#"addressing = "dns""#, r#"addressing: must be one of "virtual", "path", got "dns""#),
        (r#"topic = "non-persistent://t/n/x""#, "topic: a non-persistent topic keeps nothing"),
        (r#"subscription = " ""#, "subscription: must be text in quotes"),
        (r#"start = "now""#, r#"start: must be "continue""#),
        (r#"role = """#, "role: must be text in quotes"),
        (r#"service_url = "pulsar""#, "service_url: must be the address from the console"),
        (r#"prefix = "/tdmq""#, "prefix: must be empty or end with /"),
        (r#"format = "csv""#, r#"format: must be one of "jsonl", "avro", "parquet", "raw", "lines", got "csv""#),
        (r#"compression = "lz4""#, r#"compression: must be one of "gzip", "zstd", "snappy", "none", got "lz4""#),
        (r#"shard = "8""#, "shard: must be"),
        (r#"storage_class = "ia""#, "storage_class: must be a storage class"),
        (r#"storage_class = "DEEP_ARCHIVE""#, "storage_class: must be a class whose objects can be read at once"),
        (r#"sse = "yes""#, r#"sse: must be one of "AES256", "cos/kms", "aws:kms", got "yes""#),
        (
            "listener_name = true",
            "listener_name: must be text in quotes, not empty, without spaces around it, got true or false",
        ),
        ("[deploy]\nmemory = 64", "deploy.memory: must be a whole number from 128 to 10240, got 64"),
        ("[deploy]\nvpc = 1", "deploy.vpc: must be text in quotes"),
    ];
    for (line, problem) in table {
        let problems = problems(&[line]);
        assert_eq!(problems.len(), 1, "{problems:?}");
        assert!(problems[0].starts_with(problem), "{problems:?}");
    }
}

#[test]
fn an_empty_rule_names_every_missing_key_with_an_example() {
    let error = Rule::from_toml("").unwrap_err();
    let keys: Vec<_> = error.0.iter().map(|problem| problem.key.as_str()).collect();
    assert_eq!(keys, ["name", "service_url", "topic", "subscription", "region", "bucket", "interval"]);
    assert!(error.0.iter().all(|problem| problem.message.starts_with("is missing: write it, as in ")));
}

#[test]
fn a_rule_with_ten_mistakes_reports_all_ten() {
    let lines = [
        r#"name = """#,
        r#"service_url = "kafka://h""#,
        r#"topic = "orders""#,
        r#"cluster = 1"#,
        r#"region = "?""#,
        r#"bucket = "B""#,
        r#"interval = "1h""#,
        "max_messages = -1",
        r#"shard = "3/2""#,
        "retries = 3",
    ];
    let keys = [
        "name",
        "service_url",
        "cluster",
        "namespace",
        "region",
        "bucket",
        "interval",
        "max_messages",
        "shard",
        "retries",
    ];
    let error = Error::from(Rule::from_toml(&rule(&lines)).unwrap_err());
    assert_eq!(error.kind(), Kind::Invalid);
    let text = error.to_string();
    assert!(text.starts_with("the rule has 10 problems:\n"), "{text}");
    assert_eq!(text.lines().count(), 11, "{text}");
    for key in keys {
        assert!(text.lines().any(|line| line.starts_with(&format!("  {key}: "))), "{key} in {text}");
    }
}

#[test]
fn cluster_and_namespace_must_agree_with_a_full_topic() {
    good(&[r#"cluster = "pulsar-abc""#, r#"namespace = "prod""#]);
    assert_eq!(
        problems(&[r#"cluster = "other""#, r#"namespace = "test""#]),
        [
            r#"cluster: must agree with the topic's "pulsar-abc", got "other": remove one"#,
            r#"namespace: must agree with the topic's "prod", got "test": remove one"#
        ]
    );
    let missing = problems(&[r#"topic = "orders""#]);
    assert_eq!(missing.len(), 2, "{missing:?}");
}

#[test]
fn what_this_version_cannot_do_is_refused_and_never_ignored() {
    let table = [
        r#"format = "avro""#,
        r#"format = "parquet""#,
        r#"format = "raw""#,
        r#"format = "lines""#,
        r#"compression = "zstd""#,
        r#"compression = "snappy""#,
    ];
    for line in table {
        let problems = problems(&[line]);
        let key = line.split(' ').next().unwrap();
        assert!(problems.len() == 1 && problems[0].starts_with(&format!("{key}: ")), "{problems:?}");
        assert!(problems[0].contains("not yet available"), "{problems:?}");
    }
}

#[test]
fn a_key_that_could_grow_past_850_bytes_is_refused_with_how_much_to_cut() {
    let prefix = |length: usize| format!(r#"prefix = "{}/""#, "p".repeat(length - 1));
    let room = names::KEY_LIMIT - good(&[]).longest_key();
    assert_eq!(good(&[&prefix(room)]).longest_key(), 850);
    let problems = problems(&[&prefix(room + 3)]);
    assert!(problems[0].ends_with("shorten the prefix by 3"), "{problems:?}");
}

#[test]
fn an_unusual_region_is_a_warning_on_cos_only() {
    let warnings = good(&[r#"region = "ap-tokyo""#]).warnings;
    assert!(warnings.len() == 1 && warnings[0].starts_with("region: \"ap-tokyo\" is none of "), "{warnings:?}");
    let elsewhere = [r#"region = "eu-west-1""#, r#"endpoint = "https://s3.eu-west-1.amazonaws.com""#];
    assert!(good(&elsewhere).warnings.is_empty());
}

#[test]
fn the_reference_names_every_key_and_its_examples_are_rules() {
    let reference = include_str!("../rule.md");
    for (key, example) in file::KEYS {
        assert!(reference.contains(&format!("\n| `{key}` |")), "{key}");
        assert!(example.contains(key));
    }
    for key in file::DEPLOY {
        assert!(reference.contains(&format!("`{key}`")), "{key}");
    }
    let blocks: Vec<_> = reference.split("```toml\n").skip(1).map(|rest| rest.split("```").next().unwrap()).collect();
    assert_eq!(blocks.len(), 2);
    for block in blocks {
        Rule::from_toml(block).unwrap();
    }
}

#[test]
fn the_example_is_a_rule_without_warnings() {
    let rule = Rule::from_toml(include_str!("example.toml")).unwrap();
    assert!(rule.warnings.is_empty());
    assert_eq!(rule.deploy.memory, Some(512));
}

#[test]
fn the_longest_key_may_have_850_bytes_and_not_one_more() {
    let topic = |name: &str| TopicName { tenant: "pulsar-abc".into(), namespace: "prod".into(), topic: name.into() };
    let room = names::KEY_LIMIT - names::longest_key(&Prefix::default(), &topic("orders"));
    let prefix = |length: usize| format!("prefix = \"{}/\"", "p".repeat(length - 1));
    assert_eq!(good(&[&prefix(room)]).prefix.as_str().len(), room);
    let said = problems(&[&prefix(room + 1)]);
    assert_eq!(said.len(), 1);
    assert!(
        said[0].starts_with("prefix: ")
            && said[0].ends_with("up to 851 bytes, and 850 are allowed: shorten the prefix by 1"),
        "{said:?}"
    );

    // Nothing to take from the prefix: the topic's own name is too long.
    let room = names::KEY_LIMIT - names::longest_key(&Prefix::default(), &topic(""));
    let named = |name: &str| format!("topic = \"persistent://pulsar-abc/prod/{name}\"");
    good(&[&named(&"k".repeat(room))]);
    let said = problems(&[&named(&"k".repeat(room + 1))]);
    assert!(
        said[0].starts_with("topic: ") && said[0].contains("851 bytes") && said[0].contains("1 bytes shorter"),
        "{said:?}"
    );
    let said = problems(&[&named(&"\u{e9}".repeat(room / 6 + 1))]);
    assert!(said[0].starts_with("topic: ") && said[0].contains("count three times"), "{said:?}");
}

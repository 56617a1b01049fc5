//! What the rule file says, before anything is judged: which keys exist, and what was written for them.
//!
//! Knows the names of the keys and nothing of their meaning.

use std::collections::BTreeMap;

use rustls::RootCertStore;

use super::Problem;
use super::values::{Value, looks_like_a_token};
use crate::Secret;

/// Every key of a rule with the way it is written; `deploy` is the table of [`DEPLOY`].
pub(super) const KEYS: &[(&str, &str)] = &[
    ("name", r#"name = "orders-backup""#),
    ("service_url", r#"service_url = "http://pulsar-abc.tdmq.ap-gz.qcloud.tencenttdmq.com:8080""#),
    ("ca_file", r#"ca_file = "ca.pem""#),
    ("listener_name", r#"listener_name = "custom:1250000000/vpc-abc/subnet-abc""#),
    ("topic", r#"topic = "persistent://pulsar-abc/prod/orders""#),
    ("cluster", r#"cluster = "pulsar-abc""#),
    ("namespace", r#"namespace = "prod""#),
    ("subscription", r#"subscription = "backup""#),
    ("start", r#"start = "continue""#),
    ("shard", r#"shard = "2/8""#),
    ("role", r#"role = "backup-reader""#),
    ("token_file", r#"token_file = "token.jwt""#),
    ("bucket", r#"bucket = "orders-1250000000""#),
    ("region", r#"region = "ap-guangzhou""#),
    ("endpoint", r#"endpoint = "https://cos.ap-guangzhou.myqcloud.com""#),
    ("addressing", r#"addressing = "virtual""#),
    ("prefix", r#"prefix = "tdmq/""#),
    ("storage_class", r#"storage_class = "STANDARD_IA""#),
    ("sse", r#"sse = "AES256""#),
    ("interval", r#"interval = "5m""#),
    ("max_messages", "max_messages = 5000"),
    ("max_bytes", r#"max_bytes = "500MB""#),
    ("max_objects", "max_objects = 1"),
    ("format", r#"format = "jsonl""#),
    ("compression", r#"compression = "gzip""#),
    ("deploy", "[deploy]"),
];

/// The keys of the `[deploy]` table.
pub(super) const DEPLOY: &[&str] =
    &["vpc", "subnet", "security_group", "execution_role", "memory", "log_topic", "token_secret"];

/// A value and where it stands: the key itself, or the variable that overrides it.
pub(super) struct Written {
    pub(super) label: String,
    pub(super) value: Value,
}

/// Everything that was written, from all places, and what was wrong on the way.
#[derive(Default)]
pub(super) struct Sheet {
    pub(super) keys: BTreeMap<&'static str, Written>,
    pub(super) deploy: BTreeMap<&'static str, Value>,
    /// With the key or the variable it came from.
    pub(super) token: Option<(String, Secret)>,
    /// What `ca_file` holds, once it was read.
    pub(super) authorities: Option<RootCertStore>,
    pub(super) problems: Vec<Problem>,
}

impl Sheet {
    /// Adds what a rule file says. `false`: it is not TOML, and nothing of it was read.
    ///
    /// A message of the parser never quotes the file: a line with a mistake may hold a secret.
    pub(super) fn read(&mut self, text: &str) -> bool {
        let table = match text.parse::<toml::Table>() {
            Ok(table) => table,
            Err(error) => {
                let before = text.get(..error.span().map_or(0, |span| span.start)).unwrap_or_default();
                let line = before.matches('\n').count() + 1;
                self.problem("rule file", format!("is not valid TOML: line {line}: {}", error.message()));
                return false;
            }
        };
        for (name, value) in table {
            match (KEYS.iter().find(|(key, _)| *key == name), value) {
                (Some(("deploy", _)), toml::Value::Table(table)) => self.read_deploy(table),
                (Some(("deploy", _)), _) => self.problem("deploy", "must be a table: write [deploy] at the end"),
                (Some((key, _)), value) => {
                    let value = plain(value, *key == "start");
                    self.keys.insert(key, Written { label: name, value });
                }
                (None, _) if name == "token" => self.problem(
                    "token",
                    "must not stand in the rule, which travels in packages and repositories: \
                     set TDMQ_BACKUP_TOKEN, or name a file that holds it with token_file; and have this token replaced",
                ),
                (None, _) => {
                    let known: Vec<_> = KEYS.iter().map(|(key, _)| *key).collect();
                    self.unknown(&name, &name, "key", &known, "");
                }
            }
        }
        true
    }

    fn read_deploy(&mut self, table: toml::Table) {
        for (name, value) in table {
            match DEPLOY.iter().find(|key| **key == name) {
                Some(key) => drop(self.deploy.insert(key, plain(value, false))),
                None => self.unknown(&format!("deploy.{name}"), &name, "key", DEPLOY, "deploy."),
            }
        }
    }

    pub(super) fn problem(&mut self, key: impl Into<String>, message: impl Into<String>) {
        self.problems.push(Problem { key: key.into(), message: message.into() });
    }

    /// A name that is none of `known`, with the nearest one that is.
    pub(super) fn unknown(&mut self, label: &str, name: &str, what: &str, known: &[&str], prefix: &str) {
        let nearest = known.iter().min_by_key(|known| distance(name, known));
        let message = match nearest.filter(|known| distance(name, known) <= known.len().max(4) / 2) {
            Some(nearest) => format!("is not a known {what}: did you mean {prefix}{nearest}?"),
            None => format!("is not a known {what}: remove it"),
        };
        let label = match looks_like_a_token(label) {
            true => "***".to_owned(),
            false => label.chars().filter(|c| !c.is_control()).take(60).collect(),
        };
        self.problem(label, message);
    }
}

fn plain(value: toml::Value, dates: bool) -> Value {
    match value {
        toml::Value::String(text) => Value::Text(text),
        toml::Value::Integer(number) => Value::Number(number),
        toml::Value::Datetime(date) if dates => Value::Text(date.to_string()),
        toml::Value::Datetime(_) => Value::Other("a date"),
        toml::Value::Float(_) => Value::Other("a number with a fraction"),
        toml::Value::Boolean(_) => Value::Other("true or false"),
        toml::Value::Array(_) => Value::Other("a list"),
        toml::Value::Table(_) => Value::Other("a table"),
    }
}

/// How many characters must be put in, taken out or replaced to make `a` into `b`.
fn distance(a: &str, b: &str) -> usize {
    let b: Vec<char> = b.chars().collect();
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, from) in a.chars().enumerate() {
        let mut diagonal = std::mem::replace(&mut row[0], i + 1);
        for (j, to) in b.iter().enumerate() {
            let replaced = diagonal + usize::from(from != *to);
            diagonal = row[j + 1];
            row[j + 1] = replaced.min(diagonal + 1).min(row[j] + 1);
        }
    }
    row[b.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    fn problems(text: &str) -> Vec<String> {
        let mut sheet = Sheet::default();
        sheet.read(text);
        sheet.problems.iter().map(Problem::to_string).collect()
    }

    #[test]
    fn an_unknown_key_is_refused_with_the_nearest_known_one() {
        let table = [
            ("buckett = 1", "buckett: is not a known key: did you mean bucket?"),
            ("maxmessages = 1", "maxmessages: is not a known key: did you mean max_messages?"),
            ("Topic = 1", "Topic: is not a known key: did you mean topic?"),
            ("zzzzzzzzzzzz = 1", "zzzzzzzzzzzz: is not a known key: remove it"),
            ("[deploy]\nmemry = 1", "deploy.memry: is not a known key: did you mean deploy.memory?"),
            ("deploy = 1", "deploy: must be a table: write [deploy] at the end"),
        ];
        for (text, problem) in table {
            assert_eq!(problems(text), [problem]);
        }
    }

    #[test]
    fn a_file_that_is_not_toml_is_named_by_its_line_and_never_quoted() {
        for text in ["\n\ntoken = MARKER", "\n\ntoken = \"MARKER", "\n\ntoken MARKER", "\n\ntoken = 'MARKER' MARKER"] {
            let problems = problems(text);
            assert_eq!(problems.len(), 1);
            assert!(problems[0].starts_with("rule file: is not valid TOML: line 3: "), "{problems:?}");
            assert!(!problems[0].contains("MARKER"), "{problems:?}");
        }
    }

    #[test]
    fn a_token_in_the_file_is_refused_with_the_reason_and_not_shown() {
        let problems = problems("token = \"MARKER\"");
        assert!(problems[0].contains("TDMQ_BACKUP_TOKEN") && problems[0].contains("token_file"));
        assert!(!problems[0].contains("MARKER"));
    }

    #[test]
    fn distance_counts_single_changes() {
        for (a, b, steps) in
            [("", "", 0), ("", "ab", 2), ("topic", "tpic", 1), ("topic", "tropic", 1), ("abc", "xbz", 2)]
        {
            assert_eq!(distance(a, b), steps);
            assert_eq!(distance(b, a), steps);
        }
    }
}

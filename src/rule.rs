#![doc = include_str!("rule.md")]

mod address;
mod bucket;
mod check;
mod env;
mod file;
pub mod names;
mod reader;
#[cfg(test)]
mod tests;
mod token;
mod topic;
mod values;

use std::fmt;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use rustls::RootCertStore;

pub use address::{Endpoint, Scheme, ServiceUrl};
pub use bucket::Bucket;
pub use topic::{Shard, Start, TopicName};
pub use values::Malformed;

pub use crate::store::Addressing;
use crate::{Error, Kind, Result, Secret, tls};
use file::Sheet;
pub(crate) use values::shown;
use values::{Value, looks_like_a_token};

/// What a run does: checked as a whole, every part in the type the program uses.
#[derive(Clone, Debug)]
pub struct Rule {
    pub name: String,
    pub service_url: ServiceUrl,
    /// Who vouches for the hosts of the cluster where it is asked with TLS; `None`: the public authorities.
    pub authorities: Option<Arc<RootCertStore>>,
    pub listener_name: Option<String>,
    pub topic: TopicName,
    pub subscription: String,
    pub start: Start,
    pub shard: Option<Shard>,
    /// The role the token should be for; only named in messages.
    pub role: Option<String>,
    /// ASCII without blanks: fits into a header as it is.
    pub token: Option<Secret>,
    pub bucket: Bucket,
    pub region: String,
    pub endpoint: Endpoint,
    pub addressing: Addressing,
    pub prefix: Prefix,
    pub storage_class: Option<String>,
    pub sse: Option<Sse>,
    /// Whole seconds.
    pub interval: Duration,
    /// In one object.
    pub max_messages: u32,
    /// In one object: of the records before compression, and of the written file.
    pub max_bytes: u64,
    /// Objects per partition in one run.
    pub max_objects: u32,
    pub format: Format,
    pub compression: Compression,
    pub deploy: Deploy,
    /// What is odd and allowed, a line each.
    pub warnings: Vec<String>,
}

impl Rule {
    /// The most messages one object may hold.
    pub const MAX_MESSAGES: u32 = 5_000;
    /// The most bytes one object may hold: 500 MB.
    pub const MAX_BYTES: u64 = 524_288_000;

    /// The rule from its file and its variables, or all that is wrong with them in one error of
    /// [`Kind::Invalid`]. Reads the rule file (`path`, else the one `TDMQ_BACKUP_RULE` names, else
    /// none), the token file and `ca_file` (which relative paths name beside the rule file), nothing else.
    ///
    /// `env` is a whole environment; variables of other programs are passed over. (`std::env::vars`
    /// panics at one that is not UTF-8: leave such out.)
    pub fn load(path: Option<&Path>, env: impl IntoIterator<Item = (String, String)>) -> Result<Rule> {
        Ok(Rule::try_load(path, env)?)
    }

    /// [`load`](Rule::load) with the problems one by one.
    pub fn try_load(path: Option<&Path>, env: impl IntoIterator<Item = (String, String)>) -> Result<Rule, RuleError> {
        let variables = env::Variables::pick(env);
        let path = path.map(Path::to_owned).or_else(|| variables.file.clone());
        let mut sheet = Sheet::default();
        match &path {
            // Without the file every key would be missing: only its own problem is of use then.
            Some(path) => match fs::read_to_string(path) {
                Ok(text) if sheet.read(&text) => {}
                Ok(_) => return Err(RuleError(sheet.problems)),
                Err(error) => {
                    sheet.problem("rule file", format!("{} cannot be read: {error}", path.display()));
                    return Err(RuleError(sheet.problems));
                }
            },
            None if variables.is_empty() => {
                sheet.problem(
                    "rule",
                    "is missing: name its file with --rule, put rule.toml into the function's package, set TDMQ_BACKUP_RULE to a path, or set TDMQ_BACKUP_<KEY> for every key",
                );
                return Err(RuleError(sheet.problems));
            }
            None => {}
        }
        variables.apply(&mut sheet);
        read_token(&mut sheet, path.as_deref());
        read_authorities(&mut sheet, path.as_deref());
        check::check(sheet)
    }

    /// The rule that a file of this text makes: without an environment, without IO, hence without a
    /// token, and trusting nobody where the text names a `ca_file`.
    pub fn from_toml(text: &str) -> Result<Rule, RuleError> {
        let mut sheet = Sheet::default();
        match sheet.read(text) {
            true => check::check(sheet),
            false => Err(RuleError(sheet.problems)),
        }
    }

    /// No object of this rule gets a longer key, in bytes; at most [`names::KEY_LIMIT`].
    pub fn longest_key(&self) -> usize {
        names::longest_key(&self.prefix, &self.topic)
    }
}

/// Reads the token file, unless the environment holds the token. Whether the key itself is well
/// written is the check's business.
fn read_token(sheet: &mut Sheet, rule: Option<&Path>) {
    if sheet.token.is_some() {
        return;
    }
    let Some((label, path)) = named_file(sheet, "token_file", rule) else { return };
    match fs::read_to_string(&path) {
        Ok(text) => sheet.token = Some((label, env::token(&text))),
        Err(error) => sheet.problem(label, format!("{} cannot be read: {error}", path.display())),
    }
}

/// Reads the certificates of `ca_file`.
fn read_authorities(sheet: &mut Sheet, rule: Option<&Path>) {
    let Some((label, path)) = named_file(sheet, "ca_file", rule) else { return };
    let read = fs::read(&path).map_err(|error| format!("cannot be read: {error}"));
    match read.and_then(|pem| tls::authorities(&pem)) {
        Ok(authorities) => sheet.authorities = Some(authorities),
        Err(why) => {
            let text = format!("{} {why}; it must hold the certificates of authorities, in PEM", path.display());
            sheet.problem(label, text);
        }
    }
}

/// The path that a key holds, starting at the rule file's folder, and where it was written.
fn named_file(sheet: &Sheet, key: &str, rule: Option<&Path>) -> Option<(String, PathBuf)> {
    let written = sheet.keys.get(key)?;
    let Value::Text(path) = &written.value else { return None };
    if path.is_empty() || looks_like_a_token(path) {
        return None;
    }
    let path = rule.and_then(Path::parent).map_or_else(|| PathBuf::from(path), |folder| folder.join(path));
    Some((written.label.clone(), path))
}

/// One thing that is wrong with a rule. `Display` is a line: the key, or the variable that stands for
/// it; what is allowed; what was found; what to do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    pub key: String,
    pub message: String,
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.key, self.message)
    }
}

/// All that is wrong with a rule, at least one problem. `Display` has a line for each.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub struct RuleError(pub Vec<Problem>);

impl fmt::Display for RuleError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0.len() {
            1 => f.write_str("the rule has a problem:")?,
            count => write!(f, "the rule has {count} problems:")?,
        }
        self.0.iter().try_for_each(|problem| write!(f, "\n  {problem}"))
    }
}

impl From<RuleError> for Error {
    fn from(error: RuleError) -> Self {
        Error::of_lines(Kind::Invalid, error.to_string())
    }
}

/// Where in the bucket everything of a rule lies: empty, or a folder that ends with `/` and has no
/// empty, `.` or `..` part.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Prefix(String);

impl Prefix {
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Prefix {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    Jsonl,
    Avro,
    Parquet,
    Raw,
    Lines,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Compression {
    Gzip,
    Zstd,
    Snappy,
    None,
}

/// Encryption at rest, by the store.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sse {
    Aes256,
    CosKms,
    AwsKms,
}

impl Sse {
    /// As the rule and the store write it.
    pub fn name(self) -> &'static str {
        match self {
            Sse::Aes256 => "AES256",
            Sse::CosKms => "cos/kms",
            Sse::AwsKms => "aws:kms",
        }
    }
}

/// How the function is set up; a run takes nothing from it but where the token is.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Deploy {
    pub vpc: Option<String>,
    pub subnet: Option<String>,
    pub security_group: Option<String>,
    pub execution_role: Option<String>,
    /// MB.
    pub memory: Option<u32>,
    pub log_topic: Option<String>,
    /// The name of the secret that holds the token: read in each run on Lambda, where the rule has none.
    pub token_secret: Option<String>,
}

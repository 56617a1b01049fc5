//! One error type for the library: what kind of thing went wrong, in the middle of doing what, and why.
//!
//! The kind is an order to the reader. `Display` never repeats the source; [`Error::chain`] is the one
//! place where a whole chain becomes text, and it is called once, where the error is handled.

use std::error::Error as StdError;
use std::fmt;
use std::iter;

pub type Result<T, E = Error> = std::result::Result<T, E>;

/// What the reader must do about it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// The rule or the event is wrong: mend it.
    Invalid,
    /// A credential or a grant is missing or refused: mend that.
    Denied,
    /// The topic, the subscription or the bucket does not exist: create it, or mend the rule.
    NotFound,
    /// Somebody else is at it: nothing was done, the next run tries again.
    Busy,
    /// The broker or the store did not do its part: the next run tries again.
    Unavailable,
    /// A request was sent and not answered: it may have happened. The next run finds out.
    Unknown,
    /// What is in the bucket is not what should be there: look before anything is removed.
    Conflict,
    /// Bytes that are not what their checksum or their format says.
    Corrupt,
    /// A fault of this program: report it.
    Internal,
}

impl Kind {
    /// The name that replies, logs and exit codes use.
    pub fn name(self) -> &'static str {
        match self {
            Kind::Invalid => "invalid",
            Kind::Denied => "denied",
            Kind::NotFound => "not_found",
            Kind::Busy => "busy",
            Kind::Unavailable => "unavailable",
            Kind::Unknown => "unknown",
            Kind::Conflict => "conflict",
            Kind::Corrupt => "corrupt",
            Kind::Internal => "internal",
        }
    }
}

#[derive(Debug)]
pub struct Error {
    kind: Kind,
    doing: String,
    ends_instance: bool,
    source: Option<Box<dyn StdError + Send + Sync>>,
}

impl Error {
    /// `doing` is a whole sentence without a full stop, lower case: what failed and what to do about it.
    pub fn new(kind: Kind, doing: impl Into<String>) -> Self {
        Error { kind, doing: doing.into(), ends_instance: false, source: None }
    }

    /// Adds the reason. It is printed after `doing`, so `doing` must not repeat it.
    pub fn because(mut self, source: impl Into<Box<dyn StdError + Send + Sync>>) -> Self {
        self.source = Some(source.into());
        self
    }

    /// Says that no later run of this process can do better: what it was started with, its keys, has ended.
    pub fn ending_instance(mut self) -> Self {
        self.ends_instance = true;
        self
    }

    /// Whether this error, or one of its reasons, is [`ending_instance`](Error::ending_instance).
    pub fn ends_instance(&self) -> bool {
        let chain = iter::successors(Some(self as &(dyn StdError + 'static)), |error| (*error).source());
        chain.filter_map(|error| error.downcast_ref::<Error>()).any(|error| error.ends_instance)
    }

    pub fn kind(&self) -> Kind {
        self.kind
    }

    /// This error and its sources on one line, each once.
    pub fn chain(&self) -> String {
        let mut text = self.to_string();
        let mut next = self.source();
        while let Some(error) = next {
            let part = error.to_string();
            if !text.ends_with(&part) {
                text.push_str(": ");
                text.push_str(&part);
            }
            next = error.source();
        }
        text
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.doing)
    }
}

impl StdError for Error {
    fn source(&self) -> Option<&(dyn StdError + 'static)> {
        self.source.as_deref().map(|source| source as _)
    }
}

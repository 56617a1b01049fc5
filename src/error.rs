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

/// The longest text of a chain, in characters: what others say is part of it.
const MOST_SAID: usize = 8 << 10;

/// Whether a terminal or a log takes it for an order: to move, to begin a line, to write from right to left.
fn is_order(c: char) -> bool {
    c.is_control() || matches!(c, '\u{200e}' | '\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

/// `text` as it may stand in a terminal and in a log, on one line: with spaces for what would be obeyed there.
pub fn visible(text: &str) -> String {
    text.chars().map(|c| if is_order(c) { ' ' } else { c }).collect()
}

/// The same of several lines.
pub fn visible_lines(text: &str) -> String {
    text.chars().map(|c| if is_order(c) && c != '\n' { ' ' } else { c }).collect()
}

impl Error {
    /// `doing` is a whole sentence without a full stop, lower case: what failed and what to do about it.
    pub fn new(kind: Kind, doing: impl Into<String>) -> Self {
        Error { kind, doing: visible(&doing.into()), ends_instance: false, source: None }
    }

    /// The same where `doing` has several lines.
    pub fn of_lines(kind: Kind, doing: impl Into<String>) -> Self {
        Error { doing: visible_lines(&doing.into()), ..Error::new(kind, "") }
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

    /// This error and its sources on one line, each once; nothing in what others said is obeyed by a terminal.
    pub fn chain(&self) -> String {
        let mut text = self.to_string();
        let mut next = self.source();
        while let Some(error) = next {
            let part = visible(&error.to_string());
            if !text.ends_with(&part) {
                text.push_str(": ");
                text.push_str(&part);
            }
            next = error.source();
        }
        match text.char_indices().nth(MOST_SAID) {
            Some((end, _)) => format!("{}…", &text[..end]),
            None => text,
        }
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_others_say_moves_no_cursor_begins_no_line_and_has_an_end() {
        let loud = "a\x1b[2J\r\nb\u{9b}c\u{202e}d\u{7f}";
        let error = Error::new(Kind::Denied, format!("doing {loud} now")).because(loud);
        assert_eq!(error.chain(), "doing a [2J  b c d  now: a [2J  b c d ");
        assert_eq!(Error::new(Kind::Denied, "x").because("é".repeat(1 << 20)).chain().chars().count(), (8 << 10) + 1);
    }
}

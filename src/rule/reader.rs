//! Key after key out of what was written.

use super::file::{KEYS, Sheet};
use super::values::{Malformed, Value};

/// Reads key after key and keeps what is wrong with each.
pub(super) struct Reader(pub(super) Sheet);

impl Reader {
    /// `None` where the key is absent, and where its value is refused.
    pub(super) fn optional<T>(&mut self, key: &str, parse: impl FnOnce(&Value) -> Result<T, Malformed>) -> Option<T> {
        let result = parse(&self.0.keys.get(key)?.value);
        result.map_err(|malformed| self.problem(key, malformed.to_string())).ok()
    }

    pub(super) fn or<T>(
        &mut self,
        key: &str,
        default: T,
        parse: impl FnOnce(&Value) -> Result<T, Malformed>,
    ) -> Option<T> {
        if self.0.keys.contains_key(key) { self.optional(key, parse) } else { Some(default) }
    }

    pub(super) fn required<T>(&mut self, key: &str, parse: impl FnOnce(&Value) -> Result<T, Malformed>) -> Option<T> {
        if !self.0.keys.contains_key(key) {
            let example = KEYS.iter().find(|(known, _)| *known == key).map_or("", |(_, example)| *example);
            self.problem(key, format!("is missing: write it, as in {example}"));
        }
        self.optional(key, parse)
    }

    /// Under the name that the value was written with.
    pub(super) fn problem(&mut self, key: &str, message: impl Into<String>) {
        let label = self.label(key);
        self.0.problem(label, message);
    }

    fn label(&self, key: &str) -> String {
        self.0.keys.get(key).map_or(key, |written| &written.label).to_owned()
    }
}

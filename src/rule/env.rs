//! The environment's part of a rule: `TDMQ_BACKUP_<KEY>`.
//!
//! The variables are handed in; nothing here reads the process's environment.

use std::path::PathBuf;

use super::file::{KEYS, Sheet, Written};
use super::values::Value;
use crate::Secret;

const PREFIX: &str = "TDMQ_BACKUP_";
pub(super) const TOKEN: &str = "TDMQ_BACKUP_TOKEN";
const RULE: &str = "TDMQ_BACKUP_RULE";

/// Keys whose value may be a number: digits alone in a variable are one.
const NUMBERS: &[&str] = &["max_messages", "max_bytes", "max_objects"];

/// What the variables say.
#[derive(Default)]
pub(super) struct Variables {
    /// `TDMQ_BACKUP_RULE`: where the rule file is.
    pub(super) file: Option<PathBuf>,
    keys: Vec<(&'static str, Written)>,
    token: Option<Secret>,
    unknown: Vec<String>,
}

impl Variables {
    /// Picks the variables of this program out of an environment. One with an empty value counts as
    /// not set: consoles and templates leave such.
    pub(super) fn pick(env: impl IntoIterator<Item = (String, String)>) -> Self {
        let mut picked = Variables::default();
        for (name, value) in env {
            let Some(key) = name.strip_prefix(PREFIX) else { continue };
            // The table of deployment settings is not for the run: it has no variables.
            let known =
                KEYS.iter().map(|(known, _)| *known).find(|known| *known != "deploy" && variable(known) == name);
            match known {
                _ if value.is_empty() => {}
                Some(known) => {
                    let number = NUMBERS.contains(&known).then(|| value.parse().ok()).flatten();
                    let value = number.map_or(Value::Text(value), Value::Number);
                    picked.keys.push((known, Written { label: name, value }));
                }
                None if name == RULE => picked.file = Some(value.into()),
                None if name == TOKEN => picked.token = Some(token(&value)),
                None => picked.unknown.push(key.to_owned()),
            }
        }
        picked
    }

    /// Nothing was set that could make a rule.
    pub(super) fn is_empty(&self) -> bool {
        self.keys.is_empty() && self.unknown.is_empty()
    }

    /// Lays the variables over what the file says.
    pub(super) fn apply(self, sheet: &mut Sheet) {
        let names: Vec<String> =
            KEYS.iter().map(|(key, _)| *key).filter(|key| *key != "deploy").map(variable).collect();
        let mut names: Vec<&str> = names.iter().map(String::as_str).collect();
        names.extend([TOKEN, RULE]);
        for key in self.unknown {
            let name = format!("{PREFIX}{key}");
            sheet.unknown(&name, &name, "variable", &names, "");
        }
        sheet.keys.extend(self.keys);
        sheet.token = self.token.map(|token| (TOKEN.to_owned(), token)).or(sheet.token.take());
    }
}

pub(super) fn variable(key: &str) -> String {
    format!("{PREFIX}{}", key.to_ascii_uppercase())
}

/// A token as editors and shells leave it: without the line break at its end.
pub(super) fn token(text: &str) -> Secret {
    Secret::new(text.trim_end_matches(['\r', '\n']))
}

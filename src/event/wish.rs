//! What an event may ask for besides a run: alone, or as the message of an SCF timer.

use serde_json::{Map, Value};

use super::{text, unknown_field};
use crate::rule::Start;

const FIELDS: [&str; 4] = ["seek", "confirm", "dry_run", "max_objects"];
/// As in the rule.
const MOST_OBJECTS: u64 = 1000;

/// All of it together: the wishes do not exclude each other.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Wish {
    pub seek: Option<SeekEvent>,
    pub dry_run: bool,
    pub max_objects: Option<u32>,
}

/// The wish to move the cursor, once: forward too, past messages that are not stored.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SeekEvent {
    /// Never [`Start::Continue`].
    pub to: Start,
    /// Must be the rule's subscription.
    pub confirm: String,
    /// Names the event among others that ask for the same, where something does: the timer's trigger, or the
    /// platform's request. One of the same name is not obeyed again, so that an event delivered twice, or a
    /// timer that was left with this message, moves the cursor once.
    pub id: Option<String>,
}

impl Wish {
    /// An error completes the sentence "the event …".
    pub(super) fn read(fields: &Map<String, Value>) -> Result<Self, String> {
        if fields.keys().any(|field| !FIELDS.contains(&field.as_str())) {
            return Err(unknown_field(fields, &FIELDS));
        }
        let dry_run = match fields.get("dry_run") {
            None => false,
            Some(Value::Bool(dry_run)) => *dry_run,
            Some(_) => return Err("has a \"dry_run\" that is neither true nor false".into()),
        };
        let max_objects = match fields.get("max_objects").map(|asked| asked.as_u64().unwrap_or(0)) {
            None => None,
            Some(asked @ 1..=MOST_OBJECTS) => Some(asked as u32),
            Some(_) => return Err(format!("has a \"max_objects\" that is not from 1 to {MOST_OBJECTS}")),
        };
        Ok(Wish { seek: seek(fields)?, dry_run, max_objects })
    }
}

fn seek(fields: &Map<String, Value>) -> Result<Option<SeekEvent>, String> {
    let confirm = text(fields, "confirm")?;
    let Some(to) = text(fields, "seek")? else {
        return match confirm {
            None => Ok(None),
            Some(_) => Err("has a \"confirm\" and no \"seek\"".into()),
        };
    };
    let to = match to.parse() {
        Ok(Start::Continue) | Err(_) => return Err("has a \"seek\" to nowhere".into()),
        Ok(to) => to,
    };
    let confirm = confirm.ok_or("has no \"confirm\": it names the rule's subscription")?;
    Ok(Some(SeekEvent { to, confirm: confirm.to_owned(), id: None }))
}

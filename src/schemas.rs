//! Schemas beside the data: what a reader of the objects needs to take the payloads apart.
//!
//! ```text
//! {prefix}{tenant}/{namespace}/{topic}/_schemas/{version in hex}.json
//! ```
//!
//! Each version that a stored message names is asked for once and written once, before the object that names
//! it; a broker or a store that does not help is a warning, and the messages are stored all the same. A topic
//! without schemas costs nothing; a version costs one look in each run that meets it.
//!
//! Owns what is written and which versions a run has dealt with. Does not own the request to the broker.

use std::collections::BTreeSet;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::Serialize;

use crate::error::{Error, Kind, Result};
use crate::source::Source;
use crate::store::{Expect, Store};

/// The lengths of what Pulsar writes as a version, since 2.4 and before. A broker that is asked for anything
/// else fails inside and closes the connection.
const LENGTHS: [usize; 2] = [8, 64];
/// Versions that one run deals with. A topic has few; a producer can write any number.
const MOST_VERSIONS: usize = 100;

/// One version of a topic's schema, as the broker keeps it.
#[derive(Clone, Debug, PartialEq)]
pub struct Schema {
    pub name: String,
    /// `Avro`, `Json`, `KeyValue` and so on; the number where it is newer than this program.
    pub kind: String,
    /// In the broker's order.
    pub properties: Vec<(String, String)>,
    pub data: Vec<u8>,
}

/// What is written.
#[derive(Serialize)]
struct File<'a> {
    version: &'a str,
    name: &'a str,
    r#type: &'a str,
    properties: Vec<[&'a str; 2]>,
    /// The definition, where it is text.
    #[serde(skip_serializing_if = "Option::is_none")]
    schema: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    schema_base64: Option<String>,
}

impl Schema {
    fn file(&self, version: &str) -> Result<Vec<u8>> {
        let text = std::str::from_utf8(&self.data).ok();
        let file = File {
            version,
            name: &self.name,
            r#type: &self.kind,
            properties: self.properties.iter().map(|(name, value)| [name.as_str(), value.as_str()]).collect(),
            schema: text,
            schema_base64: text.is_none().then(|| STANDARD.encode(&self.data)),
        };
        serde_json::to_vec_pretty(&file)
            .map_err(|e| Error::new(Kind::Internal, "a schema does not become JSON").because(e))
    }
}

/// The versions that one run has met.
#[derive(Debug, Default)]
pub struct Schemas {
    met: BTreeSet<Vec<u8>>,
    /// Of these, those that nothing was done about yet.
    new: BTreeSet<Vec<u8>>,
    /// More were met than one run deals with, or what cannot be a version.
    left_out: bool,
}

impl Schemas {
    /// A message names this version. An empty one is none.
    pub fn meet(&mut self, version: &[u8]) {
        if version.is_empty() || self.met.contains(version) {
            return;
        }
        if self.met.len() >= MOST_VERSIONS || !LENGTHS.contains(&version.len()) {
            self.left_out = true;
            return;
        }
        self.met.insert(version.to_vec());
        self.new.insert(version.to_vec());
    }

    /// Writes the versions met since the last time, where the bucket has them not. `folder` is the
    /// partition's. Never fails: answers what is to be warned of.
    pub async fn keep(&mut self, folder: &str, source: &mut impl Source, store: &impl Store) -> Vec<String> {
        let mut warnings = Vec::new();
        if std::mem::take(&mut self.left_out) {
            warnings.push(format!(
                "some messages name schema versions that are no versions of a broker, or more than {MOST_VERSIONS} of them; those are not stored"
            ));
        }
        while let Some(version) = self.new.pop_first() {
            let version_name = hex(&version);
            let key = key(folder, &version_name);
            match keep_one(&key, &version, &version_name, source, store).await {
                Ok(true) => {}
                Ok(false) => {
                    warnings.push(format!("the broker has no schema of version {version_name}, which messages name"))
                }
                Err(error) => {
                    warnings.push(format!("schema version {version_name} is not stored: {}", error.chain()));
                    if error.kind() != Kind::Conflict {
                        // The next run tries again; this one has messages to store.
                        self.new.clear();
                    }
                }
            }
        }
        warnings
    }
}

/// False where the broker has none.
async fn keep_one(
    key: &str,
    version: &[u8],
    version_name: &str,
    source: &mut impl Source,
    store: &impl Store,
) -> Result<bool> {
    if source.attend(store.look(key)).await?.is_some() {
        return Ok(true);
    }
    let Some(schema) = source.schema(version).await? else { return Ok(false) };
    let bytes = schema.file(version_name)?;
    match source.attend(store.write_small(key, bytes, Expect::Absent)).await {
        // Another partition's run was faster, with the same.
        Err(error) if error.kind() == Kind::Conflict => Ok(true),
        written => written.map(|_| true),
    }
}

/// Beside the folders of the partitions, which share their topic's schemas.
fn key(folder: &str, version: &str) -> String {
    let topic = folder.trim_end_matches('/').rsplit_once('/').map_or("", |(topic, _)| topic);
    format!("{topic}/_schemas/{version}.json")
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::span::Span;

    fn schema(data: &[u8]) -> Schema {
        let properties = vec![("b".into(), "1".into()), ("a".into(), "2".into())];
        Schema { name: "orders".into(), kind: "Avro".into(), properties, data: data.to_vec() }
    }

    #[test]
    fn a_schema_stands_beside_the_partitions_and_is_not_taken_for_an_object() {
        let key = key("tdmq/public/default/orders/partition=3/", "0000000000000001");
        assert_eq!(key, "tdmq/public/default/orders/_schemas/0000000000000001.json");
        assert_eq!(Span::of_key(&key), None);
    }

    #[test]
    fn a_definition_is_text_where_it_is_text_and_base64_where_it_is_not() {
        let text: serde_json::Value = serde_json::from_slice(&schema(b"{}").file("01").unwrap()).unwrap();
        let expected = serde_json::json!({
            "version": "01", "name": "orders", "type": "Avro", "properties": [["b", "1"], ["a", "2"]], "schema": "{}",
        });
        assert_eq!(text, expected);
        let binary: serde_json::Value = serde_json::from_slice(&schema(&[0xff]).file("01").unwrap()).unwrap();
        assert_eq!((&binary["schema_base64"], binary.get("schema")), (&"/w==".into(), None));
    }

    #[test]
    fn what_is_no_version_is_never_asked_for() {
        let mut schemas = Schemas::default();
        schemas.meet(&[]);
        assert!(!schemas.left_out);
        schemas.meet(&[1, 2, 3]);
        assert!(schemas.left_out && schemas.new.is_empty());
        (0..=MOST_VERSIONS as u64).for_each(|version| schemas.meet(&version.to_be_bytes()));
        assert_eq!(schemas.new.len(), MOST_VERSIONS);
    }
}

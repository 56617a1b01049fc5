//! Which topic, which part of it, and from where: [`TopicName`], [`Shard`], [`Start`].

use std::fmt;
use std::str::FromStr;

use chrono::{DateTime, SecondsFormat};

use super::values::{Malformed, refuse, shown};
use crate::message::Position;

const PERSISTENT: &str = "persistent://";

/// A persistent topic. No part is empty or holds `/` or a control character.
/// `Display` and `FromStr` are the full URL, `persistent://tenant/namespace/topic`.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct TopicName {
    pub tenant: String,
    pub namespace: String,
    /// The name inside the namespace; of a single partition with its `-partition-N`.
    pub topic: String,
}

impl TopicName {
    /// From three single parts.
    pub fn new(tenant: &str, namespace: &str, topic: &str) -> Result<Self, Malformed> {
        let part = |what: &str, text: &str, narrow: bool| {
            // The broker's own rule for tenants and namespaces; topics may hold nearly anything.
            let fits =
                |c: char| if narrow { c.is_ascii_alphanumeric() || "-_=:.".contains(c) } else { !c.is_control() };
            if text.is_empty() || text.contains('/') || text.trim() != text || !text.chars().all(fits) {
                let allowed =
                    if narrow { "letters, digits and - _ = : ." } else { "any characters but / and control ones" };
                return refuse(format!("the {what} must be {allowed}, without spaces around it, got {}", shown(text)));
            }
            Ok(text.to_owned())
        };
        Ok(TopicName {
            tenant: part("cluster or tenant", tenant, true)?,
            namespace: part("namespace", namespace, true)?,
            topic: part("topic", topic, false)?,
        })
    }

    /// The partition that a name ending in `-partition-N` addresses; the number as the broker prints
    /// it, without leading zeros.
    pub fn partition(&self) -> Option<i32> {
        let (base, digits) = self.topic.rsplit_once("-partition-")?;
        let number: i32 = digits.parse().ok()?;
        (!base.is_empty() && number >= 0 && number.to_string() == digits).then_some(number)
    }

    /// The topic that a partition belongs to, and any other one as it is.
    pub fn whole(&self) -> TopicName {
        let base = self.topic.rsplit_once("-partition-").filter(|_| self.partition().is_some());
        let topic = base.map_or(self.topic.as_str(), |(base, _)| base);
        TopicName { tenant: self.tenant.clone(), namespace: self.namespace.clone(), topic: topic.to_owned() }
    }
}

impl fmt::Display for TopicName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{PERSISTENT}{}/{}/{}", self.tenant, self.namespace, self.topic)
    }
}

impl FromStr for TopicName {
    type Err = Malformed;

    fn from_str(text: &str) -> Result<Self, Malformed> {
        if text.starts_with("non-persistent://") {
            return refuse(format!(
                "a non-persistent topic keeps nothing that could be backed up, got {}: name a persistent:// topic",
                shown(text)
            ));
        }
        let parts: Vec<&str> = text.strip_prefix(PERSISTENT).unwrap_or_default().split('/').collect();
        match parts[..] {
            [tenant, namespace, topic] => TopicName::new(tenant, namespace, topic),
            _ => refuse(format!(
                "must be persistent://<cluster-or-tenant>/<namespace>/<topic>, or a name without / \
                 together with cluster and namespace, got {}",
                shown(text)
            )),
        }
    }
}

/// Which partitions a function reads: part `index` of `of`, both from 1 on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Shard {
    pub index: u32,
    pub of: u32,
}

impl Shard {
    /// Whether this part reads the partition; a topic without partitions is the first part's.
    pub fn reads(self, partition: i32) -> bool {
        partition.max(0) as u32 % self.of == self.index - 1
    }
}

impl FromStr for Shard {
    type Err = Malformed;

    fn from_str(text: &str) -> Result<Self, Malformed> {
        let numbers = text.split_once('/').and_then(|(index, of)| Some((index.parse().ok()?, of.parse().ok()?)));
        match numbers {
            Some((index, of)) if (1..=of).contains(&index) && of <= 1024 => Ok(Shard { index, of }),
            _ => refuse(format!(
                "must be \"<part>/<parts>\" with 1 <= part <= parts <= 1024, as in \"2/8\", got {}",
                shown(text)
            )),
        }
    }
}

/// Where a new rule begins. `FromStr` reads `continue`, `earliest`, `latest`, an RFC 3339 time or
/// `ledger:entry`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Start {
    /// An existing subscription at its cursor, a missing one at the earliest message.
    #[default]
    Continue,
    Earliest,
    Latest,
    /// The first message published at or after this time, in ms since the epoch.
    Timestamp(u64),
    Id(Position),
}

/// As a rule writes it.
impl fmt::Display for Start {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Start::Continue => f.write_str("continue"),
            Start::Earliest => f.write_str("earliest"),
            Start::Latest => f.write_str("latest"),
            Start::Timestamp(ms) => match i64::try_from(*ms).ok().and_then(DateTime::from_timestamp_millis) {
                Some(time) => f.write_str(&time.to_rfc3339_opts(SecondsFormat::AutoSi, true)),
                None => write!(f, "{ms} ms"),
            },
            Start::Id(id) => id.fmt(f),
        }
    }
}

impl FromStr for Start {
    type Err = Malformed;

    fn from_str(text: &str) -> Result<Self, Malformed> {
        let id = || text.parse::<Position>().ok().filter(|id| id.ledger >= 0 && id.entry >= 0).map(Start::Id);
        let time = || {
            let time = DateTime::parse_from_rfc3339(text).ok()?;
            time.timestamp_millis().try_into().ok().map(Start::Timestamp)
        };
        match text {
            "continue" => Ok(Start::Continue),
            "earliest" => Ok(Start::Earliest),
            "latest" => Ok(Start::Latest),
            _ => id().or_else(time).ok_or_else(|| {
                Malformed::new(format!(
                    "must be \"continue\", \"earliest\", \"latest\", an RFC 3339 time with its offset \
                     (\"2026-11-20T08:00:00Z\") or a message id \"ledger:entry\", got {}",
                    shown(text)
                ))
            }),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_topic_url_reads_and_prints_the_same() {
        for text in
            ["persistent://pulsar-abc/prod/orders", "persistent://t=1/n:2/a b.é", "persistent://t/n/x-partition-0"]
        {
            assert_eq!(text.parse::<TopicName>().unwrap().to_string(), text);
        }
    }

    #[test]
    fn what_is_not_a_persistent_topic_is_refused() {
        for text in [
            "",
            "orders",
            "t/n/x",
            "persistent://t/n",
            "persistent://t/c/n/x",
            "persistent:///n/x",
            "persistent://t//x",
            "persistent://t/n/",
            "persistent://t/n/ x",
            "persistent://t/n/x\n",
            "persistent://t t/n/x",
            "persistent://t/né/x",
            "non-persistent://t/n/x",
            "PERSISTENT://t/n/x",
        ] {
            assert!(text.parse::<TopicName>().is_err(), "{text}");
        }
    }

    #[test]
    fn a_name_with_a_partition_number_addresses_that_partition() {
        let table = [
            ("x", None),
            ("x-partition-0", Some(0)),
            ("x-partition-12", Some(12)),
            ("x-partition-1-partition-2", Some(2)),
            ("x-partition-", None),
            ("x-partition-01", None),
            ("x-partition-+1", None),
            ("x-partition--1", None),
            ("-partition-1", None),
        ];
        for (name, partition) in table {
            let topic = TopicName::new("t", "n", name).unwrap();
            let whole = partition.map_or(name, |number| name.strip_suffix(&format!("-partition-{number}")).unwrap());
            assert_eq!((topic.partition(), topic.whole().topic.as_str()), (partition, whole), "{name}");
        }
    }

    #[test]
    fn a_start_is_a_word_a_time_or_an_id() {
        let table = [
            ("continue", Start::Continue),
            ("earliest", Start::Earliest),
            ("latest", Start::Latest),
            ("1970-01-01T00:00:01.5Z", Start::Timestamp(1500)),
            ("1970-01-01T08:00:00+08:00", Start::Timestamp(0)),
            ("12:0", Start::Id(Position::new(12, 0))),
        ];
        for (text, start) in table {
            assert_eq!(text.parse::<Start>().unwrap(), start);
        }
        for text in ["", "Latest", "2026-11-20", "2026-11-20T08:00:00", "1969-12-31T23:59:59Z", "12", "-1:-1", "1:2:3"]
        {
            assert!(text.parse::<Start>().is_err(), "{text}");
        }
    }

    #[test]
    fn a_shard_is_a_part_of_all() {
        assert_eq!("2/8".parse::<Shard>().unwrap(), Shard { index: 2, of: 8 });
        for text in ["", "2", "0/8", "9/8", "1/0", "-1/2", "1/1025", "1/2/3"] {
            assert!(text.parse::<Shard>().is_err(), "{text}");
        }
    }
}

//! Which partitions of which topic a function reads, and whether two functions read one and the same.

use tdmq_backup::rule::{Shard, TopicName};

/// What a function reads, by its topic and shard as they are written in a rule and in what a cloud answers.
#[derive(Debug)]
pub struct Reads {
    /// The topic without a `-partition-N`.
    topic: String,
    /// The one partition that the name has.
    only: Option<i32>,
    /// `None`: all of them.
    shard: Option<Shard>,
}

impl Reads {
    /// A shard that cannot be read is all partitions: what is not known may be read.
    pub fn new(topic: &str, shard: &str) -> Reads {
        let name = topic.parse::<TopicName>().ok();
        let whole = name.as_ref().map_or(topic.to_owned(), |name| name.whole().to_string());
        Reads { topic: whole, only: name.and_then(|name| name.partition()), shard: shard.parse().ok() }
    }

    /// Whether there can be a partition that both read. A topic without partitions is its own first one.
    pub fn meets(&self, other: &Reads) -> bool {
        let has = |partition| [self, other].iter().all(|reads| reads.has(partition));
        self.topic == other.topic
            && match self.only.or(other.only) {
                Some(partition) => has(partition),
                // From there on both repeat themselves.
                None => (0..self.period() * other.period()).any(has),
            }
    }

    fn has(&self, partition: i32) -> bool {
        self.only.is_none_or(|only| only == partition) && self.shard.is_none_or(|shard| shard.reads(partition))
    }

    fn period(&self) -> i32 {
        self.shard.map_or(1, |shard| shard.of as i32)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TOPIC: &str = "persistent://t/n/orders";

    #[test]
    fn two_shards_meet_where_some_partition_is_in_both() {
        for (one, other, meet) in [
            ("", "", true),
            ("", "7/8", true),
            ("1/2", "2/2", false),
            ("1/2", "1/2", true),
            // Partition 0, and 3.
            ("1/2", "1/3", true),
            ("2/2", "1/3", true),
            // Even, and odd.
            ("1/2", "2/4", false),
            ("1/2", "3/4", true),
            ("1023/1023", "1024/1024", true),
            ("no shard", "1/2", true),
        ] {
            let (one, other) = (Reads::new(TOPIC, one), Reads::new(TOPIC, other));
            assert_eq!((one.meets(&other), other.meets(&one)), (meet, meet), "{one:?} {other:?}");
        }
    }

    #[test]
    fn a_rule_of_one_partition_meets_one_of_the_whole_topic_and_no_other_partition() {
        let fifth = format!("{TOPIC}-partition-5");
        for (topic, shard, meet) in [
            (TOPIC, "", true),
            (TOPIC, "2/4", true),
            (TOPIC, "1/4", false),
            (&fifth, "", true),
            (&fifth, "1/2", false),
            ("persistent://t/n/orders-partition-4", "", false),
            // Names of topics of their own.
            ("persistent://t/n/orders-partition-05", "", false),
            ("persistent://t/n/other", "", false),
        ] {
            let (one, other) = (Reads::new(&fifth, ""), Reads::new(topic, shard));
            assert_eq!((one.meets(&other), other.meets(&one)), (meet, meet), "{topic} {shard}");
        }
    }
}

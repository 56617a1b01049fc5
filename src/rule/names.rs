//! Names of topics as parts of object keys.
//!
//! ```text
//! {prefix}{tenant}/{namespace}/{topic}/partition={n}/dt=YYYY-MM-DD/hour=HH/{first}_{last}_{count}.{ext}
//! └────────────── partition_folder ─────────────────┘
//! ```
//!
//! Owns how a name becomes one part of a key, and how long a key can get. The names of the objects
//! inside a folder are not made here.

use std::fmt::Write;

use super::{Prefix, TopicName};

/// The longest object key that COS takes, in bytes; S3 itself takes more.
pub const KEY_LIMIT: usize = 850;

/// Partition numbers are reserved five digits.
const LAST_PARTITION: i32 = 99_999;

/// The longest text that can follow a partition's folder: an object that holds a piece of one
/// spread entry, with every digit its ids, a 32-bit count and any extension may take.
const LONGEST_OBJECT: &str = concat!(
    "dt=YYYY-MM-DD/hour=HH/",
    "LLLLLLLLLLLLLLLLLLL-EEEEEEEEEEEEEEEEEEE-BBBBBB_",
    "LLLLLLLLLLLLLLLLLLL-EEEEEEEEEEEEEEEEEEE-BBBBBB_",
    "CCCCCCCCCC.",
    "parquet.snappy..",
);

/// `name` as one part of an object key. Distinct names give distinct parts; a part is ASCII letters,
/// digits, `-`, `_`, `.` and `%XX` (upper-case, of the UTF-8 bytes) only, never `.` or `..`, never
/// longer than three times the name. Percent-decoding gives the name back. An empty name, which no
/// [`TopicName`] has, stays empty.
pub fn encode_part(name: &str) -> String {
    // As a whole part these two mean a folder to many tools.
    let dots = matches!(name, "." | "..");
    let mut part = String::with_capacity(name.len());
    for byte in name.bytes() {
        match byte {
            b'.' if dots => part.push_str("%2E"),
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'_' | b'.' => part.push(char::from(byte)),
            _ => write!(part, "%{byte:02X}").expect("a String takes every write"),
        }
    }
    part
}

/// The folder of everything kept for one partition, `/` at its end; partition -1 is a topic without
/// partitions. It lies inside `prefix`, and no other prefix, topic or partition gives the same folder:
/// its last four parts tell topic and partition, what comes before them is the prefix.
pub fn partition_folder(prefix: &Prefix, topic: &TopicName, partition: i32) -> String {
    let [tenant, namespace, name] = [&topic.tenant, &topic.namespace, &topic.topic].map(|part| encode_part(part));
    format!("{prefix}{tenant}/{namespace}/{name}/partition={partition}/")
}

/// No object of this topic gets a longer key, in bytes, whatever its format and however its entries
/// are numbered.
pub fn longest_key(prefix: &Prefix, topic: &TopicName) -> usize {
    partition_folder(prefix, topic, LAST_PARTITION).len() + LONGEST_OBJECT.len()
}

#[cfg(test)]
mod tests {
    use percent_encoding::percent_decode_str;
    use proptest::prelude::*;

    use super::*;

    fn topic(tenant: &str, namespace: &str, topic: &str) -> TopicName {
        TopicName { tenant: tenant.into(), namespace: namespace.into(), topic: topic.into() }
    }

    #[test]
    fn plain_names_stay_as_they_are() {
        for name in ["orders", "pulsar-mmqwr5xx9n7g", "a_b.c-D9", "..."] {
            assert_eq!(encode_part(name), name);
        }
    }

    #[test]
    fn what_a_key_cannot_carry_is_escaped() {
        let table = [
            (".", "%2E"),
            ("..", "%2E%2E"),
            ("a/b", "a%2Fb"),
            ("k=v", "k%3Dv"),
            ("100%", "100%25"),
            ("a+b c", "a%2Bb%20c"),
            ("\u{7f}\n", "%7F%0A"),
            ("é", "%C3%A9"),
            ("%2E", "%252E"),
            (
                "~*:'()!&@,;$?#\\{}^[]`\"<>|",
                "%7E%2A%3A%27%28%29%21%26%40%2C%3B%24%3F%23%5C%7B%7D%5E%5B%5D%60%22%3C%3E%7C",
            ),
        ];
        for (name, part) in table {
            assert_eq!(encode_part(name), part);
        }
    }

    #[test]
    fn a_folder_is_prefix_topic_and_partition() {
        let prefix: Prefix = "tdmq/".parse().unwrap();
        assert_eq!(
            partition_folder(&prefix, &topic("pulsar-abc", "prod", "orders"), 3),
            "tdmq/pulsar-abc/prod/orders/partition=3/"
        );
        assert_eq!(partition_folder(&Prefix::default(), &topic("t", "n", ".."), -1), "t/n/%2E%2E/partition=-1/");
    }

    #[test]
    fn the_longest_key_has_room_for_every_digit() {
        let id = format!("{:019}-{:019}-{:06}", i64::MAX, i64::MAX, 999_999);
        let key = format!("t/n/x/partition=99999/dt=2026-11-20/hour=11/{id}_{id}_{}.parquet.snappy", u32::MAX);
        assert!(longest_key(&Prefix::default(), &topic("t", "n", "x")) >= key.len());
    }

    proptest! {
        #[test]
        fn distinct_names_give_distinct_parts(a in any::<String>(), b in "[./%=a2EF]{0,4}", c in "[./%=a2EF]{0,4}") {
            prop_assert_eq!(encode_part(&a) == encode_part(&b), a == b);
            prop_assert_eq!(encode_part(&b) == encode_part(&c), b == c);
        }

        #[test]
        fn a_part_decodes_to_its_name(name in any::<String>()) {
            let part = encode_part(&name);
            prop_assert_eq!(percent_decode_str(&part).decode_utf8().unwrap(), name.as_str());
            prop_assert!(part.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_.%".contains(&byte)));
            prop_assert!(part != "." && part != "..");
        }

        #[test]
        fn distinct_topics_prefixes_and_partitions_give_distinct_folders(
            a in ("(p/){0,2}", "[./%=ab]{1,3}", "[./%=ab]{1,3}", "[./%=ab]{1,3}", -1..3i32),
            b in ("(p/){0,2}", "[./%=ab]{1,3}", "[./%=ab]{1,3}", "[./%=ab]{1,3}", -1..3i32),
        ) {
            let folder = |(prefix, t, n, x, partition): &(String, String, String, String, i32)| {
                partition_folder(&prefix.parse().unwrap(), &topic(t, n, x), *partition)
            };
            prop_assert_eq!(folder(&a) == folder(&b), a == b);
        }

        #[test]
        fn a_folder_stays_inside_its_prefix(t in "\\PC{1,9}", n in "\\PC{1,9}", x in any::<String>(), partition in -1..99_999i32) {
            let prefix: Prefix = "in/side/".parse().unwrap();
            let folder = partition_folder(&prefix, &topic(&t, &n, &x), partition);
            let inside = folder.strip_prefix(prefix.as_str()).unwrap();
            prop_assert_eq!(inside.matches('/').count(), 4);
            prop_assert!(inside.ends_with('/'));
            prop_assert!(inside.split('/').all(|part| part != "." && part != ".."));
            prop_assert!(folder.len() + LONGEST_OBJECT.len() <= longest_key(&prefix, &topic(&t, &n, &x)));
        }
    }
}

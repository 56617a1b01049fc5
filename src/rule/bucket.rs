//! Which bucket names fit which service.

use std::fmt;
use std::net::Ipv4Addr;

use super::values::{Malformed, refuse, shown};

/// The name of a bucket, as its service takes it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Bucket(String);

impl Bucket {
    /// `name` as a bucket of COS (`<name>-<appid>`), or of any other S3 service.
    pub(super) fn new(name: &str, cos: bool) -> Result<Self, Malformed> {
        let fits = if cos { is_cos_name(name) } else { is_s3_name(name) };
        match fits {
            true => Ok(Bucket(name.to_owned())),
            false if cos => refuse(format!(
                "must be <name>-<appid> of lower-case letters, digits and -, at most 63 characters, as the console \
                 shows it (\"orders-1250000000\"), unless endpoint names another store than COS; got {}",
                shown(name)
            )),
            false => refuse(format!(
                "must be 3 to 63 lower-case letters, digits, - and single dots, with a letter or digit at both ends, \
                 and not an IP address, got {}",
                shown(name)
            )),
        }
    }

    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Bucket {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

fn is_s3_name(name: &str) -> bool {
    let end = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit();
    (3..=63).contains(&name.len())
        && name.chars().all(|c| end(c) || c == '-' || c == '.')
        && name.starts_with(end)
        && name.ends_with(end)
        && !name.contains("..")
        && name.parse::<Ipv4Addr>().is_err()
}

fn is_cos_name(name: &str) -> bool {
    is_s3_name(name)
        && !name.contains('.')
        && name.rsplit_once('-').is_some_and(|(name, appid)| {
            !name.ends_with('-') && appid.len() >= 8 && appid.chars().all(|c| c.is_ascii_digit())
        })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bucket_names_follow_their_service() {
        for (name, cos, s3) in [
            ("orders-1250000000", true, true),
            ("a-b-1250000000", true, true),
            ("orders", false, true),
            ("my.bucket", false, true),
            ("a.b-1250000000", false, true),
            ("orders-12", false, true),
            ("orders--1250000000", false, true),
            ("-1250000000", false, false),
            ("ab", false, false),
            ("Orders-1250000000", false, false),
            ("a_b-1250000000", false, false),
            ("a..b", false, false),
            ("-ab", false, false),
            ("ab-", false, false),
            ("10.0.0.1", false, false),
            ("a/b", false, false),
        ] {
            assert_eq!(Bucket::new(name, true).is_ok(), cos, "{name}");
            assert_eq!(Bucket::new(name, false).is_ok(), s3, "{name}");
        }
        assert!(Bucket::new(&"a".repeat(64), false).is_err());
    }
}

//! Single values: how numbers, sizes, durations and words are written, and how a bad one is shown.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use super::Prefix;

/// Why a value was refused: what is allowed, what was found, what to do. Without the key.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct Malformed(String);

impl Malformed {
    pub(super) fn new(message: impl Into<String>) -> Self {
        Malformed(message.into())
    }
}

pub(super) fn refuse<T>(message: impl Into<String>) -> Result<T, Malformed> {
    Err(Malformed::new(message))
}

/// What was written for a key, before anything is known of the key.
#[derive(Clone, PartialEq)]
pub(super) enum Value {
    Text(String),
    Number(i64),
    /// A kind of value that no key takes, by its name.
    Other(&'static str),
}

/// As a message shows it.
impl fmt::Display for Value {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Value::Text(text) => f.write_str(&shown(text)),
            Value::Number(number) => number.fmt(f),
            Value::Other(kind) => f.write_str(kind),
        }
    }
}

/// `text` quoted, on one line, at most about 100 characters of it. What could be a token in the
/// wrong place, or a password in an address, is not shown.
pub(crate) fn shown(text: &str) -> String {
    if looks_like_a_token(text) || looks_like_a_key(text) || (text.contains(':') && text.contains('@')) {
        return "*** (not shown: it could be a secret)".into();
    }
    match text.char_indices().nth(100) {
        Some((end, _)) => format!("{:?}...", &text[..end]),
        None => format!("{text:?}"),
    }
}

/// Every JSON Web Token begins with this, `{"` in base64; the same letters inside a word are none.
pub(super) fn looks_like_a_token(text: &str) -> bool {
    text.match_indices("eyJ").any(|(at, _)| !text[..at].ends_with(|c: char| c.is_ascii_alphanumeric()))
}

/// The keys of both clouds are digits and letters of both cases, and of these lengths; session tokens are long.
fn looks_like_a_key(text: &str) -> bool {
    text.split(|c: char| !(c.is_ascii_alphanumeric() || matches!(c, '+' | '/' | '='))).any(|run| {
        let has = |kind: fn(&char) -> bool| run.chars().any(|c| kind(&c));
        matches!(run.len(), 32 | 36 | 40 | 100..)
            && has(char::is_ascii_digit)
            && has(char::is_ascii_uppercase)
            && has(char::is_ascii_lowercase)
    })
}

/// Text that is not blank, has no blanks around it and no control characters.
pub(super) fn text(value: &Value) -> Result<String, Malformed> {
    match value {
        Value::Text(text) if !text.is_empty() && text.trim() == text && !text.chars().any(char::is_control) => {
            Ok(text.clone())
        }
        other => refuse(format!("must be text in quotes, not empty, without spaces around it, got {other}")),
    }
}

/// Text in any form that `T` reads.
pub(super) fn parsed<T: FromStr<Err = Malformed>>(value: &Value) -> Result<T, Malformed> {
    match value {
        Value::Text(text) => text.parse(),
        other => refuse(format!("must be text in quotes, got {other}")),
    }
}

pub(super) fn number(value: &Value, least: u32, most: u32) -> Result<u32, Malformed> {
    let number = match value {
        Value::Number(number) => u32::try_from(*number).ok().filter(|number| (least..=most).contains(number)),
        _ => None,
    };
    number.ok_or_else(|| Malformed::new(format!("must be a whole number from {least} to {most}, got {value}")))
}

/// One of some words.
pub(super) fn choice<T: Copy>(value: &Value, words: &[(&str, T)]) -> Result<T, Malformed> {
    if let Value::Text(text) = value
        && let Some((_, meaning)) = words.iter().find(|(word, _)| word == text)
    {
        return Ok(*meaning);
    }
    let words: Vec<String> = words.iter().map(|(word, _)| format!("{word:?}")).collect();
    refuse(format!("must be one of {}, got {value}", words.join(", ")))
}

/// Bytes: a whole number, or text with a unit. Units count in 1,024s: `KB` 1,024, `MB` 1,048,576,
/// `GB` 1,073,741,824 bytes, so that `"500MB"` is 524,288,000.
pub(super) fn size(value: &Value, most: u64) -> Result<u64, Malformed> {
    let bytes = match value {
        Value::Number(number) => u64::try_from(*number).ok(),
        Value::Text(text) => sized(text),
        Value::Other(_) => None,
    };
    bytes.filter(|bytes| (1..=most).contains(bytes)).ok_or_else(|| {
        Malformed::new(format!(
            "must be 1 to {most} bytes, as a whole number or as text with B, KB, MB or GB, as in \"500MB\", got {value}"
        ))
    })
}

fn sized(text: &str) -> Option<u64> {
    let (digits, unit) = text.split_at(text.find(|c: char| !c.is_ascii_digit())?);
    let unit: u64 = match unit {
        "B" => 1,
        "KB" => 1 << 10,
        "MB" => 1 << 20,
        "GB" => 1 << 30,
        _ => return None,
    };
    digits.parse::<u64>().ok()?.checked_mul(unit)
}

/// 5 to 15 minutes in whole seconds, with `s`, `m` or `h`.
pub(super) fn interval(value: &Value) -> Result<Duration, Malformed> {
    let seconds = match value {
        Value::Text(text) => seconds(text),
        Value::Number(_) => {
            return refuse(format!("needs its unit, in quotes, as in \"5m\" or \"300s\", got {value}"));
        }
        Value::Other(_) => None,
    };
    let fits = seconds.filter(|seconds| (300..=900).contains(seconds));
    fits.map(Duration::from_secs).ok_or_else(|| {
        Malformed::new(format!("must be 5 to 15 minutes in whole seconds, as in \"5m\" or \"300s\", got {value}"))
    })
}

fn seconds(text: &str) -> Option<u64> {
    let (digits, unit) = text.split_at(text.find(|c: char| !c.is_ascii_digit())?);
    let unit: u64 = match unit {
        "s" => 1,
        "m" => 60,
        "h" => 3600,
        _ => return None,
    };
    digits.parse::<u64>().ok()?.checked_mul(unit)
}

impl FromStr for Prefix {
    type Err = Malformed;

    fn from_str(text: &str) -> Result<Self, Malformed> {
        let good = |part: &str| !matches!(part, "" | "." | "..") && !part.chars().any(char::is_control);
        if text.is_empty() || text.strip_suffix('/').is_some_and(|parts| parts.split('/').all(good)) {
            return Ok(Prefix(text.to_owned()));
        }
        refuse(format!(
            "must be empty or end with /, without a leading /, without empty, . or .. parts and control characters, \
             as in \"backup/tdmq/\", got {}",
            shown(text)
        ))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text_of(text: &str) -> Value {
        Value::Text(text.into())
    }

    #[test]
    fn sizes_count_in_1024s() {
        let table = [("1B", 1), ("2KB", 2048), ("500MB", 524_288_000), ("1GB", 1 << 30)];
        for (text, bytes) in table {
            assert_eq!(size(&text_of(text), u64::MAX).unwrap(), bytes);
        }
        assert_eq!(size(&Value::Number(7), 7).unwrap(), 7);
        for text in
            ["", "5", "MB", "5 MB", "5mb", "5MiB", "-5MB", "1.5MB", "99999999999999999999B", "18014398509481984KB"]
        {
            assert!(size(&text_of(text), u64::MAX).is_err(), "{text}");
        }
        for value in [Value::Number(0), Value::Number(-1), Value::Number(8), Value::Other("a list"), text_of("8B")] {
            assert!(size(&value, 7).is_err());
        }
    }

    #[test]
    fn an_interval_is_5_to_15_minutes_with_its_unit() {
        for (text, seconds) in [("5m", 300), ("300s", 300), ("15m", 900), ("301s", 301)] {
            assert_eq!(interval(&text_of(text)).unwrap(), Duration::from_secs(seconds));
        }
        for text in
            ["", "5", "m", "4m", "299s", "901s", "16m", "1h", "5.5m", "300000ms", "5 m", "99999999999999999999h"]
        {
            assert!(interval(&text_of(text)).is_err(), "{text}");
        }
        let problem = interval(&text_of("3m")).unwrap_err().to_string();
        assert_eq!(problem, r#"must be 5 to 15 minutes in whole seconds, as in "5m" or "300s", got "3m""#);
        assert!(interval(&Value::Number(5)).unwrap_err().to_string().contains("unit"));
    }

    #[test]
    fn a_prefix_is_empty_or_a_folder_inside_the_bucket() {
        for text in ["", "a/", "a/b/", "a b/", "é/", ".../", "dt=1/"] {
            assert_eq!(text.parse::<Prefix>().unwrap().as_str(), text);
        }
        for text in ["/", "a", "/a/", "a//", "//", "./", "../", "a/../b/", "a/./", "a\n/", "a\u{7f}/"] {
            assert!(text.parse::<Prefix>().is_err(), "{text}");
        }
    }

    #[test]
    fn a_shown_value_is_short_and_on_one_line_and_never_a_secret() {
        assert_eq!(shown("a\nb"), r#""a\nb""#);
        assert!(shown(&"é".repeat(5000)).chars().count() < 110);
        for secret in ["eyJhbGciOi.eyJzdWIi.x", "token:eyJhbGciOi", "pulsar://user:password@host"] {
            assert!(shown(secret).starts_with("***"));
        }
        assert_eq!(shown("/secrets/keyJar"), r#""/secrets/keyJar""#);
    }
}

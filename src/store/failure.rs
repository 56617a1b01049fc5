//! What a refusal, or silence, means.
//!
//! Owns: reading a refusal, and the texts. Does not own: the table of codes ([`meaning`]), when a request is
//! given up, or what a caller makes of a missing key.
//!
//! A text holds the operation, the key, the status, the code, the store's own message and the request id;
//! never a header, a credential or a signed URL.

mod meaning;

use std::time::Duration;

use chrono::{DateTime, NaiveDateTime};
use hyper::{HeaderMap, Uri};

use super::credentials::Keys;
use super::limits::Cut;
use crate::{Error, Kind};

pub(super) use meaning::{Again, Meaning};

/// A request that did not succeed.
#[derive(Debug)]
pub(super) struct Failure {
    pub meaning: Meaning,
    /// The same request was sent before, and nobody knows what became of it.
    pub doubt: bool,
    /// How long the store asks to be left alone.
    pub retry_after: Option<Duration>,
    ends_instance: bool,
    write: bool,
    text: String,
    source: Option<String>,
}

/// What was being done, for texts.
#[derive(Clone, Debug)]
pub(super) struct Doing {
    /// `read`, `write`, `look at` …
    pub verb: &'static str,
    /// The key, or the prefix of a listing.
    pub key: String,
    pub bucket: String,
    /// Whether the key may hold something else after it.
    pub write: bool,
}

impl Doing {
    pub fn fails(&self, meaning: Meaning, why: &str) -> Failure {
        let text = format!("cannot {} `{}` in bucket `{}`: {why}", self.verb, self.key, self.bucket);
        Failure {
            meaning,
            doubt: false,
            retry_after: None,
            ends_instance: meaning == Meaning::ExpiredToken,
            write: self.write,
            text,
            source: None,
        }
    }

    /// The request was given up.
    pub fn cut(&self, cut: Cut, sent: bool) -> Failure {
        let why = match (cut, sent) {
            (Cut::Deadline, true) => "no answer before the deadline",
            (Cut::Deadline, false) => "nothing was sent before the deadline",
            (Cut::Stalled, true) => "the store stopped answering",
            (Cut::Stalled, false) => "the store did not take a byte",
        };
        self.fails(if sent { Meaning::Unanswered } else { Meaning::NotSent }, why)
    }

    /// The store answered with something else than success to a request that was signed at `signed`, as in
    /// `x-amz-date`.
    pub fn refused(&self, status: u16, headers: &HeaderMap, body: &[u8], keys: &Keys, signed: &str) -> Failure {
        let body = String::from_utf8_lossy(body);
        let code = element(&body, "Code").unwrap_or_default();
        let meaning = Meaning::of(status, &code);
        // A part of a secret would not be recognised: first that, then the length.
        let said = |text: &str, most| tidy(&keys.redact(text), most);
        let named = |names: &[&str]| names.iter().find_map(|name| headers.get(*name)?.to_str().ok()).map(str::to_owned);
        let mut why = format!("{status}");
        if !code.is_empty() {
            why += &format!(" {}", said(&code, 60));
        }
        if let Some(message) = element(&body, "Message").filter(|text| !text.is_empty()) {
            why += &format!(", {}", said(&message, 300).trim_end_matches('.'));
        }
        if meaning == Meaning::Elsewhere {
            let region = element(&body, "Region").or_else(|| named(&["x-amz-bucket-region", "x-cos-bucket-region"]));
            // Of a location no more than its host: the rest may hold a signature.
            let host = || named(&["location"])?.parse::<Uri>().ok()?.host().map(str::to_owned);
            let endpoint = element(&body, "Endpoint").or_else(host);
            let found = [endpoint.map(|it| format!("endpoint {it}")), region.map(|it| format!("region {it}"))];
            let found: Vec<String> = found.into_iter().flatten().map(|text| said(&text, 120)).collect();
            if !found.is_empty() {
                why += &format!(", the store names {}", found.join(" and "));
            }
        }
        let id = element(&body, "RequestId").or_else(|| named(&["x-amz-request-id", "x-cos-request-id"]));
        if let Some(id) = id.filter(|id| !id.is_empty()) {
            why += &format!(" (request {})", said(&id, 80));
        }
        if let Some(advice) = meaning.advice() {
            why += &format!(": {advice}");
        }
        if meaning == Meaning::Skewed
            && let Some(ahead) = named(&["date"]).and_then(|date| ahead(signed, &date))
        {
            let side = if ahead < 0 { "behind" } else { "ahead of" };
            why += &format!(" (it is {} s {side} the store's)", ahead.unsigned_abs());
        }
        let mut failure = self.fails(meaning, &why);
        failure.retry_after = named(&["retry-after"]).and_then(|text| Some(Duration::from_secs(text.parse().ok()?)));
        // A store may forget temporary keys that have ended.
        failure.ends_instance |= meaning == Meaning::BadKeys && keys.are_temporary();
        failure
    }
}

impl Failure {
    pub fn because(mut self, source: String) -> Self {
        self.source = Some(source);
        self
    }

    pub fn into_error(self) -> Error {
        let kind = self.kind();
        let error = Error::new(kind, self.text);
        let error = if self.ends_instance { error.ending_instance() } else { error };
        match self.source {
            Some(source) => error.because(source),
            None => error,
        }
    }

    /// The last of `tries`, of which an earlier one may have been carried out.
    pub fn after(mut self, tries: u32, doubt: bool) -> Self {
        self.doubt = doubt;
        if tries > 1 {
            self.text += &format!(" (tried {tries} times)");
        }
        self
    }

    /// Whether this was a write whose object may be in the store all the same: then a look decides.
    pub fn may_be_stored(&self) -> bool {
        self.write && (self.doubt || self.meaning.may_be_stored())
    }

    pub fn kind(&self) -> Kind {
        if self.write && self.doubt { Kind::Unknown } else { self.meaning.kind(self.write) }
    }
}

/// By how many seconds the clock that signed at `signed` is ahead of the one that answered at `date`.
fn ahead(signed: &str, date: &str) -> Option<i64> {
    let signed = NaiveDateTime::parse_from_str(signed, "%Y%m%dT%H%M%SZ").ok()?.and_utc();
    Some((signed - DateTime::parse_from_rfc2822(date).ok()?.to_utc()).num_seconds())
}

/// The text of the first element of this name. Error documents are flat; a parser that can fail on one
/// would hide the very code it was asked for.
fn element(body: &str, name: &str) -> Option<String> {
    let (_, rest) = body.split_once(&format!("<{name}>"))?;
    let (text, _) = rest.split_once(&format!("</{name}>"))?;
    Some(
        text.replace("&lt;", "<")
            .replace("&gt;", ">")
            .replace("&quot;", "\"")
            .replace("&#34;", "\"")
            .replace("&apos;", "'")
            .replace("&amp;", "&"),
    )
}

/// One line of at most `most` characters.
fn tidy(text: &str, most: usize) -> String {
    text.chars().map(|c| if c.is_control() { ' ' } else { c }).take(most).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn doing(write: bool) -> Doing {
        Doing { verb: "write", key: "a/b".to_owned(), bucket: "orders".to_owned(), write }
    }

    fn answered(doing: &Doing, status: u16, headers: &[(&'static str, &str)], body: &str, keys: &Keys) -> Failure {
        let headers = headers.iter().map(|(name, value)| (name.parse().unwrap(), value.parse().unwrap())).collect();
        doing.refused(status, &headers, body.as_bytes(), keys, "20261121T100000Z")
    }

    fn refused(status: u16, code: &str, write: bool) -> Failure {
        let body = format!("<Error><Code>{code}</Code><Message>because.</Message><RequestId>R1</RequestId></Error>");
        answered(&doing(write), status, &[], &body, &Keys::new("id", "marker-secret", None))
    }

    #[test]
    fn each_code_gives_the_order_that_ends_it() {
        for (status, code, kind, said) in [
            (403, "AccessDenied", Kind::Denied, "PutObject"),
            (403, "InvalidObjectState", Kind::Unavailable, "restore it"),
            (403, "InvalidAccessKeyId", Kind::Denied, "keys of this store"),
            (403, "SignatureDoesNotMatch", Kind::Denied, "secret key"),
            (400, "ExpiredToken", Kind::Denied, "this instance must end"),
            (403, "PathStyleDomainForbidden", Kind::Denied, "addressing = \"virtual\""),
            (404, "NoSuchBucket", Kind::NotFound, "create the bucket"),
            (412, "PreconditionFailed", Kind::Conflict, "412"),
            (409, "ConditionalRequestConflict", Kind::Conflict, "409"),
            (409, "FileAlreadyExists", Kind::Conflict, "409"),
            (403, "RequestTimeTooSkewed", Kind::Unavailable, "clock"),
            (400, "RequestExpired", Kind::Unavailable, "clock"),
            (404, "NoSuchUpload", Kind::Busy, "next run"),
            (400, "InvalidPart", Kind::Unavailable, "InvalidPart"),
            (503, "SlowDown", Kind::Unavailable, "503"),
            (500, "InternalError", Kind::Unavailable, "500"),
            (429, "", Kind::Unavailable, "429"),
            (400, "BadDigest", Kind::Unavailable, "BadDigest"),
            (301, "PermanentRedirect", Kind::Invalid, "`endpoint`"),
            (400, "EntityTooLarge", Kind::Invalid, "EntityTooLarge"),
            (504, "", Kind::Unknown, "504"),
        ] {
            let error = refused(status, code, true).into_error();
            assert_eq!(error.kind(), kind, "{status} {code}");
            for part in [said, "`a/b`", "orders", "because", "R1"] {
                assert!(error.chain().contains(part), "{}", error.chain());
            }
        }
    }

    #[test]
    fn silence_is_unknown_only_where_something_was_written() {
        assert_eq!(doing(true).cut(Cut::Deadline, true).kind(), Kind::Unknown);
        assert_eq!(doing(true).cut(Cut::Stalled, false).kind(), Kind::Unavailable);
        assert_eq!(doing(false).cut(Cut::Stalled, true).kind(), Kind::Unavailable);
    }

    #[test]
    fn a_redirect_says_where_the_bucket_is() {
        let body = "<Error><Code>PermanentRedirect</Code><Endpoint>orders.s3.eu.example</Endpoint></Error>";
        let location = ("location", "https://orders.s3.eu.example/a?X-Amz-Signature=marker");
        for (body, headers) in [
            (body, [("x-amz-bucket-region", "eu-west-1"), ("server", "s3")]),
            ("", [("x-cos-bucket-region", "eu-west-1"), location]),
        ] {
            let text = answered(&doing(true), 301, &headers, body, &Keys::new("id", "key", None)).into_error().chain();
            assert!(text.contains("endpoint orders.s3.eu.example") && text.contains("region eu-west-1"), "{text}");
            assert!(!text.contains("marker"), "{text}");
        }
    }

    #[test]
    fn a_wrong_clock_is_told_by_how_much() {
        let body = "<Error><Code>RequestTimeTooSkewed</Code></Error>";
        for (date, said) in [
            ("Sat, 21 Nov 2026 09:00:00 GMT", "3600 s ahead of the store's"),
            ("Sat, 21 Nov 2026 10:20:05 GMT", "1205 s behind the store's"),
            ("yesterday", "set the clock"),
        ] {
            let keys = Keys::new("id", "key", None);
            let text = answered(&doing(false), 403, &[("date", date)], body, &keys).into_error().chain();
            assert!(text.contains(said), "{text}");
        }
    }

    #[test]
    fn keys_that_only_a_new_process_can_replace_end_the_instance() {
        let temporary = Keys::new("id", "key", Some("token".to_owned()));
        let own = Keys::new("id", "key", None);
        for (code, keys, ends) in [
            ("ExpiredToken", &temporary, true),
            ("ExpiredToken", &own, true),
            ("InvalidAccessKeyId", &temporary, true),
            ("InvalidAccessKeyId", &own, false),
            ("AccessDenied", &temporary, false),
        ] {
            let body = format!("<Error><Code>{code}</Code></Error>");
            let error = answered(&doing(true), 403, &[], &body, keys).into_error();
            assert_eq!(error.ends_instance(), ends, "{code}");
            assert_eq!(Error::new(Kind::Unknown, "a look").because(error).ends_instance(), ends, "{code}");
        }
    }

    #[test]
    fn what_a_store_repeats_of_the_keys_is_taken_out() {
        let keys = Keys::new("id", "marker-secret", None);
        // Also where the text is cut in the middle of it.
        for before in 0..310 {
            let before = "x".repeat(before);
            let body = format!("<Error><Code>AccessDenied</Code><Message>{before}marker-secret</Message></Error>");
            let error = answered(&doing(true), 403, &[], &body, &keys).into_error();
            assert!(!error.chain().contains("mark"), "{}", error.chain());
        }
    }

    #[test]
    fn a_status_without_a_body_is_enough() {
        let keys = Keys::new("id", "key", None);
        let of = |status, write| answered(&doing(write), status, &[], "", &keys).meaning;
        assert_eq!(of(404, false), Meaning::Missing);
        assert_eq!(of(403, false), Meaning::Forbidden);
        assert_eq!(of(307, false), Meaning::Elsewhere);
    }
}

//! What a refusal, or silence, means.
//!
//! Owns: reading a refusal, and the texts. Does not own: the table of codes ([`meaning`]), when a request is
//! given up, or what a caller makes of a missing key.
//!
//! A text holds the operation, the key, the status, the code, the store's own message and the request id;
//! never a header, a credential or a signed URL.

mod meaning;

use hyper::HeaderMap;

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
        Failure { meaning, doubt: false, write: self.write, text, source: None }
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

    /// The store answered with a status that is not success.
    pub fn refused(&self, status: u16, headers: &HeaderMap, body: &[u8], keys: &Keys) -> Failure {
        let body = String::from_utf8_lossy(body);
        let code = element(&body, "Code").unwrap_or_default();
        let meaning = Meaning::of(status, &code);
        let named =
            |names: &[&str]| names.iter().find_map(|name| headers.get(*name)?.to_str().ok()).map(|text| tidy(text, 80));
        let mut why = format!("{status}");
        if !code.is_empty() {
            why += &format!(" {}", tidy(&code, 60));
        }
        if let Some(message) = element(&body, "Message").filter(|text| !text.is_empty()) {
            why += &format!(", {}", tidy(&message, 300).trim_end_matches('.'));
        }
        if meaning == Meaning::Elsewhere {
            let region = element(&body, "Region").or_else(|| named(&["x-amz-bucket-region"]));
            let endpoint = element(&body, "Endpoint");
            let found = [endpoint.map(|it| format!("endpoint {it}")), region.map(|it| format!("region {it}"))];
            let found: Vec<String> = found.into_iter().flatten().map(|text| tidy(&text, 120)).collect();
            if !found.is_empty() {
                why += &format!(", the store names {}", found.join(" and "));
            }
        }
        let id = element(&body, "RequestId").or_else(|| named(&["x-amz-request-id", "x-cos-request-id"]));
        if let Some(id) = id.filter(|id| !id.is_empty()) {
            why += &format!(" (request {})", tidy(&id, 80));
        }
        if let Some(advice) = meaning.advice() {
            why += &format!(": {advice}");
        }
        self.fails(meaning, &keys.redact(&why))
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

/// Whether an answer that says success holds an error all the same.
pub(super) fn holds_error(body: &[u8]) -> bool {
    // Anywhere: a store that works long on an answer sends spaces meanwhile.
    let text = String::from_utf8_lossy(body);
    text.contains("<Error>") || text.contains("<Error ")
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

    fn refused(status: u16, code: &str, write: bool) -> Failure {
        let body = format!("<Error><Code>{code}</Code><Message>because.</Message><RequestId>R1</RequestId></Error>");
        doing(write).refused(status, &HeaderMap::new(), body.as_bytes(), &Keys::new("id", "marker-secret", None))
    }

    #[test]
    fn each_code_gives_the_order_that_ends_it() {
        for (status, code, kind, said) in [
            (403, "AccessDenied", Kind::Denied, "PutObject"),
            (403, "InvalidAccessKeyId", Kind::Denied, "keys of this store"),
            (403, "SignatureDoesNotMatch", Kind::Denied, "secret key"),
            (400, "ExpiredToken", Kind::Denied, "this instance must end"),
            (403, "PathStyleDomainForbidden", Kind::Denied, "addressing = \"virtual\""),
            (404, "NoSuchBucket", Kind::NotFound, "create the bucket"),
            (412, "PreconditionFailed", Kind::Conflict, "412"),
            (409, "ConditionalRequestConflict", Kind::Conflict, "409"),
            (409, "FileAlreadyExists", Kind::Conflict, "409"),
            (403, "RequestTimeTooSkewed", Kind::Unavailable, "clock"),
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
        let body = b"<Error><Code>PermanentRedirect</Code><Endpoint>orders.s3.eu.example</Endpoint></Error>";
        let mut headers = HeaderMap::new();
        headers.insert("x-amz-bucket-region", "eu-west-1".parse().unwrap());
        let text = doing(true).refused(301, &headers, body, &Keys::new("id", "key", None)).into_error().chain();
        assert!(text.contains("endpoint orders.s3.eu.example") && text.contains("region eu-west-1"), "{text}");
    }

    #[test]
    fn what_a_store_repeats_of_the_keys_is_taken_out() {
        let body = b"<Error><Code>AccessDenied</Code><Message>you sent marker-secret</Message></Error>";
        let keys = Keys::new("id", "marker-secret", None);
        let error = doing(true).refused(403, &HeaderMap::new(), body, &keys).into_error();
        assert!(!error.chain().contains("marker"), "{}", error.chain());
    }

    #[test]
    fn a_status_without_a_body_is_enough() {
        let keys = Keys::new("id", "key", None);
        let of = |status, write| doing(write).refused(status, &HeaderMap::new(), b"", &keys).meaning;
        assert_eq!(of(404, false), Meaning::Missing);
        assert_eq!(of(403, false), Meaning::Forbidden);
        assert_eq!(of(307, false), Meaning::Elsewhere);
    }
}

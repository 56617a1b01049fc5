//! What a refusal, or silence, means.
//!
//! Owns: the table from status and `<Code>` to a [`Meaning`], and from there to the order that the reader
//! gets. Does not own: when a request is given up, or what a caller makes of a missing key. The codes are those of
//! the S3 and COS error references.
//!
//! A text holds the operation, the key, the status, the code, the store's own message and the request id;
//! never a header, a credential or a signed URL.

use hyper::HeaderMap;

use super::credentials::Keys;
use super::limits::Cut;
use crate::{Error, Kind};

/// What a failed request says about the store.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Meaning {
    NoSuchKey,
    NoSuchBucket,
    /// The condition of a write did not hold.
    Precondition,
    /// Another write of the same key was under way.
    Contended,
    /// The store does not know what was asked for, such as a condition.
    Unsupported,
    Forbidden,
    BadKeys,
    BadSignature,
    ExpiredToken,
    PathStyle,
    Skewed,
    /// The bucket lives elsewhere.
    Elsewhere,
    /// The store asks for fewer requests.
    Slow,
    /// The store, or something before it, broke while it worked.
    Broken,
    /// Something before the store did not wait for its answer.
    Gateway,
    /// The bytes did not arrive as they were sent.
    Damaged,
    /// Any other refusal: asking again would be refused again.
    Rejected,
    /// No byte of it left this program.
    NotSent,
    /// Sent, at least partly, and not answered to the end.
    Unanswered,
    /// The answer is longer than it can rightly be.
    Oversized,
    /// The answer is not what the protocol says.
    Garbled,
}

/// A request that did not succeed.
#[derive(Debug)]
pub(super) struct Failure {
    pub meaning: Meaning,
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
    pub write: bool,
}

impl Doing {
    pub fn fails(&self, meaning: Meaning, why: &str) -> Failure {
        let text = format!("cannot {} `{}` in bucket `{}`: {why}", self.verb, self.key, self.bucket);
        Failure { meaning, write: self.write, text, source: None }
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
        let meaning = meaning(status, &code, self.write);
        let named = |names: &[&str]| {
            names.iter().find_map(|name| headers.get(*name)?.to_str().ok()).map(|text| tidy(text, 80))
        };
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
        if let Some(advice) = advice(meaning) {
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

    pub fn kind(&self) -> Kind {
        match self.meaning {
            Meaning::NoSuchKey | Meaning::NoSuchBucket => Kind::NotFound,
            Meaning::Precondition | Meaning::Contended => Kind::Conflict,
            Meaning::Forbidden
            | Meaning::BadKeys
            | Meaning::BadSignature
            | Meaning::ExpiredToken
            | Meaning::PathStyle => Kind::Denied,
            Meaning::Unsupported | Meaning::Elsewhere | Meaning::Rejected => Kind::Invalid,
            Meaning::Skewed | Meaning::Slow | Meaning::Broken | Meaning::Damaged | Meaning::NotSent => Kind::Unavailable,
            Meaning::Gateway | Meaning::Unanswered | Meaning::Garbled if self.write => Kind::Unknown,
            Meaning::Gateway | Meaning::Unanswered | Meaning::Garbled => Kind::Unavailable,
            Meaning::Oversized => Kind::Corrupt,
        }
    }

    /// Whether the object of a failed write may be in the store all the same: then a look decides.
    pub fn may_be_stored(&self) -> bool {
        match self.meaning {
            Meaning::Precondition
            | Meaning::Contended
            | Meaning::Broken
            | Meaning::Gateway
            | Meaning::Unanswered
            | Meaning::Oversized
            | Meaning::Garbled => true,
            Meaning::NoSuchKey
            | Meaning::NoSuchBucket
            | Meaning::Unsupported
            | Meaning::Forbidden
            | Meaning::BadKeys
            | Meaning::BadSignature
            | Meaning::ExpiredToken
            | Meaning::PathStyle
            | Meaning::Skewed
            | Meaning::Elsewhere
            | Meaning::Slow
            | Meaning::Damaged
            | Meaning::Rejected
            | Meaning::NotSent => false,
        }
    }
}

/// By the code where there is one; by the status where there is none (the answer to a HEAD) or it is new.
fn meaning(status: u16, code: &str, write: bool) -> Meaning {
    match code {
        "NoSuchBucket" => Meaning::NoSuchBucket,
        "NoSuchKey" => Meaning::NoSuchKey,
        "PreconditionFailed" | "FileAlreadyExists" => Meaning::Precondition,
        "ConditionalRequestConflict" | "OperationAborted" => Meaning::Contended,
        "NotImplemented" => Meaning::Unsupported,
        "InvalidAccessKeyId" | "InvalidToken" | "NotSignedUp" => Meaning::BadKeys,
        "SignatureDoesNotMatch" => Meaning::BadSignature,
        "ExpiredToken" | "TokenRefreshRequired" | "RequestExpired" => Meaning::ExpiredToken,
        "PathStyleDomainForbidden" => Meaning::PathStyle,
        "RequestTimeTooSkewed" => Meaning::Skewed,
        "PermanentRedirect"
        | "TemporaryRedirect"
        | "Redirect"
        | "AuthorizationHeaderMalformed"
        | "IncorrectEndpoint"
        | "IllegalLocationConstraintException" => Meaning::Elsewhere,
        "SlowDown" | "ServiceUnavailable" | "TooManyRequests" | "RequestLimitExceeded" => Meaning::Slow,
        "InternalError" => Meaning::Broken,
        "BadDigest" | "IncompleteBody" | "RequestTimeout" => Meaning::Damaged,
        _ => match status {
            300..=399 => Meaning::Elsewhere,
            401 | 403 => Meaning::Forbidden,
            404 if write => Meaning::NoSuchBucket,
            404 => Meaning::NoSuchKey,
            408 => Meaning::Damaged,
            409 => Meaning::Contended,
            412 => Meaning::Precondition,
            429 | 503 => Meaning::Slow,
            500 => Meaning::Broken,
            501 => Meaning::Unsupported,
            400..=499 => Meaning::Rejected,
            502.. => Meaning::Gateway,
            _ => Meaning::Garbled,
        },
    }
}

/// What the reader can do, beyond what the kind says.
fn advice(meaning: Meaning) -> Option<&'static str> {
    Some(match meaning {
        Meaning::NoSuchBucket => "create the bucket or mend `bucket` and `region`",
        Meaning::Forbidden => {
            "grant the role or the key GetObject, PutObject and ListBucket on this bucket and prefix (without \
             ListBucket a missing key is answered the same way)"
        }
        Meaning::BadKeys => "the store does not know this key or token: set the keys of this store's own cloud",
        Meaning::BadSignature => "the secret key does not belong to the key id, or something changed the request on its way",
        Meaning::ExpiredToken => "the temporary credentials have ended: the platform gives new ones, by hand set new ones",
        Meaning::PathStyle => "set addressing = \"virtual\"",
        Meaning::Skewed => "this machine's clock and the store's are too far apart: set the clock",
        Meaning::Elsewhere => "set `region` and `endpoint` to where the bucket is",
        Meaning::Unsupported => "this store does not offer what was asked for",
        Meaning::Rejected => "mend the rule, the store would refuse it again",
        Meaning::NoSuchKey
        | Meaning::Precondition
        | Meaning::Contended
        | Meaning::Slow
        | Meaning::Broken
        | Meaning::Gateway
        | Meaning::Damaged
        | Meaning::NotSent
        | Meaning::Unanswered
        | Meaning::Oversized
        | Meaning::Garbled => return None,
    })
}

/// Whether an answer that says success holds an error all the same.
pub(super) fn holds_error(body: &[u8]) -> bool {
    let head = String::from_utf8_lossy(&body[..body.len().min(512)]);
    head.contains("<Error>") || head.contains("<Error ")
}

/// The text of the first element of this name. Error documents are flat; a parser that can fail on one
/// would hide the very code it was asked for.
fn element(body: &str, name: &str) -> Option<String> {
    let (_, rest) = body.split_once(&format!("<{name}>"))?;
    let (text, _) = rest.split_once(&format!("</{name}>"))?;
    Some(text.replace("&lt;", "<").replace("&gt;", ">").replace("&quot;", "\"").replace("&apos;", "'").replace("&amp;", "&"))
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
            (400, "ExpiredToken", Kind::Denied, "temporary credentials"),
            (403, "PathStyleDomainForbidden", Kind::Denied, "addressing = \"virtual\""),
            (404, "NoSuchBucket", Kind::NotFound, "create the bucket"),
            (412, "PreconditionFailed", Kind::Conflict, "412"),
            (409, "ConditionalRequestConflict", Kind::Conflict, "409"),
            (409, "FileAlreadyExists", Kind::Conflict, "409"),
            (403, "RequestTimeTooSkewed", Kind::Unavailable, "clock"),
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
        assert_eq!(of(404, false), Meaning::NoSuchKey);
        assert_eq!(of(404, true), Meaning::NoSuchBucket);
        assert_eq!(of(403, false), Meaning::Forbidden);
        assert_eq!(of(307, false), Meaning::Elsewhere);
    }
}

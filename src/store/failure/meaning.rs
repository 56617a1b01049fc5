//! The table from a status and a `<Code>` to what it means, and from there to the order that the reader gets.
//!
//! Owns: every such decision, each an exhaustive match. The codes are those of the S3 and COS error references.

use crate::Kind;

/// What a failed request says about the store.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::store) enum Meaning {
    NoSuchKey,
    NoSuchBucket,
    /// 404 without a code that says what is missing.
    Missing,
    /// The condition of a write did not hold.
    Precondition,
    /// Another write of the same key was under way.
    Contended,
    /// The multipart upload is finished, or was ended.
    NoSuchUpload,
    /// The store does not know what was asked for, such as a condition.
    Unsupported,
    Forbidden,
    /// The object lies in a storage class that has to be asked for it hours before.
    Archived,
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
    /// Our own bytes could not be read to their end, so no store can have all of them.
    Unread,
    /// No byte of it left this program.
    NotSent,
    /// Sent, at least partly, and not answered to the end.
    Unanswered,
    /// The object is longer than it can rightly be.
    Oversized,
    /// The answer is not what the protocol says.
    Garbled,
}

/// What sending the same request again would meet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::store) enum Again {
    /// The same answer.
    Pointless,
    /// The store did nothing, and may do it now.
    Undone,
    /// The same, and a multipart upload has to begin anew for it.
    Anew,
    /// The first may have been carried out.
    Unsure,
}

impl Meaning {
    /// By the code where there is one; by the status where there is none or it is new. A status of 404 alone is
    /// no proof that a key is missing: stores answer it for an unknown access key, proxies for their own reasons.
    pub fn of(status: u16, code: &str) -> Meaning {
        match code {
            "NoSuchBucket" => Meaning::NoSuchBucket,
            "NoSuchKey" => Meaning::NoSuchKey,
            "NoSuchUpload" => Meaning::NoSuchUpload,
            "PreconditionFailed" | "FileAlreadyExists" => Meaning::Precondition,
            "ConditionalRequestConflict" | "OperationAborted" => Meaning::Contended,
            "NotImplemented" => Meaning::Unsupported,
            // The third is s3s's, the fourth versitygw's, the fifth MinIO's.
            "InvalidAccessKeyId" | "InvalidToken" | "NotSignedUp" | "XAdminUserNotFound" | "InvalidTokenId" => {
                Meaning::BadKeys
            }
            // versitygw's, whose keys are paths of files: a conflict that no waiting ends.
            "ObjectParentIsFile" | "ExistingObjectIsDirectory" => Meaning::Rejected,
            "InvalidObjectState" => Meaning::Archived,
            "AccessDenied" => Meaning::Forbidden,
            "SignatureDoesNotMatch" => Meaning::BadSignature,
            "ExpiredToken" | "TokenRefreshRequired" => Meaning::ExpiredToken,
            "PathStyleDomainForbidden" => Meaning::PathStyle,
            // The second is AWS's word for a request that is signed too long ago, as a frozen function sends it.
            "RequestTimeTooSkewed" | "RequestExpired" => Meaning::Skewed,
            "PermanentRedirect"
            | "TemporaryRedirect"
            | "Redirect"
            | "AuthorizationHeaderMalformed"
            | "IncorrectEndpoint"
            | "IllegalLocationConstraintException" => Meaning::Elsewhere,
            "SlowDown" | "ServiceUnavailable" | "TooManyRequests" | "RequestLimitExceeded" => Meaning::Slow,
            "InternalError" => Meaning::Broken,
            "BadDigest" | "IncompleteBody" | "InvalidPart" | "RequestTimeout" => Meaning::Damaged,
            _ => match status {
                300..=399 => Meaning::Elsewhere,
                401 | 403 => Meaning::Forbidden,
                404 => Meaning::Missing,
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

    /// The order that the reader gets. Silence about a write is not the same as silence about a read.
    pub fn kind(self, write: bool) -> Kind {
        match self {
            Meaning::NoSuchKey | Meaning::NoSuchBucket | Meaning::Missing => Kind::NotFound,
            Meaning::Precondition | Meaning::Contended => Kind::Conflict,
            Meaning::NoSuchUpload => Kind::Busy,
            Meaning::Forbidden
            | Meaning::BadKeys
            | Meaning::BadSignature
            | Meaning::ExpiredToken
            | Meaning::PathStyle => Kind::Denied,
            Meaning::Unsupported | Meaning::Elsewhere | Meaning::Rejected => Kind::Invalid,
            Meaning::Archived
            | Meaning::Skewed
            | Meaning::Slow
            | Meaning::Broken
            | Meaning::Damaged
            | Meaning::Unread
            | Meaning::NotSent => Kind::Unavailable,
            Meaning::Gateway | Meaning::Unanswered | Meaning::Garbled if write => Kind::Unknown,
            Meaning::Gateway | Meaning::Unanswered | Meaning::Garbled => Kind::Unavailable,
            Meaning::Oversized => Kind::Corrupt,
        }
    }

    /// Whether a write that failed like this may have happened.
    pub fn may_be_stored(self) -> bool {
        match self {
            Meaning::Precondition
            | Meaning::Contended
            | Meaning::NoSuchUpload
            | Meaning::Broken
            | Meaning::Gateway
            | Meaning::Unanswered
            | Meaning::Garbled => true,
            Meaning::NoSuchKey
            | Meaning::NoSuchBucket
            | Meaning::Missing
            | Meaning::Unsupported
            | Meaning::Forbidden
            | Meaning::Archived
            | Meaning::BadKeys
            | Meaning::BadSignature
            | Meaning::ExpiredToken
            | Meaning::PathStyle
            | Meaning::Skewed
            | Meaning::Elsewhere
            | Meaning::Slow
            | Meaning::Damaged
            | Meaning::Rejected
            | Meaning::Unread
            | Meaning::Oversized
            | Meaning::NotSent => false,
        }
    }

    /// Every meaning stands here by its name: what is tried again is a list, not a rest.
    pub fn again(self) -> Again {
        match self {
            // A frozen function wakes with a request that it signed long ago: the next one has the present time.
            Meaning::Skewed | Meaning::Slow | Meaning::Damaged | Meaning::NotSent => Again::Undone,
            Meaning::Contended => Again::Anew,
            Meaning::Broken | Meaning::Gateway | Meaning::Unanswered => Again::Unsure,
            Meaning::NoSuchKey
            | Meaning::NoSuchBucket
            | Meaning::Missing
            | Meaning::Precondition
            | Meaning::NoSuchUpload
            | Meaning::Unsupported
            | Meaning::Forbidden
            | Meaning::Archived
            | Meaning::BadKeys
            | Meaning::BadSignature
            | Meaning::ExpiredToken
            | Meaning::PathStyle
            | Meaning::Elsewhere
            | Meaning::Rejected
            | Meaning::Unread
            | Meaning::Oversized
            | Meaning::Garbled => Again::Pointless,
        }
    }

    /// What the reader can do, beyond what the kind says.
    pub fn advice(self) -> Option<&'static str> {
        Some(match self {
            Meaning::NoSuchBucket => "create the bucket or mend `bucket` and `region`",
            Meaning::Missing => "see that `endpoint`, `addressing` and `bucket` belong together",
            Meaning::Forbidden => {
                "grant the role or the key GetObject, PutObject and ListBucket on this bucket and prefix, and what the \
                 README names for uploads in parts (without ListBucket a missing key is answered the same way)"
            }
            Meaning::Archived => {
                "the object was moved to an archive, and has to be read because the broker delivers its entries again: \
                 restore it for some days; a lifecycle rule may move objects to classes that can be read at once"
            }
            Meaning::BadKeys => "the store does not know this key or token: set the keys of this store's own cloud",
            Meaning::BadSignature => {
                "the secret key does not belong to the key id, or something changed the request on its way"
            }
            Meaning::ExpiredToken => {
                "the temporary credentials have ended: this instance must end, a new one gets new ones; by hand set \
                 new ones"
            }
            Meaning::PathStyle => "set addressing = \"virtual\"",
            Meaning::Skewed => "this machine's clock and the store's are too far apart: set the clock",
            Meaning::NoSuchUpload => "another run ended this upload, or finished it: the next run finds out",
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
            | Meaning::Unread
            | Meaning::NotSent
            | Meaning::Unanswered
            | Meaning::Oversized
            | Meaning::Garbled => return None,
        })
    }
}

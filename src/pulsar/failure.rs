//! What a broker's error means to the reader.

use std::fmt;

use pulsar::proto::ServerError;

use crate::error::{Error, Kind};

/// Of the broker's words so many characters are kept.
const MOST_WORDS: usize = 1000;

/// An error of the broker while `doing`, with the broker's own words as its source.
pub(crate) fn refused(doing: &str, code: i32, words: &str) -> Error {
    let code = ServerError::try_from(code).unwrap_or(ServerError::UnknownError);
    let kind = kind(code);
    let advice = advice(code);
    let words: String = words.chars().take(MOST_WORDS).collect();
    let words = format!("the broker says {}: {words}", code.as_str_name());
    let error = Error::new(kind, if advice.is_empty() { doing.to_owned() } else { format!("{doing}: {advice}") });
    match code {
        ServerError::TopicNotFound => error.because(MissingTopic(words)),
        ServerError::NotAllowedError => error.because(NotAllowed(words)),
        _ => error.because(words),
    }
}

/// The broker's words where it does not know the topic: among errors of one kind, the one that a partition
/// which nobody has written to gives.
#[derive(Debug)]
pub(crate) struct MissingTopic(pub String);

impl fmt::Display for MissingTopic {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for MissingTopic {}

/// The broker's words where it knows better: a reader of a durable subscription's name gets it.
#[derive(Debug)]
struct NotAllowed(String);

impl fmt::Display for NotAllowed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for NotAllowed {}

/// Whether the broker said that this is not allowed, whoever asks.
pub(crate) fn is_not_allowed(error: &Error) -> bool {
    std::error::Error::source(error).is_some_and(|source| source.is::<NotAllowed>())
}

/// Whether the broker said that it does not know the topic.
pub(crate) fn is_missing_topic(error: &Error) -> bool {
    std::error::Error::source(error).is_some_and(|source| source.is::<MissingTopic>())
}

fn kind(code: ServerError) -> Kind {
    match code {
        ServerError::AuthenticationError | ServerError::AuthorizationError | ServerError::NotAllowedError => {
            Kind::Denied
        }
        ServerError::ConsumerBusy => Kind::Busy,
        ServerError::TopicNotFound | ServerError::SubscriptionNotFound | ServerError::ConsumerNotFound => {
            Kind::NotFound
        }
        ServerError::InvalidTopicName | ServerError::UnsupportedVersionError => Kind::Invalid,
        ServerError::ChecksumError => Kind::Corrupt,
        ServerError::UnknownError
        | ServerError::MetadataError
        | ServerError::PersistenceError
        | ServerError::ServiceNotReady
        | ServerError::ProducerBlockedQuotaExceededError
        | ServerError::ProducerBlockedQuotaExceededException
        | ServerError::TopicTerminatedError
        | ServerError::ProducerBusy
        | ServerError::IncompatibleSchema
        | ServerError::ConsumerAssignError
        | ServerError::TransactionCoordinatorNotFound
        | ServerError::InvalidTxnStatus
        | ServerError::TransactionConflict
        | ServerError::TransactionNotFound
        | ServerError::ProducerFenced
        | ServerError::TooManyRequests => Kind::Unavailable,
    }
}

fn advice(code: ServerError) -> &'static str {
    match code {
        ServerError::AuthenticationError => {
            "the token was refused; check TDMQ_BACKUP_TOKEN or token_file against the role's key"
        }
        ServerError::AuthorizationError => {
            "the role may not do this; grant it `consume` on the namespace (`produce`, to send)"
        }
        ServerError::TopicNotFound => {
            "the topic does not exist; check cluster, namespace and topic (nothing is created by a typing mistake)"
        }
        ServerError::SubscriptionNotFound => {
            "the subscription does not exist and the broker creates none; create it, or mend `subscription`"
        }
        ServerError::ConsumerBusy => "somebody else holds the subscription",
        _ => "",
    }
}

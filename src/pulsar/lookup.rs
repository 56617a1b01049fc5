//! Which broker serves a topic: asked in the binary protocol, or over HTTP (TDMQ 2.7.1 and later).
//!
//! Nothing here creates a topic: a mistyped name is an error.

use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use prost::Message as _;
use pulsar::proto::{
    BaseCommand, CommandLookupTopic, CommandPartitionedTopicMetadata, base_command::Type,
    command_lookup_topic_response::LookupType, command_partitioned_topic_metadata_response::LookupType as MetadataType,
};
use serde::Deserialize;
use tokio::time::Instant;
use tokio_rustls::TlsConnector;

use super::address::Address;
use super::connection::{
    ANSWER_LIMIT, CONNECT_LIMIT, Caller, Connection, answered, command, connection_silent, within,
};
use super::failure::refused;
use super::http::{Http, redacted};
use crate::budget;
use crate::error::{Error, Kind, Result};
use crate::rule::{Rule, Scheme, TopicName};
use crate::tls;

/// How many brokers may send us on to another before we give up.
const MOST_REDIRECTS: usize = 20;
/// What each of several hosts has at least: a first packet that was lost is sent again after a second.
const LEAST_SHARE: Duration = Duration::from_secs(4);

/// `metadata_auto_creation_enabled = false`: field 6 of the partition metadata command, which the
/// crate's types do not know, as varint.
const DO_NOT_CREATE: &[u8] = &[6 << 3, 0];

/// The way into a cluster: how many partitions a topic has, and which broker serves it.
///
/// With TLS (`pulsar+ssl`, `https`) every connection has it, also those to brokers that an answer names, and
/// the token goes nowhere else.
pub struct Cluster<'r> {
    /// Asked over HTTP, else in the binary protocol.
    http: Option<Http>,
    listener: Option<&'r str>,
    who: Caller<'r>,
    /// The hosts of the service address: each of them can answer for the whole cluster.
    doors: Vec<Address>,
    /// The one that answered last is the first to be asked again.
    answering: AtomicUsize,
    /// A connection to a door that is not in use: whoever needs one takes it.
    idle: Mutex<Option<Connection>>,
    /// Of each consumer.
    pub(super) read_ahead: usize,
}

impl<'r> Cluster<'r> {
    /// Connects to nothing yet. Nothing is waited for after `deadline`, then or later.
    pub fn new(rule: &'r Rule, deadline: Instant) -> Self {
        let service = &rule.service_url;
        let config = tls::client(rule.authorities.as_ref());
        let tls = service.scheme.has_tls().then(|| TlsConnector::from(Arc::new(config.clone())));
        let http = matches!(service.scheme, Scheme::Http | Scheme::Https);
        let doors: Vec<_> = service.hosts.iter().map(|(host, port)| Address::new(host, *port)).collect();
        // Rules begin at different hosts, each always at the same one.
        let first = crc32c::crc32c(rule.name.as_bytes()) as usize % doors.len().max(1);
        Cluster {
            http: http.then(|| Http::new(service.scheme.name(), config)),
            listener: rule.listener_name.as_deref(),
            who: Caller { token: rule.token.as_ref(), tls, deadline },
            doors,
            answering: AtomicUsize::new(first),
            idle: Mutex::new(None),
            read_ahead: budget::read_ahead(1),
        }
    }

    /// So many consumers are attached at a time: they share one memory budget.
    pub fn shared_by(mut self, readers: usize) -> Self {
        self.read_ahead = budget::read_ahead(readers);
        self
    }

    /// How many partitions the topic has: 0 for one without partitions, and for a partition itself.
    pub async fn partitions(&self, topic: &TopicName) -> Result<u32> {
        self.ask(async |door| {
            if let Some(http) = &self.http {
                let path = format!("/admin/v2/{}/partitions?checkAllowAutoCreation=false", path_of(topic));
                let answer: Partitions = http.get(door, &path, &over_http(topic), &self.who).await?;
                return Ok(answer.partitions);
            }
            let mut connection = self.connection(door).await?;
            let count = partitions(&mut connection, topic).await?;
            self.give_back(connection);
            Ok(count)
        })
        .await
    }

    /// A connection to the broker that serves the topic.
    pub(super) async fn connect(&self, topic: &TopicName) -> Result<Connection> {
        self.ask(async |door| {
            let Some(http) = &self.http else { return self.binary(door, topic).await };
            let mut path = format!("/lookup/v2/topic/{}", path_of(topic));
            if let Some(listener) = self.listener {
                path += &format!("?listenerName={}", url_part(listener));
            }
            let doing = over_http(topic);
            let Found { broker_url, broker_url_tls } = http.get(door, &path, &doing, &self.who).await?;
            // What it repeats of the token must not become part of an error.
            let [broker_url, broker_url_tls] =
                [broker_url, broker_url_tls].map(|url| url.map(|url| redacted(&url, self.who.token)));
            let broker = Address::to_reach(&doing, broker_url, broker_url_tls, self.who.tls.is_some())?;
            Connection::open(&broker, None, &self.who).await
        })
        .await
    }

    /// Asks one door after the other until one answers, each within a share of the time. An answer that
    /// another door would give too is the answer: a refused token is not shown around.
    async fn ask<T>(&self, question: impl AsyncFn(&Address) -> Result<T>) -> Result<T> {
        // Boxed: the state of a question is 10 KB, and would be part of its caller's twice.
        let question = |door| Box::pin(question(door));
        if let [door] = &self.doors[..] {
            return question(door).await;
        }
        let share = share(self.doors.len());
        let first = self.answering.load(Relaxed);
        let mut failures = Vec::new();
        for index in (first..first + self.doors.len()).map(|index| index % self.doors.len()) {
            let door = &self.doors[index];
            let answer = within(share, self.who.deadline, question(door), || connection_silent(door)).await.flatten();
            match answer {
                Err(error) if another_may_know_better(error.kind()) => failures.push((door, error)),
                answer => {
                    self.answering.store(index, Relaxed);
                    return answer;
                }
            }
        }
        let kind = failures.first().map_or(Kind::Invalid, |(_, error)| error.kind());
        let kind = if failures.iter().all(|(_, error)| error.kind() == kind) { kind } else { Kind::Unavailable };
        let all: Vec<_> = failures.iter().map(|(door, error)| format!("{door}: {}", error.chain())).collect();
        Err(Error::new(kind, "no host of service_url could be asked").because(all.join("; ")))
    }

    async fn binary(&self, door: &Address, topic: &TopicName) -> Result<Connection> {
        let mut connection = self.connection(door).await?;
        let who = &self.who;
        let mut authoritative = false;
        for _ in 0..MOST_REDIRECTS {
            let answer = self.look_up(&mut connection, topic, authoritative).await?;
            match answer {
                Answer::Here { broker, proxied: false } if broker == *connection.address() => return Ok(connection),
                Answer::Here { broker, proxied: false } => {
                    self.give_back(connection);
                    return Connection::open(&broker, None, who).await;
                }
                Answer::Here { broker, proxied: true } => {
                    self.give_back(connection);
                    return Connection::open(door, Some(&broker), who).await;
                }
                Answer::Ask { broker, proxied, authoritative: next } => {
                    authoritative = next;
                    connection = match proxied {
                        true => Connection::open(door, Some(&broker), who).await?,
                        false => Connection::open(&broker, None, who).await?,
                    };
                }
            }
        }
        Err(Error::new(Kind::Unavailable, format!("looking up {topic}: the brokers send us round in circles")))
    }

    async fn connection(&self, door: &Address) -> Result<Connection> {
        let idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner).take();
        match idle.filter(|idle| idle.address() == door).and_then(Connection::if_alive) {
            Some(connection) => Ok(connection),
            None => Connection::open(door, None, &self.who).await,
        }
    }

    /// Keeps a connection for the next one who needs it, if it leads to a door.
    fn give_back(&self, connection: Connection) {
        if self.doors.contains(connection.address()) && !connection.is_proxied() {
            *self.idle.lock().unwrap_or_else(PoisonError::into_inner) = Some(connection);
        }
    }

    async fn look_up(&self, connection: &mut Connection, topic: &TopicName, authoritative: bool) -> Result<Answer> {
        let doing = format!("looking up {topic}");
        let request_id = connection.request_id();
        let ask = CommandLookupTopic {
            topic: topic.to_string(),
            request_id,
            authoritative: Some(authoritative),
            advertised_listener_name: self.listener.map(str::to_owned),
            ..CommandLookupTopic::default()
        };
        connection.send(&BaseCommand { lookup_topic: Some(ask), ..command(Type::Lookup) }, &[]);
        Answer::read(answer(connection, request_id, &doing).await?, &doing, self.who.tls.is_some())
    }
}

enum Answer {
    Here { broker: Address, proxied: bool },
    Ask { broker: Address, proxied: bool, authoritative: bool },
}

impl Answer {
    fn read(answer: BaseCommand, doing: &str, with_tls: bool) -> Result<Self> {
        let response = answer.lookup_topic_response.unwrap_or_default();
        let kind = response.response.and_then(|code| LookupType::try_from(code).ok());
        if kind == Some(LookupType::Failed) || kind.is_none() {
            let words = response.message.as_deref().unwrap_or_default();
            return Err(refused(doing, response.error.unwrap_or_default(), words));
        }
        let (plain, tls) = (response.broker_service_url, response.broker_service_url_tls);
        let proxied = response.proxy_through_service_url.unwrap_or(false);
        let broker = match proxied {
            true => Address::behind_proxy(doing, [tls, plain])?,
            false => Address::to_reach(doing, plain, tls, with_tls)?,
        };
        Ok(match kind {
            Some(LookupType::Redirect) => {
                Answer::Ask { broker, proxied, authoritative: response.authoritative.unwrap_or(false) }
            }
            _ => Answer::Here { broker, proxied },
        })
    }
}

/// How long each of several hosts may take: together not longer than one of them alone, where that is enough.
fn share(hosts: usize) -> Duration {
    let all = CONNECT_LIMIT + ANSWER_LIMIT;
    (all / u32::try_from(hosts).unwrap_or(u32::MAX).max(1)).max(LEAST_SHARE)
}

/// Whether a door that failed so says nothing about the others.
fn another_may_know_better(kind: Kind) -> bool {
    match kind {
        // `Invalid` is a certificate, or a port that speaks something else.
        Kind::Unavailable | Kind::Invalid | Kind::Corrupt => true,
        Kind::Denied | Kind::NotFound | Kind::Busy | Kind::Unknown | Kind::Conflict | Kind::Internal => false,
    }
}

fn over_http(topic: &TopicName) -> String {
    format!("looking up {topic} over HTTP")
}

fn path_of(topic: &TopicName) -> String {
    format!("persistent/{}/{}/{}", topic.tenant, topic.namespace, url_part(&topic.topic))
}

async fn partitions(connection: &mut Connection, topic: &TopicName) -> Result<u32> {
    let doing = format!("asking for the partitions of {topic}");
    let request_id = connection.request_id();
    let ask = CommandPartitionedTopicMetadata { topic: topic.to_string(), request_id, ..Default::default() };
    // An unknown field belongs inside the sub-message, so that is written by hand.
    let inner = [&ask.encode_to_vec()[..], DO_NOT_CREATE].concat();
    connection.send(&command(Type::PartitionedMetadata), &sub_message(Type::PartitionedMetadata as u32, &inner));
    count(answer(connection, request_id, &doing).await?, &doing)
}

fn count(answer: BaseCommand, doing: &str) -> Result<u32> {
    let response = answer.partition_metadata_response.unwrap_or_default();
    match response.response {
        Some(code) if code == MetadataType::Failed as i32 => {
            Err(refused(doing, response.error.unwrap_or_default(), response.message.as_deref().unwrap_or_default()))
        }
        _ => Ok(response.partitions.unwrap_or(0)),
    }
}

/// A sub-message field by hand: tag, length, bytes.
fn sub_message(field: u32, bytes: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(bytes.len() + 6);
    prost::encoding::encode_key(field, prost::encoding::WireType::LengthDelimited, &mut out);
    prost::encoding::encode_varint(bytes.len() as u64, &mut out);
    out.extend_from_slice(bytes);
    out
}

/// Waits for the answer to a request; nothing else can be under way on a fresh connection.
pub(super) async fn answer(connection: &mut Connection, request_id: u64, doing: &str) -> Result<BaseCommand> {
    let (address, deadline) = (connection.address().clone(), connection.deadline());
    let wait = async {
        loop {
            let answer = connection.receive().await?.command;
            if answered(&answer) == Some(request_id) {
                return match &answer.error {
                    Some(error) => Err(refused(doing, error.error, &error.message)),
                    None => Ok(answer),
                };
            }
        }
    };
    within(ANSWER_LIMIT, deadline, wait, || connection_silent(&address)).await?
}

#[derive(Deserialize)]
struct Partitions {
    partitions: u32,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Found {
    broker_url: Option<String>,
    broker_url_tls: Option<String>,
}

/// The broker that an answer over HTTP names, as it is connected to.
#[cfg(feature = "testing")]
pub(crate) fn broker_in(answer: &[u8], with_tls: bool) -> Result<String> {
    let unreadable = |e| Error::new(Kind::Unavailable, "the answer is not what was expected").because(e);
    let Found { broker_url, broker_url_tls } = serde_json::from_slice(answer).map_err(unreadable)?;
    Ok(Address::to_reach("looking up", broker_url, broker_url_tls, with_tls)?.authority())
}

/// What an answer in the binary protocol says: the broker, or how many partitions there are.
#[cfg(feature = "testing")]
pub(crate) fn said(answer: BaseCommand, with_tls: bool) -> Result<String> {
    if answer.r#type() == Type::PartitionedMetadataResponse {
        return count(answer, "asking").map(|count| count.to_string());
    }
    match Answer::read(answer, "looking up", with_tls)? {
        Answer::Here { broker, .. } | Answer::Ask { broker, .. } => Ok(broker.authority()),
    }
}

fn url_part(text: &str) -> String {
    percent_encoding::utf8_percent_encode(text, percent_encoding::NON_ALPHANUMERIC).to_string()
}

#[cfg(test)]
mod tests;

//! Which broker serves a topic: asked in the binary protocol, or over HTTP (TDMQ 2.7.1 and later).
//!
//! Nothing here creates a topic: a mistyped name is an error.

use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use http_body_util::{BodyExt, Empty, Limited};
use hyper::{Request, StatusCode, Uri, header};
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;
use prost::Message as _;
use pulsar::proto::{
    BaseCommand, CommandLookupTopic, CommandPartitionedTopicMetadata, base_command::Type,
    command_lookup_topic_response::LookupType, command_partitioned_topic_metadata_response::LookupType as MetadataType,
};
use serde::Deserialize;
use serde::de::DeserializeOwned;
use tokio::time::Instant;

use super::address::Address;
use super::connection::{ANSWER_LIMIT, Caller, Connection, NO_TOKEN, answered, command, connection_silent, within};
use super::failure::{MissingTopic, refused};
use crate::budget;
use crate::error::{Error, Kind, Result};
use crate::rule::{Rule, Scheme, ServiceUrl, TopicName};
use crate::secret::Secret;

/// How many brokers may send us on to another before we give up.
const MOST_REDIRECTS: usize = 20;
const HTTP_LIMIT: Duration = Duration::from_secs(10);
const MOST_ANSWER_BYTES: usize = 64 << 10;

/// `metadata_auto_creation_enabled = false`: field 6 of the partition metadata command, which the
/// crate's types do not know, as varint.
const DO_NOT_CREATE: &[u8] = &[6 << 3, 0];

/// The way into a cluster: how many partitions a topic has, and which broker serves it.
pub struct Cluster<'r> {
    service: &'r ServiceUrl,
    who: Caller<'r>,
    /// A connection to the service address that is not in use: whoever needs one takes it.
    idle: Mutex<Option<Connection>>,
    http: HttpClient,
    /// Of each consumer.
    pub(super) read_ahead: usize,
}

impl<'r> Cluster<'r> {
    /// Connects to nothing yet. Nothing is waited for after `deadline`, then or later.
    pub fn new(rule: &'r Rule, deadline: Instant) -> Self {
        let mut connector = HttpConnector::new();
        connector.set_connect_timeout(Some(Duration::from_secs(5)));
        connector.set_nodelay(true);
        Cluster {
            service: &rule.service_url,
            who: Caller { token: rule.token.as_ref(), deadline },
            idle: Mutex::new(None),
            http: Client::builder(TokioExecutor::new()).build(connector),
            read_ahead: budget::read_ahead(1),
        }
    }

    /// So many consumers are attached at a time: they share one memory budget.
    pub fn shared_by(mut self, readers: usize) -> Self {
        self.read_ahead = budget::read_ahead(readers);
        self
    }

    fn door(&self) -> Address {
        let (host, port) = &self.service.hosts[0];
        Address::new(host, *port)
    }

    fn is_http(&self) -> bool {
        matches!(self.service.scheme, Scheme::Http | Scheme::Https)
    }

    /// How many partitions the topic has: 0 for one without partitions, and for a partition itself.
    pub async fn partitions(&self, topic: &TopicName) -> Result<u32> {
        if self.is_http() {
            let url =
                format!("http://{}/admin/v2/{}/partitions?checkAllowAutoCreation=false", self.door(), path_of(topic));
            let answer: Partitions = get(&self.http, url, topic, &self.who).await?;
            return Ok(answer.partitions);
        }
        let mut connection = self.connection().await?;
        let answer = partitions(&mut connection, topic).await;
        self.give_back(connection);
        answer
    }

    /// A connection to the broker that serves the topic.
    pub(super) async fn connect(&self, topic: &TopicName) -> Result<Connection> {
        if self.is_http() {
            let url = format!("http://{}/lookup/v2/topic/{}", self.door(), path_of(topic));
            let found: Found = get(&self.http, url, topic, &self.who).await?;
            let url = found.broker_url.unwrap_or_default();
            let broker = Address::from_broker_url(&url).ok_or_else(|| unusable(topic, &url))?;
            return Connection::open(&broker, None, &self.who).await;
        }
        self.binary(topic).await
    }

    async fn binary(&self, topic: &TopicName) -> Result<Connection> {
        let mut connection = self.connection().await?;
        let (door, who) = (self.door(), &self.who);
        let mut authoritative = false;
        for _ in 0..MOST_REDIRECTS {
            let answer = ask_broker(&mut connection, topic, authoritative).await?;
            match answer {
                Answer::Here { broker, proxied: false } if broker == *connection.address() => return Ok(connection),
                Answer::Here { broker, proxied: false } => {
                    self.give_back(connection);
                    return Connection::open(&broker, None, who).await;
                }
                Answer::Here { broker, proxied: true } => {
                    self.give_back(connection);
                    return Connection::open(&door, Some(&broker), who).await;
                }
                Answer::Ask { broker, proxied, authoritative: next } => {
                    authoritative = next;
                    connection = match proxied {
                        true => Connection::open(&door, Some(&broker), who).await?,
                        false => Connection::open(&broker, None, who).await?,
                    };
                }
            }
        }
        Err(Error::new(Kind::Unavailable, format!("looking up {topic}: the brokers send us round in circles")))
    }

    async fn connection(&self) -> Result<Connection> {
        let idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner).take();
        match idle.map(Connection::if_alive) {
            Some(Some(connection)) => Ok(connection),
            Some(None) | None => Connection::open(&self.door(), None, &self.who).await,
        }
    }

    /// Keeps a connection for the next one who needs it, if it leads to the service address.
    fn give_back(&self, connection: Connection) {
        if *connection.address() == self.door() && !connection.is_proxied() {
            *self.idle.lock().unwrap_or_else(PoisonError::into_inner) = Some(connection);
        }
    }
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
    let answer = answer(connection, request_id, &doing).await?;
    let response = answer.partition_metadata_response.unwrap_or_default();
    match response.response {
        Some(code) if code == MetadataType::Failed as i32 => {
            Err(refused(&doing, response.error.unwrap_or_default(), response.message.as_deref().unwrap_or_default()))
        }
        _ => Ok(response.partitions.unwrap_or(0)),
    }
}

enum Answer {
    Here { broker: Address, proxied: bool },
    Ask { broker: Address, proxied: bool, authoritative: bool },
}

async fn ask_broker(connection: &mut Connection, topic: &TopicName, authoritative: bool) -> Result<Answer> {
    let doing = format!("looking up {topic}");
    let request_id = connection.request_id();
    let ask = CommandLookupTopic {
        topic: topic.to_string(),
        request_id,
        authoritative: Some(authoritative),
        ..CommandLookupTopic::default()
    };
    connection.send(&BaseCommand { lookup_topic: Some(ask), ..command(Type::Lookup) }, &[]);
    let answer = answer(connection, request_id, &doing).await?;
    let response = answer.lookup_topic_response.unwrap_or_default();
    let kind = response.response.and_then(|code| LookupType::try_from(code).ok());
    if kind == Some(LookupType::Failed) || kind.is_none() {
        return Err(refused(
            &doing,
            response.error.unwrap_or_default(),
            response.message.as_deref().unwrap_or_default(),
        ));
    }
    let url = response.broker_service_url.unwrap_or_default();
    let broker = Address::from_broker_url(&url).ok_or_else(|| unusable(topic, &url))?;
    let proxied = response.proxy_through_service_url.unwrap_or(false);
    Ok(match kind {
        Some(LookupType::Redirect) => {
            Answer::Ask { broker, proxied, authoritative: response.authoritative.unwrap_or(false) }
        }
        _ => Answer::Here { broker, proxied },
    })
}

fn unusable(topic: &TopicName, url: &str) -> Error {
    let text = format!(
        "looking up {topic}: the broker's address is {url:?}, not pulsar://host:port (TLS is not yet available)"
    );
    Error::new(Kind::Unavailable, text)
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
async fn answer(connection: &mut Connection, request_id: u64, doing: &str) -> Result<BaseCommand> {
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
}

fn url_part(text: &str) -> String {
    percent_encoding::utf8_percent_encode(text, percent_encoding::NON_ALPHANUMERIC).to_string()
}

type HttpClient = Client<HttpConnector, Empty<Bytes>>;

async fn get<T: DeserializeOwned>(client: &HttpClient, url: String, topic: &TopicName, who: &Caller<'_>) -> Result<T> {
    let doing = format!("looking up {topic} over HTTP");
    let unavailable = |why: String| Error::new(Kind::Unavailable, doing.clone()).because(why);
    let mut uri: Uri = url.parse().map_err(|e| Error::new(Kind::Invalid, doing.clone()).because(e))?;
    for _ in 0..MOST_REDIRECTS {
        let mut request = Request::get(uri.clone()).header(header::ACCEPT, "application/json");
        if let Some(token) = who.token {
            let mut bearer = header::HeaderValue::try_from(format!("Bearer {}", token.reveal()))
                .map_err(|_| Error::new(Kind::Invalid, "the token has characters that no HTTP header may have"))?;
            bearer.set_sensitive(true);
            request = request.header(header::AUTHORIZATION, bearer);
        }
        let request = request.body(Empty::new()).map_err(|e| Error::new(Kind::Internal, doing.clone()).because(e))?;
        let late = || unavailable(format!("{} does not answer", uri.authority().map_or("", |a| a.as_str())));
        let reply = within(HTTP_LIMIT, who.deadline, client.request(request), late).await?;
        // The client's own error prints as "client error (Connect)": its source says why.
        let reply = reply.map_err(|e| {
            let host = uri.authority().map_or("", |authority| authority.as_str());
            let text = format!("no answer from {host}; check service_url, the VPC and its security group");
            unavailable(Error::new(Kind::Unavailable, text).because(e).chain())
        })?;
        let status = reply.status();
        if status.is_redirection() {
            uri = redirect(reply.headers(), &doing)?;
            continue;
        }
        let body = within(HTTP_LIMIT, who.deadline, Limited::new(reply.into_body(), MOST_ANSWER_BYTES).collect(), late)
            .await?;
        let body = body.map_err(|e| unavailable(e.to_string()))?.to_bytes();
        if status != StatusCode::OK {
            return Err(http_failure(&doing, status, &body, who.token));
        }
        return serde_json::from_slice(&body)
            .map_err(|e| unavailable(format!("the answer is not what was expected: {e}")));
    }
    Err(unavailable("redirected round in circles".into()))
}

/// Where a broker sends us: only to plain HTTP, which is where the token already went.
fn redirect(headers: &header::HeaderMap, doing: &str) -> Result<Uri> {
    let to =
        headers.get(header::LOCATION).and_then(|value| value.to_str().ok()).and_then(|text| text.parse::<Uri>().ok());
    to.filter(|uri| uri.scheme_str() == Some("http")).ok_or_else(|| {
        Error::new(
            Kind::Unavailable,
            format!("{doing}: redirected to an address that is not http://host (TLS is not yet available)"),
        )
    })
}

fn http_failure(doing: &str, status: StatusCode, body: &[u8], token: Option<&Secret>) -> Error {
    let (kind, advice) = match status.as_u16() {
        // Brokers say 401 for a role without the right, too.
        401 if token.is_none() => (Kind::Denied, NO_TOKEN),
        401 => (
            Kind::Denied,
            ": the token was refused, or its role may not do this, or the namespace is misspelt; check TDMQ_BACKUP_TOKEN or token_file against the role's key, and that the role has `consume` on the namespace",
        ),
        403 => (Kind::Denied, ": the role may not do this; grant it `consume` on the namespace"),
        404 => (Kind::NotFound, ": the topic does not exist; check cluster, namespace and topic"),
        _ => (Kind::Unavailable, ""),
    };
    #[derive(Deserialize)]
    struct Reason {
        #[serde(alias = "message")]
        reason: String,
    }
    let words = serde_json::from_slice::<Reason>(body)
        .map(|r| r.reason)
        .unwrap_or_else(|_| String::from_utf8_lossy(body).split_whitespace().collect::<Vec<_>>().join(" "));
    // What it repeats of the token must not become part of an error.
    let words = token.map_or(words.clone(), |token| token.redact(&words));
    let words: String = words.trim().chars().take(200).collect();
    let words = format!("the broker says {status}: {words}");
    let error = Error::new(kind, format!("{doing}{advice}"));
    if kind == Kind::NotFound { error.because(MissingTopic(words)) } else { error.because(words) }
}

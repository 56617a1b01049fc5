//! One connection to a broker: frames out, frames in, nothing in the background.
//!
//! Owns the socket and the protocol's housekeeping (CONNECT, PING, the authentication challenge).
//! Does not own what a frame means to a consumer. Every method may be dropped while it waits and
//! called again: what was read or written so far is kept here.

use std::future::Future;
use std::time::Duration;

use bytes::BytesMut;
use futures_util::FutureExt;
use pulsar::proto::{
    AuthData, BaseCommand, CommandAuthResponse, CommandConnect, CommandPing, CommandPong, FeatureFlags,
    MessageMetadata, base_command::Type,
};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::time::{Instant, Interval, MissedTickBehavior, interval, timeout, timeout_at};
use tokio_rustls::TlsConnector;

use super::address::Address;
use super::failure::refused;
use super::frame::{self, Frame};
use super::stream::Stream;
use crate::error::{Error, Kind, Result};
use crate::secret::Secret;

/// What a refusal means where no token was given.
pub(crate) const NO_TOKEN: &str = ": no token is set, and the broker wants one; set TDMQ_BACKUP_TOKEN or token_file";

/// The newest protocol whose commands this client speaks (4.0 brokers announce 21).
const PROTOCOL_VERSION: i32 = 19;
pub(crate) const CONNECT_LIMIT: Duration = Duration::from_secs(5);
/// How long a broker may take to answer one request.
pub(crate) const ANSWER_LIMIT: Duration = Duration::from_secs(15);
/// A broker that sent nothing for so long is asked whether it is there, and lost if it sends nothing for as
/// long again. It asks us as often.
const KEEP_ALIVE: Duration = Duration::from_secs(30);
const READ_CHUNK: usize = 128 << 10;
/// Reading less at a time costs more than it keeps.
const LEAST_READ: usize = 16 << 10;
const DEFAULT_MAX_MESSAGE_SIZE: usize = 5 << 20;

/// Who connects, whom he trusts, and until when he can wait.
#[derive(Clone)]
pub(crate) struct Caller<'a> {
    pub token: Option<&'a Secret>,
    /// Where it is set, every connection is made with TLS.
    pub tls: Option<TlsConnector>,
    pub deadline: Instant,
}

pub(crate) struct Connection {
    stream: Stream,
    inbox: BytesMut,
    outbox: BytesMut,
    /// Ticks after each [`KEEP_ALIVE`] without a byte.
    silence: Interval,
    pinged: bool,
    token: Option<Secret>,
    deadline: Instant,
    address: Address,
    proxied: bool,
    max_message_size: usize,
    server_protocol: i32,
    next_request: u64,
}

impl Connection {
    /// Connects and authenticates. `proxied` is the broker behind a proxy at `address`.
    pub async fn open(address: &Address, proxied: Option<&Address>, who: &Caller<'_>) -> Result<Self> {
        let stream = Stream::open(address, who.tls.as_ref(), who.deadline).await?;
        let mut connection = Connection {
            stream,
            inbox: BytesMut::with_capacity(READ_CHUNK),
            outbox: BytesMut::new(),
            silence: silence(),
            pinged: false,
            token: who.token.cloned(),
            deadline: who.deadline,
            address: address.clone(),
            proxied: proxied.is_some(),
            max_message_size: DEFAULT_MAX_MESSAGE_SIZE,
            server_protocol: 0,
            next_request: 0,
        };
        within(ANSWER_LIMIT, who.deadline, connection.handshake(proxied), || connection_silent(address)).await??;
        Ok(connection)
    }

    async fn handshake(&mut self, proxied: Option<&Address>) -> Result<()> {
        let connect = CommandConnect {
            client_version: concat!("tdmq-backup-", env!("CARGO_PKG_VERSION")).into(),
            auth_method_name: self.token.as_ref().map(|_| "token".into()),
            auth_data: self.token.as_ref().map(|token| token.reveal().as_bytes().to_vec()),
            protocol_version: Some(PROTOCOL_VERSION),
            proxy_to_broker_url: proxied.map(|broker| broker.authority()),
            feature_flags: Some(FeatureFlags {
                supports_auth_refresh: Some(true),
                supports_broker_entry_metadata: Some(true),
                ..FeatureFlags::default()
            }),
            ..CommandConnect::default()
        };
        self.send(&BaseCommand { connect: Some(connect), ..command(Type::Connect) }, &[]);
        let doing = format!("connecting to the broker at {}", self.address);
        loop {
            let Frame { command, .. } = self.receive().await?;
            if let Some(connected) = command.connected {
                self.server_protocol = connected.protocol_version.unwrap_or(0);
                let size = connected.max_message_size.and_then(|size| usize::try_from(size).ok());
                self.max_message_size = size.filter(|size| *size > 0).unwrap_or(DEFAULT_MAX_MESSAGE_SIZE);
                return Ok(());
            }
            if let Some(error) = command.error {
                let doing = if self.token.is_none() { format!("{doing}{NO_TOKEN}") } else { doing };
                return Err(refused(&doing, error.error, &error.message));
            }
        }
    }

    /// The largest entry the broker will send, in bytes of payload.
    pub fn max_message_size(&self) -> usize {
        self.max_message_size
    }

    /// Bytes kept for what has arrived and for what is arriving.
    #[cfg(test)]
    pub fn buffered(&self) -> usize {
        self.inbox.capacity()
    }

    /// The protocol version that the broker announced.
    pub fn server_protocol(&self) -> i32 {
        self.server_protocol
    }

    /// Nothing is waited for after this.
    pub fn deadline(&self) -> Instant {
        self.deadline
    }

    pub fn address(&self) -> &Address {
        &self.address
    }

    /// Whether the address is a proxy's, with a broker behind it.
    pub fn is_proxied(&self) -> bool {
        self.proxied
    }

    pub fn request_id(&mut self) -> u64 {
        self.next_request += 1;
        self.next_request
    }

    /// Queues a command; the next [`Connection::receive`] or [`Connection::flush`] sends it.
    pub fn send(&mut self, command: &BaseCommand, extra: &[u8]) {
        frame::put(&mut self.outbox, command, extra);
    }

    /// Queues a SEND with its message.
    pub fn send_message(&mut self, command: &BaseCommand, metadata: &MessageMetadata, payload: &[u8]) {
        frame::put_message(&mut self.outbox, command, metadata, payload);
    }

    pub async fn flush(&mut self) -> Result<()> {
        while !self.outbox.is_empty() {
            let written = self.stream.write_buf(&mut self.outbox).await.map_err(|e| self.lost().because(e))?;
            if written == 0 {
                return Err(self.lost());
            }
        }
        // TLS takes bytes that it has not sent yet.
        self.stream.flush().await.map_err(|e| self.lost().because(e))
    }

    /// The next frame that is not housekeeping.
    pub async fn receive(&mut self) -> Result<Frame> {
        loop {
            self.flush().await?;
            let wanted = match self.take()? {
                Ok(mut frame) => match self.keep_house(&frame.command) {
                    true => continue,
                    false => {
                        self.redact(&mut frame.command);
                        self.unrefused(&frame.command)?;
                        return Ok(frame);
                    }
                },
                Err(wanted) => wanted,
            };
            self.make_room(wanted - self.inbox.len());
            let read = tokio::select! {
                biased;
                read = self.stream.read_buf(&mut self.inbox) => read,
                _ = self.silence.tick() => {
                    if self.pinged {
                        return Err(self.lost().because("it has been silent for a minute"));
                    }
                    self.pinged = true;
                    self.send(&BaseCommand { ping: Some(CommandPing {}), ..command(Type::Ping) }, &[]);
                    continue;
                }
            };
            self.silence.reset();
            self.pinged = false;
            match read {
                Ok(0) => return Err(self.lost()),
                Ok(_) => {}
                Err(e) => return Err(self.lost().because(e)),
            }
        }
    }

    /// Room for so many bytes more. At the end of a large frame there is little left, and that is enough: a buffer
    /// that grows then is copied, and as large again.
    fn make_room(&mut self, more: usize) {
        let free = self.inbox.capacity() - self.inbox.len();
        if free < more || (free < LEAST_READ && self.inbox.len() < READ_CHUNK) {
            self.inbox.reserve(more.max(READ_CHUNK));
        }
    }

    /// The next whole frame of what has arrived, or how many bytes it wants to be whole.
    fn take(&mut self) -> Result<Result<Frame, usize>> {
        frame::take(&mut self.inbox, self.max_message_size)
            .map_err(|e| Error::new(e.kind(), format!("reading from the broker at {}", self.address)).because(e))
    }

    /// Answers what any client must answer; true when there is nothing more to the frame.
    fn keep_house(&mut self, frame: &BaseCommand) -> bool {
        match frame.r#type() {
            Type::Ping => {
                self.send(&BaseCommand { pong: Some(CommandPong {}), ..command(Type::Pong) }, &[]);
                true
            }
            Type::Pong => true,
            Type::AuthChallenge => {
                let data = self.token.as_ref().map(|token| token.reveal().as_bytes().to_vec());
                let response = CommandAuthResponse {
                    client_version: Some(concat!("tdmq-backup-", env!("CARGO_PKG_VERSION")).into()),
                    response: Some(AuthData { auth_method_name: Some("token".into()), auth_data: data }),
                    protocol_version: Some(PROTOCOL_VERSION),
                };
                self.send(&BaseCommand { auth_response: Some(response), ..command(Type::AuthResponse) }, &[]);
                true
            }
            _ => false,
        }
    }

    /// An error that answers no request is about the connection as a whole: a challenge was not met.
    fn unrefused(&self, command: &BaseCommand) -> Result<()> {
        match &command.error {
            Some(error) if error.request_id == u64::MAX && self.server_protocol > 0 => {
                let doing = format!("staying connected to the broker at {}", self.address);
                Err(refused(&doing, error.error, &error.message))
            }
            _ => Ok(()),
        }
    }

    /// A broker's words become part of errors: what they repeat of the token does not.
    fn redact(&self, command: &mut BaseCommand) {
        let Some(token) = &self.token else { return };
        let words = [
            command.error.as_mut().map(|error| &mut error.message),
            command.partition_metadata_response.as_mut().and_then(|response| response.message.as_mut()),
            command.ack_response.as_mut().and_then(|response| response.message.as_mut()),
            command.consumer_stats_response.as_mut().and_then(|response| response.error_message.as_mut()),
            command.get_schema_response.as_mut().and_then(|response| response.error_message.as_mut()),
            command.send_error.as_mut().map(|error| &mut error.message),
        ];
        let lookup = command.lookup_topic_response.as_mut().map(|response| {
            let urls = [&mut response.broker_service_url, &mut response.broker_service_url_tls];
            [&mut response.message].into_iter().chain(urls).filter_map(Option::as_mut)
        });
        for words in words.into_iter().flatten().chain(lookup.into_iter().flatten()) {
            *words = token.redact(words);
        }
    }

    /// This connection after it was left alone, with the broker's pings answered; `None` where it was lost meanwhile.
    pub fn if_alive(mut self) -> Option<Self> {
        match self.receive().now_or_never() {
            None => Some(self),
            Some(_) => None,
        }
    }

    /// Says goodbye and waits, at most `limit`, until the broker has closed too: by then it has let go
    /// of the subscription. What still arrives is dropped.
    pub async fn close(mut self, limit: Duration) {
        let deadline = self.deadline;
        let goodbye = async {
            self.flush().await?;
            self.stream.shutdown().await.map_err(|e| self.lost().because(e))?;
            loop {
                self.inbox.clear();
                self.inbox.reserve(READ_CHUNK);
                if !matches!(self.stream.read_buf(&mut self.inbox).await, Ok(n) if n > 0) {
                    return Ok::<(), Error>(());
                }
            }
        };
        // Nothing is owed to the broker any more: whatever goes wrong here changes nothing.
        let _ = timeout_at(deadline, timeout(limit, goodbye)).await;
    }

    fn lost(&self) -> Error {
        let text = match (self.server_protocol, &self.stream) {
            (0, Stream::Plain(_)) => format!(
                "the broker at {} closed the connection before it said a word; if this is a port with TLS, write \
                 pulsar+ssl:// or https:// in service_url",
                self.address
            ),
            _ => format!("the connection to the broker at {} was lost", self.address),
        };
        Error::new(Kind::Unavailable, text)
    }
}

fn silence() -> Interval {
    let mut silence = interval(KEEP_ALIVE);
    // A frozen process must not find itself a minute late in one go.
    silence.set_missed_tick_behavior(MissedTickBehavior::Delay);
    silence.reset();
    silence
}

/// A command with nothing but its type.
pub(crate) fn command(r#type: Type) -> BaseCommand {
    BaseCommand { r#type: r#type as i32, ..BaseCommand::default() }
}

/// The request that a command answers.
pub(crate) fn answered(command: &BaseCommand) -> Option<u64> {
    match command.r#type() {
        Type::Success => command.success.as_ref().map(|c| c.request_id),
        Type::Error => command.error.as_ref().map(|c| c.request_id),
        Type::ProducerSuccess => command.producer_success.as_ref().map(|c| c.request_id),
        Type::PartitionedMetadataResponse => command.partition_metadata_response.as_ref().map(|c| c.request_id),
        Type::LookupResponse => command.lookup_topic_response.as_ref().map(|c| c.request_id),
        Type::GetLastMessageIdResponse => command.get_last_message_id_response.as_ref().map(|c| c.request_id),
        Type::ConsumerStatsResponse => command.consumer_stats_response.as_ref().map(|c| c.request_id),
        Type::GetSchemaResponse => command.get_schema_response.as_ref().map(|c| c.request_id),
        Type::AckResponse => command.ack_response.as_ref().and_then(|c| c.request_id),
        _ => None,
    }
}

pub(crate) fn connection_silent(address: &Address) -> Error {
    Error::new(Kind::Unavailable, format!("the broker at {address} does not answer"))
}

/// `work`, or `late` when it takes longer than `limit` or beyond `deadline`.
pub(crate) async fn within<T>(
    limit: Duration,
    deadline: Instant,
    work: impl Future<Output = T>,
    late: impl FnOnce() -> Error,
) -> Result<T> {
    match timeout_at(deadline, timeout(limit, work)).await {
        Ok(Ok(done)) => Ok(done),
        Ok(Err(_)) | Err(_) => Err(late()),
    }
}

//! A broker in this process: the server side of Pulsar's binary protocol on 127.0.0.1, state in memory.
//!
//! ```text
//!  a test ── Broker, Topic ──▶ State ◀── connection (one task each) ◀── TCP ── any Pulsar client
//!                 script, record ┘  └── http: partitions and lookup
//! ```
//!
//! It acts as Apache Pulsar 4.0 does where a consumer can tell: what it answers, in which order, with
//! which text, and above all what it does *not* answer. A command is carried out under one lock, so
//! what a client is told is true when it is told.
//!
//! Not here: batches and chunks of producers (entries are appended through [`Topic`], or sent one by one), shared
//! subscriptions, transactions, compaction. TLS is put in front of it: [`super::TlsFront`].

mod answer;
mod connection;
mod cursor;
mod frame;
mod http;
mod log;
mod produce;
mod record;
mod reply;
mod schema;
mod script;
mod state;
#[cfg(test)]
mod tests;
mod topic;

use std::future::Future;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use pulsar::proto::BaseCommand;
pub use pulsar::proto::Schema;
pub use pulsar::proto::ServerError;
pub use pulsar::proto::base_command::Type as CommandType;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Notify;
use tokio::task::{JoinHandle, JoinSet};

pub use self::record::{HttpRequest, Recorded};
pub use self::script::{Act, When};
use self::state::State;
pub use self::topic::{Subscription, Topic};

/// How the broker is set up. The default is Pulsar 4.0's, without authentication.
#[derive(Clone, Debug)]
pub struct Config {
    /// The one token that is let in; none lets everybody in.
    pub token: Option<String>,
    /// The highest protocol version the broker speaks.
    pub protocol_version: i32,
    /// Bytes.
    pub max_message_size: i32,
    pub auto_create_topics: bool,
    pub auto_create_subscriptions: bool,
    /// Whether an acknowledgement that asks for a receipt gets one. Brokers before 2.8 send none.
    pub receipts: bool,
    /// Whether the mark-delete position comes with the last message id. Brokers before 2.8 leave it out.
    pub mark_delete_position: bool,
    /// Whether the backlog stands in a consumer's statistics.
    pub backlog: bool,
    /// Whether broker entry metadata is passed on to clients that can read it.
    pub broker_metadata: bool,
    /// The id of the first ledger of the first topic.
    pub first_ledger: i64,
}

impl Default for Config {
    fn default() -> Self {
        Config {
            token: None,
            protocol_version: 19,
            max_message_size: 5 * 1024 * 1024,
            auto_create_topics: true,
            auto_create_subscriptions: true,
            receipts: true,
            mark_delete_position: true,
            backlog: true,
            broker_metadata: true,
            first_ledger: 17,
        }
    }
}

/// A running broker. Dropping it closes every connection and frees the ports.
pub struct Broker {
    shared: Arc<Shared>,
    tasks: [JoinHandle<()>; 2],
}

struct Shared {
    state: Mutex<State>,
    changed: Notify,
}

impl Broker {
    /// Must be called inside a tokio runtime. Panics if no port can be had.
    pub async fn start(config: Config) -> Self {
        let listen = async || TcpListener::bind("127.0.0.1:0").await.expect("a free port on the loopback");
        let (binary, web) = (listen().await, listen().await);
        let address = |listener: &TcpListener| listener.local_addr().expect("a bound socket has an address");
        let mut state = State::new(config);
        state.url = format!("pulsar://{}", address(&binary));
        state.http_url = format!("http://{}", address(&web));
        let shared = Arc::new(Shared { state: Mutex::new(state), changed: Notify::new() });
        let tasks = [
            tokio::spawn(accept(binary, Arc::clone(&shared), connection::serve)),
            tokio::spawn(accept(web, Arc::clone(&shared), http::serve)),
        ];
        Broker { shared, tasks }
    }

    /// `pulsar://127.0.0.1:port`
    pub fn url(&self) -> String {
        self.shared.lock().url.clone()
    }

    /// `http://127.0.0.1:port`
    pub fn http_url(&self) -> String {
        self.shared.lock().http_url.clone()
    }

    /// Lookups name this address of the broker: beside the plain one where it is `pulsar+ssl://`, else in its place;
    /// to those who ask for `listener`, where there is one.
    pub fn advertise(&self, listener: Option<&str>, url: &str) {
        let key = (listener.map(str::to_owned), url.starts_with("pulsar+ssl:"));
        self.shared.lock().advertised.insert(key, url.to_owned());
    }

    /// The topic of this name, made if it is missing. `x` is short for `persistent://public/default/x`.
    pub fn topic(&self, name: &str) -> Topic {
        let name = topic_name(name);
        self.shared.lock().create_topic(&name);
        Topic { shared: Arc::clone(&self.shared), name }
    }

    /// A partitioned topic with all its partitions.
    pub fn partitioned(&self, name: &str, partitions: u32) -> Vec<Topic> {
        self.set_partitions(name, partitions);
        (0..partitions).map(|n| self.topic(&format!("{name}-partition-{n}"))).collect()
    }

    /// What the metadata says of the topic; the partitions themselves may be missing.
    pub fn set_partitions(&self, name: &str, partitions: u32) {
        self.shared.lock().partitions.insert(topic_name(name), partitions);
    }

    pub fn has_topic(&self, name: &str) -> bool {
        self.shared.lock().topics.contains_key(&topic_name(name))
    }

    /// Everything received, in order.
    pub fn commands(&self) -> Vec<Recorded> {
        self.shared.lock().commands.clone()
    }

    /// Commands that were answered: request and reply pairs. A ping is one, a flow is none.
    pub fn round_trips(&self) -> usize {
        self.shared.lock().commands.iter().filter(|recorded| recorded.answered).count()
    }

    pub fn http_requests(&self) -> Vec<HttpRequest> {
        self.shared.lock().requests.clone()
    }

    /// Connections of the binary protocol that are open now.
    pub fn connections(&self) -> usize {
        self.shared.lock().peers.len()
    }

    /// Plans a fault. Each happens once.
    pub fn script(&self, when: When, act: Act) {
        self.shared.lock().script.plan(when, act);
    }

    /// From now on asks `director` what happens to each command for which no fault is planned, as it comes.
    pub fn direct(&self, director: impl FnMut(CommandType) -> Option<Act> + Send + 'static) {
        self.shared.lock().script.direct(Box::new(director));
    }

    /// Faults that have not happened yet: a test that planned some ends with 0.
    pub fn faults_left(&self) -> usize {
        self.shared.lock().script.left()
    }

    /// The next HTTP request gets this answer, whatever it asks. Called again: the one after it.
    pub fn answer_http(&self, status: u16, body: &str) {
        self.shared.lock().http_answers.push((status, body.to_owned()));
    }

    /// After this many more bytes sent, over all connections, the connection that sends them is cut.
    pub fn cut_after(&self, bytes: usize) {
        self.shared.lock().cut = Some(bytes);
    }

    /// Sends a ping on every connection.
    pub fn ping(&self) {
        self.send_all(&reply::ping());
    }

    /// Sends an authentication challenge on every connection: the token must be shown again.
    pub fn challenge(&self) {
        self.send_all(&reply::challenge());
    }

    fn send_all(&self, command: &BaseCommand) {
        let mut state = self.shared.lock();
        for id in state.peers.keys().copied().collect::<Vec<_>>() {
            state.send(id, command);
        }
    }

    /// From now on only this token is let in; who is in stays until he is challenged.
    pub fn set_token(&self, token: &str) {
        self.shared.lock().config.token = Some(token.to_owned());
    }

    /// Cuts every connection; nothing is forgotten.
    pub fn drop_connections(&self) {
        self.crash_rewinding(0);
    }

    /// The broker dies and is back at once, without the last `acks` acknowledgements: each subscription
    /// stands where it stood before them. Acknowledgements that moved nothing do not count.
    pub fn crash_rewinding(&self, acks: usize) {
        let mut state = self.shared.lock();
        state.kill_all();
        for _ in 0..acks {
            let Some(undo) = state.undo.pop() else { break };
            if let Some(cursor) = state.cursor(&undo.topic, &undo.subscription) {
                cursor.reset(undo.mark_delete);
            }
        }
        drop(state);
        self.shared.changed.notify_waiters();
    }

    /// Waits until `condition` holds; looks again after everything that happens in the broker. The
    /// condition may only look.
    pub async fn until(&self, condition: impl Fn(&Broker) -> bool) {
        loop {
            let changed = self.shared.changed.notified();
            tokio::pin!(changed);
            changed.as_mut().enable();
            if condition(self) {
                return;
            }
            changed.await;
        }
    }
}

impl Drop for Broker {
    fn drop(&mut self) {
        for task in &self.tasks {
            task.abort();
        }
    }
}

impl Shared {
    /// A panic while it was held fails its own test; the others can still look.
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Serves every connection in a task of its own, all of which end with this one.
async fn accept<F>(listener: TcpListener, shared: Arc<Shared>, serve: impl Fn(TcpStream, Arc<Shared>) -> F)
where
    F: Future<Output = ()> + Send + 'static,
{
    let mut connections = JoinSet::new();
    loop {
        if let Ok((stream, _)) = listener.accept().await {
            connections.spawn(serve(stream, Arc::clone(&shared)));
        }
        while connections.try_join_next().is_some() {}
    }
}

/// The full name of a topic that may have been given in short.
fn topic_name(name: &str) -> String {
    let name = name.strip_prefix("persistent://").unwrap_or(name);
    match name.split('/').count() {
        1 => format!("persistent://public/default/{name}"),
        _ => format!("persistent://{name}"),
    }
}

//! TLS to the broker: what goes through it, and who never sees the token.

use std::net::SocketAddr;

use rustls::ServerConfig;
use tdmq_backup::report::{Outcome, Report};
use tdmq_backup::testing::broker::{Act, CommandType, Config, When};
use tdmq_backup::testing::{Http, Step, TlsFront};

use crate::certificates::Authority;
use crate::world::World;

const TOKEN: &str = "marker-token-7f3a";
const HERE: &str = "127.0.0.1:0";

/// A world whose broker is reached through TLS, and a rule that trusts its authority.
struct Covered {
    world: World,
    authority: Authority,
    binary: TlsFront,
    web: TlsFront,
}

fn address(url: &str) -> SocketAddr {
    url.split_once("://").unwrap().1.parse().unwrap()
}

impl Covered {
    async fn new() -> Self {
        Covered::by(|authority| authority.vouches_for("127.0.0.1")).await
    }

    async fn by(certify: impl Fn(&Authority) -> ServerConfig) -> Self {
        let mut world = World::with(Config { token: Some(TOKEN.into()), ..Config::default() }).await;
        world.send(&[1, 3, 1]);
        let authority = Authority::new();
        let front = async |to: &str| TlsFront::start(HERE.parse().unwrap(), certify(&authority), address(to)).await;
        let (binary, web) = (front(&world.broker.url()).await.unwrap(), front(&world.broker.http_url()).await.unwrap());
        world.broker.advertise(None, &format!("pulsar+ssl://{}", binary.address()));
        world.set("ca_file", format!("{:?}", authority.file()));
        Covered { world, authority, binary, web }
    }

    /// The address with TLS in a scheme.
    fn url(&self, scheme: &str) -> String {
        let front = if scheme == "https" { &self.web } else { &self.binary };
        format!("{scheme}://{}", front.address())
    }

    async fn run(&mut self, url: &str) -> Report {
        self.world.set("service_url", format!("{url:?}"));
        self.world.run_with_token(TOKEN).await
    }

    /// The run failed with these words, and nothing is left behind.
    async fn is_refused(&mut self, url: &str, kind: &str, words: &[&str]) {
        let report = self.run(url).await;
        assert_eq!(report.outcome, Outcome::Failed, "{report:?}");
        let error = report.error.unwrap();
        assert_eq!(error.kind, kind, "{}", error.message);
        for word in words {
            assert!(error.message.contains(word), "{word:?} is not in: {}", error.message);
        }
        assert!(!error.message.contains(TOKEN));
        assert!(self.world.bucket.keys().is_empty());
        assert!(self.world.topic.subscription(crate::world::SUBSCRIPTION).is_none());
    }

    fn heard_nothing(&self) {
        assert_eq!((self.binary.heard(), self.web.heard()), (vec![], vec![]));
        assert!(self.world.broker.commands().is_empty() && self.world.broker.http_requests().is_empty());
    }

    /// Every connection that the broker has seen came through TLS.
    fn all_came_through_tls(&self) {
        let mut seen: Vec<u64> = self.world.broker.commands().iter().map(|command| command.connection).collect();
        seen.dedup();
        assert_eq!(seen.len(), self.binary.connections());
    }
}

#[tokio::test]
async fn both_schemes_with_tls_store_and_acknowledge_and_say_nothing_without_it() {
    for scheme in ["pulsar+ssl", "https"] {
        let mut covered = Covered::new().await;
        let report = covered.run(&covered.url(scheme)).await;
        assert_eq!(report.outcome, Outcome::Stored, "{report:?}");
        covered.world.assert_exactly_once();
        covered.world.assert_nothing_acknowledged_unstored();
        assert_eq!(covered.world.topic.subscription(crate::world::SUBSCRIPTION).unwrap().backlog, 0);
        covered.all_came_through_tls();
        assert_eq!(covered.web.connections(), usize::from(scheme == "https"));
        assert_eq!(covered.run(&covered.url(scheme)).await.outcome, Outcome::NothingToDo);
    }
}

#[tokio::test]
async fn many_large_entries_come_through_tls_whole() {
    let mut covered = Covered::new().await;
    for size in [1, 16 << 10, 300_000, 3 << 20, 5_000] {
        covered.world.send_entry(1, size);
    }
    let report = covered.run(&covered.url("pulsar+ssl")).await;
    assert_eq!(report.outcome, Outcome::Stored, "{report:?}");
    covered.world.assert_exactly_once();
}

#[tokio::test]
async fn an_authority_that_is_not_trusted_vouches_for_nobody_and_the_token_stays_here() {
    for scheme in ["pulsar+ssl", "https"] {
        let mut covered = Covered::new().await;
        let url = covered.url(scheme);
        let other = Authority::new();
        covered.world.set("ca_file", format!("{:?}", other.file()));
        covered.is_refused(&url, "invalid", &["not trusted", "ca_file"]).await;
        // The public authorities neither.
        covered.world.rule.remove("ca_file");
        covered.is_refused(&url, "invalid", &["not trusted", "ca_file"]).await;
        covered.heard_nothing();
    }
}

#[tokio::test]
async fn a_certificate_for_another_name_is_refused_and_the_token_stays_here() {
    for scheme in ["pulsar+ssl", "https"] {
        for name in ["10.9.8.7", "broker.example.org"] {
            let mut covered = Covered::by(|authority| authority.vouches_for(name)).await;
            let url = covered.url(scheme);
            covered.is_refused(&url, "invalid", &["another name", "service_url", name]).await;
            covered.heard_nothing();
        }
    }
}

#[tokio::test]
async fn an_expired_certificate_is_refused_and_the_token_stays_here() {
    for scheme in ["pulsar+ssl", "https"] {
        let mut covered = Covered::by(|authority| authority.vouched_once_for("127.0.0.1")).await;
        let url = covered.url(scheme);
        covered.is_refused(&url, "unavailable", &["has expired"]).await;
        covered.heard_nothing();
    }
}

#[tokio::test]
async fn tls_at_a_port_without_it_and_the_reverse_are_told_apart() {
    let mut covered = Covered::new().await;
    let (binary, web) = (covered.world.broker.url(), covered.world.broker.http_url());
    for url in [binary.replace("pulsar:", "pulsar+ssl:"), web.replace("http:", "https:")] {
        covered.is_refused(&url, "unavailable", &["does not speak TLS"]).await;
    }
    covered.heard_nothing();
    let url = covered.url("pulsar");
    covered.is_refused(&url, "invalid", &["the answer is TLS", "write pulsar+ssl://"]).await;
    let url = format!("http://{}", covered.web.address());
    covered.is_refused(&url, "unavailable", &["if this is a port with TLS, write https://"]).await;
    assert_eq!(covered.binary.connections() + covered.web.connections(), 0);
}

#[tokio::test]
async fn a_broker_that_is_named_without_tls_is_not_asked() {
    for (scheme, heard) in [("pulsar+ssl", 1), ("https", 0)] {
        let mut covered = Covered::new().await;
        // What a cluster without brokerServicePortTls behind a TLS front would say.
        covered.world.broker.advertise(None, "pulsar+ssl://");
        let url = covered.url(scheme);
        covered.is_refused(&url, "unavailable", &["it has none with TLS", "the token goes nowhere else"]).await;
        covered.all_came_through_tls();
        assert_eq!(covered.binary.connections(), heard);
    }
}

#[tokio::test]
async fn a_redirect_is_followed_with_tls_and_never_without() {
    let mut covered = Covered::new().await;
    let plain = Act::Redirect { url: covered.world.broker.url(), authoritative: true };
    covered.world.broker.script(When::next(CommandType::Lookup), plain);
    let url = covered.url("pulsar+ssl");
    covered.is_refused(&url, "unavailable", &["it has none with TLS"]).await;
    covered.all_came_through_tls();

    // The other broker's certificate is looked at, too.
    let stranger = Authority::new().vouches_for("127.0.0.1");
    let to = address(&covered.world.broker.url());
    let elsewhere = TlsFront::start(HERE.parse().unwrap(), stranger, to).await.unwrap();
    let there = Act::Redirect { url: format!("pulsar+ssl://{}", elsewhere.address()), authoritative: true };
    covered.world.broker.script(When::next(CommandType::Lookup), there);
    covered.is_refused(&url, "invalid", &["not trusted"]).await;
    assert!(elsewhere.heard().is_empty());

    let server = covered.authority.vouches_for("127.0.0.1");
    let next = TlsFront::start(HERE.parse().unwrap(), server, to).await.unwrap();
    let there = Act::Redirect { url: format!("pulsar+ssl://{}", next.address()), authoritative: true };
    covered.world.broker.script(When::next(CommandType::Lookup), there);
    assert_eq!(covered.run(&url).await.outcome, Outcome::Stored);
    assert_eq!(next.connections(), 1);
    let commands = covered.world.broker.commands();
    let lookup = commands.iter().rfind(|command| command.kind == CommandType::Lookup).unwrap();
    assert!(lookup.command.lookup_topic.as_ref().unwrap().authoritative());
    covered.world.assert_exactly_once();
}

#[tokio::test]
async fn a_redirect_over_http_is_followed_in_its_own_scheme_only() {
    let mut covered = Covered::new().await;
    let (plain, tls) = (covered.world.broker.http_url(), covered.url("https"));
    let path = "/admin/v2/persistent/public/default/orders/partitions";
    let redirect = |to: &str| {
        vec![Step::send(format!(
            "HTTP/1.1 307 Temporary Redirect\r\nLocation: {to}{path}\r\nContent-Length: 0\r\n\r\n"
        ))]
    };
    let http = Http::start(vec![redirect(&plain), redirect(&tls)]).await.unwrap();
    let server = covered.authority.vouches_for("127.0.0.1");
    let door = TlsFront::start(HERE.parse().unwrap(), server, http.address()).await.unwrap();
    let url = format!("https://{}", door.address());
    covered.is_refused(&url, "unavailable", &["redirected", "the token is not sent there"]).await;
    covered.heard_nothing();
    // Then to where TLS is: the answer comes from there.
    covered.world.broker.set_token("another");
    covered.is_refused(&url, "denied", &["token"]).await;
    assert_eq!(covered.world.broker.http_requests().len(), 1);
    assert_eq!(covered.world.broker.http_requests()[0].authorization, Some(format!("Bearer {TOKEN}")));
}

#[tokio::test]
async fn a_proxy_is_reached_with_tls_however_it_reaches_the_broker() {
    for behind in ["pulsar://broker-7.internal:6650", "pulsar+ssl://broker-7.internal:6651"] {
        let mut covered = Covered::new().await;
        let act = Act::ThroughProxy { broker: behind.into() };
        covered.world.broker.script(When::next(CommandType::Lookup), act);
        assert_eq!(covered.run(&covered.url("pulsar+ssl")).await.outcome, Outcome::Stored);
        covered.world.assert_exactly_once();
        covered.all_came_through_tls();
        let commands = covered.world.broker.commands();
        let connects: Vec<_> = commands.iter().filter_map(|command| command.command.connect.as_ref()).collect();
        assert_eq!(connects.len(), 2);
        let proxied = connects[1].proxy_to_broker_url.as_deref();
        assert_eq!(proxied, Some(behind.split_once("://").unwrap().1));
    }
}

#[tokio::test]
async fn a_connection_with_tls_that_is_cut_at_any_byte_loses_and_repeats_nothing() {
    for bytes in (0..2000).step_by(211) {
        let mut covered = Covered::new().await;
        let url = covered.url("pulsar+ssl");
        covered.world.broker.cut_after(bytes);
        covered.run(&url).await;
        covered.world.broker.cut_after(usize::MAX);
        covered.world.assert_nothing_acknowledged_unstored();
        covered.world.let_go().await;
        assert!(matches!(covered.run(&url).await.outcome, Outcome::Stored | Outcome::NothingToDo));
        covered.world.assert_exactly_once();
    }
}

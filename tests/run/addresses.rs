//! Several hosts, IPv6, a listener's name, and a broker that asks for the token again.

use tdmq_backup::report::{Outcome, Report};
use tdmq_backup::testing::TlsFront;
use tdmq_backup::testing::broker::{Broker, CommandType, Config};
use tokio::net::TcpListener;

use crate::certificates::Authority;
use crate::world::{SUBSCRIPTION, World};

const TOKEN: &str = "marker-token-7f3a";
const LISTENER: &str = "custom:1250000000/vpc-abc/subnet-abc";

async fn world() -> World {
    let mut world = World::with(Config { token: Some(TOKEN.into()), ..Config::default() }).await;
    world.send(&[1, 2]);
    world
}

async fn run(world: &mut World, url: &str) -> Report {
    world.set("service_url", format!("{url:?}"));
    world.run_with_token(TOKEN).await
}

fn host(url: &str) -> &str {
    url.split_once("://").unwrap().1
}

fn connects(broker: &Broker) -> usize {
    broker.commands().iter().filter(|command| command.kind == CommandType::Connect).count()
}

/// An address at which nobody listens.
async fn nobody() -> String {
    TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap().to_string()
}

#[tokio::test]
async fn a_dead_host_is_passed_over_wherever_it_stands() {
    for scheme in ["pulsar", "http"] {
        for dead_first in [true, false] {
            let mut world = world().await;
            let url = if scheme == "http" { world.broker.http_url() } else { world.broker.url() };
            let (dead, live) = (nobody().await, host(&url));
            let hosts = if dead_first { format!("{dead},{live}") } else { format!("{live},{dead}") };
            let report = run(&mut world, &format!("{scheme}://{hosts}")).await;
            assert_eq!(report.outcome, Outcome::Stored, "{report:?}");
            world.assert_exactly_once();
            assert_eq!(world.topic.subscription(SUBSCRIPTION).unwrap().backlog, 0);
        }
    }
}

#[tokio::test]
async fn when_no_host_answers_each_is_named() {
    for scheme in ["pulsar", "pulsar+ssl", "http", "https"] {
        let mut world = world().await;
        let hosts = [nobody().await, nobody().await, nobody().await];
        let report = run(&mut world, &format!("{scheme}://{}", hosts.join(","))).await;
        assert_eq!(report.outcome, Outcome::Failed);
        let error = report.error.unwrap();
        assert_eq!(error.kind, "unavailable");
        for host in hosts {
            assert!(error.message.contains(&format!("{host}: ")), "{}", error.message);
        }
        assert!(world.bucket.keys().is_empty() && world.broker.commands().is_empty());
    }
}

#[tokio::test]
async fn a_refused_token_is_not_shown_to_the_next_host() {
    for http in [false, true] {
        let mut world = world().await;
        let other = Broker::start(Config { token: Some("right".into()), ..Config::default() }).await;
        world.broker.set_token("right");
        let url = |broker: &Broker| if http { broker.http_url() } else { broker.url() };
        let hosts = format!("{},{}", url(&world.broker), host(&url(&other)));
        let report = run(&mut world, &hosts).await;
        assert_eq!(report.error.unwrap().kind, "denied");
        let asked = |broker: &Broker| broker.http_requests().len() + connects(broker);
        assert_eq!(asked(&world.broker) + asked(&other), 1);
        assert!(world.bucket.keys().is_empty());
    }
}

#[tokio::test]
async fn an_ipv6_address_is_a_host_like_any_other() {
    if TcpListener::bind("[::1]:0").await.is_err() {
        eprintln!("NOT TESTED: this machine has no IPv6");
        return;
    }
    for scheme in ["pulsar+ssl", "https"] {
        let mut world = world().await;
        let authority = Authority::new();
        let front = async |to: &str| {
            let at = "[::1]:0".parse().unwrap();
            TlsFront::start(at, authority.vouches_for("::1"), host(to).parse().unwrap()).await.unwrap()
        };
        let (binary, web) = (front(&world.broker.url()).await, front(&world.broker.http_url()).await);
        world.broker.advertise(None, &format!("pulsar+ssl://{}", binary.address()));
        world.set("ca_file", format!("{:?}", authority.file()));
        let door = if scheme == "https" { web.address() } else { binary.address() };
        let report = run(&mut world, &format!("{scheme}://{door}")).await;
        assert_eq!(report.outcome, Outcome::Stored, "{report:?}");
        world.assert_exactly_once();
        assert_eq!((binary.connections(), web.connections()), (1, usize::from(scheme == "https")));
    }
}

#[tokio::test]
async fn a_listeners_name_is_said_in_both_lookups_and_its_address_is_used() {
    for http in [false, true] {
        let mut world = world().await;
        world.set("listener_name", format!("{LISTENER:?}"));
        world.broker.advertise(Some(LISTENER), &world.broker.url());
        // Only the listener's address leads anywhere.
        world.broker.advertise(None, &format!("pulsar://{}", nobody().await));
        let url = if http { world.broker.http_url() } else { world.broker.url() };
        let report = run(&mut world, &url).await;
        assert_eq!(report.outcome, Outcome::Stored, "{report:?}");
        world.assert_exactly_once();
        if http {
            let lookup = &world.broker.http_requests()[1];
            assert_eq!(lookup.query, "listenerName=custom%3A1250000000%2Fvpc%2Dabc%2Fsubnet%2Dabc");
        }
    }
}

#[tokio::test]
async fn a_listener_that_the_broker_does_not_have_is_named() {
    for http in [false, true] {
        let mut world = world().await;
        world.set("listener_name", "\"nosuch\"");
        let url = if http { world.broker.http_url() } else { world.broker.url() };
        let error = run(&mut world, &url).await.error.unwrap();
        assert_eq!(error.kind, "unavailable");
        assert!(error.message.contains("nosuch listener"), "{}", error.message);
        assert!(world.bucket.keys().is_empty());
    }
}

#[tokio::test]
async fn a_challenge_during_the_session_is_answered_with_the_token() {
    let world = world().await;
    let mut challenged = 0;
    let report = world
        .run_with_token_while(TOKEN, |_| {
            challenged += 1;
            world.broker.challenge();
        })
        .await;
    assert_eq!(report.outcome, Outcome::Stored, "{report:?}");
    world.assert_exactly_once();
    assert_eq!(world.topic.subscription(SUBSCRIPTION).unwrap().backlog, 0);
    let commands = world.broker.commands();
    let answers: Vec<_> = commands.iter().filter_map(|command| command.command.auth_response.as_ref()).collect();
    assert!(challenged > 0 && answers.len() == challenged, "{} of {challenged}", answers.len());
    for answer in answers {
        let data = answer.response.as_ref().unwrap();
        assert_eq!((data.auth_method_name(), data.auth_data()), ("token", TOKEN.as_bytes()));
    }
}

#[tokio::test]
async fn a_token_that_is_refused_during_the_session_ends_the_run_with_the_reason() {
    let world = world().await;
    let report = world
        .run_with_token_while(TOKEN, |_| {
            world.broker.set_token("another");
            world.broker.challenge();
        })
        .await;
    let error = report.error.clone().unwrap_or_else(|| panic!("{report:?}"));
    assert_eq!(error.kind, "denied", "{report:?}");
    assert!(error.message.contains("the token was refused") && !error.message.contains(TOKEN), "{}", error.message);
    world.assert_nothing_acknowledged_unstored();
    // With a token that is right, the next run ends what this one began.
    world.broker.set_token(TOKEN);
    world.let_go().await;
    world.run_with_token(TOKEN).await;
    world.assert_exactly_once();
}

//! Several hosts, a listener's name, and a broker that asks for the token again.

use std::process::Command;
use std::sync::mpsc;

use crate::access::{UNTOUCHED, refused, stage};
use crate::broker::get;
use crate::harness::{Stage, component, script};
use crate::process::{end, start};
use crate::proxies::before_broker;
use crate::tls::{front, heard};
use crate::wire::{Current, Late, Script, Wire};

/// Nobody listens at the first port there is.
const DEAD: &str = "127.0.0.1:1";

#[test]
fn a_dead_host_is_passed_over_wherever_it_stands() {
    for service in ["REAL_BROKER_URL", "REAL_BROKER_TLS_URL", "REAL_BROKER_HTTP", "REAL_BROKER_HTTPS"] {
        for dead_first in [true, false] {
            let mut stage = Stage::new("hosts");
            let sent = stage.produce("python", "keys", &[]);
            let address = component(service);
            let (scheme, live) = address.split_once("://").unwrap();
            let hosts = if dead_first { format!("{DEAD},{live}") } else { format!("{live},{DEAD}") };
            stage.text("service_url", &format!("{scheme}://{hosts}"));
            if scheme == "https" || scheme == "pulsar+ssl" {
                stage.text("ca_file", &component("REAL_CA"));
            }
            let run = stage.invoke();
            assert_eq!((run.outcome(), &run.report["messages"]), ("stored", &sent.len().into()), "{run:?}");
            stage.is_at_rest(&sent[sent.len() - 1]["id"]);
        }
    }
}

#[test]
fn a_refused_token_is_refused_by_the_first_of_several_hosts() {
    let mut stage = stage("hosts-denied");
    let address = component("REAL_BROKER_URL");
    let (_, host) = address.split_once("://").unwrap();
    let (reached, _end) = mpsc::channel();
    let wire = Wire::new(Script::Watch, Late::default(), reached);
    let [one, other] = [0; 2].map(|_| before_broker(&Current::of(&wire), host));
    stage.text("service_url", &format!("pulsar://{one},{other}"));
    stage.variable("TDMQ_BACKUP_TOKEN", "e30.e30.c2lnbmVkIGJ5IG5vYm9keQ");
    let run = stage.invoke();
    assert_eq!((run.code, &run.report["error"]["kind"]), (Some(1), &"denied".into()), "{run:?}");
    assert_eq!(wire.requests(), ["CONNECT"]);
    assert_eq!((stage.files(), stage.standing()), (vec![], UNTOUCHED));
}

#[test]
fn the_listener_that_is_named_says_where_the_broker_is() {
    let mut stage = stage("listener");
    let (listener, url) = (component("REAL_BROKER_LISTENER"), component("REAL_BROKER_LISTENER_URL"));
    let (_runtime, front) = front();
    stage.text("service_url", &format!("pulsar+ssl://{}", front.address())).text("ca_file", &component("REAL_CA"));
    // A standalone broker wants to be reached through the service address, as if through a proxy: what its
    // lookup answered is what the second CONNECT names.
    for (name, prefix, expected) in [(None, "without/", false), (Some(listener), "with/", true)] {
        if let Some(name) = name {
            stage.text("listener_name", &name).text("subscription", "named");
        }
        let run = stage.text("prefix", prefix).invoke();
        assert_eq!(run.outcome(), "stored", "{run:?}");
        assert_eq!(heard(&front, url.split_once("://").unwrap().1), expected);
    }

    let (http, token) = (component("REAL_BROKER_HTTP"), component("REAL_BACKUP_TOKEN"));
    let path = stage.topic.replace("://", "/");
    let query = format!("listenerName={}", component("REAL_BROKER_LISTENER"));
    let (status, found) = get(&http, &token, &format!("/lookup/v2/topic/{path}?{query}"));
    assert_eq!((status, &found["brokerUrl"]), (200, &url.as_str().into()));
    stage.text("service_url", &http).text("subscription", "over-http").text("prefix", "http/");
    let run = stage.invoke();
    assert_eq!(run.outcome(), "stored", "{run:?}");
    assert_eq!(stage.objects().len(), 3);
}

#[test]
fn a_listener_that_the_broker_does_not_have_is_an_error_in_both_lookups() {
    for service in ["REAL_BROKER_URL", "REAL_BROKER_HTTP"] {
        let mut stage = stage("listener-missing");
        let name = "custom:1250000000/vpc-abc/subnet-abc";
        stage.text("service_url", &component(service)).text("listener_name", name);
        refused(&stage, "unavailable", &["looking up"]);
        assert_eq!((stage.files(), stage.standing()), (vec![], UNTOUCHED));
    }
}

/// The broker lets a token in that expired a while ago, and asks for it again each second.
#[test]
fn a_challenge_in_the_middle_of_a_run_is_answered_and_the_run_goes_on() {
    let mut stage = Stage::new("challenge");
    let sent = stage.produce("python", "bulk", &["--count", "500", "--size", "100000"]);
    let token = end(start(Command::new(script("broker")).args(["token", "backup", "60"]))).successful("broker token");
    stage.variable("TDMQ_BACKUP_TOKEN", token.trim());
    let address = component("REAL_BROKER_URL");
    let (reached, _end) = mpsc::channel();
    let wire = Wire::new(Script::Watch, Late::default(), reached);
    let door = before_broker(&Current::of(&wire), address.split_once("://").unwrap().1);
    // Object after object, so that it takes some seconds.
    stage.text("service_url", &format!("pulsar://{door}")).number("max_messages", 1).number("max_objects", 1000);
    let run = stage.invoke();
    assert_eq!((run.outcome(), &run.report["messages"]), ("stored", &500.into()), "{run:?}");
    let answers = wire.requests().iter().filter(|it| *it == "AUTH_RESPONSE").count();
    println!("{answers} challenges");
    assert!(answers > 0, "the run ended before the broker asked");
    stage.is_at_rest(&sent[0]["last"]);
}

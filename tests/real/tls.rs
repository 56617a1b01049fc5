//! TLS to a real broker: the same objects, and nothing said to whom its authority does not vouch for.

use std::fs;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;

use rustls::ServerConfig;
use rustls::crypto::ring;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tdmq_backup::testing::TlsFront;
use tokio::runtime::{Builder, Runtime};

use crate::access::{UNTOUCHED, refused, stage};
use crate::harness::{SUBSCRIPTION, Stage, component};
use crate::records::are_those;

const COVERED: [&str; 2] = ["REAL_BROKER_TLS_URL", "REAL_BROKER_HTTPS"];

/// The run failed, and neither broker nor store was touched.
fn is_refused(stage: &Stage, kind: &str, words: &[&str]) {
    refused(stage, kind, words);
    assert_eq!(stage.files(), [""; 0]);
    assert_eq!(stage.standing(), UNTOUCHED);
}

#[test]
fn both_schemes_with_tls_give_the_same_object_as_plain_text() {
    let mut stage = Stage::new("tls");
    let sent = stage.produce("java", "keys", &[]);
    let seen = stage.dump();
    stage.text("prefix", "0/").text("subscription", "plain");
    assert_eq!(stage.invoke().outcome(), "stored");
    // A relative path starts at the rule's folder.
    fs::copy(component("REAL_CA"), stage.folder().join("ca.pem")).unwrap();
    stage.text("ca_file", "ca.pem");
    for (service, prefix, subscription) in [(COVERED[0], "1/", "covered"), (COVERED[1], "2/", SUBSCRIPTION)] {
        stage.text("service_url", &component(service)).text("prefix", prefix).text("subscription", subscription);
        let run = stage.invoke();
        assert_eq!((run.code, run.outcome()), (Some(0), "stored"), "{run:?}");
    }
    let objects = stage.objects();
    assert_eq!(objects.len(), 3);
    for object in &objects[1..] {
        assert_eq!((&object.sha256, &object.key[2..]), (&objects[0].sha256, &objects[0].key[2..]));
    }
    are_those(&objects[2].records, &sent, &seen);
    stage.is_at_rest(&sent[sent.len() - 1]["id"]);
}

#[test]
fn many_megabytes_come_through_tls_whole() {
    let mut stage = Stage::new("tls-bulk");
    let sent = stage.produce("python", "bulk", &["--count", "300", "--size", "100000"]);
    stage.text("service_url", &component("REAL_BROKER_TLS_URL")).text("ca_file", &component("REAL_CA"));
    let run = stage.invoke();
    assert_eq!((run.outcome(), &run.report["messages"]), ("stored", &300.into()), "{run:?}");
    let found: usize = stage.objects().iter().map(|object| object.records.len()).sum();
    assert_eq!(found, 300);
    stage.is_at_rest(&sent[0]["last"]);
}

#[test]
fn an_authority_that_does_not_vouch_for_the_broker_is_not_enough() {
    for service in COVERED {
        let mut stage = stage("tls-other-ca");
        stage.text("service_url", &component(service)).text("ca_file", &component("REAL_OTHER_CA"));
        is_refused(&stage, "invalid", &["not trusted", "ca_file"]);
    }
}

#[test]
fn the_public_authorities_do_not_vouch_for_the_broker() {
    for service in COVERED {
        let mut stage = stage("tls-public");
        stage.text("service_url", &component(service));
        is_refused(&stage, "invalid", &["not trusted", "ca_file"]);
    }
}

#[test]
fn a_name_that_the_certificate_is_not_for_is_refused() {
    for service in COVERED {
        let mut stage = stage("tls-name");
        let url = component(service).replace("127.0.0.1", "localhost");
        stage.text("service_url", &url).text("ca_file", &component("REAL_CA"));
        is_refused(&stage, "invalid", &["another name", "localhost", "service_url"]);
    }
}

#[test]
fn tls_at_a_plain_port_and_plain_text_at_a_port_with_tls_say_what_to_write() {
    let table = [
        ("REAL_BROKER_URL", "pulsar+ssl", "unavailable", "does not speak TLS"),
        ("REAL_BROKER_HTTP", "https", "invalid", "does not speak TLS"),
        ("REAL_BROKER_TLS_URL", "pulsar", "unavailable", "write pulsar+ssl://"),
        ("REAL_BROKER_HTTPS", "http", "unavailable", "write https://"),
        ("REAL_BROKER_HTTP", "pulsar", "invalid", "the answer is HTTP"),
    ];
    for (port, scheme, kind, words) in table {
        let mut stage = stage("tls-ports");
        let address = component(port);
        let (_, host) = address.split_once("://").unwrap();
        stage.text("service_url", &format!("{scheme}://{host}")).text("ca_file", &component("REAL_CA"));
        is_refused(&stage, kind, &[words, host]);
    }
}

/// TLS of the broker's own certificate before its plain port, that keeps what it hears. It ends with its runtime.
pub fn front() -> (Runtime, TlsFront) {
    let folder = PathBuf::from(component("REAL_CA")).with_file_name("broker");
    let chain = CertificateDer::pem_file_iter(folder.with_extension("pem")).unwrap().collect::<Result<_, _>>().unwrap();
    let key = PrivateKeyDer::from_pem_file(folder.with_extension("key")).unwrap();
    let config = ServerConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(chain, key)
        .unwrap();
    let runtime = Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
    let broker: SocketAddr = component("REAL_BROKER_URL").split_once("://").unwrap().1.parse().unwrap();
    let front = runtime.block_on(TlsFront::start("127.0.0.1:0".parse().unwrap(), config, broker)).unwrap();
    (runtime, front)
}

pub fn heard(front: &TlsFront, text: &str) -> bool {
    front.heard().windows(text.len()).any(|window| window == text.as_bytes())
}

#[test]
fn whoever_is_not_vouched_for_hears_nothing_of_the_token() {
    let (_runtime, front) = front();
    let mut stage = stage("tls-eavesdropper");
    for scheme in ["pulsar+ssl", "https"] {
        stage.text("service_url", &format!("{scheme}://{}", front.address()));
        stage.text("ca_file", &component("REAL_OTHER_CA"));
        is_refused(&stage, "invalid", &["not trusted"]);
    }
    assert!(front.heard().is_empty());
    // It would have heard it.
    stage.text("service_url", &format!("pulsar+ssl://{}", front.address())).text("ca_file", &component("REAL_CA"));
    assert_eq!(stage.invoke().outcome(), "stored");
    assert!(heard(&front, &component("REAL_BACKUP_TOKEN")));
}

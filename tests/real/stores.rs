//! The whole store against two servers that are not ours, in both ways of addressing: what the embedded bucket is
//! trusted with in the other tests is asked of both here, from the same list.

use std::fs;
use std::hash::{BuildHasher, RandomState};
use std::path::Path;
use std::process::Command;

use tdmq_backup::store::{Addressing, Keys, Limits, Settings};

use crate::harness::component;
use crate::process::{end, start};
use suite::{Place, Server};

#[path = "../store/suite.rs"]
mod suite;

/// A new bucket on the server in each way of addressing.
fn places(server: Server) -> Vec<Place> {
    let prefix = if server == Server::MinIo { "MINIO" } else { "S3" };
    let of = |what: &str| component(&format!("REAL_{prefix}_{what}"));
    let ways = [(Addressing::Virtual, of("VIRTUAL_ENDPOINT")), (Addressing::Path, of("ENDPOINT"))];
    let place = |(addressing, endpoint)| {
        let bucket = format!("store-{:016x}", RandomState::new().hash_one(0));
        fs::create_dir(Path::new(&of("DIR")).join(&bucket)).unwrap();
        let key_pair = (of("ACCESS_KEY"), of("SECRET_KEY"));
        let settings = Settings {
            endpoint,
            region: "us-east-1".to_owned(),
            bucket,
            addressing,
            keys: Keys::new(&key_pair.0, &key_pair.1, None),
            storage_class: None,
            sse: None,
            limits: Limits::default(),
        };
        Place { server, settings, key_pair }
    };
    ways.into_iter().map(place).collect()
}

macro_rules! on_each_server {
    ($($promise:ident)*) => {
        mod versitygw {
            $(#[tokio::test]
            async fn $promise() {
                for place in super::places(super::Server::Versitygw) {
                    super::suite::$promise(&place).await;
                }
            })*
        }
        mod minio {
            $(#[tokio::test]
            async fn $promise() {
                for place in super::places(super::Server::MinIo) {
                    super::suite::$promise(&place).await;
                }
            })*
        }
    };
}
suite::promises!(on_each_server);

#[test]
fn a_clock_that_is_wrong_is_refused_with_the_code_that_we_know() {
    for server in ["S3", "MINIO"] {
        let of = |what: &str| component(&format!("REAL_{server}_{what}"));
        let mut curl = Command::new("curl");
        curl.args(["-sS", "--noproxy", "*", "--aws-sigv4", "aws:amz:us-east-1:s3", "--user"]);
        curl.arg(format!("{}:{}", of("ACCESS_KEY"), of("SECRET_KEY")));
        curl.args(["-H", "X-Amz-Date: 20200101T000000Z"]).arg(format!("{}/bucket/key", of("ENDPOINT")));
        let answer = end(start(&mut curl)).successful("curl");
        assert!(answer.contains("<Code>RequestTimeTooSkewed</Code>"), "{server} {answer}");
    }
}

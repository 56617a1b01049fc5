//! What the broker itself says, over HTTP.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::Duration;

use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use serde_json::Value;

use crate::harness::SUBSCRIPTION;

const LIMIT: Duration = Duration::from_secs(60);

/// `None` where there is no such subscription.
#[derive(Debug, PartialEq)]
pub struct Standing {
    pub mark_delete: Option<String>,
    pub backlog: Option<u64>,
    pub consumers: usize,
}

pub fn standing(http: &str, token: &str, topic: &str) -> Standing {
    standing_of(http, token, topic, SUBSCRIPTION)
}

/// `name`: letters, digits and `-`.
pub fn standing_of(http: &str, token: &str, topic: &str, name: &str) -> Standing {
    let path = path_of(topic);
    let internal = get(http, token, &format!("/admin/v2/{path}/internalStats")).1;
    let stats = get(http, token, &format!("/admin/v2/{path}/stats")).1;
    let subscription = &stats["subscriptions"][name];
    Standing {
        mark_delete: internal["cursors"][name]["markDeletePosition"].as_str().map(str::to_owned),
        backlog: subscription["msgBacklog"].as_u64(),
        consumers: subscription["consumers"].as_array().map_or(0, Vec::len),
    }
}

/// A topic in an address of the administration.
pub fn path_of(topic: &str) -> String {
    let (folder, name) = topic.strip_prefix("persistent://").unwrap().rsplit_once('/').unwrap();
    format!("persistent/{folder}/{}", utf8_percent_encode(name, NON_ALPHANUMERIC))
}

/// An order to the broker's administration: the status of its answer.
pub fn order(http: &str, token: &str, method: &str, path: &str) -> u16 {
    let host = http.strip_prefix("http://").unwrap();
    let head = format!("{method} {path} HTTP/1.0\r\nHost: {host}\r\nAuthorization: Bearer {token}\r\n");
    let body = "Content-Type: application/json\r\nContent-Length: 0\r\n\r\n";
    ask(TcpStream::connect(host).unwrap(), &(head + body)).0
}

/// A question to the broker's administration: status and answer.
pub fn get(http: &str, token: &str, path: &str) -> (u16, Value) {
    let host = http.strip_prefix("http://").unwrap();
    ask(
        TcpStream::connect(host).unwrap(),
        &format!("GET {path} HTTP/1.0\r\nHost: {host}\r\nAuthorization: Bearer {token}\r\n\r\n"),
    )
}

/// An order to the broker's administration; the status it answers with.
pub fn administer(http: &str, token: &str, method: &str, path: &str, body: &str) -> u16 {
    let host = http.strip_prefix("http://").unwrap();
    let request = format!(
        "{method} {path} HTTP/1.0\r\nHost: {host}\r\nAuthorization: Bearer {token}\r\nContent-Type: application/json\r\n\
         Content-Length: {}\r\n\r\n{body}",
        body.len()
    );
    ask(TcpStream::connect(host).unwrap(), &request).0
}

/// One request in HTTP/1.0, whose answer comes in one piece and ends with the connection: status and JSON.
pub fn ask(mut stream: TcpStream, request: &str) -> (u16, Value) {
    stream.set_read_timeout(Some(LIMIT)).unwrap();
    stream.write_all(request.as_bytes()).unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    let (head, body) = answer.split_once("\r\n\r\n").unwrap();
    let status = head.split(' ').nth(1).unwrap().parse().unwrap();
    (status, serde_json::from_str(body).unwrap_or(Value::Null))
}

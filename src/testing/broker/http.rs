//! The HTTP side: partitions and lookup, as TDMQ's access addresses need them.
//!
//! HTTP/1.1 with persistent connections, GET only, no request bodies.

use std::sync::Arc;

use percent_encoding::percent_decode_str;
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};
use tokio::net::TcpStream;

use super::record::HttpRequest;
use super::state::State;
use super::{Shared, topic_name};

pub(super) async fn serve(stream: TcpStream, shared: Arc<Shared>) {
    let _ = stream.set_nodelay(true);
    let mut stream = BufReader::new(stream);
    while let Some((method, request)) = read(&mut stream).await {
        let (status, body) = {
            let mut state = shared.lock();
            let answer = answer(&mut state, &method, &request);
            state.requests.push(request);
            answer
        };
        shared.changed.notify_waiters();
        let head = format!(
            "HTTP/1.1 {status} {}\r\ncontent-type: application/json\r\ncontent-length: {}\r\n\r\n",
            reason(status),
            body.len()
        );
        if stream.write_all(format!("{head}{body}").as_bytes()).await.is_err() {
            return;
        }
    }
}

async fn read(stream: &mut BufReader<TcpStream>) -> Option<(String, HttpRequest)> {
    let mut line = String::new();
    stream.read_line(&mut line).await.ok()?;
    let mut words = line.split_whitespace();
    let (method, target) = (words.next()?.to_owned(), words.next()?);
    let (path, query) = target.split_once('?').unwrap_or((target, ""));
    let mut request = HttpRequest { path: path.into(), query: query.into(), authorization: None, listener: None };
    loop {
        let mut line = String::new();
        if stream.read_line(&mut line).await.ok()? == 0 {
            return None;
        }
        let Some((name, value)) = line.trim_end().split_once(':') else { return Some((method, request)) };
        let value = Some(value.trim().to_owned());
        match name.to_ascii_lowercase().as_str() {
            "authorization" => request.authorization = value,
            "x-pulsar-listenername" => request.listener = value,
            _ => {}
        }
    }
}

fn answer(state: &mut State, method: &str, request: &HttpRequest) -> (u16, String) {
    if !state.http_answers.is_empty() {
        return state.http_answers.remove(0);
    }
    if method != "GET" {
        return failure(405, "HTTP 405 Method Not Allowed");
    }
    let bearer = state.config.token.as_ref().map(|token| format!("Bearer {token}"));
    if bearer.is_some() && request.authorization != bearer {
        return failure(401, "HTTP 401 Unauthorized");
    }
    let lookup = request.path.strip_prefix("/lookup/v2/topic/persistent/");
    let partitions =
        request.path.strip_prefix("/admin/v2/persistent/").and_then(|rest| rest.strip_suffix("/partitions"));
    match (lookup, partitions) {
        (Some(topic), _) => lookup_answer(state, &decoded(topic), request),
        (_, Some(topic)) => partitions_answer(state, &decoded(topic), &request.query),
        _ => failure(404, "HTTP 404 Not Found"),
    }
}

fn decoded(topic: &str) -> String {
    topic_name(&percent_decode_str(topic).decode_utf8_lossy())
}

fn lookup_answer(state: &State, topic: &str, request: &HttpRequest) -> (u16, String) {
    if !state.topics.contains_key(topic) && !state.config.auto_create_topics {
        return failure(404, "Topic not found.");
    }
    let query = request.query.split('&').find_map(|pair| pair.strip_prefix("listenerName="));
    let query = query.map(|name| percent_decode_str(name).decode_utf8_lossy().into_owned());
    let listener = query.or_else(|| request.listener.clone());
    let Some([plain, tls]) = state.addresses(listener.as_deref()) else {
        return failure(500, &format!("the broker do not have {} listener", listener.unwrap_or_default()));
    };
    let mut body = serde_json::json!({"httpUrl": state.http_url, "brokerUrlSsl": ""});
    // What the broker does not have, it leaves out.
    for (name, url) in [("brokerUrl", &plain), ("nativeUrl", &plain), ("brokerUrlTls", &tls)] {
        if let Some(url) = url {
            body[name] = url.as_str().into();
        }
    }
    (200, body.to_string())
}

fn partitions_answer(state: &State, topic: &str, query: &str) -> (u16, String) {
    let creates = state.config.auto_create_topics && query.split('&').any(|q| q == "checkAllowAutoCreation=true");
    let exists = creates || state.topics.contains_key(topic);
    match state.partitions.get(topic) {
        Some(count) => (200, serde_json::json!({"partitions": count}).to_string()),
        None if exists => (200, serde_json::json!({"partitions": 0}).to_string()),
        None => failure(404, &format!("Topic {topic} not found")),
    }
}

fn failure(status: u16, reason: &str) -> (u16, String) {
    (status, serde_json::json!({"reason": reason}).to_string())
}

fn reason(status: u16) -> &'static str {
    match status {
        200 => "OK",
        401 => "Unauthorized",
        403 => "Forbidden",
        404 => "Not Found",
        405 => "Method Not Allowed",
        503 => "Service Unavailable",
        _ => "Status",
    }
}

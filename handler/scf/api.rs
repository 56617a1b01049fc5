//! The four calls of SCF's runtime API. Each has a connection of its own: one that was kept over a reply may have been
//! frozen with the instance for hours.

use std::time::Duration;

use anyhow::{Context, ensure};
use http_body_util::{BodyExt, Full, Limited};
use hyper::body::{Bytes, Incoming};
use hyper::client::conn::http1;
use hyper::header::{CONTENT_TYPE, HOST};
use hyper::{HeaderMap, Method, Request, Response};
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;
use tokio::time::timeout;

/// Within which the API takes a connection, and answers what it does not have to wait for.
const PROMPT: Duration = Duration::from_secs(10);
/// Events are of 6 MB at most.
const LARGEST_EVENT: usize = 8 << 20;

pub struct Api {
    address: String,
}

/// An event, and what its headers say. Those that are missing or cannot be read are not known; their names are
/// compared without regard to case, as all of HTTP's.
pub struct Invocation {
    /// Empty where it is not known.
    pub request: String,
    /// What the run may take from now on, in ms.
    pub time_limit: Option<u64>,
    pub body: Bytes,
}

impl Api {
    /// `address` is `host:port`.
    pub fn new(address: &str) -> Self {
        Api { address: address.to_owned() }
    }

    /// Says that invocations are welcome.
    pub async fn ready(&self) -> anyhow::Result<()> {
        // A body is required; every sample of the platform's sends a space.
        self.post("/runtime/init/ready", " ").await
    }

    /// Waits for the next event, however long that takes. It is the same one as before until that is answered.
    pub async fn next(&self) -> anyhow::Result<Invocation> {
        let path = "/runtime/invocation/next";
        let (headers, body) = self.call(Method::GET, path, String::new()).await?;
        Ok(Invocation { request: text(&headers, "request_id"), time_limit: time_limit(&headers), body })
    }

    /// Answers the current event: with a result, or with what went wrong.
    pub async fn reply(&self, outcome: &Result<String, String>) -> anyhow::Result<()> {
        match outcome {
            Ok(result) => self.post("/runtime/invocation/response", result).await,
            Err(error) => self.post("/runtime/invocation/error", error).await,
        }
    }

    async fn post(&self, path: &str, body: &str) -> anyhow::Result<()> {
        let call = self.call(Method::POST, path, body.to_owned());
        timeout(PROMPT, call).await.with_context(|| format!("the runtime API does not answer {path}"))?.map(drop)
    }

    /// The headers and the body of an answer of status 2xx.
    async fn call(&self, method: Method, path: &str, body: String) -> anyhow::Result<(HeaderMap, Bytes)> {
        let doing = || format!("{method} {path} of the runtime API");
        let request = Request::builder()
            .method(&method)
            .uri(path)
            .header(HOST, &self.address)
            .header(CONTENT_TYPE, "application/json")
            .body(Full::new(Bytes::from(body)))
            .with_context(doing)?;
        let stream =
            timeout(PROMPT, TcpStream::connect(&self.address)).await.with_context(doing)?.with_context(doing)?;
        let _ = stream.set_nodelay(true);
        let (mut sender, connection) =
            http1::Builder::new().handshake::<_, Full<Bytes>>(TokioIo::new(stream)).await.with_context(doing)?;
        let answer = async {
            let answer = sender.send_request(request).await?;
            read(answer).await
        };
        tokio::pin!(connection);
        tokio::pin!(answer);
        // The connection is driven here, and gone when the answer is there: nothing goes on in the background.
        let answer = tokio::select! {
            biased;
            answer = &mut answer => answer,
            _ = &mut connection => answer.await,
        };
        answer.with_context(doing)
    }
}

async fn read(answer: Response<Incoming>) -> anyhow::Result<(HeaderMap, Bytes)> {
    let (head, body) = answer.into_parts();
    ensure!(head.status.is_success(), "status {}", head.status);
    let body = Limited::new(body, LARGEST_EVENT).collect().await.map_err(anyhow::Error::from_boxed)?;
    Ok((head.headers, body.to_bytes()))
}

fn text(headers: &HeaderMap, name: &str) -> String {
    let value = headers.get(name).and_then(|value| value.to_str().ok()).unwrap_or_default().trim();
    value.chars().take(200).collect()
}

fn time_limit(headers: &HeaderMap) -> Option<u64> {
    text(headers, "time_limit_in_ms").parse().ok().filter(|limit| *limit > 0)
}

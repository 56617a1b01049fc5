//! The way of one request from rusoto to the store and back.
//!
//! ```text
//!  rusoto ─ SignedRequest ─▶ host and path ─▶ condition ─▶ signature ─▶ hyper ─▶ store
//!  rusoto ◀─ HttpResponse ─ headers that it can read ◀─ body, bounded ◀─ status ◀──┘
//!                                                                          └─ else Failure
//! ```
//!
//! Owns: addressing, the conditions that rusoto's requests have no field for, and the signature (rusoto's own code,
//! called here because it covers the host; it reads the machine's clock at each try). Does not own: what rusoto may
//! see of an answer ([`super::answer`]), trying again, and what a failure means.
//!
//! A value of this lives for one request. What went wrong is left in its slot, since rusoto's own error is
//! a string.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use hyper::body::Body;
use hyper::header::{HeaderName, HeaderValue};
use hyper::{HeaderMap, Method, Request};
use rusoto_core::credential::AwsCredentials;
use rusoto_core::request::{DispatchSignedRequest, DispatchSignedRequestFuture, HttpDispatchError, HttpResponse};
use rusoto_core::signature::{SignedRequest, SignedRequestPayload};
use rusoto_core::{ByteStream, Client as Unsigned};

use super::answer::{ends_by_itself, holds_error, is_readable, is_success, readable};
use super::credentials::Keys;
use super::endpoint::Endpoint;
use super::failure::{Doing, Failure, Meaning};
use super::limits::{Allowance, Pace};
use super::wire::{Client, Incoming, Outgoing, reasons};

/// The most of a refusal that is read.
const REFUSAL: usize = 64 << 10;

/// What all requests of a store share.
pub(super) struct Line {
    pub endpoint: Endpoint,
    pub keys: Keys,
}

/// What becomes of the body of an answer.
#[derive(Clone, Copy, Debug)]
pub(super) enum Answer {
    /// An object's bytes, read to their end here; more than this many are a failure.
    Whole(usize),
    /// An object's bytes, handed on while they arrive.
    Streamed,
    /// What the store itself says, read to its end here; more than this many bytes are a failure.
    Document(usize),
}

#[derive(Clone)]
pub(super) struct Call {
    pub line: Arc<Line>,
    pub client: Client,
    pub doing: Doing,
    /// `If-None-Match` or `If-Match`, and its value.
    pub condition: Option<(&'static str, String)>,
    pub answer: Answer,
    pub allowance: Allowance,
    pub slot: Slot,
}

/// Where a call leaves its failure.
#[derive(Clone, Default)]
pub(super) struct Slot(Arc<Mutex<Option<Failure>>>);

impl Slot {
    pub fn take(&self) -> Option<Failure> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).take()
    }

    fn put(&self, failure: Failure) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Some(failure);
    }
}

impl Call {
    /// The rusoto client that sends through this call.
    pub fn through(self) -> Unsigned {
        Unsigned::new_not_signing(self)
    }

    async fn send(&self, request: SignedRequest) -> Result<HttpResponse, Failure> {
        if self.allowance.spent() {
            return Err(self.doing.cut(super::limits::Cut::Deadline, false));
        }
        let pace = Pace::default();
        let request = self.prepare(request, &pace)?;
        let method = request.method().clone();
        let signed = request.headers().get("x-amz-date").and_then(|date| date.to_str().ok()).unwrap_or_default();
        let signed = signed.to_owned();
        let empty = request.body().size_hint().exact() == Some(0);
        // hyper takes the first chunk together with the head: none taken, nothing sent.
        let sent = || empty || pace.count() > 0;
        let answer = match self.allowance.wait(&pace, self.client.request(request)).await {
            Err(cut) => return Err(self.doing.cut(cut, sent())),
            Ok(Err(error)) if pace.failed() => {
                let why = "its bytes could not be read back; see that the temporary files' folder is sound";
                let failure = self.doing.fails(Meaning::Unread, why);
                return Err(failure.because(reasons(&error)));
            }
            Ok(Err(error)) if error.is_connect() || !sent() => {
                let failure = self.doing.fails(
                    Meaning::NotSent,
                    "the store could not be reached; check endpoint (http or https, host, port) and the network",
                );
                return Err(failure.because(reasons(&error)));
            }
            Ok(Err(error)) => {
                let failure = self.doing.fails(Meaning::Unanswered, "the connection broke before an answer");
                return Err(failure.because(reasons(&error)));
            }
            Ok(Ok(answer)) => answer,
        };
        let (parts, mut body) = answer.into_parts();
        let status = parts.status.as_u16();
        let refused = |text: &[u8]| self.doing.refused(status, &parts.headers, text, &self.line.keys, &signed);
        if !is_success(&method, status) {
            // A refusal whose text is cut short is still a refusal.
            let mut text = BytesMut::new();
            let _ = self.read(&mut body, REFUSAL, &mut text).await;
            return Err(refused(&text));
        }
        let mut whole = BytesMut::new();
        match self.answer {
            Answer::Whole(_) | Answer::Streamed if !ends_by_itself(&method, &parts.headers) => {
                return Err(self.doing.fails(Meaning::Garbled, "the answer does not say where the object ends"));
            }
            Answer::Streamed => {}
            Answer::Whole(most) => self.read(&mut body, most, &mut whole).await?,
            Answer::Document(most) => {
                self.read(&mut body, most, &mut whole).await?;
                if holds_error(&whole) {
                    return Err(refused(&whole));
                }
                // rusoto reads no other ones.
                if matches!(method, Method::GET | Method::POST) && !is_readable(&whole) {
                    return Err(self.doing.fails(Meaning::Garbled, "the answer is not whole, or is none of a store"));
                }
            }
        }
        let Ok(status) = status.try_into() else {
            return Err(self.doing.fails(Meaning::Garbled, "the answer has no valid status"));
        };
        Ok(HttpResponse {
            status,
            body: match self.answer {
                Answer::Streamed => ByteStream::new(Incoming(body)),
                Answer::Whole(_) | Answer::Document(_) => ByteStream::from(whole.to_vec()),
            },
            headers: readable(&parts.headers, method == Method::HEAD)
                .into_iter()
                .filter_map(|(name, value)| Some((name.parse().ok()?, value)))
                .collect(),
        })
    }

    /// Address, condition, signature; then from rusoto's types to hyper's.
    fn prepare(&self, mut request: SignedRequest, pace: &Pace) -> Result<Request<Outgoing>, Failure> {
        let Line { endpoint, keys, .. } = &*self.line;
        request.path = endpoint.path(&request.path);
        request.scheme = Some(endpoint.scheme().to_owned());
        request.set_hostname(Some(endpoint.authority().to_owned()));
        if let Some((name, value)) = &self.condition {
            request.add_header(name, value);
        }
        let token = keys.token().map(|token| token.reveal().to_owned());
        request.sign(&AwsCredentials::new(keys.id().reveal(), keys.secret().reveal(), token, None));

        let broken = |_| self.doing.fails(Meaning::Rejected, "a name or a value cannot stand in an HTTP request");
        let mut uri = format!("{}{}", endpoint.base(), request.canonical_uri());
        if !request.canonical_query_string().is_empty() {
            uri += &format!("?{}", request.canonical_query_string());
        }
        let mut headers = HeaderMap::new();
        for (name, values) in request.headers() {
            let name = HeaderName::from_bytes(name.as_bytes()).map_err(|_| broken(()))?;
            for value in values {
                let mut value = HeaderValue::from_bytes(value).map_err(|_| broken(()))?;
                // hyper and its helpers print headers at trace level, but not these.
                value.set_sensitive(name == "authorization" || name == "x-amz-security-token");
                headers.append(&name, value);
            }
        }
        headers.insert("user-agent", HeaderValue::from_static(concat!("tdmq-backup/", env!("CARGO_PKG_VERSION"))));
        let length = headers.get("content-length").and_then(|value| value.to_str().ok()?.parse().ok()).unwrap_or(0);
        let chunks = request.payload.take().map(|payload| match payload {
            SignedRequestPayload::Buffer(bytes) => ByteStream::from(bytes.to_vec()),
            SignedRequestPayload::Stream(stream) => stream,
        });
        let method = Method::from_bytes(request.method.as_bytes()).map_err(|_| broken(()))?;
        let outgoing = Outgoing::new(chunks, length, pace.clone());
        let mut built = Request::builder().method(method).uri(uri).body(outgoing).map_err(|_| broken(()))?;
        *built.headers_mut() = headers;
        Ok(built)
    }

    /// The rest of an answer, up to `most` bytes.
    async fn read(&self, body: &mut hyper::body::Incoming, most: usize, into: &mut BytesMut) -> Result<(), Failure> {
        let still = Pace::default();
        loop {
            let chunk: Bytes = match self.allowance.wait(&still, next(body)).await {
                Err(cut) => return Err(self.doing.cut(cut, true)),
                Ok(Some(Err(error))) => {
                    let failure = self.doing.fails(Meaning::Unanswered, "the answer was cut short");
                    return Err(failure.because(reasons(&error)));
                }
                Ok(Some(Ok(chunk))) => chunk,
                Ok(None) => return Ok(()),
            };
            if into.len() + chunk.len() > most {
                let meaning = match self.answer {
                    Answer::Whole(_) | Answer::Streamed => Meaning::Oversized,
                    Answer::Document(_) => Meaning::Garbled,
                };
                return Err(self.doing.fails(meaning, &format!("the answer is longer than {most} bytes")));
            }
            into.extend_from_slice(&chunk);
        }
    }
}

impl DispatchSignedRequest for Call {
    fn dispatch(&self, request: SignedRequest, _: Option<Duration>) -> DispatchSignedRequestFuture {
        let call = self.clone();
        Box::pin(async move {
            call.send(request).await.map_err(|failure| {
                call.slot.put(failure);
                HttpDispatchError::new("the failure is in the slot".to_owned())
            })
        })
    }
}

async fn next(body: &mut hyper::body::Incoming) -> Option<Result<Bytes, hyper::Error>> {
    loop {
        let frame = std::future::poll_fn(|context| std::pin::Pin::new(&mut *body).poll_frame(context)).await?;
        match frame.map(hyper::body::Frame::into_data) {
            Ok(Ok(chunk)) => return Some(Ok(chunk)),
            Ok(Err(_trailers)) => {}
            Err(error) => return Some(Err(error)),
        }
    }
}

//! Questions to a cluster over HTTP: GET, JSON, and to whom the token goes.
//!
//! Owns: the client, redirects, what a status means. Does not own what is asked.

use std::time::Duration;

use bytes::Bytes;
use http_body_util::{BodyExt, Empty, Limited};
use hyper::header::{ACCEPT, AUTHORIZATION, HeaderMap, HeaderValue, LOCATION};
use hyper::{Request, StatusCode, Uri};
use hyper_rustls::{HttpsConnector, HttpsConnectorBuilder};
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::client::legacy::{Client, Error as ClientError};
use hyper_util::rt::TokioExecutor;
use rustls::ClientConfig;
use serde::Deserialize;
use serde::de::DeserializeOwned;

use super::address::Address;
use super::connection::{CONNECT_LIMIT, Caller, NO_TOKEN, within};
use super::failure::MissingTopic;
use crate::error::{Error, Kind, Result};
use crate::secret::Secret;
use crate::tls;

/// How many hosts may send us on to another before we give up.
const MOST_REDIRECTS: usize = 20;
const LIMIT: Duration = Duration::from_secs(10);
const MOST_ANSWER_BYTES: usize = 64 << 10;

/// A client of one scheme: where that is `https`, nothing goes to a host without TLS, wherever it is sent on to.
pub(crate) struct Http {
    client: Client<HttpsConnector<HttpConnector>, Empty<Bytes>>,
    scheme: &'static str,
}

impl Http {
    /// `scheme`: `http` or `https`. Connects to nothing yet.
    pub fn new(scheme: &'static str, config: ClientConfig) -> Self {
        let mut tcp = HttpConnector::new();
        tcp.set_connect_timeout(Some(CONNECT_LIMIT));
        tcp.set_nodelay(true);
        tcp.enforce_http(false);
        let tls = HttpsConnectorBuilder::new().with_tls_config(config);
        let connector = if scheme == "https" { tls.https_only() } else { tls.https_or_http() };
        let client = Client::builder(TokioExecutor::new()).build(connector.enable_http1().wrap_connector(tcp));
        Http { client, scheme }
    }

    /// What `door` answers to a GET of `path`, or whoever it sends us on to. `doing` is for errors.
    pub async fn get<T: DeserializeOwned>(
        &self,
        door: &Address,
        path: &str,
        doing: &str,
        who: &Caller<'_>,
    ) -> Result<T> {
        let unavailable = |why: String| Error::new(Kind::Unavailable, doing).because(why);
        let url = format!("{}://{door}{path}", self.scheme);
        let mut uri: Uri = url.parse().map_err(|e| Error::new(Kind::Invalid, doing).because(e))?;
        for _ in 0..MOST_REDIRECTS {
            let host = uri.authority().map_or("", |authority| authority.as_str());
            let late = || unavailable(format!("{host} does not answer"));
            let request = self.client.request(request(&uri, who, doing)?);
            let reply = within(LIMIT, who.deadline, request, late).await?;
            let reply = reply.map_err(|e| self.no_answer(host, doing, e))?;
            let status = reply.status();
            if status.is_redirection() {
                let to = self.redirect(reply.headers(), doing);
                uri = to.map_err(|e| Error::new(e.kind(), redacted(&e.to_string(), who.token)))?;
                continue;
            }
            let body = Limited::new(reply.into_body(), MOST_ANSWER_BYTES).collect();
            let body = within(LIMIT, who.deadline, body, late).await?;
            let body = body.map_err(|e| unavailable(e.to_string()))?.to_bytes();
            if status != StatusCode::OK {
                return Err(refused(doing, status, &body, who.token));
            }
            return serde_json::from_slice(&body)
                .map_err(|e| unavailable(redacted(&format!("the answer is not what was expected: {e}"), who.token)));
        }
        Err(unavailable("redirected round in circles".into()))
    }

    fn no_answer(&self, host: &str, doing: &str, error: ClientError) -> Error {
        if let Some(refused) = tls::refused(host, &error) {
            return Error::new(refused.kind(), doing).because(refused.chain());
        }
        let advice = match error.is_connect() || self.scheme == "https" {
            true => "check service_url, the VPC and its security group",
            false => "if this is a port with TLS, write https:// in service_url",
        };
        // The client's own error prints as "client error (Connect)": its source says why.
        let why = Error::new(Kind::Unavailable, format!("no answer from {host}; {advice}")).because(error);
        Error::new(Kind::Unavailable, doing).because(why.chain())
    }

    /// Where a broker sends us: only by the scheme we came with, since the token goes along.
    fn redirect(&self, headers: &HeaderMap, doing: &str) -> Result<Uri> {
        let to = headers.get(LOCATION).and_then(|value| value.to_str().ok()).unwrap_or_default();
        to.parse::<Uri>().ok().filter(|uri| uri.scheme_str() == Some(self.scheme)).ok_or_else(|| {
            let scheme = self.scheme;
            let text =
                format!("{doing}: redirected to {to:?}, which is not {scheme}://host: the token is not sent there");
            Error::new(Kind::Unavailable, text)
        })
    }
}

fn request(uri: &Uri, who: &Caller<'_>, doing: &str) -> Result<Request<Empty<Bytes>>> {
    let mut request = Request::get(uri.clone()).header(ACCEPT, "application/json");
    if let Some(token) = who.token {
        let mut bearer = HeaderValue::try_from(format!("Bearer {}", token.reveal()))
            .map_err(|_| Error::new(Kind::Invalid, "the token has characters that no HTTP header may have"))?;
        bearer.set_sensitive(true);
        request = request.header(AUTHORIZATION, bearer);
    }
    request.body(Empty::new()).map_err(|e| Error::new(Kind::Internal, doing).because(e))
}

/// `text` without the token.
pub(super) fn redacted(text: &str, token: Option<&Secret>) -> String {
    token.map_or_else(|| text.to_owned(), |token| token.redact(text))
}

fn refused(doing: &str, status: StatusCode, body: &[u8], token: Option<&Secret>) -> Error {
    let (kind, advice) = match status.as_u16() {
        // Brokers say 401 for a role without the right, too.
        401 if token.is_none() => (Kind::Denied, NO_TOKEN),
        401 => (
            Kind::Denied,
            ": the token was refused, or its role may not do this, or the namespace is misspelt; check TDMQ_BACKUP_TOKEN or token_file against the role's key, and that the role has `consume` on the namespace",
        ),
        403 => (Kind::Denied, ": the role may not do this; grant it `consume` on the namespace"),
        404 => (Kind::NotFound, ": the topic does not exist; check cluster, namespace and topic"),
        _ => (Kind::Unavailable, ""),
    };
    #[derive(Deserialize)]
    struct Reason {
        #[serde(alias = "message")]
        reason: String,
    }
    let words = serde_json::from_slice::<Reason>(body)
        .map(|r| r.reason)
        .unwrap_or_else(|_| String::from_utf8_lossy(body).split_whitespace().collect::<Vec<_>>().join(" "));
    // What it repeats of the token must not become part of an error.
    let words = token.map_or(words.clone(), |token| token.redact(&words));
    let words: String = words.trim().chars().take(200).collect();
    let words = format!("the broker says {status}: {words}");
    let error = Error::new(kind, format!("{doing}{advice}"));
    if kind == Kind::NotFound { error.because(MissingTopic(words)) } else { error.because(words) }
}

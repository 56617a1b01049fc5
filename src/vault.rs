//! The token from AWS Secrets Manager, by way of the AWS Parameters and Secrets extension beside the function.
//!
//! ```text
//!  run ──▶ GET http://localhost:2773/secretsmanager/get?secretId=… ──▶ extension ──▶ Secrets Manager
//!          X-Aws-Parameters-Secrets-Token: the function's session token   keeps it for five minutes
//! ```
//!
//! Asked in each run, since the extension serves nothing before the first one, and so that a token that was replaced comes into
//! force by itself. Source: "Use AWS Secrets Manager secrets in AWS Lambda functions" in AWS's documentation.

use std::time::Duration;

use bytes::Bytes;
use http_body_util::{BodyExt, Empty, Limited};
use hyper::Request;
use hyper_util::client::legacy::Client;
use hyper_util::rt::TokioExecutor;
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use serde::Deserialize;
use tokio::time::{Instant, timeout_at};

use crate::error::{Error, Kind, Result};
use crate::secret::Secret;

/// For the answer, where the extension has to ask the service first.
const LIMIT: Duration = Duration::from_secs(10);
const MOST_BYTES: usize = 128 << 10;

/// Where a secret is read, and with what.
#[derive(Clone, Debug)]
pub struct Vault {
    name: String,
    door: String,
    session: Secret,
}

impl Vault {
    /// For the secret of this name, where `env` is that of a Lambda function.
    pub fn from_env(env: impl Fn(&str) -> Option<String>, name: &str) -> Option<Vault> {
        let look = |name: &str| env(name).filter(|value| !value.is_empty());
        look("AWS_LAMBDA_FUNCTION_NAME")?;
        let port = look("PARAMETERS_SECRETS_EXTENSION_HTTP_PORT").unwrap_or_else(|| "2773".to_owned());
        let session = Secret::new(look("AWS_SESSION_TOKEN")?);
        Some(Vault { name: name.to_owned(), door: format!("localhost:{port}"), session })
    }

    /// The secret's text, which must be a token and nothing else. Errors never quote an answer.
    pub async fn read(&self, now: Instant) -> Result<Secret> {
        let name = utf8_percent_encode(&self.name, NON_ALPHANUMERIC);
        let url = format!("http://{}/secretsmanager/get?secretId={name}", self.door);
        let request = Request::get(url)
            .header("X-Aws-Parameters-Secrets-Token", self.session.reveal())
            .body(Empty::<Bytes>::new())
            .map_err(|e| self.error(Kind::Internal, "cannot be asked for").because(e))?;
        let absent = "the extension does not answer: deploy again, and look whether the function has its layer";
        let asked = async {
            let client = Client::builder(TokioExecutor::new()).build_http::<Empty<Bytes>>();
            let reply = client.request(request).await.map_err(|e| self.error(Kind::Unavailable, absent).because(e))?;
            let status = reply.status();
            let body = Limited::new(reply.into_body(), MOST_BYTES).collect().await;
            body.map(|body| (status, body.to_bytes())).map_err(|_| self.error(Kind::Unavailable, absent))
        };
        let late = |_| {
            self.error(Kind::Unavailable, "the extension does not answer: in a VPC it needs a way to Secrets Manager")
        };
        let (status, body) = timeout_at(now + LIMIT, asked).await.map_err(late)??;
        if !status.is_success() {
            return Err(self.refused(status.as_u16(), &String::from_utf8_lossy(&body)));
        }
        #[derive(Deserialize)]
        struct Answer {
            #[serde(rename = "SecretString")]
            text: String,
        }
        let answer: Answer = serde_json::from_slice(&body)
            .map_err(|_| self.error(Kind::Invalid, "is no text: put the token into it, alone"))?;
        let token = answer.text.trim();
        match !token.is_empty() && token.bytes().all(|byte| byte.is_ascii_graphic()) {
            true => Ok(Secret::new(token)),
            false => Err(self.error(Kind::Invalid, "is no token: put the role's key into it, alone and on one line")),
        }
    }

    fn refused(&self, status: u16, body: &str) -> Error {
        if body.contains("AccessDenied") {
            return self
                .error(Kind::Denied, "may not be read: give the function's role secretsmanager:GetSecretValue on it");
        }
        if body.contains("ResourceNotFound") {
            return self.error(
                Kind::NotFound,
                "does not exist in the function's region: create it, or mend deploy.token_secret",
            );
        }
        self.error(Kind::Unavailable, &format!("cannot be read: the extension says {status}"))
    }

    fn error(&self, kind: Kind, what: &str) -> Error {
        Error::new(kind, format!("the token: the secret {:?} {what}", self.name))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Clock;
    use crate::testing::http::{Http, Step};

    fn vault(server: &Http) -> Vault {
        let port = server.address().port().to_string();
        let env = move |name: &str| match name {
            "AWS_LAMBDA_FUNCTION_NAME" => Some("orders".to_owned()),
            "AWS_SESSION_TOKEN" => Some("MARKER-SESSION".to_owned()),
            "PARAMETERS_SECRETS_EXTENSION_HTTP_PORT" => Some(port.clone()),
            _ => None,
        };
        Vault::from_env(env, "tdmq backup/orders").unwrap()
    }

    fn answer(status: &str, body: &str) -> Vec<Step> {
        vec![Step::send(format!("HTTP/1.1 {status}\r\ncontent-length: {}\r\n\r\n{body}", body.len()))]
    }

    #[tokio::test]
    async fn the_secret_is_asked_for_by_name_with_the_session_token() {
        let server = Http::start(vec![answer("200 OK", r#"{"SecretString":"MARKER-TOKEN\n"}"#)]).await.unwrap();
        let vault = vault(&server);
        let token = vault.read(Clock::system().now()).await.unwrap();
        assert_eq!(token.reveal(), "MARKER-TOKEN");
        let seen = &server.seen()[0];
        assert!(
            seen.head.starts_with("GET /secretsmanager/get?secretId=tdmq%20backup%2Forders HTTP/1.1"),
            "{}",
            seen.head
        );
        assert_eq!(seen.header("x-aws-parameters-secrets-token"), Some("MARKER-SESSION"));
        assert!(!format!("{vault:?}{token:?}").contains("MARKER"));
    }

    #[tokio::test]
    async fn what_is_refused_says_what_to_do_and_never_quotes_the_answer() {
        for (status, body, kind, words) in [
            ("400 Bad Request", "AccessDeniedException MARKER", Kind::Denied, "secretsmanager:GetSecretValue"),
            ("400 Bad Request", "ResourceNotFoundException MARKER", Kind::NotFound, "deploy.token_secret"),
            ("400 Bad Request", "not ready MARKER", Kind::Unavailable, "says 400"),
            ("200 OK", r#"{"SecretBinary":"MARKER"}"#, Kind::Invalid, "no text"),
            ("200 OK", r#"{"SecretString":"MARKER two"}"#, Kind::Invalid, "no token"),
        ] {
            let server = Http::start(vec![answer(status, body)]).await.unwrap();
            let error = vault(&server).read(Clock::system().now()).await.unwrap_err();
            assert_eq!(error.kind(), kind);
            let text = error.chain();
            assert!(
                text.contains(words) && text.contains("\"tdmq backup/orders\"") && !text.contains("MARKER"),
                "{text}"
            );
        }
    }

    #[tokio::test]
    async fn outside_of_lambda_there_is_no_vault() {
        assert!(Vault::from_env(|_| None, "a").is_none());
        let only = |name: &str| (name == "AWS_SESSION_TOKEN").then(|| "x".to_owned());
        assert!(Vault::from_env(only, "a").is_none());
    }
}

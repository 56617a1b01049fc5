//! `bootstrap` as a process, under a runtime API that the test plays: when it ends, and what it never says.

use std::fmt::Write as _;
use std::process::{Command, Output, Stdio};

use tdmq_backup::Clock;
use tdmq_backup::testing::broker::{Broker, CommandType, Config};
use tdmq_backup::testing::compose::{Composer, Draft};
use tdmq_backup::testing::http::Seen;
use tdmq_backup::testing::{Http, Step};

/// What must not be anywhere: the id, the key and the token of the store, and the broker's token.
const SECRETS: [&str; 4] = ["marker-id/1+", "marker-key/2+", "marker-session/3+", "marker.broker/4-_"];

fn answer(status: &str, headers: &str, body: &str) -> Vec<Step> {
    vec![Step::send(format!("HTTP/1.1 {status}\r\nContent-Length: {}\r\n{headers}\r\n{body}", body.len()))]
}

/// The runtime API: an event whenever one is asked for, and thanks for every reply.
fn platform(seen: &Seen) -> Vec<Step> {
    match seen.head.starts_with("GET") {
        true => answer(
            "200 OK",
            "lambda-runtime-aws-request-id: r1\r\nlambda-runtime-deadline-ms: 600000\r\n\
             lambda-runtime-invoked-function-arn: arn:aws:lambda:a:1:function:f\r\n\
             request_id: r1\r\ntime_limit_in_ms: 60000\r\n",
            "{}",
        ),
        false => answer("202 Accepted", "", ""),
    }
}

fn refusing(code: &str) -> Vec<Step> {
    let [id, key, session, _] = SECRETS;
    let body = format!("<Error><Code>{code}</Code><Message>{id} {key} {session}</Message></Error>");
    answer("403 Forbidden", "", &body)
}

struct Instance {
    broker: Broker,
    platform: Http,
    store: Http,
    program: Command,
}

impl Instance {
    /// Not started yet; the store answers each request with `code`.
    async fn facing(code: &'static str) -> Self {
        let broker = Broker::start(Config { token: Some(SECRETS[3].into()), ..Config::default() }).await;
        broker.topic("orders").append(Composer::new("p").single(Draft::new("1")));
        let platform = Http::start_then(Vec::new(), platform).await.unwrap();
        let store = Http::start(vec![refusing(code); 50]).await.unwrap();
        let mut program = Command::new(env!("CARGO_BIN_EXE_bootstrap"));
        program.env_clear().stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        for (name, value) in [
            ("AWS_LAMBDA_RUNTIME_API", platform.address().to_string().as_str()),
            ("AWS_LAMBDA_FUNCTION_NAME", "orders"),
            ("AWS_LAMBDA_FUNCTION_VERSION", "1"),
            ("AWS_LAMBDA_FUNCTION_MEMORY_SIZE", "256"),
            ("AWS_ACCESS_KEY_ID", SECRETS[0]),
            ("AWS_SECRET_ACCESS_KEY", SECRETS[1]),
            ("AWS_SESSION_TOKEN", SECRETS[2]),
            ("AWS_LAMBDA_LOG_LEVEL", "TRACE"),
            ("AWS_LAMBDA_LOG_FORMAT", "JSON"),
            ("RUST_LOG", "trace"),
            ("RUST_BACKTRACE", "full"),
            ("TDMQ_BACKUP_NAME", "orders"),
            ("TDMQ_BACKUP_SERVICE_URL", &broker.url()),
            ("TDMQ_BACKUP_TOPIC", "persistent://public/default/orders"),
            ("TDMQ_BACKUP_SUBSCRIPTION", "backup"),
            ("TDMQ_BACKUP_TOKEN", SECRETS[3]),
            ("TDMQ_BACKUP_BUCKET", "orders"),
            ("TDMQ_BACKUP_REGION", "ap-guangzhou"),
            ("TDMQ_BACKUP_ENDPOINT", &format!("http://{}", store.address())),
            ("TDMQ_BACKUP_ADDRESSING", "path"),
            ("TDMQ_BACKUP_INTERVAL", "5m"),
        ] {
            program.env(name, value);
        }
        Instance { broker, platform, store, program }
    }

    /// The same on SCF, with the keys where its role's are.
    fn on_scf(mut self) -> Self {
        let program = &mut self.program;
        for (lambdas, scfs, value) in [
            ("AWS_ACCESS_KEY_ID", "TENCENTCLOUD_SECRETID", SECRETS[0]),
            ("AWS_SECRET_ACCESS_KEY", "TENCENTCLOUD_SECRETKEY", SECRETS[1]),
            ("AWS_SESSION_TOKEN", "TENCENTCLOUD_SESSIONTOKEN", SECRETS[2]),
            ("AWS_LAMBDA_RUNTIME_API", "SCF_RUNTIME_API", "127.0.0.1"),
            ("AWS_LAMBDA_FUNCTION_NAME", "SCF_RUNTIME_API_PORT", &self.platform.address().port().to_string()),
            ("AWS_LAMBDA_FUNCTION_VERSION", "TENCENTCLOUD_RUNENV", "SCF"),
        ] {
            program.env_remove(lambdas).env(scfs, value);
        }
        self
    }

    /// How often an event was asked for.
    fn asked(&self) -> usize {
        self.platform.seen().iter().filter(|seen| seen.head.starts_with("GET")).count()
    }

    /// Runs until it ends, or until it asks for an event again: then it is ended here.
    async fn run(&mut self) -> Output {
        let mut child = self.program.spawn().unwrap();
        let limit = Clock::system().now() + std::time::Duration::from_secs(60);
        while child.try_wait().unwrap().is_none() {
            assert!(Clock::system().now() < limit, "neither ends nor goes on: {:?}", self.platform.seen());
            if self.asked() > 1 {
                child.kill().unwrap();
            }
            tokio::task::yield_now().await;
        }
        tokio::task::spawn_blocking(|| child.wait_with_output().unwrap()).await.unwrap()
    }

    /// The replies, with their paths.
    fn replies(&self) -> String {
        let posts = self.platform.seen().into_iter().filter(|seen| seen.head.starts_with("POST"));
        posts.fold(String::new(), |mut text, post| {
            write!(text, "{}{}", post.head, String::from_utf8_lossy(&post.body)).unwrap();
            text
        })
    }
}

#[tokio::test]
async fn an_instance_whose_store_keys_have_ended_says_so_and_ends_without_touching_the_subscription() {
    for (code, path) in [
        ("ExpiredToken", "/r1/error"),
        ("InvalidAccessKeyId", "/r1/error"),
        ("ExpiredToken", "/runtime/invocation/error"),
        ("InvalidAccessKeyId", "/runtime/invocation/error"),
    ] {
        let mut instance = Instance::facing(code).await;
        if path.starts_with("/runtime") {
            instance = instance.on_scf();
        }
        let output = instance.run().await;
        let stderr = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(1), "{code}: {stderr}");
        assert_eq!(stderr, "", "{code}");
        assert_eq!((instance.asked(), instance.store.seen().len()), (1, 1), "{code}");
        let replies = instance.replies();
        assert!(replies.contains(path) && replies.contains("denied") && replies.contains(code), "{replies}");
        // The store comes before any reading, so that nothing was done for nothing.
        let read = [CommandType::Subscribe, CommandType::Flow, CommandType::Ack, CommandType::Seek];
        let commands = instance.broker.commands();
        assert!(commands.iter().all(|command| !read.contains(&command.kind)), "{code}: {commands:?}");
        assert_eq!(instance.broker.topic("orders").subscription("backup"), None);
    }
}

#[tokio::test]
async fn an_instance_that_was_refused_for_another_reason_goes_on() {
    for code in ["AccessDenied", "SignatureDoesNotMatch"] {
        let mut instance = Instance::facing(code).await;
        let output = instance.run().await;
        assert_eq!(output.status.code(), None, "{code}: ended by itself");
        assert_eq!(instance.asked(), 2);
        assert!(instance.replies().contains("denied"), "{}", instance.replies());
    }
}

#[tokio::test]
async fn nothing_that_an_instance_says_holds_a_secret() {
    for code in ["ExpiredToken", "AccessDenied", "NoSuchBucket", "PermanentRedirect", "NeverHeardOf", "SlowDown"] {
        let mut instance = Instance::facing(code).await;
        let output = instance.run().await;
        let texts = [
            String::from_utf8_lossy(&output.stdout).into_owned(),
            String::from_utf8_lossy(&output.stderr).into_owned(),
            instance.replies(),
        ];
        assert!(texts[0].contains(code) && texts[2].contains(code), "{texts:?}");
        for text in texts {
            assert!(!text.contains("marker") && !text.contains("Signature"), "{code}: {text}");
        }
        // They were there to be said.
        assert!(instance.store.seen()[0].head.contains(SECRETS[2]), "{code}");
    }
}

#[test]
fn an_instance_that_cannot_serve_says_why_in_one_line_and_ends() {
    for (variables, kind, reason) in [
        (&[("AWS_LAMBDA_RUNTIME_API", "not an address")][..], "invalid", "AWS_LAMBDA_RUNTIME_API names no address"),
        (&[("AWS_LAMBDA_RUNTIME_API", "/only/a/path")], "invalid", "AWS_LAMBDA_RUNTIME_API names no address"),
        // What else the runtime needs, and panics without.
        (&[("AWS_LAMBDA_RUNTIME_API", "127.0.0.1:1")], "internal", "panicked"),
        (&[("SCF_RUNTIME_API", "127.0.0.1"), ("SCF_RUNTIME_API_PORT", "x")], "invalid", "name no address"),
        (&[], "invalid", "bootstrap is started by AWS Lambda or Tencent SCF"),
    ] {
        let mut program = Command::new(env!("CARGO_BIN_EXE_bootstrap"));
        let ended = program.env_clear().envs(variables.iter().copied()).stdin(Stdio::null()).output().unwrap();
        let [printed, warned] = [&ended.stdout, &ended.stderr].map(|bytes| String::from_utf8_lossy(bytes).into_owned());
        assert_eq!((ended.status.code(), warned.as_str()), (Some(1), ""), "{printed}");
        assert_eq!(printed.lines().count(), 1, "{printed}");
        let line: serde_json::Value = serde_json::from_str(&printed).unwrap();
        assert_eq!((&line["outcome"], &line["error"]["kind"]), (&"failed".into(), &kind.into()), "{line}");
        assert!(line["error"]["message"].as_str().unwrap().contains(reason), "{line}");
    }
}

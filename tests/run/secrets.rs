//! No secret in anything that the program says or stores, on any way it can end, at every level there is.

use std::collections::BTreeMap;
use std::fs;
use std::process::{Command, Stdio};

use base64::Engine;
use base64::engine::general_purpose::{STANDARD_NO_PAD, URL_SAFE_NO_PAD};
use tdmq_backup::testing::broker::{Act, CommandType, Config, ServerError, When};
use tdmq_backup::testing::{Http, Step};
use tempfile::TempDir;

use crate::world::World;

/// Of a platform's temporary keys.
const SESSION: &str = "MARKERsession/0Aa+bB1cC2dD3eE4fF5gG6hH7iI8jJ9kK=";
/// A proxy's password, for which no use is foreseen.
const PROXY: &str = "MARKERproxy0Aa";

/// A token for a role, as TDMQ gives them out.
fn token() -> String {
    let part = |text: &str| URL_SAFE_NO_PAD.encode(text);
    format!("{}.{}.MARKERtoken0Aa-_x", part("{\"alg\":\"HS256\"}"), part("{\"sub\":\"reader\"}"))
}

/// The secret in every form that somebody may write it in.
fn forms(secret: &str) -> Vec<String> {
    let percent = |upper: bool| -> String {
        let code = |byte: u8| if upper { format!("%{byte:02X}") } else { format!("%{byte:02x}") };
        let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-._~".contains(&byte);
        secret.bytes().map(|byte| if plain(byte) { char::from(byte).to_string() } else { code(byte) }).collect()
    };
    let hex: String = secret.bytes().map(|byte| format!("{byte:02x}")).collect();
    vec![
        secret.to_owned(),
        percent(true),
        percent(false),
        hex.to_uppercase(),
        hex,
        STANDARD_NO_PAD.encode(secret),
        URL_SAFE_NO_PAD.encode(secret),
    ]
}

struct Stage {
    world: World,
    folder: TempDir,
    env: BTreeMap<String, String>,
    /// Each with a text that only a leak of it or of its parts contains.
    secrets: Vec<String>,
    said: usize,
}

impl Stage {
    async fn new() -> Self {
        let mut world = World::with(Config { token: Some(token()), ..Config::default() }).await;
        world.send(&[3]);
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join("token"), token()).unwrap();
        let (id, key) = world.bucket.key_pair();
        let mut env: BTreeMap<String, String> = BTreeMap::new();
        for (name, value) in [("AWS_ACCESS_KEY_ID", id), ("AWS_SECRET_ACCESS_KEY", key), ("AWS_SESSION_TOKEN", SESSION)]
        {
            env.insert(name.into(), value.into());
        }
        for name in ["RUST_LOG", "HYPER_LOG", "AWS_LAMBDA_LOG_LEVEL", "LOG_LEVEL"] {
            env.insert(name.into(), "trace".into());
        }
        for name in ["HTTP_PROXY", "http_proxy", "HTTPS_PROXY", "https_proxy", "ALL_PROXY"] {
            env.insert(name.into(), format!("http://me:{PROXY}@127.0.0.1:1"));
        }
        env.insert("RUST_BACKTRACE".into(), "full".into());
        world.set("role", "\"reader\"");
        world.set("token_file", "\"token\"");
        let secrets = [id, key, SESSION, PROXY, &token(), "MARKER"].map(str::to_owned).to_vec();
        Stage { world, folder, env, secrets, said: 0 }
    }

    /// Runs `invoke` with these lines instead of the rule's own, and says what it printed and its exit code.
    async fn invoke(&mut self, lines: &[(&str, &str)], event: Option<&str>) -> (String, i32) {
        let mut rule: BTreeMap<&str, &str> =
            self.world.rule.iter().map(|(key, value)| (*key, value.as_str())).collect();
        rule.extend(lines.iter().copied());
        let text: String = rule.iter().map(|(key, value)| format!("{key} = {value}\n")).collect();
        self.run(&text, event).await
    }

    async fn run(&mut self, rule: &str, event: Option<&str>) -> (String, i32) {
        let file = |name: &str| self.folder.path().join(name);
        fs::write(file("rule.toml"), rule).unwrap();
        fs::write(file("event.json"), event.unwrap_or("{}")).unwrap();
        let mut both = (String::new(), 0);
        for json in [false, true] {
            let mut program = Command::new(env!("CARGO_BIN_EXE_tdmq-backup"));
            program.env_clear().envs(&self.env).stdin(Stdio::null()).args(["invoke", "--timeout", "20"]);
            program.arg("--rule").arg(file("rule.toml")).arg("--event").arg(file("event.json"));
            if json {
                program.arg("--json");
            }
            let output = tokio::task::spawn_blocking(move || program.output().unwrap()).await.unwrap();
            both.0 += &String::from_utf8_lossy(&output.stdout);
            both.0 += &String::from_utf8_lossy(&output.stderr);
            both.1 = output.status.code().unwrap();
        }
        self.said += 1;
        self.keeps_quiet(&both.0);
        assert!(!both.0.contains("panicked"), "{}", both.0);
        both
    }

    fn keeps_quiet(&self, text: &str) {
        for secret in &self.secrets {
            for form in forms(secret) {
                assert!(!text.contains(&form), "{form} in: {text}");
            }
        }
    }

    /// A store that says all the keys it was sent, in every form, after this status line and headers.
    async fn echo(&self, head: &str, code: &str) -> Http {
        let all: Vec<String> = self.secrets[..3].iter().flat_map(|secret| forms(secret)).collect();
        let body = format!("<Error><Code>{code}</Code><Message>{}</Message></Error>", all.join(" "));
        let id = format!("x-amz-request-id: {SESSION}\r\nLocation: http://elsewhere/?token={}", all[0]);
        let text = format!("HTTP/1.1 {head}\r\n{id}\r\nContent-Length: {}\r\n\r\n{body}", body.len());
        Http::start(vec![vec![Step::send(text)]; 40]).await.unwrap()
    }
}

#[tokio::test]
async fn a_run_that_goes_well_stores_and_says_no_secret() {
    let mut stage = Stage::new().await;
    let (said, code) = stage.invoke(&[], None).await;
    assert_eq!(code, 0, "{said}");
    stage.world.assert_exactly_once();
    assert!(!stage.world.objects().is_empty() && stage.world.head().is_some());
    for key in stage.world.bucket.keys() {
        stage.keeps_quiet(&key);
        stage.keeps_quiet(&format!("{:?}", stage.world.bucket.metadata(&key)));
        stage.keeps_quiet(&String::from_utf8_lossy(&stage.world.bucket.read(&key).unwrap()));
    }
    for line in stage.world.all_lines() {
        stage.keeps_quiet(&line.to_string());
    }
}

#[tokio::test]
async fn what_a_store_repeats_of_the_keys_is_not_said() {
    let mut stage = Stage::new().await;
    for (head, code) in [
        ("403 Forbidden", "AccessDenied"),
        ("400 Bad Request", "ExpiredToken"),
        ("403 Forbidden", "SignatureDoesNotMatch"),
        ("404 Not Found", "NoSuchBucket"),
        ("307 Temporary Redirect", "TemporaryRedirect"),
        ("301 Moved", ""),
        ("418 Odd", "NeverHeardOf"),
        ("200 OK\r\nETag: \"1\"", "AccessDenied"),
    ] {
        let http = stage.echo(head, code).await;
        let endpoint = format!("\"http://{}\"", http.address());
        let (said, ended) = stage.invoke(&[("endpoint", &endpoint)], None).await;
        assert_ne!(ended, 0, "{said}");
        assert!(http.seen()[0].header("x-amz-security-token") == Some(SESSION), "it was sent");
    }
    assert_eq!(stage.world.topic.subscription(crate::world::SUBSCRIPTION), None);
}

#[tokio::test]
async fn what_a_broker_repeats_of_the_token_is_not_said() {
    let mut stage = Stage::new().await;
    for form in forms(&token()) {
        let words = format!("the token {form} of {} is not known", token());
        for _ in 0..2 {
            let act = Act::Error(ServerError::AuthenticationError, words.clone());
            stage.world.broker.script(When::next(CommandType::Connect), act);
        }
        assert_eq!(stage.invoke(&[], None).await.1, 1);
    }
    let body = format!("{{\"reason\":{:?}}}", forms(&token()).join(" "));
    for status in ["401 Unauthorized", "403 Forbidden", "307 Moved\r\nLocation: http://127.0.0.1:1/MARKER"] {
        let text = format!("HTTP/1.1 {status}\r\nContent-Length: {}\r\n\r\n{body}", body.len());
        let http = Http::start(vec![vec![Step::send(text)]; 8]).await.unwrap();
        let url = format!("\"http://{}\"", http.address());
        let (said, code) = stage.invoke(&[("service_url", &url)], None).await;
        assert_ne!(code, 0, "{said}");
    }
}

#[tokio::test]
async fn connections_that_cannot_be_made_are_told_without_a_secret() {
    let mut stage = Stage::new().await;
    let plain = stage.world.broker.url().replace("pulsar://", "");
    let bucket = stage.world.bucket.endpoint().replace("http://", "");
    for lines in [
        [("service_url", format!("\"pulsar+ssl://{plain}\""))],
        [("service_url", "\"pulsar://127.0.0.1:1\"".to_owned())],
        [("service_url", "\"https://127.0.0.1:1\"".to_owned())],
        [("endpoint", format!("\"https://{bucket}\""))],
        [("endpoint", "\"http://127.0.0.1:1\"".to_owned())],
    ] {
        let lines = lines.each_ref().map(|(key, value)| (*key, value.as_str()));
        let (said, code) = stage.invoke(&lines, None).await;
        assert_eq!(code, 1, "{said}");
    }
}

#[tokio::test]
async fn a_secret_in_the_wrong_place_of_a_rule_or_an_event_is_not_repeated() {
    let mut stage = Stage::new().await;
    let quoted = |text: &str| format!("{text:?}");
    let (token, key) = (quoted(&token()), quoted("MARKERkey0Aa1bB2cC3dD4eE5fF6gG7h"));
    for (name, value) in [
        ("token", &*token),
        ("token_file", &*token),
        ("ca_file", &*token),
        ("tokn", &*token),
        ("role", &*token),
        ("bucket", &*token),
        ("topic", &*token),
        ("prefix", &*token),
        ("start", &*token),
        ("interval", &*token),
        ("service_url", &*token),
        ("bucket", &*key),
        ("storage_class", &*key),
        ("region", &*key),
        ("endpoint", &*key),
        ("name", "\"MARKERkey0Aa1bB2cC3dD4eE5fF6gG7h!\""),
        ("service_url", "\"pulsar://me:MARKER@127.0.0.1:6650\""),
        ("service_url", "\"http://MARKER@127.0.0.1:8080\""),
        ("endpoint", "\"https://me:MARKER@s3.localhost\""),
        ("endpoint", "\"https://MARKER@s3.localhost\""),
        ("token_file", "\".\""),
        ("token_file", "\"none\""),
        ("interval", "MARKER"),
        ("interval", "\"MARKER"),
    ] {
        let (said, code) = stage.invoke(&[(name, value)], None).await;
        // A role may have any name; that the token is another one's is a warning.
        assert_eq!(code, if name == "role" { 0 } else { 2 }, "{name}: {said}");
        assert!(said.contains(if value.ends_with("MARKER") { "line" } else { name }), "{name}: {said}");
    }
    for event in [
        "MARKER",
        "[\"MARKER\"]",
        "{\"token\":\"MARKER\"}",
        "{\"Type\":\"Timer\",\"Message\":\"MARKER\"}",
        "{\"seek\":\"MARKER\"}",
    ] {
        let (said, code) = stage.invoke(&[], Some(event)).await;
        assert_eq!(code, 2, "{event}: {said}");
    }
    for text in ["MARKER two\nlines", " MARKER", "MARKER\u{e9}", "a\tMARKER"] {
        fs::write(stage.folder.path().join("token"), text).unwrap();
        let (said, code) = stage.invoke(&[], None).await;
        assert_eq!(code, 2, "{text:?}: {said}");
    }
}

#[tokio::test]
async fn keys_that_are_missing_or_stand_in_a_profile_are_told_or_used_without_being_said() {
    let mut stage = Stage::new().await;
    let (id, key) = stage.world.bucket.key_pair();
    let profile = |more: &str| format!("[work]\naws_access_key_id = {id}\naws_secret_access_key = {key}\n{more}\n");
    let file = stage.folder.path().join("credentials");
    let set = [
        ("AWS_PROFILE", "work"),
        ("AWS_SHARED_CREDENTIALS_FILE", file.to_str().unwrap()),
        ("AWS_CONFIG_FILE", "/none"),
    ];
    stage.env.remove("AWS_SECRET_ACCESS_KEY");
    assert_eq!(stage.invoke(&[], None).await.1, 1);
    stage.env.remove("AWS_ACCESS_KEY_ID");
    assert_eq!(stage.invoke(&[], None).await.1, 1);
    stage.env.extend(set.map(|(name, value)| (name.to_owned(), value.to_owned())));
    for (text, expected) in [
        (profile("role_arn = arn:MARKER"), 1),
        (profile("sso_session = MARKER"), 1),
        ("[work]\ncredential_process = /bin/MARKER\n".to_owned(), 1),
        (profile(&format!("aws_session_token = {SESSION}")), 0),
    ] {
        fs::write(&file, text).unwrap();
        let (said, code) = stage.invoke(&[], None).await;
        assert_eq!(code, expected, "{said}");
    }
    stage.world.assert_exactly_once();
    assert!(stage.said > 5);
}

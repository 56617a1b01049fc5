//! The rule's other sources: variables, named files, the token.

use std::fs;
use std::path::Path;
use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;

use super::{SHORT, rule};
use crate::Result;
use crate::rule::{Rule, RuleError};

/// What must never be seen.
const MARKER: &str = "MARKER-7f3a";

fn jwt(subject: &str) -> String {
    let part = |json: String| URL_SAFE_NO_PAD.encode(json);
    format!("{}.{}.{MARKER}", part(r#"{"alg":"HS256"}"#.into()), part(format!(r#"{{"sub":"{subject}"}}"#)))
}

fn variables(pairs: &[(&str, &str)]) -> Vec<(String, String)> {
    pairs.iter().map(|(name, value)| (format!("TDMQ_BACKUP_{name}"), (*value).to_owned())).collect()
}

fn load(text: &str, env: &[(&str, &str)]) -> Result<Rule> {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("rule.toml");
    fs::write(&path, text).unwrap();
    fs::write(folder.path().join("token.jwt"), format!("{}\r\n", jwt("reader"))).unwrap();
    Rule::load(Some(&path), variables(env))
}

#[test]
fn variables_override_single_keys_and_are_named_in_problems() {
    let rule =
        load(SHORT, &[("INTERVAL", "10m"), ("MAX_MESSAGES", "7"), ("MAX_BYTES", "9"), ("NAME", "a1"), ("PREFIX", "")])
            .unwrap();
    assert_eq!(rule.interval, Duration::from_secs(600));
    assert_eq!((rule.max_messages, rule.max_bytes, rule.name.as_str()), (7, 9, "a1"));
    let error = load(SHORT, &[("INTERVAL", "5"), ("SHARD", "3/2"), ("TOPPIC", "x"), ("VPC", "v"), ("DEPLOY", "x")])
        .unwrap_err()
        .to_string();
    for line in [
        "TDMQ_BACKUP_INTERVAL: must be 5 to 15 minutes",
        "TDMQ_BACKUP_SHARD: must be",
        "TDMQ_BACKUP_TOPPIC: is not a known variable: did you mean TDMQ_BACKUP_TOPIC?",
        "TDMQ_BACKUP_VPC: is not a known variable",
        "TDMQ_BACKUP_DEPLOY: is not a known variable",
    ] {
        assert!(error.contains(line), "{line} in {error}");
    }
}

#[test]
fn variables_alone_make_a_rule() {
    let env = [
        ("NAME", "orders-backup"),
        ("SERVICE_URL", "pulsar://h"),
        ("TOPIC", "persistent://t/n/x"),
        ("SUBSCRIPTION", "backup"),
        ("BUCKET", "orders-1250000000"),
        ("REGION", "ap-beijing"),
        ("INTERVAL", "15m"),
    ];
    let mut env = variables(&env);
    env.push(("PATH".into(), "/bin".into()));
    assert_eq!(Rule::load(None, env).unwrap().topic.to_string(), "persistent://t/n/x");
    assert!(Rule::load(None, variables(&[("NAME", "")])).unwrap_err().to_string().contains("TDMQ_BACKUP_RULE"));
}

#[test]
fn the_rule_file_can_be_named_by_a_variable_and_must_exist() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("r.toml");
    fs::write(&path, SHORT).unwrap();
    let env = || variables(&[("RULE", path.to_str().unwrap())]);
    assert_eq!(Rule::load(None, env()).unwrap().name, "orders-backup");
    let RuleError(problems) = Rule::try_load(Some(Path::new("no/such.toml")), env()).unwrap_err();
    assert!(problems.len() == 1 && problems[0].to_string().starts_with("rule file: no/such.toml cannot be read"));
}

#[test]
fn the_token_comes_from_the_environment_before_the_file() {
    let text = rule(&[r#"token_file = "token.jwt""#]);
    assert_eq!(load(&text, &[]).unwrap().token.unwrap().reveal(), jwt("reader"));
    assert_eq!(load(&text, &[("TOKEN", "abc\n")]).unwrap().token.unwrap().reveal(), "abc");
    let missing = rule(&[r#"token_file = "none.jwt""#]);
    assert!(load(&missing, &[]).unwrap_err().to_string().contains("none.jwt cannot be read"));
    assert!(load(&missing, &[("TOKEN", "abc")]).is_ok());
}

#[test]
fn a_ca_file_is_read_once_beside_the_rule_and_must_hold_certificates() {
    let authority = rcgen::generate_simple_self_signed(["ca".to_owned()]).unwrap().cert.pem();
    let folder = tempfile::tempdir().unwrap();
    let load = |scheme: &str, pem: Option<&str>| {
        let path = folder.path().join("rule.toml");
        fs::write(&path, rule(&[&format!(r#"service_url = "{scheme}://h""#), r#"ca_file = "ca.pem""#])).unwrap();
        let _ = fs::remove_file(folder.path().join("ca.pem"));
        if let Some(pem) = pem {
            fs::write(folder.path().join("ca.pem"), pem).unwrap();
        }
        Rule::load(Some(&path), [])
    };
    for scheme in ["https", "pulsar+ssl"] {
        let both = load(scheme, Some(&format!("first\n{authority}\n{authority}"))).unwrap();
        assert_eq!((both.authorities.unwrap().len(), both.warnings.len()), (2, 0));
    }
    // One that nothing is done with is odd.
    assert!(load("pulsar", Some(&authority)).unwrap().warnings[0].starts_with("ca_file: pulsar:// is without TLS"));
    let broken = authority.replace("MI", "!!");
    let not_a_certificate = "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n";
    let table = [
        (None, "cannot be read"),
        (Some(""), "holds no certificate"),
        (Some("-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n"), "holds no certificate"),
        (Some(broken.as_str()), "is not PEM"),
        (Some(not_a_certificate), "holds a certificate that cannot be read"),
    ];
    for (pem, why) in table {
        let error = load("https", pem).unwrap_err().to_string();
        assert!(error.contains("ca_file: ") && error.contains("ca.pem") && error.contains(why), "{error}");
    }
    // Not read, it vouches for nobody.
    let unread = Rule::from_toml(&rule(&[r#"service_url = "https://h""#, r#"ca_file = "ca.pem""#])).unwrap();
    assert!(unread.authorities.unwrap().is_empty());
}

#[test]
fn a_token_for_another_role_is_a_warning() {
    let of = |role: &str, token: &str| load(&rule(&[role]), &[("TOKEN", token)]).unwrap().warnings;
    let warnings = of(r#"role = "writer""#, &jwt("reader"));
    assert!(warnings.len() == 1 && warnings[0].contains(r#"for "reader", not for "writer""#), "{warnings:?}");
    assert!(!warnings[0].contains(MARKER));
    assert!(of(r#"role = "reader""#, &jwt("reader")).is_empty());
    assert!(of(r#"role = "reader""#, "not-a-jwt").is_empty());
    assert!(of("role", &jwt("reader")).is_empty());
}

#[test]
fn the_token_is_never_printed() {
    let rule_text = rule(&[r#"token_file = "token.jwt""#, r#"role = "x""#]);
    assert!(!format!("{:?}", load(&rule_text, &[]).unwrap()).contains(MARKER));
    let token = jwt("x");
    for bad in [format!("{MARKER} {MARKER}"), format!("{MARKER}\n{MARKER}"), format!("{MARKER}é"), "\n".into()] {
        let error = load(SHORT, &[("TOKEN", &bad)]).unwrap_err();
        assert!(error.to_string().contains("TDMQ_BACKUP_TOKEN: holds "), "{error}");
        assert!(!format!("{error:?} {error}").contains(MARKER));
    }
    for key in [
        "token",
        "token_file",
        "ca_file",
        "tokne",
        "name",
        "service_url",
        "topic",
        "prefix",
        "start",
        "format",
        "bucket",
        "endpoint",
    ] {
        let error = load(&rule(&[&format!("{key} = {token:?}")]), &[]).unwrap_err();
        assert!(!format!("{error:?} {error}").contains(MARKER), "{error}");
    }
}

//! Which keys sign the requests.
//!
//! Owns: the choice among what the platforms put into the environment and what a user keeps in a profile, and keeping it
//! out of every text. Does not own: reading the environment, which is passed in.

mod profile;

use super::endpoint::{is_aws, is_cos};
use crate::{Error, Kind, Result, Secret};

/// A key pair, with the session token that temporary ones need. `Debug` shows nothing of it.
#[derive(Clone, Debug)]
pub struct Keys {
    id: Secret,
    secret: Secret,
    token: Option<Secret>,
}

/// The three names under which a platform or a user passes a key pair.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Names {
    Tencent,
    Aws,
}

impl Names {
    fn of(self) -> [&'static str; 3] {
        match self {
            Names::Tencent => ["TENCENTCLOUD_SECRETID", "TENCENTCLOUD_SECRETKEY", "TENCENTCLOUD_SESSIONTOKEN"],
            Names::Aws => ["AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN"],
        }
    }
}

impl Keys {
    pub fn new(id: impl Into<String>, secret: impl Into<String>, token: Option<String>) -> Self {
        Keys { id: Secret::new(id), secret: Secret::new(secret), token: token.map(Secret::new) }
    }

    /// The keys for `endpoint`, from the environment that `env` looks up. An empty variable counts as absent.
    ///
    /// A platform sets its role's keys by itself, so those of one cloud are never taken for the other's
    /// store. Where no variable holds any and no platform is under it, a profile of `~/.aws/credentials` does, the one that
    /// `AWS_PROFILE` names or `default`. `Denied` when none are left, and when half of a pair is missing.
    pub fn from_env(env: impl Fn(&str) -> Option<String>, endpoint: &str) -> Result<Keys> {
        let look = |name: &str| env(name).map(|value| value.trim().to_owned()).filter(|value| !value.is_empty());
        let lambda = look("AWS_LAMBDA_FUNCTION_NAME").is_some();
        let scf = look("TENCENTCLOUD_RUNENV").is_some_and(|value| value == "SCF");
        let order: &[Names] = match (is_cos(endpoint), is_aws(endpoint)) {
            (true, _) if lambda => &[Names::Tencent],
            (_, true) if scf => &[Names::Aws],
            (true, _) => &[Names::Tencent, Names::Aws],
            (false, false) if scf => &[Names::Tencent, Names::Aws],
            (false, _) => &[Names::Aws, Names::Tencent],
        };
        for names in order {
            let [id, secret, token] = names.of();
            match (look(id), look(secret)) {
                (Some(id), Some(secret)) => return Ok(Keys::new(id, secret, look(token))),
                (None, None) => {}
                (Some(_), None) => return Err(half(id, secret)),
                (None, Some(_)) => return Err(half(secret, id)),
            }
        }
        match lambda || scf {
            true => Err(none(order, lambda)),
            false => profile::keys(look)?.ok_or_else(|| none(order, lambda)),
        }
    }

    pub(super) fn id(&self) -> &Secret {
        &self.id
    }

    pub(super) fn secret(&self) -> &Secret {
        &self.secret
    }

    /// Whether a platform gave them to this process for a while: a new process gets new ones.
    pub(super) fn are_temporary(&self) -> bool {
        self.token.is_some()
    }

    pub(super) fn token(&self) -> Option<&Secret> {
        self.token.as_ref()
    }

    /// `text` without any of these: a store may repeat what it was sent.
    pub(super) fn redact(&self, text: &str) -> String {
        let mut text = text.to_owned();
        for secret in [Some(&self.secret), self.token.as_ref(), Some(&self.id)].into_iter().flatten() {
            // A real one is longer; a short one, of a server for tests, may be part of any word.
            if secret.reveal().len() >= 8 {
                text = secret.redact(&text);
            }
        }
        text
    }
}

fn half(there: &str, missing: &str) -> Error {
    Error::new(Kind::Denied, format!("store credentials: {there} is set and {missing} is not: set both"))
}

fn none(order: &[Names], lambda: bool) -> Error {
    let text = match order {
        [Names::Tencent] if lambda => {
            "store credentials: the function runs on Lambda and the store is COS, which the role's AWS keys do not \
             open: set TENCENTCLOUD_SECRETID and TENCENTCLOUD_SECRETKEY of a CAM user that may write the bucket"
        }
        [Names::Aws] => {
            "store credentials: the function runs on SCF and the store is S3, which the role's Tencent keys do not \
             open: set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY of an IAM user that may write the bucket"
        }
        _ => {
            "store credentials: none found: give the function an execution role, or set TENCENTCLOUD_SECRETID and \
             TENCENTCLOUD_SECRETKEY, or AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or AWS_PROFILE"
        }
    };
    Error::new(Kind::Denied, text)
}

#[cfg(test)]
mod tests {
    use super::*;

    const COS: &str = "https://cos.ap-guangzhou.myqcloud.com";
    const S3: &str = "https://s3.us-east-1.amazonaws.com";
    const OTHER: &str = "http://minio.internal:9000";
    const TENCENT: [(&str, &str); 3] = [
        ("TENCENTCLOUD_SECRETID", "tencent-id"),
        ("TENCENTCLOUD_SECRETKEY", "tencent-key"),
        ("TENCENTCLOUD_SESSIONTOKEN", "tencent-token"),
    ];
    const AWS: [(&str, &str); 3] =
        [("AWS_ACCESS_KEY_ID", "aws-id"), ("AWS_SECRET_ACCESS_KEY", "aws-key"), ("AWS_SESSION_TOKEN", "aws-token")];
    const LAMBDA: [(&str, &str); 1] = [("AWS_LAMBDA_FUNCTION_NAME", "backup")];
    const SCF: [(&str, &str); 1] = [("TENCENTCLOUD_RUNENV", "SCF")];

    fn keys(set: &[&[(&str, &str)]], endpoint: &str) -> Result<Keys> {
        let all = set.concat();
        Keys::from_env(
            |name| all.iter().find(|(known, _)| *known == name).map(|(_, value)| value.to_string()),
            endpoint,
        )
    }

    #[test]
    fn each_platform_and_store_gets_the_keys_that_open_it() {
        for (set, endpoint, expected) in [
            (vec![&TENCENT[..], &AWS], COS, Some("tencent-id")),
            (vec![&AWS[..]], COS, Some("aws-id")),
            (vec![&TENCENT[..], &AWS], S3, Some("aws-id")),
            (vec![&TENCENT[..], &AWS], OTHER, Some("aws-id")),
            (vec![&TENCENT[..]], OTHER, Some("tencent-id")),
            (vec![&SCF[..], &TENCENT], COS, Some("tencent-id")),
            (vec![&SCF[..], &TENCENT, &AWS], OTHER, Some("tencent-id")),
            (vec![&SCF[..], &TENCENT, &AWS], S3, Some("aws-id")),
            (vec![&SCF[..], &TENCENT], S3, None),
            (vec![&LAMBDA[..], &AWS], S3, Some("aws-id")),
            (vec![&LAMBDA[..], &AWS, &TENCENT], COS, Some("tencent-id")),
            (vec![&LAMBDA[..], &AWS], COS, None),
            (vec![], COS, None),
        ] {
            let chosen = keys(&set, endpoint).ok().map(|keys| keys.id().reveal().to_owned());
            assert_eq!(chosen.as_deref(), expected, "{set:?} {endpoint}");
        }
    }

    #[test]
    fn a_session_token_comes_with_its_own_pair_only() {
        let chosen = keys(&[&TENCENT[..2], &AWS], COS).unwrap();
        assert!(chosen.token().is_none());
        assert_eq!(keys(&[&AWS], S3).unwrap().token().unwrap().reveal(), "aws-token");
    }

    #[test]
    fn missing_keys_are_denied_with_every_name_that_would_help() {
        let error = keys(&[], S3).unwrap_err();
        assert_eq!(error.kind(), Kind::Denied);
        for name in ["TENCENTCLOUD_SECRETID", "TENCENTCLOUD_SECRETKEY", "AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"] {
            assert!(error.chain().contains(name), "{}", error.chain());
        }
        let error = keys(&[&LAMBDA, &AWS], COS).unwrap_err();
        assert!(
            error.chain().contains("TENCENTCLOUD_SECRETID") && error.chain().contains("Lambda"),
            "{}",
            error.chain()
        );
    }

    #[test]
    fn half_a_pair_is_denied_with_the_missing_half() {
        let error = keys(&[&TENCENT[..1], &AWS], COS).unwrap_err();
        assert!(error.chain().contains("TENCENTCLOUD_SECRETKEY is not"), "{}", error.chain());
        let empty: &[(&str, &str)] = &[("AWS_ACCESS_KEY_ID", ""), ("AWS_SECRET_ACCESS_KEY", "aws-key")];
        assert!(keys(&[empty], S3).unwrap_err().chain().contains("AWS_ACCESS_KEY_ID is not"));
    }

    #[test]
    fn keys_are_never_printed_and_are_taken_out_of_texts() {
        let keys = Keys::new("marker-id", "marker-secret", Some("marker-token".to_owned()));
        assert!(!format!("{keys:?}").contains("marker"));
        assert_eq!(keys.redact("a marker-id b marker-secret c marker-token"), "a *** b *** c ***");
    }
}

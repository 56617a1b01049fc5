//! Keys from a profile, as the AWS command line keeps them: for a run by hand.
//!
//! ```text
//! [default]
//! aws_access_key_id = …
//! aws_secret_access_key = …
//! aws_session_token = …      only with temporary keys
//! ```
//!
//! Does not own: profiles that name a role, a login or a program; such a one is refused with what to do.

use std::fs;
use std::io::ErrorKind;
use std::path::PathBuf;

use super::Keys;
use crate::{Error, Kind, Result};

/// The keys of the profile that `AWS_PROFILE` names in the file that `AWS_SHARED_CREDENTIALS_FILE` names; by default
/// `default` in `~/.aws/credentials`. `None` where nobody named a profile and there is none.
pub(super) fn keys(look: impl Fn(&str) -> Option<String>) -> Result<Option<Keys>> {
    let named = look("AWS_PROFILE");
    let file = look("AWS_SHARED_CREDENTIALS_FILE").map(PathBuf::from);
    let Some(path) = file.or_else(|| Some(PathBuf::from(look("HOME")?).join(".aws/credentials"))) else {
        return Ok(None);
    };
    let denied = |why: String| Error::new(Kind::Denied, format!("store credentials: {}: {why}", path.display()));
    let text = match fs::read_to_string(&path) {
        Ok(text) => text,
        Err(error) if error.kind() == ErrorKind::NotFound && named.is_none() => return Ok(None),
        Err(error) => return Err(denied("cannot be read".to_owned()).because(error)),
    };
    let name = named.as_deref().unwrap_or("default");
    match (profile(&text, name), named.is_some()) {
        (None, false) => Ok(None),
        (None, true) => Err(denied(format!("has no profile [{name}]: mend AWS_PROFILE"))),
        (Some([Some(id), Some(secret), token]), _) => Ok(Some(Keys::new(id, secret, token.map(str::to_owned)))),
        (Some(_), _) => Err(denied(format!(
            "profile [{name}] does not hold both aws_access_key_id and aws_secret_access_key; a role or a login is not \
             followed: set AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY and AWS_SESSION_TOKEN"
        ))),
    }
}

/// Id, secret and token of a profile, as far as it has them; `None` if there is no such profile.
fn profile<'a>(text: &'a str, name: &str) -> Option<[Option<&'a str>; 3]> {
    let mut found = None;
    let mut inside = false;
    for line in text.lines().map(str::trim) {
        if let Some(title) = line.strip_prefix('[').and_then(|rest| rest.split(']').next()) {
            inside = title.trim() == name;
            if inside {
                found.get_or_insert([None; 3]);
            }
        } else if let (true, Some(values), Some((key, value))) = (inside, found.as_mut(), line.split_once('=')) {
            let place = match key.trim() {
                "aws_access_key_id" => 0,
                "aws_secret_access_key" => 1,
                "aws_session_token" => 2,
                // Comments and what is no key.
                _ => continue,
            };
            values[place] = Some(value.trim()).filter(|value| !value.is_empty());
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    const FILE: &str = "# mine\n[default]\naws_access_key_id=marker-id\naws_secret_access_key = marker=secret\n\n\
                        [ work ]\r\naws_access_key_id = work-id\r\naws_secret_access_key = work-secret\r\n\
                        aws_session_token = work-token\r\n[role]\nrole_arn = arn:marker\nsource_profile = default\n";

    fn from(file: Option<&str>, name: Option<&str>) -> Result<Option<Keys>> {
        let home = tempfile::tempdir().unwrap();
        if let Some(text) = file {
            fs::create_dir(home.path().join(".aws")).unwrap();
            fs::write(home.path().join(".aws/credentials"), text).unwrap();
        }
        keys(|variable| match variable {
            "HOME" => Some(home.path().display().to_string()),
            "AWS_PROFILE" => name.map(str::to_owned),
            _ => None,
        })
    }

    #[test]
    fn a_profile_gives_its_own_keys_and_no_other_ones() {
        let keys = from(Some(FILE), None).unwrap().unwrap();
        assert_eq!((keys.id().reveal(), keys.secret().reveal()), ("marker-id", "marker=secret"));
        assert!(keys.token().is_none());
        let keys = from(Some(FILE), Some("work")).unwrap().unwrap();
        assert_eq!((keys.id().reveal(), keys.secret().reveal()), ("work-id", "work-secret"));
        assert_eq!(keys.token().unwrap().reveal(), "work-token");
    }

    #[test]
    fn without_a_profile_there_is_nothing_unless_one_was_named() {
        assert!(from(None, None).unwrap().is_none());
        assert!(from(Some("[other]\naws_access_key_id = a\n"), None).unwrap().is_none());
        for (file, name) in [(None, "work"), (Some(FILE), "none")] {
            assert_eq!(from(file, Some(name)).unwrap_err().kind(), Kind::Denied);
        }
    }

    #[test]
    fn a_profile_that_names_a_role_is_refused_with_what_to_set_and_without_what_it_holds() {
        let error = from(Some(FILE), Some("role")).unwrap_err();
        assert!(error.chain().contains("AWS_SESSION_TOKEN") && !error.chain().contains("marker"), "{}", error.chain());
    }
}

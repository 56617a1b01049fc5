//! Keys from a profile, as the AWS command line keeps them: for a run by hand.
//!
//! ```text
//! [default]
//! aws_access_key_id = …
//! aws_secret_access_key = …
//! aws_session_token = …      only with temporary keys
//! ```
//!
//! A profile is what both files say of it, `credentials` first. Does not own: profiles that name a role, a login or a
//! program. The AWS command line would take other keys there than those that stand beside it, so such a one is
//! refused with what to do.

use std::collections::BTreeMap;
use std::fs;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use super::Keys;
use crate::{Error, Kind, Result};

/// What takes the place of keys, whether the profile holds some too or not.
const OTHER: [&str; 8] = [
    "role_arn",
    "source_profile",
    "credential_source",
    "web_identity_token_file",
    "sso_session",
    "sso_start_url",
    "sso_account_id",
    "login_session",
];
/// What takes the place of keys where the profile holds none.
const PROGRAM: &str = "credential_process";

/// The keys of the profile that `AWS_PROFILE` names (`default` if it does not) in the files that
/// `AWS_SHARED_CREDENTIALS_FILE` and `AWS_CONFIG_FILE` name, by default `~/.aws/credentials` and `~/.aws/config`.
/// `None` where nobody named a profile and there is none.
pub(super) fn keys(look: impl Fn(&str) -> Option<String>) -> Result<Option<Keys>> {
    let named = look("AWS_PROFILE");
    let name = named.as_deref().unwrap_or("default");
    let path = |variable: &str, file: &str| {
        look(variable).map(PathBuf::from).or_else(|| Some(PathBuf::from(look("HOME")?).join(file)))
    };
    let Some(credentials) = path("AWS_SHARED_CREDENTIALS_FILE", ".aws/credentials") else { return Ok(None) };
    let config = path("AWS_CONFIG_FILE", ".aws/config");
    let mut found = profile(&read(&credentials)?, &[name]);
    if let Some(config) = &config {
        let more = profile(&read(config)?, &[&*format!("profile {name}"), if name == "default" { name } else { "" }]);
        if let Some(more) = more {
            let found = found.get_or_insert_default();
            // Half a pair of one file and half of the other would be no pair.
            let keys = found.contains_key(ID) || found.contains_key(SECRET);
            for (key, value) in more.into_iter().filter(|(key, _)| !(keys && [ID, SECRET, TOKEN].contains(&&**key))) {
                found.entry(key).or_insert(value);
            }
        }
    }
    let denied = |why: &str| {
        let text = format!("store credentials: profile [{name}] of {}: {why}", credentials.display());
        Error::new(Kind::Denied, text)
    };
    let Some(mut found) = found else {
        return if named.is_some() { Err(denied("there is none: mend AWS_PROFILE")) } else { Ok(None) };
    };
    let own = "set AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY and AWS_SESSION_TOKEN, as `aws configure \
               export-credentials --format env` prints them";
    if let Some(other) = OTHER.iter().find(|other| found.contains_key(**other)) {
        return Err(denied(&format!("`{other}`, in it or in the config file, is not followed: {own}")));
    }
    match (found.remove(ID), found.remove(SECRET)) {
        (Some(id), Some(secret)) => Ok(Some(Keys::new(id, secret, found.remove(TOKEN)))),
        (None, None) if found.contains_key(PROGRAM) => Err(denied(&format!("`{PROGRAM}` is not started: {own}"))),
        // A config file often says no more than the region.
        (None, None) if named.is_none() => Ok(None),
        _ => Err(denied(&format!("it does not hold both {ID} and {SECRET}: add them, or {own}"))),
    }
}

const ID: &str = "aws_access_key_id";
const SECRET: &str = "aws_secret_access_key";
const TOKEN: &str = "aws_session_token";

/// The text of a file; none where there is no such file.
fn read(path: &Path) -> Result<String> {
    match fs::read_to_string(path) {
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(String::new()),
        Err(error) => {
            let text = format!("store credentials: {} cannot be read", path.display());
            Err(Error::new(Kind::Denied, text).because(error))
        }
        Ok(text) => Ok(text),
    }
}

/// What stands under one of these titles; `None` where none of them is there.
fn profile(text: &str, titles: &[&str]) -> Option<BTreeMap<String, String>> {
    let mut found = None::<BTreeMap<_, _>>;
    let mut inside = false;
    for line in text.lines() {
        if let Some(title) = line.trim().strip_prefix('[').and_then(|rest| rest.split(']').next()) {
            let title = title.split_whitespace().collect::<Vec<_>>().join(" ");
            inside = !title.is_empty() && titles.contains(&&*title);
            if inside {
                found.get_or_insert_default();
            }
        } else if let (true, Some(found), Some((key, value))) = (inside, found.as_mut(), line.split_once('='))
            // Comments; and what is indented belongs to the key before it.
            && !line.starts_with(['#', ';', ' ', '\t'])
            && !value.trim().is_empty()
        {
            found.insert(key.trim().to_ascii_lowercase(), value.trim().to_owned());
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
        of(file, None, name)
    }

    fn of(credentials: Option<&str>, config: Option<&str>, name: Option<&str>) -> Result<Option<Keys>> {
        let home = tempfile::tempdir().unwrap();
        fs::create_dir(home.path().join(".aws")).unwrap();
        for (file, text) in [("credentials", credentials), ("config", config)] {
            if let Some(text) = text {
                fs::write(home.path().join(".aws").join(file), text).unwrap();
            }
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
        assert!(of(None, Some("[default]\nregion = eu-west-1\n"), None).unwrap().is_none());
        for (file, name) in [(None, "work"), (Some(FILE), "none")] {
            assert_eq!(from(file, Some(name)).unwrap_err().kind(), Kind::Denied);
        }
    }

    #[test]
    fn a_profile_that_names_a_role_is_refused_with_what_to_set_and_without_what_it_holds() {
        let error = from(Some(FILE), Some("role")).unwrap_err();
        assert!(error.chain().contains("AWS_SESSION_TOKEN") && !error.chain().contains("marker"), "{}", error.chain());
    }

    #[test]
    fn what_the_command_line_would_take_instead_of_keys_is_an_error_and_not_the_wrong_keys() {
        let both = "[work]\naws_access_key_id = marker-id\naws_secret_access_key = marker-key\n";
        for line in
            ["role_arn = marker", "sso_session=marker", "SSO_Start_URL = marker", "web_identity_token_file = marker"]
        {
            for (credentials, config) in [
                (format!("{both}{line}\n"), String::new()),
                (both.to_owned(), format!("[profile  work]\n{line}\n")),
                (String::new(), format!("[profile work]\n{line}\n")),
            ] {
                let error = of(Some(&credentials), Some(&config), Some("work")).unwrap_err();
                assert_eq!(error.kind(), Kind::Denied);
                let text = error.chain();
                let key = line.split('=').next().unwrap().trim().to_lowercase();
                assert!(
                    text.contains(&key) && text.contains("AWS_SESSION_TOKEN") && !text.contains("marker"),
                    "{text}"
                );
            }
        }
        let program = "[profile work]\ncredential_process = marker\n";
        let text = of(None, Some(program), Some("work")).unwrap_err().chain();
        assert!(text.contains("credential_process") && !text.contains("marker"), "{text}");
        // Keys come before a program, there as here.
        assert!(of(Some(both), Some(program), Some("work")).unwrap().is_some());
        let nested = "[profile work]\ns3 =\n  role_arn = x\n# role_arn = x\nrole_arn =\n";
        assert!(of(Some(both), Some(nested), Some("work")).unwrap().is_some());
    }

    #[test]
    fn keys_may_stand_in_the_config_file_and_are_not_mixed_with_others() {
        let config =
            "[default]\naws_access_key_id = c-id\naws_secret_access_key = c-key\naws_session_token = c-token\n";
        let keys = of(None, Some(config), None).unwrap().unwrap();
        assert_eq!((keys.id().reveal(), keys.token().unwrap().reveal()), ("c-id", "c-token"));
        let keys = of(Some(FILE), Some(config), None).unwrap().unwrap();
        assert_eq!(keys.id().reveal(), "marker-id");
        assert!(keys.token().is_none());
        let half = "[default]\naws_access_key_id = marker\n";
        let error = of(Some(half), Some(config), None).unwrap_err();
        assert!(!error.chain().contains("marker"), "{}", error.chain());
    }
}

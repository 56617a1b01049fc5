//! The token: where it may stand, what it may hold, whom it is for. Never in a message.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;

use super::reader::Reader;
use super::values::{self, Malformed, Value, looks_like_a_token, refuse};
use crate::Secret;

/// The name of a file, which a token is not.
pub(super) fn file_name(value: &Value) -> Result<(), Malformed> {
    let path = values::text(value)?;
    match looks_like_a_token(&path) {
        true => refuse(
            "must be the path of a file, got a token: put the token into a file or into TDMQ_BACKUP_TOKEN, \
             and have this one replaced",
        ),
        false => Ok(()),
    }
}

pub(super) fn token(read: &mut Reader) -> Option<Secret> {
    let (label, token) = read.0.token.take()?;
    let text = token.reveal();
    if text.is_empty() {
        read.0.problem(label, "holds no token: put the role's key there, alone");
        return None;
    }
    if !text.bytes().all(|byte| byte.is_ascii_graphic()) {
        read.0.problem(
            label,
            "holds characters that cannot stand in a request's header (blanks, line breaks, non-ASCII): \
             put the role's key there, alone and on one line",
        );
        return None;
    }
    Some(token)
}

/// Whom a JSON Web Token is for: its claim `sub`, which nobody has verified.
pub(super) fn subject(token: &Secret) -> Option<String> {
    let claims = token.reveal().split('.').nth(1)?.trim_end_matches('=');
    let claims: serde_json::Value = serde_json::from_slice(&URL_SAFE_NO_PAD.decode(claims).ok()?).ok()?;
    Some(claims.get("sub")?.as_str()?.to_owned())
}

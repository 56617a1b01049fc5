//! A string that is never printed.

use std::fmt;

use base64::Engine;
use base64::engine::general_purpose::{STANDARD_NO_PAD, URL_SAFE_NO_PAD};

use crate::encode::spool::hex;

/// A token or a key. `Debug` and `Display` print `***`; it cannot be serialised.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(String);

impl Secret {
    pub fn new(text: impl Into<String>) -> Self {
        Secret(text.into())
    }

    /// `text` without the secret, be it plain, percent-encoded, in base64 or in hex: for words that the other side
    /// sent, which may repeat it. It has to come before any shortening, which could leave a part of the secret.
    pub fn redact(&self, text: &str) -> String {
        if self.0.is_empty() {
            return text.to_owned();
        }
        let escaped = |plain: &str, escape: fn(u8) -> String| -> String {
            let char = |byte: u8| byte.is_ascii_alphanumeric() || plain.as_bytes().contains(&byte);
            self.0.bytes().map(|byte| if char(byte) { char::from(byte).into() } else { escape(byte) }).collect()
        };
        let (upper, lower) = (|byte: u8| format!("%{byte:02X}"), |byte: u8| format!("%{byte:02x}"));
        let hex = hex(self.0.as_bytes());
        let forms = [
            escaped("-._~", upper),
            escaped("-._~", lower),
            escaped("", upper),
            escaped("", lower),
            STANDARD_NO_PAD.encode(&self.0),
            URL_SAFE_NO_PAD.encode(&self.0),
            hex.to_uppercase(),
            hex,
        ];
        // The plain one first: the forms of one that needs no escapes are itself.
        forms.iter().fold(text.replace(&self.0, "***"), |text, form| text.replace(form, "***"))
    }

    /// The secret itself: only for the bytes of a request.
    pub fn reveal(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("***")
    }
}

impl fmt::Display for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("***")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_secret_is_taken_out_of_a_text_in_every_form_it_is_sent_in() {
        let secret = Secret::new("ma-rk/er+==");
        for form in [
            "ma-rk/er+==",
            "ma-rk%2Fer%2B%3D%3D",
            "ma-rk%2fer%2b%3d%3d",
            "ma%2Drk%2Fer%2B%3D%3D",
            "bWEtcmsvZXIrPT0",
            "6d612d726b2f65722b3d3d",
            "6D612D726B2F65722B3D3D",
        ] {
            assert_eq!(secret.redact(&format!("you sent {form}, twice: {form}")), "you sent ***, twice: ***");
        }
        assert_eq!(Secret::new("").redact("nothing"), "nothing");
        assert_eq!(format!("{secret:?} {secret}"), "*** ***");
    }
}

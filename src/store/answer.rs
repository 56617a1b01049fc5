//! What an answer must be before rusoto sees it.
//!
//! Owns: what counts as success, and keeping from rusoto what it cannot take: it panics on a header that is not
//! ASCII, and on a number or a truth in a header or a document that is none; it never ends on a document that does
//! not; any 2xx is a success to it, and an error in one too. Does not own: reading the bytes, and what a refusal means.

use std::str::FromStr;

use hyper::{HeaderMap, Method};
use xml::reader::{EventReader, ParserConfig, XmlEvent};

/// Whether a status means that all of what was asked for was done. Nobody asks here for a part of an object (206),
/// and what will be done later (202) is not done.
pub(super) fn is_success(method: &Method, status: u16) -> bool {
    status == 200 || (*method == Method::DELETE && status == 204)
}

/// Whether an answer says where its body ends. One that ends with its connection cannot be told from one that was cut.
pub(super) fn ends_by_itself(method: &Method, headers: &HeaderMap) -> bool {
    let chunked = || headers.get("transfer-encoding").is_some_and(|value| value.as_bytes().ends_with(b"chunked"));
    *method == Method::HEAD || headers.contains_key("content-length") || chunked()
}

/// Whether an answer that says success holds an error all the same.
pub(super) fn holds_error(body: &[u8]) -> bool {
    // Anywhere: a store that works long on an answer sends spaces meanwhile.
    let text = String::from_utf8_lossy(body);
    text.contains("<Error>") || text.contains("<Error ")
}

/// Whether rusoto can read a document: it waits for ever for the end of one that is cut or is no XML, as a web page
/// is, and panics where a number or a truth is none. This asks the very parser that it uses.
pub(super) fn is_readable(document: &[u8]) -> bool {
    // A `check` is what the text that comes next must pass.
    let mut check: Option<fn(&str) -> bool> = None;
    let reader = EventReader::new_with_config(document, ParserConfig::new().trim_whitespace(false));
    document.is_empty()
        || reader.into_iter().all(|event| match event {
            Ok(XmlEvent::StartElement { name, .. }) => {
                let before = check.take();
                check = match &*name.local_name {
                    "IsTruncated" => Some(|text| bool::from_str(text).is_ok()),
                    "Size" | "KeyCount" | "MaxKeys" => Some(|text| i64::from_str(text).is_ok()),
                    _ => None,
                };
                before.is_none()
            }
            Ok(XmlEvent::Characters(text) | XmlEvent::CData(text)) => check.take().is_none_or(|fine| fine(&text)),
            Ok(XmlEvent::EndElement { .. }) => check.is_none(),
            Ok(_) => true,
            Err(_) => false,
        })
}

/// The headers that are used and that rusoto takes without a panic.
pub(super) fn readable(headers: &HeaderMap, head: bool) -> Vec<(String, String)> {
    let mut kept = Vec::new();
    for (name, value) in headers {
        let Ok(value) = value.to_str() else { continue };
        let name = name.as_str();
        // COS names user metadata its own way when it takes a request for one of its own kind.
        if let Some(rest) = name.strip_prefix("x-amz-meta-").or_else(|| name.strip_prefix("x-cos-meta-")) {
            kept.push((format!("x-amz-meta-{rest}"), value.to_owned()));
        } else if let Some(rest @ ("server-side-encryption" | "storage-class")) =
            name.strip_prefix("x-amz-").or_else(|| name.strip_prefix("x-cos-"))
        {
            kept.push((format!("x-amz-{rest}"), value.to_owned()));
        } else if name == "etag" || (head && name == "content-length" && value.parse::<i64>().is_ok()) {
            kept.push((name.to_owned(), value.to_owned()));
        }
    }
    kept
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_rusoto_cannot_read_is_seen_before_it() {
        let list = |name: &str, value: &str| {
            format!("<?xml version='1.0'?><s:List xmlns:s='u'><{name}>{value}</{name}></s:List>")
        };
        for (name, value) in
            [("Size", "0"), ("s:MaxKeys", "12"), ("IsTruncated", "true"), ("Key", "a&amp;b"), ("Key", "")]
        {
            let document = list(name, value);
            assert!(is_readable(document.as_bytes()), "{document}");
            for cut in 1..document.len() {
                assert!(!is_readable(&document.as_bytes()[..cut]), "{}", &document[..cut]);
            }
        }
        assert!(is_readable(b""));
        for value in ["", " ", " 1", "1.0", "99999999999999999999", "<![CDATA[x]]>", "&#120;", "<b/>", "<b>1</b>"] {
            for name in ["Size", "KeyCount", "MaxKeys", "IsTruncated", "s:Size"] {
                let document = list(name, value);
                assert!(!is_readable(document.as_bytes()), "{document}");
            }
        }
        for page in ["<html><br>log in</html>", "<!DOCTYPE html><p>&nbsp;</p>", "[]", "<a></b>"] {
            assert!(!is_readable(page.as_bytes()), "{page}");
        }
    }
}

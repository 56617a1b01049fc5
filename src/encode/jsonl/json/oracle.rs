//! For the tests: what serde_json says of a text, and texts to ask about.

use std::fmt;

use proptest::prelude::*;
use serde::de::{Deserialize, Deserializer, Error, IgnoredAny, MapAccess, SeqAccess, Visitor};

/// The same question put to serde_json: the grammar, and each further condition on its own.
pub fn expected(text: &str) -> bool {
    let edges = [text.chars().next(), text.chars().last()];
    let bare = !edges.iter().flatten().any(|edge| [' ', '\t', '\r', '\n'].contains(edge));
    let grammar = serde_json::from_str::<IgnoredAny>(text).is_ok();
    let depth = match serde_json::from_str::<Depth>(text) {
        Ok(depth) => depth.0 <= 64,
        // Too large for its numbers, but not for ours; such texts are tested by hand.
        Err(error) => error.to_string().contains("number out of range"),
    };
    grammar && bare && depth && !text.contains(['\r', '\n'])
}

/// Reads every string in full, so that unpaired surrogates are an error, and counts levels.
struct Depth(usize);

impl<'de> Deserialize<'de> for Depth {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(DepthVisitor).map(Depth)
    }
}

struct DepthVisitor;

impl<'de> Visitor<'de> for DepthVisitor {
    type Value = usize;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("JSON")
    }

    fn visit_unit<E: Error>(self) -> Result<usize, E> {
        Ok(0)
    }

    fn visit_bool<E: Error>(self, _: bool) -> Result<usize, E> {
        Ok(0)
    }

    fn visit_i64<E: Error>(self, _: i64) -> Result<usize, E> {
        Ok(0)
    }

    fn visit_u64<E: Error>(self, _: u64) -> Result<usize, E> {
        Ok(0)
    }

    fn visit_f64<E: Error>(self, _: f64) -> Result<usize, E> {
        Ok(0)
    }

    fn visit_str<E: Error>(self, _: &str) -> Result<usize, E> {
        Ok(0)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<usize, A::Error> {
        let mut deepest = 0;
        while let Some(Depth(depth)) = seq.next_element()? {
            deepest = deepest.max(depth);
        }
        Ok(deepest + 1)
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<usize, A::Error> {
        let mut deepest = 0;
        while let Some((_, Depth(depth))) = map.next_entry::<String, Depth>()? {
            deepest = deepest.max(depth);
        }
        Ok(deepest + 1)
    }
}

/// Valid JSON, blanks and escapes included.
pub fn json() -> impl Strategy<Value = String> {
    let blank = prop::sample::select(vec!["", "", "", " ", "\t", "  "]);
    let string = prop_oneof![
        any::<String>().prop_map(|text| serde_json::to_string(&text).unwrap()),
        "[ -!#-\\[\\]-~é€😀]{0,20}(\\\\u00[0-9a-fA-F]{2}|\\\\[\"/bfnrt]|\\\\ud8[0-9a-f]{2}\\\\uDF[0-9A-F]{2}){0,3}"
            .prop_map(|text| format!("\"{text}\"")),
    ];
    let leaf = prop_oneof![
        Just("null".to_owned()),
        any::<bool>().prop_map(|flag| flag.to_string()),
        "-?(0|[1-9][0-9]{0,30})(\\.[0-9]{1,30})?([eE][+-]?[0-9]{1,2})?",
        string.clone(),
    ];
    leaf.prop_recursive(6, 60, 6, move |inner| {
        let padded =
            (blank.clone(), inner, blank.clone()).prop_map(|(before, value, after)| before.to_owned() + &value + after);
        let member = (string.clone(), padded.clone()).prop_map(|(name, value)| format!("{name}:{value}"));
        prop_oneof![
            prop::collection::vec(padded, 0..6).prop_map(|values| format!("[{}]", values.join(","))),
            prop::collection::vec(member, 0..6).prop_map(|members| format!("{{{}}}", members.join(","))),
        ]
    })
}

/// Pieces that JSON, and nearly JSON, is made of.
pub fn pieces() -> impl Strategy<Value = String> {
    let piece = prop::sample::select(vec![
        "{", "}", "[", "]", ",", ":", "\"", "\"a\"", "\"a\":", "\\", "\\u", "\\ud800", "\\udc00", "\\n", "d8", "0",
        "1", "-", "+", ".", "e", "true", "false", "null", " ", "\t", "\n", "\r", "é", "\u{7f}", "\u{0}", "\u{1f}",
        "\u{feff}", "/", "12345678",
    ]);
    prop::collection::vec(piece, 0..12).prop_map(|pieces| pieces.concat())
}

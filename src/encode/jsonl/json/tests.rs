use proptest::prelude::*;

use super::is_value_on_one_line;
use super::oracle::{expected, json, pieces};

#[test]
fn json_on_one_line_stays_as_it_is() {
    for text in [
        "null",
        "true",
        "false",
        "0",
        "-0",
        "10",
        "-1.5e+7",
        "1e5",
        "1E-5",
        "0e0",
        "1e999",
        "-0.0",
        "123456789012345678901234567890.123456789012345678901234567890",
        r#""""#,
        r#""a""#,
        r#""\"\\\/\b\f\n\r\t""#,
        r#""\u0000""#,
        r#""\uD83D\uDE00""#,
        r#""\ud83d\ude00\uFFFF""#,
        r#""\\ud800""#,
        "\"\u{7f}\"",
        "\"é\u{2028}\u{1f600}\"",
        "\"\u{feff}\"",
        r#""12345678""#,
        r#""1234567\n""#,
        "[]",
        "[ ]",
        "[\t]",
        "{}",
        "{ }",
        "[1,2]",
        "[ 1 , 2\t]",
        r#"{"a":1}"#,
        r#"{ "a" : [ { } , [ ] ] , "b" : "" }"#,
        r#"{"a":1,"a":2}"#,
        r#"{"":0}"#,
        "[[],{}]",
        r#"[{"a":{}},[[]]]"#,
    ] {
        assert!(is_value_on_one_line(text), "{text}");
    }
}

#[test]
fn everything_else_does_not() {
    for text in [
        "",
        " ",
        " 1",
        "1 ",
        "\t1",
        "1\n",
        "1\r",
        "[1,\n2]",
        "[\r]",
        "{\n}",
        "{\"a\":\n1}",
        "\u{feff}1",
        "01",
        "-",
        "-01",
        "00",
        "+1",
        ".5",
        "1.",
        "1.e5",
        "1e",
        "1e+",
        "1E-",
        "0x1",
        "1_0",
        "NaN",
        "Infinity",
        "-Infinity",
        "nul",
        "nulll",
        "True",
        "tru",
        "falsee",
        "undefined",
        "'a'",
        "\"",
        "\"a",
        "\"a\\\"",
        "\"\\",
        "\"\\u12",
        r#""\x41""#,
        r#""\u12g4""#,
        r#""\U0041""#,
        r#""\'""#,
        "\"\t\"",
        "\"\u{0}\"",
        "\"\u{1f}\"",
        "\"a\nb\"",
        "\"1234567\u{1f}\"",
        r#""\ud800""#,
        r#""\ud800x""#,
        r#""\ud800\n""#,
        r#""\ud800\u0041""#,
        r#""\ud800\ud800""#,
        r#""\udc00""#,
        r#""\udc00\ud800""#,
        r#""\uD83D\uDE00\uDE00""#,
        r#"{"\ud800":1}"#,
        r#""\ud83d\\ude00""#,
        "[",
        "]",
        "[1",
        "[1,",
        "[1,]",
        "[,1]",
        "[,]",
        "[1 2]",
        "[1]]",
        "[1}",
        "[}",
        "{",
        "}",
        "{]",
        "{\"a\"",
        "{\"a\":",
        "{\"a\"}",
        "{\"a\":}",
        "{\"a\":1",
        "{\"a\":1,}",
        "{,}",
        "{a:1}",
        "{1:1}",
        "{\"a\" 1}",
        "{\"a\":1]",
        "{\"a\":1 \"b\":2}",
        "{\"a\",1}",
        "1 2",
        "1,2",
        "{}{}",
        "[1]/**/",
        "//\n1",
        "\"a\" \"b\"",
        "1\u{0}",
    ] {
        assert!(!is_value_on_one_line(text), "{text:?}");
    }
}

#[test]
fn sixty_four_levels_stay_and_sixty_five_do_not() {
    let nested = |open: &str, close: &str, depth: usize| open.repeat(depth) + "1" + &close.repeat(depth);
    for (open, close) in [("[", "]"), (r#"{"a":"#, "}")] {
        assert!(is_value_on_one_line(&nested(open, close, 64)));
        assert!(!is_value_on_one_line(&nested(open, close, 65)));
        assert!(!is_value_on_one_line(&nested(open, close, 100_000)));
    }
    let many = format!("[{}1]", "[[]],".repeat(1000));
    assert!(is_value_on_one_line(&many), "only depth counts");
    let mixed = r#"[{"a":"#.repeat(32) + "[]" + &"}]".repeat(32);
    assert!(!is_value_on_one_line(&mixed));
    assert!(is_value_on_one_line(&mixed.replace("[]", "1")));
}

#[test]
fn a_string_is_scanned_to_its_end_at_every_alignment() {
    for length in 0..40 {
        for odd in ["", "\\n", "\u{1f}", "\n", "é", "\u{7f}", "\"", "!#", "[]", "\u{80}", "\u{10ffff}"] {
            for tail in [0, 1, 7, 8, 9] {
                let text = format!("\"{}{odd}{}\"", "x".repeat(length), "é".repeat(tail));
                assert_eq!(is_value_on_one_line(&text), expected(&text), "{text:?}");
            }
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]

    #[test]
    fn valid_json_is_recognised(text in json()) {
        prop_assert!(is_value_on_one_line(&text));
        prop_assert!(expected(&text));
    }

    #[test]
    fn mutated_json_is_judged_as_serde_json_judges_it(text in json(), at: prop::sample::Index, cut in 0..3_usize, put in pieces()) {
        let chars: Vec<char> = text.chars().collect();
        let at = at.index(chars.len());
        let end = chars.len().min(at + cut);
        let text: String = chars[..at].iter().copied().chain(put.chars()).chain(chars[end..].iter().copied()).collect();
        prop_assert_eq!(is_value_on_one_line(&text), expected(&text), "{:?}", text);
    }

    #[test]
    fn random_pieces_of_json_are_judged_as_serde_json_judges_them(text in pieces()) {
        prop_assert_eq!(is_value_on_one_line(&text), expected(&text), "{:?}", text);
        let array = format!("[{text}]");
        prop_assert_eq!(is_value_on_one_line(&array), expected(&array), "{:?}", array);
        let string = format!("\"{text}\"");
        prop_assert_eq!(is_value_on_one_line(&string), expected(&string), "{:?}", string);
    }

    #[test]
    fn any_text_is_judged_as_serde_json_judges_it(text: String) {
        prop_assert_eq!(is_value_on_one_line(&text), expected(&text));
    }
}

//! Answers of Go 1.26's `encoding/json`, and what it would refuse.

use super::{read::Reader, *};

#[track_caller]
fn check_string(text: &[u8], expected: &str) {
    let mut out = Vec::new();
    push_string(text, &mut out);
    assert_eq!(String::from_utf8(out).unwrap(), expected);
}

#[test]
fn strings_are_escaped_as_in_go() {
    check_string(b"plain ~\x7f", "\"plain ~\x7f\"");
    check_string(b"a<b>&c", r#""a\u003cb\u003e\u0026c""#);
    check_string(b"\"\\/", r#""\"\\/""#);
    check_string(b"\x00\x07\x08\t\n\x0b\x0c\r\x1f", r#""\u0000\u0007\b\t\n\u000b\f\r\u001f""#);
    check_string(
        "\u{e4}\u{2028}\u{2029}\u{feff}\u{1f600}".as_bytes(),
        "\"\u{e4}\\u2028\\u2029\u{feff}\u{1f600}\"",
    );
    check_string(b"\xff\xe2\x80\xed\xa0\x80x", r#""\ufffd\ufffd\ufffd\ufffd\ufffd\ufffdx""#);
    check_string("\u{fffd}".as_bytes(), "\"\u{fffd}\"");
}

#[test]
fn numbers_are_decimal_to_both_ends() {
    let mut out = Vec::new();
    for number in [0, 9, 10, u64::MAX] {
        push_u64(number, &mut out);
        out.push(b' ');
    }
    for number in [0, -1, i64::MIN, i64::MAX] {
        push_i64(number, &mut out);
        out.push(b' ');
    }
    assert_eq!(
        String::from_utf8(out).unwrap(),
        "0 9 10 18446744073709551615 0 -1 -9223372036854775808 9223372036854775807 "
    );
}

#[test]
fn raw_values_lose_their_space_and_nothing_else() {
    let mut out = Vec::new();
    let raw = "{ \"a b\" :\t[ 1 , \"\\\" , <\\\\\" ] ,\n\"\u{2028}\u{e2}\" : null }";
    push_compact(raw.as_bytes(), &mut out);
    assert_eq!(
        String::from_utf8(out).unwrap(),
        "{\"a b\":[1,\"\\\" , \\u003c\\\\\"],\"\\u2028\u{e2}\":null}"
    );
}

#[track_caller]
fn check_reads(json: &str, expected: &str) {
    assert_eq!(Reader::new("text", json.as_bytes()).string().unwrap(), expected, "{json}");
}

#[test]
fn escapes_are_resolved_as_in_go() {
    check_reads(r#""\"\\\/\b\f\n\r\t""#, "\"\\/\u{8}\u{c}\n\r\t");
    check_reads(r#""\u0041\u00E9\ud83d\ude00""#, "A\u{e9}\u{1f600}");
    // A surrogate alone, two in the wrong order, and one before something else.
    check_reads(r#""\ud83d""#, "\u{fffd}");
    check_reads(r#""\ude00\ud83d""#, "\u{fffd}\u{fffd}");
    check_reads(r#""\ud83d\u0041\ud83dx""#, "\u{fffd}A\u{fffd}x");
    let invalid = Reader::new("text", b"\"\xffa\xe2\x80\"").string().unwrap().into_owned();
    assert_eq!(invalid, "\u{fffd}a\u{fffd}\u{fffd}");
}

#[test]
fn a_string_is_found_to_end_wherever_its_quote_is() {
    for length in 0..40 {
        let text = "\u{7f}".repeat(length);
        check_reads(&format!("\"{text}\""), &text);
        for stop in ["\"", "\\n\"", "\n\"", "\\"] {
            let json = format!("\"{text}{stop}");
            let read = Reader::new("text", json.as_bytes()).raw_string();
            assert_eq!(read.is_ok(), !matches!(stop, "\n\"" | "\\"), "{json:?}");
            if let Ok((raw, escaped)) = read {
                assert_eq!((raw.len(), escaped), (length + stop.len() - 1, stop.len() > 1));
            }
        }
    }
}

#[test]
fn text_that_is_not_json_is_refused() {
    for json in [
        "",
        "\"",
        "\"\\\"",
        "\"\\x\"",
        "\"\\u12\"",
        "\"\\u12g4\"",
        "{",
        "{\"a\"}",
        "{\"a\":}",
        "{\"a\":1,}",
        "{a:1}",
        "[",
        "[1,]",
        "[1 2]",
        "tru",
        "nul",
        "-",
        "01x",
        "1.",
        "1e",
        ".5",
        "+1",
        "'a'",
        "\"\u{1}\"",
    ] {
        let mut reader = Reader::new("text", json.as_bytes());
        let read = reader.skip_value();
        assert!(read.and_then(|()| reader.finish()).is_err(), "{json}");
    }
    for json in ["0", "-0.5e+7", " [ ] ", "{ \"a\" : [ null , true , false , {} ] }", "\"\\u00e9\""]
    {
        let mut reader = Reader::new("text", json.as_bytes());
        reader.skip_value().unwrap();
        reader.finish().unwrap();
    }
}

#[test]
fn integers_have_neither_fraction_nor_exponent_nor_more_than_fits() {
    let u64 = |json: &str| Reader::new("number", json.as_bytes()).u64().ok();
    let i64 = |json: &str| Reader::new("number", json.as_bytes()).i64().ok();
    assert_eq!(u64("18446744073709551615"), Some(u64::MAX));
    assert_eq!(i64("-9223372036854775808"), Some(i64::MIN));
    assert_eq!((u64("null"), u64(" 7"), u64("0")), (Some(0), Some(7), Some(0)));
    for wrong in ["18446744073709551616", "1.0", "1e3", "01", "00", "-1", "\"1\"", "", "x"] {
        assert_eq!(u64(wrong), None, "{wrong}");
    }
    assert_eq!(i64("9223372036854775808"), None);
    assert_eq!(Reader::new("number", b"4294967296").u32().ok(), None);
}

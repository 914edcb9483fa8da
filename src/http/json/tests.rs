use super::{Json, JsonError, parse};

fn complaint(text: &str) -> (&'static str, usize) {
    match parse(text.as_bytes()) {
        Err(JsonError::Decode { message, position }) => (message, position),
        other => panic!("{text:?} gave {other:?}"),
    }
}

/// Recorded from CPython 3.11's `json.loads`.
#[test]
fn complaints_are_pythons_word_for_word() {
    let cases = [
        ("", "Expecting value", 0),
        ("  ", "Expecting value", 2),
        ("{bad", "Expecting property name enclosed in double quotes", 1),
        ("{", "Expecting property name enclosed in double quotes", 1),
        ("{\"a\"", "Expecting ':' delimiter", 4),
        ("{\"a\":", "Expecting value", 5),
        ("{\"a\":1", "Expecting ',' delimiter", 6),
        ("{\"a\":1,}", "Expecting property name enclosed in double quotes", 7),
        ("[1,]", "Expecting value", 3),
        ("[1 2]", "Expecting ',' delimiter", 3),
        ("[", "Expecting value", 1),
        ("1 x", "Extra data", 2),
        ("01", "Extra data", 1),
        ("1.", "Extra data", 1),
        ("1e+", "Extra data", 1),
        ("-", "Expecting value", 0),
        ("+1", "Expecting value", 0),
        ("nul", "Expecting value", 0),
        ("\"abc", "Unterminated string starting at", 0),
        ("\"abc\\", "Unterminated string starting at", 0),
        ("\"a\nb\"", "Invalid control character at", 2),
        ("\"a\\x\"", "Invalid \\escape", 2),
        ("\"\\u12\"", "Invalid \\uXXXX escape", 2),
        ("\"\\uzzzz\"", "Invalid \\uXXXX escape", 2),
        ("[\"é\", x]", "Expecting value", 6),
    ];
    for (text, message, position) in cases {
        assert_eq!(complaint(text), (message, position), "{text:?}");
    }
}

#[test]
fn what_python_reads_beyond_the_standard_is_read() {
    assert_eq!(parse(b"-Infinity"), Ok(Json::Float(f64::NEG_INFINITY)));
    assert!(
        matches!(parse(b"[NaN]"), Ok(Json::Array(items)) if matches!(items[..], [Json::Float(x)] if x.is_nan()))
    );
    assert_eq!(parse(b"1e999"), Ok(Json::Float(f64::INFINITY)));
    assert_eq!(parse(b"18446744073709551617"), Ok(Json::BigInt("18446744073709551617".into())));
    assert_eq!(parse(b"\xef\xbb\xbf 1"), Ok(Json::Int(1)));
    let repeated = parse(br#"{"a": 1, "a": 2}"#).unwrap();
    assert_eq!(repeated.get("a"), Some(&Json::Int(2)));
}

#[test]
fn escapes_become_characters() {
    let read = |text: &str| parse(text.as_bytes()).unwrap().as_str().unwrap().to_owned();
    assert_eq!(read(r#""\u62ff \ud83e\udd16 \/\b\f\n\r\t\"\\""#), "拿 🤖 /\u{8}\u{c}\n\r\t\"\\");
    assert_eq!(read(r#""\ud83e x""#), "\u{fffd} x");
    assert_eq!(read(r#""\ud83e\u0041x""#), "\u{fffd}Ax");
}

#[test]
fn minus_zero_is_an_integer_until_it_has_a_point() {
    assert_eq!(parse(b"-0"), Ok(Json::Int(0)));
    assert!(matches!(parse(b"-0.0"), Ok(Json::Float(zero)) if zero == 0.0 && zero.is_sign_negative()));
}

#[test]
fn hostile_documents_are_refused_not_recursed_into() {
    assert_eq!(parse("[".repeat(100_000).as_bytes()), Err(JsonError::Unreadable));
    assert_eq!(parse("9".repeat(5000).as_bytes()), Err(JsonError::Unreadable));
    assert_eq!(parse(b"\"\xff\""), Err(JsonError::Unreadable));
}

proptest::proptest! {
    #[test]
    fn nothing_panics(bytes in proptest::collection::vec(proptest::prelude::any::<u8>(), 0..200)) {
        drop(parse(&bytes));
    }

    #[test]
    fn valid_json_reads_as_serde_reads_it(text in "[\\[\\]{}\":,0-9a-z\\\\ .eE+-]{0,24}") {
        if let Ok(expected) = serde_json::from_str::<serde_json::Value>(&text) {
            let ours = serde_json::to_value(parse(text.as_bytes()).unwrap()).unwrap();
            let finite = !ours.to_string().contains("Infinity");
            // `-0` is the integer 0 to Python, whose reader this follows, and a fraction to serde.
            if finite && text.len() < 18 && !text.contains("-0") {
                proptest::prop_assert_eq!(ours, expected);
            }
        }
    }
}

//! The reader against `serde_json`, and against what Python takes beyond JSON.

use std::io::{self, Read};

use proptest::prelude::*;
use serde_json::Value;

use super::*;

/// Hands out a few bytes at a time.
struct Dribble<'a>(&'a [u8], usize);

impl Read for Dribble<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let wanted = buffer.len().min(self.1);
        self.0.read(&mut buffer[..wanted])
    }
}

fn tree(json: &mut Json) -> Result<Value> {
    Ok(match json.kind()? {
        Kind::Object => {
            let mut map = serde_json::Map::new();
            json.object(|json, key| {
                map.insert(key.to_owned(), tree(json)?);
                Ok(())
            })?;
            Value::Object(map)
        }
        Kind::List => {
            let mut list = Vec::new();
            json.list(|json, _| {
                list.push(tree(json)?);
                Ok(())
            })?;
            Value::Array(list)
        }
        Kind::String => Value::String(json.string()?),
        Kind::Number => Value::from(json.number()?),
        Kind::Truth => {
            let is = json.token()? == b't';
            json.skip()?;
            Value::Bool(is)
        }
        Kind::Null => json.optional(tree)?.unwrap_or(Value::Null),
    })
}

fn read(text: &[u8], step: usize) -> Result<Value> {
    let mut json = Json::new(Dribble(text, step));
    let value = tree(&mut json)?;
    json.finish()?;
    Ok(value)
}

fn skip(text: &[u8], step: usize) -> Result<()> {
    let mut json = Json::new(Dribble(text, step));
    json.skip()?;
    json.finish()
}

fn values() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<f64>().prop_filter("JSON has no other", |v| v.is_finite()).prop_map(Value::from),
        "\\PC{0,20}".prop_map(Value::from),
        "[\"\\\\/\u{8}\n\té€😀]{0,10}".prop_map(Value::from),
    ];
    leaf.prop_recursive(5, 60, 8, |inner| {
        prop_oneof![
            proptest::collection::vec(inner.clone(), 0..8).prop_map(Value::from),
            proptest::collection::hash_map("\\PC{0,6}", inner, 0..8)
                .prop_map(|map| Value::Object(map.into_iter().collect())),
        ]
    })
}

proptest! {
    #[test]
    fn whatever_is_written_as_json_is_read_back(value in values(), step in 1_usize..50, pretty in any::<bool>()) {
        let text = if pretty { serde_json::to_vec_pretty(&value) } else { serde_json::to_vec(&value) }.unwrap();
        prop_assert_eq!(read(&text, step).unwrap(), value);
        prop_assert!(skip(&text, step).is_ok());
    }

    #[test]
    fn a_text_is_taken_exactly_if_it_is_json(text in "[\\[\\]{}:,\"a\\\\u0-2.eE+ -]{0,16}", step in 1_usize..9) {
        let strict = serde_json::from_str::<serde::de::IgnoredAny>(&text).is_ok();
        prop_assert_eq!(skip(text.as_bytes(), step).is_ok(), strict, "{}", text);
        prop_assert_eq!(read(text.as_bytes(), step).is_ok(), strict, "{}", text);
    }

    #[test]
    fn a_text_that_is_cut_off_is_refused(value in values(), cut in any::<proptest::sample::Index>()) {
        let text = serde_json::to_vec(&serde_json::json!([value])).unwrap();
        let cut = &text[..cut.index(text.len())];
        prop_assert!(skip(cut, 7).is_err());
        prop_assert!(read(cut, 7).is_err());
    }
}

fn message(text: &str, read: impl FnOnce(&mut Json) -> Result<()>) -> String {
    match read(&mut Json::new(text.as_bytes())) {
        Err(Fault::Content { key, reason }) => format!("{key} {reason}"),
        other => panic!("{text} gave {other:?}"),
    }
}

#[test]
fn what_python_takes_beyond_json_is_taken() {
    assert!(skip(b"[NaN, Infinity, -Infinity]", 3).is_ok());
    let value = read(br#"{"a": 1, "a": 2, "\ud83d\ude00": "\ud83d"}"#, 1000).unwrap();
    assert_eq!(value, serde_json::json!({"a": 2.0, "😀": "\u{fffd}"}));
    assert!(Json::new(b"NaN".as_slice()).number().unwrap().is_nan());
}

#[test]
fn a_fault_says_where_it_is() {
    let nan = r#"{"a": [[0, 1], [2, NaN]]}"#;
    let reading = |json: &mut Json| {
        json.object(|json, _| json.list(|json, _| json.numbers::<2>().map(|_| ())).map(|_| ()))
    };
    assert_eq!(message(nan, reading), "a[1][1] is NaN, expected a finite number");
    assert_eq!(message(r#"{"a": [[0, 1, 2]]}"#, reading), "a[0] has 3 numbers, expected 2");
    assert_eq!(message(r#"{"a": [["0", 1]]}"#, reading), "a[0][0] is a string, expected a number");
    assert_eq!(message("[]", reading), "the document is a list, expected an object");
    assert_eq!(message("", reading), "the document is empty, expected JSON");
    assert_eq!(message(r#"{"a": [[0, 1"#, reading), "a[0][1] is cut off: the text ends after 12 bytes");
    let whole = |json: &mut Json| json.timestamp_us().map(|_| ());
    assert!(message("1180591620717411303424", whole).contains("is 1180591620717411303424, expected"));
    assert!(message("-5", whole).contains("is -5, expected microseconds"));
    assert!(message("1.5", whole).contains("is 1.5, expected a whole number"));
    assert_eq!(Json::new(b"5.0".as_slice()).timestamp_us().unwrap(), 5);
}

#[test]
fn deep_nesting_costs_no_stack() {
    let deep = |levels: usize| [vec![b'['; levels], vec![b']'; levels]].concat();
    assert!(skip(&deep(DEEPEST), 1000).is_ok());
    assert!(message(&"[".repeat(200_000), |json| json.skip()).contains("nested deeper than 1000"));
}

#[test]
fn strings_and_numbers_have_a_longest() {
    let long = format!("\"{}\"", "x".repeat(LONGEST_STRING + 1));
    assert!(message(&long, |json| json.string().map(|_| ())).contains("a string of over"));
    assert!(skip(long.as_bytes(), 4096).is_ok());
    let number = "1".repeat(LONGEST_NUMBER);
    assert!(message(&number, |json| json.number().map(|_| ())).contains("a number of over"));
}

//! JSON as Python's `json.loads` reads it. The clients' contract was written by that parser: it takes `NaN` and
//! `Infinity`, integers of any length and repeated keys (the last wins), and its complaints (text and position)
//! are part of the 422 answers. serde_json refuses the former and words the latter differently.

mod string;

use serde::ser::{SerializeMap, SerializeSeq};
use serde::{Serialize, Serializer};

/// Deepest nesting read; Python gives up near a thousand, a worker's stack is safe well below.
const MAX_DEPTH: usize = 500;
/// Longest integer literal read, as Python's `sys.get_int_max_str_digits()`.
const MAX_INT_DIGITS: usize = 4300;
/// Longest string echoed whole in an answer, in bytes.
const MAX_ECHO_BYTES: usize = 16 * 1024;

/// A JSON value, with what Python knows beyond the standard.
#[derive(Debug, Clone, PartialEq)]
pub enum Json {
    /// `null`
    Null,
    /// `true`, `false`
    Bool(bool),
    /// An integer that fits.
    Int(i64),
    /// An integer that does not; its digits with the sign.
    BigInt(String),
    /// Any other number: may be infinite or not a number.
    Float(f64),
    /// A string; lone surrogates became U+FFFD.
    String(String),
    /// An array.
    Array(Vec<Json>),
    /// An object, in order of appearance; of repeated keys the last counts.
    Object(Vec<(String, Json)>),
}

impl Json {
    /// The value under `key`, if this is an object that has it.
    #[must_use]
    pub fn get(&self, key: &str) -> Option<&Json> {
        match self {
            Self::Object(entries) => {
                entries.iter().rev().find(|(name, _)| name == key).map(|(_, value)| value)
            }
            _ => None,
        }
    }

    /// The text, if this is a string.
    #[must_use]
    pub fn as_str(&self) -> Option<&str> {
        match self {
            Self::String(text) => Some(text),
            _ => None,
        }
    }
}

impl Serialize for Json {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Null => serializer.serialize_unit(),
            Self::Bool(value) => serializer.serialize_bool(*value),
            Self::Int(value) => serializer.serialize_i64(*value),
            Self::BigInt(digits) => serializer.serialize_str(digits),
            Self::Float(value) if value.is_finite() => serializer.serialize_f64(*value),
            Self::Float(value) => serializer.serialize_str(non_finite_name(*value)),
            Self::String(text) => serializer.serialize_str(&shortened(text)),
            Self::Array(items) => {
                let mut sequence = serializer.serialize_seq(Some(items.len()))?;
                for item in items {
                    sequence.serialize_element(item)?;
                }
                sequence.end()
            }
            Self::Object(entries) => {
                let mut map = serializer.serialize_map(Some(entries.len()))?;
                for (key, value) in entries {
                    map.serialize_entry(key, value)?;
                }
                map.end()
            }
        }
    }
}

fn non_finite_name(value: f64) -> &'static str {
    if value.is_nan() {
        "NaN"
    } else if value > 0.0 {
        "Infinity"
    } else {
        "-Infinity"
    }
}

/// A string fit for an echo: whole, or its beginning and its length.
fn shortened(text: &str) -> std::borrow::Cow<'_, str> {
    if text.len() <= MAX_ECHO_BYTES {
        return text.into();
    }
    let cut = text.floor_char_boundary(MAX_ECHO_BYTES);
    format!("{}...({} chars)", text.get(..cut).unwrap_or_default(), text.chars().count()).into()
}

/// Why text is not JSON.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum JsonError {
    /// Python's complaint and the position it names, in characters.
    Decode {
        /// As Python words it.
        message: &'static str,
        /// Characters before the fault.
        position: usize,
    },
    /// Not UTF-8, nested too deeply, or an integer too long: Python fails outside its decoder.
    Unreadable,
}

/// Reads a document.
///
/// # Errors
/// [`JsonError`].
pub fn parse(bytes: &[u8]) -> Result<Json, JsonError> {
    let bytes = bytes.strip_prefix(b"\xef\xbb\xbf").unwrap_or(bytes);
    let text = std::str::from_utf8(bytes).map_err(|_| JsonError::Unreadable)?;
    let mut parser = Parser { text, at: 0 };
    let result = parser.document();
    result.map_err(|fault| match fault {
        Fault::At(message, byte) => {
            let before = text.get(..byte).map_or_else(|| text.chars().count(), |head| head.chars().count());
            JsonError::Decode { message, position: before }
        }
        Fault::Unreadable => JsonError::Unreadable,
    })
}

/// A complaint at a byte offset.
enum Fault {
    At(&'static str, usize),
    Unreadable,
}

const EXPECTING_VALUE: &str = "Expecting value";

struct Parser<'a> {
    text: &'a str,
    at: usize,
}

impl<'a> Parser<'a> {
    fn document(&mut self) -> Result<Json, Fault> {
        self.skip_space();
        let value = self.value(0)?;
        self.skip_space();
        if self.at == self.text.len() { Ok(value) } else { Err(Fault::At("Extra data", self.at)) }
    }

    fn peek(&self) -> Option<u8> {
        self.text.as_bytes().get(self.at).copied()
    }

    fn take(&mut self, byte: u8) -> bool {
        let found = self.peek() == Some(byte);
        self.at += usize::from(found);
        found
    }

    fn skip_space(&mut self) {
        while matches!(self.peek(), Some(b' ' | b'\t' | b'\n' | b'\r')) {
            self.at += 1;
        }
    }

    fn rest(&self) -> &'a str {
        self.text.get(self.at..).unwrap_or_default()
    }

    fn value(&mut self, depth: usize) -> Result<Json, Fault> {
        if depth > MAX_DEPTH {
            return Err(Fault::Unreadable);
        }
        match self.peek() {
            Some(b'"') => self.string().map(Json::String),
            Some(b'{') => self.object(depth),
            Some(b'[') => self.array(depth),
            Some(b'-' | b'0'..=b'9') if !self.rest().starts_with("-Infinity") => self.number(),
            _ => self.literal(),
        }
    }

    fn literal(&mut self) -> Result<Json, Fault> {
        let known = [
            ("null", Json::Null),
            ("true", Json::Bool(true)),
            ("false", Json::Bool(false)),
            ("NaN", Json::Float(f64::NAN)),
            ("Infinity", Json::Float(f64::INFINITY)),
            ("-Infinity", Json::Float(f64::NEG_INFINITY)),
        ];
        for (name, value) in known {
            if self.rest().starts_with(name) {
                self.at += name.len();
                return Ok(value);
            }
        }
        Err(Fault::At(EXPECTING_VALUE, self.at))
    }

    fn array(&mut self, depth: usize) -> Result<Json, Fault> {
        self.at += 1;
        let mut items = Vec::new();
        self.skip_space();
        if self.take(b']') {
            return Ok(Json::Array(items));
        }
        loop {
            items.push(self.value(depth + 1)?);
            self.skip_space();
            if self.take(b']') {
                return Ok(Json::Array(items));
            }
            if !self.take(b',') {
                return Err(Fault::At("Expecting ',' delimiter", self.at));
            }
            self.skip_space();
        }
    }

    fn object(&mut self, depth: usize) -> Result<Json, Fault> {
        self.at += 1;
        let mut entries = Vec::new();
        self.skip_space();
        if self.take(b'}') {
            return Ok(Json::Object(entries));
        }
        loop {
            if self.peek() != Some(b'"') {
                return Err(Fault::At("Expecting property name enclosed in double quotes", self.at));
            }
            let key = self.string()?;
            self.skip_space();
            if !self.take(b':') {
                return Err(Fault::At("Expecting ':' delimiter", self.at));
            }
            self.skip_space();
            entries.push((key, self.value(depth + 1)?));
            self.skip_space();
            if self.take(b'}') {
                return Ok(Json::Object(entries));
            }
            if !self.take(b',') {
                return Err(Fault::At("Expecting ',' delimiter", self.at));
            }
            self.skip_space();
        }
    }

    fn number(&mut self) -> Result<Json, Fault> {
        let start = self.at;
        self.take(b'-');
        match self.peek() {
            Some(b'0') => self.at += 1,
            Some(b'1'..=b'9') => self.skip_digits(),
            _ => return Err(Fault::At(EXPECTING_VALUE, start)),
        }
        let integer_end = self.at;
        self.fraction_and_exponent();
        let literal = self.text.get(start..self.at).unwrap_or_default();
        if self.at > integer_end {
            return literal.parse().map(Json::Float).map_err(|_| Fault::At(EXPECTING_VALUE, start));
        }
        if let Ok(value) = literal.parse() {
            return Ok(Json::Int(value));
        }
        if literal.len() > MAX_INT_DIGITS {
            return Err(Fault::Unreadable);
        }
        Ok(Json::BigInt(literal.to_owned()))
    }

    /// Takes `.5` and `e-3` only where digits follow, as Python does: `1.` is a 1 and a stray dot.
    fn fraction_and_exponent(&mut self) {
        let integer_end = self.at;
        if self.take(b'.') && !self.skip_some_digits() {
            self.at = integer_end;
        }
        let fraction_end = self.at;
        if self.take(b'e') || self.take(b'E') {
            let _signed = self.take(b'-') || self.take(b'+');
            if !self.skip_some_digits() {
                self.at = fraction_end;
            }
        }
    }

    fn skip_digits(&mut self) {
        while matches!(self.peek(), Some(b'0'..=b'9')) {
            self.at += 1;
        }
    }

    fn skip_some_digits(&mut self) -> bool {
        let start = self.at;
        self.skip_digits();
        self.at > start
    }
}

#[cfg(test)]
mod tests;

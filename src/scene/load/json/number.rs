//! Numbers: exact, with the literals Python writes for what is not finite.

use super::{Json, Kind, LONGEST_NUMBER, Result};

/// Timestamps beyond this many microseconds (285 years) are something else, nanoseconds perhaps; below it they are also
/// exact as a double, which is what a browser counts with.
pub const LATEST_TIMESTAMP_US: i64 = 1 << 53;

impl Json<'_> {
    /// Any number; NaN and infinities included.
    ///
    /// # Errors
    /// When the value is no number.
    pub fn number(&mut self) -> Result<f64> {
        self.require(Kind::Number)?;
        self.ensure(LONGEST_NUMBER)?;
        if let Some((value, length)) = not_finite(self.rest()) {
            self.start += length;
            return Ok(value);
        }
        let (length, _) = self.shape()?;
        let token = self.rest().get(..length).unwrap_or_default();
        let value = std::str::from_utf8(token).ok().and_then(|text| text.parse().ok());
        let value = value.ok_or_else(|| self.fault("is not a number"))?;
        self.start += length;
        Ok(value)
    }

    /// A finite number.
    ///
    /// # Errors
    /// When the value is something else.
    pub fn finite(&mut self) -> Result<f64> {
        let value = self.number()?;
        if value.is_finite() {
            return Ok(value);
        }
        Err(self.fault(format!("is {}, expected a finite number", literal(value))))
    }

    /// A whole number; `5.0` is one.
    ///
    /// # Errors
    /// When the value is something else, or does not fit.
    pub fn integer(&mut self) -> Result<i64> {
        self.require(Kind::Number)?;
        self.ensure(LONGEST_NUMBER)?;
        if let Some((value, _)) = not_finite(self.rest()) {
            return Err(self.fault(format!("is {}, expected a whole number", literal(value))));
        }
        let (length, whole) = self.shape()?;
        let token = self.rest().get(..length).unwrap_or_default();
        let text = std::str::from_utf8(token).unwrap_or_default();
        let value = if whole { text.parse().ok() } else { text.parse().ok().and_then(exact) };
        let value =
            value.ok_or_else(|| self.fault(format!("is {text}, expected a whole number of 64 bits")))?;
        self.start += length;
        Ok(value)
    }

    /// Microseconds since some epoch, not negative.
    ///
    /// # Errors
    /// When the value is something else.
    pub fn timestamp_us(&mut self) -> Result<i64> {
        let value = self.integer()?;
        if (0..=LATEST_TIMESTAMP_US).contains(&value) {
            return Ok(value);
        }
        Err(self.fault(format!("is {value}, expected microseconds from 0 to {LATEST_TIMESTAMP_US}")))
    }

    /// Exactly `N` finite numbers.
    ///
    /// # Errors
    /// When the value is something else.
    pub fn numbers<const N: usize>(&mut self) -> Result<[f64; N]> {
        let mut values = [0.0; N];
        let count = self.list(|json, index| {
            let value = json.finite()?;
            if let Some(slot) = values.get_mut(index) {
                *slot = value;
            }
            Ok(())
        })?;
        if count == N {
            return Ok(values);
        }
        Err(self.fault(format!("has {count} numbers, expected {N}")))
    }

    /// Four rows of four finite numbers.
    ///
    /// # Errors
    /// When the value is something else.
    pub fn matrix(&mut self) -> Result<[[f64; 4]; 4]> {
        let mut rows = [[0.0; 4]; 4];
        let count = self.list(|json, index| {
            let row = json.numbers()?;
            if let Some(slot) = rows.get_mut(index) {
                *slot = row;
            }
            Ok(())
        })?;
        if count == 4 {
            return Ok(rows);
        }
        Err(self.fault(format!("has {count} rows, expected 4")))
    }

    pub(super) fn skip_number(&mut self) -> Result<()> {
        self.ensure(LONGEST_NUMBER)?;
        if let Some((_, length)) = not_finite(self.rest()) {
            self.start += length;
            return Ok(());
        }
        let (length, _) = self.shape()?;
        self.start += length;
        Ok(())
    }

    /// Length of the number at the front of the window by the grammar of JSON, and whether it is whole.
    fn shape(&self) -> Result<(usize, bool)> {
        let rest = self.rest();
        let at = |index: usize| rest.get(index).copied().unwrap_or_default();
        let digits = |mut index: usize| {
            while at(index).is_ascii_digit() {
                index += 1;
            }
            index
        };
        let bad = |index: usize| self.unexpected_at(index, "a digit");
        let first = usize::from(at(0) == b'-');
        let mut end = if at(first) == b'0' { first + 1 } else { digits(first) };
        if end == first {
            return Err(bad(end));
        }
        let mut whole = true;
        if at(end) == b'.' {
            whole = false;
            let from = end + 1;
            end = digits(from);
            if end == from {
                return Err(bad(end));
            }
        }
        if matches!(at(end), b'e' | b'E') {
            whole = false;
            let from = end + 1 + usize::from(matches!(at(end + 1), b'+' | b'-'));
            end = digits(from);
            if end == from {
                return Err(bad(end));
            }
        }
        if end == rest.len() && !self.path.is_empty() && end < LONGEST_NUMBER {
            return Err(self.cut_off());
        }
        if end >= LONGEST_NUMBER {
            return Err(self.fault(format!("has a number of over {LONGEST_NUMBER} characters")));
        }
        Ok((end, whole))
    }

    fn unexpected_at(&self, index: usize, expected: &str) -> super::Fault {
        match self.rest().get(index) {
            None => self.cut_off(),
            Some(byte) => {
                let offset = self.offset() + index as u64;
                let found = char::from(*byte);
                self.fault(format!("is not JSON: {found:?} at byte {offset}, expected {expected}"))
            }
        }
    }
}

/// The literal at the front and its length.
fn not_finite(text: &[u8]) -> Option<(f64, usize)> {
    let (word, value) = match *text {
        [b'N', ..] => ("NaN", f64::NAN),
        [b'I', ..] => ("Infinity", f64::INFINITY),
        [b'-', b'I', ..] => ("-Infinity", f64::NEG_INFINITY),
        _ => return None,
    };
    text.starts_with(word.as_bytes()).then_some((value, word.len()))
}

/// As Python writes what is not finite.
fn literal(value: f64) -> &'static str {
    if value.is_nan() {
        "NaN"
    } else if value > 0.0 {
        "Infinity"
    } else {
        "-Infinity"
    }
}

/// A whole number that a double holds exactly.
fn exact(value: f64) -> Option<i64> {
    (value.fract() == 0.0 && value.abs() <= LATEST_TIMESTAMP_US as f64).then_some(value as i64)
}

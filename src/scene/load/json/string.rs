//! Strings: those that are asked for are copied out, all others are passed over where they are.

use super::{Fault, Json, Kind, LONGEST_STRING, Result};

impl Json<'_> {
    /// A string.
    ///
    /// # Errors
    /// When the value is something else, or unreasonably long.
    pub fn string(&mut self) -> Result<String> {
        self.require(Kind::String)?;
        self.start += 1;
        loop {
            let end = self.rest().iter().position(|byte| matches!(byte, b'"' | b'\\' | 0..=0x1F));
            match end.map(|end| (end, self.rest().get(end).copied().unwrap_or_default())) {
                Some((length, b'"')) => {
                    let text = self.text(length)?;
                    self.start += length + 1;
                    return Ok(text);
                }
                Some((_, b'\\')) => return self.string_with_escapes(),
                Some((length, control)) => return Err(self.control(length, control)),
                None => self.more_of_string()?,
            }
        }
    }

    /// A string, or a number as text: identifiers are written either way.
    ///
    /// # Errors
    /// When the value is something else.
    pub fn name(&mut self) -> Result<String> {
        match self.kind()? {
            Kind::Number => self.integer().map(|number| number.to_string()),
            _ => self.string(),
        }
    }

    pub(super) fn skip_string(&mut self) -> Result<()> {
        self.start += 1;
        loop {
            let end = self.rest().iter().position(|byte| matches!(byte, b'"' | b'\\' | 0..=0x1F));
            match end.map(|end| (end, self.rest().get(end).copied().unwrap_or_default())) {
                Some((length, b'"')) => {
                    self.start += length + 1;
                    return Ok(());
                }
                Some((length, b'\\')) => {
                    self.start += length + 1;
                    self.escape()?;
                }
                Some((length, control)) => return Err(self.control(length, control)),
                None => {
                    self.start = self.end;
                    if !self.fill()? {
                        return Err(self.cut_off());
                    }
                }
            }
        }
    }

    fn string_with_escapes(&mut self) -> Result<String> {
        let mut text = String::new();
        loop {
            let end = self.rest().iter().position(|byte| matches!(byte, b'"' | b'\\' | 0..=0x1F));
            let Some(length) = end else {
                self.more_of_string()?;
                continue;
            };
            text.push_str(&self.text(length)?);
            if text.len() > LONGEST_STRING {
                return Err(self.too_long());
            }
            match self.rest().get(length).copied().unwrap_or_default() {
                b'"' => {
                    self.start += length + 1;
                    return Ok(text);
                }
                b'\\' => {
                    self.start += length + 1;
                    text.push(self.escape()?);
                }
                control => return Err(self.control(length, control)),
            }
        }
    }

    /// What stands behind a backslash. Half a surrogate pair becomes the replacement character.
    fn escape(&mut self) -> Result<char> {
        self.ensure(12)?;
        let Some(letter) = self.rest().first().copied() else {
            return Err(self.cut_off());
        };
        let plain = match letter {
            b'"' | b'\\' | b'/' => char::from(letter),
            b'b' => '\u{8}',
            b'f' => '\u{c}',
            b'n' => '\n',
            b'r' => '\r',
            b't' => '\t',
            b'u' => return self.unicode_escape(),
            other => return Err(self.unexpected(other, "an escape")),
        };
        self.start += 1;
        Ok(plain)
    }

    fn unicode_escape(&mut self) -> Result<char> {
        let unit = |from: usize| {
            let digits = self.rest().get(from..from + 4)?;
            digits.iter().try_fold(0, |sum, digit| Some(sum * 16 + char::from(*digit).to_digit(16)?))
        };
        let Some(first) = unit(1) else {
            return Err(self.unexpected(b'u', "four hexadecimal digits"));
        };
        let second = (self.rest().get(5..7) == Some(b"\\u".as_slice())).then(|| unit(7)).flatten();
        let (letter, length) = match (first, second) {
            (0xD800..0xDC00, Some(low @ 0xDC00..0xE000)) => {
                (char::from_u32(0x1_0000 + ((first - 0xD800) << 10) + (low - 0xDC00)), 11)
            }
            _ => (char::from_u32(first), 5),
        };
        self.start += length;
        Ok(letter.unwrap_or(char::REPLACEMENT_CHARACTER))
    }

    fn text(&self, length: usize) -> Result<String> {
        if length > LONGEST_STRING {
            return Err(self.too_long());
        }
        let bytes = self.rest().get(..length).unwrap_or_default();
        std::str::from_utf8(bytes).map(str::to_owned).map_err(|_| self.fault("is not UTF-8 text"))
    }

    /// The string reaches beyond the window.
    fn more_of_string(&mut self) -> Result<()> {
        if self.end - self.start > LONGEST_STRING {
            return Err(self.too_long());
        }
        if self.fill()? { Ok(()) } else { Err(self.cut_off()) }
    }

    fn too_long(&self) -> Fault {
        self.fault(format!("has a string of over {LONGEST_STRING} bytes"))
    }

    fn control(&self, length: usize, byte: u8) -> Fault {
        let offset = self.offset() + length as u64;
        self.fault(format!("is not JSON: byte 0x{byte:02x} in a string, at byte {offset}"))
    }
}

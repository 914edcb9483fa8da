//! String literals of [`json`](super::json): most of a request is one of them (a picture in base64), so the
//! plain stretches are copied whole.

use super::{Fault, Parser};

impl Parser<'_> {
    /// Reads a string literal; `at` is on its opening quote.
    pub(super) fn string(&mut self) -> Result<String, Fault> {
        let begin = self.at;
        self.at += 1;
        let mut text = String::new();
        loop {
            let rest = self.rest();
            let stop = rest.bytes().position(|byte| byte == b'"' || byte == b'\\' || byte < 0x20);
            let Some(stop) = stop else {
                return Err(Fault::At("Unterminated string starting at", begin));
            };
            text.push_str(rest.get(..stop).unwrap_or_default());
            self.at += stop;
            match self.peek() {
                Some(b'"') => {
                    self.at += 1;
                    return Ok(text);
                }
                Some(b'\\') => text.push(self.escape(begin)?),
                _ => return Err(Fault::At("Invalid control character at", self.at)),
            }
        }
    }

    fn escape(&mut self, begin: usize) -> Result<char, Fault> {
        let backslash = self.at;
        self.at += 1;
        let plain = match self.peek() {
            None => return Err(Fault::At("Unterminated string starting at", begin)),
            Some(b'"') => '"',
            Some(b'\\') => '\\',
            Some(b'/') => '/',
            Some(b'b') => '\u{8}',
            Some(b'f') => '\u{c}',
            Some(b'n') => '\n',
            Some(b'r') => '\r',
            Some(b't') => '\t',
            Some(b'u') => return self.unicode_escape(),
            Some(_) => return Err(Fault::At("Invalid \\escape", backslash)),
        };
        self.at += 1;
        Ok(plain)
    }

    /// `uXXXX`, and the low half of a surrogate pair behind it; `at` is on the `u`.
    fn unicode_escape(&mut self) -> Result<char, Fault> {
        let high = self.four_hex_digits()?;
        if !(0xd800..0xdc00).contains(&high) {
            return Ok(char::from_u32(high).unwrap_or(char::REPLACEMENT_CHARACTER));
        }
        // Python looks for the second half only when at least one character follows it.
        let pair = self.rest().as_bytes();
        if pair.len() > 6 && pair.starts_with(b"\\u") {
            let resume = self.at;
            self.at += 1;
            let low = self.four_hex_digits()?;
            if (0xdc00..0xe000).contains(&low) {
                let code = 0x10000 + ((high - 0xd800) << 10) + (low - 0xdc00);
                return Ok(char::from_u32(code).unwrap_or(char::REPLACEMENT_CHARACTER));
            }
            self.at = resume;
        }
        Ok(char::REPLACEMENT_CHARACTER)
    }

    fn four_hex_digits(&mut self) -> Result<u32, Fault> {
        let fault = Fault::At("Invalid \\uXXXX escape", self.at);
        let start = self.at + 1;
        // A literal needs a closing quote, so Python wants a character behind the four.
        if self.text.len() <= start + 4 {
            return Err(fault);
        }
        let digits = self.text.as_bytes().get(start..start + 4).unwrap_or_default();
        let mut code = 0;
        for digit in digits {
            match char::from(*digit).to_digit(16) {
                Some(value) => code = code * 16 + value,
                None => return Err(fault),
            }
        }
        self.at = start + 4;
        Ok(code)
    }
}

//! A pull reader for JSON as Python's `json.load` takes it, which is what scenario files were checked with: NaN and
//! Infinity are numbers, the last of two equal keys counts, whatever is not asked for is passed over.
//!
//! The reader goes once over a stream through a window of fixed size and hands numbers straight to whoever asked, so
//! that an 80 MB member costs neither a value tree nor a copy of its text. It knows where it is: an error names the key
//! and the index, not only a byte. (`serde_json` refuses NaN even in a member nobody reads, and knows no path.)

mod fault;
pub(super) mod number;
mod skip;
mod string;

use std::io::Read;

pub use fault::{Fault, Result};
use fault::{Step, path_text};

/// The text in memory at a time.
const WINDOW_BYTES: usize = 256 << 10;
/// The longest number, and the longest string that is asked for.
const LONGEST_NUMBER: usize = 1024;
const LONGEST_STRING: usize = 64 << 10;
/// Deepest nesting of what is passed over; Python's own limit is near it.
const DEEPEST: usize = 1000;

/// What a value is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// `{}`
    Object,
    /// `[]`
    List,
    /// `""`
    String,
    /// `1`, `-2.5e3`, `NaN`
    Number,
    /// `true` or `false`
    Truth,
    /// `null`
    Null,
}

impl Kind {
    fn name(self) -> &'static str {
        match self {
            Self::Object => "an object",
            Self::List => "a list",
            Self::String => "a string",
            Self::Number => "a number",
            Self::Truth => "true or false",
            Self::Null => "null",
        }
    }
}

/// The reader. Its source must be UTF-8.
pub struct Json<'a> {
    source: Box<dyn Read + 'a>,
    window: Vec<u8>,
    start: usize,
    end: usize,
    /// Bytes of the document in front of the window.
    passed: u64,
    ended: bool,
    path: Vec<Step>,
}

impl<'a> Json<'a> {
    /// Over a stream of UTF-8.
    #[must_use]
    pub fn new(source: impl Read + 'a) -> Self {
        Self {
            source: Box::new(source),
            window: vec![0; WINDOW_BYTES],
            start: 0,
            end: 0,
            passed: 0,
            ended: false,
            path: Vec::new(),
        }
    }

    /// What the next value is.
    ///
    /// # Errors
    /// When there is none.
    pub fn kind(&mut self) -> Result<Kind> {
        Ok(match self.token()? {
            b'{' => Kind::Object,
            b'[' => Kind::List,
            b'"' => Kind::String,
            b'-' | b'0'..=b'9' | b'N' | b'I' => Kind::Number,
            b't' | b'f' => Kind::Truth,
            b'n' => Kind::Null,
            other => return Err(self.unexpected(other, "a value")),
        })
    }

    /// Calls `each` with every key; it must read or skip the value.
    ///
    /// # Errors
    /// When the value is no object, and whatever `each` refuses.
    pub fn object(&mut self, mut each: impl FnMut(&mut Self, &str) -> Result<()>) -> Result<()> {
        self.require(Kind::Object)?;
        self.start += 1;
        if self.token()? == b'}' {
            self.start += 1;
            return Ok(());
        }
        loop {
            let key = self.key()?;
            self.path.push(Step::Key(key.clone()));
            each(self, &key)?;
            self.path.pop();
            if !self.another(b'}')? {
                return Ok(());
            }
        }
    }

    /// Calls `each` with every index; it must read or skip the value. Returns their number.
    ///
    /// # Errors
    /// When the value is no list, and whatever `each` refuses.
    pub fn list(&mut self, mut each: impl FnMut(&mut Self, usize) -> Result<()>) -> Result<usize> {
        self.require(Kind::List)?;
        self.start += 1;
        if self.token()? == b']' {
            self.start += 1;
            return Ok(0);
        }
        self.path.push(Step::Index(0));
        let mut count = 0;
        loop {
            if let Some(last) = self.path.last_mut() {
                *last = Step::Index(count);
            }
            each(self, count)?;
            count += 1;
            if !self.another(b']')? {
                self.path.pop();
                return Ok(count);
            }
        }
    }

    /// `None` for null, else what `read` makes of it.
    ///
    /// # Errors
    /// Those of `read`.
    pub fn optional<T>(&mut self, read: impl FnOnce(&mut Self) -> Result<T>) -> Result<Option<T>> {
        if self.kind()? == Kind::Null {
            self.literal("null")?;
            return Ok(None);
        }
        read(self).map(Some)
    }

    /// Checks that nothing but blanks is left.
    ///
    /// # Errors
    /// When there is more, or the source fails at its end.
    pub fn finish(&mut self) -> Result<()> {
        match self.next_token()? {
            None => Ok(()),
            Some(other) => Err(self.unexpected(other, "the end of the text")),
        }
    }

    /// A fault at the value being read.
    #[must_use]
    pub fn fault(&self, reason: impl Into<String>) -> Fault {
        Fault::Content { key: path_text(&self.path, ""), reason: reason.into() }
    }

    /// A fault at something inside the value that was read last: `.key`, `[3]`.
    #[must_use]
    pub fn fault_in(&self, inside: &str, reason: impl Into<String>) -> Fault {
        Fault::Content { key: path_text(&self.path, inside), reason: reason.into() }
    }

    /// Where the reader is, as a fault would say it.
    #[must_use]
    pub fn place(&self) -> String {
        path_text(&self.path, "")
    }

    fn require(&mut self, expected: Kind) -> Result<()> {
        let kind = self.kind()?;
        if kind == expected {
            return Ok(());
        }
        Err(self.fault(format!("is {}, expected {}", kind.name(), expected.name())))
    }

    /// After a value: whether another one follows.
    fn another(&mut self, closing: u8) -> Result<bool> {
        match self.token()? {
            b',' => {
                self.start += 1;
                Ok(true)
            }
            byte if byte == closing => {
                self.start += 1;
                Ok(false)
            }
            other => Err(self.unexpected(other, &format!("a comma or {}", char::from(closing)))),
        }
    }

    fn key(&mut self) -> Result<String> {
        match self.token()? {
            b'"' => {}
            other => return Err(self.unexpected(other, "a key in double quotes")),
        }
        let key = self.string()?;
        self.colon()?;
        Ok(key)
    }

    fn colon(&mut self) -> Result<()> {
        match self.token()? {
            b':' => {
                self.start += 1;
                Ok(())
            }
            other => Err(self.unexpected(other, "a colon")),
        }
    }

    fn literal(&mut self, word: &str) -> Result<()> {
        self.ensure(word.len())?;
        if self.rest().starts_with(word.as_bytes()) {
            self.start += word.len();
            return Ok(());
        }
        let first = self.rest().first().copied().unwrap_or_default();
        Err(self.unexpected(first, word))
    }

    /// The next byte that is no blank; it is not taken.
    fn token(&mut self) -> Result<u8> {
        match self.next_token()? {
            Some(byte) => Ok(byte),
            None if self.offset() == 0 => Err(self.fault("is empty, expected JSON")),
            None => Err(self.cut_off()),
        }
    }

    fn next_token(&mut self) -> Result<Option<u8>> {
        loop {
            let found = self.rest().iter().position(|byte| !matches!(byte, b' ' | b'\n' | b'\t' | b'\r'));
            match found {
                Some(blanks) => {
                    self.start += blanks;
                    return Ok(self.rest().first().copied());
                }
                None => {
                    self.start = self.end;
                    if !self.fill()? {
                        return Ok(None);
                    }
                }
            }
        }
    }

    fn rest(&self) -> &[u8] {
        self.window.get(self.start..self.end).unwrap_or_default()
    }

    /// Has at least `count` bytes in the window unless the text is shorter.
    fn ensure(&mut self, count: usize) -> Result<()> {
        while self.end - self.start < count && self.fill()? {}
        Ok(())
    }

    /// Moves what is left to the front and reads more behind it; `false` at the end of the text.
    fn fill(&mut self) -> Result<bool> {
        if self.ended || self.end - self.start == self.window.len() {
            return Ok(false);
        }
        self.window.copy_within(self.start..self.end, 0);
        self.passed += self.start as u64;
        self.end -= self.start;
        self.start = 0;
        loop {
            match self.source.read(self.window.get_mut(self.end..).unwrap_or_default()) {
                Ok(count) => {
                    self.end += count;
                    self.ended = count == 0;
                    return Ok(count > 0);
                }
                Err(error) if error.kind() == std::io::ErrorKind::Interrupted => {}
                Err(error) => return Err(Fault::Source(error)),
            }
        }
    }

    fn offset(&self) -> u64 {
        self.passed + self.start as u64
    }

    fn cut_off(&self) -> Fault {
        let bytes = self.passed + self.end as u64;
        self.fault(format!("is cut off: the text ends after {bytes} bytes"))
    }

    fn unexpected(&self, byte: u8, expected: &str) -> Fault {
        if self.rest().is_empty() {
            return self.cut_off();
        }
        let offset = self.offset();
        let found = if byte.is_ascii_graphic() {
            format!("{:?}", char::from(byte))
        } else {
            format!("byte 0x{byte:02x}")
        };
        self.fault(format!("is not JSON: {found} at byte {offset}, expected {expected}"))
    }
}

#[cfg(test)]
mod tests;

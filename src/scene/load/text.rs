//! Whatever Unicode encoding a JSON member is in, as UTF-8: files in the wild were checked with Python's `json.load`,
//! which takes UTF-8, UTF-16 and UTF-32, with a byte order mark or without.

use std::io::{self, Read};

/// Bytes decoded at a time when the text is not UTF-8.
const CHUNK_BYTES: usize = 16 << 10;
/// The longest UTF-8 character.
const LONGEST_CHAR: usize = 4;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Encoding {
    Utf8,
    Utf16 { big_endian: bool },
    Utf32 { big_endian: bool },
}

/// A stream of valid UTF-8 made of a stream in any Unicode encoding.
pub(super) struct Text<R> {
    source: R,
    encoding: Option<Encoding>,
    /// Read and not yet decoded.
    raw: Vec<u8>,
    /// Decoded and not yet handed out.
    ready: Vec<u8>,
    handed: usize,
    /// Bytes of the source that were decoded.
    decoded: u64,
}

impl<R: Read> Text<R> {
    pub(super) fn new(source: R) -> Self {
        Self { source, encoding: None, raw: Vec::new(), ready: Vec::new(), handed: 0, decoded: 0 }
    }

    /// Reads until `raw` has `wanted` bytes or the source ends.
    fn gather(&mut self, wanted: usize) -> io::Result<()> {
        let missing = wanted.saturating_sub(self.raw.len());
        (&mut self.source).take(missing as u64).read_to_end(&mut self.raw)?;
        Ok(())
    }

    fn detect(&mut self) -> io::Result<Encoding> {
        self.gather(LONGEST_CHAR)?;
        let (encoding, mark) = guess(&self.raw);
        self.raw.drain(..mark);
        self.decoded = mark as u64;
        Ok(encoding)
    }

    fn wide(&mut self, unit: usize, big_endian: bool) -> io::Result<()> {
        self.gather(CHUNK_BYTES)?;
        let at_end = self.raw.len() < CHUNK_BYTES;
        let mut used = 0;
        self.ready.clear();
        self.handed = 0;
        while let Some(bytes) = self.raw.get(used..used + unit) {
            let first = number(bytes, big_endian);
            let mut taken = unit;
            let letter = if unit == 4 {
                char::from_u32(first)
            } else if (0xD800..0xDC00).contains(&first) {
                match self.raw.get(used + 2..used + 4) {
                    None if !at_end => break,
                    next => {
                        taken = 4;
                        let low = next.map_or(0, |bytes| number(bytes, big_endian));
                        let pair = (0xDC00..0xE000).contains(&low);
                        pair.then(|| 0x1_0000 + ((first - 0xD800) << 10) + (low - 0xDC00))
                            .and_then(char::from_u32)
                    }
                }
            } else {
                char::from_u32(first)
            };
            let Some(letter) = letter else {
                return Err(refuse(self.decoded + used as u64, "UTF-16 or UTF-32"));
            };
            let mut utf8 = [0; LONGEST_CHAR];
            self.ready.extend_from_slice(letter.encode_utf8(&mut utf8).as_bytes());
            used += taken;
        }
        if at_end && used < self.raw.len() {
            return Err(refuse(self.decoded + used as u64, "UTF-16 or UTF-32"));
        }
        self.raw.drain(..used);
        self.decoded += used as u64;
        Ok(())
    }

    fn utf8(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let kept = self.raw.len();
        if let Some(front) = buffer.get_mut(..kept) {
            front.copy_from_slice(&self.raw);
        }
        self.raw.clear();
        let mut filled = kept;
        while filled < LONGEST_CHAR {
            let count = self.source.read(buffer.get_mut(filled..).unwrap_or_default())?;
            if count == 0 {
                break;
            }
            filled += count;
        }
        let bytes = buffer.get(..filled).unwrap_or_default();
        let valid = match std::str::from_utf8(bytes) {
            Ok(text) => text.len(),
            Err(error) => {
                let valid = error.valid_up_to();
                if error.error_len().is_some() || valid == 0 {
                    return Err(refuse(self.decoded + valid as u64, "UTF-8"));
                }
                self.raw.extend_from_slice(bytes.get(valid..).unwrap_or_default());
                valid
            }
        };
        self.decoded += valid as u64;
        Ok(valid)
    }
}

impl<R: Read> Read for Text<R> {
    /// `buffer` must hold a few characters.
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let encoding = match self.encoding {
            Some(encoding) => encoding,
            None => {
                let encoding = self.detect()?;
                *self.encoding.insert(encoding)
            }
        };
        let (unit, big_endian) = match encoding {
            Encoding::Utf8 => return self.utf8(buffer),
            Encoding::Utf16 { big_endian } => (2, big_endian),
            Encoding::Utf32 { big_endian } => (4, big_endian),
        };
        if self.handed == self.ready.len() {
            self.wide(unit, big_endian)?;
        }
        let mut rest = self.ready.get(self.handed..).unwrap_or_default();
        let count = rest.read(buffer)?;
        self.handed += count;
        Ok(count)
    }
}

/// The encoding and the length of the byte order mark, by the rules of RFC 4627 section 3.
fn guess(start: &[u8]) -> (Encoding, usize) {
    use Encoding::{Utf8, Utf16, Utf32};
    match *start {
        [0, 0, 0xFE, 0xFF, ..] => (Utf32 { big_endian: true }, 4),
        [0xFF, 0xFE, 0, 0, ..] => (Utf32 { big_endian: false }, 4),
        [0xFE, 0xFF, ..] => (Utf16 { big_endian: true }, 2),
        [0xFF, 0xFE, ..] => (Utf16 { big_endian: false }, 2),
        [0xEF, 0xBB, 0xBF, ..] => (Utf8, 3),
        [0, 0, _, _] => (Utf32 { big_endian: true }, 0),
        [0, _, _, _] | [0, _] => (Utf16 { big_endian: true }, 0),
        [_, 0, 0, 0] => (Utf32 { big_endian: false }, 0),
        [_, 0, _, _] | [_, 0] => (Utf16 { big_endian: false }, 0),
        _ => (Utf8, 0),
    }
}

fn number(bytes: &[u8], big_endian: bool) -> u32 {
    let join = |sum: u32, byte: &u8| (sum << 8) | u32::from(*byte);
    if big_endian { bytes.iter().fold(0, join) } else { bytes.iter().rev().fold(0, join) }
}

fn refuse(offset: u64, encoding: &str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, format!("byte {offset} is not {encoding} text"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// Hands out as many bytes as a list says, over and over.
    struct Dribble<'a>(&'a [u8], usize);

    impl Read for Dribble<'_> {
        fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
            let wanted = buffer.len().min(self.1);
            self.0.read(&mut buffer[..wanted])
        }
    }

    fn decode(bytes: &[u8], step: usize) -> io::Result<String> {
        let mut text = Text::new(Dribble(bytes, step));
        let (mut all, mut buffer) = (Vec::new(), [0; 64]);
        loop {
            let count = text.read(&mut buffer)?;
            if count == 0 {
                return Ok(String::from_utf8(all).unwrap());
            }
            all.extend_from_slice(&buffer[..count]);
        }
    }

    proptest! {
        #[test]
        fn every_encoding_python_reads_gives_the_same_text(
            letters in "[a-zé€😀{}\\[\\]]{0,200}", step in 1_usize..40, mark in any::<bool>(), big in any::<bool>(),
        ) {
            let text = format!("{{}}{letters}");
            let marked = if mark { format!("\u{feff}{text}") } else { text.clone() };
            prop_assert_eq!(&decode(marked.as_bytes(), step).unwrap(), &text);
            let utf16: Vec<u8> = marked.encode_utf16()
                .flat_map(|unit| if big { unit.to_be_bytes() } else { unit.to_le_bytes() }).collect();
            prop_assert_eq!(&decode(&utf16, step).unwrap(), &text);
            let utf32: Vec<u8> = marked.chars()
                .flat_map(|c| if big { (c as u32).to_be_bytes() } else { (c as u32).to_le_bytes() }).collect();
            prop_assert_eq!(decode(&utf32, step).unwrap(), text);
        }

        #[test]
        fn bytes_that_are_no_text_are_refused_as_the_standard_library_does(
            bytes in proptest::collection::vec(any::<u8>(), 0..64), step in 1_usize..9,
        ) {
            let bytes = [b"{}  ".as_slice(), &bytes].concat();
            prop_assert_eq!(decode(&bytes, step).ok(), std::str::from_utf8(&bytes).ok().map(str::to_owned));
        }
    }
}

//! Base64 as leniently as Python's `base64.b64decode` reads it, because that is what the field's clients were
//! written against.

use ::base64::Engine as _;
use ::base64::engine::general_purpose::STANDARD;
use thiserror::Error;

/// Why a text is not base64, even read leniently.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum Base64Error {
    /// A character outside ASCII.
    #[error("base64 text should contain only ASCII characters, found one at byte {at}")]
    NonAscii {
        /// Byte offset of the character in the text.
        at: usize,
    },
    /// One character of the alphabet is left over: six bits are less than a byte.
    #[error(
        "invalid base64 text: number of data characters ({characters}) cannot be 1 more than a multiple of 4"
    )]
    LoneCharacter {
        /// Characters of the alphabet found.
        characters: usize,
    },
    /// Two or three characters are left over and not padded.
    #[error("incorrect base64 padding: {characters} data characters need {missing} '=' at the end")]
    Padding {
        /// Characters of the alphabet found.
        characters: usize,
        /// How many `=` would have completed the text.
        missing: usize,
    },
}

/// Decodes `text`, which may be a `data:` URI (everything up to its comma is passed over).
///
/// Characters outside the standard alphabet are skipped, line breaks among them; `=` is skipped where no padding can
/// stand; once the padding is complete, the rest is not read. (CPython 3.11, `binascii.a2b_base64`, not strict.)
///
/// # Errors
/// [`Base64Error`]: a character outside ASCII, or an end within a group of four that is not padded.
pub fn decode_base64(text: &str) -> Result<Vec<u8>, Base64Error> {
    let skipped = data_uri_prefix(text);
    let data = text.get(skipped..).unwrap_or_default();
    if let Ok(bytes) = STANDARD.decode(data) {
        return Ok(bytes);
    }
    match data.bytes().position(|byte| !byte.is_ascii()) {
        Some(at) => Err(Base64Error::NonAscii { at: skipped + at }),
        None => decode_leniently(data),
    }
}

/// Length of `data:...,` at the start of `text`, or 0.
fn data_uri_prefix(text: &str) -> usize {
    let starts = text.get(..5).is_some_and(|scheme| scheme.eq_ignore_ascii_case("data:"));
    if starts { text.find(',').map_or(0, |comma| comma + 1) } else { 0 }
}

fn decode_leniently(text: &str) -> Result<Vec<u8>, Base64Error> {
    let mut out = Vec::with_capacity(text.len() / 4 * 3 + 3);
    let (mut characters, mut pads, mut group) = (0_usize, 0, 0_u32);
    for byte in text.bytes() {
        let in_group = characters % 4;
        if byte == b'=' {
            if in_group >= 2 {
                pads += 1;
                if in_group + pads >= 4 {
                    push_partial(&mut out, group, in_group);
                    return Ok(out);
                }
            }
            continue;
        }
        let Some(value) = sextet(byte) else { continue };
        pads = 0;
        group = (group << 6) | value;
        characters += 1;
        if in_group == 3 {
            let [_, bytes @ ..] = group.to_be_bytes();
            out.extend_from_slice(&bytes);
            group = 0;
        }
    }
    match characters % 4 {
        0 => Ok(out),
        1 => Err(Base64Error::LoneCharacter { characters }),
        in_group => Err(Base64Error::Padding { characters, missing: 4 - in_group }),
    }
}

/// The whole bytes of a group of `characters` (2 or 3) sextets.
fn push_partial(out: &mut Vec<u8>, group: u32, characters: usize) {
    let [_, bytes @ ..] = (group << (6 * (4 - characters))).to_be_bytes();
    out.extend(bytes.iter().take(characters - 1));
}

fn sextet(byte: u8) -> Option<u32> {
    let value = match byte {
        b'A'..=b'Z' => byte - b'A',
        b'a'..=b'z' => byte - b'a' + 26,
        b'0'..=b'9' => byte - b'0' + 52,
        b'+' => 62,
        b'/' => 63,
        _ => return None,
    };
    Some(u32::from(value))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn what_was_encoded_comes_back(data: Vec<u8>) {
            prop_assert_eq!(decode_base64(&STANDARD.encode(&data)), Ok(data));
        }

        #[test]
        fn noise_between_characters_is_skipped(data: Vec<u8>, noise in "[ \r\n\t:;!_.,-]{1,3}", every in 1_usize..80) {
            let clean = STANDARD.encode(&data);
            let mut noisy = String::new();
            for (i, character) in clean.chars().enumerate() {
                if i % every == 0 {
                    noisy.push_str(&noise);
                }
                noisy.push(character);
            }
            prop_assert_eq!(decode_base64(&noisy), Ok(data));
        }

        #[test]
        fn strict_and_lenient_agree_on_clean_text(data: Vec<u8>) {
            prop_assert_eq!(decode_leniently(&STANDARD.encode(&data)), Ok(data));
        }

        #[test]
        fn data_uris_are_opened(data: Vec<u8>, kind in "[a-z]{1,6}/[a-z]{1,6}") {
            let uri = format!("data:{kind};base64,{}", STANDARD.encode(&data));
            prop_assert_eq!(decode_base64(&uri), Ok(data));
        }

        #[test]
        fn any_text_gives_an_answer(text: String) {
            if let Ok(bytes) = decode_base64(&text) {
                prop_assert!(bytes.len() <= text.len() / 4 * 3 + 2);
            }
        }
    }

    /// Each line was answered so by CPython 3.11's `base64.b64decode`.
    #[test]
    fn oddities_are_read_as_python_reads_them() {
        for (text, want) in [
            ("", &b""[..]),
            ("====", b""),
            ("QUJD", b"ABC"),
            ("QUI=", b"AB"),
            ("QUI====", b"AB"),
            ("QQ==", b"A"),
            ("QR==", b"A"),
            ("Q=Q==", b"A"),
            ("=QQ==", b"A"),
            ("QQ==QUJD", b"A"),
            ("QQ=U=I=D", b"A\x05"),
            ("QUJD=", b"ABC"),
            ("QU\nJ\r\nD", b"ABC"),
            ("Q-U_J*D", b"ABC"),
        ] {
            assert_eq!(decode_base64(text).as_deref(), Ok(want), "{text:?}");
        }
    }

    #[test]
    fn errors_say_what_is_missing() {
        let said = |text: &str| decode_base64(text).unwrap_err().to_string();
        assert_eq!(
            said("QUJDQ"),
            "invalid base64 text: number of data characters (5) cannot be 1 more than a multiple of 4"
        );
        assert_eq!(said("QQ="), "incorrect base64 padding: 2 data characters need 2 '=' at the end");
        assert_eq!(said("QUJ"), "incorrect base64 padding: 3 data characters need 1 '=' at the end");
        assert_eq!(said("QUé="), "base64 text should contain only ASCII characters, found one at byte 2");
    }
}

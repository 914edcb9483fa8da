//! What names may look like that come from a caller.

/// Longest name of an image.
const LONGEST_NAME: usize = 255;
/// Most characters of a wrong value that an error repeats: it travels in a header.
const MOST_SHOWN: usize = 80;

/// A wrong value, as an error shows it: quoted, and cut when it is long.
#[must_use]
pub fn shown(text: &str) -> String {
    match text.char_indices().nth(MOST_SHOWN) {
        Some((place, _)) => format!("{:?}... of {} bytes", text.get(..place).unwrap_or_default(), text.len()),
        None => format!("{text:?}"),
    }
}

/// A single name: a letter or digit, then up to 62 of `A-Za-z0-9_.-`. Never `..`, never with a slash.
#[must_use]
pub fn is_component(text: &str) -> bool {
    let good = |byte: u8| byte.is_ascii_alphanumeric() || b"_.-".contains(&byte);
    text.len() <= 63
        && text.bytes().all(good)
        && text.bytes().next().is_some_and(|first| first.is_ascii_alphanumeric())
}

/// A name in the image store, with parts like `registry.example/team/image:tag@sha256:...`. A name, never a path.
///
/// # Errors
/// What is wrong with it.
pub fn image_name(text: &str) -> Result<(), String> {
    let expected = "expected parts of A-Za-z0-9_.-:@+ between slashes, each beginning with a letter or digit";
    if text.len() > LONGEST_NAME {
        return Err(format!("has {} bytes; expected at most {LONGEST_NAME}", text.len()));
    }
    let good = |part: &str| {
        part.bytes().next().is_some_and(|first| first.is_ascii_alphanumeric())
            && part.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"_.-:@+".contains(&byte))
            && !part.contains("..")
    };
    if text.split('/').all(good) { Ok(()) } else { Err(format!("is {}; {expected}", shown(text))) }
}

/// Text without NUL and other control characters.
///
/// # Errors
/// What is wrong with it.
pub fn no_controls(text: &str, longest: usize) -> Result<(), String> {
    if text.len() > longest {
        return Err(format!("has {} bytes; expected at most {longest}", text.len()));
    }
    match text.chars().position(char::is_control) {
        Some(place) => Err(format!("has a control character at {place}; expected none")),
        None => Ok(()),
    }
}

/// Text without NUL.
///
/// # Errors
/// What is wrong with it.
pub fn no_nul(text: &str, longest: usize) -> Result<(), String> {
    if text.len() > longest {
        return Err(format!("has {} bytes; expected at most {longest}", text.len()));
    }
    match text.bytes().position(|byte| byte == 0) {
        Some(place) => Err(format!("has a NUL at {place}; expected none")),
        None => Ok(()),
    }
}

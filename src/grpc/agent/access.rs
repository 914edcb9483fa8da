//! Who may call: keys out of a file, compared in constant time. Without keys everybody may who reaches the address.

use std::sync::Arc;

use sha2::{Digest, Sha256};
use subtle::{Choice, ConditionallySelectable, ConstantTimeEq};

use crate::agent::error::AgentError;

/// Shortest key: one that cannot be guessed by trying.
const SHORTEST: usize = 16;

/// The keys. Cheap to clone, and not shown.
#[derive(Clone, Default)]
pub struct Keys {
    digests: Arc<Vec<[u8; 32]>>,
}

impl std::fmt::Debug for Keys {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(out, "Keys({})", self.digests.len())
    }
}

impl Keys {
    /// One key a line; empty lines and those that begin with `#` are none.
    ///
    /// # Errors
    /// `Invalid`, with the line, for a key that is too short or could not be sent; when there is none at all.
    pub fn parse(text: &str) -> Result<Self, AgentError> {
        let mut digests = Vec::new();
        for (number, line) in (1_usize..).zip(text.lines()) {
            let key = line.trim();
            if key.is_empty() || key.starts_with('#') {
                continue;
            }
            if key.len() < SHORTEST || !key.bytes().all(|byte| byte.is_ascii_graphic()) {
                let expected = format!(
                    "is no key; expected at least {SHORTEST} letters, digits and signs without blanks"
                );
                return Err(AgentError::invalid(format!("line {number}"), expected));
            }
            digests.push(Sha256::digest(key.as_bytes()).into());
        }
        if digests.is_empty() {
            return Err(AgentError::invalid("the file", "holds no key"));
        }
        Ok(Self { digests: Arc::new(digests) })
    }

    /// Whether everybody may call.
    #[must_use]
    pub fn is_open(&self) -> bool {
        self.digests.is_empty()
    }

    /// Who shows this key, as the audit log names them: never the key itself.
    ///
    /// # Errors
    /// `Unauthenticated` without a key, or with one that is not in the file.
    pub fn check(&self, shown: Option<&str>) -> Result<Option<String>, AgentError> {
        if self.is_open() {
            return Ok(None);
        }
        let Some(shown) = shown.filter(|shown| !shown.is_empty()) else {
            let message = "a key is required: `authorization: Bearer KEY` or `x-api-key: KEY`";
            return Err(AgentError::Unauthenticated(message.to_owned()));
        };
        let shown: [u8; 32] = Sha256::digest(shown.as_bytes()).into();
        // All are compared, so that the time tells nothing of which one nearly matched.
        let mut found = 0_u64;
        for (number, digest) in (1_u64..).zip(self.digests.iter()) {
            let equal: Choice = digest.ct_eq(&shown);
            found.conditional_assign(&number, equal);
        }
        if found == 0 {
            return Err(AgentError::Unauthenticated("this key is not known here".to_owned()));
        }
        Ok(Some(fingerprint("key", &shown)))
    }
}

/// What stands for a key or a certificate where people read it.
pub(super) fn fingerprint(what: &str, digest: &[u8; 32]) -> String {
    let digits: String = digest.iter().take(4).map(|byte| format!("{byte:02x}")).collect();
    format!("{what} {digits}")
}

/// The key of a request, from the values of its headers `authorization` and `x-api-key`.
pub(super) fn credential<'a>(authorization: Option<&'a str>, x_api_key: Option<&'a str>) -> Option<&'a str> {
    let from_scheme = |value: &'a str| {
        let (scheme, rest) = value.split_once(' ')?;
        scheme.eq_ignore_ascii_case("bearer").then(|| rest.trim())
    };
    authorization.and_then(from_scheme).or_else(|| x_api_key.map(str::trim))
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &str = "# operators\nkey-of-ada-0123456789\n\n  key-of-bob-0123456789\n";

    #[test]
    fn a_key_of_the_file_is_let_in_and_named_by_its_fingerprint() {
        let keys = Keys::parse(TEXT).unwrap();
        let [ada, bob] =
            ["key-of-ada-0123456789", "key-of-bob-0123456789"].map(|key| keys.check(Some(key)).unwrap());
        assert!(ada.is_some() && ada != bob && !ada.unwrap().contains("ada"));
        assert_eq!(format!("{keys:?}"), "Keys(2)");
    }

    #[test]
    fn no_key_and_unknown_keys_are_turned_away() {
        let keys = Keys::parse(TEXT).unwrap();
        for shown in
            [None, Some(""), Some("key-of-ada-012345678"), Some("KEY-OF-ADA-0123456789"), Some("# operators")]
        {
            assert!(matches!(keys.check(shown), Err(AgentError::Unauthenticated(_))), "{shown:?}");
        }
        assert_eq!(Keys::default().check(None), Ok(None));
    }

    #[test]
    fn a_file_without_sound_keys_is_refused_with_its_line() {
        for (text, said) in [
            ("", "the file"),
            ("# nothing\n", "the file"),
            ("\nshort\n", "line 2"),
            ("key with some blanks in it", "line 1"),
        ] {
            let error = Keys::parse(text).unwrap_err().to_string();
            assert!(error.starts_with(said), "{error}");
        }
    }

    #[test]
    fn keys_come_with_either_header() {
        assert_eq!(credential(Some("Bearer abc"), None), Some("abc"));
        assert_eq!(credential(None, Some(" abc")), Some("abc"));
        assert_eq!(credential(Some("Basic abc"), Some("def")), Some("def"));
        assert_eq!(credential(Some("abc"), None), None);
    }
}

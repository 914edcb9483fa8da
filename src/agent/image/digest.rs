//! Contents by their sha256: what was announced is compared with what came.

use std::fmt;
use std::io::{self, Read};
use std::str::FromStr;

use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

use crate::agent::error::AgentError;

/// `sha256:` and 64 hexadecimal digits.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Digest(String);

impl Digest {
    /// The digits alone: the name of a file or folder in the store.
    #[must_use]
    pub fn hex(&self) -> &str {
        &self.0
    }

    /// Of everything that the hasher was given.
    pub(super) fn of(hasher: Sha256) -> Self {
        Self(hasher.finalize().iter().map(|byte| format!("{byte:02x}")).collect())
    }

    /// Refuses contents that are not what was announced.
    ///
    /// # Errors
    /// `Invalid`, with both digests.
    pub fn expect(&self, found: &Self, what: &str) -> Result<(), AgentError> {
        if self == found {
            return Ok(());
        }
        Err(AgentError::invalid(what, format!("has the digest {found}, expected {self}: it is damaged")))
    }
}

impl FromStr for Digest {
    type Err = AgentError;

    fn from_str(text: &str) -> Result<Self, AgentError> {
        let digits = text.strip_prefix("sha256:").unwrap_or_default();
        let valid = digits.len() == 64 && digits.bytes().all(|byte| b"0123456789abcdef".contains(&byte));
        if valid {
            return Ok(Self(digits.to_owned()));
        }
        let shown: String = text.chars().take(80).collect();
        Err(AgentError::invalid(
            "digest",
            format!("is {shown:?}; expected sha256: and 64 hexadecimal digits"),
        ))
    }
}

impl TryFrom<String> for Digest {
    type Error = AgentError;

    fn try_from(text: String) -> Result<Self, AgentError> {
        text.parse()
    }
}

impl From<Digest> for String {
    fn from(digest: Digest) -> Self {
        digest.to_string()
    }
}

impl fmt::Display for Digest {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "sha256:{}", self.0)
    }
}

/// Hashes what is read through it.
pub(super) struct Hashed<R> {
    inner: R,
    hasher: Sha256,
    bytes: u64,
}

impl<R: Read> Hashed<R> {
    pub(super) fn new(inner: R) -> Self {
        Self { inner, hasher: Sha256::new(), bytes: 0 }
    }

    /// Reads what is left, and says what all of it was.
    pub(super) fn finish(mut self) -> io::Result<(Digest, u64)> {
        io::copy(&mut self, &mut io::sink())?;
        Ok((Digest::of(self.hasher), self.bytes))
    }
}

impl<R: Read> Read for Hashed<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let count = self.inner.read(buffer)?;
        self.hasher.update(buffer.get(..count).unwrap_or_default());
        self.bytes = self.bytes.saturating_add(count as u64);
        Ok(count)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_read_is_what_is_hashed() {
        let mut reader = Hashed::new(&b"abc"[..]);
        let mut first = [0; 1];
        reader.read_exact(&mut first).unwrap();
        let (digest, bytes) = reader.finish().unwrap();
        let known = "sha256:ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";
        assert_eq!((digest.to_string().as_str(), bytes), (known, 3));
        assert_eq!(known.parse::<Digest>().unwrap(), digest);
    }

    #[test]
    fn digests_that_could_be_paths_are_none() {
        for bad in ["", "sha256:", "sha256:../../etc", "sha512:00", &format!("sha256:{}", "A".repeat(64))] {
            assert!(bad.parse::<Digest>().is_err(), "{bad}");
        }
    }
}

//! The head of a qcow2 file. It can name other files of the host, and whoever opens it without a look opens those, too.
//!
//! Layout: the format's specification, `docs/interop/qcow2.txt` in QEMU's sources; all numbers are big-endian.

use std::fs::File;
use std::io::{self, Read as _};
use std::path::Path;

const MAGIC: [u8; 4] = *b"QFI\xfb";
const HEAD: usize = 104;
/// The bit among the features one must know for data in another file.
const EXTERNAL_DATA: u64 = 1 << 2;

/// What matters of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Head {
    /// As a guest sees it.
    pub size_bytes: u64,
    /// It stands on another file.
    pub backed: bool,
    /// Its data is in another file.
    pub elsewhere: bool,
    /// It is encrypted.
    pub encrypted: bool,
}

impl Head {
    /// Out of a file's first bytes; `None` when it is no qcow2 file of version 2 or 3.
    #[must_use]
    pub fn parse(bytes: &[u8]) -> Option<Self> {
        let word = |at: usize| Some(u32::from_be_bytes(bytes.get(at..at + 4)?.try_into().ok()?));
        let long = |at: usize| Some(u64::from_be_bytes(bytes.get(at..at + 8)?.try_into().ok()?));
        let version = word(4)?;
        if bytes.get(..4)? != MAGIC || !(2..=3).contains(&version) {
            return None;
        }
        let features = if version == 3 { long(72)? } else { 0 };
        Some(Self {
            size_bytes: long(24)?,
            backed: long(8)? != 0,
            elsewhere: features & EXTERNAL_DATA != 0,
            encrypted: word(32)? != 0,
        })
    }

    /// Of a file.
    ///
    /// # Errors
    /// It cannot be read, or is no qcow2 file.
    pub fn read(path: &Path) -> io::Result<Self> {
        let mut bytes = Vec::with_capacity(HEAD);
        File::open(path)?.take(HEAD as u64).read_to_end(&mut bytes)?;
        Self::parse(&bytes)
            .ok_or_else(|| io::Error::new(io::ErrorKind::InvalidData, "no qcow2 file of version 2 or 3"))
    }

    /// Why nobody should put a guest on it.
    #[must_use]
    pub fn trouble(&self) -> Option<&'static str> {
        match self {
            Self { backed: true, .. } => Some("it stands on another file (a backing file)"),
            Self { elsewhere: true, .. } => Some("its data is in another file"),
            Self { encrypted: true, .. } => Some("it is encrypted"),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn head(backing: u64, size: u64, features: u64) -> Vec<u8> {
        let mut bytes = vec![0; HEAD];
        bytes[..4].copy_from_slice(&MAGIC);
        bytes[4..8].copy_from_slice(&3_u32.to_be_bytes());
        bytes[8..16].copy_from_slice(&backing.to_be_bytes());
        bytes[24..32].copy_from_slice(&size.to_be_bytes());
        bytes[72..80].copy_from_slice(&features.to_be_bytes());
        bytes
    }

    #[test]
    fn a_head_that_names_other_files_is_seen_through() {
        let plain = Head::parse(&head(0, 1 << 30, 1)).unwrap();
        assert_eq!((plain.size_bytes, plain.trouble()), (1 << 30, None));
        assert!(Head::parse(&head(512, 1, 0)).unwrap().trouble().unwrap().contains("backing file"));
        assert!(Head::parse(&head(0, 1, EXTERNAL_DATA)).unwrap().trouble().unwrap().contains("another file"));
    }

    #[test]
    fn short_and_foreign_bytes_are_no_head() {
        let whole = head(0, 1, 0);
        for length in 0..80 {
            assert_eq!(Head::parse(&whole[..length]), None, "{length}");
        }
        assert_eq!(Head::parse(&[0; 200]), None);
        let mut later = whole;
        later[7] = 4;
        assert_eq!(Head::parse(&later), None, "version 4");
    }
}

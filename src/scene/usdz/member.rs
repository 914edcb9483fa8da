//! One member of an archive as a stream: decompressed as it is read, bounded in size and ratio, its checksum compared
//! at the end.

use std::io::{self, Read};

use zip::read::ZipFile;

use super::View;
use crate::scene::load::LoadLimits;

/// Ratios are looked at only above this size: a short text of blanks is no bomb.
const RATIO_FREE_BYTES: u64 = 1 << 20;

/// A member being read. What it refuses with is kept, so that a reader above can tell a damaged member from a text it
/// does not understand.
pub struct Member<'z, 'a> {
    file: ZipFile<'z, View<'a>>,
    declared: u64,
    largest: u64,
    read: u64,
    fault: Option<String>,
}

impl<'z, 'a> Member<'z, 'a> {
    pub(super) fn new(file: ZipFile<'z, View<'a>>, limits: &LoadLimits) -> Self {
        let declared = file.entry().size();
        let by_ratio = file.entry().compressed_size().saturating_mul(limits.member_ratio);
        let largest = limits.member_bytes.min(by_ratio.max(RATIO_FREE_BYTES));
        Self { file, declared, largest, read: 0, fault: None }
    }

    /// Reads what is left, so that size and checksum are compared whatever happened above.
    ///
    /// # Errors
    /// What is wrong with the member's bytes, now or earlier.
    pub fn drain(mut self) -> Result<(), String> {
        if self.fault.is_none()
            && let Err(error) = io::copy(&mut self, &mut io::sink())
        {
            return Err(self.fault.unwrap_or_else(|| error.to_string()));
        }
        self.fault.map_or(Ok(()), Err)
    }

    fn refuse(&mut self, reason: String) -> io::Error {
        self.fault = Some(reason.clone());
        io::Error::new(io::ErrorKind::InvalidData, reason)
    }
}

impl Read for Member<'_, '_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        match self.file.read(buffer) {
            Ok(count) => {
                self.read += count as u64;
                if self.read > self.largest {
                    return Err(self.refuse(format!(
                        "inflates beyond {} bytes, the most that is taken of a member of its compressed size",
                        self.largest
                    )));
                }
                Ok(count)
            }
            Err(error) if error.kind() == io::ErrorKind::Interrupted => Err(error),
            Err(error) => {
                let (read, declared) = (self.read, self.declared);
                let text = error.to_string();
                let reason = if text == "Invalid checksum" && read == declared {
                    format!("its {declared} bytes do not match their checksum (CRC-32)")
                } else {
                    format!("is damaged after {read} of {declared} bytes: {text}")
                };
                Err(self.refuse(reason))
            }
        }
    }
}

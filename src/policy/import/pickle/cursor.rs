//! Bytes of a pickle, taken front to back.

use super::PickleError;

/// Longest text line of the protocol 0 opcodes (numbers, names, escaped strings).
const MAX_LINE: usize = 1 << 20;

pub(super) struct Cursor<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl<'a> Cursor<'a> {
    pub(super) fn new(bytes: &'a [u8]) -> Self {
        Self { bytes, at: 0 }
    }

    pub(super) fn at(&self) -> usize {
        self.at
    }

    pub(super) fn take(&mut self, count: usize, wanted: &'static str) -> Result<&'a [u8], PickleError> {
        let truncated = PickleError::Truncated { at: self.bytes.len(), wanted };
        let end = self.at.checked_add(count).ok_or_else(|| truncated.clone())?;
        let taken = self.bytes.get(self.at..end).ok_or(truncated)?;
        self.at = end;
        Ok(taken)
    }

    pub(super) fn array<const N: usize>(&mut self, wanted: &'static str) -> Result<[u8; N], PickleError> {
        let mut array = [0; N];
        array.copy_from_slice(self.take(N, wanted)?);
        Ok(array)
    }

    pub(super) fn byte(&mut self, wanted: &'static str) -> Result<u8, PickleError> {
        Ok(u8::from_le_bytes(self.array(wanted)?))
    }

    pub(super) fn u16(&mut self, wanted: &'static str) -> Result<u16, PickleError> {
        Ok(u16::from_le_bytes(self.array(wanted)?))
    }

    pub(super) fn u32(&mut self, wanted: &'static str) -> Result<u32, PickleError> {
        Ok(u32::from_le_bytes(self.array(wanted)?))
    }

    pub(super) fn u64(&mut self, wanted: &'static str) -> Result<u64, PickleError> {
        Ok(u64::from_le_bytes(self.array(wanted)?))
    }

    /// Bytes after a 32-bit length.
    pub(super) fn counted_u32(&mut self, wanted: &'static str) -> Result<&'a [u8], PickleError> {
        let count = self.u32(wanted)? as usize;
        self.take(count, wanted)
    }

    /// Bytes after a 64-bit length.
    pub(super) fn counted_u64(&mut self, wanted: &'static str) -> Result<&'a [u8], PickleError> {
        let count = usize::try_from(self.u64(wanted)?).unwrap_or(usize::MAX);
        self.take(count, wanted)
    }

    /// Bytes up to a line feed, which is consumed and left out.
    pub(super) fn line(&mut self, wanted: &'static str) -> Result<&'a [u8], PickleError> {
        let rest = self.bytes.get(self.at..).unwrap_or_default();
        let Some(length) = rest.iter().take(MAX_LINE).position(|&byte| byte == b'\n') else {
            return Err(PickleError::Truncated { at: self.bytes.len(), wanted });
        };
        let line = self.take(length, wanted)?;
        self.at += 1;
        Ok(line)
    }
}

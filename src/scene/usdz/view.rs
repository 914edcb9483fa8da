//! A reading position over a mapped file that does not keep what it has read in memory: a scenario's two gigabytes of
//! renderer payload are never touched, and the pages of its JSON are given back as soon as they are parsed.

use std::io::{self, Read, Seek, SeekFrom};

use memmap2::Mmap;

use crate::mapping;

/// Pages are given back in pieces of this size.
const RELEASE_BYTES: usize = 2 << 20;

/// A cursor over bytes in memory or in a map. A clone has a position of its own.
#[derive(Debug, Clone)]
pub struct View<'a> {
    bytes: &'a [u8],
    map: Option<&'a Mmap>,
    position: usize,
    kept_from: usize,
}

impl<'a> View<'a> {
    /// Over a map: pages behind the position are given back.
    #[must_use]
    pub fn of_map(map: &'a Mmap) -> Self {
        Self { bytes: map, map: Some(map), position: 0, kept_from: 0 }
    }

    /// Over bytes that stay where they are.
    #[must_use]
    pub fn of_bytes(bytes: &'a [u8]) -> Self {
        Self { bytes, map: None, position: 0, kept_from: 0 }
    }

    /// All of it.
    #[must_use]
    pub fn bytes(&self) -> &'a [u8] {
        self.bytes
    }

    fn give_back(&mut self) {
        if let Some(map) = self.map {
            mapping::release(map, self.kept_from..self.position);
        }
        self.kept_from = self.position;
    }
}

impl Read for View<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let rest = self.bytes.get(self.position..).unwrap_or_default();
        let count = rest.len().min(buffer.len());
        let (Some(from), Some(to)) = (rest.get(..count), buffer.get_mut(..count)) else {
            return Ok(0);
        };
        to.copy_from_slice(from);
        self.position += count;
        if self.position.saturating_sub(self.kept_from) >= RELEASE_BYTES {
            self.give_back();
        }
        Ok(count)
    }
}

impl Seek for View<'_> {
    fn seek(&mut self, to: SeekFrom) -> io::Result<u64> {
        let target = match to {
            SeekFrom::Start(offset) => Some(offset),
            SeekFrom::End(offset) => (self.bytes.len() as u64).checked_add_signed(offset),
            SeekFrom::Current(offset) => (self.position as u64).checked_add_signed(offset),
        };
        let target = target.and_then(|target| usize::try_from(target).ok()).ok_or_else(|| {
            io::Error::new(io::ErrorKind::InvalidInput, "an offset before the file or beyond memory")
        })?;
        if target != self.position {
            self.give_back();
            self.position = target;
            self.kept_from = target;
        }
        Ok(target as u64)
    }
}

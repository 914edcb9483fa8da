//! The last bytes of a console, numbered from the run's start.

use std::collections::VecDeque;

/// See the module.
#[derive(Debug)]
pub(super) struct Ring {
    bytes: VecDeque<u8>,
    most: usize,
    end: u64,
}

impl Ring {
    pub(super) fn new(most: usize) -> Self {
        Self { bytes: VecDeque::new(), most, end: 0 }
    }

    /// Takes bytes in, and lets the oldest go.
    pub(super) fn push(&mut self, bytes: &[u8]) {
        self.end += bytes.len() as u64;
        let kept = bytes.get(bytes.len().saturating_sub(self.most)..).unwrap_or_default();
        let surplus = (self.bytes.len() + kept.len()).saturating_sub(self.most);
        self.bytes.drain(..surplus);
        self.bytes.extend(kept);
    }

    /// The number of the oldest byte that is kept.
    pub(super) fn first(&self) -> u64 {
        self.end - self.bytes.len() as u64
    }

    /// The number of the next byte.
    pub(super) fn end(&self) -> u64 {
        self.end
    }

    /// At most `most` bytes from number `from` on, or from the oldest when that is gone.
    pub(super) fn read(&self, from: u64, most: usize) -> (u64, Vec<u8>) {
        let from = from.clamp(self.first(), self.end);
        let skipped = usize::try_from(from - self.first()).unwrap_or(usize::MAX);
        (from, self.bytes.iter().skip(skipped).take(most).copied().collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_keep_their_numbers_while_the_oldest_go() {
        let mut ring = Ring::new(4);
        ring.push(b"ab");
        assert_eq!((ring.first(), ring.end(), ring.read(0, 9)), (0, 2, (0, b"ab".to_vec())));
        ring.push(b"cdef");
        assert_eq!((ring.first(), ring.end()), (2, 6));
        assert_eq!(ring.read(0, 9), (2, b"cdef".to_vec()));
        assert_eq!(ring.read(4, 1), (4, b"e".to_vec()));
        assert_eq!(ring.read(6, 9), (6, Vec::new()));
        ring.push(b"0123456789");
        assert_eq!(ring.read(0, 9), (12, b"6789".to_vec()));
    }
}

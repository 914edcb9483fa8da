//! The last bytes that a console said, counted: kept by the agent for its readers, and by the shim for an agent that comes
//! back.

use std::collections::VecDeque;

use bytes::Bytes;

/// Bytes up to a number of them; the oldest go first. Memory grows with what was said, not before.
#[derive(Debug)]
pub(super) struct Ring {
    bytes: VecDeque<u8>,
    most: usize,
    end: u64,
}

impl Ring {
    pub(super) fn new(most: usize) -> Self {
        Self { bytes: VecDeque::new(), most: most.max(1), end: 0 }
    }

    /// The number of the byte that comes next.
    pub(super) fn end(&self) -> u64 {
        self.end
    }

    /// The number of the oldest byte that is kept.
    pub(super) fn first(&self) -> u64 {
        self.end - self.bytes.len() as u64
    }

    /// How many are kept at most.
    pub(super) fn most(&self) -> usize {
        self.most
    }

    pub(super) fn push(&mut self, data: &[u8]) {
        let kept = data.get(data.len().saturating_sub(self.most)..).unwrap_or_default();
        let over = (self.bytes.len() + kept.len()).saturating_sub(self.most);
        self.bytes.drain(..over);
        let length = self.bytes.len() + kept.len();
        if length > self.bytes.capacity() {
            // Doubled as usual, but never beyond what can be needed.
            let capacity = (self.bytes.capacity() * 2).clamp(length, self.most);
            self.bytes.reserve_exact(capacity - self.bytes.len());
        }
        self.bytes.extend(kept);
        self.end += data.len() as u64;
    }

    /// Up to `most` bytes from the number `from`, which is at least [`Ring::first`].
    pub(super) fn copy(&self, from: u64, most: usize) -> Bytes {
        let skip = usize::try_from(from.saturating_sub(self.first())).unwrap_or(usize::MAX);
        let skip = skip.min(self.bytes.len());
        let count = most.min(self.bytes.len() - skip);
        let (front, back) = self.bytes.as_slices();
        let mut copy = Vec::with_capacity(count);
        let head = front.get(skip.min(front.len())..).unwrap_or_default();
        copy.extend_from_slice(head.get(..count.min(head.len())).unwrap_or_default());
        let left = count - copy.len();
        let tail = back.get(skip.saturating_sub(front.len())..).unwrap_or_default();
        copy.extend_from_slice(tail.get(..left.min(tail.len())).unwrap_or_default());
        copy.into()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn a_ring_keeps_the_last_bytes_whatever_the_pieces(
            pieces in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..40), 0..40),
            most in 1_usize..50,
            window in (0_usize..60, 0_usize..60),
        ) {
            let mut ring = Ring::new(most);
            let mut all = Vec::new();
            for piece in &pieces {
                ring.push(piece);
                all.extend_from_slice(piece);
                let kept = &all[all.len().saturating_sub(most)..];
                prop_assert_eq!(ring.end(), all.len() as u64);
                prop_assert!(ring.bytes.capacity() <= most, "{} bytes are held", ring.bytes.capacity());
                prop_assert_eq!(&ring.copy(ring.first(), usize::MAX)[..], kept);
                let from = window.0.min(kept.len());
                let upto = (from + window.1).min(kept.len());
                prop_assert_eq!(&ring.copy(ring.first() + from as u64, window.1)[..], &kept[from..upto]);
            }
        }
    }
}

//! What is kept from earlier requests: keys and values of a sequence's first tokens, and image tokens.
//!
//! Both are keyed by the content they were computed from, so an answer with reuse is made of the very sums an
//! answer without would be. Bounded by bytes; the least recently used goes first.

use sha2::{Digest, Sha256};

use crate::policy::kernels::buffers::Matrix;

use super::decoder::LayerKeys;

/// Digest of a picture's numbers.
pub(super) type ContentHash = [u8; 32];

/// Digest of normalised pixel values.
pub(super) fn content_hash(pixels: &[f32]) -> ContentHash {
    let mut hash = Sha256::new();
    let mut block = [0u8; 4096];
    for values in pixels.chunks(block.len() / 4) {
        for (raw, value) in block.chunks_exact_mut(4).zip(values) {
            raw.copy_from_slice(&value.to_le_bytes());
        }
        hash.update(&block[..values.len() * 4]);
    }
    hash.finalize().into()
}

/// What one decoder position was computed from, besides the positions before it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Token {
    /// A patch of the picture with this digest.
    Patch(ContentHash, usize),
    /// The tactile picture with this digest.
    Touch(ContentHash),
    /// The all-black tactile picture.
    BlackTouch,
    /// A word.
    Text(u32),
}

/// Keys and values of one sequence.
pub(super) struct Sequence {
    /// The tokens whose keys and values are written.
    pub(super) tokens: Vec<Token>,
    pub(super) keys: LayerKeys,
    last_used: u64,
}

/// Sequences of recent requests.
pub(super) struct SequenceCache {
    sequences: Vec<Sequence>,
    limit_bytes: usize,
    clock: u64,
}

impl SequenceCache {
    /// Keeps up to `limit_bytes`, and one sequence in any case.
    pub(super) fn new(limit_bytes: usize) -> Self {
        Self { sequences: Vec::new(), limit_bytes, clock: 0 }
    }

    /// Takes out the buffers to compute `tokens` in, holding as many of their keys and values as some earlier
    /// request left (but not the last token's, whose hidden state is wanted). `make` allocates for a number of
    /// positions.
    pub(super) fn take(&mut self, tokens: &[Token], make: impl FnOnce(usize) -> LayerKeys) -> Sequence {
        let shared = |sequence: &Sequence| {
            let common = sequence.tokens.iter().zip(tokens).take_while(|(a, b)| a == b).count();
            if sequence.keys.capacity() < tokens.len() {
                0
            } else {
                common.min(tokens.len().saturating_sub(1))
            }
        };
        let best = self.sequences.iter().enumerate().max_by_key(|(_, sequence)| shared(sequence));
        if let Some((index, sequence)) = best
            && shared(sequence) > 0
        {
            let reused = shared(sequence);
            let mut sequence = self.sequences.swap_remove(index);
            sequence.tokens.truncate(reused);
            return sequence;
        }
        let held: usize = self.sequences.iter().map(|sequence| sequence.keys.bytes()).sum();
        let each = held / self.sequences.len().max(1);
        let oldest = self.sequences.iter().enumerate().min_by_key(|(_, sequence)| sequence.last_used);
        match oldest {
            Some((index, _)) if held + each > self.limit_bytes => {
                let mut sequence = self.sequences.swap_remove(index);
                sequence.tokens.clear();
                sequence.keys.reserve(room_for(tokens.len()));
                sequence
            }
            _ => Sequence { tokens: Vec::new(), keys: make(room_for(tokens.len())), last_used: 0 },
        }
    }

    /// Gives buffers back; `tokens` are the ones they hold.
    pub(super) fn put(&mut self, mut sequence: Sequence) {
        self.clock += 1;
        sequence.last_used = self.clock;
        self.sequences.push(sequence);
        while self.sequences.len() > 1 && self.bytes() > self.limit_bytes {
            let oldest = self.sequences.iter().enumerate().min_by_key(|(_, sequence)| sequence.last_used);
            let Some((index, _)) = oldest else { break };
            self.sequences.swap_remove(index);
        }
    }

    fn bytes(&self) -> usize {
        self.sequences.iter().map(|sequence| sequence.keys.bytes()).sum()
    }
}

/// Positions to allocate for a sequence, so that a somewhat longer sentence still fits.
fn room_for(tokens: usize) -> usize {
    (tokens + 32).next_multiple_of(32)
}

/// Projected image tokens of recent pictures.
pub(super) struct ImageCache {
    images: Vec<(ContentHash, Matrix<f32>, u64)>,
    limit_bytes: usize,
    clock: u64,
}

impl ImageCache {
    /// Keeps up to `limit_bytes`, and one picture in any case.
    pub(super) fn new(limit_bytes: usize) -> Self {
        Self { images: Vec::new(), limit_bytes, clock: 0 }
    }

    /// The tokens of a picture seen before.
    pub(super) fn get(&mut self, hash: &ContentHash) -> Option<&Matrix<f32>> {
        self.clock += 1;
        let (_, tokens, used) = self.images.iter_mut().find(|(kept, ..)| kept == hash)?;
        *used = self.clock;
        Some(tokens)
    }

    /// A matrix to compute the tokens of a new picture in: the oldest picture's where there is no room.
    pub(super) fn spare(&mut self) -> Matrix<f32> {
        let held: usize = self.images.iter().map(|(_, tokens, _)| tokens.capacity_bytes()).sum();
        let each = held / self.images.len().max(1);
        let oldest = self.images.iter().enumerate().min_by_key(|(_, (_, _, used))| *used);
        match oldest {
            Some((index, _)) if held + each > self.limit_bytes => self.images.swap_remove(index).1,
            _ => Matrix::default(),
        }
    }

    /// Keeps the tokens of a picture.
    pub(super) fn put(&mut self, hash: ContentHash, tokens: Matrix<f32>) {
        self.clock += 1;
        self.images.push((hash, tokens, self.clock));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::policy::kernels::attention::{Heads, KeyValues};
    use crate::policy::kernels::pack::Precision;

    fn keys(positions: usize) -> LayerKeys {
        LayerKeys::for_tests(vec![KeyValues::new(
            Precision::F32,
            Heads { queries: 1, keys: 1, dim: 32 },
            positions,
        )])
    }

    fn words(ids: &[u32]) -> Vec<Token> {
        ids.iter().map(|id| Token::Text(*id)).collect()
    }

    fn run(cache: &mut SequenceCache, ids: &[u32]) -> usize {
        let mut sequence = cache.take(&words(ids), keys);
        let reused = sequence.tokens.len();
        sequence.tokens = words(ids);
        cache.put(sequence);
        reused
    }

    #[test]
    fn the_longest_common_start_is_reused_and_the_last_token_is_always_computed() {
        let mut cache = SequenceCache::new(1 << 20);
        assert_eq!(run(&mut cache, &[1, 2, 3]), 0);
        assert_eq!(run(&mut cache, &[1, 2, 3]), 2);
        assert_eq!(run(&mut cache, &[1, 2, 4, 5]), 2);
        assert_eq!(run(&mut cache, &[9, 2, 4, 5]), 0);
        assert_eq!(run(&mut cache, &[1, 2, 4, 5, 6]), 4);
        assert_eq!(cache.sequences.len(), 2);
        let long: Vec<u32> = (0..500).map(|i| if i < 2 { i + 1 } else { 7 }).collect();
        assert_eq!(run(&mut cache, &long), 0, "what does not fit the buffers is computed anew");
    }

    #[test]
    fn the_oldest_sequence_goes_when_the_limit_is_reached() {
        let one = keys(room_for(3)).bytes();
        let mut cache = SequenceCache::new(2 * one);
        run(&mut cache, &[1, 1, 1]);
        run(&mut cache, &[2, 1, 1]);
        run(&mut cache, &[1, 1, 1]);
        run(&mut cache, &[3, 1, 1]);
        assert!(cache.bytes() <= 2 * one);
        assert_eq!(run(&mut cache, &[1, 1, 1]), 2);
        assert_eq!(run(&mut cache, &[2, 1, 1]), 0);
        let mut none = SequenceCache::new(0);
        run(&mut none, &[1, 1, 1]);
        run(&mut none, &[2, 1, 1]);
        assert_eq!(none.sequences.len(), 1);
        assert_eq!(run(&mut none, &[2, 1, 1]), 2);
    }

    #[test]
    fn pictures_are_told_apart_by_every_number() {
        let mut pixels = vec![0.25f32; 5000];
        let before = content_hash(&pixels);
        pixels[4999] = 0.250_000_03;
        assert_ne!(before, content_hash(&pixels));
        let mut cache = ImageCache::new(0);
        let spare = cache.spare();
        cache.put(before, spare);
        assert!(cache.get(&before).is_some());
        assert!(cache.get(&content_hash(&pixels)).is_none());
    }
}

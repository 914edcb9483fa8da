//! The numbers of one tensor, in any order and on any number of threads.

use half::{bf16, f16};
use rayon::prelude::*;

use crate::policy::import::element::Element;

/// Numbers one worker makes at a time.
const PIECE: u64 = 1 << 18;
/// Pieces in memory at a time.
const BLOCK: u64 = 32;

/// A uniform distribution over a tensor.
#[derive(Debug, Clone, Copy)]
pub(super) struct Numbers {
    count: u64,
    centre: f32,
    spread: f32,
    seed: u64,
}

impl Numbers {
    /// What suits a tensor by its name and shape.
    pub(super) fn of(name: &str, shape: &[usize], seed: u64) -> Self {
        let fan_in: usize = shape.iter().skip(1).product();
        let (centre, spread) = match shape.len() {
            0 => (0.0, 0.0),
            1 if name.ends_with("running_var") => (1.0, 0.5),
            1 if name.ends_with(".weight") => (1.0, 0.1),
            1 => (0.0, 0.02),
            _ if name.ends_with("position_embedding.weight") => (0.0, 0.5),
            // A uniform number between -a and a has variance a^2 / 3.
            _ => (0.0, (3.0 / fan_in.max(1) as f32).sqrt()),
        };
        // FNV-1a of the name.
        let hash = name.bytes().fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| {
            (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)
        });
        let count = shape.iter().map(|side| *side as u64).product();
        Self { count, centre, spread, seed: mix(hash ^ mix(seed)) }
    }

    /// Little-endian bytes, a block of pieces at a time.
    pub(super) fn blocks(self, element: Element) -> impl Iterator<Item = Vec<Vec<u8>>> {
        let pieces = self.count.div_ceil(PIECE);
        (0..pieces.div_ceil(BLOCK)).map(move |block| {
            let range = block * BLOCK..pieces.min((block + 1) * BLOCK);
            range.into_par_iter().map(|piece| self.piece(piece, element)).collect()
        })
    }

    fn piece(self, piece: u64, element: Element) -> Vec<u8> {
        let range = piece * PIECE..self.count.min((piece + 1) * PIECE);
        let values = range.map(|index| self.at(index));
        match element {
            Element::F32 => values.flat_map(f32::to_le_bytes).collect(),
            Element::F16 => values.flat_map(|value| f16::from_f32(value).to_le_bytes()).collect(),
            Element::BF16 => values.flat_map(|value| bf16::from_f32(value).to_le_bytes()).collect(),
            other => values.flat_map(|_| vec![0; other.size()]).collect(),
        }
    }

    /// Number at a position: a counter through a mixer, so that it needs no predecessor.
    fn at(self, index: u64) -> f32 {
        let bits = mix(self.seed.wrapping_add(index.wrapping_mul(0x9e37_79b9_7f4a_7c15)));
        let unit = (bits >> 40) as f32 / 8_388_608.0 - 1.0;
        self.centre + self.spread * unit
    }
}

/// The output function of SplitMix64 (Steele, Lea and Flood 2014).
fn mix(mut bits: u64) -> u64 {
    bits = (bits ^ (bits >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    bits = (bits ^ (bits >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    bits ^ (bits >> 31)
}

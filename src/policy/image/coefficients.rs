//! The weights of Pillow's bicubic resize, per output position, in its 22-bit fixed point.
//!
//! Formulas: `precompute_coeffs` and `normalize_coeffs_8bpc` of Pillow 12.1 (`src/libImaging/Resample.c`).
//! Catmull-Rom with a = -0.5; when shrinking, the kernel is stretched by the scale (antialias).

use std::sync::{Arc, Mutex, PoisonError};

/// Fraction bits of a weight: 32 less 8 for the pixel and 2 for overshoot.
pub const PRECISION_BITS: u32 = 32 - 8 - 2;

/// Half width of the Catmull-Rom kernel in source pixels at scale 1.
const SUPPORT: f64 = 2.0;

/// Weights for one axis, `source` to `target` pixels.
#[derive(Debug, PartialEq, Eq)]
pub struct Coefficients {
    source: u32,
    taps: usize,
    first: Vec<u32>,
    count: Vec<u32>,
    weights: Vec<i32>,
}

impl Coefficients {
    /// Computes the table for an axis of `source` pixels made `target` pixels long.
    #[must_use]
    pub fn new(source: u32, target: u32) -> Self {
        let scale = f64::from(source) / f64::from(target);
        let stretch = scale.max(1.0);
        let support = SUPPORT * stretch;
        let inverse = 1.0 / stretch;
        let spans: Vec<(u32, u32, f64)> = (0..target)
            .map(|x| {
                let center = (f64::from(x) + 0.5) * scale;
                let first = (center - support + 0.5).max(0.0) as u32;
                let last = ((center + support + 0.5) as u32).min(source);
                (first, last.saturating_sub(first), center)
            })
            .collect();
        let longest = spans.iter().map(|&(_, count, _)| count as usize).max().unwrap_or(0);
        // A multiple of four, the rest zero: the vector kernel takes four taps at a time.
        let taps = longest.next_multiple_of(4);
        let mut weights = vec![0; taps * target as usize];
        let mut exact = Vec::with_capacity(longest);
        for (&(first, count, center), row) in spans.iter().zip(weights.chunks_exact_mut(taps.max(1))) {
            exact.clear();
            exact.extend(
                (0..count).map(|i| catmull_rom((f64::from(i) + f64::from(first) - center + 0.5) * inverse)),
            );
            let sum: f64 = exact.iter().sum();
            for (weight, &value) in row.iter_mut().zip(&exact) {
                *weight = fixed(if sum == 0.0 { value } else { value / sum });
            }
        }
        let (first, count) = spans.iter().map(|&(first, count, _)| (first, count)).unzip();
        Self { source, taps, first, count, weights }
    }

    /// The table for `source` to `target`, from a small cache: a robot's camera keeps its size.
    #[must_use]
    pub fn cached(source: u32, target: u32) -> Arc<Self> {
        static CACHE: Mutex<Vec<Entry>> = Mutex::new(Vec::new());
        let find = |entries: &[Entry]| {
            entries.iter().find(|(key, _)| *key == (source, target)).map(|(_, table)| Arc::clone(table))
        };
        if let Some(table) = find(&CACHE.lock().unwrap_or_else(PoisonError::into_inner)) {
            return table;
        }
        let table = Arc::new(Self::new(source, target));
        if table.weights.len() <= CACHED_WEIGHTS {
            let mut entries = CACHE.lock().unwrap_or_else(PoisonError::into_inner);
            if find(&entries).is_none() {
                if entries.len() >= CACHED_TABLES {
                    entries.remove(0);
                }
                entries.push(((source, target), Arc::clone(&table)));
            }
        }
        table
    }

    /// Source pixels of the axis.
    #[must_use]
    pub fn source(&self) -> usize {
        self.source as usize
    }

    /// Target pixels of the axis.
    #[must_use]
    pub fn target(&self) -> usize {
        self.first.len()
    }

    /// Weights stored per target pixel: the longest span, rounded up to a multiple of four.
    #[must_use]
    pub fn taps(&self) -> usize {
        self.taps
    }

    /// For each target pixel: the first source pixel, and the weights of the pixels from there on.
    pub fn spans(&self) -> impl ExactSizeIterator<Item = (usize, &[i32])> {
        self.first
            .iter()
            .zip(&self.count)
            .zip(self.weights.chunks_exact(self.taps.max(1)))
            .map(|((&first, &count), row)| (first as usize, row.get(..count as usize).unwrap_or(row)))
    }

    /// Like [`spans`](Self::spans), with the zero weights that fill a row up to [`taps`](Self::taps).
    pub fn padded_spans(&self) -> impl ExactSizeIterator<Item = (usize, &[i32])> {
        self.first.iter().map(|&first| first as usize).zip(self.weights.chunks_exact(self.taps.max(1)))
    }

    /// The source pixels any target pixel looks at: `start..end`.
    #[must_use]
    pub fn used(&self) -> std::ops::Range<usize> {
        let start = self.first.first().map_or(0, |&first| first as usize);
        let end =
            self.first.last().zip(self.count.last()).map_or(0, |(&first, &count)| (first + count) as usize);
        start..end
    }
}

/// Source and target of a cached table, and the table.
type Entry = ((u32, u32), Arc<Coefficients>);

/// Tables kept, and the largest one kept (256 KiB): the cache never holds more than 4 MiB.
const CACHED_TABLES: usize = 16;
const CACHED_WEIGHTS: usize = 1 << 16;

fn catmull_rom(x: f64) -> f64 {
    const A: f64 = -0.5;
    let x = x.abs();
    if x < 1.0 {
        ((A + 2.0) * x - (A + 3.0)) * x * x + 1.0
    } else if x < 2.0 {
        (((x - 5.0) * x + 8.0) * x - 4.0) * A
    } else {
        0.0
    }
}

fn fixed(weight: f64) -> i32 {
    let scaled = weight * f64::from(1_u32 << PRECISION_BITS);
    (if weight < 0.0 { scaled - 0.5 } else { scaled + 0.5 }) as i32
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn weights_of_every_target_pixel_sum_to_one(source in 1_u32..3000, target in 1_u32..500) {
            let table = Coefficients::new(source, target);
            prop_assert_eq!(table.target(), target as usize);
            for (first, weights) in table.spans() {
                prop_assert!(first + weights.len() <= source as usize);
                let sum: i64 = weights.iter().map(|&w| i64::from(w)).sum();
                prop_assert!((sum - (1 << PRECISION_BITS)).abs() <= weights.len() as i64);
                let reach: i64 = weights.iter().map(|&w| i64::from(w).abs() * 255).sum();
                prop_assert!(reach + (1 << (PRECISION_BITS - 1)) < i64::from(i32::MAX));
            }
        }
    }

    #[test]
    fn the_cache_returns_what_a_fresh_table_holds() {
        for target in 1..40 {
            assert_eq!(*Coefficients::cached(640, target), Coefficients::new(640, target));
            assert!(Arc::ptr_eq(&Coefficients::cached(640, target), &Coefficients::cached(640, target)));
        }
    }
}

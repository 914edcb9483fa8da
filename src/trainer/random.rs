//! Random numbers that can be saved with a checkpoint: xoshiro256++, seeded by splitmix64.

/// A generator; the same seed gives the same numbers on every machine.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Random([u64; 4]);

impl Random {
    /// From a seed.
    #[must_use]
    pub fn new(seed: u64) -> Self {
        let mut state = seed;
        Self(std::array::from_fn(|_| {
            state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
            let mixed = (state ^ (state >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
            let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
            mixed ^ (mixed >> 31)
        }))
    }

    /// As a checkpoint keeps it.
    #[must_use]
    pub fn state(&self) -> [u64; 4] {
        self.0
    }

    /// From a checkpoint.
    #[must_use]
    pub fn restore(state: [u64; 4]) -> Self {
        // All zeros is the one state that it never leaves.
        if state == [0; 4] { Self::new(0) } else { Self(state) }
    }

    /// 64 random bits.
    pub fn bits(&mut self) -> u64 {
        let [a, b, c, d] = &mut self.0;
        let result = a.wrapping_add(*d).rotate_left(23).wrapping_add(*a);
        let shifted = *b << 17;
        *c ^= *a;
        *d ^= *b;
        *b ^= *c;
        *a ^= *d;
        *c ^= shifted;
        *d = d.rotate_left(45);
        result
    }

    /// From 0 up to, not with, 1.
    pub fn uniform(&mut self) -> f64 {
        (self.bits() >> 11) as f64 / (1_u64 << 53) as f64
    }

    /// One of `0..count`; 0 where `count` is 0.
    pub fn below(&mut self, count: usize) -> usize {
        let scaled = (u128::from(self.bits()) * count as u128) >> 64;
        usize::try_from(scaled).unwrap_or(0)
    }

    /// Of the standard normal distribution (Box and Muller).
    pub fn normal(&mut self) -> f64 {
        let radius = (-2.0 * (1.0 - self.uniform()).ln()).sqrt();
        radius * (std::f64::consts::TAU * self.uniform()).cos()
    }

    /// Brings the items into a random order (Fisher and Yates).
    pub fn shuffle<T>(&mut self, items: &mut [T]) {
        for last in (1..items.len()).rev() {
            items.swap(last, self.below(last + 1));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_restored_generator_goes_on_where_it_was() {
        let mut random = Random::new(7);
        random.bits();
        let mut again = Random::restore(random.state());
        assert_eq!(random.bits(), again.bits());
    }

    #[test]
    fn numbers_have_the_moments_they_should_have() {
        let mut random = Random::new(1);
        let count = 100_000;
        let (mut sum, mut squares, mut uniform) = (0.0, 0.0, 0.0);
        for _ in 0..count {
            let normal = random.normal();
            sum += normal;
            squares += normal * normal;
            uniform += random.uniform();
        }
        let count = f64::from(count);
        assert!((sum / count).abs() < 0.02 && (squares / count - 1.0).abs() < 0.02);
        assert!((uniform / count - 0.5).abs() < 0.01);
    }

    #[test]
    fn a_shuffle_keeps_every_item() {
        let mut items: Vec<usize> = (0..100).collect();
        Random::new(3).shuffle(&mut items);
        assert_ne!(items, (0..100).collect::<Vec<_>>());
        items.sort_unstable();
        assert_eq!(items, (0..100).collect::<Vec<_>>());
    }
}

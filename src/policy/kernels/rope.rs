//! Rotary position embedding, half-split form: element `i` turns with element `i + dim / 2`.

use super::isa::{fma, simd};

/// cos and sin of every position and frequency, computed in f64.
#[derive(Debug, Clone)]
pub struct RopeTable {
    half: usize,
    cos: Vec<f32>,
    sin: Vec<f32>,
}

impl RopeTable {
    /// Tables for `positions` positions of heads `head_dim` wide; frequency `i` is `theta^(-2 i / head_dim)`.
    #[must_use]
    pub fn new(positions: usize, head_dim: usize, theta: f64) -> Self {
        let half = head_dim / 2;
        let mut cos = Vec::with_capacity(positions * half);
        let mut sin = Vec::with_capacity(positions * half);
        for position in 0..positions {
            for i in 0..half {
                let angle = position as f64 * theta.powf(-2.0 * i as f64 / head_dim as f64);
                cos.push(angle.cos() as f32);
                sin.push(angle.sin() as f32);
            }
        }
        Self { half, cos, sin }
    }

    /// Positions in the table.
    #[must_use]
    pub fn positions(&self) -> usize {
        self.cos.len().checked_div(self.half).unwrap_or(0)
    }

    /// cos and sin of one position, `head_dim / 2` each; empty past the end.
    #[must_use]
    pub fn at(&self, position: usize) -> (&[f32], &[f32]) {
        let range = position * self.half..(position + 1) * self.half;
        (self.cos.get(range.clone()).unwrap_or_default(), self.sin.get(range).unwrap_or_default())
    }
}

#[inline(always)]
fn rotate_body<const FMA: bool>(head: &[f32], cos: &[f32], sin: &[f32], out: &mut [f32]) {
    let half = head.len() / 2;
    let (x, y) = head.split_at(half);
    let (a, b) = out.split_at_mut(half.min(out.len()));
    for ((((a, b), (x, y)), c), s) in a.iter_mut().zip(b).zip(x.iter().zip(y)).zip(cos).zip(sin) {
        *a = fma::<FMA>(*x, *c, -(y * s));
        *b = fma::<FMA>(*y, *c, x * s);
    }
}

simd! {
    /// Turns one head (even length) by the angles of its position into `out` of the same length.
    pub fn rotate(head: &[f32], cos: &[f32], sin: &[f32], out: &mut [f32]) => rotate_body
}

#[cfg(test)]
mod tests {
    use super::super::isa::tests::all;
    use super::*;

    #[test]
    fn a_pair_turns_by_its_angle_and_keeps_its_length() {
        let table = RopeTable::new(40, 10, 100.0);
        assert_eq!(table.positions(), 40);
        let head: Vec<f32> = (0..10).map(|i| (i as f32 * 0.7).sin()).collect();
        for isa in all() {
            for position in [0usize, 1, 39] {
                let (cos, sin) = table.at(position);
                let mut out = vec![0.0; 10];
                rotate(isa, &head, cos, sin, &mut out);
                for i in 0..5 {
                    let angle = position as f64 * 100f64.powf(-(i as f64) / 5.0);
                    let (x, y) = (f64::from(head[i]), f64::from(head[i + 5]));
                    let exact = (x * angle.cos() - y * angle.sin(), y * angle.cos() + x * angle.sin());
                    assert!((f64::from(out[i]) - exact.0).abs() < 1e-6);
                    assert!((f64::from(out[i + 5]) - exact.1).abs() < 1e-6);
                }
            }
        }
        assert!(table.at(40).0.is_empty());
    }
}

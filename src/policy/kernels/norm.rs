//! Layer norm and RMS norm of one row, f32 sums in 16 lanes.

use super::isa::{fma, simd};

const LANES: usize = 16;

/// Sum over 16 fixed lanes: the same order on every level and for every caller.
#[inline(always)]
fn lane_sum(lanes: &[f32; LANES]) -> f32 {
    let mut width = LANES / 2;
    let mut sums = *lanes;
    while width > 0 {
        let mut i = 0;
        while i < width {
            sums[i] += sums[i + width];
            i += 1;
        }
        width /= 2;
    }
    sums[0]
}

#[inline(always)]
fn sum<const FMA: bool>(row: &[f32]) -> f32 {
    let mut lanes = [0.0f32; LANES];
    let chunks = row.chunks_exact(LANES);
    let tail = chunks.remainder();
    for chunk in chunks {
        for (lane, value) in lanes.iter_mut().zip(chunk) {
            *lane += value;
        }
    }
    for (lane, value) in lanes.iter_mut().zip(tail) {
        *lane += value;
    }
    lane_sum(&lanes)
}

/// Sum of squared distances from `centre`.
#[inline(always)]
fn sum_squares<const FMA: bool>(row: &[f32], centre: f32) -> f32 {
    let mut lanes = [0.0f32; LANES];
    let chunks = row.chunks_exact(LANES);
    let tail = chunks.remainder();
    for chunk in chunks {
        for (lane, value) in lanes.iter_mut().zip(chunk) {
            let d = value - centre;
            *lane = fma::<FMA>(d, d, *lane);
        }
    }
    for (lane, value) in lanes.iter_mut().zip(tail) {
        let d = value - centre;
        *lane = fma::<FMA>(d, d, *lane);
    }
    lane_sum(&lanes)
}

#[inline(always)]
fn layer_norm_body<const FMA: bool>(row: &[f32], weight: &[f32], bias: &[f32], eps: f32, out: &mut [f32]) {
    let n = row.len().max(1) as f32;
    let mean = sum::<FMA>(row) / n;
    let scale = 1.0 / (sum_squares::<FMA>(row, mean) / n + eps).sqrt();
    for (((o, x), w), b) in out.iter_mut().zip(row).zip(weight).zip(bias) {
        *o = fma::<FMA>((x - mean) * scale, *w, *b);
    }
}

#[inline(always)]
fn rms_norm_body<const FMA: bool>(row: &[f32], weight: &[f32], eps: f32, out: &mut [f32]) {
    let n = row.len().max(1) as f32;
    let scale = 1.0 / (sum_squares::<FMA>(row, 0.0) / n + eps).sqrt();
    for ((o, x), w) in out.iter_mut().zip(row).zip(weight) {
        *o = x * scale * w;
    }
}

simd! {
    /// `(x - mean) / sqrt(var + eps) * weight + bias` over one row; all slices have the row's length.
    pub fn layer_norm(row: &[f32], weight: &[f32], bias: &[f32], eps: f32, out: &mut [f32]) => layer_norm_body
}
simd! {
    /// `x / sqrt(mean(x^2) + eps) * weight` over one row; all slices have the row's length.
    pub fn rms_norm(row: &[f32], weight: &[f32], eps: f32, out: &mut [f32]) => rms_norm_body
}

#[cfg(test)]
mod tests {
    use super::super::isa::tests::all;
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn norms_agree_with_double_precision(
            rows in prop::collection::vec((-8.0f32..8.0, -2.0f32..2.0, -2.0f32..2.0), 1..200),
        ) {
            let x: Vec<f32> = rows.iter().map(|r| r.0).collect();
            let w: Vec<f32> = rows.iter().map(|r| r.1).collect();
            let b: Vec<f32> = rows.iter().map(|r| r.2).collect();
            let n = x.len() as f64;
            let mean = x.iter().map(|v| f64::from(*v)).sum::<f64>() / n;
            let var = x.iter().map(|v| (f64::from(*v) - mean).powi(2)).sum::<f64>() / n;
            let square = x.iter().map(|v| f64::from(*v).powi(2)).sum::<f64>() / n;
            for isa in all() {
                let mut out = vec![0.0; x.len()];
                layer_norm(isa, &x, &w, &b, 1e-3, &mut out);
                for i in 0..x.len() {
                    let exact = (f64::from(x[i]) - mean) / (var + 1e-3).sqrt() * f64::from(w[i]) + f64::from(b[i]);
                    prop_assert!((f64::from(out[i]) - exact).abs() < 3e-5, "{isa} layer norm");
                }
                rms_norm(isa, &x, &w, 1e-6, &mut out);
                for i in 0..x.len() {
                    let exact = f64::from(x[i]) / (square + 1e-6).sqrt() * f64::from(w[i]);
                    prop_assert!((f64::from(out[i]) - exact).abs() < 1e-5 * (1.0 + exact.abs()), "{isa} rms norm");
                }
            }
        }
    }
}

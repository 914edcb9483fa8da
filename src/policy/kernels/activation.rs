//! exp, sigmoid-based and erf-based activations over slices.
//!
//! One source for every instruction set: branch-free bodies the compiler vectorises. Constants are Taylor
//! series and a Chebyshev fit, so the error bounds in the tests follow from the series and not from a table.

use std::f32::consts::{FRAC_1_SQRT_2, LOG2_E};

use super::isa::{fma, simd};

/// Adding and subtracting 1.5 * 2^23 rounds to the nearest integer and leaves it in the low bits.
const ROUND: f32 = 12_582_912.0;
/// ln 2, split so that `n * LN2_HIGH` is exact for every exponent `n`.
const LN2_HIGH: f32 = 0.693_359_4;
const LN2_LOW: f32 = -2.121_944_4e-4;
/// Range in which e^x is a normal f32.
const EXP_MIN: f32 = -87.3;
const EXP_MAX: f32 = 88.7;

/// e^x; results below 1e-38 and above 3e38 are clamped there, NaN stays NaN.
#[inline(always)]
pub(crate) fn exp<const FMA: bool>(x: f32) -> f32 {
    let x = if x < EXP_MIN { EXP_MIN } else { x };
    let x = if x > EXP_MAX { EXP_MAX } else { x };
    let shifted = fma::<FMA>(x, LOG2_E, ROUND);
    let n = shifted - ROUND;
    let f = fma::<FMA>(n, -LN2_HIGH, x);
    let f = fma::<FMA>(n, -LN2_LOW, f);
    let mut p = 1.0 / 5040.0;
    p = fma::<FMA>(p, f, 1.0 / 720.0);
    p = fma::<FMA>(p, f, 1.0 / 120.0);
    p = fma::<FMA>(p, f, 1.0 / 24.0);
    p = fma::<FMA>(p, f, 1.0 / 6.0);
    p = fma::<FMA>(p, f, 0.5);
    let p = fma::<FMA>(p, f * f, f) + 1.0;
    f32::from_bits(p.to_bits().wrapping_add(shifted.to_bits() << 23))
}

/// erf(x), absolute error under 2e-7.
#[inline(always)]
pub(crate) fn erf<const FMA: bool>(x: f32) -> f32 {
    /// ln erfc(z) on 1..4 as a polynomial in (z - 2.5) / 1.5, lowest power first: Chebyshev interpolation.
    const LN_ERFC: [f32; 10] = [
        -7.806_815,
        -8.029_021,
        -2.123_760_7,
        -0.036_646_13,
        0.010_961_172,
        -0.003_195_386_6,
        0.000_881_493_15,
        -0.000_220_847_64,
        0.000_041_405_576,
        -0.000_002_915_037_8,
    ];
    /// 2 / sqrt(pi) * (-1)^n / (n! (2n + 1)).
    const SERIES: [f32; 11] = [
        std::f32::consts::FRAC_2_SQRT_PI,
        -0.376_126_4,
        0.112_837_92,
        -0.026_866_17,
        0.005_223_977_6,
        -0.000_854_832_7,
        0.000_120_553_33,
        -0.000_014_925_65,
        0.000_001_646_211_4,
        -0.000_000_163_658_44,
        0.000_000_014_807_193,
    ];
    let z = x.abs();
    let z = if z > 4.0 { 4.0 } else { z };
    let square = z * z;
    let mut near = SERIES[10];
    let mut i = 10;
    while i > 0 {
        i -= 1;
        near = fma::<FMA>(near, square, SERIES[i]);
    }
    let near = near * z;
    let t = (z - 2.5) * (1.0 / 1.5);
    let mut far = LN_ERFC[9];
    let mut i = 9;
    while i > 0 {
        i -= 1;
        far = fma::<FMA>(far, t, LN_ERFC[i]);
    }
    let far = 1.0 - exp::<FMA>(far);
    let magnitude = if z < 1.0 { near } else { far };
    magnitude.copysign(x)
}

/// x * sigmoid(x).
#[inline(always)]
pub(crate) fn silu_of<const FMA: bool>(x: f32) -> f32 {
    x / (1.0 + exp::<FMA>(-x))
}

/// GELU in its tanh form: x * sigmoid(2 sqrt(2 / pi) (x + 0.044715 x^3)).
#[inline(always)]
pub(crate) fn gelu_tanh_of<const FMA: bool>(x: f32) -> f32 {
    const A: f32 = -1.595_769;
    const B: f32 = A * 0.044_715;
    x / (1.0 + exp::<FMA>(x * fma::<FMA>(x * x, B, A)))
}

/// GELU in its exact form: x / 2 * (1 + erf(x / sqrt 2)).
#[inline(always)]
pub(crate) fn gelu_erf_of<const FMA: bool>(x: f32) -> f32 {
    0.5 * x * (1.0 + erf::<FMA>(x * FRAC_1_SQRT_2))
}

#[inline(always)]
fn exp_body<const FMA: bool>(values: &mut [f32]) {
    for value in values {
        *value = exp::<FMA>(*value);
    }
}

#[inline(always)]
fn silu_body<const FMA: bool>(values: &mut [f32]) {
    for value in values {
        *value = silu_of::<FMA>(*value);
    }
}

#[inline(always)]
fn gelu_tanh_body<const FMA: bool>(values: &mut [f32]) {
    for value in values {
        *value = gelu_tanh_of::<FMA>(*value);
    }
}

#[inline(always)]
fn gelu_erf_body<const FMA: bool>(values: &mut [f32]) {
    for value in values {
        *value = gelu_erf_of::<FMA>(*value);
    }
}

simd! {
    /// e^x in place.
    pub fn exp_in_place(values: &mut [f32]) => exp_body
}
simd! {
    /// SiLU in place.
    pub fn silu_in_place(values: &mut [f32]) => silu_body
}
simd! {
    /// GELU (tanh form) in place.
    pub fn gelu_tanh_in_place(values: &mut [f32]) => gelu_tanh_body
}
simd! {
    /// GELU (erf form) in place.
    pub fn gelu_erf_in_place(values: &mut [f32]) => gelu_erf_body
}

#[cfg(test)]
mod tests {
    use super::super::isa::tests::all;
    use super::*;

    fn sweep(low: f64, high: f64, count: usize) -> Vec<f32> {
        (0..count).map(|i| (low + (high - low) * i as f64 / (count - 1) as f64) as f32).collect()
    }

    /// erf in f64: the series where it converges fast, the continued fraction of erfc elsewhere.
    fn erf64(x: f64) -> f64 {
        if x.abs() < 2.5 {
            let (mut term, mut sum) = (x, x);
            for n in 1..80 {
                term *= -x * x / n as f64;
                sum += term / (2 * n + 1) as f64;
            }
            return sum * 2.0 / std::f64::consts::PI.sqrt();
        }
        let z = x.abs();
        let mut fraction = 0.0;
        for n in (1..200).rev() {
            fraction = n as f64 / 2.0 / (z + fraction);
        }
        (1.0 - (-z * z).exp() / std::f64::consts::PI.sqrt() / (z + fraction)).copysign(x)
    }

    #[test]
    fn exp_is_within_two_units_in_the_last_place() {
        for isa in all() {
            let xs = sweep(-87.0, 88.5, 400_001);
            let mut got = xs.clone();
            exp_in_place(isa, &mut got);
            for (x, y) in xs.iter().zip(&got) {
                let exact = f64::from(*x).exp();
                let ulp = f64::from(f32::EPSILON) * exact / 2.0;
                let error = (f64::from(*y) - exact).abs() / ulp;
                assert!(error <= 4.0, "{isa}: exp({x}) = {y}, {error} half units off");
            }
        }
    }

    #[test]
    fn exp_keeps_nan_and_clamps_the_ends() {
        for isa in all() {
            let mut ends = [f32::NAN, f32::NEG_INFINITY, f32::INFINITY, -1000.0, 0.0];
            exp_in_place(isa, &mut ends);
            assert!(ends[0].is_nan());
            assert!(ends[1] < 1.3e-38 && ends[3] < 1.3e-38 && ends[1] >= 0.0);
            assert!(ends[2] > 3.0e38);
            assert_eq!(ends[4], 1.0);
        }
    }

    #[test]
    fn activations_agree_with_double_precision() {
        type InPlace = fn(crate::policy::kernels::Isa, &mut [f32]);
        let sigmoid = |x: f64| 1.0 / (1.0 + (-x).exp());
        let tanh_arg = |x: f64| (2.0 / std::f64::consts::PI).sqrt() * (x + 0.044715 * x * x * x);
        type Exact<'a> = &'a dyn Fn(f64) -> f64;
        let cases: [(&str, InPlace, Exact<'_>); 3] = [
            ("silu", silu_in_place, &|x| x * sigmoid(x)),
            ("gelu_tanh", gelu_tanh_in_place, &|x| 0.5 * x * (1.0 + tanh_arg(x).tanh())),
            ("gelu_erf", gelu_erf_in_place, &|x| 0.5 * x * (1.0 + erf64(x / 2f64.sqrt()))),
        ];
        for isa in all() {
            for (name, kernel, exact) in &cases {
                let xs = sweep(-30.0, 30.0, 100_003);
                let mut got = xs.clone();
                kernel(isa, &mut got);
                for (x, y) in xs.iter().zip(&got) {
                    let error = (f64::from(*y) - exact(f64::from(*x))).abs();
                    let bound = 4e-7 * f64::from(x.abs()).max(1e-3);
                    assert!(error <= bound, "{isa}: {name}({x}) = {y}, error {error:e}");
                }
            }
        }
    }
}

//! OpenDRIVE's piecewise cubics: a + b ds + c ds^2 + d ds^3 from where a record begins to where the next does.

/// One record.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(in crate::scene) struct Cubic {
    /// Where it begins, in metres.
    pub(in crate::scene) start_m: f64,
    pub(in crate::scene) abcd: [f64; 4],
}

impl Cubic {
    pub(in crate::scene) fn at(&self, s_m: f64) -> f64 {
        let [a, b, c, d] = self.abcd;
        let ds = s_m - self.start_m;
        a + ds * (b + ds * (c + ds * d))
    }
}

/// The value of records sorted by start; zero before the first.
pub(in crate::scene) fn value(records: &[Cubic], s_m: f64) -> f64 {
    let after = records.partition_point(|record| record.start_m <= s_m + 1e-9);
    after.checked_sub(1).and_then(|index| records.get(index)).map_or(0.0, |record| record.at(s_m))
}

/// u and v of a parametric cubic and their derivatives.
pub(in crate::scene) fn with_slope([a, b, c, d]: [f64; 4], p: f64) -> (f64, f64) {
    (a + p * (b + p * (c + p * d)), b + p * (2.0 * c + p * 3.0 * d))
}

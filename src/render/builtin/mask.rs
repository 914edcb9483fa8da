//! Exact coverage of pixels by polygons, by accumulating signed areas: every edge adds its change of coverage, and a
//! running sum along the row makes it coverage. Neighbours that share an edge add up without a seam.

use glam::DVec2;

/// Coverage of a picture, weighted.
pub(super) struct Mask {
    width: usize,
    height: usize,
    /// Changes of coverage; a row has two entries more than pixels.
    changes: Vec<f32>,
    /// Rows that anything touches.
    touched: Vec<bool>,
}

impl Mask {
    pub fn new(width: usize, height: usize) -> Self {
        Self { width, height, changes: vec![0.0; (width + 2) * height], touched: vec![false; height] }
    }

    /// Adds a polygon in picture pixels, of either winding, times `weight`.
    pub fn add(&mut self, corners: &[DVec2; 4], weight: f32) {
        let next = |index: usize| corners[(index + 1) % 4];
        let doubled_area: f64 = (0..4).map(|i| corners[i].perp_dot(next(i))).sum();
        if !doubled_area.is_finite() {
            return;
        }
        let sign = if doubled_area < 0.0 { -f64::from(weight) } else { f64::from(weight) };
        for (index, corner) in corners.iter().enumerate() {
            self.edge(*corner, next(index), sign);
        }
    }

    fn edge(&mut self, from: DVec2, to: DVec2, sign: f64) {
        if from.y == to.y {
            return;
        }
        let (top, bottom, sign) = if from.y < to.y { (from, to, -sign) } else { (to, from, sign) };
        let slope = (bottom.x - top.x) / (bottom.y - top.y);
        let first = top.y.max(0.0);
        let end = bottom.y.min(self.height as f64);
        let width = self.width as f64;
        let x_at = |y: f64| (top.x + (y - top.y) * slope).clamp(0.0, width);
        let mut y = first;
        while y < end {
            let row = y.floor();
            let below = (row + 1.0).min(end);
            self.piece(row as usize, x_at(y), x_at(below), (below - y) * sign);
            y = below;
        }
    }

    /// The part of an edge within one row: from x to x, so high.
    fn piece(&mut self, row: usize, a: f64, b: f64, height: f64) {
        let stride = self.width + 2;
        let Some(changes) = self.changes.get_mut(row * stride..(row + 1) * stride) else { return };
        if let Some(touched) = self.touched.get_mut(row) {
            *touched = true;
        }
        let (left, right) = if a < b { (a, b) } else { (b, a) };
        let (first, last) = (left.floor() as usize, right.floor() as usize);
        if first == last {
            let middle = 0.5 * (left + right) - first as f64;
            changes[first] += (height * (1.0 - middle)) as f32;
            changes[first + 1] += (height * middle) as f32;
            return;
        }
        let per_pixel = height / (right - left);
        let mut before = 0.0;
        for (column, change) in changes.iter_mut().enumerate().take(last + 1).skip(first) {
            let x0 = left.max(column as f64);
            let x1 = right.min(column as f64 + 1.0);
            let part = per_pixel * (x1 - x0);
            let middle = 0.5 * (x0 + x1) - column as f64;
            *change += (before + part * (1.0 - middle)) as f32;
            before = part * middle;
        }
        changes[last + 1] += before as f32;
    }

    /// Writes a row's coverage, 0 to 1; `false` if there is none.
    pub fn row(&self, row: usize, coverage: &mut [f32]) -> bool {
        if !self.touched.get(row).copied().unwrap_or(false) {
            return false;
        }
        let start = row * (self.width + 2);
        let mut sum = 0.0;
        for (value, change) in coverage.iter_mut().zip(self.changes.get(start..).unwrap_or_default()) {
            sum += change;
            *value = sum.clamp(0.0, 1.0);
        }
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn coverage(mask: &Mask) -> Vec<Vec<f32>> {
        (0..mask.height)
            .map(|row| {
                let mut values = vec![0.0; mask.width];
                mask.row(row, &mut values);
                values
            })
            .collect()
    }

    fn quad(points: [(f64, f64); 4]) -> [DVec2; 4] {
        points.map(|(x, y)| DVec2::new(x, y))
    }

    #[test]
    fn a_rectangle_covers_pixels_by_the_area_it_shares_with_them() {
        let mut mask = Mask::new(4, 3);
        mask.add(&quad([(0.5, 0.25), (2.25, 0.25), (2.25, 2.0), (0.5, 2.0)]), 1.0);
        let rows = coverage(&mask);
        let expected = [[0.375, 0.75, 0.1875, 0.0], [0.5, 1.0, 0.25, 0.0], [0.0; 4]];
        for (row, expected) in rows.iter().zip(expected) {
            for (value, expected) in row.iter().zip(expected) {
                assert!((value - expected).abs() < 1e-6, "{rows:?}");
            }
        }
    }

    #[test]
    fn the_winding_does_not_matter_and_shared_edges_leave_no_seam() {
        let mut mask = Mask::new(8, 8);
        mask.add(&quad([(0.0, 0.0), (8.0, 0.0), (8.0, 2.1), (0.0, 5.3)]), 0.5);
        mask.add(&quad([(0.0, 8.0), (0.0, 5.3), (8.0, 2.1), (8.0, 8.0)]), 0.5);
        assert!(coverage(&mask).iter().flatten().all(|value| (value - 0.5).abs() < 1e-6));
    }

    #[test]
    fn what_lies_outside_is_cut_off_wherever_it_lies() {
        let mut mask = Mask::new(5, 5);
        mask.add(&quad([(-1e6, -1e6), (1e6, -1e6), (1e6, 1e6), (-1e6, 1e6)]), 1.0);
        assert!(coverage(&mask).iter().flatten().all(|value| (value - 1.0).abs() < 1e-5));
        let mut mask = Mask::new(5, 5);
        mask.add(&quad([(6.0, -3.0), (9.0, -3.0), (9.0, 9.0), (6.0, 9.0)]), 1.0);
        mask.add(&quad([(-6.0, -3.0), (-1.0, -3.0), (-1.0, 9.0), (-6.0, 9.0)]), 1.0);
        mask.add(&quad([(f64::NAN, 0.0), (1.0, 0.0), (1.0, 1.0), (0.0, 1.0)]), 1.0);
        assert!(coverage(&mask).iter().flatten().all(|value| value.abs() < 1e-6));
    }
}

//! The original viewer's grade filter: grades between poses, clipped, averaged over five, low-passed over distance, summed
//! up again. Its quirks are kept, since they are what a comparison needs: the first height stays, small steps lose their
//! rise, a constant grade comes out a little low.

use glam::DVec3;

/// Steps shorter than this, in metres, have no grade.
const MIN_STEP_M: f64 = 0.01;
const MAX_GRADE: f64 = 0.25;
/// Samples added at either end before filtering, three times the order plus one.
const PADDING: usize = 12;
/// Third-order Butterworth low-pass, cut-off 0.05 of the Nyquist frequency: `butter(3, 0.05)`.
const B: [f64; 4] = [
    0.000_416_546_139_075_747_6,
    0.001_249_638_417_227_242_8,
    0.001_249_638_417_227_242_8,
    0.000_416_546_139_075_747_6,
];
const A: [f64; 4] = [1.0, -2.686_157_396_548_143, 2.419_655_110_966_471_7, -0.730_165_345_305_722_6];

/// The smoothed heights of a path, in metres, one a position.
pub(super) fn heights(positions_m: &[DVec3]) -> Vec<f64> {
    if positions_m.len() < 3 {
        return positions_m.iter().map(|position| position.z).collect();
    }
    let steps: Vec<DVec3> = positions_m.iter().zip(&positions_m[1..]).map(|(a, b)| *b - *a).collect();
    let distances: Vec<f64> = steps.iter().map(|step| step.truncate().length()).collect();
    let grade =
        |(step, distance): (&DVec3, &f64)| if *distance > MIN_STEP_M { step.z / distance } else { 0.0 };
    let mut grades: Vec<f64> =
        steps.iter().zip(&distances).map(grade).map(|grade| grade.clamp(-MAX_GRADE, MAX_GRADE)).collect();
    if grades.len() > 10 {
        grades = mean_of_five(&grades);
    }
    if grades.len() > 20
        && let Some(smooth) = low_pass_over_distance(&grades, &distances)
    {
        grades = smooth;
    }
    let mut height = positions_m[0].z;
    let rises = grades.iter().zip(&distances).map(|(grade, distance)| grade * distance);
    let rest = rises.map(|rise| {
        height += rise;
        height
    });
    std::iter::once(positions_m[0].z).chain(rest).collect()
}

/// Zero beyond the ends, so the outer two are pulled towards zero.
fn mean_of_five(values: &[f64]) -> Vec<f64> {
    let at = |index: usize, offset: usize| (index + offset).checked_sub(2).and_then(|i| values.get(i));
    (0..values.len())
        .map(|i| (0..5).filter_map(|offset| at(i, offset)).map(|value| value * 0.2).sum())
        .collect()
}

fn low_pass_over_distance(grades: &[f64], distances: &[f64]) -> Option<Vec<f64>> {
    let travelled: Vec<f64> = distances
        .iter()
        .scan(0.0, |sum, distance| {
            *sum += distance;
            Some(*sum)
        })
        .collect();
    let (mut at, mut values) = (Vec::new(), Vec::new());
    for (position, grade) in travelled.iter().zip(grades) {
        if at.last() != Some(position) {
            at.push(*position);
            values.push(*grade);
        }
    }
    if at.len() <= PADDING {
        return None;
    }
    let (first, last) = (*at.first()?, *at.last()?);
    let step = (last - first) / (at.len() - 1) as f64;
    let mut even: Vec<f64> = (0..at.len()).map(|index| first + index as f64 * step).collect();
    *even.last_mut()? = last;
    let resampled: Vec<f64> = even.iter().map(|position| line(&at, &values, *position)).collect();
    let filtered = forward_and_back(&resampled);
    Some(travelled.iter().map(|position| line(&even, &filtered, *position)).collect())
}

/// The value of a polyline, its first and last piece going on for ever.
fn line(at: &[f64], values: &[f64], position: f64) -> f64 {
    let high = at.partition_point(|stop| *stop < position).clamp(1, at.len() - 1);
    let low = high - 1;
    let slope = (values[high] - values[low]) / (at[high] - at[low]);
    slope * (position - at[low]) + values[low]
}

/// `scipy.signal.filtfilt`: odd padding, each direction begun in the state a constant input would have led to.
fn forward_and_back(values: &[f64]) -> Vec<f64> {
    let count = values.len();
    let (first, last) = (values[0], values[count - 1]);
    let before = (1..=PADDING).rev().map(|offset| 2.0 * first - values[offset]);
    let after = (1..=PADDING).map(|offset| 2.0 * last - values[count - 1 - offset]);
    let mut padded: Vec<f64> = before.chain(values.iter().copied()).chain(after).collect();
    for _ in 0..2 {
        filter(&mut padded);
        padded.reverse();
    }
    padded[PADDING..PADDING + count].to_vec()
}

/// Transposed direct form II in place.
fn filter(values: &mut [f64]) {
    let mut state = steady_state().map(|entry| entry * values[0]);
    for value in values {
        let input = *value;
        let output = B[0] * input + state[0];
        state = [
            B[1] * input - A[1] * output + state[1],
            B[2] * input - A[2] * output + state[2],
            B[3] * input - A[3] * output,
        ];
        *value = output;
    }
}

/// The state after a constant input of one: its output is one too.
fn steady_state() -> [f64; 3] {
    let third = B[3] - A[3];
    let second = B[2] - A[2] + third;
    [B[1] - A[1] + second, second, third]
}

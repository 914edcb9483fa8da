//! The three products that a dense layer needs, on row-major slices, in an order that the compiler turns into vector code.

/// `out = bias + input * weight`: `input` rows of `weight.len() / bias.len()` numbers.
pub fn affine(input: &[f64], weight: &[f64], bias: &[f64], out: &mut [f64]) {
    let (inputs, outputs) = (weight.len() / bias.len(), bias.len());
    for (row, out) in input.chunks_exact(inputs).zip(out.chunks_exact_mut(outputs)) {
        out.copy_from_slice(bias);
        accumulate(row, weight, out);
    }
}

/// `gradient += inputᵀ * delta`.
pub fn outer(input: &[f64], delta: &[f64], inputs: usize, outputs: usize, gradient: &mut [f64]) {
    let fours = input.chunks_exact(4 * inputs).zip(delta.chunks_exact(4 * outputs));
    let done = (input.len() / inputs / 4) * 4;
    for (rows, deltas) in fours {
        let (d0, rest) = deltas.split_at(outputs);
        let (d1, rest) = rest.split_at(outputs);
        let (d2, d3) = rest.split_at(outputs);
        for (at, into) in gradient.chunks_exact_mut(outputs).enumerate() {
            let (x0, x1, x2, x3) =
                (rows[at], rows[inputs + at], rows[2 * inputs + at], rows[3 * inputs + at]);
            for ((((into, d0), d1), d2), d3) in into.iter_mut().zip(d0).zip(d1).zip(d2).zip(d3) {
                *into += x0 * d0 + x1 * d1 + x2 * d2 + x3 * d3;
            }
        }
    }
    let left = input[done * inputs..].chunks_exact(inputs).zip(delta[done * outputs..].chunks_exact(outputs));
    for (row, delta) in left {
        for (x, into) in row.iter().zip(gradient.chunks_exact_mut(outputs)) {
            for (into, d) in into.iter_mut().zip(delta) {
                *into += x * d;
            }
        }
    }
}

/// `out = delta * weightᵀ`, with `transposed` of `outputs` rows of `inputs` numbers.
pub fn back(delta: &[f64], transposed: &[f64], inputs: usize, outputs: usize, out: &mut [f64]) {
    for (delta, out) in delta.chunks_exact(outputs).zip(out.chunks_exact_mut(inputs)) {
        out.fill(0.0);
        accumulate(delta, transposed, out);
    }
}

/// The transpose of `rows` rows of `columns` numbers.
pub fn transpose(matrix: &[f64], columns: usize, into: &mut Vec<f64>) {
    into.clear();
    into.extend((0..columns).flat_map(|column| matrix.iter().skip(column).step_by(columns)));
}

/// `out += row * matrix`, four rows of the matrix at a time: one load and store of `out` for four products.
fn accumulate(row: &[f64], matrix: &[f64], out: &mut [f64]) {
    let width = out.len();
    let fours = row.chunks_exact(4);
    let tail = fours.remainder();
    let (whole, rest) = matrix.split_at((row.len() - tail.len()) * width);
    for (x, rows) in fours.zip(whole.chunks_exact(4 * width)) {
        let (w0, after) = rows.split_at(width);
        let (w1, after) = after.split_at(width);
        let (w2, w3) = after.split_at(width);
        for ((((out, w0), w1), w2), w3) in out.iter_mut().zip(w0).zip(w1).zip(w2).zip(w3) {
            *out += x[0] * w0 + x[1] * w1 + x[2] * w2 + x[3] * w3;
        }
    }
    for (x, rows) in tail.iter().zip(rest.chunks_exact(width)) {
        for (out, w) in out.iter_mut().zip(rows) {
            *out += x * w;
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn filled(count: usize, seed: u64) -> Vec<f64> {
        let mut random = crate::trainer::random::Random::new(seed);
        (0..count).map(|_| random.normal()).collect()
    }

    fn near(a: &[f64], b: &[f64]) -> bool {
        a.len() == b.len() && a.iter().zip(b).all(|(a, b)| (a - b).abs() < 1e-9)
    }

    proptest! {
        #[test]
        fn the_products_are_those_of_the_textbook(rows in 1_usize..10, inputs in 1_usize..11, outputs in 1_usize..11, seed: u64) {
            let (x, w) = (filled(rows * inputs, seed), filled(inputs * outputs, seed ^ 1));
            let (bias, delta) = (filled(outputs, seed ^ 2), filled(rows * outputs, seed ^ 3));
            let mut out = vec![0.0; rows * outputs];
            affine(&x, &w, &bias, &mut out);
            let mut gradient = vec![1.0; inputs * outputs];
            outer(&x, &delta, inputs, outputs, &mut gradient);
            let mut turned = Vec::new();
            transpose(&w, outputs, &mut turned);
            let mut above = vec![7.0; rows * inputs];
            back(&delta, &turned, inputs, outputs, &mut above);
            let (mut out_is, mut gradient_is, mut above_is) = (vec![], vec![], vec![]);
            for r in 0..rows {
                for o in 0..outputs {
                    out_is.push(bias[o] + (0..inputs).map(|i| x[r * inputs + i] * w[i * outputs + o]).sum::<f64>());
                }
                for i in 0..inputs {
                    above_is.push((0..outputs).map(|o| delta[r * outputs + o] * w[i * outputs + o]).sum::<f64>());
                }
            }
            for i in 0..inputs {
                for o in 0..outputs {
                    gradient_is.push(1.0 + (0..rows).map(|r| x[r * inputs + i] * delta[r * outputs + o]).sum::<f64>());
                }
            }
            prop_assert!(near(&out, &out_is) && near(&gradient, &gradient_is) && near(&above, &above_is));
        }
    }
}

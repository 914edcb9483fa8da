//! Dense layers with tanh between them, over one flat slice of parameters.

use std::ops::Range;

use super::matrix;
use super::random::Random;

/// A parameter as a checkpoint names it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Tensor {
    /// `policy.0.weight`.
    pub name: String,
    /// Inputs and outputs for a weight, else one length.
    pub shape: Vec<usize>,
    /// Where it is in the parameters.
    pub at: Range<usize>,
}

#[derive(Debug, Clone)]
struct Layer {
    inputs: usize,
    outputs: usize,
    weight: Range<usize>,
    bias: Range<usize>,
}

/// Layers; the parameters are somebody else's.
#[derive(Debug, Clone)]
pub struct Mlp {
    layers: Vec<Layer>,
}

/// What a forward pass leaves behind for the backward pass: each layer's output, tanh done. Keeps its memory.
#[derive(Debug, Clone, Default)]
pub struct Trace {
    outputs: Vec<Vec<f64>>,
    delta: Vec<f64>,
    above: Vec<f64>,
    transposed: Vec<f64>,
}

impl Trace {
    /// Of the last layer, row by row.
    #[must_use]
    pub fn output(&self) -> &[f64] {
        self.outputs.last().map_or(&[], Vec::as_slice)
    }
}

impl Mlp {
    /// Layers of these widths, first the inputs; puts their tensors behind those that are there.
    #[must_use]
    pub fn new(name: &str, widths: &[usize], tensors: &mut Vec<Tensor>) -> Self {
        let layers = widths
            .windows(2)
            .enumerate()
            .map(|(index, pair)| {
                let (inputs, outputs) = (pair[0], pair[1]);
                let mut add = |part: &str, shape: Vec<usize>| {
                    let from = tensors.last().map_or(0, |tensor| tensor.at.end);
                    let at = from..from + shape.iter().product::<usize>();
                    tensors.push(Tensor { name: format!("{name}.{index}.{part}"), shape, at: at.clone() });
                    at
                };
                let weight = add("weight", vec![inputs, outputs]);
                Layer { inputs, outputs, weight, bias: add("bias", vec![outputs]) }
            })
            .collect();
        Self { layers }
    }

    /// Orthogonal weights of gain √2, of `last_gain` in the last layer; biases 0.
    pub fn begin(&self, parameters: &mut [f64], last_gain: f64, random: &mut Random) {
        for (index, layer) in self.layers.iter().enumerate() {
            let last = index + 1 == self.layers.len();
            let gain = if last { last_gain } else { std::f64::consts::SQRT_2 };
            orthogonal(&mut parameters[layer.weight.clone()], layer.inputs, layer.outputs, gain, random);
            parameters[layer.bias.clone()].fill(0.0);
        }
    }

    /// Rows of inputs to rows of outputs, which `trace` holds.
    pub fn forward(&self, parameters: &[f64], input: &[f64], trace: &mut Trace) {
        trace.outputs.resize(self.layers.len(), Vec::new());
        for (index, layer) in self.layers.iter().enumerate() {
            let (before, rest) = trace.outputs.split_at_mut(index);
            let from = before.last().map_or(input, Vec::as_slice);
            let out = &mut rest[0];
            out.resize(from.len() / layer.inputs * layer.outputs, 0.0);
            matrix::affine(from, &parameters[layer.weight.clone()], &parameters[layer.bias.clone()], out);
            if index + 1 < self.layers.len() {
                out.iter_mut().for_each(|value| *value = value.tanh());
            }
        }
    }

    /// Adds to `gradient` what `delta`, the loss's gradient by the outputs, comes to for each parameter.
    pub fn backward(
        &self,
        parameters: &[f64],
        input: &[f64],
        trace: &mut Trace,
        delta: &[f64],
        gradient: &mut [f64],
    ) {
        let Trace { outputs, delta: now, above, transposed } = trace;
        now.clear();
        now.extend_from_slice(delta);
        for (index, layer) in self.layers.iter().enumerate().rev() {
            let from = if index == 0 { input } else { &outputs[index - 1] };
            for row in now.chunks_exact(layer.outputs) {
                gradient[layer.bias.clone()].iter_mut().zip(row).for_each(|(into, delta)| *into += delta);
            }
            matrix::outer(from, now, layer.inputs, layer.outputs, &mut gradient[layer.weight.clone()]);
            if index == 0 {
                break;
            }
            matrix::transpose(&parameters[layer.weight.clone()], layer.outputs, transposed);
            above.resize(from.len(), 0.0);
            matrix::back(now, transposed, layer.inputs, layer.outputs, above);
            above.iter_mut().zip(from).for_each(|(delta, tanh)| *delta *= 1.0 - tanh * tanh);
            std::mem::swap(now, above);
        }
    }
}

/// Random rows or columns at right angles, whichever are fewer (Gram and Schmidt), times `gain`.
fn orthogonal(weight: &mut [f64], inputs: usize, outputs: usize, gain: f64, random: &mut Random) {
    let (count, length) = (inputs.min(outputs), inputs.max(outputs));
    let mut vectors: Vec<Vec<f64>> = Vec::with_capacity(count);
    while vectors.len() < count {
        let mut vector: Vec<f64> = (0..length).map(|_| random.normal()).collect();
        // Twice: once leaves rounding errors that add up.
        for _ in 0..2 {
            for other in &vectors {
                let along: f64 = vector.iter().zip(other).map(|(a, b)| a * b).sum();
                vector.iter_mut().zip(other).for_each(|(a, b)| *a -= along * b);
            }
        }
        let norm = vector.iter().map(|a| a * a).sum::<f64>().sqrt();
        if norm > 1e-6 {
            vector.iter_mut().for_each(|a| *a /= norm);
            vectors.push(vector);
        }
    }
    for (index, value) in weight.iter_mut().enumerate() {
        let (input, output) = (index / outputs, index % outputs);
        let (vector, at) = if inputs <= outputs { (input, output) } else { (output, input) };
        *value = gain * vectors[vector][at];
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn beginning_weights_are_orthogonal_both_ways_round() {
        for (inputs, outputs) in [(4, 16), (16, 4), (8, 8)] {
            let mut weight = vec![0.0; inputs * outputs];
            orthogonal(&mut weight, inputs, outputs, 2.0, &mut Random::new(5));
            let (count, length) = (inputs.min(outputs), inputs.max(outputs));
            let at = |vector: usize, index: usize| match inputs <= outputs {
                true => weight[vector * outputs + index],
                false => weight[index * outputs + vector],
            };
            for a in 0..count {
                for b in 0..count {
                    let product: f64 = (0..length).map(|index| at(a, index) * at(b, index)).sum();
                    let expected = if a == b { 4.0 } else { 0.0 };
                    assert!((product - expected).abs() < 1e-9, "{a} {b}: {product}");
                }
            }
        }
    }

    #[test]
    fn tensors_follow_one_another_without_gaps() {
        let mut tensors = Vec::new();
        let _policy = Mlp::new("policy", &[4, 8, 2], &mut tensors);
        let _value = Mlp::new("value", &[4, 8, 1], &mut tensors);
        let mut end = 0;
        for tensor in &tensors {
            assert_eq!(tensor.at.start, end);
            end = tensor.at.end;
        }
        assert_eq!(end, 4 * 8 + 8 + 8 * 2 + 2 + 4 * 8 + 8 + 8 + 1);
        assert_eq!(tensors[4].name, "value.0.weight");
    }
}

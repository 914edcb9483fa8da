//! From mapped weights, or a sidecar of packed ones, to linear layers.

use crate::policy::backend::BackendError;
use crate::policy::kernels::pack::{ColumnSource, NotFinite, Packed, Precision};
use crate::policy::kernels::{Isa, KernelError, PANEL};
use crate::policy::weights::{WeightView, Weights, WeightsError};

use super::linear::{Linear, pad_bias};
use super::sidecar::Sidecar;

/// Columns of a panel that belong to the gate; the rest belong to the up projection.
const GATE: usize = PANEL / 2;

pub(super) fn kernel_error(error: &KernelError) -> BackendError {
    BackendError::Device { backend: "cpu", message: error.to_string() }
}

/// Loads by name and counts what it loaded.
pub(super) struct Loader<'a> {
    weights: &'a Weights,
    sidecar: &'a mut Sidecar,
    pub(super) isa: Isa,
    /// Element type of the large products.
    pub(super) precision: Precision,
    pub(super) parameters: u64,
    pub(super) bytes: u64,
}

/// One stored matrix `[rows, k]` inside a merged one.
struct Part<'a> {
    name: String,
    view: WeightView<'a>,
    rows: usize,
}

impl<'a> Loader<'a> {
    pub(super) fn new(
        weights: &'a Weights,
        sidecar: &'a mut Sidecar,
        isa: Isa,
        precision: Precision,
    ) -> Self {
        Self { weights, sidecar, isa, precision, parameters: 0, bytes: 0 }
    }

    /// One tensor as f32.
    pub(super) fn vector(&mut self, name: &str) -> Result<Vec<f32>, BackendError> {
        let values = self.weights.finite_f32(name)?;
        self.parameters += values.len() as u64;
        self.bytes += values.len() as u64 * 4;
        Ok(values)
    }

    /// One tensor where it lies.
    pub(super) fn view(&self, name: &str) -> Result<WeightView<'a>, BackendError> {
        Ok(self.weights.view(name)?)
    }

    /// The layer of the large products' element type that `names` (without `.weight` and `.bias`) make when
    /// their outputs stand side by side. `key` names it in the sidecar.
    pub(super) fn linear(&mut self, key: &str, names: &[String], bias: bool) -> Result<Linear, BackendError> {
        self.linear_in(self.precision, key, names, bias)
    }

    /// As [`Self::linear`], in another element type.
    pub(super) fn linear_in(
        &mut self,
        precision: Precision,
        key: &str,
        names: &[String],
        bias: bool,
    ) -> Result<Linear, BackendError> {
        let parts = self.parts(names)?;
        let cols: usize = parts.iter().map(|part| part.rows).sum();
        let k = parts.first().map_or(0, |part| part.view.len() / part.rows.max(1));
        let locate = |column: usize| {
            let mut row = column;
            for part in &parts {
                if row < part.rows {
                    return Some((part, row));
                }
                row -= part.rows;
            }
            None
        };
        let packed = self.pack(precision, key, (cols, k), locate)?;
        let bias = if bias { Some(self.bias(names)?) } else { None };
        Ok(Linear { packed, bias, cols })
    }

    /// Gate and up projections (no bias), 16 columns of one beside the same 16 of the other.
    pub(super) fn gated(&mut self, key: &str, gate: &str, up: &str) -> Result<Linear, BackendError> {
        let parts = self.parts(&[gate.to_owned(), up.to_owned()])?;
        let cols = parts.first().map_or(0, |part| part.rows);
        let k = parts.first().map_or(0, |part| part.view.len() / part.rows.max(1));
        let locate = |column: usize| {
            let row = column / PANEL * GATE + column % GATE;
            let part = parts.get(column % PANEL / GATE)?;
            (row < cols).then_some((part, row))
        };
        let packed = self.pack(self.precision, key, (cols.div_ceil(GATE) * PANEL, k), locate)?;
        Ok(Linear { packed, bias: None, cols })
    }

    fn parts(&self, names: &[String]) -> Result<Vec<Part<'a>>, BackendError> {
        names
            .iter()
            .map(|name| {
                let name = format!("{name}.weight");
                let view = self.weights.view(&name)?;
                let rows = view.shape.first().copied().unwrap_or(0);
                Ok(Part { name, view, rows })
            })
            .collect()
    }

    fn bias(&mut self, names: &[String]) -> Result<Vec<f32>, BackendError> {
        let mut bias = Vec::new();
        for name in names {
            bias.extend(self.vector(&format!("{name}.bias"))?);
        }
        Ok(pad_bias(bias))
    }

    fn pack<'p>(
        &mut self,
        precision: Precision,
        key: &str,
        (n, k): (usize, usize),
        locate: impl Fn(usize) -> Option<(&'p Part<'a>, usize)> + Sync,
    ) -> Result<Packed, BackendError>
    where
        'a: 'p,
    {
        let source = |column: usize, start: usize, out: &mut [f32]| match locate(column) {
            Some((part, row)) => part.view.read_f32(row * k + start, out),
            None => out.fill(0.0),
        };
        let blame = |bad: NotFinite| match locate(bad.column) {
            Some((part, row)) => (part.name.clone(), row * k + bad.index),
            None => (key.to_owned(), bad.index),
        };
        let packed = self.packed(precision, key, (n, k), &source, blame)?;
        let mut last = "";
        for column in 0..n {
            if let Some((part, _)) = locate(column)
                && part.name != last
            {
                last = &part.name;
                self.weights.release(&part.name);
            }
        }
        Ok(packed)
    }

    /// A packed weight from the sidecar, or packed now and kept there.
    pub(super) fn packed(
        &mut self,
        precision: Precision,
        key: &str,
        (n, k): (usize, usize),
        source: &impl ColumnSource,
        blame: impl Fn(NotFinite) -> (String, usize),
    ) -> Result<Packed, BackendError> {
        self.parameters += (n * k) as u64;
        self.bytes += precision.packed_bytes(n, k) as u64;
        if let Some(packed) = self.sidecar.find(key, precision, (n, k)) {
            return Ok(packed);
        }
        let packed = Packed::pack(self.isa, precision, (n, k), source).map_err(|bad| {
            let (name, index) = blame(bad);
            BackendError::from(WeightsError::NotFinite { name, index, value: bad.value })
        })?;
        self.sidecar.keep(key, &packed);
        Ok(packed)
    }
}

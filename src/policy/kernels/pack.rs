//! Weights in the order the multiplier reads them.
//!
//! A weight `[n, k]` becomes panels of [`PANEL`] output columns. Within a panel, `k` advances in groups of as
//! many numbers as one multiply instruction sums (1 for f32, 2 for bf16, 4 for int8): first all columns'
//! group 0, then all columns' group 1, so the kernel reads memory in one forward stream. `n` and `k` are
//! padded with zeros. int8 adds one scale and one sum a column behind the panels.

use std::ops::Range;
use std::sync::Arc;
use std::sync::Mutex;

use memmap2::Mmap;
use rayon::prelude::*;

use super::buffers::{Aligned, as_bytes, cast_bytes};
use super::isa::{Isa, simd};
use super::quantise::{bf16_bits, max_abs};
use super::{Level, PANEL};

/// Columns of `k` transposed at a time; 32 x 64 numbers stay in the first-level cache.
const CHUNK: usize = 64;
const _: () = assert!(CHUNK.is_multiple_of(4));

/// Element type of a packed weight and of the rows multiplied with it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Precision {
    /// f32.
    F32,
    /// bf16 products, f32 sums.
    Bf16,
    /// int8 products, i32 sums, a scale a row and a scale a column.
    Int8,
}

impl Precision {
    /// What this processor multiplies instead when it has no instruction for `self`: f32.
    #[must_use]
    pub fn supported_on(self, isa: Isa) -> Self {
        match self {
            Self::Bf16 if isa.level() < Level::Avx512Bf16 => Self::F32,
            Self::Int8 if isa.level() < Level::Avx512Vnni => Self::F32,
            other => other,
        }
    }

    /// Numbers summed by one instruction in one lane.
    #[must_use]
    pub fn group(self) -> usize {
        match self {
            Self::F32 => 1,
            Self::Bf16 => 2,
            Self::Int8 => 4,
        }
    }

    /// Bytes of one number.
    #[must_use]
    pub fn size(self) -> usize {
        4 / self.group()
    }

    /// Bytes of a packed `[n, k]` weight.
    #[must_use]
    pub fn packed_bytes(self, n: usize, k: usize) -> usize {
        let columns = n.next_multiple_of(PANEL);
        let panels = columns * k.next_multiple_of(self.group()) * self.size();
        if self == Self::Int8 { panels + columns * 8 } else { panels }
    }
}

/// Where the numbers to pack come from.
pub trait ColumnSource: Sync {
    /// Writes weight `[column, start..start + out.len()]` to `out`.
    fn read(&self, column: usize, start: usize, out: &mut [f32]);
}

impl<F: Fn(usize, usize, &mut [f32]) + Sync> ColumnSource for F {
    fn read(&self, column: usize, start: usize, out: &mut [f32]) {
        self(column, start, out);
    }
}

/// A weight that is NaN or infinite.
#[derive(Debug, Clone, Copy, PartialEq, thiserror::Error)]
#[error("weight [{column}, {index}] is {value}")]
pub struct NotFinite {
    /// Output column.
    pub column: usize,
    /// Position in `k`.
    pub index: usize,
    /// NaN, inf or -inf.
    pub value: f32,
}

enum Storage {
    Owned(Aligned<u8>),
    Mapped(Arc<Mmap>, Range<usize>),
}

/// A packed weight, in memory or in place in a mapped file.
pub struct Packed {
    precision: Precision,
    n: usize,
    k: usize,
    storage: Storage,
}

impl Packed {
    /// Packs `[n, k]` numbers, columns in parallel.
    ///
    /// # Errors
    /// [`NotFinite`] names the first bad weight of some panel.
    pub fn pack(
        isa: Isa,
        precision: Precision,
        (n, k): (usize, usize),
        source: &impl ColumnSource,
    ) -> Result<Self, NotFinite> {
        let mut bytes = Aligned::<u8>::zeroed(precision.packed_bytes(n, k));
        let panel_bytes = PANEL * k.next_multiple_of(precision.group()) * precision.size();
        let columns = n.next_multiple_of(PANEL);
        let (panels, extras) = bytes.split_at_mut(columns / PANEL * panel_bytes);
        let bad = Mutex::new(None);
        let job = |panel: usize| PanelJob { isa, precision, first: panel * PANEL, n, k, source, bad: &bad };
        if k == 0 {
            return Ok(Self { precision, n, k, storage: Storage::Owned(bytes) });
        }
        if precision == Precision::Int8 {
            let (scales, sums) = extras.split_at_mut(columns * 4);
            panels
                .par_chunks_mut(panel_bytes)
                .zip(scales.par_chunks_mut(PANEL * 4).zip(sums.par_chunks_mut(PANEL * 4)))
                .enumerate()
                .for_each(|(panel, (out, (scales, sums)))| job(panel).pack_int8(out, scales, sums));
        } else {
            panels
                .par_chunks_mut(panel_bytes)
                .enumerate()
                .for_each(|(panel, out)| job(panel).pack_float(out));
        }
        match bad.into_inner().unwrap_or(None) {
            Some(bad) => Err(bad),
            None => Ok(Self { precision, n, k, storage: Storage::Owned(bytes) }),
        }
    }

    /// A packed weight that already lies in a mapped file at `offset`; `None` when it does not fit there or is
    /// not on a cache line.
    #[must_use]
    pub fn mapped(
        precision: Precision,
        (n, k): (usize, usize),
        map: &Arc<Mmap>,
        offset: usize,
    ) -> Option<Self> {
        let range = offset..offset.checked_add(precision.packed_bytes(n, k))?;
        let bytes = map.get(range.clone())?;
        (bytes.as_ptr() as usize).is_multiple_of(64).then_some(())?;
        Some(Self { precision, n, k, storage: Storage::Mapped(Arc::clone(map), range) })
    }

    /// Element type.
    #[must_use]
    pub fn precision(&self) -> Precision {
        self.precision
    }

    /// Output columns.
    #[must_use]
    pub fn n(&self) -> usize {
        self.n
    }

    /// Length of the sums.
    #[must_use]
    pub fn k(&self) -> usize {
        self.k
    }

    /// Panels of [`PANEL`] columns.
    #[must_use]
    pub fn panels(&self) -> usize {
        self.n.div_ceil(PANEL)
    }

    /// Groups of `k` in a panel.
    #[must_use]
    pub fn groups(&self) -> usize {
        self.k.div_ceil(self.precision.group())
    }

    /// Everything, as it is written to a file.
    #[must_use]
    pub fn bytes(&self) -> &[u8] {
        match &self.storage {
            Storage::Owned(bytes) => bytes,
            Storage::Mapped(map, range) => map.get(range.clone()).unwrap_or_default(),
        }
    }

    fn panels_len(&self) -> usize {
        self.panels() * PANEL * self.groups() * 4
    }

    /// The panels as numbers of the weight's type.
    pub(crate) fn values<T: super::buffers::Plain>(&self) -> &[T] {
        self.bytes().get(..self.panels_len()).and_then(cast_bytes).unwrap_or_default()
    }

    /// Scale and sum of every padded column (int8 only).
    pub(crate) fn column_scales(&self) -> (&[f32], &[i32]) {
        let extras = self.bytes().get(self.panels_len()..).unwrap_or_default();
        let (scales, sums) = extras.split_at(extras.len() / 2);
        (cast_bytes(scales).unwrap_or_default(), cast_bytes(sums).unwrap_or_default())
    }
}

struct PanelJob<'a, S> {
    isa: Isa,
    precision: Precision,
    first: usize,
    n: usize,
    k: usize,
    source: &'a S,
    bad: &'a Mutex<Option<NotFinite>>,
}

impl<S: ColumnSource> PanelJob<'_, S> {
    fn live(&self) -> usize {
        (self.n - self.first).min(PANEL)
    }

    /// Reads one chunk of `k` of every column into `tile`, zeros where there is nothing.
    fn read(&self, start: usize, tile: &mut [[f32; CHUNK]; PANEL]) {
        let len = (self.k - start).min(CHUNK);
        for (lane, row) in tile.iter_mut().enumerate() {
            if lane >= self.live() {
                row.fill(0.0);
                continue;
            }
            let (body, padding) = row.split_at_mut(len);
            self.source.read(self.first + lane, start, body);
            padding.fill(0.0);
            if !all_finite(self.isa, body) {
                let index = body.iter().position(|value| !value.is_finite()).unwrap_or(0);
                let found = NotFinite { column: self.first + lane, index: start + index, value: body[index] };
                if let Ok(mut slot) = self.bad.lock() {
                    slot.get_or_insert(found);
                }
            }
        }
    }

    fn pack_float(&self, out: &mut [u8]) {
        let mut tile = [[0.0f32; CHUNK]; PANEL];
        for (start, out) in
            (0..self.k).step_by(CHUNK).zip(out.chunks_mut(PANEL * CHUNK * self.precision.size()))
        {
            self.read(start, &mut tile);
            match self.precision {
                Precision::Bf16 => interleave_bf16(self.isa, &tile, out),
                _ => interleave_f32(self.isa, &tile, out),
            }
        }
    }

    fn pack_int8(&self, out: &mut [u8], scales: &mut [u8], sums: &mut [u8]) {
        let mut tile = [[0.0f32; CHUNK]; PANEL];
        let mut largest = [0.0f32; PANEL];
        for start in (0..self.k).step_by(CHUNK) {
            self.read(start, &mut tile);
            for (largest, row) in largest.iter_mut().zip(&tile) {
                *largest = largest.max(max_abs(row));
            }
        }
        let steps = largest.map(|value| value.max(f32::MIN_POSITIVE * 256.0) / 127.0);
        let mut totals = [0i32; PANEL];
        for (start, out) in (0..self.k).step_by(CHUNK).zip(out.chunks_mut(PANEL * CHUNK)) {
            self.read(start, &mut tile);
            interleave_int8(self.isa, &tile, &steps, &mut totals, out);
        }
        scales.copy_from_slice(as_bytes(&steps));
        sums.copy_from_slice(as_bytes(&totals));
    }
}

#[inline(always)]
fn all_finite_body<const FMA: bool>(values: &[f32]) -> bool {
    let mut worst = 0u32;
    for value in values {
        worst = worst.max(value.to_bits() & 0x7fff_ffff);
    }
    worst < 0x7f80_0000
}

#[inline(always)]
fn interleave_f32_body<const FMA: bool>(tile: &[[f32; CHUNK]; PANEL], out: &mut [u8]) {
    for (k, line) in out.chunks_exact_mut(PANEL * 4).enumerate() {
        for (raw, row) in line.chunks_exact_mut(4).zip(tile) {
            raw.copy_from_slice(&row[k % CHUNK].to_ne_bytes());
        }
    }
}

#[inline(always)]
fn interleave_bf16_body<const FMA: bool>(tile: &[[f32; CHUNK]; PANEL], out: &mut [u8]) {
    let mut pairs = [[0u32; CHUNK / 2]; PANEL];
    for (pairs, row) in pairs.iter_mut().zip(tile) {
        for (pair, values) in pairs.iter_mut().zip(row.chunks_exact(2)) {
            *pair = u32::from(bf16_bits(values[0])) | u32::from(bf16_bits(values[1])) << 16;
        }
    }
    for (group, line) in out.chunks_exact_mut(PANEL * 4).enumerate() {
        for (raw, row) in line.chunks_exact_mut(4).zip(&pairs) {
            raw.copy_from_slice(&row[group % (CHUNK / 2)].to_le_bytes());
        }
    }
}

#[inline(always)]
fn interleave_int8_body<const FMA: bool>(
    tile: &[[f32; CHUNK]; PANEL],
    steps: &[f32; PANEL],
    totals: &mut [i32; PANEL],
    out: &mut [u8],
) {
    let mut codes = [[0i8; CHUNK]; PANEL];
    for (((codes, row), step), total) in codes.iter_mut().zip(tile).zip(steps).zip(totals) {
        let inverse = 1.0 / step;
        for (code, value) in codes.iter_mut().zip(row) {
            const ROUND: f32 = 12_582_912.0;
            let scaled = value * inverse;
            let scaled = if scaled > 127.0 { 127.0 } else { scaled };
            let scaled = if scaled < -127.0 { -127.0 } else { scaled };
            let whole = (scaled + ROUND).to_bits().wrapping_sub(ROUND.to_bits()) as i32;
            *code = whole as i8;
            *total += whole;
        }
    }
    for (group, line) in out.chunks_exact_mut(PANEL * 4).enumerate() {
        for (raw, row) in line.chunks_exact_mut(4).zip(&codes) {
            let start = group % (CHUNK / 4) * 4;
            for (byte, code) in raw.iter_mut().zip(&row[start..start + 4]) {
                *byte = *code as u8;
            }
        }
    }
}

simd! {
    fn all_finite(values: &[f32]) -> bool => all_finite_body
}
simd! {
    fn interleave_f32(tile: &[[f32; CHUNK]; PANEL], out: &mut [u8]) => interleave_f32_body
}
simd! {
    fn interleave_bf16(tile: &[[f32; CHUNK]; PANEL], out: &mut [u8]) => interleave_bf16_body
}
simd! {
    fn interleave_int8(
        tile: &[[f32; CHUNK]; PANEL],
        steps: &[f32; PANEL],
        totals: &mut [i32; PANEL],
        out: &mut [u8],
    ) => interleave_int8_body
}

#[cfg(test)]
mod tests {
    use super::*;

    fn weight(column: usize, index: usize) -> f32 {
        ((column * 31 + index * 7) % 61) as f32 / 8.0 - 3.5
    }

    fn source(column: usize, start: usize, out: &mut [f32]) {
        for (i, value) in out.iter_mut().enumerate() {
            *value = weight(column, start + i);
        }
    }

    #[test]
    fn every_weight_lies_where_the_kernel_looks_for_it() {
        let isa = Isa::detect();
        for (n, k) in [(1, 1), (33, 70), (64, 129), (7, 64)] {
            let packed = Packed::pack(isa, Precision::F32, (n, k), &source).unwrap();
            let values = packed.values::<f32>();
            let half = Packed::pack(isa, Precision::Bf16, (n, k), &source).unwrap();
            let halves = half.values::<u16>();
            for column in 0..n.next_multiple_of(PANEL) {
                let (panel, lane) = (column / PANEL, column % PANEL);
                for index in 0..k {
                    let expected = if column < n { weight(column, index) } else { 0.0 };
                    assert_eq!(values[(panel * k + index) * PANEL + lane], expected);
                    let at = ((panel * k.div_ceil(2) + index / 2) * PANEL + lane) * 2 + index % 2;
                    assert_eq!(half::bf16::from_bits(halves[at]).to_f32(), expected);
                }
            }
        }
    }

    #[test]
    fn int8_columns_keep_their_sum_and_their_scale() {
        let packed = Packed::pack(Isa::detect(), Precision::Int8, (35, 67), &source).unwrap();
        let (scales, sums) = packed.column_scales();
        let codes = packed.values::<i8>();
        for column in 0..35 {
            let (panel, lane) = (column / PANEL, column % PANEL);
            let mut total = 0;
            for index in 0..67 {
                let code = codes[((panel * 17 + index / 4) * PANEL + lane) * 4 + index % 4];
                total += i32::from(code);
                assert!(
                    (f32::from(code) * scales[column] - weight(column, index)).abs() <= scales[column] * 0.51
                );
            }
            assert_eq!(total, sums[column]);
        }
    }

    #[test]
    fn a_weight_that_is_not_finite_is_found() {
        let bad = |column: usize, start: usize, out: &mut [f32]| {
            source(column, start, out);
            if column == 40 && (start..start + out.len()).contains(&77) {
                out[77 - start] = f32::NAN;
            }
        };
        for precision in [Precision::F32, Precision::Bf16, Precision::Int8] {
            let found = Packed::pack(Isa::detect(), precision, (50, 100), &bad).err().unwrap();
            assert_eq!((found.column, found.index), (40, 77));
            assert!(found.value.is_nan());
        }
    }
}

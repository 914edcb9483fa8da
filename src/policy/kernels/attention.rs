//! Attention in blocks: scores, softmax and the weighted sum of one head and 48 queries at a time, so that a
//! score never leaves the second-level cache.
//!
//! Keys and values are stored as packed panels, the right side of the two products: keys as panels of 32
//! positions, values as panels of 32 components. They are written once and can be kept for a later request
//! that starts with the same tokens. What a query computes does not depend on the other queries of its block.

use std::cell::RefCell;
use std::ops::Range;

use rayon::prelude::*;

use super::activation::exp;
use super::buffers::{Aligned, Matrix, Plain};
use super::epilogue::{SharedSink, Sink, TileRow};
use super::gemm::{Dot, Tile};
use super::isa::simd;
use super::operand::with_row;
use super::pack::Precision;
use super::quantise::to_bf16;
use super::rope::{RopeTable, rotate};
use super::tile_bf16::Bf16Dot;
use super::tile_f32::F32Dot;
use super::{Isa, KernelError, PANEL, TILE_ROWS, expect_eq, expect_le};

/// Queries of one block.
const BLOCK: usize = 4 * TILE_ROWS;

/// Heads of one attention layer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Heads {
    /// Query heads.
    pub queries: usize,
    /// Key and value heads; divides `queries`.
    pub keys: usize,
    /// Components of one head.
    pub dim: usize,
}

impl Heads {
    /// Columns of one row of merged projections: queries, then keys, then values.
    #[must_use]
    pub fn merged_cols(&self) -> usize {
        (self.queries + 2 * self.keys) * self.dim
    }
}

/// Keys and values of one layer.
pub struct KeyValues {
    heads: Heads,
    capacity: usize,
    panels: Panels,
}

enum Panels {
    F32(Store<f32>),
    Bf16(Store<u16>),
}

#[derive(Default)]
struct Store<E: Plain> {
    /// `[head][position / 32][component group][32 positions][group]`.
    keys: Aligned<E>,
    /// `[head][component / 32][position group][32 components][group]`.
    values: Aligned<E>,
}

impl KeyValues {
    /// Room for `positions` positions; `precision` is f32 or bf16 (int8 networks attend in bf16).
    #[must_use]
    pub fn new(precision: Precision, heads: Heads, positions: usize) -> Self {
        let panels = match precision {
            Precision::F32 => Panels::F32(Store::default()),
            Precision::Bf16 | Precision::Int8 => Panels::Bf16(Store::default()),
        };
        let mut layer = Self { heads, capacity: 0, panels };
        layer.reserve(positions);
        layer
    }

    /// Makes room for `positions` positions. When that needs more room than there is, what was written is
    /// lost.
    pub fn reserve(&mut self, positions: usize) {
        if positions <= self.capacity {
            return;
        }
        self.capacity = positions.next_multiple_of(PANEL);
        match &mut self.panels {
            Panels::F32(store) => store.resize::<F32Dot>(self.heads, self.capacity),
            Panels::Bf16(store) => store.resize::<Bf16Dot>(self.heads, self.capacity),
        }
    }

    /// Positions there is room for.
    #[must_use]
    pub fn capacity(&self) -> usize {
        self.capacity
    }

    /// Bytes held.
    #[must_use]
    pub fn bytes(&self) -> usize {
        match &self.panels {
            Panels::F32(store) => store.keys.capacity_bytes() + store.values.capacity_bytes(),
            Panels::Bf16(store) => store.keys.capacity_bytes() + store.values.capacity_bytes(),
        }
    }

    /// Writes the keys and values of merged projection rows `rows` at positions from `first` on, keys turned by
    /// `rope` when there is one.
    ///
    /// # Errors
    /// [`KernelError::Shape`] when the rows or the positions do not fit.
    pub fn write(
        &mut self,
        isa: Isa,
        merged: &Matrix<f32>,
        rows: Range<usize>,
        first: usize,
        rope: Option<&RopeTable>,
    ) -> Result<(), KernelError> {
        const NAME: &str = "attention keys and values";
        expect_eq(NAME, "merged columns", merged.cols(), self.heads.merged_cols())?;
        expect_le(NAME, "last row", rows.end, merged.rows())?;
        expect_le(NAME, "last position", first + rows.len(), self.capacity)?;
        if let Some(rope) = rope {
            expect_le(NAME, "last rotary position", first + rows.len(), rope.positions())?;
        }
        let job = Write { isa, merged, rows, first, rope, heads: self.heads, capacity: self.capacity };
        match &mut self.panels {
            Panels::F32(store) => job.run::<F32Dot>(store),
            Panels::Bf16(store) => job.run::<Bf16Dot>(store),
        }
        Ok(())
    }

    /// Attends from merged projection rows `rows`, the first of which is position `first`, over the positions
    /// written. `causal`: position p sees 0..=p; otherwise each sees 0..`len`. Row i of the result goes to row
    /// i of `sink`, whose columns are the query heads side by side.
    ///
    /// # Errors
    /// [`KernelError::Shape`] when sizes do not fit.
    pub fn attend(&self, isa: Isa, query: &Query<'_>, mut sink: Sink<'_>) -> Result<(), KernelError> {
        const NAME: &str = "attention";
        let heads = self.heads;
        expect_eq(NAME, "merged columns", query.merged.cols(), heads.merged_cols())?;
        expect_le(NAME, "last row", query.rows.end, query.merged.rows())?;
        expect_le(NAME, "positions", query.len, self.capacity)?;
        if query.causal {
            expect_le(NAME, "last query position", query.first + query.rows.len(), query.len)?;
        }
        if let Some(rope) = query.rope {
            expect_le(NAME, "last rotary position", query.first + query.rows.len(), rope.positions())?;
        }
        let (rows, cols) = sink.shape();
        expect_eq(NAME, "sink columns", cols, heads.queries * heads.dim)?;
        expect_le(NAME, "rows written", query.rows.len(), rows)?;
        let out = SharedSink::new(&mut sink);
        match &self.panels {
            Panels::F32(store) => self.blocks::<F32Dot>(isa, query, store, out),
            Panels::Bf16(store) => self.blocks::<Bf16Dot>(isa, query, store, out),
        }
        Ok(())
    }

    fn blocks<D: AttentionDot>(&self, isa: Isa, query: &Query<'_>, store: &Store<D::Row>, out: SharedSink) {
        let blocks = query.rows.len().div_ceil(BLOCK);
        let task = |index: usize| {
            let (head, block) = (index / blocks, index % blocks);
            let first = block * BLOCK;
            let job = BlockJob::<D> {
                isa,
                heads: self.heads,
                query,
                store,
                capacity: self.capacity,
                out,
                head,
                rows: first..(first + BLOCK).min(query.rows.len()),
            };
            D::with_scratch(|scratch| job.run(scratch));
        };
        (0..self.heads.queries * blocks).into_par_iter().for_each(task);
    }
}

/// Who asks, and what it may see.
#[derive(Clone)]
pub struct Query<'a> {
    /// Merged projection rows; the first `queries * dim` columns are read.
    pub merged: &'a Matrix<f32>,
    /// Rows that ask.
    pub rows: Range<usize>,
    /// Position of the first of them.
    pub first: usize,
    /// Positions that have been written.
    pub len: usize,
    /// Whether a position sees only itself and what is before it.
    pub causal: bool,
    /// Rotary angles of the queries.
    pub rope: Option<&'a RopeTable>,
}

/// A tile kernel whose rows and panels are of one type, and the conversion to it.
trait AttentionDot: Dot<Row = <Self as Dot>::Col> {
    fn convert(isa: Isa, values: &[f32], out: &mut [Self::Row]);
    fn with_scratch<R>(work: impl FnOnce(&mut Scratch<Self::Row>) -> R) -> R;
}

#[derive(Default)]
struct Scratch<E: Plain> {
    queries: Matrix<E>,
    scores: Matrix<f32>,
    weights: Matrix<E>,
}

thread_local! {
    static F32_SCRATCH: RefCell<Scratch<f32>> = RefCell::new(Scratch::default());
    static BF16_SCRATCH: RefCell<Scratch<u16>> = RefCell::new(Scratch::default());
}

impl AttentionDot for F32Dot {
    fn convert(_: Isa, values: &[f32], out: &mut [f32]) {
        for (o, v) in out.iter_mut().zip(values) {
            *o = *v;
        }
    }

    fn with_scratch<R>(work: impl FnOnce(&mut Scratch<f32>) -> R) -> R {
        F32_SCRATCH.with_borrow_mut(work)
    }
}

impl AttentionDot for Bf16Dot {
    fn convert(isa: Isa, values: &[f32], out: &mut [u16]) {
        to_bf16(isa, values, out);
    }

    fn with_scratch<R>(work: impl FnOnce(&mut Scratch<u16>) -> R) -> R {
        BF16_SCRATCH.with_borrow_mut(work)
    }
}

impl<E: Plain> Store<E> {
    fn resize<D: Dot>(&mut self, heads: Heads, capacity: usize) {
        self.keys.resize(heads.keys * key_len::<D>(heads, capacity));
        self.values.resize(heads.keys * value_len(heads, capacity));
        self.keys.fill(E::default());
        self.values.fill(E::default());
    }
}

/// Elements of one head's keys.
fn key_len<D: Dot>(heads: Heads, capacity: usize) -> usize {
    capacity * heads.dim.next_multiple_of(D::GROUP)
}

/// Elements of one head's values.
fn value_len(heads: Heads, capacity: usize) -> usize {
    capacity * heads.dim.next_multiple_of(PANEL)
}

struct Write<'a> {
    isa: Isa,
    merged: &'a Matrix<f32>,
    rows: Range<usize>,
    first: usize,
    rope: Option<&'a RopeTable>,
    heads: Heads,
    capacity: usize,
}

impl Write<'_> {
    fn run<D: AttentionDot>(&self, store: &mut Store<D::Row>) {
        let keys = store.keys.par_chunks_mut(key_len::<D>(self.heads, self.capacity).max(1));
        let values = store.values.par_chunks_mut(value_len(self.heads, self.capacity).max(1));
        keys.zip(values).enumerate().for_each(|(head, (keys, values))| self.head::<D>(head, keys, values));
    }

    fn head<D: AttentionDot>(&self, head: usize, keys: &mut [D::Row], values: &mut [D::Row]) {
        let Heads { queries, keys: key_heads, dim } = self.heads;
        let key_col = (queries + head) * dim;
        let value_col = (queries + key_heads + head) * dim;
        let groups = dim.div_ceil(D::GROUP);
        let mut converted = [D::Row::default(); 256];
        for (offset, row) in self.rows.clone().enumerate() {
            let position = self.first + offset;
            let merged = self.merged.row(row);
            with_row(dim, |turned| {
                let key = &merged[key_col..key_col + dim];
                match self.rope {
                    Some(rope) => {
                        let (cos, sin) = rope.at(position);
                        rotate(self.isa, key, cos, sin, turned);
                    }
                    None => turned.copy_from_slice(key),
                }
                let panel = &mut keys[position / PANEL * PANEL * groups * D::GROUP..];
                let lane = position % PANEL * D::GROUP;
                for (start, part) in (0..).step_by(256).zip(turned.chunks(256)) {
                    D::convert(self.isa, part, &mut converted[..part.len()]);
                    for (index, group) in converted[..part.len()].chunks(D::GROUP).enumerate() {
                        let at = (start / D::GROUP + index) * PANEL * D::GROUP + lane;
                        panel[at..at + group.len()].copy_from_slice(group);
                    }
                }
            });
            let (group, lane) = (position / D::GROUP, position % D::GROUP);
            let value = &merged[value_col..value_col + dim];
            for (panel, part) in value.chunks(PANEL).enumerate() {
                D::convert(self.isa, part, &mut converted[..part.len()]);
                let line = &mut values[panel * PANEL * self.capacity + group * PANEL * D::GROUP..];
                for (slot, element) in line.chunks_exact_mut(D::GROUP).zip(&converted[..part.len()]) {
                    slot[lane] = *element;
                    // The rest of the group is multiplied with weights of zero, so it must be finite.
                    slot[lane + 1..].fill(D::Row::default());
                }
            }
        }
    }
}

struct BlockJob<'a, D: AttentionDot> {
    isa: Isa,
    heads: Heads,
    query: &'a Query<'a>,
    store: &'a Store<D::Row>,
    capacity: usize,
    out: SharedSink,
    head: usize,
    rows: Range<usize>,
}

impl<D: AttentionDot> BlockJob<'_, D> {
    /// Positions that row `row` (of the query's rows) sees.
    fn visible(&self, row: usize) -> usize {
        if self.query.causal { self.query.first + row + 1 } else { self.query.len }
    }

    fn run(&self, scratch: &mut Scratch<D::Row>) {
        let dim = self.heads.dim;
        let count = self.rows.len();
        let widest = self.visible(self.rows.end - 1);
        let Scratch { queries, scores, weights } = scratch;
        queries.reshape(count, dim.next_multiple_of(D::GROUP));
        scores.reshape(count, widest.next_multiple_of(PANEL));
        weights.reshape(count, widest.next_multiple_of(PANEL));
        for index in 0..count {
            self.load_query(index, queries.row_mut(index));
        }
        let key_head = self.head / (self.heads.queries / self.heads.keys);
        let key_len = key_len::<D>(self.heads, self.capacity);
        let keys = &self.store.keys[key_head * key_len..(key_head + 1) * key_len];
        let value_len = value_len(self.heads, self.capacity);
        let values = &self.store.values[key_head * value_len..(key_head + 1) * value_len];
        let mut inverse = [0.0f32; BLOCK];
        for first in (0..count).step_by(TILE_ROWS) {
            let tile = first..(first + TILE_ROWS).min(count);
            let seen = self.visible(self.rows.start + tile.end - 1);
            self.score(tile.clone(), seen, queries, keys, scores);
            for index in tile.clone() {
                let own = self.visible(self.rows.start + index);
                let (row, padding) = scores.row_mut(index)[..seen.next_multiple_of(PANEL)].split_at_mut(own);
                let scale = 1.0 / (dim as f32).sqrt();
                inverse[index] = 1.0 / softmax_numerators(self.isa, row, scale);
                padding.fill(0.0);
                let len = seen.next_multiple_of(PANEL);
                D::convert(self.isa, &scores.row(index)[..len], &mut weights.row_mut(index)[..len]);
            }
            self.weigh(tile, seen, weights, values, &inverse);
        }
    }

    fn load_query(&self, index: usize, out: &mut [D::Row]) {
        let dim = self.heads.dim;
        let row = self.rows.start + index;
        let source =
            &self.query.merged.row(self.query.rows.start + row)[self.head * dim..(self.head + 1) * dim];
        let (body, padding) = out.split_at_mut(dim);
        padding.fill(D::Row::default());
        match self.query.rope {
            None => D::convert(self.isa, source, body),
            Some(rope) => with_row(dim, |turned| {
                let (cos, sin) = rope.at(self.query.first + row);
                rotate(self.isa, source, cos, sin, turned);
                D::convert(self.isa, turned, body);
            }),
        }
    }

    /// Scores of a tile of queries with the first `seen` positions.
    fn score(
        &self,
        tile: Range<usize>,
        seen: usize,
        queries: &Matrix<D::Row>,
        keys: &[D::Row],
        out: &mut Matrix<f32>,
    ) {
        let groups = self.heads.dim.div_ceil(D::GROUP);
        let (lda, ldc) = (queries.stride(), out.stride());
        let a = &queries.padded()[tile.start * lda..];
        let c = &mut out.padded_mut()[tile.start * ldc..];
        for (panel, b) in keys.chunks_exact(groups * D::GROUP * PANEL).take(seen.div_ceil(PANEL)).enumerate()
        {
            let c = &mut c[panel * PANEL..panel * PANEL + (tile.len() - 1) * ldc + PANEL];
            let a = &a[..(tile.len() - 1) * lda + groups * D::GROUP];
            // SAFETY: `a`, `b` and `c` are slices of the lengths `tile` asks for.
            unsafe {
                D::tile(
                    self.isa,
                    Tile {
                        rows: tile.len(),
                        half: false,
                        a: a.as_ptr(),
                        lda,
                        b: b.as_ptr(),
                        groups,
                        c: c.as_mut_ptr(),
                        ldc,
                        accumulate: false,
                    },
                );
            }
        }
    }

    /// Weighted sums of the values, divided by the sum of the weights, to the sink.
    fn weigh(
        &self,
        tile: Range<usize>,
        seen: usize,
        weights: &Matrix<D::Row>,
        values: &[D::Row],
        inverse: &[f32; BLOCK],
    ) {
        let dim = self.heads.dim;
        let groups = seen.div_ceil(D::GROUP);
        let lda = weights.stride();
        let a = &weights.padded()[tile.start * lda..];
        let a = &a[..(tile.len() - 1) * lda + groups * D::GROUP];
        let mut sums = [[0.0f32; PANEL]; TILE_ROWS];
        for (panel, b) in values.chunks_exact(PANEL * self.capacity).enumerate() {
            let width = (dim - panel * PANEL).min(PANEL);
            let b = &b[..groups * D::GROUP * PANEL];
            // SAFETY: `a` and `b` are slices of the lengths `tile` asks for, `sums` has 12 rows of 32.
            unsafe {
                D::tile(
                    self.isa,
                    Tile {
                        rows: tile.len(),
                        half: width <= PANEL / 2,
                        a: a.as_ptr(),
                        lda,
                        b: b.as_ptr(),
                        groups,
                        c: sums.as_mut_ptr().cast(),
                        ldc: PANEL,
                        accumulate: false,
                    },
                );
            }
            scale_rows(self.isa, &mut sums, &inverse[tile.clone()]);
            for (row, index) in sums.iter().zip(tile.clone()) {
                // SAFETY: `attend` holds the sink's borrow until all tasks are done; tasks differ in head or
                // rows, and no more than this head's columns are passed.
                unsafe {
                    self.out.store(
                        self.isa,
                        self.rows.start + index,
                        self.head * dim + panel * PANEL,
                        &row[..width],
                    );
                }
            }
        }
    }
}

#[inline(always)]
fn scale_rows_body<const FMA: bool>(rows: &mut [TileRow], factors: &[f32]) {
    for (row, factor) in rows.iter_mut().zip(factors) {
        for value in row.iter_mut() {
            *value *= factor;
        }
    }
}

simd! {
    fn scale_rows(rows: &mut [TileRow], factors: &[f32]) => scale_rows_body
}

#[inline(always)]
fn softmax_body<const FMA: bool>(row: &mut [f32], scale: f32) -> f32 {
    let mut lanes = [f32::NEG_INFINITY; 16];
    let (chunks, tail) = row.as_chunks::<16>();
    for chunk in chunks {
        for (lane, value) in lanes.iter_mut().zip(chunk) {
            *lane = if *value > *lane { *value } else { *lane };
        }
    }
    let mut largest = f32::NEG_INFINITY;
    for value in lanes.iter().chain(tail) {
        largest = if *value > largest { *value } else { largest };
    }
    let shift = -largest * scale;
    let mut sums = [0.0f32; 16];
    let (chunks, tail) = row.as_chunks_mut::<16>();
    for chunk in chunks {
        for (sum, value) in sums.iter_mut().zip(chunk) {
            *value = exp::<FMA>(super::isa::fma::<FMA>(*value, scale, shift));
            *sum += *value;
        }
    }
    for (sum, value) in sums.iter_mut().zip(tail) {
        *value = exp::<FMA>(super::isa::fma::<FMA>(*value, scale, shift));
        *sum += *value;
    }
    sums.iter().sum()
}

simd! {
    /// `e^(scale (x - max))` in place; returns their sum, at least 1 unless the row is empty.
    pub fn softmax_numerators(row: &mut [f32], scale: f32) -> f32 => softmax_body
}

#[cfg(test)]
mod tests {
    use super::super::isa::tests::all;
    use super::super::quantise::bf16_value;
    use super::*;
    use proptest::prelude::*;

    fn merged(rows: usize, heads: Heads, seed: usize) -> Matrix<f32> {
        let mut matrix = Matrix::zeroed(rows, heads.merged_cols());
        for row in 0..rows {
            for (col, value) in matrix.row_mut(row).iter_mut().enumerate() {
                *value = (((row * 131 + col * 17 + seed) * 2_654_435_761) % 1999) as f32 / 700.0 - 1.4;
            }
        }
        matrix
    }

    fn turned(head: &[f32], position: usize, theta: f64) -> Vec<f64> {
        let half = head.len() / 2;
        let mut out: Vec<f64> = head.iter().map(|v| f64::from(*v)).collect();
        for i in 0..half {
            let angle = position as f64 * theta.powf(-(i as f64) / half as f64);
            let (x, y) = (f64::from(head[i]), f64::from(head[i + half]));
            (out[i], out[i + half]) = (x * angle.cos() - y * angle.sin(), y * angle.cos() + x * angle.sin());
        }
        out
    }

    fn exact(
        merged: &Matrix<f32>,
        heads: Heads,
        row: usize,
        head: usize,
        causal: bool,
        rope: bool,
    ) -> Vec<f64> {
        let dim = heads.dim;
        let key_head = head / (heads.queries / heads.keys);
        let part = |row: usize, head: usize| &merged.row(row)[head * dim..(head + 1) * dim];
        let turn = |values: &[f32], row: usize| {
            if rope { turned(values, row, 100.0) } else { values.iter().map(|v| f64::from(*v)).collect() }
        };
        let query = turn(part(row, head), row);
        let seen = if causal { row + 1 } else { merged.rows() };
        let scores: Vec<f64> = (0..seen)
            .map(|other| {
                let key = turn(part(other, heads.queries + key_head), other);
                query.iter().zip(key).map(|(a, b)| a * b).sum::<f64>() / (dim as f64).sqrt()
            })
            .collect();
        let largest = scores.iter().copied().fold(f64::MIN, f64::max);
        let weights: Vec<f64> = scores.iter().map(|s| (s - largest).exp()).collect();
        let total: f64 = weights.iter().sum();
        let mut out = vec![0.0; dim];
        for (other, weight) in weights.iter().enumerate() {
            for (o, v) in out.iter_mut().zip(part(other, heads.queries + heads.keys + key_head)) {
                *o += weight / total * f64::from(*v);
            }
        }
        out
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(24))]
        #[test]
        fn attention_of_any_shape_agrees_with_double_precision(
            rows in 1usize..110, keys in 1usize..4, share in 1usize..4, half in 1usize..25,
            causal in any::<bool>(), rope in any::<bool>(), seed in 0usize..1000,
        ) {
            let heads = Heads { queries: keys * share, keys, dim: 2 * half };
            let merged = merged(rows, heads, seed);
            let table = RopeTable::new(rows, heads.dim, 100.0);
            let table = rope.then_some(&table);
            for isa in all() {
                for (precision, bound) in [(Precision::F32, 2e-5), (Precision::Bf16, 6e-2)] {
                    let mut layer = KeyValues::new(precision, heads, rows);
                    layer.write(isa, &merged, 0..rows, 0, table).unwrap();
                    let query = Query { merged: &merged, rows: 0..rows, first: 0, len: rows, causal, rope: table };
                    let mut out = Matrix::zeroed(rows, heads.queries * heads.dim);
                    layer.attend(isa, &query, Sink::F32(&mut out)).unwrap();
                    for row in [0, rows / 2, rows - 1] {
                        for head in 0..heads.queries {
                            let exact = exact(&merged, heads, row, head, causal, rope);
                            let got = &out.row(row)[head * heads.dim..(head + 1) * heads.dim];
                            for (g, e) in got.iter().zip(&exact) {
                                prop_assert!((f64::from(*g) - e).abs() < bound, "{isa} {precision:?} {g} {e}");
                            }
                        }
                    }
                }
            }
        }
    }

    #[test]
    fn a_kept_prefix_and_a_single_query_give_the_same_bits_as_the_whole() {
        let heads = Heads { queries: 4, keys: 2, dim: 12 };
        let merged = merged(101, heads, 3);
        let table = RopeTable::new(101, 12, 100.0);
        for isa in all() {
            for precision in [Precision::F32, Precision::Bf16] {
                let query = Query {
                    merged: &merged,
                    rows: 0..101,
                    first: 0,
                    len: 101,
                    causal: true,
                    rope: Some(&table),
                };
                let mut whole = Matrix::zeroed(101, 48);
                let mut layer = KeyValues::new(precision, heads, 120);
                layer.write(isa, &merged, 0..101, 0, Some(&table)).unwrap();
                layer.attend(isa, &query, Sink::F32(&mut whole)).unwrap();

                let mut part = Matrix::zeroed(34, 48);
                layer.write(isa, &merged, 3..7, 67, Some(&table)).unwrap();
                layer.write(isa, &merged, 67..101, 67, Some(&table)).unwrap();
                let late = Query { rows: 67..101, first: 67, ..query.clone() };
                layer.attend(isa, &late, Sink::F32(&mut part)).unwrap();
                for row in 0..34 {
                    assert_eq!(part.row(row), whole.row(67 + row), "{isa} {precision:?} row {row}");
                }
                let mut last = Matrix::<u16>::zeroed(1, 48);
                let only = Query { rows: 100..101, first: 100, ..query };
                layer.attend(isa, &only, Sink::Bf16(&mut last)).unwrap();
                for (bits, value) in last.row(0).iter().zip(whole.row(100)) {
                    assert!((bf16_value(*bits) - value).abs() <= value.abs() / 128.0);
                }
            }
        }
    }

    #[test]
    fn sizes_that_do_not_fit_are_errors() {
        let heads = Heads { queries: 2, keys: 1, dim: 4 };
        let rows = merged(5, heads, 1);
        let mut layer = KeyValues::new(Precision::F32, heads, 4);
        assert_eq!(layer.capacity(), 32);
        assert!(layer.write(Isa::portable(), &rows, 0..5, 30, None).is_err());
        let query = Query { merged: &rows, rows: 0..5, first: 0, len: 5, causal: true, rope: None };
        let mut narrow = Matrix::zeroed(5, 7);
        assert!(layer.attend(Isa::portable(), &query, Sink::F32(&mut narrow)).is_err());
    }
}

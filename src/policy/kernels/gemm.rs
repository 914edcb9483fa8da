//! C[m, n] = A[m, k] W[n, k]^T over packed weights, with what follows fused onto each tile.
//!
//! Loop order: a task owns up to 384 rows and a few panels. For each block of `k` it goes panel by panel and,
//! within one, down the rows, so the 32 KiB of weights in flight stay in the first-level cache, the rows'
//! block (384 x 1 KiB) in the second, and each weight is read from memory once a task. The order of the sums
//! of one output depends on `k` alone: not on the other rows, the threads or the rows' place in a batch.

use std::cell::RefCell;
use std::ops::Range;

use rayon::prelude::*;

use super::buffers::{Aligned, Plain};
use super::epilogue::{Activation, SharedSink, Sink, TileRow, dequantise, finish};
use super::operand::Operand;
use super::pack::{Packed, Precision};
use super::tile_bf16::Bf16Dot;
use super::tile_f32::F32Dot;
use super::tile_i8::I8Dot;
use super::{Isa, KernelError, PANEL, TILE_ROWS, expect_eq, expect_le};

/// Rows one task holds in the second-level cache.
const MAX_ROWS: usize = 384;
/// Panels of one task at most.
const MAX_PANELS: usize = 4;

/// One micro-kernel family: how a tile of up to 12 x 32 sums is made.
pub(crate) trait Dot: 'static {
    /// Element of the rows.
    type Row: Plain;
    /// Element of the panels.
    type Col: Plain;
    /// Numbers of `k` one instruction sums.
    const GROUP: usize;
    /// Groups of one block of `k`: 32 KiB of a panel.
    const BLOCK: usize = 256;

    /// Sums `groups` groups of `rows` (at most 12) rows, `lda` elements apart, with a panel: to the `rows` rows
    /// of 32 numbers at `c`, `ldc` apart, overwriting or adding. `half`: only the first 16 columns.
    ///
    /// # Safety
    /// `a` is readable for `(rows - 1) * lda + groups * GROUP` elements, `b` for `groups * GROUP * 32`, `c`
    /// writable for `(rows - 1) * ldc + 32` numbers that nobody else uses meanwhile.
    unsafe fn tile(isa: Isa, args: Tile<Self::Row, Self::Col>);
}

/// Arguments of one micro-kernel call.
#[derive(Clone, Copy)]
pub(crate) struct Tile<R, C> {
    pub rows: usize,
    pub half: bool,
    pub a: *const R,
    pub lda: usize,
    pub b: *const C,
    pub groups: usize,
    pub c: *mut f32,
    pub ldc: usize,
    pub accumulate: bool,
}

/// A product about to be computed.
pub struct Product<'a> {
    /// The left side.
    pub a: &'a Operand,
    /// Which rows of it.
    pub rows: Range<usize>,
    /// The weight.
    pub weight: &'a Packed,
    /// Which panels of it; columns keep their place in the sink.
    pub panels: Range<usize>,
    /// One number a column, padded to whole panels.
    pub bias: Option<&'a [f32]>,
    /// What is done to sum + bias.
    pub activation: Activation,
    /// Row of the sink that the first row goes to.
    pub first_row: usize,
}

impl<'a> Product<'a> {
    /// All rows and columns, no bias, no activation.
    #[must_use]
    pub fn new(a: &'a Operand, weight: &'a Packed) -> Self {
        Self {
            a,
            rows: 0..a.rows(),
            weight,
            panels: 0..weight.panels(),
            bias: None,
            activation: Activation::Identity,
            first_row: 0,
        }
    }

    /// Computes it on the current rayon pool.
    ///
    /// # Errors
    /// [`KernelError`] when sizes or element types do not fit; nothing is written then.
    pub fn run(&self, isa: Isa, mut sink: Sink<'_>) -> Result<(), KernelError> {
        self.check(&sink)?;
        if self.rows.is_empty() || self.panels.is_empty() {
            return Ok(());
        }
        let out = SharedSink::new(&mut sink);
        match self.a {
            Operand::F32(rows) => self.blocks::<F32Dot>(isa, rows.padded(), rows.stride(), &[], out),
            Operand::Bf16(rows) => self.blocks::<Bf16Dot>(isa, rows.padded(), rows.stride(), &[], out),
            Operand::Int8 { codes, scales } => {
                self.blocks::<I8Dot>(isa, codes.padded(), codes.stride(), scales, out);
            }
        }
        Ok(())
    }

    fn check(&self, sink: &Sink<'_>) -> Result<(), KernelError> {
        const NAME: &str = "gemm";
        let (operand, weight) = (self.a.precision(), self.weight.precision());
        if operand != weight {
            return Err(KernelError::Precision { kernel: NAME, operand, weight });
        }
        expect_eq(NAME, "operand columns", self.a.cols(), self.weight.k())?;
        expect_le(NAME, "last row", self.rows.end, self.a.rows())?;
        expect_le(NAME, "last panel", self.panels.end, self.weight.panels())?;
        if let Some(bias) = self.bias {
            expect_eq(NAME, "padded bias length", bias.len(), self.weight.panels() * PANEL)?;
        }
        let (rows, cols) = sink.shape();
        expect_le(NAME, "rows written", self.first_row + self.rows.len(), rows)?;
        if self.activation == Activation::SiluMul {
            expect_eq(NAME, "sink columns in panels of 16", cols.div_ceil(PANEL / 2), self.weight.panels())
        } else {
            expect_eq(NAME, "sink columns", cols, self.weight.n())
        }
    }

    fn blocks<D: Dot>(&self, isa: Isa, a: &[D::Row], lda: usize, scales: &[f32], out: SharedSink) {
        let rows = self.rows.len();
        let row_tasks = rows.div_ceil(MAX_ROWS);
        let chunk = rows.div_ceil(row_tasks).next_multiple_of(TILE_ROWS);
        let panels = self.panels.len();
        let wanted = 4 * rayon::current_num_threads();
        let group = (panels * row_tasks / wanted.max(1)).clamp(1, MAX_PANELS);
        let tasks = row_tasks * panels.div_ceil(group);
        let task = |index: usize| {
            let (row_task, panel_task) = (index % row_tasks, index / row_tasks);
            let first = self.rows.start + row_task * chunk;
            let job = Job {
                a,
                lda,
                scales,
                out,
                rows: first..(first + chunk).min(self.rows.end),
                panels: self.panels.start + panel_task * group
                    ..(self.panels.start + (panel_task + 1) * group).min(self.panels.end),
            };
            self.job::<D>(isa, &job);
        };
        if tasks == 1 {
            task(0);
        } else {
            (0..tasks).into_par_iter().for_each(task);
        }
    }

    fn job<D: Dot>(&self, isa: Isa, job: &Job<'_, D>) {
        if job.rows.is_empty() {
            return;
        }
        let groups = self.weight.groups();
        let weight = self.weight.values::<D::Col>();
        let panel_len = groups * D::GROUP * PANEL;
        let rows = job.rows.len();
        with_scratch(job.panels.len() * rows * PANEL, |scratch| {
            let mut start = 0;
            loop {
                let end = (start + D::BLOCK).min(groups);
                for (slot, panel) in job.panels.clone().enumerate() {
                    let at = panel * panel_len + start * D::GROUP * PANEL;
                    let block = &weight[at..at + (end - start) * D::GROUP * PANEL];
                    for tile_row in (0..rows).step_by(TILE_ROWS) {
                        let count = (rows - tile_row).min(TILE_ROWS);
                        let first = job.rows.start + tile_row;
                        let from = first * job.lda + start * D::GROUP;
                        let a = &job.a[from..from + (count - 1) * job.lda + (end - start) * D::GROUP];
                        let to = (slot * rows + tile_row) * PANEL;
                        let c = &mut scratch[to..to + count * PANEL];
                        // SAFETY: `a`, `block` and `c` are slices of exactly the lengths `tile` asks for.
                        unsafe {
                            D::tile(
                                isa,
                                Tile {
                                    rows: count,
                                    half: false,
                                    a: a.as_ptr(),
                                    lda: job.lda,
                                    b: block.as_ptr(),
                                    groups: end - start,
                                    c: c.as_mut_ptr(),
                                    ldc: PANEL,
                                    accumulate: start > 0,
                                },
                            );
                        }
                        if end == groups {
                            self.finish(isa, job, panel, first, c);
                        }
                    }
                }
                if end == groups {
                    break;
                }
                start = end;
            }
        });
    }

    fn finish<D: Dot>(&self, isa: Isa, job: &Job<'_, D>, panel: usize, first: usize, sums: &mut [f32]) {
        let (tile, _) = sums.as_chunks_mut::<PANEL>();
        if self.weight.precision() == Precision::Int8 {
            let (steps, totals) = self.weight.column_scales();
            let (steps, totals) = (steps.as_chunks::<PANEL>().0, totals.as_chunks::<PANEL>().0);
            dequantise(isa, tile, &job.scales[first..first + tile.len()], &steps[panel], &totals[panel]);
        }
        let bias = self.bias.and_then(|bias| bias.as_chunks::<PANEL>().0.get(panel));
        finish(isa, tile, bias, self.activation);
        let width = if self.activation == Activation::SiluMul { PANEL / 2 } else { PANEL };
        for (offset, row) in tile.iter().enumerate() {
            let row: &TileRow = row;
            let target = first - self.rows.start + self.first_row + offset;
            // SAFETY: `run` holds the sink's borrow until all tasks are done, and tasks have disjoint rows or
            // disjoint panels.
            unsafe { job.out.store(isa, target, panel * width, &row[..width]) };
        }
    }
}

struct Job<'a, D: Dot> {
    a: &'a [D::Row],
    lda: usize,
    scales: &'a [f32],
    out: SharedSink,
    rows: Range<usize>,
    panels: Range<usize>,
}

thread_local! {
    static SCRATCH: RefCell<Aligned<f32>> = RefCell::new(Aligned::default());
}

/// Scratch numbers of this thread, allocated once.
fn with_scratch<R>(len: usize, work: impl FnOnce(&mut [f32]) -> R) -> R {
    SCRATCH.with_borrow_mut(|scratch| {
        if scratch.len() < len {
            scratch.resize(len);
        }
        work(&mut scratch[..len])
    })
}

/// Operations (multiplications and additions) a second of this thread, with the tile kernel of `precision` on
/// 12 rows and one panel that stay in the first-level cache: what a product can at best come to.
#[must_use]
pub fn peak_flops(isa: Isa, precision: Precision) -> f64 {
    match precision {
        Precision::F32 => peak_of::<F32Dot>(isa),
        Precision::Bf16 => peak_of::<Bf16Dot>(isa),
        Precision::Int8 => peak_of::<I8Dot>(isa),
    }
}

fn peak_of<D: Dot>(isa: Isa) -> f64 {
    const GROUPS: usize = 128;
    const REPEATS: usize = 100;
    let lda = GROUPS * D::GROUP;
    let a = Aligned::<D::Row>::zeroed(TILE_ROWS * lda);
    let b = Aligned::<D::Col>::zeroed(PANEL * lda);
    let mut c = [[0.0f32; PANEL]; TILE_ROWS];
    let start = std::time::Instant::now();
    for _ in 0..REPEATS {
        let c = std::hint::black_box(&mut c);
        let args = Tile {
            rows: TILE_ROWS,
            half: false,
            a: a.as_ptr(),
            lda,
            b: b.as_ptr(),
            groups: GROUPS,
            c: c.as_mut_ptr().cast(),
            ldc: PANEL,
            accumulate: false,
        };
        // SAFETY: `a` has 12 rows of `lda`, `b` one panel as long, `c` 12 rows of 32.
        unsafe { D::tile(isa, args) };
    }
    (2 * REPEATS * TILE_ROWS * PANEL * lda) as f64 / start.elapsed().as_secs_f64()
}

#[cfg(test)]
mod tests {
    use super::super::Level;
    use super::super::buffers::Matrix;
    use super::super::isa::tests::all;
    use super::super::quantise::{bf16_bits, bf16_value};
    use super::*;
    use proptest::prelude::*;

    fn number(seed: u64, index: usize) -> f32 {
        let mut x = seed.wrapping_add(1).wrapping_mul(0x9E37_79B9_7F4A_7C15)
            ^ (index as u64).wrapping_mul(0xD134_2543_DE82_EF95);
        x ^= x >> 29;
        x = x.wrapping_mul(0xBF58_476D_1CE4_E5B9);
        x ^= x >> 32;
        (x % 20_001) as f32 / 10_000.0 - 1.0
    }

    struct Case {
        m: usize,
        n: usize,
        k: usize,
        a: Vec<f32>,
        w: Vec<f32>,
        bias: Vec<f32>,
    }

    impl Case {
        fn new(m: usize, n: usize, k: usize, seed: u64) -> Self {
            let a = (0..m * k).map(|i| number(seed, i)).collect();
            let w = (0..n * k).map(|i| number(seed ^ 7, i)).collect();
            let mut bias: Vec<f32> = (0..n).map(|i| number(seed ^ 13, i)).collect();
            bias.resize(n.next_multiple_of(PANEL), 0.0);
            Self { m, n, k, a, w, bias }
        }

        fn operand(&self, isa: Isa, precision: Precision) -> Operand {
            let mut operand = Operand::new(precision);
            operand.fill(isa, self.m, self.k, |row, out| {
                out.copy_from_slice(&self.a[row * self.k..(row + 1) * self.k]);
            });
            operand
        }

        fn packed(&self, isa: Isa, precision: Precision) -> Packed {
            let source = |column: usize, start: usize, out: &mut [f32]| {
                let from = column * self.k + start;
                out.copy_from_slice(&self.w[from..from + out.len()]);
            };
            Packed::pack(isa, precision, (self.n, self.k), &source).unwrap()
        }

        /// Sum of products in f64 with each factor passed through `round`.
        fn exact(&self, row: usize, column: usize, round: fn(f32) -> f32) -> f64 {
            let a = &self.a[row * self.k..(row + 1) * self.k];
            let w = &self.w[column * self.k..(column + 1) * self.k];
            a.iter().zip(w).map(|(a, w)| f64::from(round(*a)) * f64::from(round(*w))).sum()
        }

        fn run(&self, isa: Isa, precision: Precision, bias: bool) -> Matrix<f32> {
            let (a, w) = (self.operand(isa, precision), self.packed(isa, precision));
            let mut out = Matrix::zeroed(self.m, self.n);
            let product = Product { bias: bias.then_some(&self.bias[..]), ..Product::new(&a, &w) };
            product.run(isa, Sink::F32(&mut out)).unwrap();
            out
        }
    }

    fn rounded(x: f32) -> f32 {
        bf16_value(bf16_bits(x))
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(40))]
        #[test]
        fn products_of_any_shape_agree_with_double_precision(
            m in 1usize..30, n in 1usize..80, k in 1usize..90, seed in any::<u64>(),
        ) {
            let case = Case::new(m, n, k, seed);
            for isa in all() {
                let full = case.run(isa, Precision::F32, true);
                let half = case.run(isa, Precision::Bf16, false);
                let byte = case.run(isa, Precision::Int8, false);
                for row in 0..m {
                    for column in 0..n {
                        let exact = case.exact(row, column, |x| x) + f64::from(case.bias[column]);
                        prop_assert!((f64::from(full.row(row)[column]) - exact).abs() < 2e-5, "{isa} f32");
                        let exact = case.exact(row, column, rounded);
                        prop_assert!((f64::from(half.row(row)[column]) - exact).abs() < 2e-5, "{isa} bf16");
                        let exact = case.exact(row, column, |x| x);
                        let bound = 0.012 * (k as f64).sqrt() + 0.01;
                        prop_assert!((f64::from(byte.row(row)[column]) - exact).abs() < bound, "{isa} int8");
                    }
                }
            }
        }
    }

    #[test]
    fn sums_longer_than_a_block_and_more_rows_than_a_task_come_out_right() {
        let case = Case::new(391, 70, 1301, 5);
        for isa in all().into_iter().filter(|isa| isa.level() != Level::Portable) {
            for (precision, bound) in [(Precision::F32, 2e-4), (Precision::Bf16, 2e-4)] {
                let out = case.run(isa, precision, false);
                for row in [0, 11, 12, 195, 390] {
                    for column in [0, 31, 32, 69] {
                        let round = if precision == Precision::Bf16 { rounded } else { |x| x };
                        let exact = case.exact(row, column, round);
                        assert!(
                            (f64::from(out.row(row)[column]) - exact).abs() < bound,
                            "{isa} {precision:?}"
                        );
                    }
                }
            }
        }
    }

    #[test]
    fn a_row_does_not_depend_on_the_rows_beside_it() {
        let case = Case::new(27, 50, 700, 9);
        for isa in all() {
            for precision in [Precision::F32, Precision::Bf16, Precision::Int8] {
                let whole = case.run(isa, precision, true);
                let (a, w) = (case.operand(isa, precision), case.packed(isa, precision));
                let mut one = Matrix::zeroed(1, 50);
                let product = Product { rows: 17..18, bias: Some(&case.bias), ..Product::new(&a, &w) };
                product.run(isa, Sink::F32(&mut one)).unwrap();
                assert_eq!(one.row(0), whole.row(17), "{isa} {precision:?}");
            }
        }
    }

    #[test]
    fn epilogues_do_what_their_names_say() {
        let case = Case::new(13, 64, 40, 3);
        for isa in all() {
            let plain = case.run(isa, Precision::F32, true);
            let (a, w) = (case.operand(isa, Precision::F32), case.packed(isa, Precision::F32));
            let with = |activation| Product { bias: Some(&case.bias), activation, ..Product::new(&a, &w) };

            let mut sum = Matrix::zeroed(13, 64);
            sum.row_mut(4).fill(2.0);
            with(Activation::Identity).run(isa, Sink::Add(&mut sum)).unwrap();
            assert_eq!(sum.row(4)[9], plain.row(4)[9] + 2.0);
            with(Activation::Identity).run(isa, Sink::AddRelu(&mut sum)).unwrap();
            assert_eq!(sum.row(4)[9], (plain.row(4)[9] + 2.0 + plain.row(4)[9]).max(0.0));

            let mut gated = Matrix::zeroed(13, 32);
            with(Activation::SiluMul).run(isa, Sink::F32(&mut gated)).unwrap();
            let (gate, up) = (plain.row(7)[32 + 3], plain.row(7)[48 + 3]);
            assert!((gated.row(7)[16 + 3] - gate / (1.0 + (-gate).exp()) * up).abs() < 1e-5);

            let mut half = Matrix::<u16>::zeroed(13, 64);
            with(Activation::Relu).run(isa, Sink::Bf16(&mut half)).unwrap();
            assert_eq!(half.row(12)[63], bf16_bits(plain.row(12)[63].max(0.0)));
        }
    }

    #[test]
    fn sizes_that_do_not_fit_are_errors() {
        let isa = Isa::portable();
        let case = Case::new(3, 5, 7, 1);
        let (a, w) = (case.operand(isa, Precision::F32), case.packed(isa, Precision::F32));
        let mut small = Matrix::zeroed(2, 5);
        assert!(Product::new(&a, &w).run(isa, Sink::F32(&mut small)).is_err());
        let mut narrow = Matrix::zeroed(3, 4);
        let message = Product::new(&a, &w).run(isa, Sink::F32(&mut narrow)).unwrap_err().to_string();
        assert!(message.contains('4') && message.contains('5'), "{message}");
        let half = case.packed(isa, Precision::Bf16);
        let mut out = Matrix::zeroed(3, 5);
        assert!(Product::new(&a, &half).run(isa, Sink::F32(&mut out)).is_err());
    }
}

//! The kernels at the shapes of the full-size network, in GFLOP a CPU-second and per cent of what the processor can do.
//!
//! `cargo bench --bench kernels`; `BENCH_THREADS` (1) sets the threads. The peak is measured here, in the
//! same minute as the kernels: sums that stay in registers, with the instruction each kernel lives on.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::print_stdout)]

use std::hint::black_box;

use criterion::{BenchmarkId, Criterion, Throughput};
use neuro::policy::kernels::Isa;
use neuro::policy::kernels::attention::{Heads, KeyValues, Query};
use neuro::policy::kernels::buffers::Matrix;
use neuro::policy::kernels::epilogue::Sink;
use neuro::policy::kernels::gemm::{Product, peak_flops};
use neuro::policy::kernels::operand::Operand;
use neuro::policy::kernels::pack::{Packed, Precision};
use neuro::policy::kernels::rope::RopeTable;
use rayon::ThreadPoolBuilder;

/// `m`, `n`, `k`: decoder MLP in and out, decoder projections, vision MLP in and out, and one sentence of 17
/// tokens behind a kept picture.
const SHAPES: [(usize, usize, usize); 6] = [
    (746, 5504, 2048),
    (746, 2048, 5504),
    (746, 6144, 2048),
    (729, 4304, 1152),
    (729, 1152, 4304),
    (17, 11008, 2048),
];

fn number(index: usize) -> f32 {
    (index.wrapping_mul(2_654_435_761) % 2001) as f32 / 1000.0 - 1.0
}

/// CPU-seconds of one run, all threads together: on a shared machine the clock on the wall measures the others.
fn cpu_seconds_of(repeats: usize, mut work: impl FnMut()) -> f64 {
    work();
    let before = cpu_seconds();
    (0..repeats).for_each(|_| work());
    (cpu_seconds() - before) / repeats as f64
}

/// Time on a processor of all threads of this process, from the scheduler's own counters.
fn cpu_seconds() -> f64 {
    let tasks = std::fs::read_dir("/proc/self/task").unwrap().flatten();
    let nanoseconds = tasks.filter_map(|task| {
        let text = std::fs::read_to_string(task.path().join("schedstat")).ok()?;
        text.split_whitespace().next()?.parse::<u64>().ok()
    });
    nanoseconds.sum::<u64>() as f64 / 1e9
}

fn products(criterion: &mut Criterion, isa: Isa) {
    for precision in [Precision::F32, Precision::Bf16, Precision::Int8] {
        if precision.supported_on(isa) != precision {
            println!("{precision:?}: not on {isa}");
            continue;
        }
        let peak = (0..200).map(|_| peak_flops(isa, precision)).fold(0.0, f64::max) / 1e9;
        let mut group = criterion.benchmark_group(format!("gemm {precision:?}"));
        for (m, n, k) in SHAPES {
            let source = |column: usize, start: usize, out: &mut [f32]| {
                out.iter_mut().enumerate().for_each(|(i, value)| *value = number(column * k + start + i));
            };
            let weight = Packed::pack(isa, precision, (n, k), &source).unwrap();
            let mut rows = Operand::new(precision);
            rows.fill(isa, m, k, |row, out| {
                out.iter_mut().enumerate().for_each(|(i, value)| *value = number(row * k + i + 7));
            });
            let mut out = Matrix::zeroed(m, n);
            let mut run = || Product::new(&rows, &weight).run(isa, Sink::F32(black_box(&mut out))).unwrap();
            let flops = 2.0 * (m * n * k) as f64;
            let rate = flops / cpu_seconds_of(20, &mut run) / 1e9;
            println!(
                "{precision:?} {m}x{n}x{k}: {rate:.0} GFLOP a CPU-second, {:.0} % of {peak:.0}",
                100.0 * rate / peak
            );
            group.throughput(Throughput::Elements(flops as u64));
            group.bench_function(BenchmarkId::from_parameter(format!("{m}x{n}x{k}")), |b| b.iter(&mut run));
        }
        group.finish();
    }
}

fn attention(criterion: &mut Criterion, isa: Isa) {
    let mut group = criterion.benchmark_group("attention");
    for (name, dim, rows, causal) in [("vision", 72, 729, false), ("decoder", 128, 746, true)] {
        let heads = Heads { queries: 16, keys: 16, dim };
        let table = RopeTable::new(rows, dim, 1e6);
        let rope = causal.then_some(&table);
        let mut merged = Matrix::zeroed(rows, heads.merged_cols());
        for row in 0..rows {
            let values = merged.row_mut(row).iter_mut().enumerate();
            values.for_each(|(i, value)| *value = number(row * 977 + i));
        }
        for precision in [Precision::F32, Precision::Bf16] {
            let precision = precision.supported_on(isa);
            let mut keys = KeyValues::new(precision, heads, rows);
            let mut out = Matrix::<f32>::zeroed(rows, heads.queries * dim);
            let query = Query { merged: &merged, rows: 0..rows, first: 0, len: rows, causal, rope };
            group.bench_function(format!("{name} {precision:?}"), |b| {
                b.iter(|| {
                    keys.write(isa, &merged, 0..rows, 0, rope).unwrap();
                    keys.attend(isa, &query, Sink::F32(&mut out)).unwrap();
                });
            });
        }
    }
    group.finish();
}

fn main() {
    let threads = std::env::var("BENCH_THREADS").ok().and_then(|text| text.parse().ok()).unwrap_or(1);
    // The global pool: criterion itself cannot move to a worker thread.
    ThreadPoolBuilder::new().num_threads(threads).build_global().unwrap();
    let mut criterion = Criterion::default().sample_size(10).configure_from_args();
    if std::env::args().any(|argument| argument == "--test") {
        return;
    }
    let isa = Isa::detect();
    println!("{isa}, {threads} thread(s)");
    products(&mut criterion, isa);
    attention(&mut criterion, isa);
    criterion.final_summary();
}

//! f32 tiles: AVX-512 and AVX2 with FMA, and plain Rust.

use super::gemm::{Dot, Tile};
use super::{Isa, PANEL};

/// f32 rows with f32 panels.
pub(crate) struct F32Dot;

type Args = Tile<f32, f32>;

impl Dot for F32Dot {
    type Row = f32;
    type Col = f32;
    const GROUP: usize = 1;

    #[inline]
    unsafe fn tile(isa: Isa, args: Args) {
        #[cfg(target_arch = "x86_64")]
        {
            use super::Level;
            match isa.level() {
                // SAFETY: the pointers are the caller's promise.
                Level::Portable => unsafe { portable(args) },
                // SAFETY: as above, and an `Isa` proves its instructions.
                Level::Avx2 => unsafe { x86::avx2(args) },
                // SAFETY: as above; every level from Avx512 up has AVX-512F.
                _ => unsafe { x86::avx512(args) },
            }
        }
        #[cfg(not(target_arch = "x86_64"))]
        {
            let _ = isa;
            // SAFETY: the pointers are the caller's promise.
            unsafe { portable(args) }
        }
    }
}

/// # Safety
/// As [`Dot::tile`].
unsafe fn portable(args: Args) {
    for i in 0..args.rows {
        // SAFETY: the caller promises `rows` rows of `groups` numbers, a panel of `groups` lines and room for
        // `rows` rows of 32.
        let (row, panel, out) = unsafe {
            (
                std::slice::from_raw_parts(args.a.add(i * args.lda), args.groups),
                std::slice::from_raw_parts(args.b, args.groups * PANEL),
                std::slice::from_raw_parts_mut(args.c.add(i * args.ldc), PANEL),
            )
        };
        let mut sums = [0.0f32; PANEL];
        if args.accumulate {
            sums.copy_from_slice(out);
        }
        for (a, line) in row.iter().zip(panel.chunks_exact(PANEL)) {
            for (sum, b) in sums.iter_mut().zip(line) {
                *sum += a * b;
            }
        }
        out.copy_from_slice(&sums);
    }
}

#[cfg(target_arch = "x86_64")]
mod x86 {
    use std::arch::x86_64::*;

    use super::super::gemm::Tile;
    use super::super::tile_bf16::for_rows;
    use super::super::{PANEL, TILE_ROWS};
    use super::Args;

    /// # Safety
    /// As [`super::super::gemm::Dot::tile`], with AVX-512F.
    #[target_feature(enable = "avx512f")]
    pub(super) unsafe fn avx512(args: Args) {
        // SAFETY: passed through.
        unsafe {
            if args.half {
                for_rows!(wide, args, 1);
            } else {
                for_rows!(wide, args, 2);
            }
        }
    }

    /// # Safety
    /// As [`super::super::gemm::Dot::tile`]; `M` rows, `H` vectors of 16 columns.
    #[target_feature(enable = "avx512f")]
    unsafe fn wide<const M: usize, const H: usize>(args: Args) {
        let Tile { mut a, lda, mut b, groups, c, ldc, accumulate, .. } = args;
        let mut sums = [[_mm512_setzero_ps(); H]; M];
        // SAFETY: reads `groups` numbers of `M` rows and `groups` lines of a panel, writes `M` rows of 16 H.
        unsafe {
            if accumulate {
                for (i, row) in sums.iter_mut().enumerate() {
                    for (h, sum) in row.iter_mut().enumerate() {
                        *sum = _mm512_loadu_ps(c.add(i * ldc + h * 16));
                    }
                }
            }
            for _ in 0..groups {
                let mut line = [_mm512_setzero_ps(); H];
                for (h, column) in line.iter_mut().enumerate() {
                    *column = _mm512_loadu_ps(b.add(h * 16));
                }
                b = b.add(PANEL);
                for (i, row) in sums.iter_mut().enumerate() {
                    let value = _mm512_set1_ps(*a.add(i * lda));
                    for (sum, column) in row.iter_mut().zip(line) {
                        *sum = _mm512_fmadd_ps(value, column, *sum);
                    }
                }
                a = a.add(1);
            }
            for (i, row) in sums.iter().enumerate() {
                for (h, sum) in row.iter().enumerate() {
                    _mm512_storeu_ps(c.add(i * ldc + h * 16), *sum);
                }
            }
        }
    }

    /// # Safety
    /// As [`super::super::gemm::Dot::tile`], with AVX2 and FMA.
    #[target_feature(enable = "avx2,fma")]
    pub(super) unsafe fn avx2(args: Args) {
        const ROWS: usize = 6;
        const _: () = assert!(TILE_ROWS.is_multiple_of(ROWS));
        let halves = if args.half { 1 } else { 2 };
        for first in (0..args.rows).step_by(ROWS) {
            for half in 0..halves {
                // SAFETY: `first < rows` and the half starts inside the 32 columns.
                unsafe {
                    let part = Tile {
                        rows: (args.rows - first).min(ROWS),
                        a: args.a.add(first * args.lda),
                        b: args.b.add(half * 16),
                        c: args.c.add(first * args.ldc + half * 16),
                        ..args
                    };
                    match part.rows {
                        1 => narrow::<1>(part),
                        2 => narrow::<2>(part),
                        3 => narrow::<3>(part),
                        4 => narrow::<4>(part),
                        5 => narrow::<5>(part),
                        _ => narrow::<6>(part),
                    }
                }
            }
        }
    }

    /// # Safety
    /// `M` rows by 16 columns, lines of the panel 32 apart.
    #[target_feature(enable = "avx2,fma")]
    unsafe fn narrow<const M: usize>(args: Args) {
        let Tile { mut a, lda, mut b, groups, c, ldc, accumulate, .. } = args;
        let mut sums = [[_mm256_setzero_ps(); 2]; M];
        // SAFETY: reads `groups` numbers of `M` rows and 16 of each line of a panel, writes `M` rows of 16.
        unsafe {
            if accumulate {
                for (i, row) in sums.iter_mut().enumerate() {
                    *row = [_mm256_loadu_ps(c.add(i * ldc)), _mm256_loadu_ps(c.add(i * ldc + 8))];
                }
            }
            for _ in 0..groups {
                let line = [_mm256_loadu_ps(b), _mm256_loadu_ps(b.add(8))];
                b = b.add(PANEL);
                for (i, row) in sums.iter_mut().enumerate() {
                    let value = _mm256_broadcast_ss(&*a.add(i * lda));
                    row[0] = _mm256_fmadd_ps(value, line[0], row[0]);
                    row[1] = _mm256_fmadd_ps(value, line[1], row[1]);
                }
                a = a.add(1);
            }
            for (i, row) in sums.iter().enumerate() {
                _mm256_storeu_ps(c.add(i * ldc), row[0]);
                _mm256_storeu_ps(c.add(i * ldc + 8), row[1]);
            }
        }
    }
}

//! bf16 tiles: pairs of products summed in f32 by `vdpbf16ps`, and plain Rust.

use super::gemm::{Dot, Tile};
use super::quantise::bf16_value;
use super::{Isa, PANEL};

/// bf16 rows with bf16 panels.
pub(crate) struct Bf16Dot;

type Args = Tile<u16, u16>;

impl Dot for Bf16Dot {
    type Row = u16;
    type Col = u16;
    const GROUP: usize = 2;

    #[inline]
    unsafe fn tile(isa: Isa, args: Args) {
        #[cfg(target_arch = "x86_64")]
        if isa.level() >= super::Level::Avx512Bf16 {
            // SAFETY: an `Isa` proves its instructions; the pointers are the caller's promise.
            return unsafe { x86::avx512(args) };
        }
        let _ = isa;
        // SAFETY: the pointers are the caller's promise.
        unsafe { portable(args) }
    }
}

/// # Safety
/// As [`Dot::tile`].
unsafe fn portable(args: Args) {
    for i in 0..args.rows {
        // SAFETY: the caller promises `rows` rows of `groups` pairs, a panel of `groups` lines and room for
        // `rows` rows of 32.
        let (row, panel, out) = unsafe {
            (
                std::slice::from_raw_parts(args.a.add(i * args.lda), args.groups * 2),
                std::slice::from_raw_parts(args.b, args.groups * PANEL * 2),
                std::slice::from_raw_parts_mut(args.c.add(i * args.ldc), PANEL),
            )
        };
        let mut sums = [0.0f32; PANEL];
        if args.accumulate {
            sums.copy_from_slice(out);
        }
        for (a, line) in row.chunks_exact(2).zip(panel.chunks_exact(PANEL * 2)) {
            let (even, odd) = (bf16_value(a[0]), bf16_value(a[1]));
            for (sum, pair) in sums.iter_mut().zip(line.chunks_exact(2)) {
                *sum += even * bf16_value(pair[0]) + odd * bf16_value(pair[1]);
            }
        }
        out.copy_from_slice(&sums);
    }
}

/// Calls `kernel::<rows, halves>(args)` for 1 to 12 rows.
macro_rules! for_rows {
    ($kernel:ident, $args:ident, $halves:literal) => {
        match $args.rows {
            0 => {}
            1 => $kernel::<1, $halves>($args),
            2 => $kernel::<2, $halves>($args),
            3 => $kernel::<3, $halves>($args),
            4 => $kernel::<4, $halves>($args),
            5 => $kernel::<5, $halves>($args),
            6 => $kernel::<6, $halves>($args),
            7 => $kernel::<7, $halves>($args),
            8 => $kernel::<8, $halves>($args),
            9 => $kernel::<9, $halves>($args),
            10 => $kernel::<10, $halves>($args),
            11 => $kernel::<11, $halves>($args),
            _ => $kernel::<12, $halves>($args),
        }
    };
}
#[cfg(target_arch = "x86_64")]
pub(crate) use for_rows;

#[cfg(target_arch = "x86_64")]
mod x86 {
    use std::arch::x86_64::*;

    use super::super::PANEL;
    use super::super::gemm::Tile;
    use super::Args;

    /// # Safety
    /// As [`super::super::gemm::Dot::tile`], with AVX512-BF16.
    #[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512bf16")]
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
    #[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512bf16")]
    unsafe fn wide<const M: usize, const H: usize>(args: Args) {
        let Tile { mut a, lda, mut b, groups, c, ldc, accumulate, .. } = args;
        let mut sums = [[_mm512_setzero_ps(); H]; M];
        // SAFETY: reads `groups` pairs of `M` rows and `groups` lines of a panel, writes `M` rows of 16 H. A
        // `__m512bh` is 32 bf16 of any bits, as a `__m512i` is.
        unsafe {
            if accumulate {
                for (i, row) in sums.iter_mut().enumerate() {
                    for (h, sum) in row.iter_mut().enumerate() {
                        *sum = _mm512_loadu_ps(c.add(i * ldc + h * 16));
                    }
                }
            }
            for _ in 0..groups {
                let mut line = [_mm512_setzero_si512(); H];
                for (h, column) in line.iter_mut().enumerate() {
                    *column = _mm512_loadu_si512(b.add(h * 32).cast());
                }
                b = b.add(2 * PANEL);
                for (i, row) in sums.iter_mut().enumerate() {
                    let pair = _mm512_set1_epi32(a.add(i * lda).cast::<i32>().read_unaligned());
                    for (sum, column) in row.iter_mut().zip(line) {
                        *sum = _mm512_dpbf16_ps(
                            *sum,
                            std::mem::transmute::<__m512i, __m512bh>(pair),
                            std::mem::transmute::<__m512i, __m512bh>(column),
                        );
                    }
                }
                a = a.add(2);
            }
            for (i, row) in sums.iter().enumerate() {
                for (h, sum) in row.iter().enumerate() {
                    _mm512_storeu_ps(c.add(i * ldc + h * 16), *sum);
                }
            }
        }
    }
}

//! int8 tiles: four products of unsigned rows and signed weights summed in i32 by `vpdpbusd`, and plain Rust.
//! The i32 sums travel as the bits of the f32 tile; the epilogue turns them into numbers.

use super::gemm::{Dot, Tile};
use super::{Isa, PANEL};

/// u8 rows with i8 panels.
pub(crate) struct I8Dot;

type Args = Tile<u8, i8>;

impl Dot for I8Dot {
    type Row = u8;
    type Col = i8;
    const GROUP: usize = 4;

    #[inline]
    unsafe fn tile(isa: Isa, args: Args) {
        #[cfg(target_arch = "x86_64")]
        if isa.level() >= super::Level::Avx512Vnni {
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
        // SAFETY: the caller promises `rows` rows of `groups` quads, a panel of `groups` lines and room for
        // `rows` rows of 32.
        let (row, panel, out) = unsafe {
            (
                std::slice::from_raw_parts(args.a.add(i * args.lda), args.groups * 4),
                std::slice::from_raw_parts(args.b, args.groups * PANEL * 4),
                std::slice::from_raw_parts_mut(args.c.add(i * args.ldc), PANEL),
            )
        };
        let mut sums = [0i32; PANEL];
        if args.accumulate {
            for (sum, bits) in sums.iter_mut().zip(out.iter()) {
                *sum = bits.to_bits() as i32;
            }
        }
        for (a, line) in row.chunks_exact(4).zip(panel.chunks_exact(PANEL * 4)) {
            for (sum, quad) in sums.iter_mut().zip(line.chunks_exact(4)) {
                *sum += a.iter().zip(quad).map(|(a, b)| i32::from(*a) * i32::from(*b)).sum::<i32>();
            }
        }
        for (bits, sum) in out.iter_mut().zip(sums) {
            *bits = f32::from_bits(sum as u32);
        }
    }
}

#[cfg(target_arch = "x86_64")]
mod x86 {
    use std::arch::x86_64::*;

    use super::super::PANEL;
    use super::super::gemm::Tile;
    use super::super::tile_bf16::for_rows;
    use super::Args;

    /// # Safety
    /// As [`super::super::gemm::Dot::tile`], with AVX512-VNNI.
    #[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512vnni")]
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
    #[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512vnni")]
    unsafe fn wide<const M: usize, const H: usize>(args: Args) {
        let Tile { mut a, lda, mut b, groups, c, ldc, accumulate, .. } = args;
        let mut sums = [[_mm512_setzero_si512(); H]; M];
        // SAFETY: reads `groups` quads of `M` rows and `groups` lines of a panel, writes `M` rows of 16 H.
        unsafe {
            if accumulate {
                for (i, row) in sums.iter_mut().enumerate() {
                    for (h, sum) in row.iter_mut().enumerate() {
                        *sum = _mm512_loadu_si512(c.add(i * ldc + h * 16).cast());
                    }
                }
            }
            for _ in 0..groups {
                let mut line = [_mm512_setzero_si512(); H];
                for (h, column) in line.iter_mut().enumerate() {
                    *column = _mm512_loadu_si512(b.add(h * 64).cast());
                }
                b = b.add(4 * PANEL);
                for (i, row) in sums.iter_mut().enumerate() {
                    let quad = _mm512_set1_epi32(a.add(i * lda).cast::<i32>().read_unaligned());
                    for (sum, column) in row.iter_mut().zip(line) {
                        *sum = _mm512_dpbusd_epi32(*sum, quad, column);
                    }
                }
                a = a.add(4);
            }
            for (i, row) in sums.iter().enumerate() {
                for (h, sum) in row.iter().enumerate() {
                    _mm512_storeu_si512(c.add(i * ldc + h * 16).cast(), *sum);
                }
            }
        }
    }
}

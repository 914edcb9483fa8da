//! Which instructions this processor has, as a token that proves it.

use std::fmt;

/// Instruction sets with kernels of their own, weakest first; each includes the ones before it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Level {
    /// Plain Rust, whatever the compiler makes of it.
    Portable,
    /// AVX2 with FMA: f32 kernels.
    Avx2,
    /// AVX-512 F, BW, DQ, VL: f32 kernels.
    Avx512,
    /// AVX-512 with VNNI: f32 and int8 kernels.
    Avx512Vnni,
    /// AVX-512 with VNNI and BF16: every kernel.
    Avx512Bf16,
}

/// A level this processor supports. Cannot be made for one it does not, so a kernel that is handed an `Isa`
/// may use its instructions.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Isa(Level);

impl Isa {
    /// The strongest level of this processor.
    #[must_use]
    pub fn detect() -> Self {
        #[cfg(target_arch = "x86_64")]
        {
            let avx2 = is_x86_feature_detected!("avx2") && is_x86_feature_detected!("fma");
            let avx512 = avx2
                && is_x86_feature_detected!("avx512f")
                && is_x86_feature_detected!("avx512bw")
                && is_x86_feature_detected!("avx512dq")
                && is_x86_feature_detected!("avx512vl");
            let vnni = avx512 && is_x86_feature_detected!("avx512vnni");
            let bf16 = vnni && is_x86_feature_detected!("avx512bf16");
            Self(match (avx2, avx512, vnni, bf16) {
                (_, _, _, true) => Level::Avx512Bf16,
                (_, _, true, _) => Level::Avx512Vnni,
                (_, true, _, _) => Level::Avx512,
                (true, _, _, _) => Level::Avx2,
                _ => Level::Portable,
            })
        }
        #[cfg(not(target_arch = "x86_64"))]
        Self(Level::Portable)
    }

    /// `level` when this processor has it.
    #[must_use]
    pub fn at(level: Level) -> Option<Self> {
        (level <= Self::detect().0).then_some(Self(level))
    }

    /// The plain-Rust level, which every processor has.
    #[must_use]
    pub fn portable() -> Self {
        Self(Level::Portable)
    }

    /// The level this token stands for.
    #[must_use]
    pub fn level(self) -> Level {
        self.0
    }

    /// Lower-case name for file names and reports.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self.0 {
            Level::Portable => "portable",
            Level::Avx2 => "avx2",
            Level::Avx512 => "avx512",
            Level::Avx512Vnni => "avx512vnni",
            Level::Avx512Bf16 => "avx512bf16",
        }
    }
}

impl fmt::Display for Isa {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(self.name())
    }
}

/// Compiles one plain-Rust body once a level, so that the compiler vectorises it with the widest registers,
/// and picks at run time. The body is `#[inline(always)] fn body<const FMA: bool>(..)`, where `FMA` says
/// whether `mul_add` is one instruction.
macro_rules! simd {
    ($(#[$meta:meta])* $vis:vis fn $name:ident($($arg:ident: $ty:ty),* $(,)?) $(-> $ret:ty)? => $body:ident) => {
        $(#[$meta])*
        $vis fn $name(isa: $crate::policy::kernels::Isa, $($arg: $ty),*) $(-> $ret)? {
            #[cfg(target_arch = "x86_64")]
            {
                use $crate::policy::kernels::Level;
                #[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx2,fma")]
                fn avx512($($arg: $ty),*) $(-> $ret)? {
                    $body::<true>($($arg),*)
                }
                #[target_feature(enable = "avx2,fma")]
                fn avx2($($arg: $ty),*) $(-> $ret)? {
                    $body::<true>($($arg),*)
                }
                match isa.level() {
                    Level::Portable => $body::<false>($($arg),*),
                    // SAFETY: an `Isa` exists only for a level that was detected on this processor.
                    Level::Avx2 => unsafe { avx2($($arg),*) },
                    // SAFETY: as above; every level from Avx512 up includes these features.
                    _ => unsafe { avx512($($arg),*) },
                }
            }
            #[cfg(not(target_arch = "x86_64"))]
            {
                let _ = isa;
                $body::<false>($($arg),*)
            }
        }
    };
}
pub(crate) use simd;

/// `a * b + c`, in one rounding where that is one instruction.
#[inline(always)]
pub(crate) fn fma<const FMA: bool>(a: f32, b: f32, c: f32) -> f32 {
    if FMA { a.mul_add(b, c) } else { a * b + c }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    /// Every level this processor can run.
    pub(crate) fn all() -> Vec<Isa> {
        [Level::Portable, Level::Avx2, Level::Avx512, Level::Avx512Vnni, Level::Avx512Bf16]
            .into_iter()
            .filter_map(Isa::at)
            .collect()
    }

    #[test]
    fn weaker_levels_than_the_detected_one_are_available_and_stronger_ones_are_not() {
        let best = Isa::detect();
        assert_eq!(Isa::at(best.level()), Some(best));
        assert!(all().contains(&Isa::portable()));
        assert!(all().iter().all(|isa| isa.level() <= best.level()));
        if best.level() < Level::Avx512Bf16 {
            assert_eq!(Isa::at(Level::Avx512Bf16), None);
        }
    }
}

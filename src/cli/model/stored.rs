//! Number formats a weight file can be written in, as a flag.

use clap::ValueEnum;

use crate::policy::weights::Stored;

/// A number format.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum StoredAs {
    /// 32-bit float.
    F32,
    /// bfloat16.
    Bf16,
    /// IEEE half.
    F16,
}

impl From<StoredAs> for Stored {
    fn from(flag: StoredAs) -> Self {
        match flag {
            StoredAs::F32 => Self::F32,
            StoredAs::Bf16 => Self::Bf16,
            StoredAs::F16 => Self::F16,
        }
    }
}

//! Settings that are one of a few words.

use std::path::PathBuf;

/// Where the network runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Device {
    /// CUDA when it is built in and present, else the processor.
    #[default]
    Auto,
    /// The processor.
    Cpu,
    /// An NVIDIA card, by ordinal.
    Cuda(usize),
}

/// Number format of the weights.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Dtype {
    /// The one they are stored in, as far as the device computes in it.
    #[default]
    Auto,
    /// 32-bit float.
    F32,
    /// bfloat16.
    Bf16,
    /// IEEE half.
    F16,
    /// 8-bit integers with scales.
    Int8,
}

/// Which implementation does the arithmetic.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Backend {
    /// `cpu` on the processor, `candle` on CUDA.
    #[default]
    Auto,
    /// Packed kernels on the processor.
    Cpu,
    /// The reference.
    Candle,
    /// Computes nothing: measures the server around the network.
    Zero,
}

/// Which action statistics are used.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub enum Stats {
    /// The model folder's own.
    #[default]
    Folder,
    /// Mean 0, std 1, asked for by name.
    Identity,
    /// Another file.
    File(PathBuf),
}

/// How log lines look.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum LogFormat {
    /// For a person.
    #[default]
    Human,
    /// One JSON object a line.
    Json,
}

/// How much of something private a recording keeps.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Redaction {
    /// All of it.
    #[default]
    Full,
    /// Its SHA-256, so that equal ones can be told.
    Hash,
    /// Nothing.
    None,
}

impl Redaction {
    /// The word for it.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Full => "full",
            Self::Hash => "hash",
            Self::None => "none",
        }
    }
}

/// Who draws the pictures of a scenario.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum RendererChoice {
    /// The renderer built into this binary.
    #[default]
    Embedded,
    /// A NuRec service that somebody else runs.
    External,
    /// A NuRec container that this server starts and restarts.
    Docker,
}

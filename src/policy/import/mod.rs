//! Turning the original server's artefacts into a model folder.

pub mod aliases;
pub mod checkpoint;
pub mod element;
pub mod folder;
pub mod ndarray;
pub mod pickle;
pub mod stats_pkl;
pub mod tensor;
pub mod writer;

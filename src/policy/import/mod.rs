//! Turning the original server's artefacts into a model folder.

pub mod pickle;

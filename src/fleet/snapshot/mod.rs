//! Saved states of sessions: what each simulator and the trainer wrote, in one folder with a manifest that says how
//! long each file is and what its SHA-256 is.

pub mod manifest;
pub mod root;

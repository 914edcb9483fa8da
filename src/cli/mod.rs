//! The command line: one file a sub-command. Only here and in `main` is `anyhow` used.

pub mod serve;

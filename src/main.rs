//! The `neuro` binary.
fn main() {}

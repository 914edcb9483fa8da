//! Compiles the wire contracts of this folder, without protoc.

fn main() {}

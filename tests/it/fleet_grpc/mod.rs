//! The fleet over gRPC, from outside: what clients get for right and for wrong calls.

mod access;
pub mod harness;
mod lifecycle;
mod settings;
mod statuses;
mod streams;
mod transport;

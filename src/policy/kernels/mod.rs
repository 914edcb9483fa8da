//! Packed-weight SIMD kernels: the only module that may use `unsafe`, each block justified.
#![allow(unsafe_code)]

pub mod map;
pub mod resize;

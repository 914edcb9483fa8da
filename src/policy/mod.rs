//! The brain: a Vision-Tactile-Language-Action model and everything that serves it. Knows nothing of HTTP.

pub mod backend;
pub mod cache;
pub mod candle;
pub mod config;
pub mod cpu;
pub mod description;
pub mod golden;
pub mod image;
pub mod import;
pub mod kernels;
pub mod model;
pub mod plan;
pub mod preprocess;
pub mod random;
pub mod recording;
pub mod request;
pub mod scheduler;
pub mod service;
pub mod stats;
pub mod tensors;
pub mod tokenizer;
pub mod weights;
pub mod zero;

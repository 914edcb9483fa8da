//! The `cpu` backend: the network over packed weights and reused buffers.

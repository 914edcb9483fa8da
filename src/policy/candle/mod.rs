//! The `candle` backend: the reference, every type and device.

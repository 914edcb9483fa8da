//! Sample scenarios, made.

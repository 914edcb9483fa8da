//! Pictures: decoding what a client sent, and resizing it exactly as the field does.

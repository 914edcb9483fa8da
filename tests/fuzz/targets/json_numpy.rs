//! Arrays and bodies in JSON: whatever the text, an array has the bytes its shape says, or an error.
#![no_main]

use libfuzzer_sys::fuzz_target;
use neuro::http::{json, json_numpy};
use neuro::policy::image::DecodeLimits;

const LIMITS: DecodeLimits = DecodeLimits { max_pixels: 1 << 16, max_side: 4096, max_bytes: 1 << 20 };

fuzz_target!(|text: &str| {
    drop(json::parse(text.as_bytes()));
    if let Ok(array) = json_numpy::decode(text)
        && let Ok(pixels) = array.pixels(&LIMITS)
    {
        assert!(LIMITS.check(pixels.width(), pixels.height()).is_ok());
        let count: usize = array.shape().iter().product();
        assert!(count >= pixels.data().len(), "{:?}", array.shape());
    }
});

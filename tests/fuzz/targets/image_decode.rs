//! A picture from a client: any bytes give pixels within the limits, or an error, and what was decoded can be resized.
#![no_main]

use libfuzzer_sys::fuzz_target;
use neuro::policy::image::{DecodeLimits, decode, resize_bicubic};

const LIMITS: DecodeLimits = DecodeLimits { max_pixels: 1 << 18, max_side: 4096, max_bytes: 1 << 20 };

fuzz_target!(|bytes: &[u8]| {
    if let Ok(picture) = decode(bytes, &LIMITS) {
        let (width, height) = (picture.width(), picture.height());
        assert!(LIMITS.check(width, height).is_ok(), "{width}x{height}");
        assert_eq!(picture.data().len(), width as usize * height as usize * 3);
        let small = resize_bicubic(&picture, 48, 48);
        assert_eq!(small.data().len(), 48 * 48 * 3);
    }
});

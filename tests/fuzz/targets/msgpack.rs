//! An openpi observation: any message gives a request or an error; a request's picture is within the limits.
#![no_main]

use libfuzzer_sys::fuzz_target;
use neuro::http::{msgpack, openpi::observation};
use neuro::policy::image::DecodeLimits;
use neuro::policy::request::Picture;

const LIMITS: DecodeLimits = DecodeLimits { max_pixels: 1 << 16, max_side: 4096, max_bytes: 1 << 20 };

fuzz_target!(|message: &[u8]| {
    drop(msgpack::decode(message));
    if let Ok(request) = observation::parse(message, &LIMITS) {
        for picture in [Some(&request.image), request.tactile.as_ref()].into_iter().flatten() {
            match picture {
                Picture::Pixels(pixels) => assert!(LIMITS.check(pixels.width(), pixels.height()).is_ok()),
                Picture::Encoded(bytes) => assert!(bytes.len() <= message.len()),
            }
        }
    }
});

//! A scenario file: any bytes give a scenario or an error; a scenario answers every question within its range.
#![no_main]

use std::path::Path;

use libfuzzer_sys::fuzz_target;
use neuro::scene::{LoadLimits, Scenario};
use neuro_fuzz::{limits, walk};

fuzz_target!(|bytes: &[u8]| {
    let limits: LoadLimits = limits();
    if let Ok(scenario) = Scenario::from_bytes(bytes, Path::new("fuzz.usdz"), &limits) {
        walk(&scenario);
    }
});

//! Requests of the reset/step socket: read, or refused with a sentence that fits into an answer.
#![no_main]

use libfuzzer_sys::fuzz_target;
use neuro::instance::step::Request;

fuzz_target!(|bytes: &[u8]| {
    match Request::parse(bytes) {
        Ok(Request::Step { action, .. }) => assert!(action.iter().all(|value| value.is_finite())),
        Ok(_) => {}
        Err(problem) => assert!(!problem.is_empty() && problem.len() < 4096),
    }
});

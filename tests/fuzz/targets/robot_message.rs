//! What a browser sends to drive: read or refused, never with numbers that are none.
#![no_main]

use libfuzzer_sys::fuzz_target;
use neuro::instance::contract::{FromRobot, ToRobot};

fuzz_target!(|text: &str| {
    if let Ok(message) = serde_json::from_str::<ToRobot>(text) {
        let again = serde_json::to_string(&message).expect("what was read can be written");
        assert!(serde_json::from_str::<ToRobot>(&again).is_ok(), "{again}");
    }
    drop(serde_json::from_str::<FromRobot>(text));
});

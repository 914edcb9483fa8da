//! `sequence_tracks.json` of a scenario whose other members are sound: a scenario or an error, whatever it says.
#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|text: &[u8]| neuro_fuzz::member("sequence_tracks.json", text));

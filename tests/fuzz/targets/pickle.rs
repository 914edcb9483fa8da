//! The pickle reader: inert data within bounds, whatever the program; walking it ends.
#![no_main]

use libfuzzer_sys::fuzz_target;
use neuro::policy::import::pickle::{self, Value};

/// References make a graph out of a pickle, with loops: the walk is bounded, as every reader of it must be.
fn walk(value: Value<'_>, steps: &mut usize) {
    if *steps == 0 {
        return;
    }
    *steps -= 1;
    let (_, _, _) = (value.as_f64(), value.as_str(), value.to_bytes());
    for item in value.items().into_iter().flatten().take(64) {
        walk(item, steps);
    }
    for (key, value) in value.entries().into_iter().flatten().take(64) {
        walk(key, steps);
        walk(value, steps);
    }
    if let Some((_, arguments)) = value.as_call() {
        walk(arguments, steps);
    }
}

fuzz_target!(|bytes: &[u8]| {
    if let Ok(pickle) = pickle::parse(bytes) {
        walk(pickle.root(), &mut 200);
    }
});

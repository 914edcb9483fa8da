//! A monitor of QEMU that says anything: where its words are cut changes nothing, and nothing of it is kept for ever.
#![no_main]

use libfuzzer_sys::fuzz_target;
use neuro::agent::driver::qemu::outcome::of_status;
use neuro::agent::driver::qemu::qmp::{Message, read_all};

fuzz_target!(|input: (u16, &[u8])| {
    let (cut, bytes) = input;
    let whole = read_all(bytes, 0);
    assert_eq!(read_all(bytes, usize::from(cut)), whole);
    for message in whole.unwrap_or_default() {
        if let Message::Return { value, .. } = message {
            drop(of_status(&value, 0));
        }
    }
});

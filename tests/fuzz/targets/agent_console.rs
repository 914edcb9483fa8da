//! The console's stream: whatever messages come, each is nothing, one id, or something for the console; and a size is one
//! that terminals have. The input is messages, each after its length.
#![no_main]

use libfuzzer_sys::fuzz_target;
use neuro::agent::driver::ConsoleInput;
use neuro::grpc::agent::{Dialogue, Heard, Said};
use neuro::proto::hypervisor::v1::AgentConsoleInput;
use prost::Message;

fuzz_target!(|bytes: &[u8]| {
    let (named, mut rest) = match bytes.split_first() {
        Some((first, rest)) => (first & 1 == 1, rest),
        None => return,
    };
    let mut dialogue = Dialogue::new(named);
    let mut opened = named;
    while let Some((length, tail)) = rest.split_first() {
        let (message, tail) = tail.split_at(usize::from(*length).min(tail.len()));
        rest = tail;
        let Ok(message) = AgentConsoleInput::decode(message) else { continue };
        match dialogue.hear(Said::from(message)) {
            Ok(Heard::Open(_)) => {
                assert!(!opened, "only one id is heard");
                opened = true;
                if let Some(held) = dialogue.held() {
                    assert!(
                        matches!(held, ConsoleInput::Resize { width, height } if width > 0 && height > 0)
                    );
                }
            }
            Ok(Heard::Input(ConsoleInput::Resize { width, height })) => {
                assert!(opened && width > 0 && height > 0)
            }
            Ok(Heard::Input(ConsoleInput::Data(data))) => assert!(opened && !data.is_empty()),
            Ok(Heard::Nothing) => {}
            Err(error) => assert!(!error.to_string().is_empty()),
        }
    }
});

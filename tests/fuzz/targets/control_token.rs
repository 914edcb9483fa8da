//! Control tokens: whatever comes, verifying ends, and only what was signed with the secret is let in.
#![no_main]

use libfuzzer_sys::fuzz_target;
use neuro::fleet::SessionId;
use neuro::fleet::control::TokenKey;

fuzz_target!(|text: &str| {
    let key = TokenKey::new(b"a secret that the input does not know", "https://nexus.mosia.app", "neuro");
    let session: SessionId = "session-1".parse().expect("a sound id");
    assert!(key.verify(text, &session, 1_700_000_000.0).is_err());
});

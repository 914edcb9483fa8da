//! The request to make an instance: whatever bytes come, a verdict; and of what was taken no name leads out of its place.
#![no_main]

use libfuzzer_sys::fuzz_target;
use neuro::agent::settings::AgentSettings;
use neuro::agent::spec::check;
use neuro::proto::hypervisor::v1::AgentCreateInstanceRequest;
use prost::Message;

fuzz_target!(|bytes: &[u8]| {
    let Ok(request) = AgentCreateInstanceRequest::decode(bytes) else { return };
    match check::check(&request, &AgentSettings::default()) {
        Ok((id, spec)) => {
            assert!(!id.as_str().contains('/') && !id.as_str().starts_with('.'));
            let names = [Some(&spec.image), spec.kernel.as_ref(), spec.initrd.as_ref()].into_iter().flatten();
            for name in names.chain(spec.mounts.iter().map(|mount| &mount.volume)) {
                assert!(!name.starts_with('/') && !name.split('/').any(|part| part == ".."), "{name:?}");
            }
            for mount in &spec.mounts {
                assert!(mount.path.starts_with('/') && !mount.path.split('/').any(|part| part == ".."));
            }
            // What was written down is what was asked for.
            let again =
                AgentCreateInstanceRequest::decode(spec.request.as_slice()).expect("it was encoded by us");
            assert!(check::check(&again, &AgentSettings::default()).is_ok());
        }
        // It travels in a header.
        Err(error) => assert!(!error.to_string().is_empty() && error.to_string().len() < 2048),
    }
});

//! The orchestrator's settings: whatever the text, a verdict; and what was taken can be shown.
#![no_main]

use std::path::Path;

use libfuzzer_sys::fuzz_target;
use neuro::fleet::settings::FleetSettings;

fuzz_target!(|text: &str| {
    match FleetSettings::parse(Path::new("fleet.toml"), text) {
        Ok(settings) => assert!(settings.to_toml().is_ok()),
        Err(error) => assert!(error.to_string().contains("fleet.toml")),
    }
});

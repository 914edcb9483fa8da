//! Settings, typed: file < environment < flags, every key in one table ([`keys::KEYS`]), unknown ones refused, and
//! every error names the key and where its value came from. A server with a typo in its settings does not start.
//!
//! The flag `--max-body`, the variable `NEURO_MAX_BODY` and the key `max_body` in the file are the same setting.

mod address;
mod choice;
pub mod document;
mod error;
mod keys;
mod load;
mod secret;
mod settings;
mod text;

pub use address::HostPort;
pub use choice::{Backend, Device, Dtype, LogFormat, Redaction, RendererChoice, Stats};
pub use error::{ConfigError, Source};
pub use keys::{KEYS, Key, key};
pub use load::{CONFIG_VARIABLE, Effective, Loader};
pub use secret::Secret;
pub use settings::{
    HttpSettings, ModelSettings, QueueSettings, RecordSettings, SceneSettings, ServeConfig, TelemetrySettings,
};

//! The table of settings: the only place that knows a setting's name, sentence and field.

use super::settings::ServeConfig;
use super::text::Text;

/// One setting.
#[derive(Clone, Copy)]
pub struct Key {
    /// Its name in the file, with underscores; the flag has dashes, the variable capitals behind `NEURO_`.
    pub name: &'static str,
    /// What stands for its value in help texts.
    pub value: &'static str,
    /// What it does, in one sentence.
    pub help: &'static str,
    /// Whether its value must not be shown.
    pub secret: bool,
    /// Whether the flag alone means `true`.
    pub switch: bool,
    set: fn(&mut ServeConfig, &str) -> Result<(), String>,
    show: fn(&ServeConfig) -> String,
}

impl Key {
    /// The flag, as in `--max-body`.
    #[must_use]
    pub fn flag(&self) -> String {
        format!("--{}", self.name.replace('_', "-"))
    }

    /// The variable, as in `NEURO_MAX_BODY`.
    #[must_use]
    pub fn variable(&self) -> String {
        format!("NEURO_{}", self.name.to_ascii_uppercase())
    }

    /// Reads a value into its field; the error says what was expected.
    pub(super) fn set(&self, config: &mut ServeConfig, text: &str) -> Result<(), String> {
        (self.set)(config, text)
    }

    /// The value a configuration holds, as it would be written.
    #[must_use]
    pub fn show(&self, config: &ServeConfig) -> String {
        (self.show)(config)
    }
}

impl std::fmt::Debug for Key {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(out, "Key({})", self.name)
    }
}

/// The setting of that name.
#[must_use]
pub fn key(name: &str) -> Option<&'static Key> {
    KEYS.iter().find(|key| key.name == name)
}

fn put<T: Text>(field: &mut T, text: &str) -> Result<(), String> {
    *field = T::parse(text)?;
    Ok(())
}

/// A number that may not be 0.
fn put_positive<T: Text + Default + PartialEq>(field: &mut T, text: &str) -> Result<(), String> {
    let value = T::parse(text)?;
    if value == T::default() {
        return Err("more than 0".to_owned());
    }
    *field = value;
    Ok(())
}

macro_rules! key {
    ($name:literal, $value:literal, $($field:ident).+, $help:literal $(, $extra:ident)*) => {
        key!(@ put, $name, $value, $($field).+, $help $(, $extra)*)
    };
    (positive $name:literal, $value:literal, $($field:ident).+, $help:literal $(, $extra:ident)*) => {
        key!(@ put_positive, $name, $value, $($field).+, $help $(, $extra)*)
    };
    (@ $put:ident, $name:literal, $value:literal, $($field:ident).+, $help:literal $(, $extra:ident)*) => {
        Key {
            $($extra: true,)*
            ..Key {
                name: $name,
                value: $value,
                help: $help,
                secret: false,
                switch: false,
                set: |config, text| $put(&mut config.$($field).+, text),
                show: |config| config.$($field).+.show(),
            }
        }
    };
}

/// Every setting, by subject.
pub const KEYS: &[Key] = &[
    key!("host", "IP", http.host, "Address to listen on"),
    key!("port", "PORT", http.port, "Port to listen on; 0 takes a free one"),
    key!("model", "DIR", model.dir, "Model folder to serve"),
    key!("models", "DIR,..", model.roots, "Folders whose sub-folders are models"),
    key!("device", "DEVICE", model.device, "auto, cpu, cuda or cuda:N"),
    key!("dtype", "DTYPE", model.dtype, "Number format of the weights: auto, f32, bf16, f16 or int8"),
    key!(
        "backend",
        "NAME",
        model.backend,
        "Implementation: auto, cpu (packed kernels), candle, or zero (no network, for measuring)"
    ),
    key!("threads", "N", model.threads, "Threads that compute; all cores by default"),
    key!("stats", "FILE", model.stats, "Action statistics: folder, identity, or a file"),
    key!(
        "keep_packed",
        "BOOL",
        model.keep_packed,
        "Keep packed weights beside the model for a fast start",
        switch
    ),
    key!(positive "queue", "N", queue.size, "Requests in the house at most; more get 429"),
    key!("max_batch", "N", queue.max_batch, "Requests answered together at most"),
    key!("deadline", "TIME", queue.deadline, "Deadline of requests that name none"),
    key!(
        "cache",
        "N",
        queue.cache,
        "Actions remembered by picture where the picture alone decides; 0 for none"
    ),
    key!(positive "max_pixels", "N", http.max_pixels, "Largest picture, in pixels"),
    key!(positive "max_body", "BYTES", http.max_body_bytes, "Largest request body"),
    key!(positive "body_timeout", "TIME", http.body_timeout, "A request's body must have arrived after this long"),
    key!(positive "header_timeout", "TIME", http.header_timeout, "A request's head must have arrived after this long"),
    key!(positive "max_connections", "N", http.max_connections, "Connections open at once, openpi ones not counted"),
    key!("cors", "ORIGIN,..", http.cors, "Web origins that may call; * for all"),
    key!("token", "TOKEN", http.token, "Bearer token callers must send; better in a file", secret),
    key!(
        "admin_token",
        "TOKEN",
        http.admin_token,
        "Bearer token of the admin routes (hot swap), off without one; better in a file",
        secret
    ),
    key!("shutdown_grace", "TIME", http.shutdown_grace, "Time running requests get to finish at shutdown"),
    key!(
        "scenes",
        "DIR,..",
        scene.roots,
        "Folders whose scenarios may be opened; may be given several times"
    ),
    key!(
        "scenario",
        "FILE",
        scene.first,
        "Scenario to load at the start, by path or by name within those folders"
    ),
    key!(
        "renderer",
        "WHO",
        scene.renderer,
        "Who draws scenarios: embedded (built in), external (a NuRec service) or docker (a NuRec container)"
    ),
    key!("nurec", "HOST:PORT", scene.nurec, "Where NuRec listens"),
    key!("nurec_image", "IMAGE", scene.nurec_image, "NuRec's container image, for the docker renderer"),
    key!("frame_cache", "BYTES", scene.frame_cache_bytes, "Drawn pictures remembered, in bytes"),
    key!("record", "DIR", record.dir, "Record requests and answers there"),
    key!("record_images", "HOW", record.images, "What a recording keeps of pictures: full, hash or none"),
    key!(
        "record_text",
        "HOW",
        record.text,
        "What it keeps of instructions and robot ids: full, hash or none"
    ),
    key!(positive "record_rotate", "BYTES", record.rotate_bytes, "Size at which a new recording begins"),
    key!(positive "record_limit", "BYTES", record.limit_bytes, "Size of all recordings of a run together"),
    key!("log", "FILTER", telemetry.log, "Log filter, as in info,neuro::policy=debug"),
    key!("log_format", "HOW", telemetry.format, "human or json"),
    key!("otlp", "URL", telemetry.otlp, "OTLP endpoint (gRPC) that traces go to"),
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_default_can_be_written_down_and_read_again() {
        let defaults = ServeConfig::default();
        let mut config = ServeConfig::default();
        for key in KEYS {
            if !key.secret {
                key.set(&mut config, &key.show(&defaults)).unwrap();
            }
        }
        assert_eq!(config, defaults);
    }

    #[test]
    fn names_are_unique_and_spelled_alike() {
        let mut names: Vec<_> = KEYS.iter().map(|key| key.name).collect();
        assert!(names.iter().all(|name| name.bytes().all(|byte| byte.is_ascii_lowercase() || byte == b'_')));
        names.sort_unstable();
        names.dedup();
        assert_eq!(names.len(), KEYS.len());
    }
}

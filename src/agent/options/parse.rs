//! From annotations to options.

use std::collections::BTreeMap;

use super::{Network, Options, PREFIX, Restart};
use crate::agent::error::AgentError;
use crate::agent::spec::Kind;
use crate::agent::spec::text::{is_component, no_controls, shown};

/// Annotations that there are, without their prefix; from the fifth on they are for containers alone.
pub const NAMES: [&str; 12] = [
    "autostart",
    "restart",
    "network",
    "ready-line",
    "cdi-devices",
    "gpu-count",
    "shm-size",
    "tty",
    "pids-limit",
    "runtime",
    "user",
    "read-only-root",
];
/// How many of [`NAMES`] are for every kind.
const FOR_ALL: usize = 4;
/// Most cards and devices of an instance.
const MOST_DEVICES: usize = 64;
/// Longest ready line.
const LONGEST_LINE: usize = 1024;
/// Smallest /dev/shm that is not an oversight.
const LEAST_SHM_BYTES: u64 = 64 << 10;

/// An annotation as an error names it.
#[must_use]
pub fn annotation(name: &str) -> String {
    format!("annotations[\"{PREFIX}{name}\"]")
}

/// Reads those that are the agent's; others are anybody's.
///
/// # Errors
/// `Invalid`, naming the annotation, also for one that there is not.
pub fn parse(annotations: &BTreeMap<String, String>, kind: Kind) -> Result<Options, AgentError> {
    let mut options = Options::default();
    for (key, value) in annotations {
        let Some(name) = key.strip_prefix(PREFIX) else { continue };
        let problem = |problem: String| AgentError::invalid(annotation(name), problem);
        let Some(place) = NAMES.iter().position(|known| *known == name) else {
            return Err(problem(format!("is not known; expected one of {}", NAMES.join(", "))));
        };
        if place >= FOR_ALL && kind != Kind::Container {
            return Err(problem(format!("is for containers; this is a {}", kind.name())));
        }
        one(&mut options, name, value, kind).map_err(problem)?;
    }
    Ok(options)
}

fn one(options: &mut Options, name: &str, value: &str, kind: Kind) -> Result<(), String> {
    match name {
        "autostart" => options.autostart = truth(value)?,
        "restart" => options.restart = restart(value)?,
        "network" => options.network = Some(network(value, kind)?),
        "ready-line" => {
            no_controls(value, LONGEST_LINE)?;
            if value.trim().is_empty() {
                return Err("is empty; expected a part of a line".to_owned());
            }
            options.ready_line = Some(value.to_owned());
        }
        "cdi-devices" => options.cdi_devices = devices(value)?,
        "gpu-count" => options.gpu_count = number(value, 0, MOST_DEVICES as u64)? as u32,
        "shm-size" => {
            let bytes = size(value)?;
            if bytes < LEAST_SHM_BYTES {
                return Err(format!("is {bytes} bytes; expected at least {LEAST_SHM_BYTES}"));
            }
            options.shm_bytes = bytes;
        }
        "tty" => options.tty = Some(truth(value)?),
        "pids-limit" => options.pids_limit = number(value, 1, 4 << 20)? as u32,
        "runtime" => {
            if !is_component(value) {
                return Err(format!("is {}; expected the name of a runtime of the settings", shown(value)));
            }
            value.clone_into(&mut options.runtime);
        }
        "user" => options.user = user(value)?,
        _ => options.read_only_root = truth(value)?,
    }
    Ok(())
}

fn truth(value: &str) -> Result<bool, String> {
    match value {
        "true" => Ok(true),
        "false" => Ok(false),
        _ => Err(format!("is {}; expected true or false", shown(value))),
    }
}

fn number(value: &str, least: u64, most: u64) -> Result<u64, String> {
    let plain = value.bytes().all(|byte| byte.is_ascii_digit());
    let number = value.parse::<u64>().ok().filter(|number| plain && (least..=most).contains(number));
    number.ok_or_else(|| format!("is {}; expected a number from {least} to {most}", shown(value)))
}

fn restart(value: &str) -> Result<Restart, String> {
    match value {
        "never" => Ok(Restart::Never),
        "always" => Ok(Restart::Always),
        "on-failure" => Ok(Restart::OnFailure { most: 0 }),
        _ => match value.strip_prefix("on-failure:") {
            Some(most) => Ok(Restart::OnFailure { most: number(most, 1, 1_000_000)? as u32 }),
            None => Err(format!("is {}; expected never, on-failure, on-failure:N or always", shown(value))),
        },
    }
}

/// What an instance of a kind can reach, by name.
pub(in crate::agent) fn network(value: &str, kind: Kind) -> Result<Network, String> {
    match (value, kind) {
        ("none", _) => Ok(Network::None),
        ("cable", _) => Ok(Network::Cable),
        ("host", Kind::Container) => Ok(Network::Host),
        ("user", Kind::Vm | Kind::MicroVm) => Ok(Network::User),
        (_, Kind::Container) => {
            Err(format!("is {}; expected none, host or cable for a container", shown(value)))
        }
        (..) => Err(format!("is {}; expected none, cable or user for a {}", shown(value), kind.name())),
    }
}

/// CDI names: `vendor.com/class=name`.
fn devices(value: &str) -> Result<Vec<String>, String> {
    let mut found: Vec<String> = Vec::new();
    for device in value.split(',').map(str::trim) {
        let parts = device.split_once('=').and_then(|(kind, name)| Some((kind.split_once('/')?, name)));
        let good = |text: &str| is_component(&text.replace(':', "."));
        let known = parts.is_some_and(|((vendor, class), name)| good(vendor) && good(class) && good(name));
        if !known {
            return Err(format!("has {}; expected names like vendor.com/class=name", shown(device)));
        }
        if found.iter().any(|before| before == device) {
            return Err(format!("has {} twice", shown(device)));
        }
        if found.len() == MOST_DEVICES {
            return Err(format!("has more than {MOST_DEVICES} devices; expected at most that"));
        }
        found.push(device.to_owned());
    }
    Ok(found)
}

/// `16Gi`, `512M`, `1048576`.
fn size(value: &str) -> Result<u64, String> {
    let units: [(&str, u64); 9] = [
        ("Ki", 1 << 10),
        ("Mi", 1 << 20),
        ("Gi", 1 << 30),
        ("Ti", 1 << 40),
        ("K", 1000),
        ("M", 1_000_000),
        ("G", 1_000_000_000),
        ("T", 1_000_000_000_000),
        ("", 1),
    ];
    let parsed = units.iter().find_map(|(unit, times)| {
        let digits = value.strip_suffix(unit)?;
        let plain = !digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_digit());
        digits.parse::<u64>().ok().filter(|_| plain)?.checked_mul(*times)
    });
    parsed
        .filter(|bytes| *bytes <= 1 << 50)
        .ok_or_else(|| format!("is {}; expected bytes, or a number with Ki, Mi, Gi, K, M or G", shown(value)))
}

/// `UID[:GID]`.
fn user(value: &str) -> Result<String, String> {
    let number = |text: &str| {
        !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit()) && text.parse::<u32>().is_ok()
    };
    let good = match value.split_once(':') {
        None => number(value),
        Some((user, group)) => number(user) && number(group),
    };
    if good {
        Ok(value.to_owned())
    } else {
        Err(format!("is {}; expected UID or UID:GID, in digits", shown(value)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(pairs: &[(&str, &str)], kind: Kind) -> Result<Options, AgentError> {
        let map = pairs.iter().map(|(key, value)| (format!("{PREFIX}{key}"), (*value).to_owned()));
        parse(&map.collect(), kind)
    }

    #[test]
    fn every_annotation_is_read() {
        let options = read(
            &[
                ("autostart", "true"),
                ("restart", "on-failure:3"),
                ("network", "host"),
                ("cdi-devices", "nvidia.com/gpu=0, acme.com/port=x"),
                ("gpu-count", "2"),
                ("shm-size", "16Gi"),
                ("ready-line", "App is loaded"),
                ("tty", "false"),
                ("pids-limit", "100"),
                ("runtime", "youki"),
                ("user", "1000:1000"),
                ("read-only-root", "true"),
            ],
            Kind::Container,
        );
        let expected = Options {
            autostart: true,
            restart: Restart::OnFailure { most: 3 },
            network: Some(Network::Host),
            cdi_devices: vec!["nvidia.com/gpu=0".to_owned(), "acme.com/port=x".to_owned()],
            gpu_count: 2,
            shm_bytes: 16 << 30,
            ready_line: Some("App is loaded".to_owned()),
            tty: Some(false),
            pids_limit: 100,
            runtime: "youki".to_owned(),
            user: "1000:1000".to_owned(),
            read_only_root: true,
        };
        assert_eq!(options.unwrap(), expected);
    }

    #[test]
    fn a_wrong_annotation_is_named_with_what_was_expected() {
        for (key, value, kind) in [
            ("autostrat", "true", Kind::Vm),
            ("autostart", "yes", Kind::Vm),
            ("restart", "on-failure:0", Kind::Vm),
            ("restart", "on-failure:-1", Kind::Vm),
            ("restart", "sometimes", Kind::Vm),
            ("network", "host", Kind::Vm),
            ("network", "user", Kind::Container),
            ("network", "", Kind::Container),
            ("cdi-devices", "", Kind::Container),
            ("cdi-devices", "nvidia.com/gpu", Kind::Container),
            ("cdi-devices", "../gpu=0", Kind::Container),
            ("cdi-devices", "a.com/gpu=0,a.com/gpu=0", Kind::Container),
            ("gpu-count", "-1", Kind::Container),
            ("gpu-count", "65", Kind::Container),
            ("gpu-count", "+1", Kind::Container),
            ("gpu-count", "1", Kind::Vm),
            ("shm-size", "16 GiB", Kind::Container),
            ("shm-size", "+1Gi", Kind::Container),
            ("shm-size", "99999999999Ti", Kind::Container),
            ("shm-size", "1", Kind::Container),
            ("ready-line", " ", Kind::Vm),
            ("ready-line", "a\nb", Kind::Vm),
            ("pids-limit", "0", Kind::Container),
            ("pids-limit", "+7", Kind::Container),
            ("runtime", "/bin/sh", Kind::Container),
            ("user", "root", Kind::Container),
            ("user", "1:", Kind::Container),
            ("user", "+1", Kind::Container),
            ("user", "4294967296", Kind::Container),
        ] {
            let error = read(&[(key, value)], kind).unwrap_err();
            let AgentError::Invalid { field, problem } = &error else { panic!("{error}") };
            assert_eq!(*field, annotation(key), "{error}");
            assert!(
                problem.contains("expected") || problem.contains("containers") || problem.contains("twice"),
                "{error}"
            );
        }
    }

    #[test]
    fn annotations_of_others_are_nobodys_business() {
        let free = [("example.com/autostart".to_owned(), "perhaps".to_owned())].into();
        assert_eq!(parse(&free, Kind::Vm).unwrap(), Options::default());
    }
}

//! Enums of the wire as words, and times as people read them.

use crate::proto::neuro::ext::{Controller, Phase};

/// `running`, ...
pub fn phase(number: i32) -> String {
    Phase::try_from(number).unwrap_or_default().as_str_name().trim_start_matches("PHASE_").to_lowercase()
}

/// `policy`, `human`, `none`.
pub fn controller(number: i32) -> String {
    let name = Controller::try_from(number).unwrap_or_default().as_str_name();
    name.trim_start_matches("CONTROLLER_").to_lowercase()
}

/// `12s`, `3m`, `5h`, `2d`.
pub fn age(ms: i64) -> String {
    let seconds = ms.max(0) / 1000;
    match seconds {
        0..60 => format!("{seconds}s"),
        60..3600 => format!("{}m", seconds / 60),
        3600..172_800 => format!("{}h", seconds / 3600),
        _ => format!("{}d", seconds / 86_400),
    }
}

/// `HH:MM:SS` of a Unix time in ms, UTC.
pub fn clock(at_ms: i64) -> String {
    let seconds = at_ms.div_euclid(1000).rem_euclid(86_400);
    format!("{:02}:{:02}:{:02}", seconds / 3600, seconds / 60 % 60, seconds % 60)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_read_at_a_glance() {
        let ages = [-5, 0, 59_999, 60_000, 3_599_999, 3_600_000, 172_800_000].map(age);
        assert_eq!(ages, ["0s", "0s", "59s", "1m", "59m", "1h", "2d"]);
        assert_eq!(clock(1_763_731_445_123), "13:24:05");
        assert_eq!(
            (phase(5), phase(0), controller(2)),
            ("running".into(), "unspecified".into(), "human".into())
        );
    }
}

//! How a run ended, out of what QEMU says of its guest and what the kernel says of QEMU.
//!
//! QEMU is told not to end with its guest. So the reason is still there when nobody looked at the moment.

use std::os::unix::process::ExitStatusExt as _;
use std::process::ExitStatus;

use serde_json::Value;

use crate::agent::record::Exit;

/// The guest's kernel panicked: what a process returns that aborted.
pub const PANIC: i32 = 134;
/// QEMU or the processor could not go on: an internal error.
pub const INTERNAL: i32 = 70;
/// Nobody saw how.
const UNSEEN: i32 = 255;
const KILLED: i32 = 128;

/// Now, Unix ms.
#[must_use]
pub fn now_ms() -> i64 {
    let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since.as_millis()).unwrap_or(i64::MAX)
}

/// With a code and nothing else.
#[must_use]
pub const fn code(code: i32, at_ms: i64) -> Exit {
    Exit { code, signal: None, oom: false, at_ms, unseen: false }
}

/// By a signal to QEMU.
#[must_use]
pub const fn signal(signal: i32, at_ms: i64) -> Exit {
    Exit { code: KILLED + signal, signal: Some(signal), oom: false, at_ms, unseen: false }
}

/// Nobody saw how.
#[must_use]
pub const fn unseen(at_ms: i64) -> Exit {
    Exit { code: UNSEEN, signal: None, oom: false, at_ms, unseen: true }
}

/// What an answer to `query-status` means; `None` when the run goes on.
#[must_use]
pub fn of_status(answer: &Value, at_ms: i64) -> Option<Exit> {
    match answer.get("status").and_then(Value::as_str)? {
        "shutdown" => Some(code(0, at_ms)),
        "guest-panicked" => Some(code(PANIC, at_ms)),
        "internal-error" => Some(code(INTERNAL, at_ms)),
        _ => None,
    }
}

/// Does the machine stand still because the host's disk is full.
#[must_use]
pub fn waits(answer: &Value) -> bool {
    answer.get("status").and_then(Value::as_str) == Some("io-error")
}

/// What QEMU's own end means, when nobody told it to end.
#[must_use]
pub fn of_process(status: ExitStatus, at_ms: i64) -> Exit {
    match (status.signal(), status.code()) {
        (Some(number), _) => signal(number, at_ms),
        // It ends like this when it is asked to by SIGTERM, SIGINT or SIGHUP.
        (None, Some(0)) => signal(15, at_ms),
        (None, other) => code(other.unwrap_or(1), at_ms),
    }
}

/// A code in words, for those that are not the guest's own.
#[must_use]
pub const fn words(code: i32) -> Option<&'static str> {
    match code {
        PANIC => Some("the guest's kernel panicked"),
        INTERNAL => Some("the virtual machine could not go on: internal error"),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_guest_that_switched_itself_off_ended_well_and_a_broken_machine_did_not() {
        let exit = |status: &str| of_status(&json!({"status": status, "running": false}), 5);
        assert_eq!(exit("shutdown"), Some(code(0, 5)));
        assert_eq!(exit("guest-panicked").map(|exit| exit.code), Some(PANIC));
        assert_eq!(exit("internal-error").map(|exit| exit.code), Some(INTERNAL));
        for status in ["running", "paused", "io-error", "prelaunch", "suspended", "watchdog"] {
            assert_eq!(exit(status), None, "{status}");
        }
        assert_eq!(of_status(&json!([]), 5), None);
    }

    #[test]
    fn an_end_of_qemu_that_nobody_ordered_is_a_signal_or_its_own_code() {
        assert_eq!(of_process(ExitStatus::from_raw(9), 1), signal(9, 1));
        assert_eq!(of_process(ExitStatus::from_raw(0), 1).code, 143, "asked to by a signal");
        assert_eq!(of_process(ExitStatus::from_raw(256), 1), code(1, 1));
    }
}

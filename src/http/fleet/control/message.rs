//! What a driver's page says and hears, beside what the robot says itself.

use serde::Deserialize;
use serde_json::json;

use crate::fleet::control::{Lease, Line};
use crate::fleet::ids::SessionId;
use crate::instance::contract::{JointGroup, ToRobot, Velocity};

/// What a page said.
#[derive(Debug, Clone, PartialEq)]
pub enum Said {
    /// A command for the robot.
    Command(ToRobot),
    /// Take control, or give it back.
    Mode {
        /// Take it.
        manual: bool,
        /// Also from another person.
        force: bool,
        /// Whether to record; `None`: as the session says.
        record: Option<bool>,
        /// Whether what drove before goes on.
        resume: bool,
    },
    /// To keep a proxy awake.
    Ping,
}

#[derive(Deserialize)]
struct Raw {
    #[serde(default)]
    r#type: Option<String>,
    #[serde(default)]
    velocity: Option<Velocity>,
    #[serde(default, alias = "joint_commands")]
    commands: Option<Vec<JointGroup>>,
    #[serde(default)]
    action: Option<Vec<f64>>,
    #[serde(default)]
    mode: Option<String>,
    #[serde(default)]
    force: bool,
    #[serde(default)]
    record: Option<bool>,
    #[serde(default)]
    resume: Option<bool>,
}

/// Reads a message. `{"mode":"manual"}` without a type is a mode.
///
/// # Errors
/// A sentence saying what was expected.
pub fn read(text: &str) -> Result<Said, String> {
    let raw: Raw = serde_json::from_str(text).map_err(|error| format!("not understood: {error}"))?;
    let kind = raw.r#type.as_deref().unwrap_or(if raw.mode.is_some() { "mode" } else { "" });
    let missing = |field: &str| format!("a {kind} message needs {field:?}");
    match kind {
        "robot_control" => {
            let velocity = raw.velocity.ok_or_else(|| missing("velocity"))?;
            Ok(Said::Command(ToRobot::RobotControl { velocity }))
        }
        "joint_command" | "joint_commands" => {
            let commands = raw.commands.ok_or_else(|| missing("commands"))?;
            Ok(Said::Command(ToRobot::JointCommand { commands }))
        }
        "action" => {
            let action = raw.action.ok_or_else(|| missing("action"))?;
            Ok(Said::Command(ToRobot::Action { action }))
        }
        "mode" => {
            let mode = raw.mode.ok_or_else(|| missing("mode"))?;
            let manual = match mode.as_str() {
                "manual" => true,
                "ai" => false,
                other => {
                    let other: String = other.chars().take(40).collect();
                    return Err(format!("mode is {other:?}, expected \"manual\" or \"ai\""));
                }
            };
            Ok(Said::Mode {
                manual,
                force: raw.force,
                record: raw.record,
                resume: raw.resume.unwrap_or(true),
            })
        }
        "ping" => Ok(Said::Ping),
        other => {
            let other: String = other.chars().take(40).collect();
            Err(format!("type is {other:?}, expected robot_control, joint_command, action, mode or ping"))
        }
    }
}

/// The first message of a connection.
pub fn connected(session: &SessionId, lease: &Lease, driving: bool) -> String {
    let instance = lease.instance.map(|instance| instance.to_string());
    json!({
        "type": "connected", "session_id": session.as_str(), "instance_id": instance, "driving": driving,
        "mode": lease.mode(), "user": lease.user, "phase": lease.phase.as_str_name(), "recording": lease.recording,
    })
    .to_string()
}

/// Who drives now.
pub fn mode(lease: &Lease, driving: bool) -> String {
    let instance = lease.instance.map(|instance| instance.to_string());
    json!({
        "type": "mode", "mode": lease.mode(), "driving": driving, "user": lease.user, "instance_id": instance,
        "phase": lease.phase.as_str_name(), "recording": lease.recording,
    })
    .to_string()
}

/// The line to the simulator.
pub fn line(line: &Line) -> String {
    json!({"type": "robot_connection", "open": line.open, "trouble": line.trouble}).to_string()
}

/// A demonstration was recorded.
pub fn recorded(id: &str) -> String {
    json!({"type": "demonstration", "id": id}).to_string()
}

/// Answer to a ping.
pub fn pong() -> String {
    json!({"type": "pong"}).to_string()
}

/// What was wrong.
pub fn error(message: &str) -> String {
    json!({"type": "error", "message": message}).to_string()
}

/// The session is over.
pub fn ended(lease: &Lease) -> String {
    json!({"type": "ended", "phase": lease.phase.as_str_name()}).to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_published_messages_are_understood() {
        let said = read(r#"{"type":"robot_control","velocity":{"x":0.5,"y":-0.25}}"#).unwrap();
        let velocity = Velocity { x: 0.5, y: -0.25, ..Velocity::default() };
        assert_eq!(said, Said::Command(ToRobot::RobotControl { velocity }));
        let manual = Said::Mode { manual: true, force: false, record: None, resume: true };
        assert_eq!(read(r#"{"mode":"manual"}"#).unwrap(), manual);
        assert_eq!(read(r#"{"type":"mode","mode":"manual"}"#).unwrap(), manual);
        let group = r#"[{"type":"position","names":["j1"],"values":[0.1]}]"#;
        for text in [
            format!(r#"{{"type":"joint_command","commands":{group}}}"#),
            format!(r#"{{"type":"joint_command","joint_commands":{group}}}"#),
        ] {
            assert!(
                matches!(read(&text).unwrap(), Said::Command(ToRobot::JointCommand { commands }) if commands.len() == 1)
            );
        }
    }

    #[test]
    fn anything_else_is_refused_with_what_was_expected() {
        for (text, expected) in [
            ("", "not understood"),
            ("7", "not understood"),
            (r#"{"type":"robot_control"}"#, "needs \"velocity\""),
            (r#"{"type":"robot_control","velocity":{"x":"fast"}}"#, "not understood"),
            (r#"{"type":"explode"}"#, "\"explode\", expected robot_control"),
            (r#"{"mode":"auto"}"#, "\"auto\", expected \"manual\""),
            ("{}", "expected robot_control"),
        ] {
            let refused = read(text).unwrap_err();
            assert!(refused.contains(expected), "{text}: {refused}");
        }
    }
}

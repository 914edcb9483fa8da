//! Messages of QEMU's monitor: JSON objects, a line each. A guest that has taken over its QEMU can write anything there.

use serde_json::{Map, Value};

/// Longest line. The answers that this program asks for are a few KiB.
const LONGEST: usize = 1 << 20;

/// What came from a monitor.
#[derive(Debug, Clone, PartialEq)]
pub enum Message {
    /// The first line of a connection.
    Greeting {
        /// `7.2.22`
        version: String,
    },
    /// A command was carried out.
    Return {
        /// Of the command.
        id: Option<u64>,
        /// What it answers.
        value: Value,
    },
    /// A command was refused.
    Refused {
        /// Of the command.
        id: Option<u64>,
        /// `GenericError`, `CommandNotFound`, ...
        class: String,
        /// A sentence.
        text: String,
    },
    /// Something happened.
    Event(Event),
}

/// Something that happened.
#[derive(Debug, Clone, PartialEq)]
pub struct Event {
    /// `SHUTDOWN`, `GUEST_PANICKED`, ...
    pub name: String,
    /// What it says of itself; null when it says nothing.
    pub data: Value,
    /// Unix ms.
    pub at_ms: i64,
}

/// Why bytes are no messages.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Malformed {
    /// No line feed for too long.
    #[error("a line of over {LONGEST} bytes")]
    TooLong,
    /// Not JSON.
    #[error("not JSON: {0}")]
    Json(String),
    /// JSON that is none of the four.
    #[error("neither greeting, return, error nor event: {0}")]
    Unknown(String),
}

impl Message {
    /// Reads a line.
    ///
    /// # Errors
    /// It is none of the four.
    pub fn parse(line: &[u8]) -> Result<Self, Malformed> {
        let value: Value =
            serde_json::from_slice(line).map_err(|error| Malformed::Json(error.to_string()))?;
        let unknown = || Malformed::Unknown(value.to_string().chars().take(200).collect());
        let object = value.as_object().ok_or_else(unknown)?;
        let id = object.get("id").and_then(Value::as_u64);
        if let Some(greeting) = object.get("QMP") {
            return Ok(Self::Greeting { version: version(greeting) });
        }
        if let Some(value) = object.get("return") {
            return Ok(Self::Return { id, value: value.clone() });
        }
        if let Some(error) = object.get("error").and_then(Value::as_object) {
            return Ok(Self::Refused { id, class: text(error, "class"), text: text(error, "desc") });
        }
        let name = object.get("event").and_then(Value::as_str).ok_or_else(unknown)?.to_owned();
        let data = object.get("data").cloned().unwrap_or_default();
        Ok(Self::Event(Event { name, data, at_ms: instant(object.get("timestamp")) }))
    }
}

fn version(greeting: &Value) -> String {
    let part = |name: &str| {
        greeting.pointer(&format!("/version/qemu/{name}")).and_then(Value::as_u64).unwrap_or_default()
    };
    format!("{}.{}.{}", part("major"), part("minor"), part("micro"))
}

fn text(object: &Map<String, Value>, name: &str) -> String {
    object.get(name).and_then(Value::as_str).unwrap_or_default().to_owned()
}

/// QEMU says -1 seconds when its clock failed.
fn instant(timestamp: Option<&Value>) -> i64 {
    let part = |name: &str| {
        timestamp.and_then(|at| at.get(name)).and_then(Value::as_i64).filter(|part| *part >= 0).unwrap_or(0)
    };
    part("seconds").saturating_mul(1000).saturating_add(part("microseconds") / 1000)
}

/// Cuts a stream into lines.
#[derive(Debug, Default)]
pub struct Lines {
    held: Vec<u8>,
    searched: usize,
}

impl Lines {
    /// More bytes.
    pub fn push(&mut self, bytes: &[u8]) {
        self.held.extend_from_slice(bytes);
    }

    /// The next whole message; blank lines are none.
    ///
    /// # Errors
    /// What came is no message; the stream is of no use from there.
    pub fn next_message(&mut self) -> Result<Option<Message>, Malformed> {
        loop {
            let unsearched = self.held.get(self.searched..).unwrap_or_default();
            let Some(found) = unsearched.iter().position(|byte| *byte == b'\n') else {
                self.searched = self.held.len();
                return if self.held.len() > LONGEST { Err(Malformed::TooLong) } else { Ok(None) };
            };
            let line: Vec<u8> = self.held.drain(..=self.searched + found).collect();
            self.searched = 0;
            match line.trim_ascii() {
                [] => {}
                line if line.len() > LONGEST => return Err(Malformed::TooLong),
                line => return Message::parse(line).map(Some),
            }
        }
    }
}

/// Reads bytes as a stream in two pieces, as a fuzz target wants it: where it is cut changes nothing.
///
/// # Errors
/// As [`Lines::next_message`].
pub fn read_all(bytes: &[u8], cut: usize) -> Result<Vec<Message>, Malformed> {
    let (mut lines, mut found) = (Lines::default(), Vec::new());
    let (first, second) = bytes.split_at(cut.min(bytes.len()));
    for piece in [first, second] {
        lines.push(piece);
        while let Some(message) = lines.next_message()? {
            found.push(message);
        }
    }
    Ok(found)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const GREETING: &str = r#"{"QMP": {"version": {"qemu": {"micro": 22, "minor": 2, "major": 7}, "package": "x"}, "capabilities": ["oob"]}}"#;

    #[test]
    fn the_four_sorts_of_messages_are_told_apart() {
        assert_eq!(
            Message::parse(GREETING.as_bytes()),
            Ok(Message::Greeting { version: "7.2.22".to_owned() })
        );
        let line = br#"{"return": {"status": "running"}, "id": 7}"#;
        assert!(
            matches!(Message::parse(line), Ok(Message::Return { id: Some(7), value }) if value["status"] == "running")
        );
        let line = br#"{"id": 8, "error": {"class": "CommandNotFound", "desc": "The command x has not been found"}}"#;
        assert!(
            matches!(Message::parse(line), Ok(Message::Refused { id: Some(8), class, .. }) if class == "CommandNotFound")
        );
        let line = br#"{"timestamp": {"seconds": 1700000000, "microseconds": 123456}, "event": "SHUTDOWN", "data": {"guest": true, "reason": "guest-shutdown"}}"#;
        let Ok(Message::Event(event)) = Message::parse(line) else { panic!("an event") };
        assert_eq!((event.name.as_str(), event.at_ms), ("SHUTDOWN", 1_700_000_000_123));
        assert_eq!(event.data["reason"], "guest-shutdown");
    }

    #[test]
    fn what_is_no_message_is_refused_and_clocks_that_failed_are_nought() {
        for bad in [
            "[]",
            "null",
            "1",
            "{}",
            r#"{"event": 1}"#,
            r#"{"error": "x"}"#,
            "{",
            "\u{0}",
            &"[".repeat(100_000),
        ] {
            assert!(Message::parse(bad.as_bytes()).is_err(), "{}", &bad[..bad.len().min(20)]);
        }
        let odd = br#"{"event":"E","timestamp":{"seconds":-1,"microseconds":-1},"id":"text"}"#;
        assert!(matches!(Message::parse(odd), Ok(Message::Event(Event { at_ms: 0, .. }))));
        let huge = br#"{"event":"E","timestamp":{"seconds":9223372036854775807,"microseconds":5}}"#;
        assert!(matches!(Message::parse(huge), Ok(Message::Event(Event { at_ms: i64::MAX, .. }))));
    }

    #[test]
    fn a_line_without_an_end_is_not_kept_for_ever() {
        let mut lines = Lines::default();
        let mut refused = false;
        for _ in 0..20 {
            lines.push(&vec![b'x'; 100_000]);
            refused |= lines.next_message() == Err(Malformed::TooLong);
        }
        assert!(refused);
    }

    proptest! {
        #[test]
        fn where_a_stream_is_cut_changes_nothing(bytes in prop::collection::vec(any::<u8>(), 0..300), cut in 0_usize..300, whole in 0_usize..3) {
            let mut stream = format!("{GREETING}\r\n").repeat(whole).into_bytes();
            stream.extend(bytes);
            prop_assert_eq!(read_all(&stream, cut), read_all(&stream, 0));
            prop_assert_eq!(read_all(&stream, cut + GREETING.len()), read_all(&stream, 0));
        }
    }
}

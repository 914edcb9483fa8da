//! Names of sessions and instances, checked once where they enter.

use std::fmt;
use std::str::FromStr;

use uuid::Uuid;

use super::error::FleetError;

/// Longest session id.
const LONGEST_ID: usize = 128;

/// A session, as its creator named it: 1 to 128 of `A-Za-z0-9._:-`. Clients use UUIDs.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SessionId(String);

impl SessionId {
    /// The id as it stands on the wire.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for SessionId {
    type Err = FleetError;

    fn from_str(text: &str) -> Result<Self, FleetError> {
        let allowed = |byte: u8| byte.is_ascii_alphanumeric() || b"._:-".contains(&byte);
        if text.is_empty() {
            return Err(FleetError::invalid("session_id", "is empty; expected 1 to 128 of A-Za-z0-9._:-"));
        }
        if text.len() > LONGEST_ID || !text.bytes().all(allowed) {
            let shown: String = text.chars().take(40).collect();
            let problem = format!("{shown:?} is not 1 to {LONGEST_ID} of A-Za-z0-9._:-");
            return Err(FleetError::invalid("session_id", problem));
        }
        // It names folders: these two would leave them.
        if text == "." || text == ".." {
            return Err(FleetError::invalid("session_id", format!("{text:?} is reserved")));
        }
        Ok(Self(text.to_owned()))
    }
}

impl fmt::Display for SessionId {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(&self.0)
    }
}

/// A simulator or trainer. Always a UUID: clients parse it as one. People read its `name` instead.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct InstanceId(pub Uuid);

impl InstanceId {
    /// A new one.
    #[must_use]
    pub fn new() -> Self {
        Self(Uuid::new_v4())
    }
}

impl Default for InstanceId {
    fn default() -> Self {
        Self::new()
    }
}

impl FromStr for InstanceId {
    type Err = FleetError;

    fn from_str(text: &str) -> Result<Self, FleetError> {
        Uuid::parse_str(text).map(Self).map_err(|error| {
            let shown: String = text.chars().take(64).collect();
            FleetError::invalid("instance_id", format!("{shown:?} is not a UUID: {error}"))
        })
    }
}

impl fmt::Display for InstanceId {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(out)
    }
}

/// The number that makes orders obsolete: every grant of an instance raises it, every order carries it, and an instance
/// refuses a lower one than it has seen.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Fence(pub u64);

impl fmt::Display for Fence {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(out)
    }
}

//! Names of instances, checked once where they enter: they become names of folders, cgroups and sockets.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use super::error::AgentError;

/// Longest id.
const LONGEST: usize = 63;

/// An instance, as its creator named it: a letter or digit, then up to 62 of `A-Za-z0-9_.-`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct InstanceId(String);

impl InstanceId {
    /// The id as it stands on the wire.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Sixteen hexadecimal digits that stand for it where names must be short: sockets and network devices.
    #[must_use]
    pub fn short(&self) -> String {
        Sha256::digest(self.0.as_bytes()).iter().take(8).map(|byte| format!("{byte:02x}")).collect()
    }
}

impl FromStr for InstanceId {
    type Err = AgentError;

    fn from_str(text: &str) -> Result<Self, AgentError> {
        let expected = "expected a letter or digit and then up to 62 of A-Za-z0-9_.-";
        let problem = match text.as_bytes() {
            [] => format!("is empty; {expected}"),
            [first, rest @ ..]
                if first.is_ascii_alphanumeric()
                    && rest.iter().all(|byte| byte.is_ascii_alphanumeric() || b"_.-".contains(byte))
                    && text.len() <= LONGEST =>
            {
                return Ok(Self(text.to_owned()));
            }
            _ => format!("is {:?}; {expected}", text.chars().take(80).collect::<String>()),
        };
        Err(AgentError::invalid("instance_id", problem))
    }
}

impl TryFrom<String> for InstanceId {
    type Error = AgentError;

    fn try_from(text: String) -> Result<Self, AgentError> {
        text.parse()
    }
}

impl From<InstanceId> for String {
    fn from(id: InstanceId) -> Self {
        id.0
    }
}

impl fmt::Display for InstanceId {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_are_names_that_a_path_a_cgroup_and_a_socket_can_bear() {
        for good in ["a", "0", "inst-abc123", "A.b_c-d", &"x".repeat(63)] {
            assert_eq!(good.parse::<InstanceId>().unwrap().as_str(), good);
        }
        for bad in ["", ".", "..", "-a", "_a", "a/b", "a b", "ä", "a\0", "../x", &"x".repeat(64)] {
            let error = bad.parse::<InstanceId>().unwrap_err();
            assert!(matches!(&error, AgentError::Invalid { field, .. } if field == "instance_id"), "{error}");
        }
    }

    #[test]
    fn the_short_name_is_sixteen_digits_and_tells_ids_apart() {
        let [one, two]: [InstanceId; 2] = ["a".parse().unwrap(), "b".parse().unwrap()];
        assert!(one.short().len() == 16 && one.short() != two.short() && one.short() == one.short());
    }
}

//! What the messages have no field for: owner, labels, policy.

use super::text;
use crate::fleet::error::FleetError;
use crate::fleet::request::SessionOptions;

/// Who pays when nobody says.
const DEFAULT_OWNER: &str = "default";
/// Longest name of a person, in bytes.
const LONGEST_USER: usize = 128;

/// The owner, `default` for an empty one.
///
/// # Errors
/// `Invalid` unless it is 1 to 128 of `A-Za-z0-9._:@-`.
pub fn owner(name: &str) -> Result<String, FleetError> {
    if name.is_empty() {
        return Ok(DEFAULT_OWNER.to_owned());
    }
    let allowed = |byte: u8| byte.is_ascii_alphanumeric() || b"._:@-".contains(&byte);
    if name.len() > 128 || !name.bytes().all(allowed) {
        let shown: String = name.chars().take(40).collect();
        return Err(FleetError::invalid("owner", format!("{shown:?} is not 1 to 128 of A-Za-z0-9._:@-")));
    }
    Ok(name.to_owned())
}

/// Checks the name of a person who takes control.
///
/// # Errors
/// `Invalid` unless it has 1 to 128 bytes and no control characters.
pub fn user(name: &str) -> Result<(), FleetError> {
    if name.is_empty() || name.len() > LONGEST_USER {
        let problem = format!("has {} bytes; expected 1 to {LONGEST_USER}", name.len());
        return Err(FleetError::invalid("user", problem));
    }
    if name.chars().any(char::is_control) {
        return Err(FleetError::invalid("user", "holds control characters"));
    }
    Ok(())
}

/// Checks labels, policy and instruction.
///
/// # Errors
/// `Invalid`, with the one that is wrong.
pub fn check(options: &SessionOptions) -> Result<(), FleetError> {
    if options.requires.len() > 32 {
        let problem = format!("names {} labels; expected at most 32", options.requires.len());
        return Err(FleetError::invalid("requires", problem));
    }
    for (label, value) in &options.requires {
        if label.is_empty() {
            return Err(FleetError::invalid("requires", "holds a label without a name"));
        }
        text("requires", label, 128)?;
        text("requires", value, 128)?;
    }
    let policy = &options.policy;
    let is_url = policy.starts_with("http://") || policy.starts_with("https://");
    if !policy.is_empty() && policy != "local" && !is_url {
        let shown: String = policy.chars().take(60).collect();
        let problem = format!("is {shown:?}; expected \"local\" or the http:// URL of a policy server");
        return Err(FleetError::invalid("policy", problem));
    }
    text("policy", policy, 1024)?;
    if options.instruction.len() > 4096 {
        let problem = format!("is {} bytes long; expected at most 4096", options.instruction.len());
        return Err(FleetError::invalid("instruction", problem));
    }
    Ok(())
}

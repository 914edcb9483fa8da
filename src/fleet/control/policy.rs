//! A policy as the driver of a robot: a picture and an instruction in, an action out.

use std::time::Duration;

use bytes::Bytes;
use futures_util::future::BoxFuture;
use reqwest::multipart::{Form, Part};
use serde::Deserialize;

use crate::fleet::error::FleetError;

/// dx dy dz (m), droll dpitch dyaw (rad), gripper (0 open to 1 closed): a policy's own order and signs.
pub type Action = [f64; 7];

/// For an action.
const ACT_TIME: Duration = Duration::from_secs(30);
/// Longest answer, in bytes.
const LONGEST_ANSWER: usize = 1 << 20;

/// Anything that drives by looking.
pub trait PolicyDriver: Send + Sync + std::fmt::Debug {
    /// The action for a picture (JPEG).
    ///
    /// Errors: `Unavailable` when asking again makes sense; anything else when it does not.
    fn act(&self, frame_jpeg: Bytes, instruction: &str) -> BoxFuture<'_, Result<Action, FleetError>>;
}

/// A policy server: `POST URL/predict`, a multipart form, as docs/WIRES.md describes it.
#[derive(Debug)]
pub struct RemotePolicy {
    url: String,
    http: reqwest::Client,
}

#[derive(Deserialize)]
struct Answer {
    #[serde(default)]
    action: Option<Vec<f64>>,
    #[serde(default)]
    error: Option<serde_json::Value>,
    #[serde(default)]
    detail: Option<serde_json::Value>,
}

impl RemotePolicy {
    /// The server at `url` (`http://host:port`, with or without `/predict`).
    ///
    /// # Errors
    /// `Invalid` for anything else.
    pub fn new(url: &str, http: reqwest::Client) -> Result<Self, FleetError> {
        let shown: String = url.chars().take(100).collect();
        let problem = |why: &str| FleetError::invalid("policy", format!("is {shown:?}: {why}"));
        let parsed = reqwest::Url::parse(url).map_err(|error| problem(&error.to_string()))?;
        if parsed.scheme() != "http" || parsed.host_str().is_none() {
            return Err(problem("expected `local` or http://host:port of a policy server"));
        }
        let base = url.trim_end_matches('/');
        let base = base.strip_suffix("/predict").unwrap_or(base);
        Ok(Self { url: format!("{base}/predict"), http })
    }

    fn away(&self, why: impl std::fmt::Display) -> FleetError {
        FleetError::Unavailable {
            message: format!("the policy at {}: {why}", self.url),
            retry_after: Duration::from_secs(1),
        }
    }

    async fn ask(&self, frame: Bytes, instruction: String) -> Result<Action, FleetError> {
        let part = Part::stream(frame).file_name("frame.jpg").mime_str("image/jpeg");
        let part = part.map_err(FleetError::internal)?;
        let form = Form::new().part("image", part).text("instruction", instruction);
        let request = self.http.post(&self.url).timeout(ACT_TIME).multipart(form);
        let mut answer = request.send().await.map_err(|error| self.away(error))?;
        let status = answer.status();
        let mut body = Vec::new();
        while let Some(chunk) = answer.chunk().await.map_err(|error| self.away(error))? {
            if body.len() + chunk.len() > LONGEST_ANSWER {
                return Err(self.away(format!("its answer has more than {LONGEST_ANSWER} bytes")));
            }
            body.extend_from_slice(&chunk);
        }
        let answer: Result<Answer, _> = serde_json::from_slice(&body);
        if !status.is_success() {
            let said = answer.ok().and_then(|answer| answer.error.or(answer.detail));
            let said: String =
                said.map(|said| said.to_string()).unwrap_or_default().chars().take(200).collect();
            return Err(self.away(format!("{status} {said}")));
        }
        let answer = answer.map_err(|error| self.away(format!("its answer: {error}")))?;
        let numbers = answer.action.unwrap_or_default();
        checked(&numbers).map_err(|why| self.away(why))
    }
}

impl PolicyDriver for RemotePolicy {
    fn act(&self, frame_jpeg: Bytes, instruction: &str) -> BoxFuture<'_, Result<Action, FleetError>> {
        let instruction = instruction.to_owned();
        Box::pin(self.ask(frame_jpeg, instruction))
    }
}

/// Seven finite numbers, or what is wrong with them.
pub(super) fn checked(numbers: &[f64]) -> Result<Action, String> {
    let action: Action =
        numbers.try_into().map_err(|_| format!("its action has {} numbers, expected 7", numbers.len()))?;
    match action.iter().position(|number| !number.is_finite()) {
        None => Ok(action),
        Some(at) => Err(format!("action[{at}] is not finite")),
    }
}

/// What a robot is told: its gripper counts from closed (0) to open (1), the policies' from open to closed.
pub(super) fn for_robot([x, y, z, roll, pitch, yaw, gripper]: Action) -> Vec<f64> {
    vec![x, y, z, roll, pitch, yaw, 1.0 - gripper.clamp(0.0, 1.0)]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_policy_is_named_by_an_http_url_and_nothing_else() {
        let named = |url| RemotePolicy::new(url, reqwest::Client::new()).map(|policy| policy.url);
        let expected = Ok("http://127.0.0.1:8000/predict".to_owned());
        for url in ["http://127.0.0.1:8000", "http://127.0.0.1:8000/", "http://127.0.0.1:8000/predict"] {
            assert_eq!(named(url), expected);
        }
        for url in ["", "locale", "https://h", "file:///etc/passwd", "http://"] {
            assert!(matches!(named(url), Err(FleetError::Invalid { .. })), "{url}");
        }
    }

    #[test]
    fn a_gripper_that_the_policy_closes_is_closed_on_the_robot() {
        assert_eq!(for_robot([0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 1.0]), [0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.0]);
        assert_eq!(for_robot([0.0; 7])[6], 1.0);
        assert_eq!(for_robot([0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 1.5])[6], 0.0);
        assert!(checked(&[0.0; 6]).unwrap_err().contains("6 numbers"));
        assert!(checked(&[0.0, 0.0, f64::NAN, 0.0, 0.0, 0.0, 0.0]).unwrap_err().contains("action[2]"));
    }
}

//! The policy that lives in this process, as a driver.

use std::time::{Duration, Instant};

use bytes::Bytes;
use futures_util::future::BoxFuture;

use super::policy::{Action, PolicyDriver, checked};
use crate::fleet::error::FleetError;
use crate::policy::request::{Picture, PredictRequest};
use crate::policy::service::PolicyService;

/// Name of this wire in metrics and recordings.
const WIRE: &str = "fleet";
/// An action later than this is of no use to a robot that has moved on.
const DEADLINE: Duration = Duration::from_secs(30);

/// See the module.
#[derive(Debug, Clone)]
pub struct LocalPolicy(PolicyService);

impl LocalPolicy {
    /// Drives with this service, whatever model it has.
    #[must_use]
    pub const fn new(service: PolicyService) -> Self {
        Self(service)
    }

    async fn ask(&self, frame: Bytes, instruction: String) -> Result<Action, FleetError> {
        let mut request = PredictRequest::new(Picture::Encoded(frame), instruction, WIRE);
        request.deadline = Some(Instant::now() + DEADLINE);
        let prediction = self.0.predict(request).await.map_err(|error| {
            let message = format!("the policy: {error}");
            match error.retry_after() {
                Some(retry_after) => FleetError::Unavailable { message, retry_after },
                None => FleetError::Internal(message),
            }
        })?;
        let numbers: Vec<f64> = prediction.action.iter().map(|number| f64::from(*number)).collect();
        checked(&numbers).map_err(|why| FleetError::Internal(format!("the policy: {why}")))
    }
}

impl PolicyDriver for LocalPolicy {
    fn act(&self, frame_jpeg: Bytes, instruction: &str) -> BoxFuture<'_, Result<Action, FleetError>> {
        let instruction = instruction.to_owned();
        Box::pin(self.ask(frame_jpeg, instruction))
    }
}

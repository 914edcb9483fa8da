//! The policy of `neuro orchestrate --model`: the same service as a policy server's, in this process, as a driver.

use bytes::Bytes;
use futures_util::FutureExt;
use futures_util::future::BoxFuture;

use super::exit::{Exit, Failure, OrExit};
use super::options;
use crate::config::ServeConfig;
use crate::fleet::FleetError;
use crate::fleet::control::PolicyDriver;
use crate::policy::request::{Picture, PredictError, PredictRequest};
use crate::policy::service::PolicyService;

/// A policy in this process.
struct LocalPolicy(PolicyService);

impl std::fmt::Debug for LocalPolicy {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        out.write_str("LocalPolicy")
    }
}

/// Loads the configured model.
///
/// # Errors
/// With [`Exit::Model`] when it is refused.
pub(super) async fn open(config: &ServeConfig) -> Result<impl PolicyDriver + use<>, Failure> {
    let service = PolicyService::start(options::service(config, None));
    service.load(options::load(config)).await.or_exit(Exit::Model)?;
    Ok(LocalPolicy(service))
}

impl PolicyDriver for LocalPolicy {
    fn act(&self, frame_jpeg: Bytes, instruction: &str) -> BoxFuture<'_, Result<[f64; 7], FleetError>> {
        let request = PredictRequest::new(Picture::Encoded(frame_jpeg), instruction.to_owned(), "fleet");
        async move {
            let prediction = self.0.predict(request).await.map_err(fault)?;
            Ok(prediction.action.map(f64::from))
        }
        .boxed()
    }
}

fn fault(error: PredictError) -> FleetError {
    let message = error.to_string();
    match (&error, error.retry_after()) {
        (_, Some(retry_after)) => FleetError::Unavailable { message, retry_after },
        (PredictError::Image(_) | PredictError::Tactile(_), None) => FleetError::invalid("frame", message),
        (PredictError::Instruction(_), None) => FleetError::invalid("instruction", message),
        (PredictError::DeadlineExceeded { .. }, None) => FleetError::Deadline(message),
        _ => FleetError::Internal(message),
    }
}

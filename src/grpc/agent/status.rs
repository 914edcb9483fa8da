//! Which gRPC status an error of the agent becomes, with the details that clients act on. The same in both profiles.

use std::time::Duration;

use tonic::{Code, Status};
use tonic_types::{ErrorDetails, StatusExt};

use crate::agent::error::AgentError;

/// When to ask again what is not possible now.
const RETRY: Duration = Duration::from_secs(1);

/// The status, with a `google.rpc.Status` in `grpc-status-details-bin` where there is something to add.
pub(super) fn of(error: &AgentError) -> Status {
    let message = error.to_string();
    let mut details = ErrorDetails::new();
    match error {
        AgentError::Invalid { field, problem } => {
            details.add_bad_request_violation(field, problem);
        }
        AgentError::NotFound { what, id } => {
            details.set_resource_info(*what, id, "", "");
        }
        AgentError::Unavailable(_) => {
            details.set_retry_info(Some(RETRY));
        }
        AgentError::Internal(_) => {
            tracing::error!(error = message, "a call failed");
            return Status::new(code(error), message);
        }
        _ => return Status::new(code(error), message),
    }
    Status::with_error_details(code(error), message, details)
}

const fn code(error: &AgentError) -> Code {
    match error {
        AgentError::Invalid { .. } => Code::InvalidArgument,
        AgentError::NotFound { .. } => Code::NotFound,
        AgentError::AlreadyExists(_) => Code::AlreadyExists,
        AgentError::Precondition(_) => Code::FailedPrecondition,
        AgentError::Exhausted(_) => Code::ResourceExhausted,
        AgentError::Unavailable(_) => Code::Unavailable,
        AgentError::Denied(_) => Code::PermissionDenied,
        AgentError::Unauthenticated(_) => Code::Unauthenticated,
        AgentError::Internal(_) => Code::Internal,
    }
}

/// The value of the `outcome` label.
pub(super) fn outcome(status: &Status) -> &'static str {
    match status.code() {
        Code::InvalidArgument => "invalid",
        Code::NotFound => "not_found",
        Code::AlreadyExists => "already_exists",
        Code::FailedPrecondition => "precondition",
        Code::ResourceExhausted => "exhausted",
        Code::Unavailable => "unavailable",
        _ => "failed",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_kind_has_its_status_and_says_what_was_wrong() {
        let message = "m".to_owned();
        let cases = [
            (AgentError::invalid("a", "is b"), Code::InvalidArgument),
            (AgentError::not_found("instance", "s"), Code::NotFound),
            (AgentError::AlreadyExists(message.clone()), Code::AlreadyExists),
            (AgentError::Precondition(message.clone()), Code::FailedPrecondition),
            (AgentError::Exhausted(message.clone()), Code::ResourceExhausted),
            (AgentError::Unavailable(message.clone()), Code::Unavailable),
            (AgentError::Denied(message.clone()), Code::PermissionDenied),
            (AgentError::Unauthenticated(message.clone()), Code::Unauthenticated),
            (AgentError::Internal(message), Code::Internal),
        ];
        for (error, code) in cases {
            let status = of(&error);
            assert_eq!((status.code(), status.message()), (code, error.to_string().as_str()));
        }
    }

    #[test]
    fn a_wrong_field_is_named_in_the_details() {
        let details = of(&AgentError::invalid("spec.cpu_cores", "is -1")).get_details_bad_request().unwrap();
        assert_eq!(details.field_violations[0].field, "spec.cpu_cores");
        assert_eq!(details.field_violations[0].description, "is -1");
    }
}

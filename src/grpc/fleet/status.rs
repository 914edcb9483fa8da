//! Which gRPC status an error of the fleet becomes, with the details that clients act on: what field was wrong, and when
//! to ask again.

use tonic::{Code, Status};
use tonic_types::{ErrorDetails, StatusExt};

use crate::fleet::FleetError;

/// The status, with a `google.rpc.Status` in `grpc-status-details-bin` where there is something to add.
pub(super) fn of(error: &FleetError) -> Status {
    let message = error.to_string();
    let mut details = ErrorDetails::new();
    match error {
        FleetError::Invalid { field, problem } => {
            details.add_bad_request_violation(field, problem);
        }
        FleetError::NotFound { what, id } => {
            details.set_resource_info(*what, id, "", "");
        }
        FleetError::Exhausted { retry_after, .. } | FleetError::Unavailable { retry_after, .. } => {
            details.set_retry_info(Some(*retry_after));
        }
        FleetError::AlreadyExists(_)
        | FleetError::Precondition(_)
        | FleetError::Stale { .. }
        | FleetError::Denied(_)
        | FleetError::Unauthenticated(_)
        | FleetError::Deadline(_) => return Status::new(code(error), message),
        FleetError::Internal(_) => {
            tracing::error!(error = message, "a call failed");
            return Status::new(code(error), message);
        }
    }
    Status::with_error_details(code(error), message, details)
}

const fn code(error: &FleetError) -> Code {
    match error {
        FleetError::Invalid { .. } => Code::InvalidArgument,
        FleetError::NotFound { .. } => Code::NotFound,
        FleetError::AlreadyExists(_) => Code::AlreadyExists,
        FleetError::Precondition(_) | FleetError::Stale { .. } => Code::FailedPrecondition,
        FleetError::Exhausted { .. } => Code::ResourceExhausted,
        FleetError::Denied(_) => Code::PermissionDenied,
        FleetError::Unauthenticated(_) => Code::Unauthenticated,
        FleetError::Unavailable { .. } => Code::Unavailable,
        FleetError::Deadline(_) => Code::DeadlineExceeded,
        FleetError::Internal(_) => Code::Internal,
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::fleet::Fence;

    #[test]
    fn each_kind_has_its_status() {
        let retry_after = Duration::from_millis(1500);
        let message = "m".to_owned();
        let cases = [
            (FleetError::invalid("a", "is b"), Code::InvalidArgument),
            (FleetError::not_found("session", "s"), Code::NotFound),
            (FleetError::AlreadyExists(message.clone()), Code::AlreadyExists),
            (FleetError::Precondition(message.clone()), Code::FailedPrecondition),
            (
                FleetError::Stale { what: "x".into(), given: Fence(1), current: Fence(2) },
                Code::FailedPrecondition,
            ),
            (FleetError::Exhausted { message: message.clone(), retry_after }, Code::ResourceExhausted),
            (FleetError::Denied(message.clone()), Code::PermissionDenied),
            (FleetError::Unauthenticated(message.clone()), Code::Unauthenticated),
            (FleetError::Unavailable { message: message.clone(), retry_after }, Code::Unavailable),
            (FleetError::Deadline(message.clone()), Code::DeadlineExceeded),
            (FleetError::Internal(message), Code::Internal),
        ];
        for (error, code) in cases {
            let status = of(&error);
            assert_eq!((status.code(), status.message()), (code, error.to_string().as_str()));
            let retry = status.get_details_retry_info().and_then(|retry| retry.retry_delay);
            assert_eq!(retry, error.retry_after());
        }
    }

    #[test]
    fn a_wrong_field_is_named_in_the_details() {
        let details = of(&FleetError::invalid("time_scale", "is -1")).get_details_bad_request().unwrap();
        assert_eq!(details.field_violations.len(), 1);
        assert_eq!(details.field_violations[0].field, "time_scale");
        assert_eq!(details.field_violations[0].description, "is -1");
    }
}

//! Which gRPC status an error becomes.

use tonic::{Code, Status};

use super::shelf::ShelfError;
use crate::render::RenderError;

pub(super) fn of_shelf(error: &ShelfError) -> Status {
    let code = match error {
        ShelfError::Unknown { .. } => Code::NotFound,
        ShelfError::Refused { .. } => Code::FailedPrecondition,
        ShelfError::Unreadable { .. } | ShelfError::Stopped => Code::Internal,
    };
    Status::new(code, error.to_string())
}

pub(super) fn of_render(error: &RenderError) -> Status {
    let code = match error {
        RenderError::Unreachable { .. } => Code::Unavailable,
        RenderError::TimedOut { .. } => Code::DeadlineExceeded,
        RenderError::Refused { status, .. } => named(status),
        RenderError::Empty { .. } | RenderError::NotAPicture { .. } => Code::Internal,
        RenderError::Invalid(_) => Code::InvalidArgument,
        RenderError::Superseded => Code::Cancelled,
    };
    Status::new(code, error.to_string())
}

/// What a renderer behind this one answered is passed on.
fn named(status: &str) -> Code {
    match status {
        "NOT_FOUND" => Code::NotFound,
        "OUT_OF_RANGE" => Code::OutOfRange,
        "INVALID_ARGUMENT" => Code::InvalidArgument,
        "RESOURCE_EXHAUSTED" => Code::ResourceExhausted,
        "FAILED_PRECONDITION" => Code::FailedPrecondition,
        "UNAVAILABLE" => Code::Unavailable,
        "UNIMPLEMENTED" => Code::Unimplemented,
        "INTERNAL" => Code::Internal,
        _ => Code::Unknown,
    }
}

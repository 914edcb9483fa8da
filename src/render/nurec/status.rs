//! What a gRPC status means to a viewer: whether it is worth another attempt, and a sentence that is never empty.

use std::error::Error;
use std::io;

use tonic::{Code, Status};

use super::options::MAX_MESSAGE_BYTES;
use crate::render::RenderError;

/// What a NuRec says while it warms up; the next attempt succeeds.
const PASSING: [&str; 2] =
    ["A load persistent id instruction was encountered", "Stopped waiting for backend"];

/// How tonic begins when an answer exceeds the limit.
const TOO_LARGE: &str = "Error, decoded message length too large";

const LONGEST_WORDS: usize = 500;

/// Why an attempt failed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Cause {
    /// Nobody takes the connection.
    NotListening,
    /// The connection ended under the request.
    Broken,
    /// The peer gave up because of the deadline we set.
    Late,
    /// The peer says that it will pass.
    Passing,
    /// The peer's answer.
    Answer,
}

impl Cause {
    pub(super) fn of(status: &Status) -> Self {
        if status.code() == Code::DeadlineExceeded {
            return Self::Late;
        }
        let local = status.source().is_some();
        if local {
            let connecting = causes(status).any(|cause| cause.is::<tonic::ConnectError>());
            return if connecting { Self::NotListening } else { Self::Broken };
        }
        let passing = PASSING.iter().any(|text| status.message().contains(text));
        if passing || status.code() == Code::Unavailable { Self::Passing } else { Self::Answer }
    }

    pub(super) fn worth_another_attempt(self) -> bool {
        matches!(self, Self::Broken | Self::Passing)
    }
}

/// The error to show.
pub(super) fn error(place: String, status: &Status, cause: Cause) -> RenderError {
    match cause {
        Cause::NotListening | Cause::Broken => {
            RenderError::Unreachable { place, reason: reason(status, cause) }
        }
        Cause::Late | Cause::Passing | Cause::Answer => {
            RenderError::Refused { place, status: name(status.code()), message: words(status) }
        }
    }
}

fn causes(status: &Status) -> impl Iterator<Item = &(dyn Error + 'static)> {
    std::iter::successors(status.source(), |error| (*error).source())
}

/// The innermost cause says most: "Connection refused (os error 111)".
fn reason(status: &Status, cause: Cause) -> String {
    let io = causes(status).filter_map(|cause| cause.downcast_ref::<io::Error>()).last();
    let last = io.map(ToString::to_string).or_else(|| causes(status).last().map(ToString::to_string));
    let said = shortened(&last.unwrap_or_default());
    let doing = if cause == Cause::NotListening { "no connection" } else { "the connection broke" };
    if said.is_empty() { doing.into() } else { format!("{doing}: {said}") }
}

fn words(status: &Status) -> String {
    if status.message().starts_with(TOO_LARGE) {
        return format!("its answer is longer than {} MiB", MAX_MESSAGE_BYTES >> 20);
    }
    let said = shortened(status.message());
    if said.is_empty() { meaning(status.code()).into() } else { said }
}

/// One line of bearable length.
fn shortened(text: &str) -> String {
    let line: String =
        text.trim().chars().map(|letter| if letter.is_control() { ' ' } else { letter }).collect();
    match line.char_indices().nth(LONGEST_WORDS) {
        Some((end, _)) => format!("{}...", line.get(..end).unwrap_or_default()),
        None => line,
    }
}

/// For a peer that gives no words.
fn meaning(code: Code) -> &'static str {
    match code {
        Code::NotFound => "it has not loaded this scene; check that it was started with the same file",
        Code::OutOfRange => "the instant lies outside the scene it has loaded",
        Code::InvalidArgument => "it does not understand the request; check that its version suits",
        Code::ResourceExhausted => "it has too much to do, or no memory left",
        Code::FailedPrecondition => "it is not ready; check its log",
        Code::Unimplemented => "it does not offer this call; check that its version suits",
        Code::Unavailable => "it takes no requests now; check that it has finished starting",
        Code::PermissionDenied | Code::Unauthenticated => "it does not allow this",
        _ => "without a word; check its log",
    }
}

/// gRPC's own name.
pub(super) fn name(code: Code) -> &'static str {
    match code {
        Code::Ok => "OK",
        Code::Cancelled => "CANCELLED",
        Code::Unknown => "UNKNOWN",
        Code::InvalidArgument => "INVALID_ARGUMENT",
        Code::DeadlineExceeded => "DEADLINE_EXCEEDED",
        Code::NotFound => "NOT_FOUND",
        Code::AlreadyExists => "ALREADY_EXISTS",
        Code::PermissionDenied => "PERMISSION_DENIED",
        Code::ResourceExhausted => "RESOURCE_EXHAUSTED",
        Code::FailedPrecondition => "FAILED_PRECONDITION",
        Code::Aborted => "ABORTED",
        Code::OutOfRange => "OUT_OF_RANGE",
        Code::Unimplemented => "UNIMPLEMENTED",
        Code::Internal => "INTERNAL",
        Code::Unavailable => "UNAVAILABLE",
        Code::DataLoss => "DATA_LOSS",
        Code::Unauthenticated => "UNAUTHENTICATED",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_status_without_words_still_makes_a_sentence() {
        for number in 0..=16 {
            let status = Status::new(Code::from(number), "");
            let shown = error("NuRec at x:1".into(), &status, Cause::of(&status)).to_string();
            assert!(shown.len() > "NuRec at x:1 answered : ".len() + 15, "{shown}");
        }
    }

    #[test]
    fn a_nurec_that_warms_up_is_worth_another_attempt_and_a_wrong_request_is_not() {
        let warming = Status::unknown("CUDA: A load persistent id instruction was encountered.");
        assert!(Cause::of(&warming).worth_another_attempt());
        assert!(Cause::of(&Status::internal("Stopped waiting for backend")).worth_another_attempt());
        assert!(Cause::of(&Status::unavailable("")).worth_another_attempt());
        for status in [Status::out_of_range(""), Status::not_found(""), Status::unknown("CUDA out of memory")]
        {
            assert!(!Cause::of(&status).worth_another_attempt(), "{status:?}");
        }
    }

    #[test]
    fn long_and_many_lined_messages_become_one_bearable_line() {
        let status = Status::unknown(format!("Traceback\n{}", "é".repeat(2000)));
        let said = words(&status);
        assert!(said.chars().count() <= LONGEST_WORDS + 3 && !said.contains('\n'));
    }
}

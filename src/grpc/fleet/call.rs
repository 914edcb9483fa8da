//! One call as every service needs it: who asks, for whom, how long they wait.

use std::collections::BTreeMap;
use std::future::Future;
use std::time::{Duration, Instant};

use tonic::metadata::MetadataMap;
use tonic::{Request, Status};

use super::front::Arrival;
use super::status;
use crate::fleet::access::{Identity, Role};
use crate::fleet::request::SessionOptions;
use crate::fleet::spec::{Priority, Requirements};
use crate::fleet::{FleetError, SessionId};

/// What a call is given when its client sets no deadline and nothing else says how long it may take.
pub(super) const CALL_LIMIT: Duration = Duration::from_secs(30);

/// Kept back of a client's deadline, so that the answer is there before it.
const MARGIN: Duration = Duration::from_millis(100);

/// A call that has been let in.
#[derive(Debug, Clone)]
pub(super) struct Call {
    pub(super) identity: Identity,
    pub(super) arrival: Arrival,
    pub(super) options: SessionOptions,
}

impl Call {
    /// # Errors
    /// `INVALID_ARGUMENT` for metadata that cannot be.
    pub(super) fn of<T>(request: &Request<T>) -> Result<Self, Status> {
        let identity = request.extensions().get::<Identity>().cloned();
        let arrival = request.extensions().get::<Arrival>().cloned();
        let (Some(identity), Some(arrival)) = (identity, arrival) else {
            return Err(Status::internal("the call came in without passing the front"));
        };
        let mut options = options(request.metadata()).map_err(|error| status::of(&error))?;
        options.owner = identity.acts_for(&options.owner);
        Ok(Self { identity, arrival, options })
    }

    /// As [`Call::of`], for services of sessions.
    ///
    /// # Errors
    /// `PERMISSION_DENIED` besides, for keys of instances.
    pub(super) fn of_client<T>(request: &Request<T>) -> Result<Self, Status> {
        let call = Self::of(request)?;
        call.identity.may_use_sessions().map_err(|error| status::of(&error))?;
        Ok(call)
    }

    /// As [`Call::of`], for services of operators.
    ///
    /// # Errors
    /// `PERMISSION_DENIED` besides, for all but administrators.
    pub(super) fn of_operator<T>(request: &Request<T>) -> Result<Self, Status> {
        let call = Self::of(request)?;
        call.identity.may_administer().map_err(|error| status::of(&error))?;
        Ok(call)
    }

    /// Whose sessions a list shows: the caller's own, or those of whom it names if it may.
    pub(super) fn own_or(&self, named: String) -> String {
        match (&self.identity.owner, self.identity.role) {
            (Some(own), Role::User) => own.clone(),
            _ => named,
        }
    }

    /// How long an answer may take: what the client says, a little less, and at most `limit`.
    pub(super) fn wait(&self, limit: Duration) -> Duration {
        let Some(deadline) = self.arrival.deadline else { return limit };
        let left = deadline.saturating_duration_since(Instant::now());
        left.saturating_sub(MARGIN.min(left / 4)).min(limit)
    }

    /// Carries something out within the client's deadline and `limit`.
    ///
    /// # Errors
    /// `DEADLINE_EXCEEDED` with what was not finished, or what the thing itself answers.
    pub(super) async fn within<T>(
        &self,
        limit: Duration,
        doing: &str,
        work: impl Future<Output = Result<T, FleetError>>,
    ) -> Result<T, Status> {
        let wait = self.wait(limit);
        let late = || {
            let message = format!("{doing} was not finished within {} ms", wait.as_millis());
            status::of(&FleetError::Deadline(message))
        };
        tokio::time::timeout(wait, work).await.map_err(|_| late())?.map_err(|error| status::of(&error))
    }
}

/// A session's id, as it stands in a request.
///
/// # Errors
/// `INVALID_ARGUMENT`.
pub(super) fn session_id(text: &str) -> Result<SessionId, Status> {
    text.parse().map_err(|error: FleetError| status::of(&error))
}

/// An id that may be left out.
///
/// # Errors
/// `INVALID_ARGUMENT`.
pub(super) fn optional<T: std::str::FromStr<Err = FleetError>>(text: &str) -> Result<Option<T>, Status> {
    if text.is_empty() {
        return Ok(None);
    }
    text.parse().map(Some).map_err(|error: FleetError| status::of(&error))
}

/// A count that may not be negative.
///
/// # Errors
/// `INVALID_ARGUMENT`.
pub(super) fn count(field: &str, value: i32) -> Result<u32, Status> {
    u32::try_from(value).map_err(|_| invalid(field, format!("is {value}; expected 0 or more")))
}

/// The status of a field that holds what it may not.
pub(super) fn invalid(field: impl Into<String>, problem: impl Into<String>) -> Status {
    status::of(&FleetError::invalid(field, problem))
}

fn options(metadata: &MetadataMap) -> Result<SessionOptions, FleetError> {
    let text = |name: &'static str| -> Result<Option<&str>, FleetError> {
        let Some(value) = metadata.get(name) else { return Ok(None) };
        let text = value.to_str().map_err(|_| FleetError::invalid(name, "is not printable ASCII"))?;
        Ok(Some(text.trim()))
    };
    let owned =
        |name| -> Result<String, FleetError> { Ok(text(name)?.map(str::to_owned).unwrap_or_default()) };
    let instruction = metadata.get_bin("neuro-instruction-bin");
    let instruction = match instruction.map(|value| value.to_bytes()) {
        None => owned("neuro-instruction")?,
        Some(bytes) => bytes
            .ok()
            .and_then(|bytes| String::from_utf8(bytes.to_vec()).ok())
            .ok_or_else(|| FleetError::invalid("neuro-instruction-bin", "is not UTF-8"))?,
    };
    Ok(SessionOptions {
        owner: owned("neuro-owner")?,
        priority: priority(text("neuro-priority")?.unwrap_or_default())?,
        requires: requirements(text("neuro-requires")?.unwrap_or_default())?,
        policy: owned("neuro-policy")?,
        instruction,
        queue: switch(text("neuro-queue")?.unwrap_or_default())?,
    })
}

fn priority(text: &str) -> Result<Priority, FleetError> {
    match text.to_ascii_lowercase().as_str() {
        "" | "normal" => Ok(Priority::Normal),
        "low" => Ok(Priority::Low),
        "high" => Ok(Priority::High),
        _ => Err(FleetError::invalid("neuro-priority", format!("is {text:?}; expected low, normal or high"))),
    }
}

fn switch(text: &str) -> Result<Option<bool>, FleetError> {
    match text.to_ascii_lowercase().as_str() {
        "" => Ok(None),
        "true" | "yes" | "1" | "on" => Ok(Some(true)),
        "false" | "no" | "0" | "off" => Ok(Some(false)),
        _ => Err(FleetError::invalid("neuro-queue", format!("is {text:?}; expected true or false"))),
    }
}

/// `label=value,label`: a label alone asks only that it is there.
fn requirements(text: &str) -> Result<Requirements, FleetError> {
    let mut labels = BTreeMap::new();
    for part in text.split(',').map(str::trim).filter(|part| !part.is_empty()) {
        let (label, value) = part.split_once('=').unwrap_or((part, ""));
        if label.trim().is_empty() {
            let problem = format!("holds {part:?}; expected label=value,label");
            return Err(FleetError::invalid("neuro-requires", problem));
        }
        labels.insert(label.trim().to_owned(), value.trim().to_owned());
    }
    Ok(labels)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn call(deadline: Option<Duration>) -> Call {
        let deadline = deadline.and_then(|time| Instant::now().checked_add(time));
        let arrival = Arrival { deadline, host: None };
        Call { identity: Identity::anyone(), arrival, options: SessionOptions::default() }
    }

    #[test]
    fn a_clients_deadline_bounds_the_wait_and_leaves_time_for_the_answer() {
        let limit = Duration::from_secs(30);
        assert_eq!(call(None).wait(limit), limit);
        assert_eq!(call(Some(Duration::from_secs(60))).wait(limit), limit);
        let two = call(Some(Duration::from_secs(2))).wait(limit);
        assert!(two > Duration::from_millis(1800) && two <= Duration::from_millis(1900), "{two:?}");
        let short = call(Some(Duration::from_millis(40))).wait(limit);
        assert!(short > Duration::from_millis(20) && short <= Duration::from_millis(30), "{short:?}");
        assert_eq!(call(Some(Duration::ZERO)).wait(limit), Duration::ZERO);
    }

    #[tokio::test]
    async fn what_takes_too_long_says_what_it_was() {
        let never = std::future::pending::<Result<(), FleetError>>();
        let status =
            call(None).within(Duration::from_millis(5), "starting session a", never).await.unwrap_err();
        assert_eq!(status.code(), tonic::Code::DeadlineExceeded);
        assert_eq!(status.message(), "starting session a was not finished within 5 ms");
    }

    #[test]
    fn metadata_becomes_options() {
        let mut metadata = MetadataMap::new();
        for (name, value) in [
            ("neuro-owner", "ada"),
            ("neuro-priority", "HIGH"),
            ("neuro-requires", "rt_cores, environments=reach"),
            ("neuro-policy", "local"),
            ("neuro-instruction", "take the cube"),
            ("neuro-queue", "false"),
        ] {
            metadata.insert(name, value.parse().unwrap());
        }
        let read = options(&metadata).unwrap();
        assert_eq!((read.owner.as_str(), read.priority, read.queue), ("ada", Priority::High, Some(false)));
        assert_eq!((read.policy.as_str(), read.instruction.as_str()), ("local", "take the cube"));
        assert_eq!(read.requires["rt_cores"], "");
        assert_eq!(read.requires["environments"], "reach");
        assert_eq!(options(&MetadataMap::new()).unwrap(), SessionOptions::default());
    }

    #[test]
    fn metadata_that_cannot_be_is_named() {
        for (name, value) in
            [("neuro-priority", "urgent"), ("neuro-queue", "perhaps"), ("neuro-requires", "=a")]
        {
            let mut metadata = MetadataMap::new();
            metadata.insert(name, value.parse().unwrap());
            let said = options(&metadata).unwrap_err().to_string();
            assert!(said.starts_with(name), "{said}");
        }
    }
}

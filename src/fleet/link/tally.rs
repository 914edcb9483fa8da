//! What became of an order, as it is counted.

use std::time::Duration;

use super::Answer;
use crate::fleet::error::FleetError;
use crate::telemetry::fleet::OrderOutcome;

/// The outcome of an order that took so long of its `limit`.
pub(super) fn outcome(answer: &Result<Answer, FleetError>, took: Duration, limit: Duration) -> OrderOutcome {
    match answer {
        Ok(_) => OrderOutcome::Ok,
        Err(FleetError::Stale { .. }) => OrderOutcome::Stale,
        Err(FleetError::Unavailable { .. } | FleetError::Deadline(_)) if took >= limit => OrderOutcome::Late,
        Err(FleetError::Unavailable { .. } | FleetError::Deadline(_)) => OrderOutcome::Away,
        Err(_) => OrderOutcome::Refused,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fleet::ids::Fence;

    #[test]
    fn silence_until_the_limit_is_late_and_a_broken_line_is_away() {
        let limit = Duration::from_secs(10);
        let unavailable = || {
            let message = "isaac-sim-1 is gone".to_owned();
            Err(FleetError::Unavailable { message, retry_after: Duration::from_secs(1) })
        };
        assert_eq!(outcome(&unavailable(), limit, limit), OrderOutcome::Late);
        assert_eq!(outcome(&unavailable(), Duration::from_millis(3), limit), OrderOutcome::Away);
        let stale = FleetError::Stale { what: "isaac-sim-1".to_owned(), given: Fence(1), current: Fence(2) };
        assert_eq!(outcome(&Err(stale), Duration::ZERO, limit), OrderOutcome::Stale);
        let refused = FleetError::Precondition("isaac-sim-1 refused load".to_owned());
        assert_eq!(outcome(&Err(refused), Duration::ZERO, limit), OrderOutcome::Refused);
        assert_eq!(outcome(&Ok(Answer::new()), limit, limit), OrderOutcome::Ok);
    }
}

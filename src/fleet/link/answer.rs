//! What an instance's answer means to whoever asked, the same over a stream and over REST.
//!
//! A refusal over a stream is `OrderResult { ok: false, error, data }`. `data["code"]` may hold a code of the instance
//! contract (`stale_fence`, `not_found`, `invalid`, `wrong_phase`) and `data["fence"]` the highest fence seen.

use crate::fleet::error::FleetError;
use crate::fleet::ids::Fence;
use crate::proto::neuro::ext::OrderResult;

use super::Answer;

/// A refusal, in an instance's words.
#[derive(Debug)]
pub struct Refusal<'a> {
    /// The instance's display name.
    pub name: &'a str,
    /// Which order.
    pub ask: &'static str,
    /// The order's fence.
    pub given: Fence,
    /// The contract's code; empty where it said none.
    pub code: &'a str,
    /// A sentence.
    pub detail: &'a str,
    /// The highest fence seen, with `stale_fence`.
    pub current: Option<u64>,
}

impl Refusal<'_> {
    /// Whose turn it is now.
    #[must_use]
    pub fn into_error(self) -> FleetError {
        let Self { name, ask, given, code, detail, current } = self;
        match code {
            "stale_fence" => {
                FleetError::Stale { what: name.to_owned(), given, current: Fence(current.unwrap_or(given.0)) }
            }
            "invalid" => FleetError::invalid(ask, format!("is refused by {name}: {detail}")),
            _ if detail.is_empty() => {
                FleetError::Precondition(format!("{name} refused {ask} without saying why"))
            }
            _ => FleetError::Precondition(format!("{name} refused {ask}: {detail}")),
        }
    }
}

/// An `OrderResult` as the asker sees it.
///
/// # Errors
/// As [`Refusal::into_error`] when the instance did not do it.
pub fn from_result(
    name: &str,
    ask: &'static str,
    given: Fence,
    result: OrderResult,
) -> Result<Answer, FleetError> {
    if result.ok {
        return Ok(result.data.into_iter().collect());
    }
    let code = result.data.get("code").map(String::as_str).unwrap_or_default();
    let current = result.data.get("fence").and_then(|fence| fence.parse().ok());
    Err(Refusal { name, ask, given, code, detail: &result.error, current }.into_error())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refused(error: &str, data: &[(&str, &str)]) -> FleetError {
        let data = data.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect();
        let result = OrderResult { order_id: 1, ok: false, error: error.to_owned(), data };
        from_result("isaac-sim-1", "load", Fence(3), result).unwrap_err()
    }

    #[test]
    fn a_stale_fence_names_the_one_in_force() {
        let error = refused("too late", &[("code", "stale_fence"), ("fence", "9")]);
        assert_eq!(
            error,
            FleetError::Stale { what: "isaac-sim-1".to_owned(), given: Fence(3), current: Fence(9) }
        );
    }

    #[test]
    fn a_refusal_without_a_code_is_passed_on_in_the_instances_words() {
        let error = refused("no such scenario \"moon\"", &[]);
        assert_eq!(
            error,
            FleetError::Precondition("isaac-sim-1 refused load: no such scenario \"moon\"".to_owned())
        );
    }

    #[test]
    fn an_invalid_scene_is_the_callers_fault() {
        let error = refused("obstacles[2].size is negative", &[("code", "invalid")]);
        assert!(matches!(error, FleetError::Invalid { ref field, .. } if field == "load"), "{error:?}");
    }
}

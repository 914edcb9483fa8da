//! The JSON of reset/step, both directions.

use std::fmt;

use serde::de::{DeserializeSeed, Error as _, IgnoredAny, MapAccess, SeqAccess, Visitor};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// What a trainer asks.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(tag = "cmd", rename_all = "lowercase")]
pub enum Request {
    /// Begin an episode.
    Reset {
        /// The same seed begins the same episode.
        #[serde(skip_serializing_if = "Option::is_none")]
        seed: Option<u64>,
    },
    /// Do one step.
    Step {
        /// One number for a discrete space (its index), else one a dimension.
        #[serde(serialize_with = "plain_numbers")]
        action: Vec<f64>,
        /// The trainer's clock, Unix seconds; comes back in the answer.
        #[serde(skip_serializing_if = "Option::is_none")]
        timestamp: Option<f64>,
    },
    /// Tell sizes.
    Spec,
    /// The trainer is done with the environment.
    Close,
}

#[derive(Deserialize)]
struct Incoming<'a> {
    #[serde(borrow)]
    cmd: Option<std::borrow::Cow<'a, str>>,
    seed: Option<u64>,
    #[serde(default, deserialize_with = "flat_numbers")]
    action: Option<Vec<f64>>,
    timestamp: Option<f64>,
}

impl Request {
    /// Reads a request.
    ///
    /// # Errors
    /// A sentence for the client.
    pub fn parse(bytes: &[u8]) -> Result<Self, String> {
        let text =
            std::str::from_utf8(bytes).map_err(|error| format!("the request is not UTF-8: {error}"))?;
        let incoming: Incoming<'_> =
            serde_json::from_str(text).map_err(|error| format!("not a request: {error}"))?;
        match incoming.cmd.as_deref() {
            Some("reset") => Ok(Self::Reset { seed: incoming.seed }),
            Some("step") => match incoming.action {
                Some(action) => Ok(Self::Step { action, timestamp: incoming.timestamp }),
                None => Err("step without an action; expected \"action\": [..]".to_owned()),
            },
            Some("spec") => Ok(Self::Spec),
            Some("close") => Ok(Self::Close),
            Some(_) => Err("unknown command".to_owned()),
            None => Err("a request without \"cmd\"; expected reset, step, spec or close".to_owned()),
        }
    }
}

/// What a simulator answers.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(untagged)]
pub enum Answer {
    /// To `reset`.
    Begun(Begun),
    /// To `step`.
    Stepped(Stepped),
    /// To `spec`.
    Spec(Spec),
    /// To `close`.
    Closed {
        /// `ok`.
        status: &'static str,
    },
    /// To what cannot be done.
    Refused {
        /// A sentence.
        error: String,
    },
}

/// Answer to `reset`.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Begun {
    /// What the task shows.
    #[serde(deserialize_with = "observation")]
    pub observation: Vec<f64>,
    /// More about it.
    #[serde(default)]
    pub info: Info,
}

/// Answer to `step`.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Stepped {
    /// What the task shows after the step.
    #[serde(deserialize_with = "observation")]
    pub observation: Vec<f64>,
    /// For the step.
    pub reward: f64,
    /// The episode is over: reset.
    pub done: bool,
    /// More about it.
    #[serde(default)]
    pub info: Info,
    /// The request's, or the simulator's own.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub timestamp: Option<f64>,
}

/// What else an answer tells. Other simulators tell some of it, and more.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Info {
    /// The task ended the episode.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub terminated: bool,
    /// The time limit did.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub truncated: bool,
    /// The goal was reached.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub success: bool,
    /// The robot hit something.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub collision: bool,
    /// Who chose the action: `human`, `policy`, `trainer`; empty is the trainer.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub controller: String,
    /// What was really done, where that is not what was asked for.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub action: Vec<f64>,
}

impl Info {
    /// Whether a person chose the action.
    #[must_use]
    pub fn by_hand(&self) -> bool {
        self.controller == "human"
    }
}

/// Answer to `spec`.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Spec {
    /// The task's name.
    #[serde(default)]
    pub environment: String,
    /// Numbers in an observation.
    pub observation_size: usize,
    /// What an action is.
    pub action: ActionSpace,
    /// Steps after which an episode is truncated; 0 for no limit.
    #[serde(default)]
    pub max_episode_steps: u32,
}

/// What an action is.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum ActionSpace {
    /// One of so many.
    Discrete {
        /// How many.
        discrete: usize,
    },
    /// Real numbers.
    Continuous {
        /// How many.
        continuous: usize,
        /// Least, of each.
        low: f64,
        /// Most, of each.
        high: f64,
    },
}

impl Default for ActionSpace {
    fn default() -> Self {
        Self::Discrete { discrete: 0 }
    }
}

/// Whole numbers as `1`, not `1.0`: simulators use them as an index.
fn plain_numbers<S: Serializer>(numbers: &[f64], to: S) -> Result<S::Ok, S::Error> {
    to.collect_seq(numbers.iter().map(|number| {
        let whole = number.fract() == 0.0 && number.abs() < 9e15;
        if whole { Number::Whole(*number as i64) } else { Number::Real(*number) }
    }))
}

#[derive(Serialize)]
#[serde(untagged)]
enum Number {
    Whole(i64),
    Real(f64),
}

fn observation<'de, D: Deserializer<'de>>(from: D) -> Result<Vec<f64>, D::Error> {
    let mut numbers = Vec::with_capacity(16);
    from.deserialize_any(Flat(&mut numbers))?;
    Ok(numbers)
}

fn flat_numbers<'de, D: Deserializer<'de>>(from: D) -> Result<Option<Vec<f64>>, D::Error> {
    observation(from).map(Some)
}

/// Collects the numbers of an array, of arrays in arrays, of a map's values in their order (`lidar`, `joint_positions`);
/// texts (pictures) and nulls in a map are passed over.
struct Flat<'a>(&'a mut Vec<f64>);

impl<'de> DeserializeSeed<'de> for Flat<'_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, from: D) -> Result<(), D::Error> {
        from.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Flat<'_> {
    type Value = ();

    fn expecting(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str("numbers")
    }

    fn visit_f64<E>(self, number: f64) -> Result<(), E> {
        self.0.push(number);
        Ok(())
    }

    fn visit_i64<E>(self, number: i64) -> Result<(), E> {
        self.0.push(number as f64);
        Ok(())
    }

    fn visit_u64<E>(self, number: u64) -> Result<(), E> {
        self.0.push(number as f64);
        Ok(())
    }

    fn visit_bool<E>(self, set: bool) -> Result<(), E> {
        self.0.push(f64::from(u8::from(set)));
        Ok(())
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<(), A::Error> {
        while items.next_element_seed(Flat(&mut *self.0))?.is_some() {}
        Ok(())
    }

    fn visit_map<A: MapAccess<'de>>(self, mut items: A) -> Result<(), A::Error> {
        while items.next_key::<IgnoredAny>()?.is_some() {
            items.next_value_seed(Sense(&mut *self.0))?;
        }
        Ok(())
    }
}

/// A value of a map: as [`Flat`], and texts are no mistake.
struct Sense<'a>(&'a mut Vec<f64>);

impl<'de> DeserializeSeed<'de> for Sense<'_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, from: D) -> Result<(), D::Error> {
        from.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Sense<'_> {
    type Value = ();

    fn expecting(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str("numbers, a text or null")
    }

    fn visit_f64<E: serde::de::Error>(self, number: f64) -> Result<(), E> {
        Flat(self.0).visit_f64(number)
    }

    fn visit_i64<E: serde::de::Error>(self, number: i64) -> Result<(), E> {
        Flat(self.0).visit_i64(number)
    }

    fn visit_u64<E: serde::de::Error>(self, number: u64) -> Result<(), E> {
        Flat(self.0).visit_u64(number)
    }

    fn visit_bool<E: serde::de::Error>(self, set: bool) -> Result<(), E> {
        Flat(self.0).visit_bool(set)
    }

    fn visit_str<E>(self, _text: &str) -> Result<(), E> {
        Ok(())
    }

    fn visit_unit<E>(self) -> Result<(), E> {
        Ok(())
    }

    fn visit_seq<A: SeqAccess<'de>>(self, items: A) -> Result<(), A::Error> {
        Flat(self.0).visit_seq(items)
    }

    fn visit_map<A: MapAccess<'de>>(self, items: A) -> Result<(), A::Error> {
        Flat(self.0).visit_map(items)
    }
}

/// What any answer may be instead of what was asked for.
#[derive(Deserialize)]
struct Refusal {
    error: String,
}

/// Reads an answer of the kind asked for.
///
/// # Errors
/// The simulator's refusal (`Ok(Err(..))`), or what is wrong with the JSON.
pub(super) fn read<T: serde::de::DeserializeOwned>(
    bytes: &[u8],
) -> Result<Result<T, String>, serde_json::Error> {
    match serde_json::from_slice::<T>(bytes) {
        Ok(answer) => Ok(Ok(answer)),
        Err(error) => match serde_json::from_slice::<Refusal>(bytes) {
            Ok(refusal) => Ok(Err(refusal.error)),
            Err(_) => Err(serde_json::Error::custom(error)),
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_request_reads_as_it_was_written() {
        let requests = [
            Request::Reset { seed: Some(42) },
            Request::Reset { seed: None },
            Request::Step { action: vec![1.0, -0.25], timestamp: Some(1.5) },
            Request::Spec,
            Request::Close,
        ];
        for request in requests {
            let text = serde_json::to_vec(&request).unwrap();
            assert_eq!(Request::parse(&text), Ok(request));
        }
    }

    #[test]
    fn an_index_goes_out_without_a_fraction() {
        let text = serde_json::to_string(&Request::Step { action: vec![1.0], timestamp: None }).unwrap();
        assert_eq!(text, r#"{"cmd":"step","action":[1]}"#);
    }

    #[test]
    fn a_lone_number_is_an_action_too() {
        let request = Request::parse(br#"{"cmd":"step","action":1,"more":{"a":[]}}"#);
        assert_eq!(request, Ok(Request::Step { action: vec![1.0], timestamp: None }));
    }

    #[test]
    fn what_is_no_request_is_refused_with_a_sentence() {
        for (text, part) in [
            (&b"{"[..], "not a request"),
            (b"\xff", "UTF-8"),
            (b"{}", "without \"cmd\""),
            (br#"{"cmd":"jump"}"#, "unknown command"),
            (br#"{"cmd":"step"}"#, "without an action"),
            (br#"{"cmd":"step","action":["a"]}"#, "expected numbers"),
            (br#"{"cmd":"reset","seed":-1}"#, "-1"),
        ] {
            let problem = Request::parse(text).unwrap_err();
            assert!(problem.contains(part), "{problem:?} does not say {part:?}");
        }
    }

    #[test]
    fn an_observation_of_named_sensors_is_flattened_in_order_without_its_pictures() {
        let text =
            br#"{"observation":{"lidar":[1,2.5],"camera":"aGk=","joint_positions":[[3],[4]],"grip":true},
            "reward":1,"done":false,"info":{"TimeLimit.truncated":false}}"#;
        let stepped = read::<Stepped>(text).unwrap().unwrap();
        assert_eq!(stepped.observation, [1.0, 2.5, 3.0, 4.0, 1.0]);
        assert!(!stepped.info.by_hand());
    }

    #[test]
    fn a_refusal_is_told_apart_from_a_broken_answer() {
        assert_eq!(
            read::<Spec>(br#"{"error":"unknown command"}"#).unwrap(),
            Err("unknown command".to_owned())
        );
        assert!(read::<Spec>(br#"{"observation_size":4}"#).is_err());
    }

    #[test]
    fn both_kinds_of_action_space_survive_the_wire() {
        for action in [
            ActionSpace::Discrete { discrete: 2 },
            ActionSpace::Continuous { continuous: 7, low: -1.0, high: 1.0 },
        ] {
            let spec =
                Spec { environment: "reach".to_owned(), observation_size: 9, action, max_episode_steps: 200 };
            assert_eq!(read::<Spec>(&serde_json::to_vec(&spec).unwrap()).unwrap(), Ok(spec));
        }
    }
}

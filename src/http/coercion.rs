//! How loosely values are read: pydantic's lax mode, which the original's clients rely on. Form fields are text,
//! so `use_dummy_tactile=True` is a word; poses come with integers, numeric strings and booleans in them.

use super::json::Json;
use super::validation::{Problem, Step, echo, loc};

/// A word for yes or no, any case.
#[must_use]
pub fn boolean(text: &str) -> Option<bool> {
    match text.to_ascii_lowercase().as_str() {
        "1" | "true" | "t" | "yes" | "y" | "on" => Some(true),
        "0" | "false" | "f" | "no" | "n" | "off" => Some(false),
        _ => None,
    }
}

/// A number written as text: surrounding white space, single `_` within it, `inf` and `nan` are all accepted.
#[must_use]
pub fn float(text: &str) -> Option<f64> {
    let trimmed = text.trim();
    if !trimmed.contains('_') {
        return trimmed.parse().ok();
    }
    let misplaced = trimmed.starts_with('_') || trimmed.ends_with('_') || trimmed.contains("__");
    if misplaced { None } else { trimmed.replace('_', "").parse().ok() }
}

/// A number as pydantic takes one: int, float, boolean or numeric text.
///
/// # Errors
/// The problem at `at`.
pub fn number(value: &Json, at: Vec<Step>) -> Result<f64, Problem> {
    #[allow(clippy::cast_precision_loss, reason = "Python's float(int) rounds the same way")]
    match value {
        Json::Int(value) => Ok(*value as f64),
        Json::Float(value) => Ok(*value),
        Json::Bool(value) => Ok(f64::from(u8::from(*value))),
        Json::BigInt(digits) => match digits.parse::<f64>() {
            Ok(value) if value.is_finite() => Ok(value),
            _ => Err(Problem::float_type(at, echo(value))),
        },
        Json::String(text) => float(text).ok_or_else(|| Problem::float_parsing(at, echo(value))),
        _ => Err(Problem::float_type(at, echo(value))),
    }
}

/// A whole number as pydantic takes one: int, boolean, float without a fraction, or text. One that does not fit is cut
/// to the nearest that does: every bound a wire has lies within.
///
/// # Errors
/// The problem at `at`.
pub fn integer(value: &Json, at: Vec<Step>) -> Result<i64, Problem> {
    match value {
        Json::Int(value) => Ok(*value),
        Json::Bool(value) => Ok(i64::from(*value)),
        Json::BigInt(digits) => Ok(if digits.starts_with('-') { i64::MIN } else { i64::MAX }),
        Json::Float(number) if !number.is_finite() => Err(Problem::finite_number(at, echo(value))),
        Json::Float(number) if number.fract() != 0.0 => Err(Problem::int_from_float(at, echo(value))),
        #[allow(clippy::cast_possible_truncation, reason = "saturates, which is what is wanted")]
        Json::Float(number) => Ok(*number as i64),
        Json::String(text) => whole(text).ok_or_else(|| Problem::int_parsing(at, echo(value))),
        _ => Err(Problem::int_type(at, echo(value))),
    }
}

/// As [`integer`], of text.
///
/// # Errors
/// The problem at `at`.
pub fn integer_text(text: &str, at: Vec<Step>) -> Result<i64, Problem> {
    whole(text).ok_or_else(|| Problem::int_parsing(at, echo(&Json::String(text.to_owned()))))
}

/// White space around it, a sign, single `_` within it and a fraction of zeros are all accepted.
fn whole(text: &str) -> Option<i64> {
    let trimmed = text.trim();
    let (number, zeros) = trimmed.split_once('.').unwrap_or((trimmed, ""));
    if !zeros.bytes().all(|digit| digit == b'0') {
        return None;
    }
    let (negative, digits) = match number.strip_prefix('-') {
        Some(rest) => (true, rest),
        None => (false, number.strip_prefix('+').unwrap_or(number)),
    };
    let misplaced = digits.starts_with('_') || digits.ends_with('_') || digits.contains("__");
    let digits = digits.replace('_', "");
    if misplaced || digits.is_empty() || !digits.bytes().all(|digit| digit.is_ascii_digit()) {
        return None;
    }
    let signed = if negative { format!("-{digits}") } else { digits };
    Some(signed.parse().unwrap_or(if negative { i64::MIN } else { i64::MAX }))
}

/// Numbers in a pose: x y z in metres, then a quaternion x y z w.
pub const POSE_LEN: usize = 7;

/// A pose: seven finite numbers. Everything that is wrong with it is listed.
///
/// # Errors
/// One problem for the list as a whole, or one for each item.
pub fn pose(value: &Json, name: &str) -> Result<[f64; POSE_LEN], Vec<Problem>> {
    let at = |index: usize| {
        let mut steps = loc(["body", name]);
        steps.push(index.into());
        steps
    };
    let Json::Array(items) = value else {
        return Err(vec![Problem::list_type(loc(["body", name]), echo(value))]);
    };
    if items.len() > POSE_LEN {
        return Err(vec![Problem::too_long(loc(["body", name]), echo(value), POSE_LEN, items.len())]);
    }
    let mut numbers = Vec::with_capacity(POSE_LEN);
    let mut problems = Vec::new();
    for (index, item) in items.iter().enumerate() {
        match number(item, at(index)) {
            Ok(number) if !number.is_finite() => problems.push(Problem::finite_number(at(index), echo(item))),
            Ok(number) => numbers.push(number),
            Err(problem) => problems.push(problem),
        }
    }
    if !problems.is_empty() {
        return Err(problems);
    }
    numbers.try_into().map_err(|short: Vec<f64>| {
        vec![Problem::too_short(loc(["body", name]), echo(value), POSE_LEN, short.len())]
    })
}

/// How far the quaternion of `pose` is from unit length, or `None` when it is close enough (1 percent).
#[must_use]
pub fn quaternion_off_unit(pose: &[f64; POSE_LEN]) -> Option<f64> {
    let [_, _, _, x, y, z, w] = pose;
    let length = (x * x + y * y + z * z + w * w).sqrt();
    ((length - 1.0).abs() > 0.01).then_some(length)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_for_yes_and_no_are_pydantics() {
        for word in ["1", "true", "TRUE", "t", "Yes", "y", "ON"] {
            assert_eq!(boolean(word), Some(true), "{word}");
        }
        for word in ["0", "False", "F", "no", "N", "off"] {
            assert_eq!(boolean(word), Some(false), "{word}");
        }
        for word in ["2", "maybe", "", " true", "truee"] {
            assert_eq!(boolean(word), None, "{word}");
        }
    }

    #[test]
    fn numbers_are_read_from_text_as_pydantic_reads_them() {
        assert_eq!(float(" 0.5\n"), Some(0.5));
        assert_eq!(float("1_000.5"), Some(1000.5));
        assert_eq!(float("-1e-3"), Some(-0.001));
        assert_eq!(float("inf"), Some(f64::INFINITY));
        for text in ["", "a", "1_", "_1", "1__0", "0x10", "1,5"] {
            assert_eq!(float(text), None, "{text}");
        }
    }

    #[test]
    fn whole_numbers_are_read_as_pydantic_reads_them() {
        for (text, value) in
            [("5", 5), (" 5", 5), ("+5", 5), ("-5", -5), ("5.0", 5), ("1_000", 1000), ("0", 0)]
        {
            assert_eq!(whole(text), Some(value), "{text}");
        }
        assert_eq!(whole("999999999999999999999999999999"), Some(i64::MAX));
        for text in ["", "1.5", "1e6", "abc", "1__0", "_1", "--1", "0x1", "."] {
            assert_eq!(whole(text), None, "{text:?}");
        }
        let kind = |json: &[u8]| {
            let value = super::super::json::parse(json).unwrap();
            integer(&value, loc(["body"])).map_err(|problem| problem.kind)
        };
        assert_eq!(kind(b"2.0"), Ok(2));
        assert_eq!(kind(b"true"), Ok(1));
        assert_eq!(kind(b"1e3"), Ok(1000));
        assert_eq!(kind(b"1.5"), Err("int_from_float"));
        assert_eq!(kind(b"NaN"), Err("finite_number"));
        assert_eq!(kind(b"null"), Err("int_type"));
        assert_eq!(kind(b"\"x\""), Err("int_parsing"));
    }

    #[test]
    fn a_pose_lists_every_bad_item() {
        let value = super::super::json::parse(br#"[0, "a", null, NaN, true, "1.5", 1]"#).unwrap();
        let kinds: Vec<_> =
            pose(&value, "current_pose").unwrap_err().iter().map(|problem| problem.kind).collect();
        assert_eq!(kinds, ["float_parsing", "float_type", "finite_number"]);
    }

    #[test]
    fn a_quaternion_may_be_a_percent_off() {
        assert_eq!(quaternion_off_unit(&[0.0, 0.0, 0.5, 0.0, 0.0, 0.0, 1.005]), None);
        assert_eq!(quaternion_off_unit(&[0.0, 0.0, 0.5, 0.0, 0.0, 0.0, 0.0]), Some(0.0));
    }
}

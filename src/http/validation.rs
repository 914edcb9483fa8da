//! Validation errors as FastAPI and pydantic word them: clients of the original parse `detail`, so the types,
//! locations and sentences are part of the contract. Every field that is wrong is listed, not only the first.

use axum::Json as JsonBody;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use serde::Serialize;
use serde_json::{Value, json};
use utoipa::ToSchema;

use super::json::{Json, JsonError};

/// One step on the way to a field: a name or an index.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
#[serde(untagged)]
pub enum Step {
    /// Field name; the first one says where to look: `body` or `header`.
    Name(String),
    /// Index into a list, or the character a JSON document went wrong at.
    Index(usize),
}

impl From<&str> for Step {
    fn from(name: &str) -> Self {
        Self::Name(name.to_owned())
    }
}

impl From<usize> for Step {
    fn from(index: usize) -> Self {
        Self::Index(index)
    }
}

/// One thing that is wrong with a request.
#[derive(Debug, Clone, PartialEq, Serialize, ToSchema)]
pub struct Problem {
    /// Stable name, pydantic's: `missing`, `string_type`, `too_short`, ...
    #[serde(rename = "type")]
    pub kind: &'static str,
    /// Where: `["body", "current_pose", 3]`.
    pub loc: Vec<Step>,
    /// A sentence for a person.
    pub msg: String,
    /// What was sent.
    #[schema(value_type = Option<Object>)]
    pub input: Box<Value>,
    /// Numbers that belong to the sentence.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<Object>)]
    pub ctx: Option<Box<Value>>,
}

/// The body of a 422 answer.
#[derive(Debug, Clone, PartialEq, Serialize, ToSchema)]
pub struct ValidationErrors {
    /// Everything that is wrong, in the order of the fields.
    pub detail: Vec<Problem>,
}

impl From<Problem> for ValidationErrors {
    fn from(problem: Problem) -> Self {
        Self { detail: vec![problem] }
    }
}

impl IntoResponse for ValidationErrors {
    fn into_response(self) -> Response {
        (StatusCode::UNPROCESSABLE_ENTITY, JsonBody(self)).into_response()
    }
}

/// Collects what is wrong while the fields of a request are read one after another.
#[derive(Debug, Default)]
pub struct Problems(Vec<Problem>);

impl Problems {
    /// The value, or nothing and one more problem.
    pub fn keep<T>(&mut self, result: Result<T, Problem>) -> Option<T> {
        self.keep_all(result.map_err(|problem| vec![problem]))
    }

    /// The value, or nothing and more problems.
    pub fn keep_all<T>(&mut self, result: Result<T, Vec<Problem>>) -> Option<T> {
        match result {
            Ok(value) => Some(value),
            Err(problems) => {
                self.0.extend(problems);
                None
            }
        }
    }

    /// The value, when it is there and nothing was wrong with anything.
    ///
    /// # Errors
    /// All that was wrong.
    pub fn settle<T>(self, value: Option<T>) -> Result<T, Vec<Problem>> {
        value.filter(|_| self.0.is_empty()).ok_or(self.0)
    }
}

/// A location from its names.
#[must_use]
pub fn loc<const N: usize>(steps: [&str; N]) -> Vec<Step> {
    steps.into_iter().map(Step::from).collect()
}

/// What was sent, as it goes into an answer.
#[must_use]
pub fn echo(input: &Json) -> Value {
    serde_json::to_value(input).unwrap_or(Value::Null)
}

impl Problem {
    /// A problem without context.
    #[must_use]
    pub fn new(kind: &'static str, loc: Vec<Step>, msg: impl Into<String>, input: Value) -> Self {
        Self { kind, loc, msg: msg.into(), input: Box::new(input), ctx: None }
    }

    /// The same problem with numbers that belong to its sentence.
    #[must_use]
    pub fn with(mut self, ctx: Value) -> Self {
        self.ctx = Some(Box::new(ctx));
        self
    }

    /// A required field is not there; `input` is what it should have been in.
    #[must_use]
    pub fn missing(loc: Vec<Step>, input: Value) -> Self {
        Self::new("missing", loc, "Field required", input)
    }

    /// Not a string.
    #[must_use]
    pub fn string_type(loc: Vec<Step>, input: Value) -> Self {
        Self::new("string_type", loc, "Input should be a valid string", input)
    }

    /// Not a list.
    #[must_use]
    pub fn list_type(loc: Vec<Step>, input: Value) -> Self {
        Self::new("list_type", loc, "Input should be a valid list", input)
    }

    /// Not an object where a nested one is wanted.
    #[must_use]
    pub fn dict_type(loc: Vec<Step>, input: Value) -> Self {
        Self::new("dict_type", loc, "Input should be a valid dictionary", input)
    }

    /// Not an object at all.
    #[must_use]
    pub fn model_attributes_type(loc: Vec<Step>, input: Value) -> Self {
        let msg = "Input should be a valid dictionary or object to extract fields from";
        Self::new("model_attributes_type", loc, msg, input)
    }

    /// Neither a number nor text.
    #[must_use]
    pub fn float_type(loc: Vec<Step>, input: Value) -> Self {
        Self::new("float_type", loc, "Input should be a valid number", input)
    }

    /// Text that is no number.
    #[must_use]
    pub fn float_parsing(loc: Vec<Step>, input: Value) -> Self {
        let msg = "Input should be a valid number, unable to parse string as a number";
        Self::new("float_parsing", loc, msg, input)
    }

    /// Neither a whole number nor text.
    #[must_use]
    pub fn int_type(loc: Vec<Step>, input: Value) -> Self {
        Self::new("int_type", loc, "Input should be a valid integer", input)
    }

    /// Text that is no whole number.
    #[must_use]
    pub fn int_parsing(loc: Vec<Step>, input: Value) -> Self {
        let msg = "Input should be a valid integer, unable to parse string as an integer";
        Self::new("int_parsing", loc, msg, input)
    }

    /// A number that is not whole.
    #[must_use]
    pub fn int_from_float(loc: Vec<Step>, input: Value) -> Self {
        let msg = "Input should be a valid integer, got a number with a fractional part";
        Self::new("int_from_float", loc, msg, input)
    }

    /// Less than `least`.
    #[must_use]
    pub fn greater_than_equal(loc: Vec<Step>, input: Value, least: &str, bound: Value) -> Self {
        let msg = format!("Input should be greater than or equal to {least}");
        Self::new("greater_than_equal", loc, msg, input).with(json!({"ge": bound}))
    }

    /// More than `most`.
    #[must_use]
    pub fn less_than_equal(loc: Vec<Step>, input: Value, most: &str, bound: Value) -> Self {
        let msg = format!("Input should be less than or equal to {most}");
        Self::new("less_than_equal", loc, msg, input).with(json!({"le": bound}))
    }

    /// NaN or infinite.
    #[must_use]
    pub fn finite_number(loc: Vec<Step>, input: Value) -> Self {
        Self::new("finite_number", loc, "Input should be a finite number", input)
    }

    /// Neither a boolean nor text.
    #[must_use]
    pub fn bool_type(loc: Vec<Step>, input: Value) -> Self {
        Self::new("bool_type", loc, "Input should be a valid boolean", input)
    }

    /// Text that is neither yes nor no.
    #[must_use]
    pub fn bool_parsing(loc: Vec<Step>, input: Value) -> Self {
        let msg = "Input should be a valid boolean, unable to interpret input";
        Self::new("bool_parsing", loc, msg, input)
    }

    /// A list with too few items.
    #[must_use]
    pub fn too_short(loc: Vec<Step>, input: Value, least: usize, got: usize) -> Self {
        let msg = format!("List should have at least {least} items after validation, not {got}");
        let ctx = json!({"field_type": "List", "min_length": least, "actual_length": got});
        Self::new("too_short", loc, msg, input).with(ctx)
    }

    /// A list with too many items.
    #[must_use]
    pub fn too_long(loc: Vec<Step>, input: Value, most: usize, got: usize) -> Self {
        let msg = format!("List should have at most {most} items after validation, not {got}");
        let ctx = json!({"field_type": "List", "max_length": most, "actual_length": got});
        Self::new("too_long", loc, msg, input).with(ctx)
    }

    /// Right type, wrong value: `reason` says why.
    #[must_use]
    pub fn value_error(loc: Vec<Step>, reason: &str, input: Value) -> Self {
        Self::new("value_error", loc, format!("Value error, {reason}"), input).with(json!({"error": {}}))
    }

    /// Text where a file is wanted.
    #[must_use]
    pub fn not_a_file(loc: Vec<Step>, text: &str) -> Self {
        let input = echo(&Json::String(text.to_owned()));
        Self::value_error(loc, "Expected UploadFile, received: <class 'str'>", input)
    }

    /// The document is not JSON.
    #[must_use]
    pub fn json_invalid(message: &str, position: usize) -> Self {
        let at = vec![Step::from("body"), Step::from(position)];
        Self::new("json_invalid", at, "JSON decode error", json!({})).with(json!({"error": message}))
    }
}

/// Reads a JSON body as FastAPI does: nothing is a missing body, and only `application/json` and
/// `application/*+json` are JSON at all.
///
/// # Errors
/// The answer to give instead.
pub fn json_body(content_type: Option<&str>, body: &[u8]) -> Result<Json, BodyProblem> {
    if body.is_empty() {
        return Err(Problem::missing(loc(["body"]), Value::Null).into());
    }
    if !is_json(content_type) {
        let text = Json::String(String::from_utf8_lossy(body).into_owned());
        return Err(Problem::model_attributes_type(loc(["body"]), echo(&text)).into());
    }
    match super::json::parse(body) {
        Ok(value @ Json::Object(_)) => Ok(value),
        Ok(other) => Err(Problem::model_attributes_type(loc(["body"]), echo(&other)).into()),
        Err(JsonError::Decode { message, position }) => Err(Problem::json_invalid(message, position).into()),
        Err(JsonError::Unreadable) => Err(BodyProblem::Unreadable),
    }
}

/// Why a body is not a JSON object.
#[derive(Debug, Clone, PartialEq)]
pub enum BodyProblem {
    /// It is something else: 422.
    Invalid(ValidationErrors),
    /// It cannot be read at all: 400, as FastAPI answers.
    Unreadable,
}

impl From<Problem> for BodyProblem {
    fn from(problem: Problem) -> Self {
        Self::Invalid(problem.into())
    }
}

/// Whether a content type means JSON: `application/json` and `application/...+json`, parameters aside.
#[must_use]
pub fn is_json(content_type: Option<&str>) -> bool {
    let essence = content_type.unwrap_or_default().split(';').next().unwrap_or_default().trim();
    let lower = essence.to_ascii_lowercase();
    lower.strip_prefix("application/").is_some_and(|subtype| subtype == "json" || subtype.ends_with("+json"))
}

//! Bodies of the playback endpoints: JSON objects read field by field, as pydantic reads them.

use std::sync::Arc;

use axum::extract::Request;
use axum::http::header;

use super::refusal::Refusal;
use crate::http::body;
use crate::http::coercion;
use crate::http::json::Json;
use crate::http::state::HttpOptions;
use crate::http::validation::{Problem, Problems, echo, json_body, loc};

/// A JSON object, its fields taken one by one; what is wrong is collected.
pub struct Fields {
    document: Json,
    problems: Problems,
}

impl Fields {
    /// Reads a body that must be there.
    ///
    /// # Errors
    /// When it is missing, too long, too slow or no JSON object.
    pub async fn read(request: Request, options: &Arc<HttpOptions>) -> Result<Self, Refusal> {
        Self::of(request, options, false).await
    }

    /// Reads a body that may as well be empty.
    ///
    /// # Errors
    /// When it is too long, too slow or something else than a JSON object.
    pub async fn read_optional(request: Request, options: &Arc<HttpOptions>) -> Result<Self, Refusal> {
        Self::of(request, options, true).await
    }

    async fn of(request: Request, options: &Arc<HttpOptions>, optional: bool) -> Result<Self, Refusal> {
        let (parts, bytes) = request.into_parts();
        let bytes = body::read(bytes, &parts.headers, options).await?;
        let document = if optional && bytes.is_empty() {
            Json::Object(Vec::new())
        } else {
            let content_type = parts.headers.get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok());
            json_body(content_type, &bytes)?
        };
        Ok(Self { document, problems: Problems::default() })
    }

    fn missing(&self, name: &str) -> Problem {
        Problem::missing(loc(["body", name]), echo(&self.document))
    }

    /// A field that must be there.
    fn required<T>(&mut self, name: &str, read: impl FnOnce(&Json) -> Result<T, Problem>) -> Option<T> {
        let result = self.document.get(name).ok_or_else(|| self.missing(name)).and_then(read);
        self.problems.keep(result)
    }

    /// A field that may be absent or, where `null` is allowed, null.
    fn optional<T>(
        &mut self,
        name: &str,
        nullable: bool,
        read: impl FnOnce(&Json) -> Result<T, Problem>,
    ) -> Option<T> {
        let value = self.document.get(name).filter(|value| !(nullable && **value == Json::Null))?;
        let result = read(value);
        self.problems.keep(result)
    }

    /// Text that must be there.
    pub fn text(&mut self, name: &str) -> Option<String> {
        self.required(name, |value| text(value, name))
    }

    /// Text, if given; null is none where it may be.
    pub fn optional_text(&mut self, name: &str, nullable: bool) -> Option<String> {
        self.optional(name, nullable, |value| text(value, name))
    }

    /// A list of texts that must be there.
    pub fn texts(&mut self, name: &str) -> Option<Vec<String>> {
        let value = match self.document.get(name) {
            Some(value) => value.clone(),
            None => {
                let problem = self.missing(name);
                return self.problems.keep(Err(problem));
            }
        };
        let Json::Array(items) = &value else {
            return self.problems.keep(Err(Problem::list_type(loc(["body", name]), echo(&value))));
        };
        let mut list = Vec::with_capacity(items.len());
        let mut wrong = Vec::new();
        for (index, item) in items.iter().enumerate() {
            match item {
                Json::String(text) => list.push(text.clone()),
                other => {
                    let mut at = loc(["body", name]);
                    at.push(index.into());
                    wrong.push(Problem::string_type(at, echo(other)));
                }
            }
        }
        self.problems.keep_all(if wrong.is_empty() { Ok(list) } else { Err(wrong) })
    }

    /// A whole number that must be there.
    pub fn integer(&mut self, name: &str) -> Option<i64> {
        self.required(name, |value| coercion::integer(value, loc(["body", name])))
    }

    /// A whole number, if given; null is none.
    pub fn optional_integer(&mut self, name: &str) -> Option<i64> {
        self.optional(name, true, |value| coercion::integer(value, loc(["body", name])))
    }

    /// A whole number within bounds, if given; null is wrong.
    pub fn bounded_integer(&mut self, name: &str, [least, most]: [i64; 2]) -> Option<i64> {
        self.optional(name, false, |value| {
            let at = || loc(["body", name]);
            let number = coercion::integer(value, at())?;
            if number < least {
                return Err(Problem::greater_than_equal(at(), echo(value), &least.to_string(), least.into()));
            }
            if number > most {
                return Err(Problem::less_than_equal(at(), echo(value), &most.to_string(), most.into()));
            }
            Ok(number)
        })
    }

    /// A finite number, if given; null is none where it may be.
    pub fn optional_number(&mut self, name: &str, nullable: bool) -> Option<f64> {
        self.optional(name, nullable, |value| {
            let number = coercion::number(value, loc(["body", name]))?;
            if number.is_finite() {
                Ok(number)
            } else {
                Err(Problem::finite_number(loc(["body", name]), echo(value)))
            }
        })
    }

    /// Yes or no, if given.
    pub fn optional_boolean(&mut self, name: &str) -> Option<bool> {
        self.optional(name, true, |value| match value {
            Json::Bool(yes) => Ok(*yes),
            Json::Int(0) => Ok(false),
            Json::Int(1) => Ok(true),
            Json::String(word) => {
                coercion::boolean(word).ok_or_else(|| Problem::bool_parsing(loc(["body", name]), echo(value)))
            }
            _ => Err(Problem::bool_type(loc(["body", name]), echo(value))),
        })
    }

    /// One more thing that is wrong.
    pub fn refuse(&mut self, problem: Problem) {
        self.problems.keep::<()>(Err(problem));
    }

    /// `value`, when nothing was wrong.
    ///
    /// # Errors
    /// All that was wrong.
    pub fn settle<T>(self, value: Option<T>) -> Result<T, Refusal> {
        self.problems.settle(value).map_err(Refusal::from)
    }
}

fn text(value: &Json, name: &str) -> Result<String, Problem> {
    match value {
        Json::String(text) => Ok(text.clone()),
        other => Err(Problem::string_type(loc(["body", name]), echo(other))),
    }
}

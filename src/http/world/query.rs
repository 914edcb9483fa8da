//! Query strings as FastAPI reads them: of a name given twice the last counts, names nobody asked for are ignored, and
//! numbers are read as loosely as pydantic reads them.

use axum::extract::Query;
use axum::http::Uri;
use serde_json::{Value, json};

use crate::http::coercion;
use crate::http::validation::{Problem, Step, loc};

/// The pairs of a query string.
#[derive(Debug, Default)]
pub struct Pairs(Vec<(String, String)>);

impl Pairs {
    /// Reads them; what cannot be read is not there.
    #[must_use]
    pub fn of(uri: &Uri) -> Self {
        Query::<Vec<(String, String)>>::try_from_uri(uri)
            .map_or_else(|_| Self::default(), |Query(pairs)| Self(pairs))
    }

    /// The last value of that name.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<&str> {
        self.0.iter().rev().find(|(key, _)| key == name).map(|(_, value)| value.as_str())
    }

    /// A whole number, if given.
    ///
    /// # Errors
    /// When it is none.
    pub fn integer(&self, name: &str) -> Result<Option<i64>, Problem> {
        self.get(name).map(|text| coercion::integer_text(text, at(name))).transpose()
    }

    /// A whole number that must be given.
    ///
    /// # Errors
    /// When it is not there or none.
    pub fn required_integer(&self, name: &str) -> Result<i64, Problem> {
        self.integer(name)?.ok_or_else(|| Problem::missing(at(name), Value::Null))
    }

    /// A number within bounds, or the default.
    ///
    /// # Errors
    /// When it is no number or out of bounds.
    pub fn number(&self, name: &str, default: f64, [least, most]: [f64; 2]) -> Result<f64, Problem> {
        let Some(text) = self.get(name) else { return Ok(default) };
        let input = || Value::String(text.to_owned());
        let value = coercion::float(text).ok_or_else(|| Problem::float_parsing(at(name), input()))?;
        if value < least {
            return Err(Problem::greater_than_equal(at(name), input(), &number(least), json!(least)));
        }
        if value > most || value.is_nan() {
            return Err(Problem::less_than_equal(at(name), input(), &number(most), json!(most)));
        }
        Ok(value)
    }
}

/// `["query", name]`
#[must_use]
pub fn at(name: &str) -> Vec<Step> {
    loc(["query", name])
}

fn number(value: f64) -> String {
    format!("{value}")
}

//! A request with every field checked and every default filled in. Absent and empty configs are the normal case: the
//! published client sends none. What is refused names its field and says what was expected.

pub mod options;
pub mod scene;
pub mod stream;
pub mod training;

use super::error::FleetError;
use super::request::CreateSession;
use super::settings::Sessions;
use super::spec::{SessionSpec, request_hash};

/// A request that can be opened in the books.
#[derive(Debug, Clone, PartialEq)]
pub struct Plan {
    /// Who pays.
    pub owner: String,
    /// What it runs, with defaults.
    pub spec: SessionSpec,
    /// Of the request as it was sent, before defaults: a change of the configuration does not make it another one.
    pub request_hash: [u8; 32],
    /// Whether the request says which scene; an upgrade that does not keeps the one there is.
    pub names_scene: bool,
    /// Whether the request says which stream.
    pub names_stream: bool,
}

/// Checks a request and fills in what it leaves open.
///
/// # Errors
/// `Invalid`, with the field that is wrong.
pub fn plan(request: &CreateSession, settings: &Sessions) -> Result<Plan, FleetError> {
    let owner = options::owner(&request.options.owner)?;
    options::check(&request.options)?;
    let scene = request.scene.clone().unwrap_or_default();
    let stream = request.stream.clone().unwrap_or_default();
    let asked = SessionSpec {
        scene: scene.clone(),
        stream: stream.clone(),
        training: request.training.clone(),
        training_gpus: 0,
        training_memory_gb: 0,
        simulators: 0,
        human_demo: request.human_demo,
        policy: request.options.policy.clone(),
        instruction: request.options.instruction.clone(),
        requires: request.options.requires.clone(),
    };
    let resources = request.resources.unwrap_or_default();
    let (gpus, memory_gb) = training::resources(&resources)?;
    let simulators = training::simulators(request.mode, request.training.as_ref(), &resources, settings)?;
    let hashed = SessionSpec {
        training_gpus: gpus,
        training_memory_gb: memory_gb,
        simulators: u32::try_from(resources.isaac_sim_instances).unwrap_or(0),
        ..asked.clone()
    };
    let spec = SessionSpec {
        scene: scene::with_defaults(&scene, settings)?,
        stream: stream::with_defaults(&stream)?,
        training: training::with_defaults(request.mode, request.training.as_ref(), simulators)?,
        training_gpus: gpus,
        training_memory_gb: memory_gb,
        simulators,
        human_demo: request.human_demo,
        ..asked
    };
    Ok(Plan {
        request_hash: request_hash(request.mode, &owner, &hashed),
        owner,
        spec,
        names_scene: scene != Default::default(),
        names_stream: stream != Default::default(),
    })
}

/// Simulated seconds a second: 0, which is what the published client sends, is 1.
///
/// # Errors
/// `Invalid` below 0, above 1000, or when it is no number.
pub fn time_scale(asked: f64) -> Result<f64, FleetError> {
    if asked == 0.0 {
        return Ok(1.0);
    }
    if !asked.is_finite() || !(0.0..=1000.0).contains(&asked) {
        return Err(FleetError::invalid(
            "time_scale",
            format!("is {asked}; expected 0 (which is 1) to 1000"),
        ));
    }
    Ok(asked)
}

/// A text without control characters and not longer than `longest` bytes.
fn text(field: &str, value: &str, longest: usize) -> Result<(), FleetError> {
    if value.len() > longest {
        let problem = format!("is {} bytes long; expected at most {longest}", value.len());
        return Err(FleetError::invalid(field, problem));
    }
    if value.chars().any(char::is_control) {
        return Err(FleetError::invalid(field, "holds control characters"));
    }
    Ok(())
}

/// A number of the wire in a range.
fn within(field: &str, value: i32, low: i32, high: i32) -> Result<u32, FleetError> {
    if value < low || value > high {
        return Err(FleetError::invalid(field, format!("is {value}; expected {low} to {high}")));
    }
    Ok(u32::try_from(value).unwrap_or(0))
}

#[cfg(test)]
mod tests;

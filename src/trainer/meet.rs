//! Before the first step: which task it is that the simulators play.

use std::time::{Duration, Instant};

use tokio::sync::mpsc;

use super::error::TrainerError;
use super::plan::Plan;
use super::policy::Shape;
use super::thread::Command;
use crate::instance::step::{ActionSpace, Spec, StepClient, StepError};

const PAUSE: Duration = Duration::from_millis(250);

/// How the wait for the first answer ended.
pub(super) enum Met {
    /// The task's sizes.
    Task(Shape, String),
    /// It was told to stop.
    Stopped,
}

/// Asks one simulator after the other for its sizes until one answers. `paused` follows the commands.
///
/// # Errors
/// When none answers in the time the plan gives, or what one answers cannot be trained on.
pub(super) async fn meet(
    plan: &mut Plan,
    commands: &mut mpsc::Receiver<Command>,
    paused: &mut bool,
) -> Result<Met, TrainerError> {
    let mut began = Instant::now();
    let mut index = 0;
    loop {
        if *paused {
            began = Instant::now();
        }
        let endpoint = plan.endpoints.get(index).cloned().unwrap_or_default();
        let answer = tokio::select! {
            answer = ask(&endpoint, plan) => answer?,
            command = commands.recv() => {
                if obey(command, plan, paused) {
                    return Ok(Met::Stopped);
                }
                continue;
            }
        };
        let problem = match answer {
            Ok(spec) => return Ok(Met::Task(shape(&spec, &endpoint, plan)?, spec.environment)),
            Err(problem) => problem,
        };
        if began.elapsed() > plan.hyper.away_limit {
            return Err(TrainerError::Alone { seconds: plan.hyper.away_limit.as_secs(), problem });
        }
        index = (index + 1) % plan.endpoints.len().max(1);
        let pause = tokio::time::sleep(if index == 0 { PAUSE } else { Duration::ZERO });
        tokio::pin!(pause);
        loop {
            tokio::select! {
                () = &mut pause => break,
                command = commands.recv() => if obey(command, plan, paused) {
                    return Ok(Met::Stopped);
                },
            }
        }
    }
}

/// One simulator's sizes, or in the inner error why there are none yet.
async fn ask(endpoint: &str, plan: &Plan) -> Result<Result<Spec, String>, TrainerError> {
    let limit = plan.hyper.step_timeout;
    let wrong = |problem: String| TrainerError::Environment { endpoint: endpoint.to_owned(), problem };
    let mut client = StepClient::new(endpoint).map_err(|error| wrong(error.to_string()))?;
    match client.spec(limit).await {
        Ok(spec) => return Ok(Ok(spec)),
        Err(StepError::Refused { .. } | StepError::Malformed { .. }) => {}
        Err(error) => return Ok(Err(error.to_string())),
    }
    // Simulators of others do not know the command; their observations tell their own size.
    let known = plan
        .hyper
        .actions
        .clone()
        .or_else(|| plan.resume.as_ref().map(|resume| resume.agent.shape.action.clone()));
    let Some(action) = known else {
        return Err(wrong(
            "it does not tell what its actions are; give the hyperparameter actions".to_owned(),
        ));
    };
    Ok(match client.reset(None, limit).await {
        Ok(begun) => Ok(Spec { observation_size: begun.observation.len(), action, ..Spec::default() }),
        Err(error) => Err(error.to_string()),
    })
}

fn shape(spec: &Spec, endpoint: &str, plan: &Plan) -> Result<Shape, TrainerError> {
    let wrong = |problem: String| TrainerError::Environment { endpoint: endpoint.to_owned(), problem };
    let (size, action) = (spec.observation_size, spec.action.clone());
    if !(1..=65_536).contains(&size) {
        return Err(wrong(format!("its observations have {size} numbers; expected 1 to 65536")));
    }
    match action {
        ActionSpace::Discrete { discrete: 2..=4_096 } => {}
        ActionSpace::Continuous { continuous: 1..=4_096, low, high }
            if low < high && low.is_finite() && high.is_finite() => {}
        other => return Err(wrong(format!("its actions are {other:?}: no space to choose from"))),
    }
    let Some(resume) = &plan.resume else {
        return Ok(Shape { observation: size, action, hidden: plan.hyper.hidden.clone() });
    };
    let kept = &resume.agent.shape;
    if (kept.observation, &kept.action) != (size, &action) {
        return Err(wrong(format!(
            "its observations have {size} numbers and its actions are {action:?}; the checkpoint's are {} and {:?}",
            kept.observation, kept.action
        )));
    }
    Ok(kept.clone())
}

/// Whether that was the end.
fn obey(command: Option<Command>, plan: &mut Plan, paused: &mut bool) -> bool {
    let count = plan.endpoints.len();
    match command {
        None => return true,
        Some(Command::Stop { done, .. }) => {
            drop(done.send(Ok(None)));
            return true;
        }
        Some(Command::Replace { index, endpoint, done }) => {
            let replaced = match (StepClient::new(&endpoint), plan.endpoints.get_mut(index)) {
                (Err(source), _) => Err(TrainerError::Endpoint { index, source }),
                (_, None) => {
                    Err(TrainerError::Order(format!("there is no environment {index}; there are {count}")))
                }
                (Ok(_), Some(place)) => {
                    *place = endpoint;
                    Ok(())
                }
            };
            drop(done.send(replaced));
        }
        Some(Command::Learn { uri, done }) => {
            plan.demonstrations.push(uri);
            drop(done.send(Ok(0)));
        }
        Some(Command::Snapshot { done, .. }) => {
            drop(done.send(Err(TrainerError::Order(
                "training has not begun: no environment answered yet".to_owned(),
            ))));
        }
        Some(Command::Pause { on, done }) => {
            *paused = on;
            drop(done.send(Ok(())));
        }
    }
    false
}

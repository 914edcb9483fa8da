//! The reset/step socket's end of the simulator. Steps wait while time stands still, and keep to the wall clock while a
//! person drives or the session was started in real time.

use tokio::time::{Instant, sleep_until};

use super::error::SimulatorError;
use super::handle::Simulator;
use super::session::{Controller, Phase};
use crate::instance::step::{Answer, Begun, Handler, Info, Request, Stepped};

/// Answers a trainer.
#[derive(Debug)]
pub struct Steps {
    simulator: Simulator,
    due: Instant,
}

impl Steps {
    /// For a simulator.
    #[must_use]
    pub fn new(simulator: Simulator) -> Self {
        Self { simulator, due: Instant::now() }
    }

    async fn wait(&mut self) {
        let mut vitals = self.simulator.vitals();
        while vitals.borrow_and_update().phase == Phase::Paused {
            if vitals.changed().await.is_err() {
                return;
            }
        }
        let Some(pace) = vitals.borrow().pace else { return };
        let now = Instant::now();
        // A late step starts a new rhythm: hurrying after it would jerk what a person drives.
        if now > self.due + pace || self.due > now + pace {
            self.due = now + pace;
        }
        sleep_until(self.due).await;
        self.due += pace;
    }

    async fn done(&mut self, request: Request) -> Result<Answer, SimulatorError> {
        match request {
            Request::Reset { seed } => {
                self.wait().await;
                let (observation, controller) = self.simulator.reset(seed).await?;
                let by_hand = if controller == Controller::Human { "human" } else { "trainer" };
                let info = Info { controller: by_hand.to_owned(), ..Info::default() };
                Ok(Answer::Begun(Begun { observation, info }))
            }
            Request::Step { action, timestamp } => {
                self.wait().await;
                let done = self.simulator.step(action).await?;
                let outcome = done.outcome;
                let info = Info {
                    terminated: outcome.terminated,
                    truncated: outcome.truncated,
                    success: outcome.success,
                    collision: outcome.collision,
                    controller: done.controller.to_owned(),
                    action: if done.controller == "human" { done.action } else { Vec::new() },
                };
                Ok(Answer::Stepped(Stepped {
                    observation: done.observation,
                    reward: outcome.reward,
                    done: outcome.done(),
                    info,
                    timestamp,
                }))
            }
            Request::Spec => Ok(Answer::Spec(self.simulator.spec().await?)),
            Request::Close => Ok(Answer::Closed { status: "ok" }),
        }
    }
}

impl Handler for Steps {
    async fn answer(&mut self, request: Request) -> Answer {
        self.done(request).await.unwrap_or_else(|error| Answer::Refused { error: error.to_string() })
    }
}

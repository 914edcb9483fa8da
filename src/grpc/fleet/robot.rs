//! `StreamRobotControl`: commands of a client to the robot of a session, and the robot's states back.
//!
//! The first message names the session; one without joint commands only watches. Commands wait for each other, so a
//! client that sends too fast is slowed down by its own stream. States do not wait: a client that reads slowly gets the
//! newest and misses those between. When the client has said all it wanted to, it gets one more state and the end.

use std::sync::Arc;
use std::time::Duration;

use futures_util::stream::BoxStream;
use tokio::sync::mpsc;
use tokio::time::Instant;
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Request, Status, Streaming};

use super::call::{CALL_LIMIT, Call, invalid};
use super::{Edge, status};
use crate::fleet::control::{Heard, RobotStream, Who};
use crate::fleet::{FleetError, SessionId};
use crate::instance::contract::{FromRobot, JointGroup, ToRobot};
use crate::proto::neuro::isaac_sim::{JointState, RobotAction, RobotState};

/// What goes back.
pub(super) type States = BoxStream<'static, Result<RobotState, Status>>;

/// How long a stream may say nothing at its beginning.
const FIRST_WORD: Duration = Duration::from_secs(30);

/// How long the last state may take after the client has said all.
const LAST_STATE: Duration = Duration::from_secs(1);

/// Metadata with a control token, for who took control before.
const TOKEN: &str = "neuro-control-token";

/// Opens a stream; everything that can be wrong with it comes as its status.
pub(super) fn stream(edge: &Edge, request: Request<Streaming<RobotAction>>) -> Result<States, Status> {
    let call = Call::of_client(&request)?;
    let token = match request.metadata().get(TOKEN) {
        Some(token) => Some(token.to_str().map_err(|_| invalid(TOKEN, "is not printable ASCII"))?.to_owned()),
        None => None,
    };
    // One place: what is not read yet is the newest.
    let (states, sent) = mpsc::channel(1);
    let drive = Drive { edge: edge.clone(), call, token, states };
    tokio::spawn(drive.run(request.into_inner()));
    Ok(edge.until_stop(ReceiverStream::new(sent)))
}

struct Drive {
    edge: Edge,
    call: Call,
    token: Option<String>,
    states: mpsc::Sender<Result<RobotState, Status>>,
}

impl Drive {
    async fn run(self, actions: Streaming<RobotAction>) {
        let states = self.states.clone();
        if let Err(status) = self.driven(actions).await {
            drop(states.send(Err(status)).await);
        }
    }

    async fn driven(self, mut actions: Streaming<RobotAction>) -> Result<(), Status> {
        let late = || {
            let message = format!("no message came within {} s", FIRST_WORD.as_secs());
            status::of(&FleetError::Deadline(message))
        };
        let first = tokio::time::timeout(FIRST_WORD, actions.message()).await.map_err(|_| late())??;
        let Some(first) = first else {
            return Err(invalid("session_id", "is missing: the first message names the session"));
        };
        let session = self.edge.session_of(&self.call, &first.session_id)?.row.id;
        let robot = self.open(&session).await?;
        let mut heard = robot.listen();
        give(&robot, &session, first).await?;

        let mut newest: Option<RobotState> = None;
        let mut last_word: Option<Instant> = None;
        loop {
            let over = async {
                match last_word {
                    Some(since) => tokio::time::sleep_until(since + LAST_STATE).await,
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                () = self.states.closed() => return Ok(()),
                () = over => return Ok(()),
                action = actions.message(), if last_word.is_none() => match action? {
                    Some(action) => give(&robot, &session, action).await?,
                    None => last_word = Some(Instant::now()),
                },
                place = self.states.reserve(), if newest.is_some() => {
                    let (Ok(place), Some(state)) = (place, newest.take()) else { return Ok(()) };
                    place.send(Ok(state));
                    if last_word.is_some() {
                        return Ok(());
                    }
                },
                message = heard.next() => match message {
                    Some(message) => newest = state(&session, &message).or(newest),
                    None => return Ok(()),
                },
            }
        }
    }

    async fn open(&self, session: &SessionId) -> Result<RobotStream, Status> {
        let controls = self.edge.orchestrator.controls();
        let who = match &self.token {
            Some(token) => {
                let claims = controls.verify(token, session).map_err(|error| status::of(&error))?;
                Who::with_token(&claims, token)
            }
            None => Who::named(self.call.identity.owner.as_deref().unwrap_or("grpc")),
        };
        let work = controls.robot_watched(session, None, who);
        self.call.within(CALL_LIMIT, &format!("opening a stream to session {session}"), work).await
    }
}

/// Hands one message's commands on.
async fn give(robot: &RobotStream, session: &SessionId, action: RobotAction) -> Result<(), Status> {
    if !action.session_id.is_empty() && action.session_id != session.as_str() {
        let problem = format!("is {:?}; this stream is of {:?}", action.session_id, session.as_str());
        return Err(invalid("session_id", problem));
    }
    if action.joint_commands.is_empty() {
        return Ok(());
    }
    let group = |command: crate::proto::neuro::isaac_sim::JointCommand| JointGroup {
        r#type: command.r#type,
        names: command.names,
        values: command.values,
    };
    let commands = action.joint_commands.into_iter().map(group).collect();
    robot.want();
    robot.send(ToRobot::JointCommand { commands }).await.map_err(|error| status::of(&of_wire(error)))
}

/// Names a field as this wire calls it.
fn of_wire(error: FleetError) -> FleetError {
    match error {
        FleetError::Invalid { field, problem } => {
            FleetError::Invalid { field: format!("joint_{field}"), problem }
        }
        other => other,
    }
}

fn state(session: &SessionId, heard: &Arc<Heard>) -> Option<RobotState> {
    let Some(FromRobot::RobotState { timestamp, names, positions, velocities, .. }) = &heard.message else {
        return None;
    };
    let joint_state =
        JointState { names: names.clone(), positions: positions.clone(), velocities: velocities.clone() };
    Some(RobotState {
        session_id: session.to_string(),
        timestamp: *timestamp,
        joint_state: Some(joint_state),
    })
}

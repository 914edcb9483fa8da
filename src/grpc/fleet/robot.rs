//! `StreamRobotControl`: commands of a client to the robot of a session, and the robot's states back.

use futures_util::stream::BoxStream;
use tonic::{Status, Streaming};

use super::Edge;
use super::call::Call;
use crate::proto::neuro::isaac_sim::{RobotAction, RobotState};

/// What goes back.
pub(super) type States = BoxStream<'static, Result<RobotState, Status>>;

pub(super) fn stream(_edge: &Edge, _call: Call, _actions: Streaming<RobotAction>) -> Result<States, Status> {
    Err(Status::unavailable("not built in yet"))
}

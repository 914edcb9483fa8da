//! A demonstration while it is being made. Steps come from the robot, so what is recorded is what was done, not what was
//! wished. The disk has a thread of its own and a bounded queue: a slow or full one ends the recording, never the drive.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{broadcast, mpsc, oneshot};
use tokio::task::JoinHandle;
use tokio::time::timeout;

use super::camera::{self, Shutter};
use super::disk::{self, Entry, Finished};
use super::house::House;
use super::look::{Place, Robot};
use super::wheel::{Heard, Wheel};
use crate::fleet::clock::now_ms;
use crate::fleet::error::FleetError;
use crate::fleet::event::EventKind;
use crate::fleet::ids::{InstanceId, SessionId};
use crate::fleet::ledger::Command;
use crate::fleet::rows::DemonstrationRow;
use crate::instance::contract::FromRobot;
use crate::instance::demonstration::{Line, Meta};
use crate::proto::neuro::ext;

/// Steps between the robot and the disk.
const QUEUE: usize = 256;
/// For the last steps to reach the disk.
const FINISH_TIME: Duration = Duration::from_secs(10);

/// See the module.
#[derive(Debug)]
pub(super) struct Recording {
    id: String,
    session: SessionId,
    owner: String,
    instance: InstanceId,
    shutter: Shutter,
    stop: Option<oneshot::Sender<()>>,
    listener: JoinHandle<()>,
    film: Option<JoinHandle<()>>,
    finished: oneshot::Receiver<Result<Option<Finished>, FleetError>>,
}

impl Recording {
    /// Of a person: pictures are taken along.
    pub fn of_person(wheel: &Arc<Wheel>, house: &House, place: &Place, robot: &Robot, user: &str) -> Self {
        let mut recording = Self::start(wheel, house, place, robot, user, "human");
        let film =
            camera::film(house.http.clone(), robot.clone(), wheel.session.clone(), recording.shutter.clone());
        recording.film = Some(tokio::spawn(film));
        recording
    }

    /// Of the policy: the pictures are those it saw.
    pub fn of_policy(wheel: &Arc<Wheel>, house: &House, place: &Place, robot: &Robot) -> Self {
        Self::start(wheel, house, place, robot, "policy", "policy")
    }

    fn start(
        wheel: &Arc<Wheel>,
        house: &House,
        place: &Place,
        robot: &Robot,
        user: &str,
        controller: &'static str,
    ) -> Self {
        let id = uuid::Uuid::new_v4().to_string();
        let meta = Meta {
            id: id.clone(),
            session_id: wheel.session.to_string(),
            instance_id: robot.id.to_string(),
            user: user.to_owned(),
            environment: place.environment.clone(),
            instruction: place.instruction.clone(),
            started_at_ms: now_ms(),
            ..Meta::default()
        };
        let (entries, queue) = mpsc::channel(QUEUE);
        let (done, finished) = oneshot::channel();
        let folder: PathBuf = house.demonstrations.join(wheel.session.as_str());
        disk::start(folder, meta, queue, done);
        let shutter = Shutter::default();
        let (stop, stopped) = oneshot::channel();
        let heard = wheel.heard.subscribe();
        let listening = listen(Arc::clone(wheel), heard, shutter.clone(), controller, entries, stopped);
        Self {
            id,
            session: wheel.session.clone(),
            owner: place.owner.clone(),
            instance: robot.id,
            shutter,
            stop: Some(stop),
            listener: tokio::spawn(listening),
            film: None,
            finished,
        }
    }

    /// On which simulator.
    pub const fn instance(&self) -> InstanceId {
        self.instance
    }

    /// Where pictures go.
    pub const fn shutter(&self) -> &Shutter {
        &self.shutter
    }

    /// Whether it ended by itself.
    pub fn is_over(&self) -> bool {
        self.listener.is_finished()
    }

    /// Ends it and enters it in the books. Its id; empty when there was nothing to keep.
    pub async fn finish(mut self, house: &House) -> String {
        if let Some(film) = self.film.take() {
            film.abort();
        }
        if let Some(stop) = self.stop.take() {
            // A listener that has ended needs no telling.
            stop.send(()).ok();
        }
        let finished = match timeout(FINISH_TIME, &mut self.finished).await {
            Ok(Ok(finished)) => finished,
            Ok(Err(_)) => Err(FleetError::Internal("the recorder's thread ended".to_owned())),
            Err(_) => Err(FleetError::Internal(format!("not on disk within {} s", FINISH_TIME.as_secs()))),
        };
        let finished = match finished {
            Ok(None) => return String::new(),
            Ok(Some(finished)) => finished,
            Err(error) => {
                tracing::warn!(session = %self.session, demonstration = self.id, "recording: {error}");
                note(house, &self.session, self.instance, &format!("recording failed: {error}")).await;
                return String::new();
            }
        };
        if let Some(trouble) = &finished.trouble {
            note(house, &self.session, self.instance, &format!("recording ended early: {trouble}")).await;
        }
        let demonstration = ext::Demonstration {
            id: self.id.clone(),
            instance_id: self.instance.to_string(),
            user: finished.meta.user.clone(),
            started_at_ms: finished.meta.started_at_ms,
            steps: i32::try_from(finished.meta.steps).unwrap_or(i32::MAX),
            total_reward: finished.meta.total_reward,
            uri: format!("file://{}", finished.folder.display()),
            sha256: finished.meta.steps_sha256,
        };
        let (session, owner) = (self.session.clone(), self.owner.clone());
        let row = DemonstrationRow { session, owner, demonstration };
        if let Err(error) = house.books.apply(Command::AddDemonstration(row)).await {
            tracing::warn!(session = %self.session, demonstration = self.id, "not in the books: {error}");
        }
        std::mem::take(&mut self.id)
    }
}

impl Drop for Recording {
    fn drop(&mut self) {
        if let Some(film) = self.film.take() {
            film.abort();
        }
    }
}

/// A sentence for the session's log.
pub(super) async fn note(house: &House, session: &SessionId, instance: InstanceId, sentence: &str) {
    let change = ext::InstanceChange {
        instance_id: instance.to_string(),
        event: sentence.to_owned(),
        replaced_by: String::new(),
    };
    let events = vec![EventKind::Instance(change)];
    if let Err(error) = house.books.apply(Command::Record { session: session.clone(), events }).await {
        tracing::warn!(%session, "{sentence}; not in the log: {error}");
    }
}

async fn listen(
    wheel: Arc<Wheel>,
    mut heard: broadcast::Receiver<Arc<Heard>>,
    shutter: Shutter,
    controller: &'static str,
    entries: mpsc::Sender<Entry>,
    mut stopped: oneshot::Receiver<()>,
) {
    let (mut kept, mut ending) = (0, false);
    loop {
        let heard = if ending {
            // What the robot said before the end belongs to it.
            match heard.try_recv() {
                Err(broadcast::error::TryRecvError::Lagged(missed)) => {
                    Err(broadcast::error::RecvError::Lagged(missed))
                }
                Err(_) => return,
                Ok(heard) => Ok(heard),
            }
        } else {
            tokio::select! {
                _ = &mut stopped => {
                    ending = true;
                    continue;
                }
                () = entries.closed() => return,
                heard = heard.recv() => heard,
            }
        };
        let step = match heard {
            Ok(heard) => match &heard.message {
                Some(FromRobot::Step(step)) => step.clone(),
                _ => continue,
            },
            Err(broadcast::error::RecvError::Lagged(missed)) => {
                tracing::warn!(session = %wheel.session, "the recorder missed {missed} messages of the robot");
                continue;
            }
            Err(broadcast::error::RecvError::Closed) => return,
        };
        // Steps between the takeover and the simulator's noticing it are somebody else's.
        if !step.controller.is_empty() && step.controller != controller {
            continue;
        }
        let (number, picture) = shutter.newest();
        let picture = (number > kept).then(|| {
            kept = number;
            picture
        });
        let line = Line { step, command: wheel.last_command(), frame: String::new() };
        if entries.send(Entry { line, picture }).await.is_err() {
            return;
        }
    }
}

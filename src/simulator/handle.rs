//! The simulator as everybody else sees it: typed orders, answered when the loop has carried them out. REST, the
//! orchestrator's stream and the step socket all come through here.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::{SyncSender, sync_channel};

use tokio::sync::{broadcast, oneshot, watch};

use super::engine::{Engine, Heard, Job, Vitals};
use super::error::SimulatorError;
use super::session::{Controller, Done, Phase};
use super::sketch::Scenery;
use super::snapshot::Snapshot;
use super::surroundings::Surroundings;
use super::world;
use crate::instance::contract::{self, PrimPaths, Saved, ToRobot};
use crate::instance::step::Spec;
use crate::scene::shelf::Shelf;

/// Jobs that may wait for the loop.
const JOBS: usize = 256;
/// Messages of the robot that a slow listener may be behind.
const BACKLOG: usize = 256;

/// The simulator. Clones share it; it ends with the last one.
#[derive(Debug, Clone)]
pub struct Simulator {
    jobs: SyncSender<Job>,
    said: broadcast::Sender<Heard>,
    vitals: watch::Receiver<Vitals>,
    shelf: Arc<Shelf>,
    clients: Arc<AtomicUsize>,
}

/// A control websocket that is open. Dropping it counts it out.
#[derive(Debug)]
pub struct Client(Arc<AtomicUsize>);

impl Drop for Client {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

impl Simulator {
    /// Starts the loop.
    ///
    /// # Errors
    /// When the system gives no thread.
    pub fn start(shelf: Shelf) -> std::io::Result<Self> {
        let (jobs, received) = sync_channel::<Job>(JOBS);
        let (said, _) = broadcast::channel(BACKLOG);
        let (vitals_in, vitals) = watch::channel(Vitals::default());
        let engine = Engine::new(said.clone(), vitals_in);
        std::thread::Builder::new().name("simulate".to_owned()).spawn(move || engine.run(&received))?;
        Ok(Self { jobs, said, vitals, shelf: Arc::new(shelf), clients: Arc::default() })
    }

    /// How it does, now and from now on.
    #[must_use]
    pub fn vitals(&self) -> watch::Receiver<Vitals> {
        self.vitals.clone()
    }

    /// What the robot says from now on.
    #[must_use]
    pub fn listen(&self) -> broadcast::Receiver<Heard> {
        self.said.subscribe()
    }

    /// Counts a control websocket in.
    #[must_use]
    pub fn client(&self) -> Client {
        self.clients.fetch_add(1, Ordering::Relaxed);
        Client(Arc::clone(&self.clients))
    }

    /// Control websockets that are open.
    #[must_use]
    pub fn clients(&self) -> usize {
        self.clients.load(Ordering::Relaxed)
    }

    /// Loads a session. The same load again changes nothing; one under a higher fence ends what ran before.
    ///
    /// # Errors
    /// [`SimulatorError`].
    pub async fn load(&self, id: &str, load: contract::Load) -> Result<PrimPaths, SimulatorError> {
        if id.is_empty() || id.len() > 256 {
            return Err(SimulatorError::Invalid(format!(
                "a session's id has 1 to 256 bytes, not {}",
                id.len()
            )));
        }
        let (name, order) = (id.to_owned(), load.clone());
        if let Some(prim_paths) = self.ask(move |engine| engine.loaded(&name, &order)).await? {
            return Ok(PrimPaths { prim_paths });
        }
        let (scene, shelf) = (load.scene_config.clone(), Arc::clone(&self.shelf));
        let open = move || {
            let around = Surroundings::new(&scene.obstacles, scene.enable_physics)?;
            Ok((world::open(&scene, &shelf)?, around))
        };
        let (world, around) = blocking(open).await?;
        let name = id.to_owned();
        let prim_paths = self.ask(move |engine| engine.load(name, load, world, around)).await?;
        Ok(PrimPaths { prim_paths })
    }

    /// Lets time pass.
    ///
    /// # Errors
    /// [`SimulatorError`].
    pub async fn run(&self, id: &str, order: contract::Start) -> Result<(), SimulatorError> {
        let id = id.to_owned();
        self.ask(move |engine| engine.start(&id, order)).await
    }

    /// Time stands still until it is started again; steps wait.
    ///
    /// # Errors
    /// [`SimulatorError`].
    pub async fn pause(&self, id: &str, fence: u64) -> Result<(), SimulatorError> {
        let id = id.to_owned();
        self.ask(move |engine| engine.stand_still(&id, fence, Phase::Paused)).await
    }

    /// Time stands still; steps are refused.
    ///
    /// # Errors
    /// [`SimulatorError`].
    pub async fn stop(&self, id: &str, fence: u64) -> Result<(), SimulatorError> {
        let id = id.to_owned();
        self.ask(move |engine| engine.stand_still(&id, fence, Phase::Stopped)).await
    }

    /// Ends a session; one that is not here, too.
    ///
    /// # Errors
    /// [`SimulatorError`].
    pub async fn delete(&self, id: &str, fence: u64) -> Result<(), SimulatorError> {
        let id = id.to_owned();
        self.ask(move |engine| engine.delete(&id, fence)).await
    }

    /// Ends whatever runs.
    ///
    /// # Errors
    /// [`SimulatorError`].
    pub async fn clear(&self, fence: u64) -> Result<(), SimulatorError> {
        self.ask(move |engine| engine.clear(fence)).await
    }

    /// Changes what stands around.
    ///
    /// # Errors
    /// [`SimulatorError`].
    pub async fn change(&self, id: &str, patch: contract::ScenePatch) -> Result<PrimPaths, SimulatorError> {
        let id = id.to_owned();
        let prim_paths = self.ask(move |engine| engine.change(&id, &patch)).await?;
        Ok(PrimPaths { prim_paths })
    }

    /// Says who drives.
    ///
    /// # Errors
    /// [`SimulatorError`].
    pub async fn drive(&self, id: &str, order: contract::SetController) -> Result<(), SimulatorError> {
        let controller = Controller::read(&order.controller)?;
        let id = id.to_owned();
        self.ask(move |engine| engine.drive(&id, order.fence, controller)).await
    }

    /// Writes the session's state to a file.
    ///
    /// # Errors
    /// [`SimulatorError`].
    pub async fn snapshot(&self, id: &str, order: contract::SnapshotTo) -> Result<Saved, SimulatorError> {
        let id = id.to_owned();
        let snapshot = self.ask(move |engine| engine.snapshot(&id, order.fence)).await?;
        blocking(move || snapshot.write(&order.uri)).await
    }

    /// Reads the session's state from a file.
    ///
    /// # Errors
    /// [`SimulatorError`].
    pub async fn restore(&self, id: &str, order: contract::SnapshotTo) -> Result<(), SimulatorError> {
        let snapshot = blocking(move || Snapshot::read(&order.uri)).await?;
        let id = id.to_owned();
        self.ask(move |engine| engine.restore(&id, order.fence, &snapshot)).await
    }

    /// Whether a session is here, under this fence.
    ///
    /// # Errors
    /// [`SimulatorError`].
    pub async fn check(&self, id: &str, fence: u64) -> Result<(), SimulatorError> {
        let id = id.to_owned();
        self.ask(move |engine| engine.has(&id, fence)).await
    }

    /// Hands a command to the robot.
    ///
    /// # Errors
    /// [`SimulatorError`].
    pub async fn command(&self, id: &str, fence: u64, message: ToRobot) -> Result<(), SimulatorError> {
        let id = id.to_owned();
        self.ask(move |engine| engine.command(&id, fence, &message)).await
    }

    /// Sizes of the task.
    ///
    /// # Errors
    /// [`SimulatorError`].
    pub async fn spec(&self) -> Result<Spec, SimulatorError> {
        self.ask(Engine::spec).await
    }

    /// Begins an episode: what the task shows, and who drives.
    ///
    /// # Errors
    /// [`SimulatorError`].
    pub async fn reset(&self, seed: Option<u64>) -> Result<(Vec<f64>, Controller), SimulatorError> {
        self.ask(move |engine| engine.reset(seed)).await
    }

    /// Does one step of the task.
    ///
    /// # Errors
    /// [`SimulatorError`].
    pub async fn step(&self, action: Vec<f64>) -> Result<Done, SimulatorError> {
        self.ask(move |engine| engine.step(&action)).await
    }

    /// What a picture shows.
    ///
    /// # Errors
    /// [`SimulatorError`].
    pub async fn scenery(&self, id: &str) -> Result<Scenery, SimulatorError> {
        let id = id.to_owned();
        self.ask(move |engine| engine.scenery(&id)).await
    }

    async fn ask<R: Send + 'static>(
        &self,
        job: impl FnOnce(&mut Engine) -> Result<R, SimulatorError> + Send + 'static,
    ) -> Result<R, SimulatorError> {
        let (reply, answer) = oneshot::channel();
        let job: Job = Box::new(move |engine| {
            // The asker may be gone; the order is carried out all the same.
            drop(reply.send(job(engine)));
        });
        self.jobs
            .try_send(job)
            .map_err(|_| SimulatorError::Away("the simulator has more to do than it can"))?;
        answer.await.unwrap_or(Err(SimulatorError::Away("the simulator is stopping")))
    }
}

async fn blocking<R: Send + 'static>(
    work: impl FnOnce() -> Result<R, SimulatorError> + Send + 'static,
) -> Result<R, SimulatorError> {
    let done = tokio::task::spawn_blocking(work).await;
    done.unwrap_or(Err(SimulatorError::Away("the simulator is stopping")))
}

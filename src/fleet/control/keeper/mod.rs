//! Decides who drives one environment: one task, one request at a time, so that two takeovers never interleave. Every
//! change is a row of the books before anybody hears of it, and the simulator is told before the driver is.

mod holding;

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinHandle;
use tokio::time::{sleep, timeout};

use super::autopilot;
use super::house::House;
use super::lease::Lease;
use super::look::Place;
use super::recording::Recording;
use super::seat::{Seat, SeatKey};
use super::wheel::{Need, Wheel};
use crate::fleet::clock::now_ms;
use crate::fleet::error::FleetError;
use crate::fleet::ids::Fence;
use crate::fleet::rows::{ControlRow, ended};
use crate::fleet::spec::Mode;
use crate::proto::neuro::ext::Controller;
use holding::later;

/// The books and the clock are looked at so often.
const TICK: Duration = Duration::from_millis(200);
/// For an order to the simulator.
const ORDER_TIME: Duration = Duration::from_secs(5);
/// For the policy to finish when the session is over.
const LAST_WORDS: Duration = Duration::from_secs(12);
/// After a takeover on a seat's behalf that failed.
const AGAIN_AFTER: Duration = Duration::from_secs(1);

/// A takeover.
#[derive(Debug)]
pub(super) struct TakeSeat {
    pub user: String,
    pub key: Option<SeatKey>,
    /// The stream that is to drive; `None`: the lease waits for one.
    pub seat: Option<u64>,
    /// Zero for the default.
    pub ttl: Duration,
    pub force: bool,
    pub record: Option<bool>,
}

/// What is asked of a keeper.
#[derive(Debug)]
pub(super) enum Ask {
    Sit(Seat, oneshot::Sender<Lease>),
    Take(TakeSeat, oneshot::Sender<Result<ControlRow, FleetError>>),
    /// The key is that of the token which the taker was given afterwards.
    Bind(Fence, SeatKey),
    Renew {
        fence: Fence,
        ttl: Duration,
        reply: oneshot::Sender<Result<ControlRow, FleetError>>,
    },
    Release {
        fence: Fence,
        resume: bool,
        reply: oneshot::Sender<Result<String, FleetError>>,
    },
    GiveBack {
        seat: u64,
        resume: bool,
        reply: oneshot::Sender<Result<String, FleetError>>,
    },
    /// The orchestrator ends. Leases stay: the next one adopts them.
    Stop(oneshot::Sender<()>),
}

pub(super) struct Keeper {
    wheel: Arc<Wheel>,
    house: Arc<House>,
    asks: mpsc::Receiver<Ask>,
    seats: Vec<Seat>,
    /// Of the person who holds the lease.
    key: Option<SeatKey>,
    ttl: Duration,
    record: bool,
    /// A person gave the robot back to nobody: the policy waits until it is told to go on.
    hands_off: bool,
    adopted: bool,
    line_times: u64,
    recording: Option<Recording>,
    recording_need: Option<Need>,
    autopilot: Option<JoinHandle<()>>,
    try_again: Instant,
}

impl Keeper {
    pub fn new(wheel: Arc<Wheel>, house: Arc<House>, asks: mpsc::Receiver<Ask>) -> Self {
        let ttl = house.ttl(Duration::ZERO);
        Self {
            wheel,
            house,
            asks,
            seats: Vec::new(),
            key: None,
            ttl,
            record: false,
            hands_off: false,
            adopted: false,
            line_times: 0,
            recording: None,
            recording_need: None,
            autopilot: None,
            try_again: Instant::now(),
        }
    }

    /// Until the session is over, or the orchestrator ends.
    pub async fn run(mut self) {
        let mut done = None;
        loop {
            if !self.settle().await {
                break;
            }
            let wheel = Arc::clone(&self.wheel);
            tokio::select! {
                ask = self.asks.recv() => match ask {
                    Some(Ask::Stop(reply)) => {
                        done = Some(reply);
                        break;
                    }
                    Some(ask) => self.hear(ask).await,
                    None => break,
                },
                () = wheel.wake.notified() => {}
                () = sleep(TICK) => {}
            }
        }
        self.asks.close();
        self.wheel.lease.send_modify(|lease| {
            lease.ended = true;
            lease.driver = None;
        });
        self.wheel.work.notify_one();
        self.finish_recording().await;
        // It ends by itself, and enters what it recorded.
        if let Some(mut autopilot) = self.autopilot.take()
            && timeout(LAST_WORDS, &mut autopilot).await.is_err()
        {
            autopilot.abort();
        }
        if let Some(done) = done {
            done.send(()).ok();
        }
    }

    fn place(&self) -> Option<Place> {
        Place::of(&self.house.books, &self.wheel.session, self.wheel.env)
    }

    async fn hear(&mut self, ask: Ask) {
        // A reply that nobody waits for any more is no fault.
        match ask {
            Ask::Sit(seat, reply) => {
                self.sit(seat).await;
                drop(reply.send(self.wheel.lease.borrow().clone()));
            }
            Ask::Take(take, reply) => drop(reply.send(self.take(take).await)),
            // Heard by `run`.
            Ask::Stop(_) => {}
            Ask::Bind(fence, key) => {
                if self.wheel.lease.borrow().fence == fence {
                    self.key = Some(key);
                }
            }
            Ask::Renew { fence, ttl, reply } => drop(reply.send(self.renew(fence, ttl).await)),
            Ask::Release { fence, resume, reply } => drop(reply.send(self.release(fence, resume).await)),
            Ask::GiveBack { seat, resume, reply } => {
                let lease = self.wheel.lease.borrow().clone();
                drop(reply.send(if lease.is_driven_by(seat, now_ms()) {
                    self.release(lease.fence, resume).await
                } else if resume && self.hands_off && !lease.is_human(now_ms()) {
                    self.resume().await.map(|()| String::new())
                } else {
                    Err(FleetError::Precondition("you do not drive this simulator".to_owned()))
                }));
            }
        }
    }

    /// Brings what is published in line with the books, the clock and the seats. `false`: the session is over.
    async fn settle(&mut self) -> bool {
        let Some(place) = self.place() else { return false };
        self.wheel.lease.send_if_modified(|lease| {
            let changed = lease.phase != place.phase;
            lease.phase = place.phase;
            changed
        });
        if ended(place.phase) {
            return false;
        }
        self.adopt(&place);
        self.sweep().await;
        self.follow(&place).await;
        self.keep(&place).await;
        if Instant::now() >= self.try_again {
            self.promote(&place).await;
            self.engage(&place).await;
        }
        self.tend_recording(&place).await;
        true
    }

    /// After a restart: the lease that the books hold goes on.
    fn adopt(&mut self, place: &Place) {
        let Some(robot) = &place.robot else { return };
        if self.adopted {
            return;
        }
        self.adopted = true;
        self.hands_off = place.control.as_ref().is_some_and(|row| row.holder == Controller::None);
        self.wheel.lease.send_modify(|lease| match &place.control {
            Some(row) => lease.take_over(row),
            None => {
                lease.instance = Some(robot.id);
                if place.mode.trains() {
                    lease.holder = Controller::Policy;
                }
            }
        });
    }

    /// Notices people who went.
    async fn sweep(&mut self) {
        let lease = self.wheel.lease.borrow().clone();
        let mut goodbye = false;
        self.seats.retain(|seat| {
            if !seat.taken() && lease.driver == Some(seat.id) {
                goodbye = seat.said_goodbye();
                self.wheel.lease.send_modify(|lease| lease.driver = None);
            }
            seat.taken()
        });
        if goodbye && let Err(error) = self.end(true).await {
            tracing::warn!(session = %self.wheel.session, "control could not be given back: {error}");
        }
    }

    /// The environment runs on another simulator now, or the line was opened anew: it has to hear who drives.
    async fn follow(&mut self, place: &Place) {
        let Some(robot) = place.robot.as_ref().filter(|robot| robot.present && place.active()) else {
            return;
        };
        let lease = self.wheel.lease.borrow().clone();
        let times = self.wheel.line.borrow().times;
        // The books let go of a lost simulator, also when the same one comes back.
        let let_go = place.control.as_ref().is_some_and(|row| row.fence > lease.fence);
        if lease.instance != Some(robot.id) || let_go {
            self.finish_recording().await;
            self.wheel.forget_command();
            let human = lease.is_human(now_ms());
            self.wheel.lease.send_modify(|lease| {
                lease.instance = Some(robot.id);
                lease.fence = place.control.as_ref().map_or(Fence(0), |row| row.fence);
            });
            let (holder, user) =
                if human { (Controller::Human, lease.user.as_str()) } else { (lease.holder, "") };
            if !matches!(holder, Controller::Human | Controller::Policy) {
                return;
            }
            if let Err(error) = self.set(holder, user, lease.expires_ms, false).await {
                tracing::warn!(session = %self.wheel.session, "control was lost with the simulator: {error}");
                self.wheel.lease.send_modify(|lease| lease.holder = Controller::None);
                return;
            }
            self.line_times = times;
            self.order_or_warn(holder, user).await;
            if human {
                self.wheel.lease.send_modify(|now| now.driver = lease.driver);
                self.start_recording(place);
            }
        } else if times != self.line_times {
            self.line_times = times;
            if times > 1 && matches!(lease.holder, Controller::Human | Controller::Policy) {
                self.order_or_warn(lease.holder, &lease.user).await;
            }
        }
    }

    /// Renews the lease of a person who is there, ends that of one who is not.
    async fn keep(&mut self, place: &Place) {
        let lease = self.wheel.lease.borrow().clone();
        if lease.holder != Controller::Human {
            return;
        }
        // A manual session may have become one that trains alone.
        if lease.expired(now_ms()) || place.mode == Mode::Training {
            if !place.active() || place.robot.is_none() {
                self.wheel.lease.send_if_modified(|lease| lease.driver.take().is_some());
                return;
            }
            tracing::info!(session = %self.wheel.session, user = %lease.user, "the control lease is over");
            if let Err(error) = self.end(true).await {
                tracing::warn!(session = %self.wheel.session, "control could not be given back: {error}");
            }
            return;
        }
        let half = i64::try_from(self.ttl.as_millis() / 2).unwrap_or(i64::MAX);
        if lease.driver.is_some() && lease.expires_ms != 0 && lease.expires_ms - now_ms() < half {
            let expires = later(self.ttl);
            if let Err(error) = self.set(Controller::Human, &lease.user, expires, true).await {
                tracing::warn!(session = %self.wheel.session, "the control lease could not be renewed: {error}");
            }
        }
    }

    /// In a manual session without a policy, whoever is there first drives.
    async fn promote(&mut self, place: &Place) {
        let lease = self.wheel.lease.borrow().clone();
        let free = place.mode == Mode::Manual && place.policy.is_empty() && lease.holder != Controller::Human;
        if !free || !place.active() || place.robot.is_none() {
            return;
        }
        let Some(first) = self.seats.iter().find(|seat| seat.taken() && seat.wants()) else { return };
        let take = TakeSeat {
            user: first.who.user.clone(),
            key: first.who.key,
            seat: Some(first.id),
            ttl: Duration::ZERO,
            force: false,
            record: None,
        };
        if let Err(error) = self.take(take).await {
            tracing::debug!(session = %self.wheel.session, "nobody drives yet: {error}");
            self.try_again = Instant::now() + AGAIN_AFTER;
        }
    }

    /// The session's policy drives when nobody else does.
    async fn engage(&mut self, place: &Place) {
        let lease = self.wheel.lease.borrow().clone();
        let wanted = place.mode == Mode::Manual && !place.policy.is_empty();
        if !wanted || !place.active() || self.hands_off || place.robot.is_none() {
            return;
        }
        if !matches!(lease.holder, Controller::Human | Controller::Policy)
            && let Err(error) = self.engage_policy().await
        {
            tracing::debug!(session = %self.wheel.session, "the policy does not drive yet: {error}");
            self.try_again = Instant::now() + AGAIN_AFTER;
            return;
        }
        if self.autopilot.as_ref().is_none_or(JoinHandle::is_finished) {
            let pilot = autopilot::run(Arc::clone(&self.wheel), Arc::clone(&self.house), place.clone());
            self.autopilot = Some(tokio::spawn(pilot));
        }
    }

    async fn engage_policy(&self) -> Result<(), FleetError> {
        self.set(Controller::Policy, "", 0, false).await?;
        self.order(Controller::Policy, "").await
    }

    async fn resume(&mut self) -> Result<(), FleetError> {
        self.hands_off = false;
        if self.place().is_some_and(|place| place.drives_itself()) {
            self.engage_policy().await?;
        }
        Ok(())
    }

    async fn sit(&mut self, seat: Seat) {
        let lease = self.wheel.lease.borrow().clone();
        // Whoever comes back with the same token goes on driving, though the connection before may not have noticed yet
        // that it is broken. After a restart only the name is known.
        let same_key = self.key.is_some() && self.key == seat.who.key;
        let same_user = lease.driver.is_none() && lease.user == seat.who.user;
        if lease.is_human(now_ms()) && seat.who.may_drive && (same_key || same_user) {
            self.key = self.key.or(seat.who.key);
            seat.wants.store(true, Ordering::Relaxed);
            self.wheel.lease.send_modify(|lease| lease.driver = Some(seat.id));
        }
        self.seats.push(seat);
        self.try_again = Instant::now();
        if let Some(place) = self.place() {
            self.promote(&place).await;
        }
    }
}

//! The face of driving.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio::sync::{mpsc, oneshot};

use super::bridge;
use super::house::House;
use super::keeper::{Ask, Keeper, TakeSeat};
use super::look::{Place, env_of};
use super::policy::{PolicyDriver, RemotePolicy};
use super::seat::{Seat, Who, key_of};
use super::secret::secret;
use super::stream::{Connection, RobotStream, over};
use super::token::{Claims, TokenKey};
use super::wheel::{Need, Wheel, locked};
use crate::fleet::books::Books;
use crate::fleet::clock::now_ms;
use crate::fleet::error::FleetError;
use crate::fleet::ids::{InstanceId, SessionId};
use crate::fleet::link::Links;
use crate::fleet::request::{ControlHandle, TakeControl};
use crate::fleet::rows::{ControlRow, ended};
use crate::fleet::settings;
use crate::fleet::spec::{Mode, SessionSpec};
use crate::fleet::url::websocket;
use crate::fleet::validate;
use crate::proto::neuro::ext::{self, Controller};

/// Requests that wait for a keeper.
const ASKS: usize = 64;
/// Life of a token that comes with a lease, in seconds.
const TOKEN_LIFE_S: f64 = 3600.0;
/// How often sessions are looked through for those whose policy should drive, and for leases of before a restart.
const ROUND: Duration = Duration::from_millis(500);

/// What driving needs to know.
#[derive(Debug, Clone)]
pub struct ControlOptions {
    /// `[control]`.
    pub settings: settings::Control,
    /// Where the secret is kept.
    pub data: PathBuf,
    /// Root of demonstrations.
    pub demonstrations: PathBuf,
    /// `http://host:port`, as clients reach the HTTP listener.
    pub http_url: String,
    /// The policy of sessions that ask for `local`.
    pub policy: Option<Arc<dyn PolicyDriver>>,
}

/// How a session is attended.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Presence {
    /// Open control websockets and control streams.
    pub connections: u32,
    /// When a person's last command came, Unix ms; 0 for never.
    pub last_command_ms: i64,
}

/// See the module. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Controls(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    house: Arc<House>,
    wheels: Mutex<BTreeMap<(SessionId, u32), Arc<Wheel>>>,
    connections: Mutex<BTreeMap<SessionId, Arc<AtomicU32>>>,
    closing: AtomicBool,
}

impl Controls {
    /// Must be called on a Tokio runtime.
    ///
    /// # Errors
    /// When there is no secret, and none can be made.
    pub fn start(books: Books, links: Links, options: ControlOptions) -> Result<Self, FleetError> {
        let secret = secret(&options.settings.secret, &options.data)?;
        let key = TokenKey::new(&secret, &options.settings.issuer, &options.settings.audience);
        let house = House {
            books,
            links,
            key,
            settings: options.settings,
            demonstrations: options.demonstrations,
            ws_url: websocket(&options.http_url),
            policy: options.policy,
            http: reqwest::Client::new(),
            remote: Mutex::new(BTreeMap::new()),
        };
        let inner = Inner {
            house: Arc::new(house),
            wheels: Mutex::new(BTreeMap::new()),
            connections: Mutex::new(BTreeMap::new()),
            closing: AtomicBool::new(false),
        };
        let controls = Self(Arc::new(inner));
        let weak = Arc::downgrade(&controls.0);
        tokio::spawn(async move {
            while let Some(inner) = weak.upgrade() {
                Self(inner).round();
                tokio::time::sleep(ROUND).await;
            }
        });
        Ok(controls)
    }

    /// A person takes control; anybody with the returned token drives under it.
    ///
    /// # Errors
    /// `NotFound`; `Invalid` without a user; `Precondition` while another person drives (unless forced), in a mode or
    /// phase without driving; `Unavailable` when the simulator does not answer.
    pub async fn take(&self, request: TakeControl) -> Result<ext::ControlLease, FleetError> {
        validate::options::user(&request.user)?;
        let wheel = self.wheel(&request.session, request.instance)?;
        let (reply, answer) = oneshot::channel();
        let take = TakeSeat {
            user: request.user.clone(),
            key: None,
            seat: None,
            ttl: request.ttl,
            force: request.force,
            record: request.record.then_some(true),
        };
        ask(&wheel, Ask::Take(take, reply)).await?;
        let row = answer.await.map_err(|_| over())??;
        let token = self.issue(&request.session, &request.user, false)?;
        ask(&wheel, Ask::Bind(row.fence, key_of(&token))).await?;
        Ok(self.lease_message(&row, token))
    }

    /// Keeps a lease.
    ///
    /// # Errors
    /// `Stale` for one that was taken over, `Precondition` for one that has ended.
    pub async fn renew(&self, by: ControlHandle, ttl: Duration) -> Result<ext::ControlLease, FleetError> {
        let wheel = self.wheel(&by.session, by.instance)?;
        let (reply, answer) = oneshot::channel();
        ask(&wheel, Ask::Renew { fence: by.fence, ttl, reply }).await?;
        let row = answer.await.map_err(|_| over())??;
        let token = self.issue(&by.session, &row.user, false)?;
        Ok(self.lease_message(&row, token))
    }

    /// Ends a lease: what drove before goes on, or with `resume_policy` false nobody does. The demonstration's id; empty
    /// when none was recorded.
    ///
    /// # Errors
    /// As [`Controls::renew`].
    pub async fn release(&self, by: ControlHandle, resume_policy: bool) -> Result<String, FleetError> {
        let wheel = self.wheel(&by.session, by.instance)?;
        let (reply, answer) = oneshot::channel();
        ask(&wheel, Ask::Release { fence: by.fence, resume: resume_policy, reply }).await?;
        answer.await.map_err(|_| over())?
    }

    /// Opens a stream to a robot of a session: of `instance`, or of environment 0. In a manual session without a policy
    /// the first one drives.
    ///
    /// # Errors
    /// `NotFound`; `Precondition` when the session is over; `Exhausted` when it has too many connections.
    pub async fn robot(
        &self,
        session: &SessionId,
        instance: Option<InstanceId>,
        who: Who,
    ) -> Result<RobotStream, FleetError> {
        self.enter(session, instance, who, true).await
    }

    /// As [`Controls::robot`], but drives only from its first command on ([`RobotStream::want`]).
    ///
    /// # Errors
    /// As [`Controls::robot`].
    pub async fn robot_watched(
        &self,
        session: &SessionId,
        instance: Option<InstanceId>,
        who: Who,
    ) -> Result<RobotStream, FleetError> {
        self.enter(session, instance, who, false).await
    }

    async fn enter(
        &self,
        session: &SessionId,
        instance: Option<InstanceId>,
        who: Who,
        drives: bool,
    ) -> Result<RobotStream, FleetError> {
        let wheel = self.wheel(session, instance)?;
        let mode = Place::of(&self.0.house.books, session, wheel.env).map(|place| place.mode);
        let mode = mode.ok_or_else(|| FleetError::not_found("session", session))?;
        let connection = self.connect(session)?;
        let (seat, life) = Seat::new(who.clone(), drives && mode == Mode::Manual);
        let need = Need::of(&wheel);
        let (reply, answer) = oneshot::channel();
        ask(&wheel, Ask::Sit(seat, reply)).await?;
        answer.await.map_err(|_| over())?;
        Ok(RobotStream { wheel, seat: life, who, mode, _need: need, _connection: connection })
    }

    /// Who drives, as the books have it; environment 0 when no instance is named.
    #[must_use]
    pub fn lease(&self, session: &SessionId, instance: Option<InstanceId>) -> Option<ControlRow> {
        let env = env_of(&self.0.house.books, session, instance).ok()?;
        Place::of(&self.0.house.books, session, env)?.control
    }

    /// How a session is attended.
    #[must_use]
    pub fn presence(&self, session: &SessionId) -> Presence {
        let counter = locked(&self.0.connections).get(session).cloned();
        let connections = counter.map_or(0, |counter| counter.load(Ordering::Acquire));
        let wheels = locked(&self.0.wheels);
        let of_session = wheels.range((session.clone(), 0)..=(session.clone(), u32::MAX));
        let last_command_ms = of_session.map(|(_, wheel)| wheel.last_command_ms()).max().unwrap_or(0);
        Presence { connections, last_command_ms }
    }

    /// What a token says, if it is for this session and valid now.
    ///
    /// # Errors
    /// `Unauthenticated` or `Denied`, with the reason.
    pub fn verify(&self, token: &str, session: &SessionId) -> Result<Claims, FleetError> {
        self.0.house.key.verify(token, session, now_s())
    }

    /// A control token of ours, good for an hour.
    ///
    /// # Errors
    /// `Invalid` without a user.
    pub fn issue(&self, session: &SessionId, user: &str, viewer: bool) -> Result<String, FleetError> {
        if user.is_empty() {
            return Err(FleetError::invalid("user", "is empty"));
        }
        let permissions: &[&str] = if viewer { &["Viewer"] } else { &["Editor"] };
        self.0.house.key.issue(session, user, permissions, now_s(), TOKEN_LIFE_S)
    }

    /// Whether a control websocket from this machine needs no token.
    #[must_use]
    pub fn open_on_loopback(&self) -> bool {
        self.0.house.settings.open_on_loopback
    }

    /// Most commands a second of one connection.
    #[must_use]
    pub fn max_commands_per_s(&self) -> u32 {
        self.0.house.settings.max_commands_per_s
    }

    /// Whether a session may name this policy: empty, `local` where there is one, or the URL of a policy server.
    ///
    /// # Errors
    /// `Invalid` or `Precondition`, saying why not.
    pub fn check_policy(&self, policy: &str) -> Result<(), FleetError> {
        match policy {
            "" => Ok(()),
            "local" => self.0.house.driver(policy).map(drop),
            url => RemotePolicy::new(url, self.0.house.http.clone()).map(drop),
        }
    }

    /// Ends what drives and records, without ending a lease: the next orchestrator adopts them. Returns when what was
    /// recorded is in the books.
    pub async fn shutdown(&self) {
        self.0.closing.store(true, Ordering::Release);
        let wheels: Vec<Arc<Wheel>> = locked(&self.0.wheels).values().cloned().collect();
        let stopping = wheels.iter().map(|wheel| async {
            let (reply, done) = oneshot::channel();
            if ask(wheel, Ask::Stop(reply)).await.is_ok() {
                // A keeper that ended on its own has nothing left to do.
                drop(done.await);
            }
        });
        futures_util::future::join_all(stopping).await;
    }

    fn lease_message(&self, row: &ControlRow, token: String) -> ext::ControlLease {
        let ControlRow { session, instance, fence, .. } = row;
        ext::ControlLease {
            fence: i64::try_from(fence.0).unwrap_or(i64::MAX),
            expires_at_ms: row.expires_ms,
            holder: row.holder.into(),
            ws_url: format!("{}/control/{session}?instance={instance}", self.0.house.ws_url),
            token,
        }
    }

    fn connect(&self, session: &SessionId) -> Result<Connection, FleetError> {
        let most = self.0.house.settings.max_connections.max(1);
        let counter = Arc::clone(locked(&self.0.connections).entry(session.clone()).or_default());
        let connection = Connection(Arc::clone(&counter));
        if counter.fetch_add(1, Ordering::AcqRel) >= most {
            let message = format!("session {session} has {most} control connections, which is the limit");
            drop(connection);
            return Err(FleetError::Exhausted { message, retry_after: Duration::from_secs(5) });
        }
        Ok(connection)
    }

    /// The wheel of an environment; made on first need.
    fn wheel(&self, session: &SessionId, instance: Option<InstanceId>) -> Result<Arc<Wheel>, FleetError> {
        let house = &self.0.house;
        if self.0.closing.load(Ordering::Acquire) {
            return Err(FleetError::Unavailable {
                message: "the orchestrator is stopping".to_owned(),
                retry_after: Duration::from_secs(2),
            });
        }
        let env = env_of(&house.books, session, instance)?;
        let phase = Place::of(&house.books, session, env).map(|place| place.phase);
        if phase.is_none_or(ended) {
            let phase = phase.map_or("gone", |phase| phase.as_str_name());
            return Err(FleetError::Precondition(format!("session {session} is over: {phase}")));
        }
        let mut wheels = locked(&self.0.wheels);
        let place = (session.clone(), env);
        if let Some(wheel) = wheels.get(&place).filter(|wheel| !wheel.asks.is_closed()) {
            return Ok(Arc::clone(wheel));
        }
        let (asks, heard) = mpsc::channel(ASKS);
        let per_s = house.settings.max_commands_per_s;
        let wheel = Arc::new(Wheel::new(session.clone(), env, asks, per_s));
        tokio::spawn(bridge::run(Arc::clone(&wheel), house.books.clone()));
        tokio::spawn(Keeper::new(Arc::clone(&wheel), Arc::clone(house), heard).run());
        wheels.insert(place, Arc::clone(&wheel));
        Ok(wheel)
    }

    /// Starts keepers where nobody asks for them, forgets those whose sessions are over.
    fn round(&self) {
        let wanted = self.0.house.books.read(|tables| {
            let controlled = tables.controls.values().filter(|row| row.holder == Controller::Human);
            let mut wanted: Vec<_> =
                controlled.map(|row| (row.session.clone(), Some(row.instance))).collect();
            wanted.extend(tables.active().filter(|row| row.mode == Mode::Manual).filter_map(|row| {
                let spec: SessionSpec = prost::Message::decode(row.spec.as_slice()).ok()?;
                (!spec.policy.is_empty()).then(|| (row.id.clone(), None))
            }));
            wanted
        });
        for (session, instance) in wanted {
            // A session that ended meanwhile needs nobody.
            drop(self.wheel(&session, instance));
        }
        locked(&self.0.wheels).retain(|_, wheel| !wheel.asks.is_closed());
        let over = |session: &SessionId| {
            self.0.house.books.read(|tables| tables.sessions.get(session).is_none_or(|row| ended(row.phase)))
        };
        locked(&self.0.connections)
            .retain(|session, counter| counter.load(Ordering::Acquire) > 0 || !over(session));
    }
}

async fn ask(wheel: &Wheel, ask: Ask) -> Result<(), FleetError> {
    wheel.asks.send(ask).await.map_err(|_| over())
}

fn now_s() -> f64 {
    now_ms() as f64 / 1e3
}

//! N simulators asked at once, each in its own time: what they answer comes out as [`Event`]s.
//!
//! One call a simulator is under way at most. One that fails is asked to begin anew after a pause that grows, for as long as
//! it takes; the others never wait for it here.

use std::future::Future;
use std::pin::Pin;
use std::time::{Duration, Instant};

use futures_util::StreamExt;
use futures_util::stream::FuturesUnordered;

use super::error::TrainerError;
use crate::instance::step::{StepClient, StepError, Stepped};

const FIRST_PAUSE: Duration = Duration::from_millis(100);
const LONGEST_PAUSE: Duration = Duration::from_secs(2);

/// What became of a call.
#[derive(Debug)]
pub enum News {
    /// An episode begins with this observation.
    Began(Vec<f64>),
    /// A step was done.
    Stepped(Stepped),
    /// It is away: a sentence. It is asked again by itself, until it begins an episode.
    Away(String),
}

/// News of one environment.
#[derive(Debug)]
pub struct Event {
    /// Which.
    pub index: usize,
    /// What.
    pub news: News,
    /// From the request to the answer.
    pub took: Duration,
}

struct Returned {
    generation: u64,
    client: StepClient,
    event: Event,
}

type Call = Pin<Box<dyn Future<Output = Returned> + Send>>;

struct Slot {
    endpoint: String,
    /// Absent while a call is under way.
    client: Option<StepClient>,
    /// Raised with each replacement: what an earlier simulator still answers is nobody's.
    generation: u64,
    pause: Duration,
}

/// All of them.
pub struct Environments {
    slots: Vec<Slot>,
    calls: FuturesUnordered<Call>,
    limit: Duration,
    seed: u64,
}

enum Ask {
    Reset { seed: u64, after: Duration },
    Step { action: Vec<f64>, timestamp_s: f64 },
}

impl Environments {
    /// Takes their endpoints; nothing is asked yet.
    ///
    /// # Errors
    /// When one is malformed.
    pub fn new(endpoints: &[String], limit: Duration, seed: u64) -> Result<Self, TrainerError> {
        let slots = endpoints.iter().enumerate().map(|(index, endpoint)| {
            let client =
                StepClient::new(endpoint).map_err(|source| TrainerError::Endpoint { index, source })?;
            Ok(Slot { endpoint: endpoint.clone(), client: Some(client), generation: 0, pause: FIRST_PAUSE })
        });
        Ok(Self {
            slots: slots.collect::<Result<_, TrainerError>>()?,
            calls: FuturesUnordered::new(),
            limit,
            seed,
        })
    }

    /// Where one of them is.
    #[must_use]
    pub fn endpoint(&self, index: usize) -> &str {
        self.slots.get(index).map_or("", |slot| &slot.endpoint)
    }

    /// How many.
    #[must_use]
    pub fn len(&self) -> usize {
        self.slots.len()
    }

    /// Begins an episode; does nothing while a call is under way.
    pub fn begin(&mut self, index: usize) {
        self.begin_after(index, Duration::ZERO);
    }

    /// As [`Self::begin`], later: of one that answered what cannot be used.
    pub fn begin_later(&mut self, index: usize) {
        let pause = self.slots.get_mut(index).map_or(FIRST_PAUSE, |slot| {
            slot.pause = (slot.pause * 2).min(LONGEST_PAUSE);
            slot.pause
        });
        self.begin_after(index, pause);
    }

    fn begin_after(&mut self, index: usize, after: Duration) {
        // Another seed for every episode of every environment, the same ones in every run with this seed.
        self.seed = self.seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        let seed = self.seed >> 33;
        self.call(index, Ask::Reset { seed, after });
    }

    /// Does a step; does nothing while a call is under way.
    pub fn step(&mut self, index: usize, action: Vec<f64>, timestamp_s: f64) {
        self.call(index, Ask::Step { action, timestamp_s });
    }

    /// Puts another simulator in a place and begins an episode there.
    ///
    /// # Errors
    /// When there is no such place or the endpoint is malformed.
    pub fn replace(&mut self, index: usize, endpoint: &str) -> Result<(), TrainerError> {
        let count = self.slots.len();
        let slot = self.slots.get_mut(index).ok_or_else(|| {
            TrainerError::Order(format!("there is no environment {index}; there are {count}, counted from 0"))
        })?;
        let client = StepClient::new(endpoint).map_err(|source| TrainerError::Endpoint { index, source })?;
        let generation = slot.generation + 1;
        *slot = Slot { endpoint: endpoint.to_owned(), client: Some(client), generation, pause: FIRST_PAUSE };
        self.begin(index);
        Ok(())
    }

    fn call(&mut self, index: usize, ask: Ask) {
        let Some(slot) = self.slots.get_mut(index) else { return };
        let Some(client) = slot.client.take() else { return };
        let (generation, limit) = (slot.generation, self.limit);
        self.calls.push(Box::pin(call(index, generation, client, ask, limit)));
    }

    /// The next news. Pending while no call is under way. Dropping the future loses nothing.
    pub async fn next(&mut self) -> Event {
        loop {
            let Some(Returned { generation, client, event }) = self.calls.next().await else {
                std::future::pending::<()>().await;
                continue;
            };
            let Some(slot) = self.slots.get_mut(event.index).filter(|slot| slot.generation == generation)
            else {
                continue;
            };
            slot.client = Some(client);
            if let News::Away(_) = event.news {
                let pause = slot.pause;
                slot.pause = (pause * 2).min(LONGEST_PAUSE);
                self.begin_after(event.index, pause);
            } else {
                slot.pause = FIRST_PAUSE;
            }
            return event;
        }
    }
}

async fn call(index: usize, generation: u64, mut client: StepClient, ask: Ask, limit: Duration) -> Returned {
    let away = |error: StepError| News::Away(error.to_string());
    let mut began = Instant::now();
    let news = match ask {
        Ask::Reset { seed, after } => {
            if !after.is_zero() {
                tokio::time::sleep(after).await;
                began = Instant::now();
            }
            client.reset(Some(seed), limit).await.map_or_else(away, |begun| News::Began(begun.observation))
        }
        Ask::Step { action, timestamp_s } => {
            client.step(action, Some(timestamp_s), limit).await.map_or_else(away, News::Stepped)
        }
    };
    Returned { generation, client, event: Event { index, news, took: began.elapsed() } }
}

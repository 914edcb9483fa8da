//! A small cart-pole behind a step socket, for tests alone.
#![allow(clippy::unwrap_used, clippy::panic)]

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use super::{ActionSpace, Answer, Begun, Handler, Info, Request, Spec, StepServer, Stepped};

const LONGEST_EPISODE: u32 = 500;

/// What a test may do to it and see of it while it runs.
#[derive(Debug, Default)]
pub(crate) struct Knobs {
    /// A person drives: steps take 20 ms and say so.
    pub by_hand: AtomicBool,
    /// Requests are swallowed for ever.
    pub stuck: AtomicBool,
    /// Steps done.
    pub steps: AtomicU64,
    /// Episodes begun.
    pub resets: AtomicU64,
}

pub(crate) struct Cart {
    state: [f64; 4],
    steps: u32,
    random: u64,
    pub knobs: Arc<Knobs>,
}

impl Cart {
    pub(crate) fn new(seed: u64, knobs: Arc<Knobs>) -> Self {
        Self { state: [0.0; 4], steps: 0, random: seed | 1, knobs }
    }

    fn begin(&mut self) -> Begun {
        self.knobs.resets.fetch_add(1, Ordering::Relaxed);
        self.steps = 0;
        for index in 0..4 {
            self.random =
                self.random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            self.state[index] = ((self.random >> 33) as f64 / f64::from(1_u32 << 31) - 0.5) * 0.1;
        }
        Begun { observation: self.state.to_vec(), info: Info::default() }
    }

    fn step(&mut self, right: bool) -> Stepped {
        let [place, speed, angle, turn] = self.state;
        let force = if right { 10.0 } else { -10.0 };
        let (sin, cos) = angle.sin_cos();
        let shared = (force + 0.05 * turn * turn * sin) / 1.1;
        let turning = (9.8 * sin - cos * shared) / (0.5 * (4.0 / 3.0 - 0.1 * cos * cos / 1.1));
        let pushing = shared - 0.05 * turning * cos / 1.1;
        self.state =
            [place + 0.02 * speed, speed + 0.02 * pushing, angle + 0.02 * turn, turn + 0.02 * turning];
        self.steps += 1;
        self.knobs.steps.fetch_add(1, Ordering::Relaxed);
        let terminated = self.state[0].abs() > 2.4 || self.state[2].abs() > 12.0_f64.to_radians();
        let truncated = !terminated && self.steps >= LONGEST_EPISODE;
        Stepped {
            observation: self.state.to_vec(),
            reward: 1.0,
            done: terminated || truncated,
            info: Info { terminated, truncated, success: truncated, ..Info::default() },
            timestamp: None,
        }
    }
}

impl Handler for Cart {
    async fn answer(&mut self, request: Request) -> Answer {
        if self.knobs.stuck.load(Ordering::Relaxed) {
            std::future::pending::<()>().await;
        }
        match request {
            Request::Reset { .. } => Answer::Begun(self.begin()),
            Request::Step { action, timestamp } => {
                let by_hand = self.knobs.by_hand.load(Ordering::Relaxed);
                if by_hand {
                    tokio::time::sleep(Duration::from_millis(20)).await;
                }
                let right =
                    if by_hand { self.state[2] + self.state[3] > 0.0 } else { action.first() == Some(&1.0) };
                let mut stepped = self.step(right);
                stepped.timestamp = timestamp;
                if by_hand {
                    stepped.info.controller = "human".to_owned();
                    stepped.info.action = vec![f64::from(u8::from(right))];
                }
                Answer::Stepped(stepped)
            }
            Request::Spec => Answer::Spec(Spec {
                environment: "cart".to_owned(),
                observation_size: 4,
                action: ActionSpace::Discrete { discrete: 2 },
                max_episode_steps: LONGEST_EPISODE,
            }),
            Request::Close => Answer::Closed { status: "ok" },
        }
    }
}

/// One on a free port.
pub(crate) async fn serve(seed: u64) -> (StepServer, Arc<Knobs>) {
    let knobs = Arc::new(Knobs::default());
    (StepServer::bind("tcp://127.0.0.1:0", Cart::new(seed, knobs.clone())).await.unwrap(), knobs)
}

//! How the simulator does: `GET /v1/health`, and the same as a heartbeat.

use std::collections::BTreeMap;
use std::sync::Mutex;
use std::time::Instant;

use axum::Json;
use axum::extract::State;

use super::InstanceState;
use crate::instance::contract::Health;
use crate::simulator::Simulator;
use crate::telemetry::process;

/// The processor's part is measured over at least so many seconds.
const CPU_OVER_S: f64 = 0.5;

/// Who the simulator is and where it is reached.
#[derive(Debug, Default)]
pub struct Addresses {
    /// Its UUID; may be empty.
    pub instance_id: String,
    /// Its display name.
    pub name: String,
    /// What it can do.
    pub labels: BTreeMap<String, String>,
    /// `http://127.0.0.1:8011`.
    pub rest_url: String,
    /// `ws://127.0.0.1:8011/control`.
    pub control_ws_url: String,
    /// `http://127.0.0.1:8011/stream`.
    pub stream_url: String,
    /// `tcp://127.0.0.1:5555`.
    pub zmq_endpoint: String,
    /// The processor, measured.
    pub cpu: Cpu,
}

/// The process's part of one processor.
#[derive(Debug, Default)]
pub struct Cpu(Mutex<Option<(Instant, f64, f32)>>);

impl Cpu {
    /// 0 to 1, since the last time it was asked; 0 at first, and where the system does not tell.
    pub fn utilization(&self) -> f32 {
        let Some(used) = process::read().cpu_seconds else { return 0.0 };
        let mut last = self.0.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        let now = Instant::now();
        match *last {
            None => {
                *last = Some((now, used, 0.0));
                0.0
            }
            Some((since, before, part)) => {
                let over = now.duration_since(since).as_secs_f64();
                if over < CPU_OVER_S {
                    return part;
                }
                let part = ((used - before) / over).clamp(0.0, 1.0) as f32;
                *last = Some((now, used, part));
                part
            }
        }
    }
}

/// How it does.
#[must_use]
pub fn health(simulator: &Simulator, addresses: &Addresses) -> Health {
    let vitals = simulator.vitals();
    let vitals = vitals.borrow();
    Health {
        ready: true,
        fps: vitals.fps,
        frame_count: vitals.frame_count,
        sim_time: vitals.sim_ns as f64 / 1e9,
        gpus: Vec::new(),
        instance_id: addresses.instance_id.clone(),
        name: addresses.name.clone(),
        version: env!("CARGO_PKG_VERSION").to_owned(),
        labels: addresses.labels.clone(),
        session: vitals.session.clone(),
        fence: vitals.fence,
        cpu_utilization: addresses.cpu.utilization(),
        client_connected: simulator.clients() > 0,
        last_command_ms: vitals.last_command_ms,
        control_ws_url: addresses.control_ws_url.clone(),
        zmq_endpoint: addresses.zmq_endpoint.clone(),
        stream_url: addresses.stream_url.clone(),
    }
}

pub(super) async fn get(State(state): State<InstanceState>) -> Json<Health> {
    std::future::ready(Json(health(&state.simulator, &state.addresses))).await
}

//! A session as both generations of the wire show it.

use std::collections::HashMap;

use axum::http::Uri;

use super::address::{Addresses, is_loopback};
use crate::fleet::rows::Phase;
use crate::fleet::spec::Mode;
use crate::fleet::view::{InstanceView, SessionView};
use crate::proto::neuro::common::GrpcSessionStatus;
use crate::proto::neuro::common::grpc_session_status::Status;
use crate::proto::neuro::ext;
use crate::proto::neuro::orchestrator::{GrpcStreamEndpoint, SessionMode};

/// How pictures come over the stream endpoint.
const STREAM_PROTOCOL: &str = "mjpeg";
const STREAM_CONTENT: &str = "multipart/x-mixed-replace";

pub(in crate::grpc::fleet) const fn mode(mode: Mode) -> SessionMode {
    match mode {
        Mode::Manual => SessionMode::Manual,
        Mode::Training => SessionMode::Training,
        Mode::Hybrid => SessionMode::Hybrid,
    }
}

/// What is simulated, as the instance of environment 0 last said.
pub(in crate::grpc::fleet) fn session_status(view: &SessionView) -> GrpcSessionStatus {
    let beat = view.simulators.first().and_then(|first| first.pulse.as_ref()).map(|pulse| &pulse.heartbeat);
    let gpus = beat.map(|beat| beat.gpus.as_slice()).unwrap_or_default();
    let utilization = gpus.iter().map(|gpu| gpu.utilization).fold(0.0, f32::max);
    GrpcSessionStatus {
        status: status(view.row.phase).into(),
        fps: beat.map_or(0.0, |beat| beat.fps),
        frame_count: beat.map_or(0, |beat| beat.frame_count),
        simulation_time: beat.map_or(0.0, |beat| beat.simulation_time),
        error_message: trouble(view),
        gpu_utilization: utilization,
        gpu_memory_mb: gpus.iter().map(|gpu| gpu.memory_used_mb).fold(0, i64::saturating_add),
        cpu_utilization: beat.map_or(0.0, |beat| beat.cpu_utilization),
        created_at_timestamp: view.row.created_ms,
    }
}

const fn status(phase: Phase) -> Status {
    match phase {
        Phase::Unspecified | Phase::Queued | Phase::Allocating | Phase::Starting | Phase::Recovering => {
            Status::Initializing
        }
        Phase::Ready => Status::Ready,
        Phase::Running => Status::Running,
        Phase::Paused => Status::Paused,
        Phase::Stopping | Phase::Stopped | Phase::Completed | Phase::Preempted => Status::Stopped,
        Phase::Failed => Status::Error,
    }
}

/// Why it does not run, where somebody should know.
fn trouble(view: &SessionView) -> String {
    match view.row.phase {
        Phase::Failed | Phase::Preempted | Phase::Recovering => view.row.reason.clone(),
        Phase::Queued => {
            format!("waits at position {} for {}", view.queue_position, view.waiting_for)
        }
        _ => String::new(),
    }
}

/// Where the pictures of environment 0 are. For a caller on another machine than an instance that only this one reaches,
/// through this server.
pub(in crate::grpc::fleet) fn stream_endpoint(
    view: &SessionView,
    addresses: &Addresses,
) -> Option<GrpcStreamEndpoint> {
    let first = view.simulators.first()?;
    let direct = first.row.endpoints.stream_url.as_str();
    let private = direct.parse::<Uri>().ok().and_then(|uri| uri.host().map(is_loopback)).unwrap_or(true);
    let url = if direct.is_empty() || (private && addresses.elsewhere()) {
        let session = view.control_mode_switch_url.strip_suffix("/control")?;
        addresses.own(&format!("{session}/stream"))
    } else {
        format!("{}/{}", direct.trim_end_matches('/'), view.row.id)
    };
    let uri: Uri = url.parse().ok()?;
    let assumed = if uri.scheme_str() == Some("https") { 443 } else { 80 };
    let metadata = HashMap::from([
        ("content_type".to_owned(), STREAM_CONTENT.to_owned()),
        ("codec".to_owned(), view.spec.stream.codec.clone()),
        ("fps".to_owned(), view.spec.stream.fps.to_string()),
        ("instance_id".to_owned(), first.row.id.to_string()),
        ("instance_name".to_owned(), first.row.name.clone()),
    ]);
    Some(GrpcStreamEndpoint {
        protocol: STREAM_PROTOCOL.to_owned(),
        port: i32::from(uri.port_u16().unwrap_or(assumed)),
        url,
        metadata,
        width: view.spec.stream.width,
        height: view.spec.stream.height,
    })
}

fn id(instance: &InstanceView) -> String {
    instance.row.id.to_string()
}

pub(in crate::grpc::fleet) fn instance_ids(view: &SessionView) -> Vec<String> {
    view.simulators.iter().map(id).collect()
}

pub(in crate::grpc::fleet) fn trainer_id(view: &SessionView) -> String {
    view.trainer.as_ref().map(id).unwrap_or_default()
}

/// One line of a list.
pub(in crate::grpc::fleet) fn summary(view: &SessionView, backend: String) -> ext::SessionSummary {
    ext::SessionSummary {
        session_id: view.row.id.to_string(),
        mode: view.row.mode.name().to_owned(),
        phase: view.row.phase.into(),
        owner: view.row.owner.clone(),
        instance_ids: view.trainer.iter().chain(&view.simulators).map(id).collect(),
        created_at_ms: view.row.created_ms,
        idle_ms: view.idle_ms,
        backend,
    }
}

//! Orders as calls of the instance contract.

use std::fmt;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use prost::Message;
use reqwest::{Method, Response, StatusCode};
use serde::Serialize;

use crate::fleet::error::FleetError;
use crate::fleet::ids::Fence;
use crate::fleet::link::answer::Refusal;
use crate::fleet::link::{Answer, Ask, Link, ask_name};
use crate::instance::contract::{
    Fenced, Load, Position, PrimPaths, Problem, Saved, ScenePatch, SetController, SnapshotTo, Start,
};
use crate::proto::neuro::{common, ext};

/// The way to a polled simulator.
pub struct RestLink {
    name: String,
    url: String,
    http: reqwest::Client,
    /// What it runs, as far as is known here.
    session: Mutex<String>,
}

impl fmt::Debug for RestLink {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.debug_struct("RestLink").field("name", &self.name).field("url", &self.url).finish_non_exhaustive()
    }
}

/// One call.
struct Call {
    method: Method,
    path: String,
    body: Option<serde_json::Value>,
}

impl RestLink {
    pub(super) fn new(name: String, url: String, http: reqwest::Client, session: String) -> Self {
        Self { name, url, http, session: Mutex::new(session) }
    }

    /// The session it was last given; empty for none.
    pub(super) fn session(&self) -> String {
        self.session.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn runs(&self, session: &str) {
        session.clone_into(&mut self.session.lock().unwrap_or_else(PoisonError::into_inner));
    }

    async fn carry_out(&self, fence: Fence, ask: Ask, limit: Duration) -> Result<Answer, FleetError> {
        let name = ask_name(&ask);
        if let Ask::Load(load) = &ask {
            // Before the call: a poll in between must not take the empty scene for a restart.
            self.runs("");
            self.put(name, fence, load, limit).await.inspect(|_| self.runs(&load.session_id))
        } else {
            let session = self.session();
            let drops = matches!(&ask, Ask::Stop(stop) if stop.cleanup);
            if session.is_empty() && drops {
                return Ok(Answer::new());
            }
            let call = self.call(&session, fence, ask)?;
            if drops {
                self.runs("");
            }
            let answer = self.send(name, fence, call, limit).await?;
            told(name, answer).await.map_err(|error| self.unreadable(name, &error))
        }
    }

    async fn put(
        &self,
        name: &'static str,
        fence: Fence,
        load: &ext::LoadScene,
        limit: Duration,
    ) -> Result<Answer, FleetError> {
        let scene = common::GrpcSceneConfig::decode(load.scene_config.as_slice())
            .map_err(|error| FleetError::invalid("scene_config", format!("is no scene: {error}")))?;
        let stream = common::GrpcStreamConfig::decode(load.stream_config.as_slice())
            .map_err(|error| FleetError::invalid("stream_config", format!("is no stream: {error}")))?;
        let body = Load { fence: fence.0, scene_config: (&scene).into(), stream_config: (&stream).into() };
        let call = Call { method: Method::PUT, path: session_path(&load.session_id, ""), body: json(&body)? };
        let answer = self.send(name, fence, call, limit).await?;
        told(name, answer).await.map_err(|error| self.unreadable(name, &error))
    }

    fn call(&self, session: &str, Fence(fence): Fence, ask: Ask) -> Result<Call, FleetError> {
        if session.is_empty() {
            let name = ask_name(&ask);
            return Err(FleetError::Precondition(format!("{} runs no session: {name} needs one", self.name)));
        }
        let post =
            |what: &str, body| Ok(Call { method: Method::POST, path: session_path(session, what), body });
        match ask {
            Ask::Start(start) => {
                let ext::Start { real_time, time_scale } = start;
                post("/start", json(&Start { fence, real_time, time_scale })?)
            }
            Ask::Pause(_) => post("/pause", json(&Fenced { fence })?),
            Ask::Stop(stop) if !stop.cleanup => post("/stop", json(&Fenced { fence })?),
            Ask::Stop(_) => {
                let path = format!("{}?fence={fence}", session_path(session, ""));
                Ok(Call { method: Method::DELETE, path, body: None })
            }
            Ask::Controller(set) => {
                let controller = match set.controller() {
                    ext::Controller::Human => "human",
                    ext::Controller::Policy => "policy",
                    ext::Controller::None | ext::Controller::Unspecified => "none",
                };
                let controller = controller.to_owned();
                post("/controller", json(&SetController { fence, controller, user: set.user })?)
            }
            Ask::Snapshot(to) => post("/snapshot", json(&SnapshotTo { fence, uri: to.uri })?),
            Ask::Restore(from) => post("/restore", json(&SnapshotTo { fence, uri: from.uri })?),
            Ask::Update(update) => {
                let patch = scene_patch(fence, &update)?;
                Ok(Call { method: Method::PATCH, path: session_path(session, "/scene"), body: json(&patch)? })
            }
            Ask::Load(_)
            | Ask::Accepted(_)
            | Ask::Train(_)
            | Ask::Terminate(_)
            | Ask::ReplaceEnv(_)
            | Ask::LearnFrom(_) => Err(FleetError::Precondition(format!(
                "{} is polled over REST: {} has no call there",
                self.name,
                ask_name(&ask)
            ))),
        }
    }

    async fn send(
        &self,
        name: &'static str,
        given: Fence,
        call: Call,
        limit: Duration,
    ) -> Result<Response, FleetError> {
        let mut request = self.http.request(call.method, format!("{}{}", self.url, call.path)).timeout(limit);
        if let Some(body) = &call.body {
            request = request.json(body);
        }
        let answer = request.send().await.map_err(|error| FleetError::Unavailable {
            message: format!("{} did not answer {name}: {}", self.name, chain(&error)),
            retry_after: Duration::from_secs(1),
        })?;
        let status = answer.status();
        if status.is_success() || (name == "stop" && status == StatusCode::NOT_FOUND) {
            return Ok(answer);
        }
        let text = answer.text().await.unwrap_or_default();
        let problem: Problem = serde_json::from_str(&text).unwrap_or_default();
        let code = if problem.code.is_empty() && status == StatusCode::UNPROCESSABLE_ENTITY {
            "invalid"
        } else {
            problem.code.as_str()
        };
        let detail =
            if problem.detail.is_empty() { format!("HTTP {status}") } else { problem.detail.clone() };
        if status.is_server_error() {
            let message = format!("{} could not {name}: {detail}", self.name);
            return Err(FleetError::Unavailable { message, retry_after: Duration::from_secs(1) });
        }
        let refusal =
            Refusal { name: &self.name, ask: name, given, code, detail: &detail, current: problem.fence };
        Err(refusal.into_error())
    }

    fn unreadable(&self, name: &str, error: &str) -> FleetError {
        FleetError::Precondition(format!("{} answered {name} with something else: {error}", self.name))
    }
}

impl Link for RestLink {
    fn order(&self, fence: Fence, ask: Ask, limit: Duration) -> BoxFuture<'_, Result<Answer, FleetError>> {
        self.carry_out(fence, ask, limit).boxed()
    }
}

fn session_path(session: &str, what: &str) -> String {
    let session = percent_encoding::utf8_percent_encode(session, percent_encoding::NON_ALPHANUMERIC);
    format!("/v1/sessions/{session}{what}")
}

fn json(body: &impl Serialize) -> Result<Option<serde_json::Value>, FleetError> {
    serde_json::to_value(body).map(Some).map_err(FleetError::internal)
}

fn scene_patch(fence: u64, update: &ext::UpdateScene) -> Result<ScenePatch, FleetError> {
    let wrong =
        |error: prost::DecodeError| FleetError::invalid("scene", format!("is no scene change: {error}"));
    let mut add = Vec::with_capacity(update.add.len());
    for bytes in &update.add {
        add.push((&common::GrpcObstacle::decode(bytes.as_slice()).map_err(wrong)?).into());
    }
    let robot_position = if update.robot_position.is_empty() {
        None
    } else {
        let position = common::GrpcPosition::decode(update.robot_position.as_slice()).map_err(wrong)?;
        Some(Position::from(&position))
    };
    Ok(ScenePatch { fence, add, remove: update.remove.clone(), robot_position })
}

/// The answer as instances that attach give it: `prim_paths` as JSON, `uri`, `size_bytes`, `sha256`.
async fn told(name: &str, answer: Response) -> Result<Answer, String> {
    let mut data = Answer::new();
    match name {
        "load" | "update" => {
            let paths: PrimPaths = answer.json().await.map_err(|error| chain(&error))?;
            let text = serde_json::to_string(&paths.prim_paths).map_err(|error| error.to_string())?;
            data.insert("prim_paths".to_owned(), text);
        }
        "snapshot" => {
            let saved: Saved = answer.json().await.map_err(|error| chain(&error))?;
            data.insert("uri".to_owned(), saved.uri);
            data.insert("size_bytes".to_owned(), saved.size_bytes.to_string());
            data.insert("sha256".to_owned(), saved.sha256);
        }
        _ => {}
    }
    Ok(data)
}

/// An error with its causes: `reqwest` says only `error sending request` itself.
pub(super) fn chain(error: &(dyn std::error::Error + 'static)) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        text.push_str(": ");
        text.push_str(&cause.to_string());
        source = cause.source();
    }
    text
}

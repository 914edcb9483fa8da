//! Playing scenarios, over the wire.

mod container;
mod errors;
mod export;
mod golden;
mod live;
mod pictures;
mod sessions;
mod storm;

use serde_json::{Value, json};

use crate::golden::fixture;
use crate::server::Server;
use crate::shell::neuro;

/// A server on the recorded drive's folder, with what loads it.
pub struct World {
    pub server: Server,
    client: reqwest::Client,
}

/// The recorded drive.
pub fn drive() -> String {
    fixture("scenario/data/drive.usdz").display().to_string()
}

impl World {
    pub fn start(flags: &[&str]) -> Self {
        Self::start_with(neuro(), flags)
    }

    /// With a prepared command: another environment.
    pub fn start_with(command: std::process::Command, flags: &[&str]) -> Self {
        let roots = fixture("scenario").display().to_string();
        let mut all = vec!["--model", "models/tiny", "--scenes", &roots];
        all.extend(flags);
        Self { server: Server::spawn(command, &all, "neuro ready"), client: reqwest::Client::new() }
    }

    /// With the drive loaded.
    pub async fn loaded(flags: &[&str]) -> Self {
        let world = Self::start(flags);
        let (status, body) = world.post("/api/load", &json!({"usdz_path": drive()})).await;
        assert_eq!(status, 200, "{body}");
        world
    }

    pub async fn get(&self, path: &str) -> (u16, Value) {
        answer(self.client.get(self.server.at(path)).send().await.unwrap()).await
    }

    pub async fn post(&self, path: &str, body: &Value) -> (u16, Value) {
        answer(self.client.post(self.server.at(path)).json(body).send().await.unwrap()).await
    }

    /// Any method; the body as it stands, as JSON.
    pub async fn raw(&self, method: &str, path: &str, body: Option<&str>) -> (u16, Value) {
        let method = reqwest::Method::from_bytes(method.as_bytes()).unwrap();
        let mut request = self.client.request(method, self.server.at(path));
        if let Some(body) = body {
            request = request.header("content-type", "application/json").body(body.to_owned());
        }
        answer(request.send().await.unwrap()).await
    }

    pub async fn bytes(&self, path: &str) -> (u16, Vec<u8>) {
        let response = self.client.get(self.server.at(path)).send().await.unwrap();
        (response.status().as_u16(), response.bytes().await.unwrap().to_vec())
    }
}

async fn answer(response: reqwest::Response) -> (u16, Value) {
    let status = response.status().as_u16();
    let bytes = response.bytes().await.unwrap();
    (status, serde_json::from_slice(&bytes).unwrap_or(Value::Null))
}

/// A file of the original's recorded answers.
pub fn recorded(name: &str) -> Value {
    let path = fixture("scenario/golden").join(name);
    serde_json::from_slice(&std::fs::read(path).unwrap()).unwrap()
}

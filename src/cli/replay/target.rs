//! Who is asked: a server over its REST contract, or a model in this process.

use std::time::Duration;

use anyhow::{Context, bail};
use reqwest::multipart::{Form, Part};
use serde::Deserialize;

use crate::cli::exit::{Exit, Failure, OrExit};
use crate::cli::options;
use crate::config::ServeConfig;
use crate::policy::request::{Picture, PredictRequest};
use crate::policy::service::PolicyService;
use crate::policy::stats::ACTION_DIM;

/// One answer may take this long.
const TIMEOUT: Duration = Duration::from_secs(300);

/// Who is asked.
pub enum Target {
    /// A server, ours or the original.
    Server {
        /// Without a slash at the end.
        url: String,
        /// Its bearer token.
        token: Option<String>,
        /// Keeps the connection.
        client: reqwest::Client,
    },
    /// A model in this process.
    Model {
        /// Its name.
        name: String,
        /// What serves it.
        service: PolicyService,
    },
}

#[derive(Deserialize)]
struct Answer {
    action: Option<[f32; ACTION_DIM]>,
    #[serde(default)]
    error: Option<String>,
}

impl Target {
    /// A server.
    pub fn server(url: &str, token: Option<String>) -> Self {
        Self::Server { url: url.trim_end_matches('/').to_owned(), token, client: reqwest::Client::new() }
    }

    /// The configured model. Nothing is remembered: every step is computed.
    pub async fn model(config: &ServeConfig) -> Result<Self, Failure> {
        let mut config = config.clone();
        config.queue.cache = 0;
        let service = PolicyService::start(options::service(&config, None));
        let model = service.load(options::load(&config)).await.or_exit(Exit::Model)?;
        Ok(Self::Model { name: model.path.clone(), service })
    }

    /// What to call it in the report.
    pub fn name(&self) -> String {
        match self {
            Self::Server { url, .. } => url.clone(),
            Self::Model { name, .. } => name.clone(),
        }
    }

    /// The action for one observation.
    pub async fn ask(&self, request: PredictRequest) -> anyhow::Result<[f32; ACTION_DIM]> {
        match self {
            Self::Model { service, .. } => Ok(service.predict(request).await?.action),
            Self::Server { url, token, client } => {
                let url = format!("{url}/predict");
                let mut post = client.post(&url).timeout(TIMEOUT).multipart(form(request));
                if let Some(token) = token {
                    post = post.bearer_auth(token);
                }
                let answer = post.send().await.with_context(|| format!("cannot ask {url}"))?;
                let status = answer.status();
                let text = answer.text().await?;
                if !status.is_success() {
                    bail!("{url} answered {status}: {text}");
                }
                let answer: Answer = serde_json::from_str(&text).with_context(|| format!("{url}: {text}"))?;
                answer
                    .action
                    .with_context(|| answer.error.unwrap_or_else(|| format!("{url}: no action in {text}")))
            }
        }
    }
}

/// The form of `POST /predict`. An empty instruction is left out: the field's absence is what means the default.
fn form(request: PredictRequest) -> Form {
    let dummy = request.force_black_tactile || request.tactile.is_none();
    let mut form =
        Form::new().part("image", part(request.image, "image")).text("use_dummy_tactile", dummy.to_string());
    if !request.instruction.is_empty() {
        form = form.text("instruction", request.instruction);
    }
    match request.tactile {
        Some(touch) => form.part("tactile", part(touch, "tactile")),
        None => form,
    }
}

fn part(picture: Picture, name: &'static str) -> Part {
    let bytes = match picture {
        Picture::Encoded(bytes) => bytes.to_vec(),
        Picture::Pixels(pixels) => pixels.into_data(),
    };
    Part::bytes(bytes).file_name(name)
}

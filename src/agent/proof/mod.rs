//! What an agent promises, tried on the fake driver.

mod basics;
mod consoles;
mod crowd;
mod faults;
mod machine;
mod policy;
mod steps;

use std::time::Duration;

use futures_util::FutureExt;
use futures_util::future::BoxFuture;

use super::driver::fake::{FakeDriver, World};
use super::error::AgentError;
use super::id::InstanceId;
use super::image::{FileImage, Images, RootImage};
use super::manager::{Agent, AgentOptions};
use super::record::{Record, State};
use super::restart::Patience;
use super::settings::AgentSettings;
use super::spec::Kind;
use super::store::Crash;
use crate::proto::hypervisor::v1;

/// Has every image but `missing`.
#[derive(Debug)]
struct AnyImages;

fn known(name: &str) -> Result<(), AgentError> {
    if name == "missing" { Err(AgentError::not_found("image", name)) } else { Ok(()) }
}

impl Images for AnyImages {
    fn root<'a>(&'a self, name: &'a str) -> BoxFuture<'a, Result<RootImage, AgentError>> {
        async move { known(name).map(|()| RootImage::default()) }.boxed()
    }

    fn file<'a>(&'a self, name: &'a str, _: &'a str) -> BoxFuture<'a, Result<FileImage, AgentError>> {
        async move { known(name).map(|()| FileImage::default()) }.boxed()
    }
}

/// A machine and a data folder, over any number of lives of the agent.
struct House {
    folder: tempfile::TempDir,
    world: World,
    settings: AgentSettings,
    patience: Patience,
    crash: Option<Crash>,
}

impl House {
    fn new() -> Self {
        let mut settings = AgentSettings::default();
        settings.limits.cpu_share = 1e6;
        let ms = Duration::from_millis;
        let patience = Patience {
            first_delay: ms(20),
            longest_delay: ms(100),
            last_words: ms(100),
            ..Patience::default()
        };
        let folder = tempfile::tempdir().unwrap();
        Self { folder, world: World::default(), settings, patience, crash: None }
    }

    async fn open(&self) -> Agent {
        Agent::open(self.options()).await.unwrap()
    }

    fn options(&self) -> AgentOptions {
        let drivers = [Kind::Container, Kind::MicroVm]
            .map(|kind| std::sync::Arc::new(FakeDriver::new(kind, self.world.clone())) as _);
        AgentOptions {
            patience: self.patience,
            crash: self.crash.clone(),
            ..AgentOptions::new(
                self.settings.clone(),
                self.folder.path().to_owned(),
                drivers.to_vec(),
                std::sync::Arc::new(AnyImages),
            )
        }
    }

    /// Folders of instances on the disk, and of their sockets.
    fn folders(&self) -> (usize, usize) {
        let count = |name| std::fs::read_dir(self.folder.path().join(name)).unwrap().count();
        (count("instances"), count("run"))
    }

    fn audit(&self) -> Vec<super::audit::Entry> {
        let text = std::fs::read_to_string(self.folder.path().join("audit.jsonl")).unwrap();
        text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
    }
}

fn id(text: &str) -> InstanceId {
    text.parse().unwrap()
}

fn container(id: &str) -> v1::AgentCreateInstanceRequest {
    v1::AgentCreateInstanceRequest {
        instance_id: id.to_owned(),
        r#type: v1::InstanceType::Container.into(),
        spec: Some(v1::InstanceSpec { image: "robot".to_owned(), ..v1::InstanceSpec::default() }),
        ..v1::AgentCreateInstanceRequest::default()
    }
}

fn with(id: &str, annotations: &[(&str, &str)]) -> v1::AgentCreateInstanceRequest {
    let annotations =
        annotations.iter().map(|(key, value)| (format!("hypervisor.io/{key}"), (*value).to_owned()));
    v1::AgentCreateInstanceRequest { annotations: annotations.collect(), ..container(id) }
}

/// Waits until a record is as it should be.
async fn until(agent: &Agent, id: &str, what: impl Fn(&Record) -> bool) -> Record {
    for _ in 0..2000 {
        if let Ok(record) = agent.get(id)
            && what(&record)
        {
            return record;
        }
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    panic!(
        "never came to be: {:?}",
        agent.get(id).map(|record| (record.state, record.wanted, record.reason))
    );
}

async fn until_state(agent: &Agent, id: &str, state: State) -> Record {
    until(agent, id, |record| record.state == state).await
}

//! The service over real sockets, in both profiles, with an agent whose instances have nothing behind them.

use std::time::Duration;

use bytes::Bytes;
use tokio::net::TcpListener;
use tokio::sync::{mpsc, watch};
use tokio_stream::wrappers::ReceiverStream;
use tonic::transport::Channel;
use tonic::{Code, Request, Status};
use tonic_types::StatusExt;

use super::{AgentGrpcOptions, Keys, MAX_REQUEST_BYTES, Profile, serve_agent};
use crate::agent::driver::fake::{FakeDriver, World};
use crate::agent::image::{FileImage, Images, RootImage};
use crate::agent::settings::AgentSettings;
use crate::agent::spec::Kind;
use crate::agent::{Agent, AgentOptions};
use crate::proto::hypervisor::v1 as own;
use crate::proto::hypervisor::v1::agent_console_input::Input;
use crate::proto::hypervisor::v1::agent_service_client::AgentServiceClient;
use crate::proto::hypervisor_upstream::v1 as upstream;

#[derive(Debug)]
struct AnyImage;

impl Images for AnyImage {
    fn root<'a>(
        &'a self,
        name: &'a str,
    ) -> futures_util::future::BoxFuture<'a, Result<RootImage, crate::agent::error::AgentError>> {
        Box::pin(async { Ok(RootImage { name: name.to_owned(), ..RootImage::default() }) })
    }

    fn file<'a>(
        &'a self,
        name: &'a str,
        _: &'a str,
    ) -> futures_util::future::BoxFuture<'a, Result<FileImage, crate::agent::error::AgentError>> {
        Box::pin(async { Ok(FileImage { name: name.to_owned(), ..FileImage::default() }) })
    }
}

struct House {
    _data: tempfile::TempDir,
    agent: Agent,
    world: World,
    stop: watch::Sender<bool>,
    addresses: [String; 2],
}

async fn open(keys: Keys) -> House {
    let data = tempfile::tempdir().unwrap();
    let world = World::default();
    let driver = std::sync::Arc::new(FakeDriver::new(Kind::Container, world.clone()));
    let options = AgentOptions::new(
        AgentSettings::default(),
        data.path().join("a"),
        vec![driver],
        std::sync::Arc::new(AnyImage),
    );
    let agent = Agent::open(options).await.unwrap();
    let (stop, stopping) = watch::channel(false);
    let mut addresses = Vec::new();
    for profile in [Profile::Document, Profile::Upstream] {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        addresses.push(format!("http://{}", listener.local_addr().unwrap()));
        let options = AgentGrpcOptions {
            agent: agent.clone(),
            profile,
            keys: keys.clone(),
            tls: None,
            stopping: stopping.clone(),
        };
        tokio::spawn(serve_agent(listener, options));
    }
    House { _data: data, agent, world, stop, addresses: addresses.try_into().unwrap() }
}

impl House {
    async fn client(&self) -> AgentServiceClient<Channel> {
        AgentServiceClient::connect(self.addresses[0].clone()).await.unwrap()
    }

    async fn running(&self, id: &str) -> AgentServiceClient<Channel> {
        let mut client = self.client().await;
        client.create_instance(wish(id)).await.unwrap();
        client.start_instance(one(id)).await.unwrap();
        client
    }
}

fn wish(id: &str) -> own::AgentCreateInstanceRequest {
    own::AgentCreateInstanceRequest {
        instance_id: id.to_owned(),
        name: "a name".to_owned(),
        r#type: own::InstanceType::Container.into(),
        spec: Some(own::InstanceSpec {
            image: "tool:1".into(),
            cpu_cores: 1,
            ..own::InstanceSpec::default()
        }),
        labels: [("team".to_owned(), "arms".to_owned())].into(),
        annotations: [("hypervisor.io/tty".to_owned(), "true".to_owned())].into(),
    }
}

fn one(id: &str) -> own::AgentInstanceRequest {
    own::AgentInstanceRequest { instance_id: id.to_owned() }
}

fn data(text: &'static [u8]) -> own::AgentConsoleInput {
    own::AgentConsoleInput { input: Some(Input::Data(Bytes::from_static(text))) }
}

fn resize(width: i32, height: i32) -> own::AgentConsoleInput {
    own::AgentConsoleInput { input: Some(Input::Resize(own::AgentConsoleResize { width, height })) }
}

/// Reads until what was said holds this.
async fn until(said: &mut tonic::Streaming<own::AgentConsoleOutput>, end: &str) -> String {
    let mut all = String::new();
    let reading = async {
        while !all.contains(end) {
            match said.message().await.unwrap() {
                Some(message) => all.push_str(&String::from_utf8_lossy(&message.data)),
                None => break,
            }
        }
    };
    tokio::time::timeout(Duration::from_secs(20), reading).await.unwrap();
    assert!(all.contains(end), "{all:?}");
    all
}

fn field(status: &Status) -> String {
    status.get_details_bad_request().unwrap().field_violations[0].field.clone()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_instance_lives_from_its_creation_to_its_deletion_and_all_changes_are_in_the_audit_log() {
    let house = open(Keys::default()).await;
    let mut client = house.client().await;
    let made = client.create_instance(wish("box")).await.unwrap().into_inner();
    assert_eq!(
        (made.state(), made.name.as_str(), made.r#type()),
        (own::InstanceState::Stopped, "a name", own::InstanceType::Container)
    );
    assert_eq!(made.node_id, house.agent.node().node_id);
    assert_eq!(made.spec, wish("box").spec);
    let metadata = made.metadata.clone().unwrap();
    assert_eq!((metadata.labels, metadata.annotations), (wish("box").labels, wish("box").annotations));
    assert!(made.created_at.is_some() && made.started_at.is_none() && made.exit_code.is_none());

    assert_eq!(client.create_instance(wish("box")).await.unwrap().into_inner().created_at, made.created_at);
    let mut other = wish("box");
    other.name = "another".into();
    assert_eq!(client.create_instance(other).await.unwrap_err().code(), Code::AlreadyExists);

    let idle = client.get_instance_stats(one("box")).await.unwrap_err();
    assert_eq!(idle.code(), Code::FailedPrecondition);
    let started = client.start_instance(one("box")).await.unwrap().into_inner();
    assert_eq!(started.state(), own::InstanceState::Running);
    assert!(started.started_at.is_some());
    let stats = client.get_instance_stats(one("box")).await.unwrap().into_inner();
    assert_eq!(stats.instance_id, "box");
    assert!(stats.collected_at.is_some());
    assert_eq!(client.list_instances(()).await.unwrap().into_inner().instances.len(), 1);

    let restart = own::AgentRestartInstanceRequest { instance_id: "box".into(), force: true };
    assert_eq!(
        client.restart_instance(restart).await.unwrap().into_inner().state(),
        own::InstanceState::Running
    );
    let stop = own::AgentStopInstanceRequest { instance_id: "box".into(), force: false, timeout_seconds: -1 };
    let refused = client.stop_instance(stop.clone()).await.unwrap_err();
    assert_eq!((refused.code(), field(&refused).as_str()), (Code::InvalidArgument, "timeout_seconds"));
    let stopped =
        client.stop_instance(own::AgentStopInstanceRequest { timeout_seconds: 5, ..stop }).await.unwrap();
    assert_eq!(stopped.into_inner().state(), own::InstanceState::Stopped);
    let delete = own::AgentDeleteInstanceRequest { instance_id: "box".into(), force: false };
    client.delete_instance(delete.clone()).await.unwrap();
    assert_eq!(client.delete_instance(delete).await.unwrap_err().code(), Code::NotFound);
    assert_eq!(client.get_instance(one("box")).await.unwrap_err().code(), Code::NotFound);

    let log = std::fs::read_to_string(house.agent.data().join("audit.jsonl")).unwrap();
    for what in ["create", "start", "restart", "stop", "delete"] {
        assert!(
            log.lines().any(|line| line.contains(&format!("\"{what}\"")) && line.contains("127.0.0.1:")),
            "{what}: {log}"
        );
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_upstream_profile_shows_the_same_instance_in_its_own_messages() {
    let house = open(Keys::default()).await;
    house.running("box").await;
    let mut client = upstream::agent_service_client::AgentServiceClient::connect(house.addresses[1].clone())
        .await
        .unwrap();
    let request = || upstream::AgentInstanceRequest { instance_id: "box".into() };
    let seen = client.get_instance(request()).await.unwrap().into_inner();
    assert_eq!(
        (seen.state(), seen.spec.as_ref().unwrap().image.as_str()),
        (upstream::InstanceState::Running, "tool:1")
    );
    assert!(seen.started_at.is_some());
    assert_eq!(client.get_instance_stats(request()).await.unwrap().into_inner().instance_id, "box");
    let made = upstream::AgentCreateInstanceRequest {
        instance_id: "other".into(),
        r#type: upstream::InstanceType::Container.into(),
        spec: Some(upstream::InstanceSpec { image: "tool:1".into(), ..upstream::InstanceSpec::default() }),
        ..upstream::AgentCreateInstanceRequest::default()
    };
    client.create_instance(made).await.unwrap();
    assert_eq!(house.agent.list().len(), 2, "both profiles have the same instances");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_console_shows_what_was_said_before_then_what_is_said_and_echoes_what_is_typed() {
    let house = open(Keys::default()).await;
    let mut client = house.running("box").await;
    let id = "box".parse().unwrap();
    assert!(house.world.says(&id, b"before\n"));
    let (typing, typed) = mpsc::channel(8);
    // A size before the id is held, and the first data is the id.
    typing.send(resize(123, 41)).await.unwrap();
    typing.send(data(b"box")).await.unwrap();
    let mut said = client.attach_console(ReceiverStream::new(typed)).await.unwrap().into_inner();
    until(&mut said, "before\n[123x41]").await;
    assert!(house.world.says(&id, b"now\n"));
    until(&mut said, "now\n").await;

    // With the metadata the first message may be a size, and the first data is typed.
    let (second, typed) = mpsc::channel(8);
    let mut request = Request::new(ReceiverStream::new(typed));
    request.metadata_mut().insert("instance-id", "box".parse().unwrap());
    second.send(resize(80, 24)).await.unwrap();
    let mut also = client.attach_console(request).await.unwrap().into_inner();
    until(&mut also, "now\n[80x24]").await;
    second.send(data(b"typed\n")).await.unwrap();
    until(&mut also, "typed\n").await;

    // Who has typed all it wanted to goes on reading; both readers hear everything.
    drop(typing);
    drop(second);
    assert!(house.world.says(&id, b"later\n"));
    until(&mut said, "later\n").await;
    until(&mut also, "later\n").await;
    assert!(house.world.exits(&id, 0));
    assert_eq!(said.message().await.unwrap(), None, "the stream ends with the run");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn consoles_that_cannot_be_are_refused_with_their_statuses() {
    let house = open(Keys::default()).await;
    let mut client = house.client().await;
    client.create_instance(wish("idle")).await.unwrap();
    for (first, code) in [
        (vec![data(b"none")], Code::NotFound),
        (vec![data(b"idle")], Code::FailedPrecondition),
        (vec![data(b"../x")], Code::InvalidArgument),
        (vec![data(b"\xff\xfe")], Code::InvalidArgument),
        (vec![resize(0, 24), data(b"idle")], Code::InvalidArgument),
        (vec![resize(80, 70_000)], Code::InvalidArgument),
        (vec![], Code::InvalidArgument),
    ] {
        let mut said = client.attach_console(tokio_stream::iter(first.clone())).await.unwrap().into_inner();
        assert_eq!(said.message().await.unwrap_err().code(), code, "{first:?}");
    }
    for (id, code) in
        [("none", Code::NotFound), ("idle", Code::FailedPrecondition), ("a/b", Code::InvalidArgument)]
    {
        let mut request = Request::new(tokio_stream::pending());
        request.metadata_mut().insert("instance-id", id.parse().unwrap());
        assert_eq!(client.attach_console(request).await.unwrap_err().code(), code, "{id}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_reader_that_does_not_read_holds_nobody_up_and_is_told_what_it_missed() {
    let house = open(Keys::default()).await;
    let mut client = house.running("box").await;
    let id = "box".parse().unwrap();
    let attach = |mut client: AgentServiceClient<Channel>| async move {
        let mut request = Request::new(tokio_stream::pending());
        request.metadata_mut().insert("instance-id", "box".parse().unwrap());
        client.attach_console(request).await.unwrap().into_inner()
    };
    let mut lazy = attach(house.client().await).await;
    let mut keen = attach(house.client().await).await;
    let flood = vec![b'x'; 16 << 10];
    let mut read = 0;
    for _ in 0..512 {
        assert!(house.world.says(&id, &flood));
        while read < flood.len() / 2 {
            read += keen.message().await.unwrap().unwrap().data.len();
        }
        read = 0;
    }
    assert!(house.world.says(&id, b"the end"));
    until(&mut keen, "the end").await;
    assert!(client.get_instance_stats(one("box")).await.is_ok());
    let missed = until(&mut lazy, "the end").await;
    assert!(
        missed.contains("bytes were not shown]"),
        "{} bytes, and no word of what is missing",
        missed.len()
    );
    assert!(missed.len() < 512 * flood.len());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn open_consoles_hear_that_the_agent_ends_and_the_instance_goes_on() {
    let house = open(Keys::default()).await;
    let mut client = house.running("box").await;
    let mut request = Request::new(tokio_stream::pending());
    request.metadata_mut().insert("instance-id", "box".parse().unwrap());
    let mut said = client.attach_console(request).await.unwrap().into_inner();
    house.stop.send_replace(true);
    let ended = async {
        loop {
            if let Err(status) = said.message().await {
                return status;
            }
        }
    };
    let ended = tokio::time::timeout(Duration::from_secs(10), ended).await.unwrap();
    assert_eq!(ended.code(), Code::Unavailable);
    assert_eq!(house.world.alive().len(), 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn without_a_key_of_the_file_only_health_and_reflection_answer() {
    let house = open(Keys::parse("a-key-that-is-long-enough\n").unwrap()).await;
    let mut client = house.client().await;
    assert_eq!(client.list_instances(()).await.unwrap_err().code(), Code::Unauthenticated);
    let with = |key: &str| {
        let mut request = Request::new(wish("box"));
        request.metadata_mut().insert("authorization", format!("Bearer {key}").parse().unwrap());
        request
    };
    assert_eq!(
        client.create_instance(with("another-key-of-somebody")).await.unwrap_err().code(),
        Code::Unauthenticated
    );
    client.create_instance(with("a-key-that-is-long-enough")).await.unwrap();
    let log = std::fs::read_to_string(house.agent.data().join("audit.jsonl")).unwrap();
    assert!(log.contains(" key ") && !log.contains("long-enough"), "{log}");

    let channel = Channel::from_shared(house.addresses[0].clone()).unwrap().connect().await.unwrap();
    let mut health = tonic_health::pb::health_client::HealthClient::new(channel);
    for service in ["", "hypervisor.v1.AgentService"] {
        let request = tonic_health::pb::HealthCheckRequest { service: service.into() };
        let status = health.check(request).await.unwrap().into_inner().status();
        assert_eq!(status, tonic_health::pb::health_check_response::ServingStatus::Serving);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn messages_that_are_too_long_or_none_are_refused() {
    let house = open(Keys::default()).await;
    let mut client = house.client().await;
    let mut long = wish("box");
    long.spec.as_mut().unwrap().kernel_args = "x".repeat(MAX_REQUEST_BYTES);
    assert_eq!(client.create_instance(long).await.unwrap_err().code(), Code::OutOfRange);
    let mut wrong = wish("box");
    wrong.spec.as_mut().unwrap().cpu_cores = -1;
    let refused = client.create_instance(wrong).await.unwrap_err();
    assert_eq!((refused.code(), field(&refused).as_str()), (Code::InvalidArgument, "spec.cpu_cores"));
    assert!(house.agent.list().is_empty());
}

//! Over drivers with nothing behind them.

use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use futures_util::FutureExt;
use futures_util::future::{BoxFuture, join_all};
use neuro::agent::driver::ConsoleInput;
use neuro::agent::driver::fake::{FakeDriver, World};
use neuro::agent::error::AgentError;
use neuro::agent::image::{FileImage, Images, RootImage};
use neuro::agent::record::State;
use neuro::agent::settings::AgentSettings;
use neuro::agent::spec::Kind;
use neuro::agent::{Agent, AgentOptions, Output};
use neuro::grpc::agent::{AgentGrpcOptions, Keys, Profile, serve_agent};
use neuro::proto::hypervisor::v1::agent_service_client::AgentServiceClient;
use tokio::net::TcpListener;
use tokio::sync::watch;

use super::{Size, against, echo, folder, instance, ms, name, typed};

/// Has every image.
#[derive(Debug)]
struct AnyImage;

impl Images for AnyImage {
    fn root<'a>(&'a self, _: &'a str) -> BoxFuture<'a, Result<RootImage, AgentError>> {
        async { Ok(RootImage::default()) }.boxed()
    }

    fn file<'a>(&'a self, _: &'a str, _: &'a str) -> BoxFuture<'a, Result<FileImage, AgentError>> {
        async { Ok(FileImage::default()) }.boxed()
    }
}

fn runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_multi_thread().enable_all().build().unwrap()
}

async fn open(data: &Path, world: &World) -> Agent {
    let driver = Arc::new(FakeDriver::new(Kind::Container, world.clone()));
    let settings = AgentSettings {
        limits: neuro::agent::settings::LimitSettings { cpu_share: 1000.0, ..Default::default() },
        ..AgentSettings::default()
    };
    let options = AgentOptions::new(settings, data.to_owned(), vec![driver], Arc::new(AnyImage));
    Agent::open(options).await.unwrap()
}

/// All of it.
pub(super) fn measure(size: Size) {
    println!("drivers with nothing behind them");
    let (house, world) = (folder(), World::default());
    runtime().block_on(crowd(&house.path().join("crowd"), &world, size));
    let world = World::default();
    let data = house.path().join("again");
    let before = runtime();
    let agent = before.block_on(async {
        let agent = open(&data, &world).await;
        create(&agent, size.found_again).await;
        agent
    });
    // Not shut down: cut off.
    drop((agent, before));
    runtime().block_on(async {
        let begun = Instant::now();
        let agent = open(&data, &world).await;
        let took = begun.elapsed();
        let all = agent.list();
        assert_eq!(all.len(), size.found_again);
        assert!(all.iter().all(|record| record.state == State::Running));
        against(&format!("  {} instances found again", size.found_again), took.as_secs_f64(), 2.0, "s");
    });
}

async fn create(agent: &Agent, count: usize) {
    let mut callers = tokio::task::JoinSet::new();
    for number in 0..count {
        let agent = agent.clone();
        callers.spawn(async move { agent.create(instance(&name(number), &[]), "bench").await.unwrap() });
    }
    assert!(callers.join_all().await.iter().all(|record| record.state == State::Running));
}

async fn crowd(data: &Path, world: &World, size: Size) {
    let agent = open(data, world).await;
    let count = size.instances;
    let begun = Instant::now();
    create(&agent, count).await;
    against(&format!("  {count} created and started at once"), begun.elapsed().as_secs_f64(), 8.0, "s");
    assert_eq!((agent.list().len(), world.alive().len()), (count, count));
    let names: Vec<String> = (0..count).map(name).collect();
    let begun = Instant::now();
    let figures = join_all(names.iter().map(|name| agent.stats(name))).await;
    let took = begun.elapsed();
    assert!(figures.iter().all(Result::is_ok));
    against(&format!("  figures of {count}"), ms(took), 50.0, "ms");
    echo("  echo through the hub", hub(&agent, size.echoes).await);
    let (stop, stopping) = watch::channel(false);
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = format!("http://{}", listener.local_addr().unwrap());
    let options = AgentGrpcOptions {
        agent: agent.clone(),
        profile: Profile::Document,
        keys: Keys::default(),
        tls: None,
        stopping,
    };
    let server = tokio::spawn(serve_agent(listener, options));
    let client = AgentServiceClient::connect(address).await.unwrap();
    echo("  echo through gRPC", typed(client, &name(1), size.echoes).await);
    let memory = neuro::telemetry::process::read().resident_bytes;
    if let Some(bytes) = memory {
        let megabytes = bytes as f64 / f64::from(1 << 20);
        println!("  memory of this process, with {count} instances and a client: {megabytes:.1} MB");
    }
    stop.send_replace(true);
    drop(server.await);
    agent.shutdown().await;
}

async fn hub(agent: &Agent, times: usize) -> Vec<Duration> {
    let mut console = agent.console(&name(0)).unwrap();
    let mut took = Vec::with_capacity(times);
    for number in 0..times {
        let sent = format!("<{number:06}>");
        let begun = Instant::now();
        console.input.send(ConsoleInput::Data(Bytes::from(sent.clone()))).await.unwrap();
        let mut seen = Vec::new();
        while !seen.windows(sent.len()).any(|part| part == sent.as_bytes()) {
            let Some(Output::Data(data)) = console.output.recv().await else { panic!("it runs") };
            seen.extend_from_slice(&data);
        }
        took.push(begun.elapsed());
    }
    took
}

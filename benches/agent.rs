//! What the node agent costs: two hundred instances at once, their figures, consoles, and finding everything again.
//!
//! `cargo bench --bench agent` measures it first over drivers with nothing behind them, where all that is left is the agent
//! and its disk, and then over real containers, for which it needs root, runc and a static busybox. `BENCH_DIR` names the
//! folder of the journals: its disk is what is measured. `BENCH_BINARY` names the program that is started as the agent.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::print_stdout)]

#[path = "agent/fake.rs"]
mod fake;
#[path = "agent/real.rs"]
mod real;

use std::path::PathBuf;
use std::time::{Duration, Instant};

use bytes::Bytes;
use neuro::proto::hypervisor::v1::agent_console_input::Input;
use neuro::proto::hypervisor::v1::agent_service_client::AgentServiceClient;
use neuro::proto::hypervisor::v1::{
    AgentConsoleInput, AgentCreateInstanceRequest, InstanceSpec, InstanceType,
};
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::Request;
use tonic::transport::Channel;

/// How much is measured.
#[derive(Debug, Clone, Copy)]
struct Size {
    instances: usize,
    found_again: usize,
    echoes: usize,
}

fn main() {
    let quick = std::env::args().any(|argument| argument == "--test");
    let size = if quick {
        Size { instances: 6, found_again: 3, echoes: 5 }
    } else {
        Size { instances: 200, found_again: 52, echoes: 1000 }
    };
    fake::measure(size);
    real::measure(Size { found_again: size.found_again.min(50), ..size });
}

/// A folder for a node. Sockets lie in it, so that its path is short.
fn folder() -> tempfile::TempDir {
    let mut builder = tempfile::Builder::new();
    let builder = builder.prefix("nb");
    match std::env::var_os("BENCH_DIR") {
        Some(folder) => builder.tempdir_in(PathBuf::from(folder)).unwrap(),
        None => builder.tempdir().unwrap(),
    }
}

/// An instance that is started as soon as it is made.
fn instance(id: &str, command: &[&str]) -> AgentCreateInstanceRequest {
    AgentCreateInstanceRequest {
        instance_id: id.to_owned(),
        r#type: InstanceType::Container.into(),
        spec: Some(InstanceSpec {
            image: "busybox".to_owned(),
            command: command.iter().map(|word| (*word).to_owned()).collect(),
            ..InstanceSpec::default()
        }),
        annotations: [("hypervisor.io/autostart".to_owned(), "true".to_owned())].into(),
        ..AgentCreateInstanceRequest::default()
    }
}

fn name(number: usize) -> String {
    format!("i-{number:03}")
}

/// Milliseconds.
fn ms(time: Duration) -> f64 {
    time.as_secs_f64() * 1e3
}

/// A figure against its goal.
fn against(what: &str, figure: f64, goal: f64, unit: &str) {
    let verdict = if figure <= goal { "" } else { ", MISSED" };
    println!("{what}: {figure:.2} {unit} (goal {goal} {unit}, {:.2} of it{verdict})", figure / goal);
}

fn percentiles(mut times: Vec<Duration>) -> (f64, f64) {
    times.sort_unstable();
    let at = |share: f64| ms(times[((times.len() - 1) as f64 * share) as usize]);
    (at(0.5), at(0.99))
}

fn echo(what: &str, times: Vec<Duration>) {
    let count = times.len();
    let (p50, p99) = percentiles(times);
    against(&format!("{what}, p50 of {count}"), p50, 5.0, "ms");
    println!("{what}, p99: {p99:.2} ms");
}

/// One key after the other through the service, each until it is seen.
async fn typed(mut client: AgentServiceClient<Channel>, id: &str, times: usize) -> Vec<Duration> {
    let (keys, waiting) = mpsc::channel(8);
    let key = |data: Bytes| AgentConsoleInput { input: Some(Input::Data(data)) };
    keys.send(key(Bytes::copy_from_slice(id.as_bytes()))).await.unwrap();
    let stream = client.attach_console(Request::new(ReceiverStream::new(waiting))).await.unwrap();
    let mut screen = stream.into_inner();
    let mut took = Vec::with_capacity(times);
    for number in 0..times + 10 {
        let sent = Bytes::from(format!("<{number:06}>"));
        let begun = Instant::now();
        keys.send(key(sent.clone())).await.unwrap();
        let mut seen = Vec::new();
        while !seen.windows(sent.len()).any(|part| part == sent) {
            seen.extend_from_slice(&screen.message().await.unwrap().expect("it runs").data);
        }
        // The first ones wake things up.
        if number >= 10 {
            took.push(begun.elapsed());
        }
    }
    took
}

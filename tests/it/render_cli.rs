//! `neuro render` as a process: its first line, pictures from a shipped file, how it ends.

use std::io::{BufRead, BufReader};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

use neuro::render::nurec::{NurecClient, NurecOptions};
use neuro::render::{Encoding, Renderer, ShotOptions, shots};
use neuro::scene::{LoadLimits, Scenario};

use crate::golden::root;

const DATA: &str = "tests/fixtures/scenario/data";

/// A running `neuro render`, ended when it goes out of scope.
struct Rendering {
    child: Child,
    address: String,
}

impl Rendering {
    fn start(flags: &[&str]) -> Self {
        let mut child = command(flags).stdout(Stdio::piped()).spawn().unwrap();
        let mut line = String::new();
        BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
        let address = line.trim().strip_prefix("neuro render listening on ").map(str::to_owned);
        let rendering = Self { child, address: address.clone().unwrap_or_default() };
        assert!(address.is_some(), "the first line is {line:?}");
        rendering
    }

    fn client(&self) -> NurecClient {
        NurecClient::new(NurecOptions::parse(&self.address).unwrap()).unwrap()
    }

    fn signal(&self, name: &str) {
        let sent = Command::new("kill").args([&format!("-{name}"), &self.child.id().to_string()]).status();
        assert!(sent.unwrap().success());
    }

    fn wait(&mut self) -> ExitStatus {
        let patience = Instant::now() + Duration::from_secs(15);
        loop {
            if let Some(status) = self.child.try_wait().unwrap() {
                return status;
            }
            assert!(Instant::now() < patience, "it does not end");
            std::thread::sleep(Duration::from_millis(10));
        }
    }
}

impl Drop for Rendering {
    fn drop(&mut self) {
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

fn command(flags: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_neuro"));
    command.current_dir(root()).arg("render").args(flags).stdin(Stdio::null()).stderr(Stdio::null());
    command
}

fn drive() -> Arc<Scenario> {
    Arc::new(Scenario::open(&root().join(DATA).join("drive.usdz"), &LoadLimits::default()).unwrap())
}

#[tokio::test]
async fn it_draws_every_camera_of_a_file_as_jpeg_and_png_of_the_size_asked_for() {
    let rendering = Rendering::start(&["--port", "0", "--scenes", DATA]);
    let (client, scenario) = (rendering.client(), drive());
    assert!(client.scenes().await.unwrap().contains(&scenario.sequence_id));
    let names: Vec<_> = scenario.cameras.iter().map(|camera| camera.logical_name.clone()).collect();
    for encoding in [Encoding::Jpeg(90.0), Encoding::Png] {
        let options = ShotOptions { encoding, scale: 0.1, ..ShotOptions::default() };
        let asked = shots(&scenario, scenario.start_us + 3_000_000, &names, &options);
        let drawn = client.render_all(asked.into_iter().map(Result::unwrap).collect()).await;
        for (frame, name) in drawn.into_iter().zip(&names) {
            let picture = image::load_from_memory(&frame.unwrap().bytes).unwrap();
            assert_eq!((picture.width(), picture.height()), (192, 108), "{name}");
        }
    }
}

#[tokio::test]
async fn the_first_signal_ends_it_in_order_although_a_client_stays() {
    for signal in ["INT", "TERM"] {
        let mut rendering = Rendering::start(&["--port", "0", "--scenes", DATA]);
        let client = rendering.client();
        client.version().await.unwrap();
        rendering.signal(signal);
        // Waiting blocks the client's thread: it does not close its connection.
        assert_eq!(rendering.wait().code(), Some(0), "{signal}");
    }
}

#[test]
fn a_port_that_is_taken_and_a_folder_that_is_not_there_have_exit_codes_of_their_own() {
    let rendering = Rendering::start(&["--port", "0", "--scenes", DATA]);
    let (_, port) = rendering.address.rsplit_once(':').unwrap();
    assert_eq!(command(&["--port", port, "--scenes", DATA]).status().unwrap().code(), Some(4));
    assert_eq!(command(&["--port", "0", "--scenes", "no/such/folder"]).status().unwrap().code(), Some(2));
    assert_eq!(command(&["--port", "70000"]).status().unwrap().code(), Some(2));
}

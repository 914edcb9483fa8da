//! What the server itself costs, and how it behaves when many ask at once.
//!
//! `cargo bench --bench server` starts the real binary on a loopback port, first around a network that does
//! nothing, then around the default model. `BENCH_OPENPI_PYTHON=/path/to/python` (with openpi-server 0.1.0)
//! adds openpi's Python server, asked by the same client in turn.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::print_stdout)]

use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use futures_util::{SinkExt, StreamExt};
use rmpv::Value;
use tokio_tungstenite::tungstenite::Message;

/// Requests of one measurement.
const REQUESTS: usize = 400;
/// Clients of the crowd, and how long they ask.
const CROWD: usize = 64;
const CROWD_TIME: Duration = Duration::from_secs(10);

fn main() {
    if std::env::args().any(|argument| argument == "--test") {
        return;
    }
    let runtime = tokio::runtime::Runtime::new().unwrap();
    runtime.block_on(async {
        websocket().await;
        predict().await;
        crowd().await;
    });
}

/// A server process, ended with the value.
struct Server {
    child: Child,
    address: String,
}

impl Server {
    fn neuro(flags: &[&str]) -> Self {
        let mut child = Command::new(env!("CARGO_BIN_EXE_neuro"))
            .current_dir(env!("CARGO_MANIFEST_DIR"))
            .args(["serve", "--host", "127.0.0.1", "--port", "0"])
            .args(flags)
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines().map_while(Result::ok);
        let listening = lines.find(|line| line.contains("listening")).unwrap();
        let address = listening.rsplit("http://").next().unwrap().trim().to_owned();
        lines.find(|line| line.contains("ready")).unwrap();
        Self { child, address }
    }

    fn openpi() -> Option<Self> {
        let python = std::env::var_os("BENCH_OPENPI_PYTHON")?;
        let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("benches/peers/openpi_zero.py");
        let child =
            Command::new(python).arg(script).arg(port.to_string()).stderr(Stdio::null()).spawn().unwrap();
        let address = format!("127.0.0.1:{port}");
        let deadline = Instant::now() + Duration::from_secs(30);
        while std::net::TcpStream::connect(&address).is_err() {
            assert!(Instant::now() < deadline, "the Python server did not come up");
            std::thread::sleep(Duration::from_millis(100));
        }
        Some(Self { child, address })
    }

    fn resident_mib(&self) -> f64 {
        let path = format!("/proc/{}/status", self.child.id());
        let status = std::fs::read_to_string(path).unwrap_or_default();
        let line = status.lines().find(|line| line.starts_with("VmRSS:")).unwrap_or_default();
        line.split_whitespace().nth(1).and_then(|word| word.parse::<f64>().ok()).unwrap_or(0.0) / 1024.0
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

fn quantile_ms(times: &mut [Duration], share: f64) -> f64 {
    times.sort_unstable();
    let index = ((times.len() - 1) as f64 * share).round() as usize;
    times[index].as_secs_f64() * 1000.0
}

/// An observation as openpi-client packs it: a numpy array is a map with binary keys.
fn observation() -> Vec<u8> {
    let pixels: Vec<u8> = (0..224 * 224 * 3).map(|i| (i % 251) as u8).collect();
    let key = |name: &str| Value::Binary(name.as_bytes().to_vec());
    let array = Value::Map(vec![
        (key("__ndarray__"), Value::Boolean(true)),
        (key("data"), Value::Binary(pixels)),
        (key("dtype"), Value::from("|u1")),
        (key("shape"), Value::Array(vec![224.into(), 224.into(), 3.into()])),
    ]);
    let map = Value::Map(vec![
        (Value::from("observation/image"), array),
        (Value::from("prompt"), Value::from("take the blue cube")),
    ]);
    let mut bytes = Vec::new();
    rmpv::encode::write_value(&mut bytes, &map).unwrap();
    bytes
}

type Socket = tokio_tungstenite::WebSocketStream<tokio_tungstenite::MaybeTlsStream<tokio::net::TcpStream>>;

async fn connect(server: &Server) -> Socket {
    let (mut socket, _) =
        tokio_tungstenite::connect_async(format!("ws://{}/", server.address)).await.unwrap();
    socket.next().await.unwrap().unwrap();
    socket
}

async fn round_trip(socket: &mut Socket, request: &[u8]) -> Duration {
    let start = Instant::now();
    socket.send(Message::Binary(request.to_vec().into())).await.unwrap();
    let answer = socket.next().await.unwrap().unwrap();
    assert!(answer.is_binary(), "{answer:?}");
    start.elapsed()
}

async fn websocket() {
    let ours = Server::neuro(&["--model", "models/tabletop", "--backend", "zero"]);
    let theirs = Server::openpi();
    let request = observation();
    let mut our_socket = connect(&ours).await;
    let mut their_socket = match &theirs {
        Some(server) => Some(connect(server).await),
        None => None,
    };
    let (mut our_times, mut their_times) = (Vec::new(), Vec::new());
    for round in 0..REQUESTS + 50 {
        let took = round_trip(&mut our_socket, &request).await;
        let theirs = match &mut their_socket {
            Some(socket) => Some(round_trip(socket, &request).await),
            None => None,
        };
        if round >= 50 {
            our_times.push(took);
            their_times.extend(theirs);
        }
    }
    println!("\n| websocket round trip, one 224x224 image, no network | p50 ms | p99 ms |\n|---|---|---|");
    let ours = quantile_ms(&mut our_times, 0.5);
    println!("| neuro | {ours:.3} | {:.3} |", quantile_ms(&mut our_times, 0.99));
    if !their_times.is_empty() {
        let theirs = quantile_ms(&mut their_times, 0.5);
        println!("| openpi's Python server | {theirs:.3} | {:.3} |", quantile_ms(&mut their_times, 0.99));
        println!("| ratio (bound 0.5) | {:.2} | |", ours / theirs);
    }
}

/// A 640x480 JPEG that is not flat.
fn jpeg() -> Vec<u8> {
    let picture = image::RgbImage::from_fn(640, 480, |x, y| {
        let wave = |a: f32, b: f32| ((((x as f32) * a).sin() + ((y as f32) * b).cos()) * 60.0 + 128.0) as u8;
        image::Rgb([wave(0.021, 0.017), wave(0.05, 0.03), (x ^ y) as u8])
    });
    let mut bytes = Vec::new();
    image::codecs::jpeg::JpegEncoder::new_with_quality(&mut bytes, 85).encode_image(&picture).unwrap();
    bytes
}

async fn post(client: &reqwest::Client, server: &Server, picture: Vec<u8>, text: &str) -> reqwest::Response {
    let image = reqwest::multipart::Part::bytes(picture).file_name("camera.jpg");
    let form = reqwest::multipart::Form::new().part("image", image).text("instruction", text.to_owned());
    client.post(format!("http://{}/predict", server.address)).multipart(form).send().await.unwrap()
}

async fn predict() {
    let picture = jpeg();
    println!(
        "\n| `/predict`, 640x480 JPEG of {} kB, one at a time | p50 ms | p99 ms |\n|---|---|---|",
        picture.len() / 1000
    );
    for (name, flags) in [
        ("no network (bound 5)", &["--model", "models/tabletop", "--backend", "zero"][..]),
        ("models/tabletop", &["--model", "models/tabletop"][..]),
    ] {
        let server = Server::neuro(flags);
        let client = reqwest::Client::new();
        let mut times = Vec::new();
        for round in 0..REQUESTS + 50 {
            let start = Instant::now();
            let answer = post(&client, &server, picture.clone(), "take the blue cube").await;
            assert_eq!(answer.status(), 200);
            answer.bytes().await.unwrap();
            if round >= 50 {
                times.push(start.elapsed());
            }
        }
        println!("| {name} | {:.2} | {:.2} |", quantile_ms(&mut times, 0.5), quantile_ms(&mut times, 0.99));
    }
}

async fn crowd() {
    let server = Arc::new(Server::neuro(&["--model", "models/tabletop", "--queue", "32"]));
    let before = server.resident_mib();
    let (picture, stop) = (jpeg(), Arc::new(AtomicBool::new(false)));
    let mut clients = Vec::new();
    for _ in 0..CROWD {
        let (server, picture, stop) = (Arc::clone(&server), picture.clone(), Arc::clone(&stop));
        clients.push(tokio::spawn(async move {
            let client = reqwest::Client::new();
            let (mut answered, mut refused, mut other) = (0usize, 0usize, 0usize);
            while !stop.load(Ordering::Relaxed) {
                match post(&client, &server, picture.clone(), "lift the red ball").await.status().as_u16() {
                    200 => answered += 1,
                    429 => {
                        refused += 1;
                        tokio::time::sleep(Duration::from_millis(20)).await;
                    }
                    _ => other += 1,
                }
            }
            (answered, refused, other)
        }));
    }
    let (mut health, client) = (Vec::new(), reqwest::Client::new());
    let start = Instant::now();
    while start.elapsed() < CROWD_TIME {
        let asked = Instant::now();
        let answer = client.get(format!("http://{}/health", server.address)).send().await.unwrap();
        assert_eq!(answer.status(), 200);
        health.push(asked.elapsed());
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    stop.store(true, Ordering::Relaxed);
    let (mut answered, mut refused, mut other) = (0, 0, 0);
    for client in clients {
        let (a, r, o) = client.await.unwrap();
        (answered, refused, other) = (answered + a, refused + r, other + o);
    }
    let seconds = CROWD_TIME.as_secs_f64();
    println!(
        "\n| {CROWD} clients at once, models/tabletop, {seconds:.0} s, client on the same cores | |\n|---|---|"
    );
    println!("| answered a second | {:.0} |", answered as f64 / seconds);
    println!("| refused with 429 | {refused} |\n| any other status (bound 0) | {other} |");
    println!("| `/health` p50 ms | {:.2} |", quantile_ms(&mut health, 0.5));
    println!("| `/health` p99 ms (bound 20) | {:.2} |", quantile_ms(&mut health, 0.99));
    println!("| memory before, after (MiB) | {before:.0}, {:.0} |", server.resident_mib());
}

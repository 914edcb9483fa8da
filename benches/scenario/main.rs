//! Playing scenarios over REST beside the original backend: the same files, the same renderer, the same client, in turn.
//!
//! `cargo bench --bench scenario` measures neuro alone. `BENCH_VIEWER=/path/to/checkout` (the original's repository) with
//! `BENCH_VIEWER_PYTHON=/path/to/python` (with fastapi, uvicorn, numpy, scipy, grpcio, grpcio-tools and pydantic) adds the
//! original. `BENCH_LARGE=FILE` takes another large scenario than the one this bench writes.
//!
//! CPU time is that of the server's process, all threads, as the kernel counts it. Every figure is the median of its rounds.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::print_stdout, missing_docs)]

mod client;
mod large;
mod server;
#[allow(dead_code, reason = "the bench needs a part of it")]
#[path = "../../tests/it/stub_nurec.rs"]
mod stub_nurec;

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use client::{Client, quantile_ms};
use serde_json::{Value, json};
use server::Server;
use stub_nurec::{Behaviour, StubNurec};

/// What the renderer takes for a picture.
const PICTURE: Duration = Duration::from_millis(20);
/// Rounds of what is cheap.
const ROUNDS: usize = 5;

/// What is compared: the files, and who draws.
struct Setting {
    drive: [PathBuf; 2],
    large: [PathBuf; 2],
    renderer: StubNurec,
    folder: tempfile::TempDir,
}

fn main() {
    if std::env::args().any(|argument| argument == "--test") {
        return;
    }
    let setting = Setting::new();
    println!("\n| what | neuro | original | ratio | goal |\n|---|---|---|---|---|");
    memory(&setting);
    let ours = setting.ours();
    let theirs = setting.theirs();
    load("load of drive.usdz, 120 tracks", &setting.drive, [9, 3], &setting, &ours, theirs.as_ref());
    load("load of large.usdz, 5000 tracks", &setting.large, [5, 1], &setting, &ours, theirs.as_ref());
    for server in [Some(&ours), theirs.as_ref()].into_iter().flatten() {
        order(server, &setting, &setting.drive[0]);
    }
    small(&ours, theirs.as_ref());
    pictures(&ours, theirs.as_ref());
    drop(ours);
    drop(theirs);
    health(&setting);
    embedded();
}

impl Setting {
    fn new() -> Self {
        let root = Path::new(env!("CARGO_MANIFEST_DIR"));
        let folder = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
        let drive = root.join("tests/fixtures/scenario/data/drive.usdz");
        let large = match std::env::var_os("BENCH_LARGE") {
            Some(file) => PathBuf::from(file),
            None => large::write(&drive, &folder.path().join("written.usdz")),
        };
        // Two of each: loading one while the other is loaded reads it, as loading the same again need not.
        let pair = |file: &Path, name: &str| {
            [1, 2].map(|number| {
                let copy = folder.path().join(format!("{name}-{number}.usdz"));
                std::fs::copy(file, &copy).unwrap();
                copy
            })
        };
        let (drive, large) = (pair(&drive, "drive"), pair(&large, "large"));
        let renderer = StubNurec::start(Behaviour { delay: PICTURE, ..Behaviour::default() });
        Self { drive, large, renderer, folder }
    }

    fn ours(&self) -> Server {
        let nurec = self.renderer.address.to_string();
        Server::neuro(&[
            "--frame-cache",
            "0",
            "--renderer",
            "external",
            "--nurec",
            &nurec,
            "--scenes",
            self.folder.path().to_str().unwrap(),
        ])
    }

    fn theirs(&self) -> Option<Server> {
        Server::viewer()
    }
}

/// Loads a file.
fn order(server: &Server, setting: &Setting, file: &Path) {
    let address = setting.renderer.address;
    let order = json!({"usdz_path": file, "nurec_host": "127.0.0.1", "nurec_port": address.port()});
    let (status, body) = Client::to(server).post("/api/load", &order);
    assert_eq!(status, 200, "{} of {}: {}", file.display(), server.name, String::from_utf8_lossy(&body));
}

/// CPU and wall of something, in milliseconds.
fn spent_ms(server: &Server, work: impl FnOnce()) -> [f64; 2] {
    let (cpu, begin) = (server.cpu_s(), Instant::now());
    work();
    let wall = begin.elapsed().as_secs_f64() * 1e3;
    [(server.cpu_s() - cpu) * 1e3, wall]
}

fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}

fn row(what: &str, ours: &str, theirs: Option<String>, ratio: Option<f64>, goal: &str) {
    let ratio = ratio.map_or_else(String::new, |ratio| format!("{ratio:.1}"));
    println!("| {what} | {ours} | {} | {ratio} | {goal} |", theirs.unwrap_or_default());
}

fn load(
    what: &str,
    files: &[PathBuf; 2],
    rounds: [usize; 2],
    setting: &Setting,
    ours: &Server,
    theirs: Option<&Server>,
) {
    let measure = |server: &Server, rounds: usize, each: usize| {
        order(server, setting, &files[1]);
        let spent: Vec<[f64; 2]> = (0..rounds)
            .map(|_| {
                let spent = spent_ms(server, || {
                    (0..each).for_each(|turn| order(server, setting, &files[turn % 2]));
                });
                spent.map(|value| value / each as f64)
            })
            .collect();
        [0, 1].map(|which| median(spent.iter().map(|spent| spent[which]).collect()))
    };
    let [cpu, wall] = measure(ours, rounds[0], 10);
    let peer = theirs.map(|theirs| measure(theirs, rounds[1], 1));
    let ratio = peer.map(|[peer, _]| peer / cpu);
    row(
        &format!("{what}: CPU"),
        &format!("{cpu:.1} ms"),
        peer.map(|[cpu, _]| format!("{cpu:.0} ms")),
        ratio,
        "20",
    );
    row(
        &format!("{what}: wall"),
        &format!("{wall:.1} ms"),
        peer.map(|[_, wall]| format!("{wall:.0} ms")),
        peer.map(|[_, peer]| peer / wall),
        "under 1 s",
    );
}

/// Requests that are answered from memory: CPU a request, one client.
fn small(ours: &Server, theirs: Option<&Server>) {
    let range = serde_json::from_slice::<Value>(&Client::to(ours).get("/api/scenario").1).unwrap();
    let [start, end] = ["start_us", "end_us"].map(|name| range["time_range"][name].as_i64().unwrap());
    let pose = move |client: &mut Client, turn: usize| {
        let instant = start + (end - start) * (turn % 97) as i64 / 97;
        client.get(&format!("/api/pose?timestamp_us={instant}"))
    };
    let tick = |client: &mut Client, _: usize| client.post("/api/playback/tick", &json!({"delta_us": 1}));
    let state = |client: &mut Client, _: usize| client.get("/api/playback");
    let trajectory = |client: &mut Client, _: usize| client.get("/api/trajectory?sample_interval_us=100000");
    type Ask<'a> = &'a dyn Fn(&mut Client, usize) -> (u16, Vec<u8>);
    let table: [(&str, Ask<'_>, [usize; 2], &str); 4] = [
        ("`GET /api/pose`", &pose, [20_000, 500], "30"),
        ("`POST /api/playback/tick`", &tick, [20_000, 1000], "10"),
        ("`GET /api/playback`", &state, [20_000, 2000], ""),
        ("`GET /api/trajectory`, 201 points", &trajectory, [2000, 10], "50"),
    ];
    for (what, ask, counts, goal) in table {
        let (mut our_us, mut their_us) = (Vec::new(), Vec::new());
        for _ in 0..ROUNDS {
            our_us.push(cpu_us(ours, counts[0], ask));
            their_us.extend(theirs.map(|theirs| cpu_us(theirs, counts[1], ask)));
        }
        let ours = median(our_us);
        let theirs = (!their_us.is_empty()).then(|| median(their_us));
        let shown = theirs.map(|value| format!("{value:.0} us"));
        row(
            &format!("{what}: CPU a request"),
            &format!("{ours:.1} us"),
            shown,
            theirs.map(|peer| peer / ours),
            goal,
        );
    }
}

/// Asks once; status and body.
type Ask<'a> = &'a dyn Fn(&mut Client, usize) -> (u16, Vec<u8>);

fn cpu_us(server: &Server, count: usize, ask: Ask<'_>) -> f64 {
    let mut client = Client::to(server);
    let work = || {
        for turn in 0..count {
            assert_eq!(ask(&mut client, turn).0, 200);
        }
    };
    spent_ms(server, work)[0] * 1e3 / count as f64
}

/// Six cameras of an instant, for one viewer and for four at once.
fn pictures(ours: &Server, theirs: Option<&Server>) {
    let cameras = serde_json::from_slice::<Value>(&Client::to(ours).get("/api/cameras").1).unwrap();
    let range = serde_json::from_slice::<Value>(&Client::to(ours).get("/api/scenario").1).unwrap();
    let start = range["time_range"]["start_us"].as_i64().unwrap();
    let ask = |server: &Server, viewer: i64, count: i64| {
        let mut client = Client::to(server);
        let mut times = Vec::new();
        for turn in 0..count {
            // Each looks at another part: no two ask for the same picture at once.
            let instant = start + turn * 33_333 + viewer * 4_500_000;
            let order =
                json!({"timestamp_us": instant, "camera_ids": cameras["cameras"], "resolution_scale": 0.25});
            let begin = Instant::now();
            let (status, body) = client.post("/api/render", &order);
            times.push(begin.elapsed());
            let answer: Value = serde_json::from_slice(&body).unwrap();
            assert_eq!((status, answer["images"].as_object().unwrap().len()), (200, 6), "{answer}");
        }
        times
    };
    for viewers in [1, 4] {
        let p50 = |server: &Server, count: i64| {
            let mut times = std::thread::scope(|scope| {
                let asking: Vec<_> =
                    (0..viewers).map(|viewer| scope.spawn(move || ask(server, viewer, count))).collect();
                asking.into_iter().flat_map(|thread| thread.join().unwrap()).collect::<Vec<_>>()
            });
            [quantile_ms(&mut times, 0.5), quantile_ms(&mut times, 0.99)]
        };
        let [our_p50, our_p99] = p50(ours, 120);
        let peer = theirs.map(|theirs| p50(theirs, 20));
        row(
            &format!("six cameras, renderer of 20 ms, {viewers} at once: p50 / p99"),
            &format!("{our_p50:.1} / {our_p99:.1} ms"),
            peer.map(|[p50, p99]| format!("{p50:.0} / {p99:.0} ms")),
            peer.map(|[p50, _]| p50 / our_p50),
            "under 30 ms",
        );
    }
}

/// How long `GET /api/health` takes, first alone and then while a large scenario is loaded again and again.
fn health(setting: &Setting) {
    let [ours, theirs] = [Some(setting.ours()), setting.theirs()];
    let alone = |server: &Server, count: usize| {
        let mut client = Client::to(server);
        let mut times: Vec<_> = (0..count).map(|_| client.timed("/api/health")).collect();
        [quantile_ms(&mut times, 0.5), quantile_ms(&mut times, 0.99)]
    };
    let busy = |server: &Server, loads: usize, pause: Duration| {
        let done = AtomicBool::new(false);
        std::thread::scope(|scope| {
            let loading = scope.spawn(|| {
                (0..loads).for_each(|turn| order(server, setting, &setting.large[turn % 2]));
                done.store(true, Ordering::Relaxed);
            });
            std::thread::sleep(pause);
            let mut client = Client::to(server);
            let mut times = Vec::new();
            while !done.load(Ordering::Relaxed) {
                times.push(client.timed("/api/health"));
                std::thread::sleep(Duration::from_millis(2));
            }
            loading.join().unwrap();
            [quantile_ms(&mut times, 0.5), quantile_ms(&mut times, 0.99), quantile_ms(&mut times, 1.0)]
        })
    };
    let ours = ours.as_ref().unwrap();
    let [p50, p99] = alone(ours, 5000);
    let peer = theirs.as_ref().map(|theirs| alone(theirs, 10));
    let both = |[p50, p99]: [f64; 2]| format!("{p50:.0} / {p99:.0} ms");
    let what = "`GET /api/health`: p50 / p99";
    row(
        what,
        &format!("{p50:.3} / {p99:.3} ms"),
        peer.map(both),
        peer.map(|peer| peer[0] / p50),
        "under 2 ms",
    );
    let [p50, p99, longest] = busy(ours, 20, Duration::ZERO);
    let peer = theirs.as_ref().map(|theirs| busy(theirs, 1, Duration::from_millis(500))[2]);
    row(
        "the same during a large load: p50 / p99 / longest",
        &format!("{p50:.3} / {p99:.3} / {longest:.1} ms"),
        peer.map(|peer| format!("{peer:.0} ms")),
        peer.map(|peer| peer / longest),
        "under 2 ms",
    );
}

/// What a server holds before and after a large load.
fn memory(setting: &Setting) {
    let measure = |server: &Server| {
        let before = server.memory_mib("VmRSS:");
        order(server, setting, &setting.large[0]);
        std::thread::sleep(Duration::from_millis(500));
        [before, server.memory_mib("VmRSS:"), server.memory_mib("VmHWM:")]
    };
    let ours = measure(&setting.ours());
    let theirs = setting.theirs().as_ref().map(measure);
    let show = |[before, after, peak]: [f64; 3]| format!("{before:.0} / {after:.0} / {peak:.0} MiB");
    let ratio = theirs.map(|theirs| (theirs[1] - theirs[0]) / (ours[1] - ours[0]));
    let what = "memory before / after / at most during the load of large.usdz (ratio: of what it added)";
    row(what, &show(ours), theirs.map(show), ratio, "under 100 MB");
}

/// Six cameras of the sample town, drawn here.
fn embedded() {
    let server = Server::neuro(&["--scenario", "scenes/town.usdz", "--frame-cache", "0"]);
    let mut client = Client::to(&server);
    let scenario = serde_json::from_slice::<Value>(&client.get("/api/scenario").1).unwrap();
    let start = scenario["time_range"]["start_us"].as_i64().unwrap();
    let cameras = serde_json::from_slice::<Value>(&client.get("/api/cameras").1).unwrap();
    let mut times = Vec::new();
    for turn in 0..110 {
        let order = json!({
            "timestamp_us": start + turn * 100_000,
            "camera_ids": cameras["cameras"].as_array().unwrap().iter().take(6).collect::<Vec<_>>(),
            "resolution_scale": 0.25,
        });
        let begin = Instant::now();
        assert_eq!(client.post("/api/render", &order).0, 200);
        if turn >= 10 {
            times.push(begin.elapsed());
        }
    }
    let shown = format!("{:.1} / {:.1} ms", quantile_ms(&mut times, 0.5), quantile_ms(&mut times, 0.99));
    row(
        "six cameras of scenes/town.usdz at 480x270, drawn by neuro: p50 / p99",
        &shown,
        None,
        None,
        "under 60 ms",
    );
}

//! The full-size network on the processor, against PyTorch on the same weights in one interleaved run.
//!
//! `cargo bench --bench full_size` measures neuro alone; `BENCH_TORCH_PYTHON=/path/to/python` adds PyTorch.
//! Every implementation runs in its own process and answers one line a step, so that memory is its own and the
//! steps can take turns. CPU-seconds count all threads and hardly move on a noisy machine.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::print_stdout)]

use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::time::Instant;

use neuro::policy::backend::{Backend, CancelFlag, Dtype, Input, Touch};
use neuro::policy::config::ModelConfig;
use neuro::policy::cpu::{CpuBackend, CpuOptions};
use neuro::policy::random::{Like, write_random};
use neuro::policy::weights::{Stored, Weights};

const SEED: u64 = 7;

fn main() {
    let arguments: Vec<String> = std::env::args().collect();
    match arguments.iter().position(|argument| argument == "--child") {
        Some(at) => child(Path::new(&arguments[at + 1]), arguments[at + 2].parse().unwrap()),
        None if arguments.iter().any(|argument| argument == "--test") => {}
        None => compare(),
    }
}

/// What one step cost.
#[derive(Clone, Debug)]
struct Step {
    cpu_seconds: f64,
    wall_seconds: f64,
    action: Vec<f32>,
}

/// One implementation in its own process.
struct Peer {
    name: String,
    child: Child,
    input: ChildStdin,
    output: BufReader<ChildStdout>,
    ready: String,
}

impl Peer {
    fn start(name: &str, command: &mut Command) -> Self {
        let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
        let input = child.stdin.take().unwrap();
        let mut output = BufReader::new(child.stdout.take().unwrap());
        let mut ready = String::new();
        output.read_line(&mut ready).unwrap();
        assert!(ready.starts_with("ready"), "{name}: {ready}");
        Self { name: name.to_owned(), child, input, output, ready }
    }

    fn step(&mut self, variant: &str) -> Step {
        writeln!(self.input, "step {variant}").unwrap();
        let mut line = String::new();
        self.output.read_line(&mut line).unwrap();
        let numbers: Vec<f64> = line.split_whitespace().skip(1).map(|word| word.parse().unwrap()).collect();
        Step {
            cpu_seconds: numbers[0],
            wall_seconds: numbers[1],
            action: numbers[2..].iter().map(|value| *value as f32).collect(),
        }
    }

    fn peak_bytes(&self) -> u64 {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.child.id())).unwrap_or_default();
        let line = status.lines().find(|line| line.starts_with("VmHWM:")).unwrap_or("VmHWM: 0 kB");
        line.split_whitespace().nth(1).and_then(|word| word.parse::<u64>().ok()).unwrap_or(0) * 1024
    }
}

impl Drop for Peer {
    fn drop(&mut self) {
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

fn threads() -> usize {
    std::env::var("BENCH_THREADS").ok().and_then(|text| text.parse().ok()).unwrap_or(2)
}

fn rounds() -> usize {
    std::env::var("BENCH_ROUNDS").ok().and_then(|text| text.parse().ok()).unwrap_or(3)
}

/// The model whose weights all implementations share; written once, kept for the next run.
fn model(like: Like) -> PathBuf {
    let root = std::env::var_os("BENCH_MODELS")
        .map_or_else(|| Path::new(env!("CARGO_MANIFEST_DIR")).join("target/bench-models"), PathBuf::from);
    let dir = root.join(like.name());
    if !dir.join("config.json").exists() {
        std::fs::create_dir_all(&root).unwrap();
        println!("writing random weights to {}", dir.display());
        write_random(like, Stored::Bf16, SEED, &dir).unwrap();
    }
    dir
}

fn neuro(dir: &Path, dtype: &str) -> Peer {
    let mut command = Command::new(std::env::current_exe().unwrap());
    command.arg("--child").arg(dir).arg(dtype);
    Peer::start(&format!("neuro {dtype}"), &mut command)
}

fn torch(dir: &Path, dtype: &str) -> Option<Peer> {
    let python = std::env::var_os("BENCH_TORCH_PYTHON")?;
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("benches/peers/torch_vtla.py");
    let mut command = Command::new(python);
    command.arg(script).arg(dir).args(["--dtype", dtype, "--threads", &threads().to_string()]);
    Some(Peer::start(&format!("PyTorch {dtype}"), &mut command))
}

fn median(steps: &[Step], of: fn(&Step) -> f64) -> f64 {
    let mut values: Vec<f64> = steps.iter().map(of).collect();
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}

fn compare() {
    let dir = model(Like::Bunny2b);
    println!("\n{} threads, {} rounds, medians; CPU-seconds of all threads\n", threads(), rounds());
    println!("| implementation | CPU-s a step | wall s | peak GB | weights GB |");
    println!("|---|---|---|---|---|");
    let mut results: Vec<(String, Vec<Step>)> = Vec::new();
    for dtype in ["bf16", "f32", "int8"] {
        let mut ours = neuro(&dir, dtype);
        let mut theirs = if dtype == "int8" { None } else { torch(&dir, dtype) };
        let mut lines: Vec<(String, Vec<Step>)> = vec![(ours.name.clone(), Vec::new())];
        for variant in ["upstream", "lean"] {
            if let Some(theirs) = &theirs {
                lines.push((format!("{} {variant}", theirs.name), Vec::new()));
            }
        }
        for round in 0..=rounds() {
            let mut steps = vec![ours.step("lean")];
            if let Some(theirs) = &mut theirs {
                steps.push(theirs.step("upstream"));
                steps.push(theirs.step("lean"));
            }
            // The first round warms caches and pages.
            if round > 0 {
                lines.iter_mut().zip(steps).for_each(|(line, step)| line.1.push(step));
            }
        }
        for (index, (name, steps)) in lines.iter().enumerate() {
            let (cpu, wall) =
                (median(steps, |step| step.cpu_seconds), median(steps, |step| step.wall_seconds));
            let (peak, weights) = match index {
                0 => (ours.peak_bytes(), ours.ready.split_whitespace().nth(1).unwrap_or("0").to_owned()),
                _ => (theirs.as_ref().map_or(0, Peer::peak_bytes), "0".to_owned()),
            };
            let weights = weights.parse::<f64>().unwrap_or(0.0);
            println!("| {name} | {cpu:.2} | {wall:.2} | {:.2} | {:.2} |", peak as f64 / 1e9, weights / 1e9);
        }
        results.extend(lines);
    }
    println!("\n| ratio of CPU-seconds | measured | bound |\n|---|---|---|");
    for (ours, theirs, bound) in [
        ("neuro bf16", "PyTorch bf16 upstream", 0.5),
        ("neuro bf16", "PyTorch bf16 lean", 0.95),
        ("neuro f32", "PyTorch f32 lean", 0.8),
        ("neuro int8", "PyTorch bf16 lean", 0.5),
    ] {
        let find = |name: &str| results.iter().find(|(known, _)| known == name);
        if let (Some((_, a)), Some((_, b))) = (find(ours), find(theirs)) {
            let ratio = median(a, |step| step.cpu_seconds) / median(b, |step| step.cpu_seconds);
            println!("| {ours} / {theirs} | {ratio:.3} | {bound} |");
            let off = a[0].action.iter().zip(&b[0].action).map(|(x, y)| (x - y).abs()).fold(0.0, f32::max);
            println!("| largest difference of their actions (z-scores) | {off:.4} | |");
        }
    }
    sentences();
    warm_start(&dir);
}

/// An unchanged picture under a new sentence, for a model that reads the last token.
fn sentences() {
    let dir = model(Like::Bunny2bLastToken);
    let mut ours = neuro(&dir, "bf16");
    let first = ours.step("sentence");
    let later: Vec<Step> = (0..rounds().max(3)).map(|_| ours.step("sentence")).collect();
    let again = median(&later, |step| step.cpu_seconds);
    println!("\n| unchanged picture, new sentence (bf16) | CPU-s |\n|---|---|");
    println!("| first | {:.2} |\n| later | {again:.3} |", first.cpu_seconds);
    println!("| ratio | {:.1} |", first.cpu_seconds / again);
}

/// From start of the process to the first answer, packed weights kept from before.
fn warm_start(dir: &Path) {
    drop(neuro(dir, "bf16"));
    let start = Instant::now();
    let mut ours = neuro(dir, "bf16");
    let ready = start.elapsed().as_secs_f64();
    let first = ours.step("lean").wall_seconds;
    let second = ours.step("lean").wall_seconds;
    println!("\n| warm start (bf16) | s |\n|---|---|");
    println!(
        "| process start to loaded | {ready:.2} |\n| first step | {first:.2} |\n| a later step | {second:.2} |"
    );
}

/// Answers `step` lines with the cpu backend.
fn child(dir: &Path, dtype: Dtype) {
    let config = ModelConfig::load(dir).unwrap();
    let weights = Weights::open(dir).unwrap();
    let options = CpuOptions {
        threads: Some(threads()),
        packed_dir: std::env::var_os("BENCH_UNMAPPED").is_none().then(|| dir.join(".neuro")),
        ..CpuOptions::new(dtype)
    };
    let mut backend = CpuBackend::load(&config, weights, &options).unwrap();
    println!("ready {} {}", backend.info().weight_bytes, backend.info().kernels);
    let side = config.vision.image_size;
    let pixel_values: Vec<f32> = (0..3 * side * side).map(|i| (i as f32 * 0.37).sin()).collect();
    let mut sentence = 0u32;
    for line in std::io::stdin().lines().map_while(Result::ok) {
        let new_words = line.ends_with("sentence");
        sentence += u32::from(new_words);
        let input = Input {
            pixel_values: pixel_values.clone(),
            touch: Touch::Black,
            token_ids: (0..12).map(|word| 1 + word + 13 * sentence).collect(),
            cancel: CancelFlag::default(),
        };
        let (cpu, wall) = (cpu_seconds(), Instant::now());
        let answer = backend.infer(std::slice::from_ref(&input)).remove(0).unwrap();
        let (cpu, wall) = (cpu_seconds() - cpu, wall.elapsed().as_secs_f64());
        let action: Vec<String> = answer.action_norm.iter().map(ToString::to_string).collect();
        println!("step {cpu:.4} {wall:.4} {}", action.join(" "));
    }
}

fn cpu_seconds() -> f64 {
    neuro::telemetry::process::read().cpu_seconds.unwrap_or(0.0)
}

//! The built-in renderer: six cameras of the sample town at 480x270 together, one picture drawn, and its JPEG.

#![allow(clippy::expect_used, reason = "a bench that cannot make its input should stop")]

use std::hint::black_box;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use criterion::{Criterion, criterion_group, criterion_main};
use futures_util::future::join_all;
use neuro::render::builtin::{Builtin, Cancel, RayTables, SceneView, draw};
use neuro::render::{Encoding, Renderer, Shot};
use neuro::scene::{LoadLimits, Scenario};

const RESOLUTION: [u32; 2] = [480, 270];
/// From the start of the scenario, in microseconds.
const INSTANT_US: i64 = 4_000_000;
/// A plausible time to read a sensor's rows.
const SHUTTER_US: i64 = 30_000;

fn shots(scenario: &Arc<Scenario>) -> Vec<Shot> {
    let shutter_us = [INSTANT_US, INSTANT_US + SHUTTER_US].map(|us| scenario.start_us + us);
    let world_from_rig = shutter_us.map(|us| scenario.ego.pose_at(us).expect("within the recording"));
    let shot = |camera: &neuro::scene::Camera| Shot {
        scene_id: scenario.sequence_id.clone(),
        scenario: Some(Arc::clone(scenario)),
        camera_name: camera.logical_name.clone(),
        camera: camera.model.clone(),
        shutter_us: shutter_us.map(|us| u64::try_from(us).expect("after 1970")),
        world_from_sensor: world_from_rig.map(|pose| pose.compose(&camera.rig_from_sensor)),
        objects: None,
        resolution: RESOLUTION,
        encoding: Encoding::Jpeg(85.0),
    };
    scenario.cameras.iter().take(6).map(shot).collect()
}

fn render(criterion: &mut Criterion) {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("scenes/town.usdz");
    let scenario = Arc::new(Scenario::open(&path, &LoadLimits::default()).expect("the sample scenario"));
    let shots = shots(&scenario);
    let mut group = criterion.benchmark_group("builtin");
    group.measurement_time(Duration::from_secs(5)).sample_size(30);

    let threads = std::thread::available_parallelism().map_or(1, usize::from);
    let renderer = Builtin::new(threads).expect("threads");
    let runtime = tokio::runtime::Builder::new_current_thread().build().expect("a runtime");
    group.bench_function("six cameras to JPEG, 480x270", |bencher| {
        bencher.iter(|| {
            let answers = runtime.block_on(join_all(shots.iter().cloned().map(|shot| renderer.render(shot))));
            assert!(answers.iter().all(Result::is_ok));
        });
    });

    let one = rayon::ThreadPoolBuilder::new().num_threads(1).build().expect("a thread");
    let tables = RayTables::default();
    let shot = shots.first().expect("a camera");
    let draw_one = || {
        let view = SceneView::of(shot).expect("a scenario");
        draw(&view, shot, &tables, &Cancel::default()).expect("a picture")
    };
    group.bench_function("one camera on one thread, 480x270", |bencher| {
        bencher.iter(|| one.install(|| black_box(draw_one())));
    });
    let picture = one.install(draw_one);
    group.bench_function("JPEG of quality 85, 480x270", |bencher| {
        bencher.iter(|| black_box(picture.encode(Encoding::Jpeg(85.0))));
    });
    group.finish();
}

criterion_group!(benches, render);
criterion_main!(benches);

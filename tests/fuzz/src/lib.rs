//! What the scenario targets share: an archive around one member, and a walk through what was read.

use std::path::Path;
use std::sync::OnceLock;

use neuro::scene::{LoadLimits, Scenario};

/// Small enough that a hundred a second can be read.
#[must_use]
pub fn limits() -> LoadLimits {
    LoadLimits { member_bytes: 4 << 20, tracks: 1000, poses: 20_000, ..LoadLimits::default() }
}

/// Asks a scenario for poses, tracks and projections at instants in and around its range.
pub fn walk(scenario: &Scenario) {
    let (start_us, end_us) = (scenario.start_us, scenario.end_us);
    assert!(start_us <= end_us);
    let middle_us = start_us + (end_us - start_us) / 2;
    for at_us in [i64::MIN, start_us, middle_us, end_us, i64::MAX] {
        if let Some(pose) = scenario.ego.pose_at(at_us) {
            assert!(pose.translation_m.is_finite() && pose.rotation.is_finite());
        }
        for (_, track, pose) in scenario.tracks.alive_at(at_us) {
            assert!(pose.translation_m.is_finite(), "{}", track.id);
        }
    }
    for camera in &scenario.cameras {
        let [width, height] = camera.model.resolution.map(f64::from);
        if let Some(ray) = camera.model.unproject([width / 2.0, height / 2.0].into()) {
            assert!(ray.is_finite(), "{}", camera.key);
            drop(camera.model.project(ray));
        }
    }
    assert!(scenario.ego.sample(start_us, end_us, 10_000).take(100).count() <= 100);
}

/// Reads a small sound scenario with `text` in place of one of its members.
pub fn member(name: &str, text: &[u8]) {
    static SOUND: OnceLock<Vec<(String, Vec<u8>)>> = OnceLock::new();
    let sound = SOUND.get_or_init(|| {
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../fixtures/scenario/data/tiny.usdz");
        let mut archive = zip::ZipArchive::new(std::fs::File::open(path).expect("the fixture")).expect("an archive");
        (0..archive.len())
            .map(|index| {
                let mut file = archive.by_index(index).expect("a member");
                let mut bytes = Vec::new();
                std::io::copy(&mut file, &mut bytes).expect("its bytes");
                (file.name().expect("a name").into_owned(), bytes)
            })
            .collect()
    });
    let mut writer = zip::ZipWriter::new(std::io::Cursor::new(Vec::new()));
    let stored = zip::write::SimpleFileOptions::default().compression_method(zip::CompressionMethod::Stored);
    for (file, bytes) in sound {
        writer.start_file(file, stored).expect("a header");
        std::io::Write::write_all(&mut writer, if file == name { text } else { bytes }).expect("bytes");
    }
    let bytes = writer.finish().expect("an archive").into_inner();
    if let Ok(scenario) = Scenario::from_bytes(&bytes, Path::new("fuzz.usdz"), &limits()) {
        walk(&scenario);
    }
}

//! `neuro scene export` as a shell sees it.

use std::fs;
use std::path::Path;
use std::process::Stdio;
use std::time::{Duration, Instant};

use crate::shell::{Ended, Signal, neuro, run, signal};

const SCENE: &str = "tests/fixtures/scenario/data/drive.usdz";

fn export(out: &Path, flags: &[&str]) -> Ended {
    let out = out.to_str().unwrap();
    let mut all = vec!["scene", "export", SCENE, "--out", out, "--scale", "0.05", "--end", "0.3"];
    all.extend(flags);
    run(&all)
}

fn names(folder: &Path) -> Vec<String> {
    let mut names: Vec<_> = fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    names.sort();
    names
}

#[test]
fn every_format_is_written_under_the_name_asked_for() {
    let folder = tempfile::tempdir().unwrap();
    for (name, format) in [("a.mcap", "mcap"), ("a.csv", "csv"), ("a.zip", "png"), ("pictures", "png")] {
        let ended = export(&folder.path().join(name), &["--format", format]);
        assert_eq!((ended.code, ended.err.as_str()), (Some(0), ""), "{name}");
        assert!(ended.out.contains("4 instants"), "{}", ended.out);
    }
    assert_eq!(names(folder.path()), ["a.csv", "a.mcap", "a.zip", "pictures"]);
    let mcap = fs::read(folder.path().join("a.mcap")).unwrap();
    assert!(mcap::Summary::read(&mcap).unwrap().is_some());
    let pictures = folder.path().join("pictures");
    let cameras: Vec<_> = names(&pictures).into_iter().filter(|name| name != "export.json").collect();
    assert_eq!(cameras.len(), 6);
    assert!(cameras.iter().all(|camera| names(&pictures.join(camera)).len() == 4));
}

#[test]
fn what_is_there_is_replaced_only_when_told_to() {
    let folder = tempfile::tempdir().unwrap();
    let out = folder.path().join("poses.csv");
    fs::write(&out, "mine").unwrap();
    let refused = export(&out, &["--format", "csv"]);
    assert_eq!(refused.code, Some(2));
    assert!(refused.err.contains("exists; --overwrite replaces it"), "{}", refused.err);
    assert_eq!(fs::read_to_string(&out).unwrap(), "mine");
    assert_eq!(export(&out, &["--format", "csv", "--overwrite"]).code, Some(0));
    assert!(fs::read_to_string(&out).unwrap().starts_with("timestamp_us,entity"));
}

#[test]
fn a_folder_that_no_export_made_is_never_replaced() {
    let folder = tempfile::tempdir().unwrap();
    let out = folder.path().join("pictures");
    fs::create_dir(&out).unwrap();
    assert_eq!(export(&out, &["--format", "png", "--overwrite"]).code, Some(0), "an empty one may be");
    assert_eq!(export(&out, &["--format", "png", "--overwrite"]).code, Some(0), "an export may be");
    fs::remove_file(out.join("export.json")).unwrap();
    let refused = export(&out, &["--format", "png", "--overwrite"]);
    assert_eq!(refused.code, Some(2));
    assert!(refused.err.contains("not replaced"), "{}", refused.err);
    assert_eq!(names(&out).len(), 6);
}

#[test]
fn an_interrupted_export_leaves_nothing() {
    for (name, format) in [("a.mcap", "mcap"), ("pictures", "png")] {
        let folder = tempfile::tempdir().unwrap();
        let out = folder.path().join(name);
        let mut command = neuro();
        command.args([
            "scene",
            "export",
            SCENE,
            "--format",
            format,
            "--scale",
            "1",
            "--rate-hz",
            "100",
            "--out",
        ]);
        let child = command.arg(&out).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        let deadline = Instant::now() + Duration::from_secs(60);
        while names(folder.path()).is_empty() {
            assert!(Instant::now() < deadline, "it never began");
            std::thread::sleep(Duration::from_millis(10));
        }
        signal(child.id(), Signal::Int);
        let ended = Ended::from(child.wait_with_output().unwrap());
        assert_eq!(ended.code, Some(1));
        assert!(ended.err.contains("SIGINT: nothing was written"), "{}", ended.err);
        assert_eq!(names(folder.path()), Vec::<String>::new());
    }
}

#[test]
fn a_renderer_that_is_away_leaves_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let ended = export(&folder.path().join("a.mcap"), &["--format", "mcap", "--nurec", "127.0.0.1:9"]);
    assert_eq!(ended.code, Some(1));
    assert!(ended.err.contains("NuRec at 127.0.0.1:9 cannot be reached"), "{}", ended.err);
    assert_eq!(names(folder.path()), Vec::<String>::new());
}

#[test]
fn flags_that_make_no_sense_are_told_by_what_is_wrong() {
    let folder = tempfile::tempdir().unwrap();
    let out = folder.path().join("a.mcap");
    for (flags, expected) in [
        (["--cameras", "nose"], "there is no camera \"nose\"; the scenario has camera_"),
        (["--rate-hz", "0"], "the rate is 0"),
        (["--start", "500"], "has nothing of the scenario"),
    ] {
        let ended = export(&out, &[&["--format", "mcap"], &flags[..]].concat());
        assert_eq!(ended.code, Some(2), "{flags:?}");
        assert!(ended.err.contains(expected), "{}", ended.err);
    }
}

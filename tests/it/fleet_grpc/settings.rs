//! The command's own manners: settings, the data folder, its start and its end.

use std::time::{Duration, Instant};

use super::harness::{Fleet, NOBODY, orchestrate};
use crate::shell::{Ended, Signal, run, signal};

#[test]
fn check_prints_what_is_in_effect_without_secrets() {
    let folder = tempfile::tempdir().unwrap();
    let text = "[control]\nsecret = \"hunter2hunter2hunter2\"\n[sessions]\nparallel_envs = 3\n";
    std::fs::write(folder.path().join("fleet.toml"), text).unwrap();
    let ended: Ended = orchestrate(folder.path()).arg("--check").output().unwrap().into();
    assert_eq!(ended.code, Some(0), "{}", ended.err);
    assert!(
        ended.out.contains("parallel_envs = 3") && ended.out.contains("lease_ms = 15000"),
        "{}",
        ended.out
    );
    assert!(ended.out.contains("role = \"trainer\""), "the usual pools are in effect: {}", ended.out);
    assert!(!ended.out.contains("hunter2") && ended.out.contains("<redacted>"), "{}", ended.out);
    assert!(!folder.path().join("data").exists(), "checking leaves nothing behind");
}

#[test]
fn a_typo_in_the_settings_ends_with_its_line() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("fleet.toml"), "[queue]\npatience = 3\n").unwrap();
    let ended: Ended = orchestrate(folder.path()).output().unwrap().into();
    assert_eq!(ended.code, Some(2), "{}", ended.err);
    assert!(ended.err.contains("fleet.toml:2: `queue.patience`: unknown field"), "{}", ended.err);
    assert_eq!(ended.err.lines().count(), 1, "{}", ended.err);
    let missing = run(&["orchestrate", "--config", "no/such.toml"]);
    assert_eq!(missing.code, Some(2));
    assert!(missing.err.contains("no/such.toml"), "{}", missing.err);
}

#[test]
fn a_certificate_that_is_not_there_is_named() {
    let folder = tempfile::tempdir().unwrap();
    let text = "[access]\ntls_cert = \"no.pem\"\ntls_key = \"no.key\"\n";
    std::fs::write(folder.path().join("fleet.toml"), text).unwrap();
    let ended: Ended = orchestrate(folder.path()).arg("--check").output().unwrap().into();
    assert_eq!(ended.code, Some(2));
    assert!(ended.err.contains("access.tls_cert") && ended.err.contains("no.pem"), "{}", ended.err);
}

#[test]
fn two_orchestrators_do_not_share_a_data_folder() {
    let fleet = Fleet::start(NOBODY);
    let ended: Ended = orchestrate(fleet.folder.path())
        .args(["--listen", "127.0.0.1:0", "--http", "127.0.0.1:0"])
        .output()
        .unwrap()
        .into();
    assert_eq!(ended.code, Some(2), "{}", ended.err);
    assert!(ended.err.contains(&format!("another orchestrator (process {})", fleet.pid())), "{}", ended.err);
}

#[test]
fn an_address_that_is_taken_is_named() {
    let fleet = Fleet::start(NOBODY);
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("fleet.toml"), NOBODY).unwrap();
    let ended: Ended = orchestrate(folder.path())
        .args(["--listen", &fleet.grpc, "--http", "127.0.0.1:0"])
        .output()
        .unwrap()
        .into();
    assert_eq!(ended.code, Some(4), "{}", ended.err);
    assert!(ended.err.contains("--listen") && ended.err.contains(&fleet.grpc), "{}", ended.err);
}

#[test]
fn it_starts_within_a_second_and_ends_in_order_at_the_first_signal() {
    let begun = Instant::now();
    let mut fleet = Fleet::start(NOBODY);
    assert!(begun.elapsed() < Duration::from_secs(1), "{:?}", begun.elapsed());
    let begun = Instant::now();
    signal(fleet.pid(), Signal::Int);
    let (code, said) = fleet.wait();
    assert_eq!(code, Some(0), "{said}");
    assert!(begun.elapsed() < Duration::from_secs(3), "{:?}", begun.elapsed());
    assert!(said.contains("the store is closed"), "{said}");
    assert!(!said.contains("ANYBODY"), "loopback needs no warning: {said}");
}

#[test]
fn whoever_opens_it_to_the_world_is_warned() {
    let start = |settings: &str| {
        let folder = tempfile::tempdir().unwrap();
        let mut fleet = Fleet::start_in(folder, settings, &["--listen", "0.0.0.0:0"]);
        signal(fleet.pid(), Signal::Term);
        fleet.wait().1
    };
    let said = start(NOBODY);
    assert!(said.contains("ANYBODY WHO REACHES 0.0.0.0:"), "{said}");
    let said = start(&format!("{NOBODY}[access]\nopen = true\n"));
    assert!(!said.contains("ANYBODY"), "{said}");
    let key = "[[access.key]]\nkey = \"key-of-root\"\nrole = \"admin\"\n";
    let said = start(&format!("{NOBODY}{key}"));
    assert!(!said.contains("ANYBODY"), "{said}");
}

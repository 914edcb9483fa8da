//! An agent that is killed, and the next one that finds everything again. The first life is a process of its own: this test
//! program, called with the one test that plays it.

use std::io::{BufRead as _, BufReader};
use std::process::Stdio;

use super::super::run::Run;
use super::*;
use crate::agent::driver::Observed;
use crate::agent::settings::AgentSettings;

const LIFE: &str = "NEURO_TEST_LIFE";

/// Plays a life that is killed; does nothing when it is not called for that.
#[tokio::test(flavor = "multi_thread")]
async fn a_life_that_ends_in_its_middle() {
    let Some(data) = std::env::var_os(LIFE) else { return };
    let yard = Yard::at(Path::new(&data), AgentSettings::default());
    let line = "stty -echo; i=0; while :; do i=$((i+1)); echo count $i; sleep 0.01; done & while read x; do echo got $x; done";
    let (ground, handle) = yard.started("tty", terminal(line)).await;
    let mut console = yard.driver.console(&ground, &handle).await.unwrap();
    said(&mut console, "count 20").await;
    let mut others = Vec::new();
    for (id, line) in [("plain", "sleep 1000"), ("ends", "sleep 1.5; exit 5")] {
        others.push(yard.started(id, shell(line)).await.1);
    }
    println!("\nHANDLES {}", serde_json::to_string(&[&handle, &others[0], &others[1]]).unwrap());
    std::future::pending::<()>().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn after_a_kill_everything_runs_on_and_is_found_with_console_and_exit() {
    if !wanted() {
        return;
    }
    let folder = tempfile::Builder::new().prefix("nv").tempdir().unwrap();
    let mut life = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "--nocapture", "--test-threads", "1"])
        .arg(concat!(module_path!(), "::a_life_that_ends_in_its_middle").split_once("::").unwrap().1)
        .env(LIFE, folder.path())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let lines = BufReader::new(life.stdout.take().unwrap()).lines().map(Result::unwrap);
    let handles = lines.filter_map(|line| line.strip_prefix("HANDLES ").map(str::to_owned)).next().unwrap();
    life.kill().unwrap();
    life.wait().unwrap();
    let handles: Vec<Handle> = serde_json::from_str(&handles).unwrap();

    let mut yard = Yard::at(folder.path(), AgentSettings::default());
    yard._folder = Some(folder);
    let grounds = ["tty", "plain", "ends"]
        .map(|id| yard.ground(id, if id == "tty" { terminal("") } else { shell("") }));
    let since = Instant::now();
    for (ground, handle) in grounds.iter().zip(&handles) {
        let found = yard.driver.recover(ground, Some(handle)).await.unwrap();
        assert_eq!(found, Some((handle.clone(), Observed::Running)), "{}", ground.id);
        let unwritten = yard.driver.recover(ground, None).await.unwrap();
        assert_eq!(
            unwritten,
            Some((handle.clone(), Observed::Running)),
            "{}: its handle was not written",
            ground.id
        );
    }
    timed("three found, each twice", since, ());

    let mut console = yard.driver.console(&grounds[0], &handles[0]).await.unwrap();
    let first = console.first;
    let text = said(&mut console, "count 100\r\n").await;
    assert_eq!(first, 0, "the ring holds all of it");
    let counted = text.split_whitespace().filter_map(|word| word.parse::<u32>().ok());
    assert!(counted.eq(1..=text.matches("count").count() as u32), "not every number once: {text}");
    keys(&console, "again\n").await;
    said(&mut console, "got again").await;

    let exit = yard.driver.ended(&grounds[2], &handles[2]).await.unwrap();
    assert_eq!((exit.code, exit.unseen), (5, false));
    for (ground, handle) in grounds.iter().zip(&handles) {
        yard.end(ground, handle).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_exit_while_nobody_looked_is_known_and_one_without_its_shim_is_called_unseen() {
    let Some(yard) = yard() else { return };
    let (ground, handle) = yard.started("alone", shell("exit 6")).await;
    tokio::time::sleep(Duration::from_millis(500)).await;
    let Some((_, Observed::Ended(exit))) = yard.driver.recover(&ground, Some(&handle)).await.unwrap() else {
        panic!("it runs");
    };
    assert_eq!(exit.code, 6);
    yard.end(&ground, &handle).await;

    for (id, spec) in [("tty", terminal("sleep 1000")), ("pipes", shell("sleep 1000"))] {
        let (ground, handle) = yard.started(id, spec).await;
        let run = Run::of(&handle).unwrap();
        run.file.shim.signal(rustix::process::Signal::KILL).unwrap();
        let exit = yard.driver.ended(&ground, &handle).await.unwrap();
        assert_eq!((exit.code, exit.unseen), (255, true), "{id}");
        assert!(!run.file.init.runs(), "{id}: nobody would ever know how it ends");
        let again = yard.driver.recover(&ground, Some(&handle)).await.unwrap().map(|(_, observed)| observed);
        assert_eq!(again, Some(Observed::Ended(exit)), "{id}: asked again, the same answer");
        yard.end(&ground, &handle).await;
    }
}

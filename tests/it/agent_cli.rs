//! `neuro agent` as a shell sees it, with instances that have nothing behind them: what is refused, what the small client
//! says, how it ends.

use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::{Child, Stdio};

use crate::shell::{Ended, Signal, neuro, run, signal};

/// An agent, ended when it goes out of scope.
struct Agent {
    child: Child,
    url: String,
    metrics: String,
}

/// Puts an image into a data folder.
fn stock(data: &Path) {
    let root = tempfile::tempdir().unwrap();
    fs::write(root.path().join("sh"), "#!").unwrap();
    let from = root.path().to_str().unwrap();
    let flags =
        ["agent", "image", "import", "tool:1", from, "--format", "rootfs", "--data", data.to_str().unwrap()];
    let imported = run(&flags);
    assert_eq!(imported.code, Some(0), "{}", imported.err);
}

impl Agent {
    fn start(data: &Path) -> Self {
        let mut command = neuro();
        command
            .env("NEURO_AGENT", "http://127.0.0.1:9")
            .args(["agent", "--fake", "--listen", "127.0.0.1:0", "--metrics", "127.0.0.1:0", "--data"])
            .arg(data);
        let mut child = command.stdout(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap();
        let line = BufReader::new(child.stdout.take().unwrap()).lines().next().unwrap().unwrap();
        let said = line.strip_prefix("neuro agent listening on grpc://").unwrap();
        let (grpc, metrics) = said.split_once(' ').unwrap();
        Self { child, url: format!("http://{grpc}"), metrics: metrics.to_owned() }
    }

    fn ask(&self, arguments: &[&str]) -> Ended {
        neuro().env("NEURO_AGENT", &self.url).arg("agent").args(arguments).output().unwrap().into()
    }

    fn asked(&self, arguments: &[&str]) -> String {
        let ended = self.ask(arguments);
        assert_eq!(ended.code, Some(0), "{arguments:?}: {}{}", ended.out, ended.err);
        ended.out
    }
}

impl Drop for Agent {
    fn drop(&mut self) {
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

#[test]
fn settings_that_cannot_be_are_refused_with_their_place() {
    let folder = tempfile::tempdir().unwrap();
    let config = folder.path().join("agent.toml");
    fs::write(folder.path().join("keys"), "short\n").unwrap();
    fs::write(&config, format!("[access]\nkeys = {:?}\n", folder.path().join("keys"))).unwrap();
    let refused = run(&["agent", "--fake", "--config", config.to_str().unwrap()]);
    assert_eq!(refused.code, Some(2));
    assert!(refused.err.contains("access.keys") && refused.err.contains("line 1"), "{}", refused.err);

    fs::write(&config, "[limits]\npid = 1\n").unwrap();
    let refused = run(&["agent", "serve", "--config", config.to_str().unwrap()]);
    assert_eq!(refused.code, Some(2));
    assert!(refused.err.contains("agent.toml:2: `limits.pid`"), "{}", refused.err);
    assert_eq!(run(&["agent", "ls", "--agent", "http://127.0.0.1:9"]).code, Some(1));
    assert_eq!(run(&["agent", "ls", "--agent", "nowhere"]).code, Some(2));
}

#[tokio::test]
async fn an_instance_is_made_shown_stopped_and_removed_from_the_shell() {
    let folder = tempfile::tempdir().unwrap();
    stock(&folder.path().join("data"));
    let agent = Agent::start(&folder.path().join("data"));
    let flags = [
        "create", "box", "--image", "tool:1", "--memory", "64m", "--env", "A=b", "--volume", "v:/v:ro",
        "--start",
    ];
    assert_eq!(agent.asked(&[&flags[..], &["--", "sleep", "9"]].concat()), "box is running\n");
    let listed = agent.asked(&["ls"]);
    assert!(listed.starts_with("ID ") && listed.contains("box") && listed.contains("running"), "{listed}");
    let stats = agent.asked(&["stats", "--once", "--json"]);
    assert!(stats.contains("\"id\":\"box\"") && stats.contains("cpu_usage_percent"), "{stats}");

    let page = reqwest::get(format!("{}/metrics", agent.metrics)).await.unwrap().text().await.unwrap();
    assert!(page.contains("neuro_agent_instances{kind=\"container\",state=\"running\"} 1"), "{page}");
    assert!(page.contains("neuro_agent_operations_total{operation=\"create\",outcome=\"ok\"} 1"), "{page}");

    let again = agent.ask(&["create", "box", "--image", "tool:2"]);
    assert_eq!(again.code, Some(1), "{}{}", again.out, again.err);
    let wrong = agent.ask(&["create", "b/x", "--image", "tool:1"]);
    assert_eq!((wrong.code, wrong.err.lines().count()), (Some(2), 1), "{}", wrong.err);
    assert!(wrong.err.contains("instance_id"), "{}", wrong.err);

    let from = folder.path().join("wish.json");
    fs::write(&from, r#"{ "instance_id": "other", "type": "container", "spec": { "image": "tool:1" } }"#)
        .unwrap();
    agent.asked(&["create", "--from", from.to_str().unwrap(), "--cpus", "2"]);
    assert!(agent.asked(&["stop", "box", "--force"]).starts_with("box is stopped"));
    let idle = agent.ask(&["stats", "box", "--once"]);
    assert_eq!(idle.code, Some(1), "{}", idle.out);
    let stranger = agent.ask(&["stats", "nobody", "--once"]);
    assert!(stranger.code == Some(1) && stranger.err.contains("nobody"), "{} {}", stranger.out, stranger.err);
    assert_eq!(agent.asked(&["rm", "box", "--json"]).trim(), r#"{"id":"box","state":"gone"}"#);
    let mode = fs::metadata(folder.path().join("data")).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o700, "secrets of environments lie there");
    agent.asked(&["rm", "other", "--force"]);
    assert_eq!(agent.asked(&["ls", "--json"]), "");
    assert_eq!(agent.ask(&["rm", "box"]).code, Some(1));
}

#[test]
fn what_comes_from_a_pipe_is_typed_and_silence_ends_it() {
    let folder = tempfile::tempdir().unwrap();
    stock(&folder.path().join("data"));
    let agent = Agent::start(&folder.path().join("data"));
    agent.asked(&["create", "box", "--image", "tool:1", "--start"]);
    let mut command = neuro();
    command.env("NEURO_AGENT", &agent.url).args(["agent", "console", "box", "--quiet", "0.5"]);
    let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
    child.stdin.take().unwrap().write_all(b"hello\n").unwrap();
    let ended: Ended = child.wait_with_output().unwrap().into();
    assert_eq!(ended.code, Some(0), "{}", ended.err);
    assert!(ended.out.contains("hello"), "{:?}", ended.out);
    assert_eq!(agent.ask(&["console", "nobody"]).code, Some(1));
}

#[test]
fn it_ends_when_told_to_and_the_next_one_has_its_instances() {
    let folder = tempfile::tempdir().unwrap();
    let data = folder.path().join("data");
    stock(&data);
    let mut agent = Agent::start(&data);
    agent.asked(&["create", "box", "--image", "tool:1"]);
    let second = run(&["agent", "--fake", "--listen", "127.0.0.1:0", "--data", data.to_str().unwrap()]);
    assert!(second.code != Some(0) && second.err.contains("belongs to an agent that runs"), "{}", second.err);
    signal(agent.child.id(), Signal::Term);
    assert_eq!(agent.child.wait().unwrap().code(), Some(0));
    let next = Agent::start(&data);
    assert!(next.asked(&["ls"]).contains("box"));
}

#[test]
fn images_are_imported_listed_and_removed_and_what_is_used_stays() {
    let folder = tempfile::tempdir().unwrap();
    let data = folder.path().join("data");
    let root = folder.path().join("root");
    fs::create_dir_all(root.join("bin")).unwrap();
    fs::write(root.join("bin/sh"), "#!").unwrap();
    let image = |arguments: &[&str]| -> Ended {
        let mut command = neuro();
        command.env("NEURO_AGENT_DATA", &data).args(["agent", "image"]).args(arguments);
        command.output().unwrap().into()
    };
    let imported = image(&["import", "tool:1", root.to_str().unwrap(), "--format", "rootfs"]);
    assert_eq!(imported.code, Some(0), "{}", imported.err);
    assert!(imported.out.starts_with("tool:1 sha256:"), "{}", imported.out);
    assert!(image(&["ls"]).out.contains("tool:1"));
    let refused = image(&["import", "../x", root.to_str().unwrap(), "--format", "rootfs"]);
    assert_eq!((refused.code, refused.err.lines().count()), (Some(2), 1), "{}", refused.err);
    let refused = image(&["import", "disk", root.join("bin/sh").to_str().unwrap(), "--format", "qcow2"]);
    assert!(refused.code == Some(2) && refused.err.contains("no qcow2 disk"), "{}", refused.err);

    let agent = Agent::start(&data);
    agent.asked(&["create", "box", "--image", "tool:1"]);
    let used = image(&["rm", "tool:1"]);
    assert!(used.code == Some(1) && used.err.contains("in use"), "{}", used.err);
    agent.asked(&["rm", "box"]);
    assert_eq!(image(&["rm", "tool:1"]).code, Some(0));
    assert_eq!(image(&["ls", "--json"]).out, "");
}

//! Settings as `neuro config show` reports them.

use std::fs;

use crate::shell::{Ended, neuro, run};

fn line<'a>(ended: &'a Ended, key: &str) -> &'a str {
    let found = ended.out.lines().find(|line| line.starts_with(&format!("{key} = ")));
    found.unwrap_or_else(|| panic!("no {key} in\n{}\n{}", ended.out, ended.err))
}

#[test]
fn flags_beat_the_environment_which_beats_the_file_and_each_is_named() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("neuro.toml");
    fs::write(&file, "port = 7001\nqueue = 5\ndeadline = \"250ms\"\n").unwrap();
    let mut command = neuro();
    command.env("NEURO_CONFIG", &file).env("NEURO_QUEUE", "6").env("NEURO_DEADLINE", "300ms");
    let shown: Ended = command.args(["config", "show", "--deadline", "1s"]).output().unwrap().into();
    assert_eq!(shown.code, Some(0), "{}", shown.err);
    assert!(line(&shown, "port").starts_with("port = 7001 "));
    assert!(line(&shown, "port").ends_with("neuro.toml:1"));
    assert!(line(&shown, "queue").starts_with("queue = 6 "));
    assert!(line(&shown, "queue").ends_with("# environment NEURO_QUEUE"));
    assert!(line(&shown, "deadline").starts_with("deadline = \"1s\" "));
    assert!(line(&shown, "deadline").ends_with("# --deadline"));
    assert!(line(&shown, "host").ends_with("# default"));
}

#[test]
fn what_is_shown_is_a_file_that_means_the_same() {
    let first = run(&["config", "show", "--port", "9", "--cors", "http://a,http://b", "--keep-packed=false"]);
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("shown.toml");
    fs::write(&file, &first.out).unwrap();
    let second = run(&["config", "show", "--config", file.to_str().unwrap()]);
    assert_eq!(second.code, Some(0), "{}", second.err);
    let values = |ended: &Ended| -> Vec<String> {
        ended.out.lines().map(|line| line.split("  #").next().unwrap().trim().to_owned()).collect()
    };
    assert_eq!(values(&first), values(&second));
}

#[test]
fn a_wrong_setting_ends_with_code_2_and_one_line_that_says_where() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("neuro.toml");
    fs::write(&file, "host = \"::\"\nmax_boddy = 1\n").unwrap();
    let path = file.to_str().unwrap();
    for (arguments, expected) in [
        (
            vec!["serve", "--config", path],
            "neuro.toml:2: `max_boddy` is not a setting; did you mean `max_body`?",
        ),
        (vec!["serve", "--device", "gpu"], "--device: `device` is `gpu`, expected auto, cpu, cuda or cuda:N"),
        (vec!["serve", "--config", "/nowhere.toml"], "/nowhere.toml: cannot read the configuration file"),
        (vec!["config", "show", "--queue", "0"], "--queue: `queue` is `0`, expected more than 0"),
        (vec!["serve", "--log", "neuro=loud"], "log filter `neuro=loud`"),
    ] {
        let ended = run(&arguments);
        assert_eq!(ended.code, Some(2), "{arguments:?}: {}", ended.err);
        assert!(ended.err.contains(expected), "{arguments:?}: {}", ended.err);
        assert_eq!(ended.err.lines().count(), 1, "{}", ended.err);
    }
    let misspelt: Ended = neuro().env("NEURO_PROT", "1").args(["config", "show"]).output().unwrap().into();
    assert_eq!(misspelt.code, Some(2));
    assert!(misspelt.err.contains("did you mean `NEURO_PORT`?"), "{}", misspelt.err);
}

#[test]
fn a_token_is_never_printed() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("token");
    fs::write(&file, "s3cret-from-file\n").unwrap();
    let shown = run(&["config", "show", "--token", "s3cret", "--admin-token-file", file.to_str().unwrap()]);
    assert_eq!(shown.code, Some(0), "{}", shown.err);
    assert!(!shown.out.contains("s3cret"), "{}", shown.out);
    assert!(shown.out.contains("# token = <redacted>") && shown.out.contains("# admin_token = <redacted>"));
}

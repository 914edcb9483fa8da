//! Words, environment and volumes of containers.

use super::*;
use crate::proto::hypervisor::v1::VolumeMount;

/// Longest word.
const WORD: usize = 32 << 10;

fn env(name: &str, value: &str) -> Change {
    let pair = (name.to_owned(), value.to_owned());
    inside(move |spec| spec.env = [pair.clone()].into())
}

fn variables(count: usize) -> Change {
    inside(move |spec| spec.env = (0..count).map(|n| (format!("V{n}"), String::new())).collect())
}

fn mounts(paths: &[&str]) -> Change {
    let paths: Vec<String> = paths.iter().map(|path| (*path).to_owned()).collect();
    inside(move |spec| {
        let mount = |path: &String| VolumeMount {
            name: "cache".to_owned(),
            mount_path: path.clone(),
            read_only: true,
        };
        spec.volume_mounts = paths.iter().map(mount).collect();
    })
}

fn words(words: Vec<String>) -> Change {
    inside(move |spec| spec.command.clone_from(&words))
}

#[test]
fn every_wrong_word_variable_and_volume_is_named() {
    let text = |text: &str| text.to_owned();
    refused(
        InstanceType::Container,
        vec![
            ("spec.image", "is empty; expected the name", inside(|spec| spec.image.clear())),
            (
                "spec.image",
                "has 256 bytes; expected at most 255",
                inside(|spec| spec.image = "x".repeat(256)),
            ),
            ("spec.command", "expected at most 1024", words(vec![text("x"); 1025])),
            ("spec.command[0]", "is empty; expected a program", words(vec![text("")])),
            ("spec.command[1]", "NUL at 1", words(vec![text("a"), text("b\0")])),
            ("spec.command[0]", "expected at most 32768", words(vec!["x".repeat(WORD + 1)])),
            ("spec.args[0]", "NUL at 0", inside(|spec| spec.args = vec!["\0".to_owned()])),
            ("spec.env", "has 1025 entries; expected at most 1024", variables(1025)),
            ("spec.env[\"\"]", "no name of a variable; expected a letter or _", env("", "")),
            ("spec.env[\"A=B\"]", "no name", env("A=B", "")),
            ("spec.env[\"1A\"]", "no name", env("1A", "")),
            ("spec.env[\"A B\"]", "no name", env("A B", "")),
            ("spec.env[\"A\\0\"]", "no name", env("A\0", "")),
            ("spec.env[\"A\\n\"]", "no name", env("A\n", "")),
            ("spec.env[\"\u{c4}\"]", "no name", env("\u{c4}", "")),
            ("spec.env[\"A\"]", "NUL at 1", env("A", "b\0")),
            ("spec.env[\"AB\"]", "expected at most 32765", env("AB", &"x".repeat(WORD - 2))),
            ("spec.volume_mounts", "has 65 entries; expected at most 64", mounts(&["/a"; 65])),
            ("spec.volume_mounts[1].mount_path", "as that of entry 0", mounts(&["/a", "/a/"])),
        ],
    );
    let long = format!("spec.env[{:?}... of 256 bytes]", "x".repeat(80));
    refused(InstanceType::Container, vec![(long.as_str(), "no name", env(&"x".repeat(256), ""))]);
    for (path, expected) in [
        ("", "expected an absolute path"),
        ("/", "expected an absolute path other than /"),
        ("data", "expected an absolute path"),
        ("/a/../b", "without . and .."),
        ("/a/..", "without . and .."),
        ("/./a", "without . and .."),
        ("//a", "double slashes"),
        ("/a//", "double slashes"),
        ("/a\0", "control character at 2"),
        ("/a\nb", "control character at 2"),
        ("/proc", "expected a path outside /proc"),
        ("/proc/sys/kernel", "expected a path outside /proc"),
        ("/sys/", "expected a path outside /sys"),
        ("/dev/shm", "expected a path outside /dev"),
        (&format!("/{}", "x".repeat(1024)), "expected at most 1024"),
    ] {
        refused(
            InstanceType::Container,
            vec![("spec.volume_mounts[0].mount_path", expected, mounts(&[path]))],
        );
    }
}

#[test]
fn what_is_just_within_is_taken() {
    let numbered: Vec<String> = (0..64).map(|number| format!("/v{number}")).collect();
    let numbered: Vec<&str> = numbered.iter().map(String::as_str).collect();
    let specs = taken(
        InstanceType::Container,
        vec![
            inside(|spec| spec.image = "x".repeat(255)),
            words(vec!["x".to_owned(); 1024]),
            words(vec!["x".repeat(WORD)]),
            words(["sh", "-c", "echo one; echo two\n", ""].map(str::to_owned).to_vec()),
            variables(1024),
            env("_a.b-C9", "one\ntwo = 3, \u{e4}"),
            env("AB", &"x".repeat(WORD - 3)),
            mounts(&numbered),
            mounts(&["/isaac-sim/kit/cache/", "/procfs", "/a b,c:d", "/\u{e4}"]),
        ],
    );
    let paths: Vec<&str> = specs[8].mounts.iter().map(|mount| mount.path.as_str()).collect();
    assert_eq!(paths, ["/isaac-sim/kit/cache", "/procfs", "/a b,c:d", "/\u{e4}"]);
    assert!(specs[8].mounts.iter().all(|mount| mount.volume == "cache" && mount.read_only));
}

#[test]
fn the_longest_word_and_variable_are_taken_by_the_kernel() {
    let run = |word: usize, value: usize| {
        let mut program = std::process::Command::new("/bin/true");
        program.arg("x".repeat(word)).env("AB", "x".repeat(value)).status().is_ok()
    };
    assert!(run(WORD, WORD - 3));
}

#[test]
fn what_is_for_containers_is_refused_for_machines() {
    for kind in [InstanceType::Vm, InstanceType::Microvm] {
        refused(
            kind,
            vec![
                ("spec.command", "is for containers", words(vec!["sh".to_owned()])),
                ("spec.args", "is for containers", inside(|spec| spec.args = vec![String::new()])),
                ("spec.env", "is for containers", env("A", "b")),
                ("spec.volume_mounts", "is for containers", mounts(&["/a"])),
            ],
        );
    }
}

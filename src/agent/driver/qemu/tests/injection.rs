//! What a request can make of a command line: nothing but what it was asked for.

use std::path::PathBuf;

use proptest::prelude::*;
use serde_json::Value;

use super::command_line::{plan, words};
use crate::agent::driver::qemu::plan::{DiskPlan, Plan, Sockets};
use crate::agent::spec::Kind;

/// Options as QEMU reads them: commas separate, two of them are one of the value's.
fn options(word: &str) -> Vec<(String, String)> {
    let mut pieces = vec![String::new()];
    let mut letters = word.chars().peekable();
    while let Some(letter) = letters.next() {
        if letter == ',' && letters.next_if_eq(&',').is_none() {
            pieces.push(String::new());
        } else if let Some(piece) = pieces.last_mut() {
            piece.push(letter);
        }
    }
    pieces
        .into_iter()
        .map(|piece| {
            piece
                .split_once('=')
                .map_or((piece.clone(), String::new()), |(key, value)| (key.into(), value.into()))
        })
        .collect()
}

/// With a text and a folder in every place that takes one.
fn named(kind: Kind, text: &str, folder: &str) -> Plan {
    let folder = PathBuf::from(format!("/d/{folder}"));
    let mut plan = plan(kind);
    plan.kernel = Some(folder.join("kernel"));
    plan.initrd = Some(folder.join("initrd"));
    plan.kernel_args = text.to_owned();
    plan.sockets = Sockets::in_folder(&folder);
    plan.console_log = folder.join("console.log");
    let base = Some((folder.join("base"), "raw".to_owned()));
    plan.disks = vec![DiskPlan { overlay: folder.join("disk"), base, serial: text.to_owned() }];
    plan
}

/// The values of an option, in order.
fn values(words: &[String], option: &str) -> Vec<String> {
    words.windows(2).filter(|two| two[0] == option).map(|two| two[1].clone()).collect()
}

#[test]
fn the_reader_of_options_sees_an_injection_where_commas_are_not_doubled() {
    let keys = |word: &str| options(word).into_iter().map(|(key, _)| key).collect::<Vec<_>>();
    assert_eq!(keys("socket,path=/d/a,server=off"), ["socket", "path", "server"]);
    assert_eq!(keys("socket,path=/d/a,,server=off"), ["socket", "path"]);
    assert_eq!(options("path=a,,,b=c,,"), [("path".into(), "a,".into()), ("b".into(), "c,".into())]);
}

proptest! {
    /// Hostile texts have a comma, a quote and an option's beginning in them.
    #[test]
    fn what_a_request_names_never_becomes_an_option(
        text in "[ -~]{0,20}[,\"{}] -[a-z]{1,8}[ -~]{0,20}",
        folder in "[a-z=:\"{} ]{0,10},[a-z,=:\"{} ]{1,20}",
        micro in any::<bool>(),
    ) {
        let kind = if micro { Kind::MicroVm } else { Kind::Vm };
        let (hostile, tame) = (words(&named(kind, &text, &folder)), words(&named(kind, "x", "x")));
        prop_assert_eq!(hostile.len(), tame.len());
        for (number, (one, other)) in hostile.iter().zip(&tame).enumerate() {
            // An option and its value take turns: whatever a value is, it is none.
            prop_assert_eq!(one.starts_with('-'), other.starts_with('-'), "word {}", number);
            if other.starts_with('-') {
                prop_assert_eq!(one, other);
            }
        }

        let path = |name: &str| format!("/d/{folder}/{name}");
        prop_assert_eq!(values(&hostile, "-kernel"), [path("kernel")]);
        prop_assert_eq!(values(&hostile, "-initrd"), [path("initrd")]);
        let asked: Vec<&str> = text.split_ascii_whitespace().collect();
        let line = &values(&hostile, "-append")[0];
        prop_assert!(line.ends_with(&format!(" {}", asked.join(" "))), "{}", line);

        let sockets = values(&hostile, "-chardev");
        for (word, name) in sockets.iter().zip(["qmp.sock", "rescue.sock", "console.sock"]) {
            let read = options(word);
            let keys: Vec<&str> = read.iter().map(|(key, _)| key.as_str()).collect();
            let more: &[&str] = if name == "console.sock" { &["logappend", "path", "logfile"] } else { &["path"] };
            prop_assert_eq!(keys, [&["socket", "id", "server", "wait"], more].concat());
            let value = |wanted: &str| read.iter().find(|(key, _)| key == wanted).map(|(_, value)| value.clone());
            prop_assert_eq!(value("path"), Some(path(name)));
            prop_assert!(value("logfile").is_none_or(|log| log == path("console.log")));
        }
        prop_assert_eq!(sockets.len(), 3);

        let objects = |words: &[String]| -> Vec<Value> {
            words.iter().filter(|word| word.starts_with('{')).map(|word| serde_json::from_str(word).unwrap()).collect()
        };
        let mut expected = objects(&tame);
        let drive = expected.iter_mut().find(|object| object["driver"] == "qcow2").unwrap();
        drive["file"]["filename"] = path("disk").into();
        drive["backing"]["file"]["filename"] = path("base").into();
        let block = expected.iter_mut().find(|object| object["id"] == "block0").unwrap();
        block["serial"] = text.clone().into();
        prop_assert_eq!(objects(&hostile), expected);
    }
}

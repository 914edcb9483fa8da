//! What a spec becomes in the runtime's words, and what is refused before that. No container is needed.

use serde_json::json;

use super::super::check::check;
use super::super::config::{Plan, config};
use super::*;
use crate::agent::settings::ContainerSettings;
use crate::agent::spec::Mount;

fn plan<'a>(spec: &'a Spec, image: &'a RootImage) -> Plan<'a> {
    Plan {
        id: "one",
        mark: "0badcafe",
        spec,
        image,
        root: "/data/instances/one/rootfs".into(),
        names: None,
        user: (0, 0),
        volumes: vec!["/data/volumes/logs".into()],
        disk: Some((254, 0)),
        capabilities: &[],
        pids: 4096,
        swap: true,
        spared: true,
        edits: Vec::new(),
    }
}

fn image() -> RootImage {
    RootImage {
        entrypoint: vec!["/entry".to_owned()],
        cmd: vec!["default".to_owned()],
        env: BTreeMap::from(
            [("A", "image"), ("PATH", "/opt")].map(|(name, value)| (name.to_owned(), value.to_owned())),
        ),
        working_dir: "/work".to_owned(),
        ..RootImage::default()
    }
}

#[test]
fn limits_become_what_the_kernel_takes() {
    let mut spec = shell("true");
    spec.cpu_cores = 3;
    spec.memory_bytes = 1 << 30;
    spec.limits.io_write_bps = 5;
    spec.mounts = vec![Mount { volume: "logs".to_owned(), path: "/logs".to_owned(), read_only: true }];
    let image = image();
    let found = config(&plan(&spec, &image)).unwrap();
    let resources = &found["linux"]["resources"];
    assert_eq!(resources["cpu"], json!({ "quota": 300_000, "period": 100_000 }));
    assert_eq!(
        resources["memory"],
        json!({ "limit": 1 << 30, "swap": 1 << 30 }),
        "no swap unless it is asked for"
    );
    assert_eq!(
        resources["blockIO"],
        json!({ "throttleWriteBpsDevice": [{ "major": 254, "minor": 0, "rate": 5 }] })
    );
    assert_eq!(resources["pids"], json!({ "limit": 4096 }));
    assert_eq!(resources["devices"][0], json!({ "allow": false, "access": "rwm" }));
    assert_eq!(found["linux"]["cgroupsPath"], "/neuro-0badcafe/one");
    assert_eq!(found["process"]["noNewPrivileges"], true);
    assert_eq!(found["process"]["oomScoreAdj"], 0, "who spares the agent does not spare what it runs");
    let common = config(&Plan { spared: false, ..plan(&spec, &image) }).unwrap();
    assert!(common["process"].get("oomScoreAdj").is_none(), "an agent may not be allowed to lower it");
    let mounts = found["mounts"].as_array().unwrap();
    let volume = mounts.last().unwrap();
    assert_eq!(volume["destination"], "/logs");
    assert_eq!(volume["options"], json!(["rbind", "ro", "nosuid", "nodev"]));

    spec.limits.memory_bytes = 2 << 30;
    spec.limits.memory_and_swap_bytes = 3 << 30;
    (spec.limits.cpu_quota_us, spec.limits.cpu_period_us) = (20_000, 50_000);
    spec.options.pids_limit = 7;
    let found = config(&plan(&spec, &image)).unwrap()["linux"]["resources"].clone();
    assert_eq!(found["memory"], json!({ "limit": 2_u64 << 30, "swap": 3_u64 << 30 }));
    assert_eq!(found["cpu"], json!({ "quota": 20_000, "period": 50_000 }));
    assert_eq!(found["pids"], json!({ "limit": 7 }));
}

#[test]
fn the_spec_replaces_the_images_program_and_adds_to_its_environment() {
    let image = image();
    let mut spec = shell("");
    let args = |command: &[&str], args: &[&str], spec: &mut Spec| {
        spec.command = command.iter().map(|&text| text.to_owned()).collect();
        spec.args = args.iter().map(|&text| text.to_owned()).collect();
        config(&plan(spec, &image)).unwrap()["process"]["args"].clone()
    };
    assert_eq!(args(&[], &[], &mut spec), json!(["/entry", "default"]));
    assert_eq!(args(&[], &["x"], &mut spec), json!(["/entry", "x"]));
    assert_eq!(args(&["/own"], &[], &mut spec), json!(["/own"]));
    assert_eq!(args(&["/own"], &["x"], &mut spec), json!(["/own", "x"]));
    spec.env.insert("A".to_owned(), "spec".to_owned());
    let process = config(&plan(&spec, &image)).unwrap()["process"].clone();
    assert_eq!(process["env"], json!(["A=spec", "PATH=/opt"]));
    assert_eq!(process["cwd"], "/work");
    (spec.command, spec.args) = (Vec::new(), Vec::new());
    let error =
        config(&plan(&spec, &RootImage { name: "empty".to_owned(), ..RootImage::default() })).unwrap_err();
    assert!(error.to_string().contains("\"empty\" names no program"), "{error}");
}

#[test]
fn the_network_is_the_containers_own_unless_it_is_the_hosts() {
    let image = image();
    let mut spec = shell("true");
    for (network, own) in [(None, true), (Some(Network::Cable), true), (Some(Network::Host), false)] {
        spec.options.network = network;
        let found = config(&plan(&spec, &image)).unwrap();
        let namespaces = found["linux"]["namespaces"].as_array().unwrap();
        assert_eq!(namespaces.contains(&json!({ "type": "network" })), own, "{network:?}");
    }
}

#[test]
fn what_no_container_can_be_is_refused_with_its_field() {
    type Change = fn(&mut Spec);
    let cases: [(&str, Change); 19] = [
        ("spec.kernel", |spec| spec.kernel = Some("k".to_owned())),
        ("spec.initrd", |spec| spec.initrd = Some("i".to_owned())),
        ("spec.disks[0].size_bytes", |spec| spec.disks = disk(shell(""), 1 << 20).disks),
        ("spec.disks", |spec| spec.disks = [disk(shell(""), 0).disks, disk(shell(""), 0).disks].concat()),
        ("spec.memory_bytes", |spec| spec.memory_bytes = 4096),
        ("spec.limits.memory_swap", |spec| spec.limits.memory_and_swap_bytes = 1 << 20),
        ("spec.limits.cpu_period", |spec| spec.limits.cpu_period_us = 2_000_000),
        ("spec.limits.cpu_quota", |spec| spec.limits.cpu_quota_us = 10),
        ("annotations", |spec| spec.options.network = Some(Network::User)),
        ("annotations", |spec| spec.options.runtime = "/tmp/mine".to_owned()),
        ("annotations", |spec| spec.options.user = "root".to_owned()),
        ("annotations", |spec| spec.options.user = "1:2:3".to_owned()),
        ("annotations", |spec| spec.options.user = "1:".to_owned()),
        ("spec.command", |spec| spec.command = vec!["a\0b".to_owned()]),
        ("spec.env", |spec| drop(spec.env.insert("A=B".to_owned(), String::new()))),
        ("spec.volume_mounts.name", |spec| spec.mounts = vec![mounted("../etc", "/x")]),
        ("spec.volume_mounts.mount_path", |spec| spec.mounts = vec![mounted("v", "/x/../../etc")]),
        ("spec.volume_mounts.mount_path", |spec| spec.mounts = vec![mounted("v", "/proc/self")]),
        ("spec.volume_mounts.mount_path", |spec| spec.mounts = vec![mounted("v", "/x"), mounted("w", "/x")]),
    ];
    check(&shell("true"), &ContainerSettings::default()).unwrap();
    for (expected, change) in cases {
        let mut spec = shell("true");
        change(&mut spec);
        let error = check(&spec, &ContainerSettings::default()).unwrap_err();
        assert!(
            matches!(&error, AgentError::Invalid { field, .. } if field == expected),
            "{expected}: {error}"
        );
    }
    for good in ["", "0", "1000:44"] {
        let mut spec = shell("true");
        spec.options.user = good.to_owned();
        check(&spec, &ContainerSettings::default()).unwrap();
    }
}

fn mounted(volume: &str, path: &str) -> Mount {
    Mount { volume: volume.to_owned(), path: path.to_owned(), read_only: false }
}

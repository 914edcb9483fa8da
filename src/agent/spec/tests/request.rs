//! Id, name, type, labels, annotations, network: what every kind has.

use super::*;
use crate::agent::options::Network;
use crate::proto::hypervisor::v1::NetworkSpec;

fn network(change: impl Fn(&mut NetworkSpec) + 'static) -> Change {
    inside(move |spec| change(spec.network.get_or_insert_default()))
}

fn labels(count: usize) -> Change {
    whole(move |request| request.labels = (0..count).map(|n| (format!("l{n}"), String::new())).collect())
}

fn label(key: &str, value: &str) -> Change {
    let pair = (key.to_owned(), value.to_owned());
    whole(move |request| request.labels = [pair.clone()].into())
}

fn annotation(key: &str, value: &str) -> Change {
    let pair = (key.to_owned(), value.to_owned());
    whole(move |request| request.annotations = [pair.clone()].into())
}

#[test]
fn every_wrong_field_of_a_request_is_named_with_what_was_expected() {
    let id = |id: &'static str| whole(move |request| id.clone_into(&mut request.instance_id));
    let name = |name: String| whole(move |request| request.name.clone_from(&name));
    let kind = |kind: i32| whole(move |request| request.r#type = kind);
    let long = "x".repeat(40_000);
    refused(
        InstanceType::Container,
        vec![
            ("instance_id", "expected a letter or digit", id("")),
            ("instance_id", "expected a letter or digit", id("a/b")),
            ("name", "control character at 1", name("a\nb".to_owned())),
            ("name", "control character at 0", name("\0".to_owned())),
            ("name", "at most 255", name("x".repeat(256))),
            ("name", "has 256 bytes", name("\u{e4}".repeat(128))),
            ("type", "is 0; expected VM (1)", kind(0)),
            ("type", "is 4; expected", kind(4)),
            ("type", "is -1; expected", kind(-1)),
            ("type", "is -2147483648; expected", kind(i32::MIN)),
            ("spec", "missing", whole(|request| request.spec = None)),
            ("labels", "has 257 entries; expected at most 256", labels(257)),
            ("labels[\"\"]", "expected 1 to 253", label("", "")),
            ("labels[\"a\\n\"]", "control character", label("a\n", "")),
            ("labels[\"a\"]", "NUL at 1", label("a", "b\0")),
            ("labels[\"a\"]", "expected at most 1024", label("a", &"x".repeat(1025))),
            ("annotations[\"a\"]", "expected at most 32768", annotation("a", &long)),
            (
                "annotations[\"hypervisor.io/autostrat\"]",
                "expected one of",
                annotation("hypervisor.io/autostrat", ""),
            ),
            (
                "annotations[\"hypervisor.io/tty\"]",
                "of 30000 bytes; expected true",
                annotation("hypervisor.io/tty", &long[..30_000]),
            ),
            ("spec.network.subnet_id", "no subnets", network(|network| network.subnet_id.push('s'))),
            (
                "spec.network.security_groups",
                "none",
                network(|network| network.security_groups.push(String::new())),
            ),
            (
                "spec.network.assign_public_ip",
                "no public",
                network(|network| network.assign_public_ip = true),
            ),
            (
                "spec.network.network_id",
                "expected none, host or cable",
                network(|network| network.network_id.push_str("user")),
            ),
            (
                "spec.network.network_id",
                "of 40000 bytes; expected",
                network(move |network| network.network_id.clone_from(&long)),
            ),
        ],
    );
    let two_words = |request: &mut AgentCreateInstanceRequest| {
        request.annotations = [("hypervisor.io/network".to_owned(), "none".to_owned())].into();
        let network = request.spec.as_mut().unwrap().network.get_or_insert_default();
        "host".clone_into(&mut network.network_id);
    };
    refused(InstanceType::Container, vec![("spec.network.network_id", "says otherwise", whole(two_words))]);
}

#[test]
fn what_is_long_but_not_too_long_is_taken_and_what_is_left_out_is_filled_in() {
    let taken = taken(
        InstanceType::Container,
        vec![
            whole(|_| {}),
            whole(|request| request.name = "\u{e4}".repeat(127)),
            whole(|request| request.instance_id = "x".repeat(63)),
            labels(256),
            label(&"k".repeat(253), &"x".repeat(1024)),
            label("a", "one\ntwo"),
            annotation("example.com/note", &"x".repeat(32 << 10)),
            network(|_| {}),
            network(|network| network.network_id.push_str("default")),
            network(|network| network.network_id.push_str("host")),
        ],
    );
    assert_eq!((taken[0].name.as_str(), taken[0].cpu_cores, taken[0].memory_bytes), ("one", 1, 0));
    assert_eq!((taken[8].options.network, taken[9].options.network), (None, Some(Network::Host)));
}

#[test]
fn a_request_that_is_too_long_for_a_journal_is_refused_whole() {
    let words = |bytes: usize| inside(move |spec| spec.args = vec!["x".repeat(bytes / 8); 8]);
    refused(InstanceType::Container, vec![("request", "expected at most 65536", words(65_536))]);
    taken(InstanceType::Container, vec![words(65_536 - 200)]);
}

#[test]
fn no_name_leads_anywhere_but_to_its_place() {
    for ill in ILL_NAMES {
        let mut cases = vec![("spec.image", "is", inside(move |spec| ill.clone_into(&mut spec.image)))];
        cases.push((
            "spec.volume_mounts[0].name",
            "expected a letter or digit",
            inside(move |spec| {
                spec.volume_mounts.push(crate::proto::hypervisor::v1::VolumeMount {
                    name: ill.to_owned(),
                    mount_path: "/data".to_owned(),
                    read_only: false,
                });
            }),
        ));
        cases.push((
            "spec.disks[0].name",
            "expected a letter or digit",
            inside(move |spec| {
                spec.disks.push(crate::proto::hypervisor::v1::DiskSpec {
                    name: ill.to_owned(),
                    ..Default::default()
                });
            }),
        ));
        cases.push((
            "instance_id",
            "expected a letter or digit",
            whole(move |request| ill.clone_into(&mut request.instance_id)),
        ));
        refused(InstanceType::Container, cases);
        refused(
            InstanceType::Microvm,
            vec![
                ("spec.kernel", "expected parts", inside(move |spec| ill.clone_into(&mut spec.kernel))),
                ("spec.initrd", "expected parts", inside(move |spec| ill.clone_into(&mut spec.initrd))),
            ],
        );
    }
}

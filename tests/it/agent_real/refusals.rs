//! What is refused: names that lead elsewhere, options that are none, ids that are paths.

use neuro::proto::hypervisor::v1::{DiskSpec, InstanceType, VolumeMount};
use tonic::Code;

use super::harness::{Node, SOON, annotated, container, guest_of};

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs root and runc: make test-agent"]
async fn names_never_become_paths_and_options_of_programs_are_none_of_a_spec() {
    let node = Node::start();
    let client = node.client().await;
    for id in ["", "../x", "a/b", "-rf", ".hidden", &"x".repeat(64), "a b"] {
        let status = client.create(container(id, "true")).await.unwrap_err();
        assert!(
            status.code() == Code::InvalidArgument && status.message().contains("instance_id"),
            "{id:?}: {status}"
        );
    }
    let with = |change: &dyn Fn(&mut neuro::proto::hypervisor::v1::InstanceSpec)| {
        let mut create = container("wrong", "true");
        change(create.spec.as_mut().unwrap());
        create
    };
    for image in ["../busybox", "/etc", "nowhere", "busybox/../busybox", "a,file=/etc/shadow"] {
        let status = client.create(with(&|spec| spec.image = image.to_owned())).await.unwrap_err();
        assert!(
            [Code::InvalidArgument, Code::NotFound, Code::FailedPrecondition].contains(&status.code()),
            "{image}: {status}"
        );
    }
    for (volume, path) in
        [("../../etc", "/x"), ("ok", "relative"), ("ok", "/a/../../b"), ("ok", "/proc"), ("", "/x")]
    {
        let mount = VolumeMount { name: volume.to_owned(), mount_path: path.to_owned(), read_only: false };
        let status = client.create(with(&|spec| spec.volume_mounts = vec![mount.clone()])).await.unwrap_err();
        assert_eq!(status.code(), Code::InvalidArgument, "{volume} {path}: {status}");
    }
    let status = client.create(with(&|spec| spec.memory_bytes = -1)).await.unwrap_err();
    assert!(status.code() == Code::InvalidArgument && status.message().contains("memory_bytes"), "{status}");
    let status =
        client.create(annotated(container("wrong", "true"), &[("autostrat", "true")])).await.unwrap_err();
    assert!(status.code() == Code::InvalidArgument && status.message().contains("autostrat"), "{status}");

    let mut guest = guest_of("wrong-guest", InstanceType::Vm, "");
    guest.spec.as_mut().unwrap().kernel = "/boot/vmlinuz".to_owned();
    let status = client.create(guest).await.unwrap_err();
    assert!([Code::InvalidArgument, Code::NotFound].contains(&status.code()), "{status}");
    let mut guest = guest_of("wrong-guest", InstanceType::Vm, "");
    guest.spec.as_mut().unwrap().disks =
        vec![DiskSpec { name: "x,file=/etc/shadow".into(), ..DiskSpec::default() }];
    let status = client.create(guest).await.unwrap_err();
    assert_eq!(status.code(), Code::InvalidArgument, "{status}");
    assert!(client.list().await.is_empty());
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs root and runc: make test-agent"]
async fn a_container_has_few_capabilities_no_new_privileges_and_no_way_to_the_host() {
    let node = Node::start();
    let client = node.client().await;
    let look = "grep -E 'CapEff|NoNewPrivs|Seccomp:' /proc/self/status; ip route; cat /proc/sysrq-trigger; mount -t tmpfs x /tmp; echo looked; sleep 100";
    client.run(annotated(container("look", look), &[("network", "cable")])).await;
    let mut console = client.console("look").await;
    console.shows("looked", SOON).await;
    let text = String::from_utf8_lossy(&console.text).into_owned();
    assert!(text.contains("NoNewPrivs:\t1") && text.contains("Seccomp:\t2"), "{text}");
    let capabilities = text.lines().find_map(|line| line.strip_prefix("CapEff:")).unwrap().trim();
    let capabilities = u64::from_str_radix(capabilities, 16).unwrap();
    assert_eq!(capabilities & (1 << 21), 0, "CAP_SYS_ADMIN: {text}");
    assert!(!text.contains("default"), "no default route: {text}");
    assert!(text.contains("mount: "), "mounting is refused: {text}");
}

//! Any request gets a verdict, and what is taken survives the journal.

use proptest::prelude::*;
use prost::Message;

use super::*;
use crate::agent::record::{Record, State, Wanted};
use crate::agent::spec::Kind;
use crate::proto::hypervisor::v1::{DiskSpec, NetworkSpec, VolumeMount};

fn text() -> impl Strategy<Value = String> {
    prop_oneof![
        6 => "[a-z0-9][A-Za-z0-9_.-]{0,12}",
        3 => Just(String::new()),
        1 => prop::sample::select(ILL_NAMES.to_vec()).prop_map(str::to_owned),
        1 => any::<String>(),
        1 => "[ -~]{0,400}",
    ]
}

fn number() -> impl Strategy<Value = i64> {
    let edges = vec![i64::MIN, -1, 1, 999, 1000, (4 << 20) - 1, 1 << 30, 1 << 46, 1 << 50, i64::MAX];
    prop_oneof![6 => Just(0), 2 => (4_i64 << 20)..(1 << 40), 2 => prop::sample::select(edges), 1 => any::<i64>()]
}

fn few<T: std::fmt::Debug + 'static>(
    one: impl Strategy<Value = T> + 'static,
) -> impl Strategy<Value = Vec<T>> {
    prop_oneof![3 => Just(0), 2 => Just(3), 1 => Just(70)].prop_flat_map({
        let one = one.boxed();
        move |most| prop::collection::vec(one.clone(), 0..=most)
    })
}

fn annotation() -> impl Strategy<Value = (String, String)> {
    let keys = crate::agent::options::NAMES.map(|name| format!("hypervisor.io/{name}")).to_vec();
    let values = ["true", "1", "1Gi", "on-failure:3", "none", "cable", "nvidia.com/gpu=0", "1000:1000"];
    let key = prop_oneof![prop::sample::select(keys), text()];
    (key, prop_oneof![3 => prop::sample::select(values.to_vec()).prop_map(str::to_owned), 1 => text()])
}

fn disks() -> impl Strategy<Value = Vec<DiskSpec>> {
    let kind = prop::sample::select(vec!["", "ssd", "hdd", "tape"]).prop_map(str::to_owned);
    few((text(), number(), kind, prop::bool::weighted(0.1))
        .prop_map(|(name, size_bytes, r#type, boot)| DiskSpec { name, size_bytes, r#type, boot }))
}

fn mounts() -> impl Strategy<Value = Vec<VolumeMount>> {
    let path = prop_oneof![3 => "(/[a-z]{1,4}){1,3}/?", 1 => text()];
    few((text(), path, any::<bool>()).prop_map(|(name, mount_path, read_only)| VolumeMount {
        name,
        mount_path,
        read_only,
    }))
}

fn limits() -> impl Strategy<Value = Option<ResourceLimits>> {
    let [a, b, c, d, e, f] = [(); 6].map(|()| number());
    let all = (a, b, c, d, e, f).prop_map(
        |(cpu_quota, cpu_period, memory_limit, memory_swap, io_read_bps, io_write_bps)| ResourceLimits {
            cpu_quota,
            cpu_period,
            memory_limit,
            memory_swap,
            io_read_bps,
            io_write_bps,
        },
    );
    prop::option::weighted(0.3, all)
}

fn spec() -> impl Strategy<Value = InstanceSpec> {
    let machine = (text(), text(), text(), disks());
    let words = (few(text()), few(text()), few((text(), text())), mounts());
    let figures = (prop_oneof![3 => 0..8_i32, 1 => any::<i32>()], number(), limits());
    let network = prop::option::weighted(
        0.2,
        (text(), few(text())).prop_map(|(network_id, security_groups)| NetworkSpec {
            network_id,
            security_groups,
            ..NetworkSpec::default()
        }),
    );
    (text(), machine, words, figures, network).prop_map(|(image, machine, words, figures, network)| {
        let (kernel, initrd, kernel_args, disks) = machine;
        let (command, args, env, volume_mounts) = words;
        let (cpu_cores, memory_bytes, limits) = figures;
        InstanceSpec {
            image,
            cpu_cores,
            memory_bytes,
            disks,
            network,
            kernel,
            initrd,
            kernel_args,
            command,
            args,
            env: env.into_iter().collect(),
            volume_mounts,
            limits,
        }
    })
}

/// Mostly almost right: what is wrong everywhere is refused at its first field.
fn requests() -> impl Strategy<Value = AgentCreateInstanceRequest> {
    let sound = prop::sample::select(vec![InstanceType::Vm, InstanceType::Container, InstanceType::Microvm]);
    (sound, spec(), text(), few((text(), text())), few(annotation()), any::<u32>(), -1..5_i32).prop_map(
        |(kind, asked, name, labels, annotations, chosen, wild)| {
            let mut request = request(kind);
            let mut part = 0;
            let mut one_of_three = || {
                part += 1;
                chosen.rotate_left(part * 3) % 3 == 0
            };
            let spec = request.spec.as_mut().unwrap();
            macro_rules! perhaps {
                ($($field:ident)*) => { $(if one_of_three() { spec.$field = asked.$field; })* };
            }
            perhaps!(image cpu_cores memory_bytes disks network kernel initrd kernel_args);
            perhaps!(command args env volume_mounts limits);
            if one_of_three() {
                request.name = name;
            }
            if one_of_three() {
                request.labels = labels.into_iter().collect();
            }
            if one_of_three() {
                request.annotations = annotations.into_iter().collect();
            }
            if chosen % 16 == 0 {
                request.r#type = wild;
            }
            request
        },
    )
}

fn record(spec: Spec) -> Record {
    Record {
        version: 1,
        id: "one".parse().unwrap(),
        spec,
        state: State::Pending,
        wanted: Wanted::Stopped,
        operation: None,
        reason: String::new(),
        driver: String::new(),
        handle: None,
        exit: None,
        restarts: 0,
        failures: 0,
        ready: false,
        devices: Vec::new(),
        ip: String::new(),
        created_ms: 0,
        updated_ms: 0,
        started_ms: 0,
        ended_ms: 0,
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 600, ..ProptestConfig::default() })]

    #[test]
    fn any_request_gets_a_verdict_and_what_is_taken_survives_the_journal(request in requests()) {
        match verdict(&request) {
            Ok(spec) => {
                let kernels = [spec.kernel.clone(), spec.initrd.clone()];
                for name in kernels.iter().flatten().chain([&spec.image]) {
                    prop_assert!(!name.starts_with('/') && name.split('/').all(|part| part != ".."), "{}", name);
                }
                prop_assert!(spec.cpu_cores >= 1 && spec.cpu_cores <= 1024);
                prop_assert!(spec.kind == Kind::Container || spec.memory_bytes > 0);
                let kept = record(spec.clone());
                let read: Record = serde_json::from_slice(&serde_json::to_vec(&kept).unwrap()).unwrap();
                prop_assert_eq!(&read, &kept);
                let again = AgentCreateInstanceRequest::decode(read.spec.request.as_slice()).unwrap();
                prop_assert_eq!(&again, &request);
                prop_assert_eq!(verdict(&again).unwrap(), spec);
            }
            Err(AgentError::Invalid { field, problem }) => {
                prop_assert!(!field.is_empty() && !problem.is_empty());
                prop_assert!(field.len() + problem.len() < 2000, "{} {}", field, problem);
            }
            Err(other) => prop_assert!(false, "{}", other),
        }
    }
}

#[test]
fn the_requests_above_are_both_taken_and_refused() {
    let mut runner = proptest::test_runner::TestRunner::deterministic();
    let tried = (0..400).map(|_| {
        let tree = requests().new_tree(&mut runner).unwrap();
        verdict(&proptest::strategy::ValueTree::current(&tree)).is_ok()
    });
    let sound = tried.filter(|sound| *sound).count();
    assert!((40..360).contains(&sound), "{sound} of 400 are taken");
}

//! What is taken and what is refused of a request, field by field.

mod anything;
mod container;
mod limits;
mod machine;
mod request;

use super::Spec;
use super::check::check;
use crate::agent::error::AgentError;
use crate::agent::settings::AgentSettings;
use crate::proto::hypervisor::v1::{AgentCreateInstanceRequest, InstanceSpec, InstanceType, ResourceLimits};

/// A sound request of a kind.
fn request(kind: InstanceType) -> AgentCreateInstanceRequest {
    let kernel = if kind == InstanceType::Microvm { "vmlinux" } else { "" };
    let spec = InstanceSpec {
        image: "registry.example/team/robot:v1@sha256:0a".to_owned(),
        kernel: kernel.to_owned(),
        ..InstanceSpec::default()
    };
    AgentCreateInstanceRequest {
        instance_id: "one".to_owned(),
        r#type: kind.into(),
        spec: Some(spec),
        ..AgentCreateInstanceRequest::default()
    }
}

fn verdict(request: &AgentCreateInstanceRequest) -> Result<Spec, AgentError> {
    check(request, &AgentSettings::default()).map(|(_, spec)| spec)
}

/// One change of a sound request.
type Change = Box<dyn Fn(&mut AgentCreateInstanceRequest)>;

fn whole(change: impl Fn(&mut AgentCreateInstanceRequest) + 'static) -> Change {
    Box::new(change)
}

fn inside(change: impl Fn(&mut InstanceSpec) + 'static) -> Change {
    Box::new(move |request| change(request.spec.as_mut().unwrap()))
}

fn limit(change: impl Fn(&mut ResourceLimits) + 'static) -> Change {
    inside(move |spec| change(spec.limits.get_or_insert_default()))
}

/// Each change is refused: the field by its path, and what was expected of it.
fn refused(kind: InstanceType, cases: Vec<(&str, &str, Change)>) {
    for (number, (field, expected, change)) in cases.into_iter().enumerate() {
        let mut request = request(kind);
        change(&mut request);
        let outcome = verdict(&request).map(drop);
        let Err(AgentError::Invalid { field: named, problem }) = &outcome else {
            panic!("case {number}, {field} of {kind:?}: {outcome:?}");
        };
        assert_eq!(named, field, "case {number}: {problem}");
        assert!(
            problem.contains(expected),
            "case {number}, {field}: {problem:?} says nothing of {expected:?}"
        );
        assert!(problem.len() < 600, "case {number}: {} bytes in a header", problem.len());
    }
}

/// Each change is taken.
fn taken(kind: InstanceType, cases: Vec<Change>) -> Vec<Spec> {
    let sound = cases.into_iter().enumerate().map(|(number, change)| {
        let mut request = request(kind);
        change(&mut request);
        verdict(&request).unwrap_or_else(|error| panic!("case {number} of {kind:?}: {error}"))
    });
    sound.collect()
}

/// Names that lead somewhere, or break what they are written into.
const ILL_NAMES: [&str; 14] = [
    "..",
    ".",
    "../x",
    "/etc/passwd",
    "a/../b",
    "a//b",
    "a/",
    "a\0b",
    "a\nb",
    "a,b",
    "a b",
    "\u{e4}",
    "a\u{202e}b",
    "-drive",
];

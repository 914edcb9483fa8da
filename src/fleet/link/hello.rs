//! What an instance says of itself, checked where it enters. Clients are told these addresses later and parse the id as
//! a UUID, so a wrong one is refused here, with the field's name.

use std::collections::BTreeMap;

use crate::fleet::error::FleetError;
use crate::fleet::ids::{Fence, InstanceId, SessionId};
use crate::fleet::ledger::Registration;
use crate::fleet::rows::{Endpoints, GpuRef, Role};
use crate::proto::neuro::ext;

/// Longest name, version, label key.
const LONGEST_NAME: usize = 128;
/// Longest label value and address.
const LONGEST_TEXT: usize = 512;
/// Most labels.
const MOST_LABELS: usize = 64;
/// Most GPUs.
const MOST_GPUS: usize = 64;

/// The pool of instances that name none.
pub const NO_POOL: &str = "attached";

/// What the books are told. The labels `pool` and `node` become the row's pool and node.
///
/// # Errors
/// `Invalid`, naming the field.
pub fn registration(hello: ext::Hello) -> Result<Registration, FleetError> {
    let id: InstanceId = hello.instance_id.parse()?;
    if id.0.is_nil() {
        return Err(FleetError::invalid("instance_id", "is the nil UUID; expected a random one"));
    }
    let role = role(hello.role)?;
    text("name", &hello.name, 1, LONGEST_NAME)?;
    text("version", &hello.version, 0, LONGEST_NAME)?;
    let endpoints = Endpoints {
        control_ws_url: url("control_ws_url", &hello.control_ws_url, &["ws", "wss"])?,
        zmq_endpoint: url("zmq_endpoint", &hello.zmq_endpoint, &["tcp"])?,
        rest_url: url("rest_url", &hello.rest_url, &["http", "https"])?,
        stream_url: url("stream_url", &hello.stream_url, &["http", "https"])?,
    };
    let labels = labels(hello.labels)?;
    let gpus = gpus(&hello.gpus)?;
    let memory_mb = u64::try_from(hello.memory_mb).map_err(|_| {
        FleetError::invalid("memory_mb", format!("is {}; expected 0 or more", hello.memory_mb))
    })?;
    let holding = holding(&hello.holding_session, hello.holding_fence)?;
    let pool = labels.get("pool").filter(|pool| !pool.is_empty()).cloned();
    Ok(Registration {
        id,
        name: hello.name,
        role,
        pool: pool.unwrap_or_else(|| NO_POOL.to_owned()),
        node: labels.get("node").cloned().unwrap_or_default(),
        version: hello.version,
        labels,
        gpus,
        memory_mb,
        endpoints,
        holding,
    })
}

fn role(number: i32) -> Result<Role, FleetError> {
    match ext::Role::try_from(number) {
        Ok(ext::Role::Simulator) => Ok(Role::Simulator),
        Ok(ext::Role::Trainer) => Ok(Role::Trainer),
        Ok(ext::Role::Unspecified) | Err(_) => {
            Err(FleetError::invalid("role", format!("is {number}; expected 1 (simulator) or 2 (trainer)")))
        }
    }
}

fn text(field: &str, value: &str, shortest: usize, longest: usize) -> Result<(), FleetError> {
    let length = value.chars().count();
    if length < shortest || length > longest {
        let problem = format!("is {length} characters long; expected {shortest} to {longest}");
        return Err(FleetError::invalid(field, problem));
    }
    if value.chars().any(char::is_control) {
        return Err(FleetError::invalid(field, "holds control characters"));
    }
    Ok(())
}

fn url(field: &str, value: &str, schemes: &[&str]) -> Result<String, FleetError> {
    if value.is_empty() {
        return Ok(String::new());
    }
    text(field, value, 1, LONGEST_TEXT)?;
    let wrong = || {
        let problem = format!("{value:?} is not {}://host:port", schemes.join(":// or "));
        FleetError::invalid(field, problem)
    };
    let (scheme, rest) = value.split_once("://").ok_or_else(wrong)?;
    let authority = rest.split(['/', '?', '#']).next().unwrap_or_default();
    let (host, port) = authority.rsplit_once(':').ok_or_else(wrong)?;
    let named = !host.is_empty() && !host.contains('@') && !host.contains(char::is_whitespace);
    let reachable = port.parse::<u16>().is_ok_and(|port| port != 0);
    if !schemes.contains(&scheme) || !named || !reachable {
        return Err(wrong());
    }
    Ok(value.trim_end_matches('/').to_owned())
}

fn labels(given: impl IntoIterator<Item = (String, String)>) -> Result<BTreeMap<String, String>, FleetError> {
    let labels: BTreeMap<String, String> = given.into_iter().collect();
    if labels.len() > MOST_LABELS {
        let problem = format!("are {}; expected at most {MOST_LABELS}", labels.len());
        return Err(FleetError::invalid("labels", problem));
    }
    for (key, value) in &labels {
        text("labels", key, 1, LONGEST_NAME)?;
        text(&format!("labels.{key}"), value, 0, LONGEST_TEXT)?;
    }
    Ok(labels)
}

fn gpus(given: &[ext::Gpu]) -> Result<Vec<GpuRef>, FleetError> {
    if given.len() > MOST_GPUS {
        return Err(FleetError::invalid(
            "gpus",
            format!("are {}; expected at most {MOST_GPUS}", given.len()),
        ));
    }
    let gpu = |gpu: &ext::Gpu| {
        text("gpus.uuid", &gpu.uuid, 0, LONGEST_NAME)?;
        text("gpus.name", &gpu.name, 0, LONGEST_NAME)?;
        let index = u32::try_from(gpu.index).map_err(|_| {
            FleetError::invalid("gpus.index", format!("is {}; expected 0 or more", gpu.index))
        })?;
        Ok(GpuRef { index, uuid: gpu.uuid.clone(), name: gpu.name.clone() })
    };
    given.iter().map(gpu).collect()
}

fn holding(session: &str, fence: i64) -> Result<Option<(SessionId, Fence)>, FleetError> {
    if session.is_empty() {
        return Ok(None);
    }
    let session = session.parse().map_err(|error: FleetError| match error {
        FleetError::Invalid { problem, .. } => FleetError::invalid("holding_session", problem),
        other => other,
    })?;
    let fence = u64::try_from(fence)
        .map_err(|_| FleetError::invalid("holding_fence", format!("is {fence}; expected 0 or more")))?;
    Ok(Some((session, Fence(fence))))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hello() -> ext::Hello {
        ext::Hello {
            instance_id: InstanceId::new().to_string(),
            name: "isaac-sim-1".to_owned(),
            role: ext::Role::Simulator.into(),
            control_ws_url: "ws://127.0.0.1:8766/control".to_owned(),
            zmq_endpoint: "tcp://127.0.0.1:5555".to_owned(),
            rest_url: "http://[::1]:8211/".to_owned(),
            labels: [("pool".to_owned(), "rtx".to_owned()), ("node".to_owned(), "n1".to_owned())].into(),
            ..ext::Hello::default()
        }
    }

    fn refused(change: impl FnOnce(&mut ext::Hello)) -> String {
        let mut hello = hello();
        change(&mut hello);
        match registration(hello) {
            Err(FleetError::Invalid { field, .. }) => field,
            other => panic!("expected a refusal, got {other:?}"),
        }
    }

    #[test]
    fn a_good_hello_becomes_a_registration_with_its_pool_and_node() {
        let registration = registration(hello()).unwrap();
        assert_eq!((registration.pool.as_str(), registration.node.as_str()), ("rtx", "n1"));
        assert_eq!(registration.endpoints.rest_url, "http://[::1]:8211");
        assert_eq!(registration.holding, None);
    }

    #[test]
    fn each_wrong_field_is_named() {
        assert_eq!(refused(|hello| hello.instance_id = "isaac-sim-1".to_owned()), "instance_id");
        assert_eq!(refused(|hello| hello.instance_id = uuid::Uuid::nil().to_string()), "instance_id");
        assert_eq!(refused(|hello| hello.role = 0), "role");
        assert_eq!(refused(|hello| hello.role = 7), "role");
        assert_eq!(refused(|hello| hello.name = String::new()), "name");
        assert_eq!(refused(|hello| hello.name = "a\nb".to_owned()), "name");
        assert_eq!(refused(|hello| hello.rest_url = "127.0.0.1:80".to_owned()), "rest_url");
        assert_eq!(refused(|hello| hello.control_ws_url = "http://h:1/control".to_owned()), "control_ws_url");
        assert_eq!(refused(|hello| hello.zmq_endpoint = "tcp://*:0".to_owned()), "zmq_endpoint");
        assert_eq!(refused(|hello| hello.stream_url = "http://user@h:1".to_owned()), "stream_url");
        assert_eq!(refused(|hello| hello.memory_mb = -1), "memory_mb");
        assert_eq!(refused(|hello| hello.gpus = vec![ext::Gpu::default(); 65]), "gpus");
        assert_eq!(refused(|hello| hello.holding_session = "..".to_owned()), "holding_session");
        let held = |hello: &mut ext::Hello| {
            hello.holding_session = "s".to_owned();
            hello.holding_fence = -1;
        };
        assert_eq!(refused(held), "holding_fence");
        let many = (0..65).map(|label| (label.to_string(), String::new()));
        assert_eq!(refused(|hello| hello.labels = many.collect()), "labels");
    }
}

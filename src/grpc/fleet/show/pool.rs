//! Pools as `GetResourcePoolStatus` and `HealthCheck` show them: all pools of a role together.

use super::narrow;
use crate::fleet::rows::{Condition, Role};
use crate::fleet::view::{InstanceView, PoolView};
use crate::proto::neuro::orchestrator::{
    GrpcIsaacSimInstanceInfo, GrpcIsaacSimPoolStatus, GrpcTrainingInstanceInfo, GrpcTrainingPoolStatus,
    ResourcePoolStatusResponse,
};

/// Both kinds. Asking for neither is asking for both: that is what an empty message says.
pub(in crate::grpc::fleet) fn pools(
    all: &[PoolView],
    simulators: bool,
    trainers: bool,
) -> ResourcePoolStatusResponse {
    let both = !simulators && !trainers;
    ResourcePoolStatusResponse {
        isaac_pool: (simulators || both).then(|| simulator_pool(all)),
        training_pool: (trainers || both).then(|| trainer_pool(all)),
    }
}

fn of_role(all: &[PoolView], role: Role) -> Vec<&InstanceView> {
    let pools = all.iter().filter(|pool| pool.role == role);
    pools.flat_map(|pool| &pool.instances).filter(|one| one.row.condition != Condition::Lost).collect()
}

/// `idle`, `running`, `draining` or `away`.
fn status(one: &InstanceView) -> String {
    let word = match (one.row.condition, &one.row.holder, one.row.drain_until_ms) {
        (Condition::Lost, _, _) => "lost",
        (Condition::Away, _, _) => "away",
        (Condition::Present, _, Some(_)) => "draining",
        (Condition::Present, Some(_), None) => "running",
        (Condition::Present, None, None) => "idle",
    };
    word.to_owned()
}

fn session(one: &InstanceView) -> String {
    one.row.holder.as_ref().map(|holder| holder.session.to_string()).unwrap_or_default()
}

/// What tells a GPU: its UUID where the instance says one.
fn gpus(one: &InstanceView) -> Vec<String> {
    let name = |gpu: &crate::fleet::rows::GpuRef| {
        if gpu.uuid.is_empty() { gpu.index.to_string() } else { gpu.uuid.clone() }
    };
    one.row.gpus.iter().map(name).collect()
}

fn counts(members: &[&InstanceView]) -> (i32, i32, i32) {
    let idle = members.iter().filter(|one| one.row.is_idle()).count();
    let running = members.iter().filter(|one| one.row.holder.is_some()).count();
    (narrow(members.len()), narrow(idle), narrow(running))
}

fn simulator_pool(all: &[PoolView]) -> GrpcIsaacSimPoolStatus {
    let members = of_role(all, Role::Simulator);
    let trainers = of_role(all, Role::Trainer);
    let paired = |one: &InstanceView| {
        let holder = one.row.holder.as_ref()?;
        let same = |other: &&&InstanceView| {
            other.row.holder.as_ref().is_some_and(|its| its.session == holder.session)
        };
        trainers.iter().find(same).map(|trainer| trainer.row.id.to_string())
    };
    let (total_instances, idle_instances, running_instances) = counts(&members);
    let instances = members.iter().map(|one| GrpcIsaacSimInstanceInfo {
        instance_id: one.row.id.to_string(),
        gpu_id: gpus(one).into_iter().next().unwrap_or_default(),
        status: status(one),
        paired_with: paired(one).unwrap_or_default(),
        session_id: session(one),
    });
    let instances = instances.collect();
    GrpcIsaacSimPoolStatus { total_instances, idle_instances, running_instances, instances }
}

fn trainer_pool(all: &[PoolView]) -> GrpcTrainingPoolStatus {
    let members = of_role(all, Role::Trainer);
    let simulators = of_role(all, Role::Simulator);
    let paired = |one: &InstanceView| {
        let Some(holder) = &one.row.holder else { return 0 };
        let same = |other: &&&InstanceView| {
            other.row.holder.as_ref().is_some_and(|its| its.session == holder.session)
        };
        narrow(simulators.iter().filter(same).count())
    };
    let (total_instances, idle_instances, running_instances) = counts(&members);
    let instances = members.iter().map(|one| GrpcTrainingInstanceInfo {
        instance_id: one.row.id.to_string(),
        gpu_ids: gpus(one),
        status: status(one),
        algorithm: one.row.labels.get("algorithms").cloned().unwrap_or_default(),
        paired_isaac_count: paired(one),
        session_id: session(one),
    });
    let instances = instances.collect();
    GrpcTrainingPoolStatus { total_instances, idle_instances, running_instances, instances }
}

//! Pools as configured, looked over before anything is started.

use std::collections::BTreeSet;

use crate::fleet::error::FleetError;
use crate::fleet::rows::Role;
use crate::fleet::settings::Pool;

/// Without any in the settings: `neuro simulate` and `neuro trainer` on this machine.
#[must_use]
pub fn usual_pools() -> Vec<Pool> {
    let process = |name: &str, role: &str, warm: u32, max: u32| Pool {
        name: name.to_owned(),
        role: role.to_owned(),
        backend: "process".to_owned(),
        warm,
        max,
        ..Pool::default()
    };
    vec![process("isaac-sim", "simulator", 1, 8), process("trainer", "trainer", 1, 2)]
}

/// The role of each.
///
/// # Errors
/// `Invalid`, naming pool and key.
pub(super) fn pools(settings: &[Pool]) -> Result<Vec<Role>, FleetError> {
    let mut names = BTreeSet::new();
    for pool in settings {
        let letters = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte);
        if pool.name.is_empty() || pool.name.len() > 64 || !pool.name.bytes().all(letters) {
            let problem = format!("{:?} is not 1 to 64 of A-Za-z0-9._-", pool.name);
            return Err(FleetError::invalid("pool.name", problem));
        }
        if !names.insert(pool.name.as_str()) {
            return Err(FleetError::invalid("pool.name", format!("{:?} is there twice", pool.name)));
        }
    }
    settings.iter().map(one).collect()
}

fn one(pool: &Pool) -> Result<Role, FleetError> {
    let wrong = |key: &str, problem: String| {
        FleetError::invalid(format!("pool.{key}"), format!("of pool {:?} {problem}", pool.name))
    };
    let role = match pool.role.as_str() {
        "" | "simulator" => Role::Simulator,
        "trainer" => Role::Trainer,
        other => return Err(wrong("role", format!("is {other:?}; expected simulator or trainer"))),
    };
    for (key, seconds) in [("start_limit_s", pool.start_limit_s), ("shrink_after_s", pool.shrink_after_s)] {
        if !seconds.is_finite() || !(0.0..=1e9).contains(&seconds) {
            return Err(wrong(key, format!("is {seconds}; expected 0 or more seconds")));
        }
    }
    if pool.max > 0 && pool.max < pool.warm.max(pool.min) {
        let least = pool.warm.max(pool.min);
        return Err(wrong("max", format!("is {}, less than its warm or min, {least}", pool.max)));
    }
    let url = |key: &str, url: &str| {
        let http = url.starts_with("http://") && url.len() > "http://".len();
        if http { Ok(()) } else { Err(wrong(key, format!("is {url:?}; expected http://host:port"))) }
    };
    match pool.backend.as_str() {
        "static" => {
            if pool.instances.is_empty() {
                return Err(wrong("instances", "is empty; expected URLs".to_owned()));
            }
            if role == Role::Trainer {
                return Err(wrong(
                    "role",
                    "is trainer, and trainers attach: only simulators are polled".to_owned(),
                ));
            }
            pool.instances.iter().try_for_each(|one| url("instances", one))?;
        }
        "slurm" | "ray" => url("url", &pool.url)?,
        _ => {}
    }
    if pool.backend != "static" && !pool.instances.is_empty() {
        return Err(wrong("instances", format!("is for backend static, and this is {}", pool.backend)));
    }
    Ok(role)
}

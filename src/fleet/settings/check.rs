//! Values that cannot be: each is named with its key, so that a fleet never starts half understood.

use std::collections::{BTreeMap, BTreeSet};

use super::{
    Access, AgentPool, Control, FleetSettings, Leases, Omniverse, Pool, Queue, QuotaSettings, Sessions,
};

/// A value that makes no sense.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fault {
    /// The key with the tables it is in.
    pub key: String,
    /// The value, and what was expected.
    pub problem: String,
}

type Checked = Result<(), Fault>;

/// Longest name of a pool or an owner.
const LONGEST_NAME: usize = 64;

/// Longest time that can be set: a hundred years.
const LONGEST_S: f64 = 100.0 * 365.25 * 86400.0;

/// What starts and finds instances.
const BACKENDS: [&str; 5] = ["process", "static", "agent", "slurm", "ray"];

fn fault(key: impl Into<String>, problem: impl Into<String>) -> Fault {
    Fault { key: key.into(), problem: problem.into() }
}

fn ensure(holds: bool, key: impl Into<String>, problem: impl FnOnce() -> String) -> Checked {
    if holds { Ok(()) } else { Err(fault(key, problem())) }
}

impl FleetSettings {
    /// Whether every value makes sense, alone and beside the others.
    ///
    /// # Errors
    /// The first that does not.
    pub fn check(&self) -> Result<(), Fault> {
        url("public.url", &self.public.url, &["http", "https"])?;
        self.sessions.check()?;
        self.queue.check()?;
        self.leases.check()?;
        self.control.check()?;
        self.access.check()?;
        url("events.redis_url", &self.events.redis_url, &["redis", "rediss", "redis+unix"])?;
        self.omniverse.as_ref().map_or(Ok(()), Omniverse::check)?;
        self.quota.check("quota")?;
        for (owner, quota) in &self.owners {
            let key = format!("owners.{owner}");
            name(&key, owner)?;
            quota.check(&key)?;
        }
        pools(&self.pool)
    }
}

impl Sessions {
    fn check(&self) -> Checked {
        let key = |name: &str| format!("sessions.{name}");
        at_least_one(key("parallel_envs"), self.parallel_envs)?;
        at_least_one(key("max_simulators"), self.max_simulators)?;
        ensure(self.parallel_envs <= self.max_simulators, key("parallel_envs"), || {
            format!(
                "is {}, expected at most `max_simulators`, which is {}",
                self.parallel_envs, self.max_simulators
            )
        })?;
        ensure(!self.environment.is_empty(), key("environment"), || {
            "is empty, expected the name of an environment, such as `balance`".to_owned()
        })?;
        positive_time(key("create_wait_s"), self.create_wait_s)?;
        positive_time(key("load_limit_s"), self.load_limit_s)?;
        let lives = [
            ("manual_idle_s", self.manual_idle_s),
            ("manual_max_s", self.manual_max_s),
            ("training_idle_s", self.training_idle_s),
            ("training_max_s", self.training_max_s),
            ("hybrid_idle_s", self.hybrid_idle_s),
            ("hybrid_max_s", self.hybrid_max_s),
            ("recovery_s", self.recovery_s),
            ("keep_ended_s", self.keep_ended_s),
        ];
        for (name, value) in lives {
            time(key(name), value)?;
        }
        ensure(self.events_kept > 0, key("events_kept"), || "is 0, expected at least 1".to_owned())
    }
}

impl Queue {
    fn check(&self) -> Checked {
        positive_time("queue.timeout_s".to_owned(), self.timeout_s)?;
        positive_time("queue.abandon_s".to_owned(), self.abandon_s)?;
        time("queue.patience_s".to_owned(), self.patience_s)?;
        time("queue.preempt_after_s".to_owned(), self.preempt_after_s)
    }
}

impl Leases {
    fn check(&self) -> Checked {
        at_least_one("leases.interval_ms", self.interval_ms)?;
        ensure(self.lease_ms > self.interval_ms, "leases.lease_ms", || {
            format!("is {}, expected more than `interval_ms`, which is {}", self.lease_ms, self.interval_ms)
        })
    }
}

impl Control {
    fn check(&self) -> Checked {
        at_least_one("control.ttl_ms", self.ttl_ms)?;
        ensure(self.max_ttl_ms >= self.ttl_ms, "control.max_ttl_ms", || {
            format!("is {}, expected at least `ttl_ms`, which is {}", self.max_ttl_ms, self.ttl_ms)
        })?;
        at_least_one("control.max_commands_per_s", self.max_commands_per_s)?;
        at_least_one("control.max_connections", self.max_connections)?;
        for (key, value) in [("control.issuer", &self.issuer), ("control.audience", &self.audience)] {
            ensure(!value.is_empty(), key, || "is empty, expected what tokens carry".to_owned())?;
        }
        let short = !self.secret.is_empty() && self.secret.len() < 16;
        ensure(!short, "control.secret", || "is shorter than 16 bytes, expected more, or none".to_owned())
    }
}

impl Access {
    fn check(&self) -> Checked {
        let mut seen = BTreeSet::new();
        for (index, key) in self.key.iter().enumerate() {
            let at = |name: &str| format!("access.key[{index}].{name}");
            ensure(key.key.len() >= 8, at("key"), || {
                "is shorter than 8 bytes, expected a long random text".to_owned()
            })?;
            ensure(key.key.bytes().all(|byte| byte.is_ascii_graphic()), at("key"), || {
                "holds other than printable ASCII, which a header cannot carry".to_owned()
            })?;
            ensure(seen.insert(&key.key), at("key"), || "is given twice".to_owned())?;
            ensure(["user", "instance", "admin"].contains(&key.role.as_str()), at("role"), || {
                format!("is {:?}, expected `user`, `instance` or `admin`", key.role)
            })?;
            match key.role.as_str() {
                "user" => name(&at("owner"), &key.owner)?,
                _ if key.owner.is_empty() => {}
                _ => name(&at("owner"), &key.owner)?,
            }
        }
        let pair = self.tls_cert.as_os_str().is_empty() == self.tls_key.as_os_str().is_empty();
        ensure(pair, "access.tls_key", || "and `tls_cert` belong together: give both or none".to_owned())?;
        let alone = self.tls_cert.as_os_str().is_empty() && !self.tls_client_ca.as_os_str().is_empty();
        ensure(!alone, "access.tls_client_ca", || "needs `tls_cert` and `tls_key` beside it".to_owned())
    }
}

impl Omniverse {
    fn check(&self) -> Checked {
        ensure(!self.nucleus_url.is_empty(), "omniverse.nucleus_url", || {
            "is empty, expected `omniverse://host`".to_owned()
        })?;
        url("omniverse.nucleus_url", &self.nucleus_url, &["omniverse", "http", "https"])?;
        url("omniverse.http_proxy_url", &self.http_proxy_url, &["http", "https"])
    }
}

impl QuotaSettings {
    fn check(&self, table: &str) -> Checked {
        let hours = self.gpu_hours_per_month;
        ensure(hours.is_finite() && hours >= 0.0, format!("{table}.gpu_hours_per_month"), || {
            format!("is {hours}, expected 0 or more")
        })
    }
}

fn pools(pools: &[Pool]) -> Checked {
    let mut names = BTreeMap::new();
    for (index, pool) in pools.iter().enumerate() {
        let at = |name: &str| format!("pool[{index}].{name}");
        name(&at("name"), &pool.name)?;
        if let Some(first) = names.insert(&pool.name, index) {
            return Err(fault(
                at("name"),
                format!("is {:?}, which pool[{first}] is called already", pool.name),
            ));
        }
        ensure(["simulator", "trainer"].contains(&pool.role.as_str()), at("role"), || {
            format!("is {:?}, expected `simulator` or `trainer`", pool.role)
        })?;
        ensure(BACKENDS.contains(&pool.backend.as_str()), at("backend"), || {
            format!("is {:?}, expected one of {}", pool.backend, BACKENDS.join(", "))
        })?;
        at_least_one(at("max"), pool.max)?;
        for (key, value) in [("warm", pool.warm), ("min", pool.min)] {
            ensure(value <= pool.max, at(key), || {
                format!("is {value}, expected at most `max`, which is {}", pool.max)
            })?;
        }
        at_least_one(at("slots_per_gpu"), pool.slots_per_gpu)?;
        time(at("shrink_after_s"), pool.shrink_after_s)?;
        positive_time(at("start_limit_s"), pool.start_limit_s)?;
        by_backend(pool, at)?;
    }
    Ok(())
}

fn by_backend(pool: &Pool, at: impl Fn(&str) -> String) -> Checked {
    let remote = ["slurm", "ray"].contains(&pool.backend.as_str());
    match pool.backend.as_str() {
        "static" => {
            ensure(!pool.instances.is_empty(), at("instances"), || {
                "is empty, expected URLs of instances for the backend `static`".to_owned()
            })?;
            for (index, instance) in pool.instances.iter().enumerate() {
                let key = at(&format!("instances[{index}]"));
                ensure(!instance.is_empty(), key.clone(), || "is empty, expected a URL".to_owned())?;
                url(&key, instance, &["http"])?;
            }
        }
        _ => ensure(pool.instances.is_empty(), at("instances"), || {
            format!("is for the backend `static`, and this one is `{}`", pool.backend)
        })?,
    }
    by_agents(pool, &at)?;
    ensure(!remote || !pool.url.is_empty(), at("url"), || {
        format!("is empty, expected where the `{}` service is", pool.backend)
    })?;
    ensure(remote || pool.url.is_empty(), at("url"), || {
        format!("is for the backends slurm and ray, and this one is `{}`", pool.backend)
    })?;
    url(&at("url"), &pool.url, &["http", "https"])
}

fn by_agents(pool: &Pool, at: &impl Fn(&str) -> String) -> Checked {
    let (agent, here) = (&pool.agent, pool.backend == "agent");
    ensure(here || *agent == AgentPool::default(), at("agent"), || {
        format!("is for the backend `agent`, and this one is `{}`", pool.backend)
    })?;
    ensure(!here || !agent.urls.is_empty(), at("agent.urls"), || {
        "is empty, expected URLs of node agents for the backend `agent`".to_owned()
    })?;
    for (index, agent) in agent.urls.iter().enumerate() {
        let key = at(&format!("agent.urls[{index}]"));
        ensure(!agent.is_empty(), key.clone(), || "is empty, expected a URL".to_owned())?;
        url(&key, agent, &["http", "https"])?;
    }
    ensure(!here || !agent.image.is_empty(), at("agent.image"), || {
        "is empty, expected the name of an image on the nodes".to_owned()
    })?;
    ensure(agent.cpu_cores <= 4096, at("agent.cpu_cores"), || {
        format!("is {}, expected 0 to 4096", agent.cpu_cores)
    })?;
    ensure(agent.memory_mb <= 1 << 24, at("agent.memory_mb"), || {
        format!("is {}, expected 0 to {} MiB", agent.memory_mb, 1 << 24)
    })?;
    for (index, volume) in agent.volumes.iter().enumerate() {
        ensure(super::volume(volume).is_some(), at(&format!("agent.volumes[{index}]")), || {
            format!("is {volume:?}, expected NAME:/PATH or NAME:/PATH:ro")
        })?;
    }
    let pair = agent.tls_cert.as_os_str().is_empty() == agent.tls_key.as_os_str().is_empty();
    ensure(pair, at("agent.tls_key"), || "and `tls_cert` belong together, and one is empty".to_owned())
}

fn at_least_one(key: impl Into<String>, value: u32) -> Checked {
    ensure(value > 0, key, || "is 0, expected at least 1".to_owned())
}

fn time(key: String, seconds: f64) -> Checked {
    ensure((0.0..=LONGEST_S).contains(&seconds), key, || {
        format!("is {seconds}, expected seconds from 0 to {LONGEST_S:.0}")
    })
}

fn positive_time(key: String, seconds: f64) -> Checked {
    ensure(seconds > 0.0, key.clone(), || format!("is {seconds}, expected more than 0 seconds"))?;
    time(key, seconds)
}

fn name(key: &str, text: &str) -> Checked {
    let allowed = |byte: u8| byte.is_ascii_alphanumeric() || b"._@+-".contains(&byte);
    ensure(!text.is_empty() && text.len() <= LONGEST_NAME && text.bytes().all(allowed), key, || {
        format!("is {text:?}, expected 1 to {LONGEST_NAME} of A-Za-z0-9._@+-")
    })
}

/// Empty, or `scheme://host...` of one of these.
fn url(key: &str, text: &str, schemes: &[&str]) -> Checked {
    let known = |(scheme, rest): (&str, &str)| {
        schemes.contains(&scheme) && !rest.is_empty() && !rest.contains(char::is_whitespace)
    };
    ensure(text.is_empty() || text.split_once("://").is_some_and(known), key, || {
        format!("is {text:?}, expected an address beginning with {}://", schemes.join(":// or "))
    })
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;

    fn key_of(text: &str) -> String {
        let settings: FleetSettings = toml::from_str(text).unwrap();
        settings.check().unwrap_err().key
    }

    #[test]
    fn the_defaults_make_sense() {
        FleetSettings::default().check().unwrap();
    }

    #[test]
    fn every_value_that_makes_no_sense_is_named() {
        let pool = "[[pool]]\nname = \"a\"\nrole = \"trainer\"\n";
        let wrong = [
            ("[public]\nurl = \"here\"", "public.url"),
            ("[sessions]\nparallel_envs = 0", "sessions.parallel_envs"),
            ("[sessions]\nparallel_envs = 65", "sessions.parallel_envs"),
            ("[sessions]\nenvironment = \"\"", "sessions.environment"),
            ("[sessions]\ncreate_wait_s = -1", "sessions.create_wait_s"),
            ("[sessions]\nhybrid_max_s = nan", "sessions.hybrid_max_s"),
            ("[sessions]\nkeep_ended_s = inf", "sessions.keep_ended_s"),
            ("[sessions]\nevents_kept = 0", "sessions.events_kept"),
            ("[queue]\ntimeout_s = 0", "queue.timeout_s"),
            ("[leases]\nlease_ms = 5000", "leases.lease_ms"),
            ("[control]\nsecret = \"short\"", "control.secret"),
            ("[control]\nmax_ttl_ms = 1", "control.max_ttl_ms"),
            ("[access]\ntls_cert = \"a.pem\"", "access.tls_key"),
            ("[access]\ntls_client_ca = \"a.pem\"", "access.tls_client_ca"),
            ("[[access.key]]\nkey = \"long enough\"\nrole = \"user\"\nowner = \"a\"", "access.key[0].key"),
            ("[[access.key]]\nkey = \"longenough\"\nrole = \"root\"\nowner = \"a\"", "access.key[0].role"),
            ("[[access.key]]\nkey = \"longenough\"\nrole = \"user\"", "access.key[0].owner"),
            ("[omniverse]\nnucleus_url = \"\"", "omniverse.nucleus_url"),
            ("[quota]\ngpu_hours_per_month = -1", "quota.gpu_hours_per_month"),
            ("[owners.\"a b\"]\nweight = 2", "owners.a b"),
            ("[events]\nredis_url = \"http://a\"", "events.redis_url"),
            ("[[pool]]\nname = \"a\"", "pool[0].role"),
            ("[[pool]]\nrole = \"trainer\"", "pool[0].name"),
        ];
        for (text, key) in wrong {
            assert_eq!(key_of(text), key, "{text}");
        }
        let of_pools = [
            ("backend = \"docker\"", "pool[0].backend"),
            ("min = 9", "pool[0].min"),
            ("max = 0", "pool[0].max"),
            ("slots_per_gpu = 0", "pool[0].slots_per_gpu"),
            ("backend = \"static\"", "pool[0].instances"),
            ("backend = \"static\"\ninstances = [\"host:1\"]", "pool[0].instances[0]"),
            ("backend = \"slurm\"", "pool[0].url"),
            ("url = \"http://a\"", "pool[0].url"),
            ("[[pool]]\nname = \"a\"\nrole = \"simulator\"", "pool[1].name"),
        ];
        for (text, key) in of_pools {
            assert_eq!(key_of(&format!("{pool}{text}")), key, "{text}");
        }
    }

    #[test]
    fn secrets_are_not_shown() {
        let text = "[control]\nsecret = \"hunter2hunter2hunter2\"\n\
            [events]\nredis_url = \"redis://:hunter2@localhost\"\n\
            [omniverse]\nnucleus_url = \"omniverse://a\"\naccess_token = \"hunter2\"\n\
            [[access.key]]\nkey = \"hunter2hunter2\"\nrole = \"admin\"\n\
            [[pool]]\nname = \"a\"\nrole = \"trainer\"\nenv = { TOKEN = \"hunter2\" }\n";
        let settings = FleetSettings::parse(Path::new("fleet.toml"), text).unwrap();
        let shown = settings.to_toml().unwrap();
        assert!(!shown.contains("hunter2"), "{shown}");
        assert_eq!(shown.matches("<redacted>").count(), 5, "{shown}");
        assert!(toml::from_str::<FleetSettings>(&shown).is_ok(), "{shown}");
    }
}

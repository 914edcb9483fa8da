//! What is run for an instance.

use std::collections::BTreeMap;

use super::{Birth, Launch};
use crate::fleet::error::FleetError;
use crate::fleet::settings::Pool;
use crate::fleet::url::websocket;

/// The variable in an instance's environment that names it, by which a process that lost its record is found again.
pub const INSTANCE_VARIABLE: &str = "NEURO_INSTANCE_ID";

/// The command of a pool's instances, with places for what differs between them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct InstanceCommand {
    program: Vec<String>,
    env: BTreeMap<String, String>,
    pool: String,
    orchestrator: String,
    signalling: String,
    data: String,
}

impl InstanceCommand {
    /// The pool's own command, or `neuro simulate` or `neuro trainer` of this binary.
    ///
    /// # Errors
    /// `Invalid` when the pool's command has an unknown place.
    pub fn new(pool: &Pool, launch: &Launch) -> Result<Self, FleetError> {
        let program = if pool.command.is_empty() { usual(pool, launch) } else { pool.command.clone() };
        let command = Self {
            program,
            env: pool.env.clone(),
            pool: pool.name.clone(),
            orchestrator: launch.orchestrator_url.clone(),
            signalling: relay(&launch.http_url),
            data: launch.data.display().to_string(),
        };
        if command.program.first().is_none_or(|program| program.trim().is_empty()) {
            return Err(FleetError::invalid("command", format!("of pool {:?} names no program", pool.name)));
        }
        Ok(command)
    }

    /// Program and arguments of one instance.
    #[must_use]
    pub fn argv(&self, birth: &Birth) -> Vec<String> {
        let id = birth.instance.to_string();
        let places: [(&str, &str); 6] = [
            ("{id}", &id),
            ("{name}", &birth.name),
            ("{pool}", &self.pool),
            ("{orchestrator}", &self.orchestrator),
            ("{signalling}", &self.signalling),
            ("{data}", &self.data),
        ];
        self.program.iter().map(|part| fill(part, &places)).collect()
    }

    /// What is added to its environment.
    #[must_use]
    pub fn env(&self, birth: &Birth) -> BTreeMap<String, String> {
        let mut env = self.env.clone();
        env.insert(INSTANCE_VARIABLE.to_owned(), birth.instance.to_string());
        env
    }

    /// What an image's own command is told in its environment.
    #[must_use]
    pub fn told(&self, birth: &Birth) -> BTreeMap<String, String> {
        let told = [
            ("NEURO_ORCHESTRATOR", self.orchestrator.clone()),
            (INSTANCE_VARIABLE, birth.instance.to_string()),
            ("NEURO_INSTANCE_NAME", birth.name.clone()),
            ("NEURO_POOL", self.pool.clone()),
            ("NEURO_SIGNALLING", self.signalling.clone()),
        ];
        told.map(|(name, value)| (name.to_owned(), value)).into()
    }

    /// The command as one line for a shell.
    #[must_use]
    pub fn shell_line(&self, birth: &Birth) -> String {
        self.argv(birth).iter().map(|part| quote(part)).collect::<Vec<_>>().join(" ")
    }

    /// The pool.
    #[must_use]
    pub fn pool(&self) -> &str {
        &self.pool
    }
}

fn usual(pool: &Pool, launch: &Launch) -> Vec<String> {
    let sort = if pool.role == "trainer" { "trainer" } else { "simulate" };
    let places =
        ["--orchestrator", "{orchestrator}", "--instance-id", "{id}", "--name", "{name}", "--pool", "{pool}"];
    let mut argv = vec![launch.binary.display().to_string(), sort.to_owned()];
    argv.extend(places.map(str::to_owned));
    argv.extend(["--data", "{data}"].map(str::to_owned));
    if sort == "simulate" && !launch.http_url.is_empty() {
        argv.extend(["--signalling", "{signalling}"].map(str::to_owned));
    }
    if let Some(key_file) = &launch.key_file {
        argv.extend(["--key-file".to_owned(), key_file.display().to_string()]);
    }
    argv
}

/// Where a simulator meets browsers; it fills in the session itself.
fn relay(http_url: &str) -> String {
    format!("{}/api/webrtc/signaling/isaac-sim/{{session}}", websocket(http_url))
}

/// Replaces every place in one pass: what is put in is not looked at again.
fn fill(part: &str, places: &[(&str, &str)]) -> String {
    let mut filled = String::with_capacity(part.len());
    let mut rest = part;
    while let Some(at) = rest.find('{') {
        let (before, from) = rest.split_at(at);
        filled.push_str(before);
        let place =
            places.iter().find_map(|(place, value)| from.strip_prefix(place).map(|after| (after, value)));
        match place {
            Some((after, value)) => {
                filled.push_str(value);
                rest = after;
            }
            None => {
                filled.push('{');
                rest = from.strip_prefix('{').unwrap_or_default();
            }
        }
    }
    filled.push_str(rest);
    filled
}

/// One word for a POSIX shell.
fn quote(word: &str) -> String {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-_./:=,@%+".contains(&byte);
    if !word.is_empty() && word.bytes().all(plain) {
        return word.to_owned();
    }
    format!("'{}'", word.replace('\'', r"'\''"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fleet::ids::InstanceId;

    fn launch() -> Launch {
        Launch {
            binary: "/opt/neuro".into(),
            orchestrator_url: "http://127.0.0.1:50051".to_owned(),
            http_url: "http://127.0.0.1:8010".to_owned(),
            data: "/var/lib/neuro".into(),
            key_file: Some("/etc/neuro key".into()),
        }
    }

    #[test]
    fn a_pool_without_a_command_runs_this_binary() {
        let pool = Pool { name: "trainers".to_owned(), role: "trainer".to_owned(), ..Pool::default() };
        let birth = Birth { instance: InstanceId::new(), name: "trainer-1".to_owned() };
        let line = InstanceCommand::new(&pool, &launch()).unwrap().shell_line(&birth);
        let expected = format!(
            "/opt/neuro trainer --orchestrator http://127.0.0.1:50051 --instance-id {} --name trainer-1 \
             --pool trainers --data /var/lib/neuro --key-file '/etc/neuro key'",
            birth.instance
        );
        assert_eq!(line, expected);
    }

    #[test]
    fn a_simulator_is_told_where_browsers_look_for_it() {
        let pool = Pool { name: "sims".to_owned(), role: "simulator".to_owned(), ..Pool::default() };
        let birth = Birth { instance: InstanceId::new(), name: "sim-1".to_owned() };
        let argv = InstanceCommand::new(&pool, &launch()).unwrap().argv(&birth);
        let flag = argv.iter().position(|part| part == "--signalling").unwrap();
        assert_eq!(argv[flag + 1], "ws://127.0.0.1:8010/api/webrtc/signaling/isaac-sim/{session}");
        let nowhere = Launch { http_url: String::new(), ..launch() };
        let argv = InstanceCommand::new(&pool, &nowhere).unwrap().argv(&birth);
        assert!(!argv.contains(&"--signalling".to_owned()));
        assert_eq!(relay("https://fleet.test/"), "wss://fleet.test/api/webrtc/signaling/isaac-sim/{session}");
    }

    #[test]
    fn what_is_filled_in_is_not_filled_in_again() {
        let places = [("{name}", "{pool}"), ("{pool}", "p")];
        assert_eq!(fill("a{name}b{pool}{other}{", &places), "a{pool}bp{other}{");
    }

    #[test]
    fn a_quote_in_an_argument_stays_an_argument() {
        assert_eq!(quote("it's; rm -rf"), r"'it'\''s; rm -rf'");
        assert_eq!(quote(""), "''");
    }
}

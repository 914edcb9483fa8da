//! Values that have the right type and make no sense all the same.

use std::fmt::Debug;
use std::net::{IpAddr, Ipv4Addr};

use super::{AccessSettings, AgentSettings, LimitSettings};

/// A key, and what is wrong with its value.
pub(super) type Fault = (String, String);

impl AgentSettings {
    pub(super) fn check(&self) -> Result<(), Fault> {
        self.limits.check()?;
        self.access.check()?;
        if !self.node.ip.is_empty() && self.node.ip.parse::<IpAddr>().is_err() {
            return Err(is("node.ip", &self.node.ip, "an IP address"));
        }
        if self.container.runtimes.is_empty() {
            return Err(fault("container.runtimes", "is empty, expected at least one name or path"));
        }
        for (index, name) in self.container.capabilities.iter().enumerate() {
            let known = name.strip_prefix("CAP_").is_some_and(|rest| {
                !rest.is_empty() && rest.bytes().all(|byte| byte.is_ascii_uppercase() || byte == b'_')
            });
            if !known {
                return Err(is(&format!("container.capabilities[{index}]"), name, "a name as CAP_NET_ADMIN"));
            }
        }
        let network = &self.container.cable_network;
        let (address, bits) = network.split_once('/').unwrap_or((network, ""));
        if address.parse::<Ipv4Addr>().is_err()
            || !bits.parse::<u8>().is_ok_and(|bits| (8..=30).contains(&bits))
        {
            return Err(is("container.cable_network", network, "ADDRESS/BITS of IPv4, with 8 to 30 bits"));
        }
        if !["auto", "kvm", "tcg"].contains(&self.qemu.accelerator.as_str()) {
            return Err(is("qemu.accelerator", &self.qemu.accelerator, "auto, kvm or tcg"));
        }
        for (name, folder) in &self.volumes {
            let key = format!("volumes.{name}");
            let sound = name.bytes().next().is_some_and(|first| first.is_ascii_alphanumeric())
                && name.len() <= 63
                && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"_.-".contains(&byte));
            if !sound {
                let expected = "is no name, expected a letter or digit and then up to 62 of A-Za-z0-9_.-";
                return Err(fault(&key, expected));
            }
            if !folder.is_absolute() {
                return Err(is(&key, folder, "an absolute path"));
            }
        }
        let servers = std::iter::once(("cluster.server".to_owned(), &self.cluster.server));
        let members = self.cluster.etcd.iter().enumerate();
        let members = members.map(|(index, url)| (format!("cluster.etcd[{index}]"), url));
        for (key, url) in servers.filter(|(_, url)| !url.is_empty()).chain(members) {
            if !is_url(url) {
                return Err(is(&key, url, "http://HOST:PORT"));
            }
        }
        Ok(())
    }
}

impl LimitSettings {
    fn check(&self) -> Result<(), Fault> {
        let least = [
            ("instances", u64::from(self.instances), 1),
            ("operations", u64::from(self.operations), 1),
            ("pids", u64::from(self.pids), 1),
            ("memory_bytes", self.memory_bytes, 1 << 20),
            ("console_log_bytes", self.console_log_bytes, 4096),
        ];
        for (key, value, least) in least {
            if value < least {
                return Err(is(&format!("limits.{key}"), value, &format!("at least {least}")));
            }
        }
        if !(4096..=64 << 20).contains(&self.scrollback_bytes) {
            return Err(is("limits.scrollback_bytes", self.scrollback_bytes, "4096 to 67108864"));
        }
        if !(self.memory_share > 0.0 && self.memory_share <= 1.0) {
            return Err(number("limits.memory_share", self.memory_share, "more than 0 and at most 1"));
        }
        if !(self.cpu_share > 0.0 && self.cpu_share <= 1000.0) {
            return Err(number("limits.cpu_share", self.cpu_share, "more than 0 and at most 1000"));
        }
        if !(0.0..=3600.0).contains(&self.stop_s) {
            return Err(number("limits.stop_s", self.stop_s, "0 to 3600"));
        }
        Ok(())
    }
}

impl AccessSettings {
    fn check(&self) -> Result<(), Fault> {
        let missing =
            |key: &str, why: &str| Err(fault(&format!("access.{key}"), &format!("is missing: {why}")));
        let [cert, key, authority] =
            [&self.tls_cert, &self.tls_key, &self.tls_client_ca].map(|path| !path.as_os_str().is_empty());
        match (cert, key) {
            (true, false) => missing("tls_key", "tls_cert needs its key"),
            (false, true) => missing("tls_cert", "tls_key needs its certificate"),
            (false, false) if authority => missing("tls_cert", "tls_client_ca needs TLS"),
            _ => Ok(()),
        }
    }
}

fn is_url(text: &str) -> bool {
    let Some(rest) = text.strip_prefix("http://") else { return false };
    rest.trim_end_matches('/').rsplit_once(':').is_some_and(|(host, port)| {
        !host.is_empty() && !host.contains('/') && port.parse::<u16>().is_ok_and(|port| port != 0)
    })
}

fn is(key: &str, value: impl Debug, expected: &str) -> Fault {
    fault(key, &format!("is {value:?}, expected {expected}"))
}

fn number(key: &str, value: f64, expected: &str) -> Fault {
    fault(key, &format!("is {value}, expected {expected}"))
}

fn fault(key: &str, problem: &str) -> Fault {
    (key.to_owned(), problem.to_owned())
}

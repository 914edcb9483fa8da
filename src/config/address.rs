//! A host and a port, of a service somewhere else.

use std::fmt;

/// Where a service listens.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct HostPort {
    /// A name or an address; IPv6 without brackets.
    pub host: String,
    /// Not 0.
    pub port: u16,
}

impl HostPort {
    /// Reads `host:port`, `1.2.3.4:port` or `[::1]:port`.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let (host, port) = text.rsplit_once(':')?;
        let host = match host.strip_prefix('[') {
            Some(rest) => rest.strip_suffix(']')?,
            None if host.contains(':') => return None,
            None => host,
        };
        let port: u16 = port.parse().ok().filter(|port| *port != 0)?;
        Self::new(host, port)
    }

    /// A host and a port; `None` when the host cannot be one.
    #[must_use]
    pub fn new(host: &str, port: u16) -> Option<Self> {
        let usable = |letter: char| letter.is_ascii_alphanumeric() || ".-_:".contains(letter);
        let valid = !host.is_empty() && host.len() <= 253 && host.chars().all(usable) && port != 0;
        valid.then(|| Self { host: host.to_owned(), port })
    }

    /// Whether only this machine is meant.
    #[must_use]
    pub fn is_loopback(&self) -> bool {
        self.host == "localhost" || self.host.parse::<std::net::IpAddr>().is_ok_and(|ip| ip.is_loopback())
    }
}

impl fmt::Display for HostPort {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.host.contains(':') {
            write!(out, "[{}]:{}", self.host, self.port)
        } else {
            write!(out, "{}:{}", self.host, self.port)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hosts_and_ports_are_told_apart() {
        for text in ["localhost:46435", "127.0.0.1:1", "[::1]:65535", "gpu-1.lab:8080"] {
            assert_eq!(HostPort::parse(text).unwrap().to_string(), text);
        }
        for text in
            ["localhost", "localhost:0", "localhost:70000", ":1", "::1:80", "[::1:80", "a b:1", "a/b:1"]
        {
            assert_eq!(HostPort::parse(text), None, "{text}");
        }
    }

    #[test]
    fn loopback_is_known_by_name_and_by_address() {
        for text in ["localhost:1", "127.0.0.9:1", "[::1]:1"] {
            assert!(HostPort::parse(text).unwrap().is_loopback(), "{text}");
        }
        assert!(!HostPort::parse("192.0.2.1:1").unwrap().is_loopback());
    }
}

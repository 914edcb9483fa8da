//! Addresses as the caller can use them: with the host it came in by, unless the settings name one.

use std::net::IpAddr;

use axum::http::Uri;
use axum::http::uri::{Authority, Parts};

use crate::grpc::fleet::front::Arrival;

/// How addresses are written for one caller.
#[derive(Debug, Clone)]
pub(in crate::grpc::fleet) struct Addresses {
    host: Option<String>,
}

impl Addresses {
    /// `fixed`: the settings name the public address, and nothing is rewritten.
    pub(in crate::grpc::fleet) fn of(arrival: &Arrival, fixed: bool) -> Self {
        Self { host: arrival.host.clone().filter(|_| !fixed) }
    }

    /// Whether the caller is elsewhere, so that this machine's loopback addresses are of no use to it.
    pub(in crate::grpc::fleet) fn elsewhere(&self) -> bool {
        self.host.as_deref().is_some_and(|host| !is_loopback(host))
    }

    /// An address of this server, as the caller reaches it: loopback becomes the host it came in by.
    pub(in crate::grpc::fleet) fn own(&self, url: &str) -> String {
        let rewritten = || {
            let host = self.host.as_deref().filter(|host| !is_loopback(host))?;
            let uri: Uri = url.parse().ok()?;
            if !uri.host().is_some_and(is_loopback) {
                return None;
            }
            let authority = match uri.port_u16() {
                Some(port) => format!("{host}:{port}"),
                None => host.to_owned(),
            };
            let mut parts: Parts = uri.into_parts();
            parts.authority = Some(authority.parse::<Authority>().ok()?);
            Uri::from_parts(parts).ok().map(|uri| uri.to_string())
        };
        rewritten().unwrap_or_else(|| url.to_owned())
    }
}

/// Whether only this machine is meant, or no machine in particular.
pub(in crate::grpc::fleet) fn is_loopback(host: &str) -> bool {
    let plain = host.trim_start_matches('[').trim_end_matches(']');
    host == "localhost"
        || plain.parse::<IpAddr>().is_ok_and(|address| address.is_loopback() || address.is_unspecified())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn came_in_by(host: &str, fixed: bool) -> Addresses {
        let arrival = Arrival { deadline: None, host: Some(host.to_owned()) };
        Addresses::of(&arrival, fixed)
    }

    #[test]
    fn a_caller_from_elsewhere_is_told_the_host_it_came_in_by() {
        let far = came_in_by("fleet.lab", false);
        assert!(far.elsewhere());
        assert_eq!(far.own("ws://127.0.0.1:8010/control/s"), "ws://fleet.lab:8010/control/s");
        assert_eq!(far.own("http://0.0.0.0:8010/v1/sessions/s"), "http://fleet.lab:8010/v1/sessions/s");
        assert_eq!(far.own("ws://other:8010/control/s"), "ws://other:8010/control/s");
        assert_eq!(far.own(""), "");
        assert_eq!(
            came_in_by("[2001:db8::1]", false).own("ws://[::1]:1/a?b=c"),
            "ws://[2001:db8::1]:1/a?b=c"
        );
    }

    #[test]
    fn a_caller_on_this_machine_and_a_public_address_are_left_alone() {
        for addresses in [came_in_by("localhost", false), came_in_by("127.0.0.1", false)] {
            assert!(!addresses.elsewhere());
            assert_eq!(addresses.own("ws://127.0.0.1:8010/control/s"), "ws://127.0.0.1:8010/control/s");
        }
        let fixed = came_in_by("fleet.lab", true);
        assert_eq!(fixed.own("ws://127.0.0.1:8010/control/s"), "ws://127.0.0.1:8010/control/s");
    }
}

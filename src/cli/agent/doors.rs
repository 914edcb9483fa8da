//! Who may call the agent: keys, certificates, and a warning when it is everybody.

use std::net::SocketAddr;
use std::path::PathBuf;

use crate::agent::settings::AccessSettings;
use crate::cli::exit::{Exit, Failure, OrExit};
use crate::grpc::Tls;
use crate::grpc::agent::Keys;

/// Who may call, and what they are shown.
pub(super) struct Doors {
    pub(super) keys: Keys,
    pub(super) tls: Option<Tls>,
}

/// Reads what the settings name.
pub(super) fn doors(access: &AccessSettings) -> Result<Doors, Failure> {
    let read = |key: &str, path: &PathBuf| {
        let doing = format!("access.{key}: cannot read {}", path.display());
        std::fs::read_to_string(path).or_exit_with(Exit::Usage, doing)
    };
    let set = |path: &PathBuf| !path.as_os_str().is_empty();
    let keys = if set(&access.keys) {
        let text = read("keys", &access.keys)?;
        Keys::parse(&text).or_exit_with(Exit::Usage, format!("access.keys: {}", access.keys.display()))?
    } else {
        Keys::default()
    };
    if !set(&access.tls_cert) {
        return Ok(Doors { keys, tls: None });
    }
    let client_ca = match set(&access.tls_client_ca) {
        true => Some(read("tls_client_ca", &access.tls_client_ca)?),
        false => None,
    };
    let (certificate, key) = (read("tls_cert", &access.tls_cert)?, read("tls_key", &access.tls_key)?);
    Ok(Doors { keys, tls: Some(Tls { certificate, key, client_ca }) })
}

/// Addresses at which everybody is let in who is not on this machine.
pub(super) fn exposed(
    addresses: [Option<SocketAddr>; 2],
    access: &AccessSettings,
    doors: &Doors,
) -> Vec<SocketAddr> {
    let mutual = doors.tls.as_ref().is_some_and(|tls| tls.client_ca.is_some());
    let open = !mutual && doors.keys.is_open() && !access.open;
    addresses.into_iter().flatten().filter(|address| open && !address.ip().is_loopback()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_beyond_this_machine_is_exposed_unless_it_is_guarded_or_meant() {
        let addresses = [Some("127.0.0.1:1".parse().unwrap()), Some("0.0.0.0:2".parse().unwrap())];
        let open = Doors { keys: Keys::default(), tls: None };
        let keys = Doors { keys: Keys::parse("a-key-of-sufficient-length-0123456789\n").unwrap(), tls: None };
        let tls = |client_ca: Option<&str>| {
            let (certificate, key) = (String::new(), String::new());
            Doors {
                tls: Some(Tls { certificate, key, client_ca: client_ca.map(str::to_owned) }),
                keys: Keys::default(),
            }
        };
        let access = AccessSettings::default();
        assert_eq!(exposed(addresses, &access, &open), [addresses[1].unwrap()]);
        assert_eq!(
            exposed(addresses, &access, &tls(None)).len(),
            1,
            "a certificate of its own keeps nobody out"
        );
        assert!(exposed(addresses, &access, &tls(Some("CA"))).is_empty());
        assert!(exposed(addresses, &access, &keys).is_empty());
        assert!(exposed(addresses, &AccessSettings { open: true, ..access }, &open).is_empty());
    }
}

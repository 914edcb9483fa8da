//! Addresses of cables: a /30 each, held by a file whose name is its number and whose text is the instance's id. Files come
//! into being whole, by a link, so that two instances never hold the same and a crash leaves none half made.

use std::collections::BTreeSet;
use std::fs;
use std::io;
use std::net::Ipv4Addr;
use std::path::{Path, PathBuf};

use super::{Cable, device};
use crate::agent::error::AgentError;
use crate::agent::id::InstanceId;

const PREFIX: u8 = 30;

/// See the module.
#[derive(Debug, Clone)]
pub struct Cables {
    base: u32,
    count: u32,
    folder: PathBuf,
    mark: String,
}

impl Cables {
    /// Of an IPv4 network like `10.213.0.0/16`, with its leases in `data`.
    ///
    /// # Errors
    /// `Invalid` naming `container.cable_network`, when it is no network or has no room for one cable.
    pub fn new(network: &str, data: &Path, mark: &str) -> Result<Self, AgentError> {
        let (base, prefix) = parse(network).ok_or_else(|| {
            AgentError::invalid(
                "container.cable_network",
                format!("is {network:?}; expected an IPv4 network of /8 to /30, like \"10.213.0.0/16\""),
            )
        })?;
        Ok(Self { base, count: 1 << (PREFIX - prefix), folder: data.join("cables"), mark: mark.to_owned() })
    }

    /// The cable of an instance: the one it holds, or a free one. Blocks for some file system calls.
    ///
    /// # Errors
    /// `Exhausted` when all are held; `Internal` when the file cannot be written.
    pub fn lease(&self, id: &InstanceId) -> Result<Cable, AgentError> {
        let failed = |error: io::Error| AgentError::internal(format!("lease of a cable for {id}"), error);
        if let Some((number, _)) = self.leases().into_iter().find(|(_, holder)| holder == id.as_str()) {
            return Ok(self.cable(id, number));
        }
        fs::create_dir_all(&self.folder).map_err(failed)?;
        let draft = self.folder.join(format!("{}.draft", id.short()));
        fs::write(&draft, id.as_str()).map_err(failed)?;
        let first = u32::from_str_radix(id.short().get(..8).unwrap_or_default(), 16).unwrap_or_default();
        let taken = (0..self.count).map(|step| first.wrapping_add(step) % self.count).find_map(|number| {
            match fs::hard_link(&draft, self.folder.join(number.to_string())) {
                Ok(()) => Some(Ok(number)),
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists => None,
                Err(error) => Some(Err(failed(error))),
            }
        });
        fs::remove_file(&draft).map_err(failed)?;
        let full = || AgentError::Exhausted(format!("all {} cables of the node are in use", self.count));
        taken.ok_or_else(full)?.map(|number| self.cable(id, number))
    }

    /// Gives an instance's cable back. One that holds none is no error.
    ///
    /// # Errors
    /// `Internal` when the file cannot be removed.
    pub fn release(&self, id: &str) -> Result<(), AgentError> {
        for (number, _) in self.leases().into_iter().filter(|(_, holder)| holder == id) {
            match fs::remove_file(self.folder.join(number.to_string())) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => {
                    return Err(AgentError::internal(format!("lease of cable {number}"), error));
                }
                _ => {}
            }
        }
        Ok(())
    }

    /// Who holds one.
    #[must_use]
    pub fn holders(&self) -> BTreeSet<String> {
        self.leases().into_iter().map(|(_, holder)| holder).collect()
    }

    fn leases(&self) -> Vec<(u32, String)> {
        let Ok(files) = fs::read_dir(&self.folder) else { return Vec::new() };
        files
            .flatten()
            .filter_map(|file| {
                let number = file.file_name().to_str()?.parse().ok()?;
                Some((number, fs::read_to_string(file.path()).ok()?))
            })
            .collect()
    }

    fn cable(&self, id: &InstanceId, number: u32) -> Cable {
        let first = self.base + (number << 2);
        Cable {
            device: device(id),
            alias: format!("neuro-{}-{id}", self.mark),
            host: Ipv4Addr::from(first + 1),
            guest: Ipv4Addr::from(first + 2),
            prefix: PREFIX,
        }
    }
}

fn parse(network: &str) -> Option<(u32, u8)> {
    let (address, prefix) = network.split_once('/')?;
    let (address, prefix) = (u32::from(address.parse::<Ipv4Addr>().ok()?), prefix.parse::<u8>().ok()?);
    let fits = (8..=PREFIX).contains(&prefix) && address.trailing_zeros() >= u32::from(32 - prefix);
    fits.then_some((address, prefix))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cable_is_held_by_one_instance_until_it_gives_it_back() {
        let data = tempfile::tempdir().unwrap();
        let cables = Cables::new("10.213.0.0/29", data.path(), "0badcafe").unwrap();
        let [one, two, three]: [InstanceId; 3] = ["one", "two", "three"].map(|id| id.parse().unwrap());
        let first = cables.lease(&one).unwrap();
        assert_eq!(cables.lease(&one).unwrap(), first, "asked twice, one lease");
        let second = cables.lease(&two).unwrap();
        assert_ne!(first.host, second.host);
        assert_eq!((first.alias.as_str(), first.device.len()), ("neuro-0badcafe-one", 13));
        assert_eq!(u32::from(first.guest), u32::from(first.host) + 1);
        assert!(
            matches!(cables.lease(&three), Err(AgentError::Exhausted(text)) if text.contains("all 2 cables"))
        );
        cables.release("one").unwrap();
        cables.release("one").unwrap();
        assert_eq!(cables.lease(&three).unwrap().host, first.host);
        assert_eq!(cables.holders(), BTreeSet::from(["two".to_owned(), "three".to_owned()]));
        assert_eq!(fs::read_dir(data.path().join("cables")).unwrap().count(), 2, "no draft stays");
    }

    #[test]
    fn a_network_that_is_none_is_refused_with_what_was_expected() {
        for bad in ["", "10.0.0.0", "10.0.0.1/16", "10.0.0.0/31", "0.0.0.0/0", "fe80::/64", "10.213.0.0/x"] {
            let error = Cables::new(bad, Path::new("/nowhere"), "m").unwrap_err().to_string();
            assert!(error.contains(&format!("{bad:?}")) && error.contains("10.213.0.0/16"), "{error}");
        }
    }
}

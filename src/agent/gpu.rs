//! CDI devices: who holds those that one instance has for itself alone. One card may have several names (its number, its
//! UUID, `all`), so it is the device nodes behind a name that are held.

mod figures;

use std::collections::{BTreeMap, BTreeSet};

pub use figures::figures;

use super::error::AgentError;
use super::id::InstanceId;
use super::options::Options;
use super::settings::CdiSettings;

/// What there is: names as CDI has them (`nvidia.com/gpu=0`), and the device nodes behind each.
pub type Inventory = BTreeMap<String, BTreeSet<String>>;

/// What one instance holds: names, and the nodes that were behind them when they were given.
#[derive(Debug, Default)]
struct Holding {
    names: BTreeSet<String>,
    nodes: BTreeSet<String>,
}

/// Who holds which devices. What there is can change meanwhile: documents of CDI are written anew at every boot of a machine,
/// and an agent may be there before them.
#[derive(Debug, Default)]
pub struct Devices {
    held: BTreeMap<InstanceId, Holding>,
}

fn kind(device: &str) -> &str {
    device.split_once('=').map_or(device, |(kind, _)| kind)
}

fn field(name: &str) -> String {
    format!("annotations[\"hypervisor.io/{name}\"]")
}

/// What is held with a device: its nodes, or its name when it has none.
fn behind(device: &str, there: &Inventory) -> BTreeSet<String> {
    match there.get(device) {
        Some(nodes) if !nodes.is_empty() => nodes.clone(),
        _ => [device.to_owned()].into(),
    }
}

fn exclusive(device: &str, settings: &CdiSettings) -> bool {
    let kind = kind(device);
    kind == settings.gpu_kind || settings.exclusive.iter().any(|exclusive| exclusive == kind)
}

/// One name for each card of a kind: not `all`, and no second name.
fn cards<'a>(there: &'a Inventory, of_kind: &'a str) -> impl Iterator<Item = &'a String> {
    let mut seen = BTreeSet::new();
    let names = there.keys().filter(move |name| kind(name) == of_kind && !name.ends_with("=all"));
    names.filter(move |name| seen.insert(behind(name, there)))
}

/// Cards of a kind.
#[must_use]
pub fn count(there: &Inventory, of_kind: &str) -> usize {
    cards(there, of_kind).count()
}

impl Devices {
    /// Books what an instance of an earlier life holds.
    pub fn restore(
        &mut self,
        id: &InstanceId,
        devices: &[String],
        there: &Inventory,
        settings: &CdiSettings,
    ) {
        for device in devices.iter().filter(|device| exclusive(device, settings)) {
            self.hold(id, device, there);
        }
    }

    /// Gives an instance what its options ask for, out of what there is: the names, in order.
    ///
    /// # Errors
    /// `NotFound` for a device that is not there, `Exhausted` for one that another instance holds.
    pub fn take(
        &mut self,
        id: &InstanceId,
        options: &Options,
        there: &Inventory,
        settings: &CdiSettings,
    ) -> Result<Vec<String>, AgentError> {
        let held = self.nodes(there);
        let mut taken: BTreeSet<String> = BTreeSet::new();
        let mut nodes: BTreeSet<String> = BTreeSet::new();
        for device in &options.cdi_devices {
            if !there.contains_key(device) {
                return Err(AgentError::NotFound { what: "CDI device", id: device.clone() });
            }
            if exclusive(device, settings) {
                let wanted = behind(device, there);
                if let Some(holder) = wanted.iter().find_map(|node| held.get(node)) {
                    let text = format!("{} asks for {device}, which {holder} holds", field("cdi-devices"));
                    return Err(AgentError::Exhausted(text));
                }
                nodes.extend(wanted);
            }
            taken.insert(device.clone());
        }
        let wanted = options.gpu_count as usize;
        let free = cards(there, &settings.gpu_kind).filter(|device| {
            behind(device, there).iter().all(|node| !held.contains_key(node) && !nodes.contains(node))
        });
        let picked: Vec<String> = free.take(wanted).cloned().collect();
        if picked.len() < wanted {
            return Err(AgentError::Exhausted(format!(
                "{} asks for {wanted}; {} of {} are free",
                field("gpu-count"),
                picked.len(),
                settings.gpu_kind
            )));
        }
        taken.extend(picked);
        for device in taken.iter().filter(|device| exclusive(device, settings)) {
            self.hold(id, device, there);
        }
        Ok(taken.into_iter().collect())
    }

    fn hold(&mut self, id: &InstanceId, device: &str, there: &Inventory) {
        let holding = self.held.entry(id.clone()).or_default();
        holding.names.insert(device.to_owned());
        holding.nodes.extend(behind(device, there));
    }

    /// Every node that is held, with its holder.
    fn nodes(&self, there: &Inventory) -> BTreeMap<String, InstanceId> {
        let mut nodes = BTreeMap::new();
        for (id, holding) in &self.held {
            let now = holding.names.iter().flat_map(|name| behind(name, there));
            nodes.extend(holding.nodes.iter().cloned().chain(now).map(|node| (node, id.clone())));
        }
        nodes
    }

    /// An instance holds nothing any more.
    pub fn release(&mut self, id: &InstanceId) {
        self.held.remove(id);
    }

    /// Cards of a kind that somebody holds.
    #[must_use]
    pub fn held(&self, there: &Inventory, of_kind: &str) -> usize {
        let held = self.nodes(there);
        let taken = |name: &&String| behind(name, there).iter().any(|node| held.contains_key(node));
        cards(there, of_kind).filter(taken).count()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn id(text: &str) -> InstanceId {
        text.parse().unwrap()
    }

    fn there() -> Inventory {
        let nodes = |names: &[&str]| names.iter().map(|name| format!("/dev/nvidia{name}")).collect();
        [
            ("nvidia.com/gpu=0", nodes(&["0"])),
            ("nvidia.com/gpu=1", nodes(&["1"])),
            ("nvidia.com/gpu=GPU-0aa0", nodes(&["0"])),
            ("nvidia.com/gpu=all", nodes(&["0", "1"])),
            ("acme.com/port=x", BTreeSet::new()),
        ]
        .map(|(name, nodes)| (name.to_owned(), nodes))
        .into()
    }

    fn named(name: &str) -> Options {
        Options { cdi_devices: vec![name.to_owned()], ..Options::default() }
    }

    fn counted(gpu_count: u32) -> Options {
        Options { gpu_count, ..Options::default() }
    }

    #[test]
    fn a_gpu_has_one_holder_until_that_lets_go() {
        let (mut devices, settings, there) = (Devices::default(), CdiSettings::default(), there());
        let one = devices.take(&id("a"), &named("nvidia.com/gpu=0"), &there, &settings).unwrap();
        assert_eq!(one, ["nvidia.com/gpu=0"]);
        for taken in ["nvidia.com/gpu=0", "nvidia.com/gpu=GPU-0aa0", "nvidia.com/gpu=all"] {
            let error = devices.take(&id("b"), &named(taken), &there, &settings).unwrap_err();
            let expected = matches!(&error, AgentError::Exhausted(text) if text.contains("which a holds"));
            assert!(expected, "{taken}: {error}");
        }
        assert_eq!(devices.take(&id("b"), &counted(1), &there, &settings).unwrap(), ["nvidia.com/gpu=1"]);
        let error = devices.take(&id("c"), &counted(1), &there, &settings).unwrap_err();
        assert!(matches!(error, AgentError::Exhausted(_)));
        devices.release(&id("a"));
        assert_eq!(devices.take(&id("c"), &counted(1), &there, &settings).unwrap(), ["nvidia.com/gpu=0"]);
        assert_eq!((devices.held(&there, "nvidia.com/gpu"), count(&there, "nvidia.com/gpu")), (2, 2));
    }

    #[test]
    fn devices_of_other_kinds_are_shared_and_unknown_ones_are_not_found() {
        let (mut devices, settings, there) = (Devices::default(), CdiSettings::default(), there());
        for name in ["a", "b"] {
            let port = devices.take(&id(name), &named("acme.com/port=x"), &there, &settings).unwrap();
            assert_eq!(port, ["acme.com/port=x"]);
        }
        let error = devices.take(&id("a"), &named("nvidia.com/gpu=7"), &there, &settings).unwrap_err();
        assert!(matches!(error, AgentError::NotFound { what: "CDI device", .. }));
    }

    #[test]
    fn a_request_that_cannot_be_met_whole_takes_nothing() {
        let (mut devices, settings, there) = (Devices::default(), CdiSettings::default(), there());
        let both = Options { gpu_count: 2, ..named("nvidia.com/gpu=0") };
        assert!(devices.take(&id("a"), &both, &there, &settings).is_err());
        assert_eq!(devices.held(&there, "nvidia.com/gpu"), 0);
    }

    #[test]
    fn an_earlier_lifes_holder_still_holds() {
        let (mut devices, settings, there) = (Devices::default(), CdiSettings::default(), there());
        devices.restore(&id("a"), &["nvidia.com/gpu=all".to_owned()], &there, &settings);
        assert!(devices.take(&id("b"), &counted(1), &there, &settings).is_err());
    }

    #[test]
    fn a_card_whose_document_comes_late_or_goes_for_a_while_keeps_its_holder() {
        let (mut devices, settings, there) = (Devices::default(), CdiSettings::default(), there());
        devices.restore(&id("a"), &["nvidia.com/gpu=GPU-0aa0".to_owned()], &Inventory::new(), &settings);
        let error = devices.take(&id("b"), &named("nvidia.com/gpu=0"), &there, &settings).unwrap_err();
        assert!(error.to_string().contains("which a holds"), "{error}");
        assert_eq!(devices.take(&id("b"), &counted(1), &there, &settings).unwrap(), ["nvidia.com/gpu=1"]);
        let mut fewer = there.clone();
        fewer.remove("nvidia.com/gpu=1");
        let both = devices.take(&id("c"), &named("nvidia.com/gpu=all"), &fewer, &settings);
        assert!(matches!(both, Err(AgentError::Exhausted(_))), "{both:?}");
    }
}

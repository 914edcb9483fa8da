//! Images of containers: the OCI layout, and what `docker save` writes.

use std::collections::BTreeMap;

use oci_spec::image::{ImageConfiguration, ImageIndex, ImageManifest};
use serde::Deserialize;
use serde::de::DeserializeOwned;

use super::digest::{Digest, Hashed};
use super::index::Program;
use super::source::{Source, blob_name};
use crate::agent::error::AgentError;

/// Most layers: overlayfs takes five hundred.
const MOST_LAYERS: usize = 500;

/// How deep indices of indices may go.
const DEEPEST: usize = 4;

/// The annotation that names an image of a layout.
const REFERENCE: &str = "org.opencontainers.image.ref.name";

/// What an image is made of, before it is unpacked.
#[derive(Debug)]
pub(super) struct Plan {
    /// Of its manifest.
    pub(super) digest: Digest,
    /// The lowest first.
    pub(super) layers: Vec<Layer>,
    /// What it runs.
    pub(super) program: Program,
}

/// One layer.
#[derive(Debug)]
pub(super) struct Layer {
    /// In the source.
    pub(super) name: String,
    /// As it lies there; `docker save` announces none.
    pub(super) packed: Option<Digest>,
    /// Unpacked, as a tar archive.
    pub(super) plain: Digest,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Saved {
    config: String,
    #[serde(default)]
    repo_tags: Option<Vec<String>>,
    layers: Vec<String>,
}

/// Reads what is to be unpacked. `reference` chooses one of several images.
pub(super) fn plan(source: &Source, reference: Option<&str>) -> Result<Plan, AgentError> {
    if source.has("index.json") {
        return layout(source, reference);
    }
    if source.has("manifest.json") {
        return saved(source, reference);
    }
    Err(AgentError::invalid(
        "image",
        "has neither an index.json nor a manifest.json: it is no image of a container",
    ))
}

fn layout(source: &Source, reference: Option<&str>) -> Result<Plan, AgentError> {
    let mut index: ImageIndex = read(&source.document("index.json")?, "index.json")?;
    for _ in 0..DEEPEST {
        let descriptor = choose(&index, reference)?;
        let digest: Digest = descriptor.digest().to_string().parse()?;
        let document = source.blob(&digest)?;
        let kind = descriptor.media_type().to_string();
        if kind.contains("image.index") || kind.contains("manifest.list") {
            index = read(&document, &blob_name(&digest))?;
            continue;
        }
        return manifest(source, digest, &document);
    }
    Err(AgentError::invalid("image", format!("has indices of indices, more than {DEEPEST} deep")))
}

fn manifest(source: &Source, digest: Digest, document: &[u8]) -> Result<Plan, AgentError> {
    let manifest: ImageManifest = read(document, &blob_name(&digest))?;
    let config_digest: Digest = manifest.config().digest().to_string().parse()?;
    let config = source.blob(&config_digest)?;
    let packed: Vec<Digest> = manifest
        .layers()
        .iter()
        .map(|layer| layer.digest().to_string().parse())
        .collect::<Result<_, AgentError>>()?;
    let packed = packed.into_iter().map(|digest| (blob_name(&digest), Some(digest))).collect();
    assemble(digest, &config, &blob_name(&config_digest), packed)
}

fn saved(source: &Source, reference: Option<&str>) -> Result<Plan, AgentError> {
    let all: Vec<Saved> = read(&source.document("manifest.json")?, "manifest.json")?;
    let tags: Vec<String> = all.iter().flat_map(|one| one.repo_tags.iter().flatten().cloned()).collect();
    let is = |one: &&Saved| match reference {
        Some(wanted) => one.repo_tags.iter().flatten().any(|tag| tag == wanted),
        None => all.len() == 1,
    };
    let one = all.iter().find(is).ok_or_else(|| which(&tags, reference))?;
    let config = source.document(&one.config)?;
    let (digest, _) = Hashed::new(config.as_slice())
        .finish()
        .map_err(|error| AgentError::internal(format!("reading {}", one.config), error))?;
    let named = one.config.trim_end_matches(".json").rsplit('/').next().unwrap_or_default();
    if let Ok(announced) = format!("sha256:{named}").parse::<Digest>() {
        announced.expect(&digest, &one.config)?;
    }
    assemble(digest, &config, &one.config, one.layers.iter().map(|name| (name.clone(), None)).collect())
}

fn assemble(
    digest: Digest,
    config: &[u8],
    name: &str,
    packed: Vec<(String, Option<Digest>)>,
) -> Result<Plan, AgentError> {
    let config: ImageConfiguration = read(config, name)?;
    let plain = config.rootfs().diff_ids();
    if packed.len() != plain.len() || packed.len() > MOST_LAYERS {
        let problem = format!(
            "has {} layers and {} digests of them; expected as many, and at most {MOST_LAYERS}",
            packed.len(),
            plain.len()
        );
        return Err(AgentError::invalid("image", problem));
    }
    let layers = packed.into_iter().zip(plain);
    let layers = layers.map(|((name, packed), plain)| Ok(Layer { name, packed, plain: plain.parse()? }));
    Ok(Plan { digest, layers: layers.collect::<Result<_, AgentError>>()?, program: program(&config) })
}

fn program(config: &ImageConfiguration) -> Program {
    let Some(run) = config.config() else { return Program::default() };
    let env = run.env().iter().flatten();
    let env =
        env.filter_map(|pair| pair.split_once('=')).map(|(name, value)| (name.to_owned(), value.to_owned()));
    Program {
        entrypoint: run.entrypoint().clone().unwrap_or_default(),
        cmd: run.cmd().clone().unwrap_or_default(),
        env: env.collect::<BTreeMap<_, _>>(),
        working_dir: run.working_dir().clone().unwrap_or_default(),
        user: run.user().clone().unwrap_or_default(),
        stop_signal: run.stop_signal().clone().unwrap_or_default(),
    }
}

/// The image that is meant: by its name, or the only one for this machine.
fn choose<'a>(
    index: &'a ImageIndex,
    reference: Option<&str>,
) -> Result<&'a oci_spec::image::Descriptor, AgentError> {
    let name = |one: &oci_spec::image::Descriptor| {
        one.annotations().as_ref().and_then(|notes| notes.get(REFERENCE)).cloned()
    };
    let here = match std::env::consts::ARCH {
        "x86_64" => "amd64",
        "aarch64" => "arm64",
        other => other,
    };
    let fits = |one: &&oci_spec::image::Descriptor| match one.platform() {
        None => true,
        Some(platform) => platform.os().to_string() == "linux" && platform.architecture().to_string() == here,
    };
    let named: Vec<_> = index.manifests().iter().filter(|one| name(one).is_some()).collect();
    let mut fitting: Vec<_> = index.manifests().iter().filter(fits).collect();
    if let Some(wanted) = reference
        && !named.is_empty()
    {
        fitting.retain(|one| name(one).as_deref() == Some(wanted));
    }
    match fitting.as_slice() {
        [one] => Ok(one),
        [] if reference.is_none() || named.is_empty() => {
            Err(AgentError::invalid("image", format!("has nothing for linux on {here}")))
        }
        _ => Err(which(&named.into_iter().filter_map(name).collect::<Vec<_>>(), reference)),
    }
}

fn which(names: &[String], reference: Option<&str>) -> AgentError {
    let names = names.join(", ");
    let problem = match reference {
        Some(wanted) => format!("holds no image {wanted:?}; it has: {names}"),
        None => format!("holds several images: say which, of {names}"),
    };
    AgentError::invalid("image", problem)
}

fn read<T: DeserializeOwned>(bytes: &[u8], name: &str) -> Result<T, AgentError> {
    let document = &mut serde_json::Deserializer::from_slice(bytes);
    serde_path_to_error::deserialize(document).map_err(|error| {
        AgentError::invalid(
            format!("image: {name}"),
            format!("cannot be read at {}: {}", error.path(), error.inner()),
        )
    })
}

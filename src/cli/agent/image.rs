//! `neuro agent image`: the image store of this machine's data folder, whether an agent runs on it or not.

use std::path::PathBuf;

use clap::{Args, Subcommand, ValueEnum};
use serde_json::json;

use super::size;
use crate::agent::error::AgentError;
use crate::agent::image::store::{ImageStore, Import, What};
use crate::agent::image::{Image, detect, used};
use crate::cli::exit::{Exit, Failure, Outcome};
use crate::cli::output::{complain, say};
use crate::cli::table;

/// The image store.
#[derive(Debug, Args)]
pub(super) struct ImageArgs {
    #[command(subcommand)]
    command: ImageCommand,
}

#[derive(Debug, Subcommand)]
enum ImageCommand {
    /// Take an image in, checked and unpacked.
    Import(ImportArgs),
    /// List images.
    Ls(ListArgs),
    /// Forget an image that no instance was made of.
    Rm(RemoveArgs),
}

/// What a file or folder is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Format {
    /// Whatever its first bytes, or the files of its top folder, say.
    Auto,
    /// An OCI layout, or what `docker save` wrote: a folder or an archive.
    Oci,
    /// A root file system: a folder or an archive.
    Rootfs,
    /// A disk.
    Qcow2,
    /// A disk, byte by byte.
    Raw,
    /// A kernel.
    Kernel,
    /// An initrd.
    Initrd,
}

#[derive(Debug, Args)]
struct ImportArgs {
    /// What requests will call it.
    name: String,
    /// A file or folder.
    from: PathBuf,
    /// What it is.
    #[arg(long, value_enum, default_value = "auto")]
    format: Format,
    /// One of several images: its reference in the layout, or its tag.
    #[arg(long, value_name = "NAME")]
    reference: Option<String>,
    /// In the place of another of that name, when no instance was made of it.
    #[arg(long)]
    replace: bool,
    #[command(flatten)]
    at: Data,
}

#[derive(Debug, Args)]
struct ListArgs {
    #[command(flatten)]
    at: Data,
}

#[derive(Debug, Args)]
struct RemoveArgs {
    /// Its name.
    name: String,
    #[command(flatten)]
    at: Data,
}

#[derive(Debug, Args)]
struct Data {
    /// The agent's data folder.
    #[arg(long, env = "NEURO_AGENT_DATA", value_name = "DIR", default_value = "agent")]
    data: PathBuf,
    /// Print JSON.
    #[arg(long)]
    json: bool,
}

/// Runs one of them.
///
/// # Errors
/// [`Exit::Usage`] for what is wrong with the image; [`Exit::Failed`] for the rest.
pub(super) fn run(args: &ImageArgs) -> Outcome {
    match &args.command {
        ImageCommand::Import(args) => import(args),
        ImageCommand::Ls(args) => list(args),
        ImageCommand::Rm(args) => remove(args),
    }
}

fn import(args: &ImportArgs) -> Outcome {
    let mut what = match args.format {
        Format::Auto => detect(&args.from).map_err(failure)?,
        Format::Oci => What::Oci(None),
        Format::Rootfs => What::Rootfs,
        Format::Qcow2 => What::Disk { raw: false },
        Format::Raw => What::Disk { raw: true },
        Format::Kernel => What::Kernel,
        Format::Initrd => What::Initrd,
    };
    if let What::Oci(reference) = &mut what {
        reference.clone_from(&args.reference);
    }
    let store = ImageStore::open(&args.at.data).map_err(failure)?;
    let used = used(&args.at.data).map_err(failure)?;
    let import = Import { name: args.name.clone(), from: args.from.clone(), what, replace: args.replace };
    let imported = store.import(&import, &used).map_err(failure)?;
    if imported.left_out > 0 {
        complain(&format!(
            "neuro: {} devices and sockets were left out: instances get their own",
            imported.left_out
        ));
    }
    let image = imported.image;
    if args.at.json {
        say(&object(&image).to_string())?;
    } else {
        say(&format!("{} {} {}", image.name, image.digest, size::show(bytes(&image))))?;
    }
    Ok(Exit::Ok)
}

fn list(args: &ListArgs) -> Outcome {
    let images = ImageStore::open(&args.at.data).and_then(|store| store.list()).map_err(failure)?;
    if args.at.json {
        for image in &images {
            say(&object(image).to_string())?;
        }
        return Ok(Exit::Ok);
    }
    let rows: Vec<[String; 5]> = images
        .iter()
        .map(|image| {
            let digest = image.digest.to_string();
            let short = digest.get(..19).unwrap_or(&digest).to_owned();
            [
                image.name.clone(),
                image.kind.name().to_owned(),
                image.format.clone(),
                size::show(bytes(image)),
                short,
            ]
        })
        .collect();
    table::print(["name", "for", "format", "size", "digest"], &rows)?;
    Ok(Exit::Ok)
}

fn remove(args: &RemoveArgs) -> Outcome {
    let store = ImageStore::open(&args.at.data).map_err(failure)?;
    let used = used(&args.at.data).map_err(failure)?;
    let image = store.remove(&args.name, &used).map_err(failure)?;
    say(&if args.at.json { object(&image).to_string() } else { format!("{} is gone", image.name) })?;
    Ok(Exit::Ok)
}

fn bytes(image: &Image) -> i64 {
    i64::try_from(image.size_bytes).unwrap_or(i64::MAX)
}

fn object(image: &Image) -> serde_json::Value {
    json!({
        "name": image.name, "for": image.kind.name(), "format": image.format, "digest": image.digest.to_string(),
        "size_bytes": image.size_bytes, "layers": image.layers.len(), "imported_at_ms": image.imported_ms,
    })
}

fn failure(error: AgentError) -> Failure {
    let exit = if matches!(error, AgentError::Invalid { .. }) { Exit::Usage } else { Exit::Failed };
    Failure { exit, error: error.into() }
}

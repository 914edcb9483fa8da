//! Which accelerator works here. A /dev/kvm that opens can still be one that emulates every instruction, or one that dies
//! on some: so a guest is run on it for a few seconds.
//!
//! The guest is a firmware of its own, 64 KiB of which some 80 bytes are used: it counts to 2^24, says a line on the serial
//! port and resets the machine, which ends QEMU: so none is left when an agent was killed in between. A processor needs a
//! hundredth of a second for that, TCG a fifth; a kernel that emulates each instruction, a minute.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use rustix::thread::CapabilitySet;
use serde::{Deserialize, Serialize};
use tokio::process::Command;
use tokio::time::{Instant, sleep};

use super::cage;
use super::command::SANDBOX;
use super::plan::Accelerator;

/// What the guest says.
const LINE: &[u8] = b"neuro-canary sings\n";
/// How long it has for that on KVM.
const LIMIT: Duration = Duration::from_secs(5);
/// How long it has where nothing else is left, on a machine that may be busy.
const PATIENT: Duration = Duration::from_secs(30);
const LOOK: Duration = Duration::from_millis(20);
const FIRMWARE: usize = 64 << 10;
/// The first instruction is fetched 16 bytes before the end.
const RESET: usize = FIRMWARE - 16;
/// Where the line lies in the firmware.
const TEXT: usize = 0x40;

/// A 16-bit program at F000:0000.
const PROGRAM: [u8; 36] = [
    0x0e, 0x1f, // push cs; pop ds
    0x66, 0xb9, 0x00, 0x00, 0x00, 0x01, // mov ecx, 1 << 24
    0x66, 0x49, // count: dec ecx
    0x75, 0xfc, // jnz count
    0xbe, TEXT as u8, 0x00, // mov si, text
    0xba, 0xf8, 0x03, // mov dx, 0x3f8
    0xac, // next: lodsb
    0x84, 0xc0, // test al, al
    0x74, 0x03, // jz done
    0xee, // out dx, al
    0xeb, 0xf8, // jmp next
    0xfa, // done: cli
    0xba, 0xf9, 0x0c, // mov dx, 0xcf9
    0xb0, 0x06, // mov al, 6
    0xee, // out dx, al
    0xf4, // halt: hlt
    0xeb, 0xfd, // jmp halt
];

/// What was found, and when it stays true: the same machine since the same start, with the same QEMU.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Finding {
    /// What to use; `None` when no guest runs at all.
    pub accelerator: Option<Accelerator>,
    /// Why not another one, in a sentence; empty when there is nothing to say.
    pub reason: String,
    /// `7.2.22`
    pub version: String,
    /// It has the `microvm` machine.
    pub microvm: bool,
    /// What it depends on.
    pub circumstances: String,
}

/// The firmware.
#[must_use]
pub fn firmware() -> Vec<u8> {
    let mut image = vec![0xf4; FIRMWARE];
    let text: Vec<u8> = LINE.iter().copied().chain([0]).collect();
    // jmp far F000:0000
    let jump = [0xea, 0x00, 0x00, 0x00, 0xf0];
    for (at, bytes) in [(0, PROGRAM.as_slice()), (TEXT, &text), (RESET, &jump)] {
        if let Some(place) = image.get_mut(at..at + bytes.len()) {
            place.copy_from_slice(bytes);
        }
    }
    image
}

/// Looks for the accelerator: the wished one, or the best that works. What was found before in the same circumstances is
/// not tried again.
pub async fn find(binary: &str, wished: &str, folder: &Path) -> Finding {
    let circumstances = format!("{wished} {} {}", boot(), file_of(binary));
    let kept = folder.join("canary.json");
    let before = fs::read(&kept).ok().and_then(|bytes| serde_json::from_slice::<Finding>(&bytes).ok());
    if let Some(finding) = before.filter(|finding| finding.circumstances == circumstances) {
        return finding;
    }
    let finding = try_all(binary, wished, folder, circumstances).await;
    if let (Ok(bytes), Some(_)) = (serde_json::to_vec(&finding), finding.accelerator) {
        // Next time it is found again: slower, and the same.
        drop(fs::write(&kept, bytes));
    }
    finding
}

async fn try_all(binary: &str, wished: &str, folder: &Path, circumstances: String) -> Finding {
    let mut finding = Finding {
        accelerator: None,
        reason: String::new(),
        version: String::new(),
        microvm: false,
        circumstances,
    };
    match (words(binary, &["--version"]).await, words(binary, &["-machine", "help"]).await) {
        (Ok(version), Ok(machines)) => {
            let said = version.split_whitespace().skip_while(|word| *word != "version").nth(1);
            finding.version = said.unwrap_or_default().to_owned();
            finding.microvm = machines.lines().any(|line| line.split_whitespace().next() == Some("microvm"));
        }
        (Err(error), _) | (_, Err(error)) => {
            finding.reason = format!("{binary}: {error}");
            return finding;
        }
    }
    let candidates: &[Accelerator] = match wished {
        "kvm" => &[Accelerator::Kvm],
        "tcg" => &[Accelerator::Tcg],
        _ => &[Accelerator::Kvm, Accelerator::Tcg],
    };
    let mut reasons = Vec::new();
    for accelerator in candidates {
        match sing(binary, *accelerator, folder).await {
            Ok(()) => {
                finding.accelerator = Some(*accelerator);
                break;
            }
            Err(problem) => reasons.push(format!("{} is not usable: {problem}", accelerator.name())),
        }
    }
    finding.reason = reasons.join("; ");
    finding
}

/// Runs the guest.
///
/// # Errors
/// Why its line was not there in time.
pub async fn sing(binary: &str, accelerator: Accelerator, folder: &Path) -> Result<(), String> {
    if accelerator == Accelerator::Kvm && !Path::new("/dev/kvm").exists() {
        return Err("there is no /dev/kvm".to_owned());
    }
    let place = Place::make(folder).map_err(|error| error.to_string())?;
    let complaints = place.complaints().map_err(|error| error.to_string())?;
    let mut command = perch(binary, accelerator, &place.folder);
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(complaints);
    let mut child = cage::spawn(command, CapabilitySet::empty()).await.map_err(|error| error.to_string())?;
    let limit = if accelerator == Accelerator::Kvm { LIMIT } else { PATIENT };
    let until = Instant::now() + limit;
    let result = loop {
        // Looked at first: what it said before its end is there after it.
        let ended = child.try_wait().ok().flatten();
        if place.song() == LINE {
            break Ok(());
        }
        if let Some(status) = ended {
            break Err(format!("QEMU ended with {status}: {}", place.words()));
        }
        if Instant::now() > until {
            break Err(format!("its canary said nothing within {} s", limit.as_secs()));
        }
        sleep(LOOK).await;
    };
    // It may have ended already.
    drop(child.kill().await);
    result
}

/// The command line of a machine of firmware and a serial port.
pub(super) fn perch(binary: &str, accelerator: Accelerator, folder: &Path) -> Command {
    let processor = match accelerator {
        Accelerator::Kvm => "host",
        Accelerator::Tcg => "max",
    };
    let mut command = Command::new(binary);
    command.args(["-no-user-config", "-nodefaults", "-display", "none", "-no-reboot", "-machine", "pc"]);
    command.args(["-m", "16", "-accel", accelerator.name(), "-cpu", processor]);
    command.args(["-serial", "file:song", "-bios", "firmware", "-sandbox", SANDBOX]);
    command.current_dir(folder).process_group(0).kill_on_drop(true);
    command
}

async fn words(binary: &str, arguments: &[&str]) -> Result<String, String> {
    let mut command = Command::new(binary);
    command.args(arguments).stdin(Stdio::null()).kill_on_drop(true);
    let done = tokio::time::timeout(PATIENT, command.output())
        .await
        .map_err(|_| "no answer in time".to_owned())?
        .map_err(|error| error.to_string())?;
    Ok(String::from_utf8_lossy(&done.stdout).into_owned())
}

/// A start of the machine has an id of its own.
fn boot() -> String {
    fs::read_to_string("/proc/sys/kernel/random/boot_id").unwrap_or_default().trim().to_owned()
}

/// The program's file: another version is another file.
fn file_of(binary: &str) -> String {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let places = std::env::split_paths(&path).map(|folder| folder.join(binary));
    let found = places.chain([PathBuf::from(binary)]).find_map(|path| Some((path.metadata().ok()?, path)));
    found.map_or_else(String::new, |(data, path)| {
        use std::os::unix::fs::MetadataExt as _;
        format!("{} {} {} {}", path.display(), data.ino(), data.len(), data.mtime())
    })
}

/// A folder for one song, gone with it.
struct Place {
    folder: PathBuf,
}

impl Place {
    fn make(folder: &Path) -> io::Result<Self> {
        let folder = folder.join(format!("canary-{}", uuid::Uuid::new_v4().simple()));
        fs::create_dir_all(&folder)?;
        let place = Self { folder };
        fs::write(place.folder.join("firmware"), firmware())?;
        Ok(place)
    }

    fn complaints(&self) -> io::Result<fs::File> {
        fs::File::create(self.folder.join("complaints"))
    }

    fn song(&self) -> Vec<u8> {
        fs::read(self.folder.join("song")).unwrap_or_default()
    }

    fn words(&self) -> String {
        let text = fs::read_to_string(self.folder.join("complaints")).unwrap_or_default();
        text.split_whitespace().collect::<Vec<_>>().join(" ").chars().take(300).collect()
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        // A folder that stays is a few bytes, and swept with the data folder.
        drop(fs::remove_dir_all(&self.folder));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_firmware_jumps_from_the_reset_vector_to_a_program_that_ends_before_its_text() {
        let image = firmware();
        assert_eq!(image.len(), FIRMWARE);
        assert_eq!(&image[RESET..RESET + 5], &[0xea, 0, 0, 0, 0xf0]);
        assert_eq!(&image[..PROGRAM.len()], &PROGRAM);
        assert!(PROGRAM.len() <= TEXT);
        assert_eq!(&image[TEXT..TEXT + LINE.len()], LINE);
        assert_eq!(image[TEXT + LINE.len()], 0);
    }

    #[tokio::test]
    async fn a_program_that_is_not_there_is_named() {
        let folder = tempfile::tempdir().unwrap();
        let finding = find("/nowhere/qemu", "auto", folder.path()).await;
        assert!(finding.accelerator.is_none() && finding.reason.contains("/nowhere/qemu"), "{finding:?}");
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 0, "nothing is kept of that");
    }
}

//! What guests boot with, written where QEMU and the evidence's scripts find it; and boots whose saved state several trials
//! start from.

use super::attempt::Shared;
use super::{GuestOf, RunEvent, Todo};
use crate::artifacts::digest;
use crate::cell::Cell;
use crate::cmdline::{Places, first_cmdline};
use crate::first_image::{Route, route, with_initrd_below};
use crate::guest::{GuestPlan, Inquiry, Origin, Saved, boot_and_save};
use crate::judge;
use crate::payload::{Payload, firmware, places};
use crate::pvh::pvh_elf;
use crate::scratch::GuestScratch;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

/// The ELF files of kernels that boot by PVH, in the report, by the bzImage's digest; none where a kernel cannot.
pub(super) type PvhFiles = Mutex<BTreeMap<String, Option<PathBuf>>>;

/// The files that one boot's guests start with.
#[derive(Debug)]
pub(super) struct Files {
    /// The image of a firmware in place of QEMU's own.
    pub(super) firmware: Option<PathBuf>,
    /// The first kernel's image.
    pub(super) kernel: PathBuf,
    /// How it boots.
    pub(super) route: Route,
    /// The initramfs, in a temporary folder that goes with this.
    pub(super) initramfs: PathBuf,
    /// The archives that it is made of, in order: files of the report.
    pub(super) parts: Vec<PathBuf>,
    /// Names everything that the boot depends on.
    pub(super) key: String,
    _scratch: GuestScratch,
}

/// A boot that trials start from.
#[derive(Debug)]
pub(super) struct SharedBoot {
    pub(super) files: Files,
    pub(super) saved: Saved,
}

/// What became of a group of trials' boot.
pub(super) struct Booted {
    /// The trials that can start now, and the state that they start from; without one each boots by itself.
    pub(super) ready: Vec<Todo>,
    pub(super) boot: Option<Arc<SharedBoot>>,
    /// Those whose files did not fit into this boot's initramfs.
    pub(super) rest: Vec<Todo>,
    /// A process that could not be ended.
    pub(super) leaked: Option<String>,
}

/// Boots a group's first kernel to *ready* and saves its state. Never fails: without a state the trials boot by themselves, and
/// what is wrong shows in their own evidence.
pub(super) async fn boot(shared: Arc<Shared>, group: Vec<Todo>) -> Booted {
    let alone = |ready, rest| Booted { ready, boot: None, rest, leaked: None };
    let Some((_, cell)) = group.first() else { return alone(group, Vec::new()) };
    let cell = cell.clone();
    let name = name(&cell);
    let cells: Vec<Arc<Cell>> = group.iter().map(|(_, cell)| cell.clone()).collect();
    let _ = shared.events.send(RunEvent::BootStarted { boot: name.clone(), trials: group.len() });
    let (files, fit) = match prepare(&shared, cells).await {
        Ok(prepared) => prepared,
        Err(why) => {
            let _ = shared.events.send(RunEvent::BootEnded { boot: name, failed: Some(why) });
            return alone(group, Vec::new());
        }
    };
    let mut ready = group;
    let rest = ready.split_off(fit.min(ready.len()));
    let booted = boot_files(&shared, &cell, &name, &files).await;
    let (saved, failed, leaked) = match booted {
        Ok(saved) => {
            shared.meter.take_guest(&saved.times, true);
            (Some(saved), None, None)
        }
        Err((why, leaked)) => (None, Some(why), leaked),
    };
    // A run that is stopped boots nothing more, by itself or not.
    let failed = failed.filter(|_| !shared.stop.is_requested());
    let _ = shared.events.send(RunEvent::BootEnded { boot: name, failed });
    let boot = saved.map(|saved| Arc::new(SharedBoot { files, saved }));
    Booted { ready, boot, rest, leaked }
}

/// Boots and saves; the error says why that failed, and which process could not be ended.
async fn boot_files(
    shared: &Arc<Shared>,
    cell: &Cell,
    name: &str,
    files: &Files,
) -> Result<Saved, (String, Option<String>)> {
    let no_folder = |error| (format!("cannot make a temporary folder: {error}"), None);
    let scratch = shared.scratch.guest().map_err(no_folder)?;
    let state = shared.scratch.guest().map_err(no_folder)?;
    let console_log = scratch.path("console.log");
    let cmdline = first_cmdline(cell);
    let plan = GuestPlan {
        cell,
        qemu: &shared.qemu,
        accel: shared.accel,
        origin: Origin::PowerOn,
        firmware: files.firmware.as_deref(),
        kernel: &files.kernel,
        initramfs: &files.initramfs,
        cmdline: &cmdline,
        loader_argv: &[],
        deadlines: &shared.deadlines,
        console_log: &console_log,
        inquiry: Inquiry { counted: shared.counted, ..Inquiry::default() },
    };
    let mut tell = |news| {
        shared.guests.note(&news);
        let _ = shared.events.send(RunEvent::Guest { of: GuestOf::Boot(name.to_owned()), news });
    };
    boot_and_save(plan, scratch, state, shared.stop.clone(), &mut tell).await.map_err(|reaped| {
        let outcome = crate::classify::classify(cell, &reaped.evidence);
        (judge::describe(&outcome), reaped.leaked)
    })
}

/// What a boot is called for people: what all its cells have in common.
fn name(cell: &Cell) -> String {
    format!("{}.{}.{}.{}", cell.first.name, cell.userspace, cell.reservation, cell.platform.name)
}

/// Makes up the files of a boot for as many of these cells, from the first on, as fit into one initramfs. Off the async
/// threads: it copies tens of megabytes and may decompress a kernel.
pub(super) async fn prepare(shared: &Arc<Shared>, cells: Vec<Arc<Cell>>) -> Result<(Files, usize), String> {
    let shared = shared.clone();
    let prepared = tokio::task::spawn_blocking(move || prepare_now(&shared, &cells));
    prepared.await.unwrap_or_else(|error| Err(format!("making up the initramfs failed: {error}")))
}

fn prepare_now(shared: &Shared, cells: &[Arc<Cell>]) -> Result<(Files, usize), String> {
    let first = cells.first().ok_or("a boot without cells")?;
    let image = shared
        .artifacts
        .kernel(&first.first)
        .ok_or_else(|| format!("no kernel {} among the resolved artifacts", first.first.name))?;
    let pvh = if shared.fresh { None } else { pvh_file(shared, &image.digest, &image.bytes)? };
    let mut payload = Payload::default();
    let mut way = None;
    let mut fit = 0;
    for cell in cells {
        let missing = payload.missing(cell, &shared.artifacts).map_err(|error| error.to_string())?;
        let size = payload.size() + missing.iter().map(|part| part.bytes.len()).sum::<usize>();
        match route(cell, &image.bytes, size, pvh.is_some()) {
            Ok(route) => way = Some(route),
            Err(why) if fit == 0 => return Err(why),
            Err(_) => break,
        }
        payload.parts.extend(missing);
        fit += 1;
    }
    let way = way.ok_or("a boot without cells")?;
    let kernel = match (way, pvh) {
        (Route::Pvh, Some(elf)) => elf,
        (Route::BzImageInitrdBelow(last), _) => {
            let name = format!("{}-initrd-below-{last:#x}.bzimage", image.digest);
            keep(shared, KERNELS, &name, &with_initrd_below(&image.bytes, last))?
        }
        (Route::BzImage | Route::Pvh, _) => absolute(&image.file.bzimage)?,
    };
    let firmware = firmware(first, &shared.artifacts).map_err(|error| error.to_string())?;
    let firmware = firmware.map(|firmware| absolute(&firmware.image)).transpose()?;
    let parts: Vec<PathBuf> = payload
        .parts
        .iter()
        .map(|part| keep(shared, PARTS, &format!("{}.cpio", part.name), &part.bytes))
        .collect::<Result<_, _>>()?;
    let scratch =
        shared.scratch.guest().map_err(|error| format!("cannot make a temporary folder: {error}"))?;
    let initramfs = scratch.path("initramfs");
    std::fs::write(&initramfs, payload.initramfs())
        .map_err(|error| format!("cannot write {}: {error}", initramfs.display()))?;
    let key = key(shared, first, &kernel, &parts);
    Ok((Files { firmware, kernel, route: way, initramfs, parts, key, _scratch: scratch }, fit))
}

/// A path for scripts of evidence folders, which run somewhere else.
fn absolute(path: &Path) -> Result<PathBuf, String> {
    std::path::absolute(path).map_err(|error| format!("cannot find {}: {error}", path.display()))
}

/// Folder of the report for the archives of initramfs images.
const PARTS: &str = "initramfs";
/// Folder of the report for kernels that are not booted as they were fetched.
const KERNELS: &str = "kernels";

fn keep(shared: &Shared, folder: &str, name: &str, bytes: &[u8]) -> Result<PathBuf, String> {
    shared.with_report(|report| report.keep(folder, name, bytes)).map_err(|error| error.to_string())
}

/// The kernel's ELF in the report, if it can boot by PVH. Decompressed once a run.
fn pvh_file(shared: &Shared, digest: &str, bzimage: &[u8]) -> Result<Option<PathBuf>, String> {
    let mut files = shared.pvh.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some(known) = files.get(digest) {
        return Ok(known.clone());
    }
    let path =
        pvh_elf(bzimage).map(|elf| keep(shared, KERNELS, &format!("{digest}.elf"), &elf)).transpose()?;
    files.insert(digest.to_owned(), path.clone());
    Ok(path)
}

/// The digest of all that the boot depends on: two boots with the same key come to the same state.
fn key(shared: &Shared, cell: &Cell, kernel: &Path, parts: &[PathBuf]) -> String {
    let name = |path: &Path| path.file_name().unwrap_or_default().to_string_lossy().into_owned();
    let image = shared.artifacts.kernel(&cell.first).map(|image| image.digest.as_str());
    let parts: Vec<String> = parts.iter().map(|part| name(part)).collect();
    let all = (
        image.unwrap_or_default(),
        name(kernel),
        parts,
        first_cmdline(cell),
        (&cell.platform, shared.artifacts.firmware(cell.platform.firmware).map(|file| &file.version)),
        (&shared.qemu, &shared.qemu_version, shared.accel.name()),
    );
    digest(format!("{all:?}").as_bytes())
}

/// Where the files of a cell's load lie in its guest.
pub(super) fn cell_places(shared: &Shared, cell: &Cell) -> Result<Places, String> {
    places(cell, &shared.artifacts).map_err(|error| error.to_string())
}

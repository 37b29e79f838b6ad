//! The third layer of `e2e`: everything that the selected cells need, fetched, built and read. After this only guests can fail.

use crate::Host;
use crate::build::{self, Program, Toolchain};
use crate::exit::Failure;
use crate::store::{self, Shared};
use guest_protocol::Arch;
use harness::artifacts::{Artifacts, capture_userspace};
use harness::cell::{Cell, Firmware, Loader, Reader};
use harness::store_source::StoreSource;
use images::ArtifactName;
use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// The programs of this repository that run in guests, by architecture.
#[derive(Clone, Debug, Default)]
pub(crate) struct GuestFiles {
    /// PID 1.
    pub(crate) agents: BTreeMap<Arch, PathBuf>,
    /// The loader of cells with [`Loader::InTree`].
    pub(crate) loaders: BTreeMap<Arch, PathBuf>,
}

impl GuestFiles {
    /// Those that [`GuestFiles::file_name`] names in a folder, whether they are there or not.
    pub(super) fn in_folder(folder: &Path) -> Self {
        let all = |program| {
            [Arch::I386, Arch::X86_64].map(|arch| (arch, folder.join(Self::file_name(program, arch)))).into()
        };
        Self { agents: all(Program::Agent), loaders: all(Program::Loader) }
    }

    /// The name of a program in a folder of such.
    pub(crate) fn file_name(program: Program, arch: Arch) -> String {
        format!("{}.{arch}", program.name())
    }
}

/// Fetches, builds and reads all that these cells need.
///
/// # Errors
/// [`Failure::Rig`] where the network or the archive fails, [`Failure::Check`] where the guests' programs do not build, and
/// [`Failure::Input`] where what the user named is not usable.
pub(crate) async fn artifacts(
    cells: &[Cell],
    store: Shared,
    i686: &Toolchain,
    host: &Host,
) -> Result<Arc<Artifacts>, Failure> {
    // First: it needs the network, and with two cores it would only compete with the compiler.
    prefetch(cells, &store, host).await?;
    // The agent and the loader even where only a reference loader is run: they are small, and the cache is warm next time.
    let programs = [Program::Agent, Program::Loader];
    let programs = build::build(&host.repo, &programs, i686, &host.interrupts).await?;
    let files = GuestFiles { agents: programs.of(Program::Agent), loaders: programs.of(Program::Loader) };
    resolve(cells, store, files, host).await
}

/// Fetches the kernels, reference loaders and firmware of these cells.
///
/// # Errors
/// [`Failure::Rig`] where the network or the archive fails, [`Failure::Input`] where something cannot be had at all.
pub(crate) async fn prefetch(cells: &[Cell], store: &Shared, host: &Host) -> Result<(), Failure> {
    let names: Vec<_> = artifact_names(cells).into_iter().collect();
    store.prefetch(names, &host.interrupts).await
}

/// Reads all that these cells need, fetched and built before.
///
/// # Errors
/// [`Failure::Input`]: everything that is missing or not usable.
pub(crate) async fn resolve(
    cells: &[Cell],
    store: Shared,
    files: GuestFiles,
    host: &Host,
) -> Result<Arc<Artifacts>, Failure> {
    let needed = cells.to_vec();
    let resolved = store::unless_interrupted(&host.interrupts, move || {
        let GuestFiles { agents, loaders: in_tree_loaders } = files;
        Artifacts::resolve(&needed, &StoreSource { store: store.inner(), agents, in_tree_loaders })
    })
    .await?;
    match resolved {
        Ok(artifacts) => Ok(Arc::new(artifacts)),
        Err(missing) => {
            let missing: Vec<_> = missing.iter().map(ToString::to_string).collect();
            Err(Failure::Input(anyhow::anyhow!("{}", missing.join("\n       "))))
        }
    }
}

/// What must come out of the store for these cells.
pub(crate) fn artifact_names(cells: &[Cell]) -> BTreeSet<ArtifactName> {
    let kernels = cells
        .iter()
        .flat_map(|cell| [&cell.first, &cell.capture])
        .filter(|kernel| kernel.path.is_none())
        .map(|kernel| ArtifactName::Kernel(kernel.name.clone()));
    let loaders = cells.iter().filter_map(|cell| match &cell.loader {
        Loader::KexecTools(version) => {
            Some(ArtifactName::Loader { version: version.clone(), arch: cell.userspace })
        }
        Loader::InTree | Loader::Path(_) => None,
    });
    let readers = cells.iter().filter_map(|cell| {
        let Reader::VmcoreDmesg(version) = cell.reader.as_ref()?;
        Some(ArtifactName::Loader { version: version.clone(), arch: capture_userspace(cell) })
    });
    let firmware = cells.iter().filter_map(|cell| match cell.platform.firmware {
        Firmware::Bios => None,
        Firmware::Uefi => Some(ArtifactName::Ovmf),
    });
    kernels.chain(loaders).chain(readers).chain(firmware).collect()
}

//! The third layer of `e2e`: everything that the selected cells need, fetched, built and read. After this only guests can fail.

use crate::Host;
use crate::build::{self, Program, Toolchain};
use crate::exit::Failure;
use crate::store::{self, Shared};
use harness::artifacts::{Artifacts, capture_userspace};
use harness::cell::{Cell, Loader, Reader};
use harness::store_source::StoreSource;
use images::ArtifactName;
use std::collections::BTreeSet;
use std::sync::Arc;

/// Fetches, builds and reads all that these cells need.
///
/// # Errors
/// [`Failure::Rig`] where the network or the archive fails, [`Failure::Check`] where the guests' programs do not build, and
/// [`Failure::Input`] where what the user named is not usable.
pub(super) async fn artifacts(
    cells: &[Cell],
    store: Shared,
    i686: &Toolchain,
    host: &Host,
) -> Result<Arc<Artifacts>, Failure> {
    // First: it needs the network, and with two cores it would only compete with the compiler.
    let names: Vec<_> = artifact_names(cells).into_iter().collect();
    store.prefetch(names, &host.interrupts).await?;
    // The agent and the loader even where only a reference loader is run: they are small, and the cache is warm next time.
    let programs = [Program::Agent, Program::Loader];
    let programs = build::build(&host.repo, &programs, i686, &host.interrupts).await?;
    let needed = cells.to_vec();
    let resolved = store::unless_interrupted(&host.interrupts, move || {
        let source = StoreSource {
            store: store.inner(),
            agents: programs.of(Program::Agent),
            in_tree_loaders: programs.of(Program::Loader),
        };
        Artifacts::resolve(&needed, &source)
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
fn artifact_names(cells: &[Cell]) -> BTreeSet<ArtifactName> {
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
    let readers = cells.iter().filter_map(|cell| match &cell.reader {
        Some(Reader::VmcoreDmesg(version)) => {
            Some(ArtifactName::Loader { version: version.clone(), arch: capture_userspace(cell) })
        }
        None => None,
    });
    kernels.chain(loaders).chain(readers).collect()
}

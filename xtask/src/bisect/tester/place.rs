//! Where a bisection keeps things, and where the guests' programs come from.

use crate::Host;
use crate::bisect::candidate::Recipe;
use crate::build::{self, Toolchain};
use crate::cli::{HostArgs, JudgingArgs, StoreArgs};
use crate::e2e::ready::GuestFiles;
use crate::exit::{Failure, OrFail};
use crate::repo::{INSTALLED_MARK, Repo};
use crate::setup::{self, Needs};
use crate::store::Shared;
use crate::tools::{self, CC, GPGV, QEMU, Tool};
use anyhow::{Context, anyhow};
use guest_protocol::Arch;
use harness::artifacts::capture_userspace;
use harness::cell::Cell;
use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

/// Where verdicts, builds and evidence are kept.
///
/// # Errors
/// [`Failure::Input`]: none is named, and the environment names no home.
pub(crate) fn cache_folder(named: Option<&Path>) -> Result<PathBuf, Failure> {
    let folder = match named {
        Some(folder) => folder.to_owned(),
        None => images::default_cache_folder()
            .ok_or_else(|| anyhow!("no folder for what runs showed: set HOME, or name one: --cache DIR"))
            .or_input()?
            .join("bisect"),
    };
    std::path::absolute(&folder).with_context(|| format!("cannot use {}", folder.display())).or_input()
}

/// Provides what is needed of the host, these tools among it. An installed folder has all that is compiled, but for the loader where that
/// is what is tested.
///
/// # Errors
/// As [`setup::provide`] has them.
pub(crate) async fn toolchain(
    recipe: &Recipe,
    more: &[Tool],
    judging: &JudgingArgs,
    (host_args, store_args): (HostArgs, &StoreArgs),
    store: &Shared,
    host: &Host,
) -> Result<Toolchain, Failure> {
    let installed = Repo::installed_at().is_some();
    let mut tools = more.to_vec();
    if judging.guests.qemu.is_none() {
        tools.push(QEMU);
    }
    if !installed && !store_args.offline && store_args.artifacts.is_none() {
        tools.push(GPGV);
    }
    if installed && *recipe != Recipe::OwnLoader {
        tools::provide(&tools, host_args.install, &host.interrupts).await?;
        return Ok(Toolchain::InUse);
    }
    tools.push(CC);
    setup::provide(&Needs { tools, components: &[] }, host_args, store, &host.interrupts).await
}

/// The guests' programs: those of an installed folder, or built now from this repository.
pub(super) async fn programs(
    cells: &[Cell],
    own_loader: bool,
    i686: &Toolchain,
    host: &Host,
) -> Result<GuestFiles, Failure> {
    let mut needed = vec![build::Program::Agent];
    if own_loader {
        needed.push(build::Program::Loader);
    }
    let Some(folder) = Repo::installed_at() else {
        let built = build::build(&host.repo, &needed, i686, &host.interrupts).await?;
        return Ok(GuestFiles {
            agents: built.of(build::Program::Agent),
            loaders: built.of(build::Program::Loader),
        });
    };
    let files = GuestFiles::in_folder(&programs_folder(&folder));
    let archs: BTreeSet<Arch> =
        cells.iter().flat_map(|cell| [cell.userspace, capture_userspace(cell)]).collect();
    let loaders = files.loaders.iter().filter(|_| own_loader);
    for (_, path) in files.agents.iter().chain(loaders).filter(|(arch, _)| archs.contains(arch)) {
        if !tools::is_program(path) {
            return Err(Failure::Input(anyhow!(
                "{} is not there: {} is not whole; write it again by `bisect install` ({INSTALLED_MARK} says from where)",
                path.display(),
                folder.display()
            )));
        }
    }
    Ok(files)
}

/// Where an installed folder has the guests' programs.
pub(crate) fn programs_folder(installed: &Path) -> PathBuf {
    installed.join("programs")
}

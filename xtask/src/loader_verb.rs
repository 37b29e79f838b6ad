//! `cargo xtask build-loader`: the loader for both architectures, put where people find it; its size; and whether another place gives
//! the same bytes.

mod odd_files;
mod publish;
mod reproducible;
mod size;

use crate::build::{self, Effort, GuestPrograms, Place, Program, Toolchain};
use crate::cli::BuildLoaderArgs;
use crate::exit::{Exit, Failure, OrFail};
use crate::setup::{self, Needs};
use crate::tools::{CC, GIT};
use crate::{Host, output, store};
use anyhow::{Context, anyhow, bail};
use guest_protocol::Arch;
use size::Sizes;
use std::collections::BTreeMap;
use std::path::PathBuf;

pub(crate) async fn run(args: &BuildLoaderArgs, host: &Host) -> Result<Exit, Failure> {
    let tools = if args.check_reproducible { vec![CC, GIT] } else { vec![CC] };
    let store = store::open(&args.store)?;
    let i686 = setup::provide(&Needs { tools, components: &[] }, args.host, &store, &host.interrupts).await?;
    let built = build::build(&host.repo, &[Program::Loader], &i686, &host.interrupts).await?;
    let folder = args.out.clone().unwrap_or_else(|| host.repo.target().join("loader"));
    for (path, size) in publish::publish(&built, &host.repo.man_page(), &folder)? {
        output::line(format_args!("{} ({size} bytes)", path.display()));
    }
    let mut exit = Exit::AsExpected;
    if args.size {
        let sizes = measure(&built, &i686, host).await?;
        sizes.iter().for_each(output::line);
        if !sizes.iter().all(Sizes::fits) {
            exit = Exit::NotAsExpected;
        }
    }
    if args.check_files {
        odd_files::check(&built, host).await?;
    }
    if args.check_reproducible {
        reproducible::check(&built, &i686, host).await?;
    }
    Ok(exit)
}

/// What CI checks of the built loader: its size, what it makes of odd files, and that another place gives the same bytes.
///
/// # Errors
/// [`Failure::Check`] where it is too large, with the whole report, where a file is not refused, or where a byte differs.
pub(crate) async fn check(i686: &Toolchain, host: &Host) -> Result<Exit, Failure> {
    let built = build::build(&host.repo, &[Program::Loader], i686, &host.interrupts).await?;
    for sizes in measure(&built, i686, host).await? {
        if !sizes.fits() {
            return Err(Failure::Check(anyhow!("{sizes}")));
        }
        output::line(sizes.summary());
    }
    odd_files::check(&built, host).await?;
    reproducible::check(&built, i686, host).await
}

/// The sizes of the built programs.
async fn measure(built: &GuestPrograms, i686: &Toolchain, host: &Host) -> Result<Vec<Sizes>, Failure> {
    // Beside the usual builds: cargo would put the one in the other's place.
    let target = host.repo.target().join("loader-symbols");
    let place = Place { root: host.repo.root(), target: &target, cargo_home: None };
    let (programs, interrupts) = (&[Program::Loader], &host.interrupts);
    let with_symbols = build::build_in(place, programs, Effort::WithSymbols, i686, interrupts).await?;
    let pairs = in_pairs(built.of(Program::Loader), with_symbols.of(Program::Loader)).or_rig()?;
    let mut all = Vec::new();
    for (arch, path, symbols) in pairs {
        let read = |path: &std::path::Path| {
            std::fs::read(path).with_context(|| format!("cannot read {}", path.display())).or_rig()
        };
        let most = (arch == Arch::I386).then_some(size::MOST_I386);
        let name = publish::file_name(arch);
        all.push(Sizes::measure(name, &read(&path)?, &read(&symbols)?, most).or_rig()?);
    }
    Ok(all)
}

/// The loaders of two builds beside each other, by architecture.
///
/// # Errors
/// A build lacks one that the other has, or both have none: what is not compared must not pass for the same.
fn in_pairs(
    one: BTreeMap<Arch, PathBuf>,
    mut other: BTreeMap<Arch, PathBuf>,
) -> anyhow::Result<Vec<(Arch, PathBuf, PathBuf)>> {
    let mut pairs = Vec::new();
    for (arch, path) in one {
        let beside = other.remove(&arch);
        let beside =
            beside.with_context(|| format!("{} has no counterpart in the other build", path.display()))?;
        pairs.push((arch, path, beside));
    }
    if let Some(path) = other.values().next() {
        bail!("{} has no counterpart in the other build", path.display());
    }
    if pairs.is_empty() {
        bail!("no loader was built");
    }
    Ok(pairs)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Catches a comparison that passes because one of the builds lacks a program.
    #[test]
    fn what_is_missing_is_no_match() {
        let build =
            |archs: &[Arch]| archs.iter().map(|arch| (*arch, PathBuf::from(arch.to_string()))).collect();
        let [both, one, none] = [&[Arch::X86_64, Arch::I386][..], &[Arch::X86_64], &[]];
        assert_eq!(in_pairs(build(both), build(both)).unwrap().len(), 2);
        for (here, there) in [(both, one), (one, both), (none, none), (both, none)] {
            assert!(in_pairs(build(here), build(there)).is_err(), "{here:?} {there:?}");
        }
    }
}

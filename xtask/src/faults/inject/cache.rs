//! A cache entry that rots: in a copy of the part of the cache that the run needs.

use crate::faults::judge::Observed;
use crate::faults::list::Damage;
use crate::faults::stage::{Cells, Stage};
use anyhow::{Context, ensure};
use std::path::{Path, PathBuf};
use tokio::process::Command;

/// Packages up to this size are copied: those of loaders, which are unpacked again here. A kernel's has 50 MB.
const SMALL_PACKAGE: u64 = 8 << 20;

/// Damages the unpacked reference loaders in the cache, and runs one of them, offline: it must come out of its package again.
pub(super) async fn inject(stage: &Stage<'_>, damage: Damage) -> anyhow::Result<Observed> {
    let home = stage.folder.join("cache");
    let copy = home.join("kdump-rig/v1");
    copy_cache(&stage.shop.cache, &copy).await?;
    let programs = loaders(&copy.join("trees"));
    ensure!(!programs.is_empty(), "the cache has no reference loader");
    for program in &programs {
        spoil(program, damage)?;
    }
    let (qemu, report) = (stage.stand_in(false)?, stage.report());
    let more = ["--offline", "--loader", "in-tree", "--loader", "kexec-tools@2.0.25", "-E", "!id~faulted"];
    let mut command = stage.e2e(Cells::StandIn, &qemu, &report, &more);
    command.env("XDG_CACHE_HOME", &home);
    stage.observe(command, &report).await
}

/// Copies what is unpacked, and the small packages. Never as links: what is damaged here must be sound there.
async fn copy_cache(from: &Path, to: &Path) -> anyhow::Result<()> {
    std::fs::create_dir_all(to.join("debs"))?;
    let copied = Command::new("cp").arg("-a").arg(from.join("trees")).arg(to).status().await?;
    ensure!(copied.success(), "cannot copy the cache {}", from.display());
    for entry in std::fs::read_dir(from.join("debs"))?.flatten() {
        if entry.metadata()?.len() <= SMALL_PACKAGE {
            std::fs::copy(entry.path(), to.join("debs").join(entry.file_name()))?;
        }
    }
    Ok(())
}

/// The programs of unpacked reference loaders.
fn loaders(trees: &Path) -> Vec<PathBuf> {
    let trees = std::fs::read_dir(trees).into_iter().flatten().flatten();
    trees.map(|tree| tree.path().join("sbin/kexec")).filter(|path| path.is_file()).collect()
}

/// Damages a file in place.
fn spoil(path: &Path, damage: Damage) -> anyhow::Result<()> {
    let mut bytes = std::fs::read(path).with_context(|| format!("cannot read {}", path.display()))?;
    match damage {
        Damage::Rot => {
            let middle = bytes.len() / 2;
            bytes[middle] ^= 1;
        }
        Damage::Truncate => bytes.truncate(bytes.len() / 2),
        Damage::Swap => bytes.fill(0),
    }
    std::fs::write(path, bytes).with_context(|| format!("cannot write {}", path.display()))
}

//! A cache entry that rots: in a copy of the part of the cache that the run needs.

use crate::faults::judge::{BeforeFault, NotInjected, Observed};
use crate::faults::list::Damage;
use crate::faults::stage::{Cells, Stage};
use anyhow::{Context, ensure};
use guest_protocol::Arch;
use images::{ProgressMode, Store, StoreOptions};
use std::path::{Path, PathBuf};
use tokio::process::Command;

/// Packages up to this size are copied: those of loaders, which are unpacked again here. A kernel's has 50 MB.
const SMALL_PACKAGE: u64 = 8 << 20;
/// The reference loader that is damaged.
const VERSION: &str = "2.0.25";

/// Damages all of an unpacked reference loader in the cache, and runs it, offline: it must come out of its package again.
pub(super) async fn inject(stage: &Stage<'_>, damage: Damage) -> Result<Observed, NotInjected> {
    let home = stage.folder.join("cache");
    copy_cache(&stage.shop.cache, &home.join("kdump-rig/v1")).await.before_fault()?;
    let sound = sound(&home.join("kdump-rig")).before_fault()?;
    sound.iter().try_for_each(|(path, bytes)| spoil(path, bytes.clone(), damage)).before_fault()?;
    let (qemu, report) = (stage.stand_in(false)?, stage.report());
    let loader = format!("kexec-tools@{VERSION}");
    let more = ["--offline", "--loader", "in-tree", "--loader", &loader, "-E", "!id~faulted"];
    let mut command = stage.e2e(Cells::StandIn, &qemu, &report, &more);
    command.env("XDG_CACHE_HOME", &home);
    let mut observed = stage.observe(command, &report).await?;
    for (path, bytes) in sound {
        let healed = std::fs::read(&path).is_ok_and(|now| now == bytes);
        observed.must(healed, format!("{} is not again what was unpacked", path.display()));
    }
    Ok(observed)
}

/// The files of the reference loader in this cache, and what is in them.
fn sound(cache: &Path) -> anyhow::Result<Vec<(PathBuf, Vec<u8>)>> {
    let store = Store::open(StoreOptions {
        cache: Some(cache.to_owned()),
        offline: true,
        progress: ProgressMode::Hidden,
        ..StoreOptions::default()
    })?;
    let loader = store.reference_loader(VERSION, Arch::I386)?;
    loader.files.into_iter().map(|file| Ok((file.source.clone(), file.read()?))).collect()
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

/// Damages a file in place.
fn spoil(path: &Path, mut bytes: Vec<u8>, damage: Damage) -> anyhow::Result<()> {
    match damage {
        Damage::Rot => {
            let middle = bytes.len() / 2;
            bytes[middle] ^= 1;
        }
        Damage::Truncate => bytes.truncate(bytes.len() / 2),
    }
    std::fs::write(path, bytes).with_context(|| format!("cannot write {}", path.display()))
}

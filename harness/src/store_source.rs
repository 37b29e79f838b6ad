//! Artifacts from the store of locked packages, and from programs that were built before.

use crate::artifacts::{FirmwareFile, KernelFile, LoaderTree, Source, TreeFile, digest};
use crate::cell::Kernel;
use crate::kconfig::find::Found;
use crate::kconfig::{self, Config};
use guest_protocol::Arch;
use std::collections::BTreeMap;
use std::path::PathBuf;

/// The usual [`Source`].
pub struct StoreSource<'a> {
    /// Kernels, reference loaders and the firmware.
    pub store: &'a images::Store,
    /// The guest agent by architecture.
    pub agents: BTreeMap<Arch, PathBuf>,
    /// This repository's loader by architecture.
    pub in_tree_loaders: BTreeMap<Arch, PathBuf>,
}

impl Source for StoreSource<'_> {
    fn agent(&self, arch: Arch) -> Result<PathBuf, String> {
        self.agents.get(&arch).cloned().ok_or_else(|| "it was not built".into())
    }

    fn in_tree_loader(&self, arch: Arch) -> Result<PathBuf, String> {
        self.in_tree_loaders.get(&arch).cloned().ok_or_else(|| "it was not built".into())
    }

    fn ovmf(&self) -> Result<FirmwareFile, String> {
        let ovmf = self.store.ovmf().map_err(|error| error.to_string())?;
        let version = format!("ovmf {}", ovmf.package_version);
        Ok(FirmwareFile { image: ovmf.image, version, notice: ovmf.notice })
    }

    fn kernel(&self, kernel: &Kernel) -> Result<KernelFile, String> {
        if let Some(bzimage) = &kernel.path {
            let bytes = std::fs::read(bzimage)
                .map_err(|error| format!("cannot read {}: {error}", bzimage.display()))?;
            let version = format!("local image {}", digest(&bytes));
            let (config, notice) = match kconfig::find::of_local(bzimage, &bytes, kernel.arch) {
                Ok(found) => (Some(found), None),
                Err(why) => {
                    let name = &kernel.name;
                    let notice = format!(
                        "kernel {name}: what it was built with is not known, so what it lacks shows in the guest only: {why}"
                    );
                    (None, Some(notice))
                }
            };
            return Ok(KernelFile { bzimage: bzimage.clone(), version, notice, config });
        }
        let image = self.store.kernel(&kernel.name).map_err(|error| error.to_string())?;
        let version = format!("{} {}", image.package, image.version);
        let text = std::fs::read_to_string(&image.config)
            .map_err(|error| format!("cannot read {}: {error}", image.config.display()))?;
        let origin = format!("the configuration in its package, {} {}", image.package, image.version);
        let config = Config::parse(&text).map(|config| Found { origin, config });
        Ok(KernelFile { bzimage: image.bzimage, version, notice: image.notice, config })
    }

    fn reference_loader(&self, version: &str, arch: Arch) -> Result<LoaderTree, String> {
        read_tree(self.store.reference_loader(version, arch))
    }

    fn vmcore_dmesg(&self, version: &str, arch: Arch) -> Result<LoaderTree, String> {
        read_tree(self.store.vmcore_dmesg(version, arch))
    }
}

fn read_tree(tree: Result<images::LoaderTree, images::Error>) -> Result<LoaderTree, String> {
    let tree = tree.map_err(|error| error.to_string())?;
    let mut files = Vec::with_capacity(tree.files.len());
    for file in &tree.files {
        let bytes = file.read().map_err(|error| error.to_string())?.into();
        files.push(TreeFile { path: file.path.clone(), mode: file.mode, bytes });
    }
    let version = format!("kexec-tools {}", tree.package_version);
    Ok(LoaderTree { program: tree.program, version, notice: tree.notice, files })
}

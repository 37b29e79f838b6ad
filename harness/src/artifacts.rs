//! What the guests of a run are made of, resolved and checked before anything boots: after [`Artifacts::resolve`] no cell can
//! fail for a missing or unfit file. Where the files come from is the business of a [`Source`].

use crate::cell::{Cell, Firmware, Kernel, Loader, Reader};
use crate::elf::{self, ProgramFault};
use crate::kconfig::find::Found;
use crate::kconfig::needs;
use guest_protocol::Arch;
use sha2::{Digest, Sha256};
use std::collections::BTreeMap;
use std::collections::btree_map::Entry;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// Where artifacts come from: built, fetched, or given by path. May be slow; errors say what to do next.
pub trait Source {
    /// Path of the guest agent built for this architecture.
    fn agent(&self, arch: Arch) -> Result<PathBuf, String>;
    /// Path of this repository's loader built for this architecture.
    fn in_tree_loader(&self, arch: Arch) -> Result<PathBuf, String>;
    /// The UEFI firmware.
    fn ovmf(&self) -> Result<FirmwareFile, String>;
    /// The kernel. [`Kernel::path`], where there is one, is to be taken as it is.
    fn kernel(&self, kernel: &Kernel) -> Result<KernelFile, String>;
    /// A released kexec-tools of this upstream version.
    fn reference_loader(&self, version: &str, arch: Arch) -> Result<LoaderTree, String>;
    /// The `vmcore-dmesg` of a released kexec-tools of this upstream version.
    fn vmcore_dmesg(&self, version: &str, arch: Arch) -> Result<LoaderTree, String>;
}

/// A firmware as a file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FirmwareFile {
    /// The image, for QEMU's `-bios`.
    pub image: PathBuf,
    /// The package's version, for the record.
    pub version: String,
    /// Something that people must be told about it.
    pub notice: Option<String>,
}

/// A kernel as a file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KernelFile {
    /// The bzImage.
    pub bzimage: PathBuf,
    /// Version for the record: the package's, or for a local image its digest.
    pub version: String,
    /// Something that people must be told about it, such as a version that is not the locked one.
    pub notice: Option<String>,
    /// What it was built with, where that is known.
    pub config: Option<Found>,
}

/// A loader, or a reader of vmcores, with all the files that it needs in the guest.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LoaderTree {
    /// Path of the program in the guest.
    pub program: String,
    /// Version for the record.
    pub version: String,
    /// Something that people must be told about it.
    pub notice: Option<String>,
    /// All that the program needs, itself included.
    pub files: Vec<TreeFile>,
}

/// A file of a [`LoaderTree`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TreeFile {
    /// Absolute path in the guest.
    pub path: String,
    /// Permission bits.
    pub mode: u32,
    /// Its content.
    pub bytes: Arc<[u8]>,
}

/// A static program for guests.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Program {
    /// Where it was read.
    pub path: PathBuf,
    /// Its bytes.
    pub bytes: Arc<[u8]>,
    /// First 12 hex digits of its SHA-256, its version for the record.
    pub digest: String,
}

/// A kernel, read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KernelImage {
    /// The file.
    pub file: KernelFile,
    /// The bzImage's bytes.
    pub bytes: Arc<[u8]>,
    /// First 12 hex digits of their SHA-256.
    pub digest: String,
}

/// Where a loader's program is in the guest, and what must be put there for it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum LoaderFiles {
    /// One static program, placed by the rig.
    Static(Program),
    /// A tree with its own paths.
    Tree(LoaderTree),
}

impl LoaderFiles {
    /// Version for the record.
    pub fn version(&self) -> &str {
        match self {
            Self::Static(program) => &program.digest,
            Self::Tree(tree) => &tree.version,
        }
    }
}

/// Everything that a set of cells needs.
#[derive(Clone, Debug, Default)]
pub struct Artifacts {
    firmware: BTreeMap<Firmware, FirmwareFile>,
    agents: BTreeMap<Arch, Program>,
    kernels: BTreeMap<Kernel, KernelImage>,
    loaders: BTreeMap<(Loader, Arch), LoaderFiles>,
    readers: BTreeMap<(Reader, Arch), LoaderTree>,
}

/// An artifact that cannot be had, or that is not what a guest needs, such as a kernel without kexec.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{what}: {why}")]
pub struct MissingArtifact {
    /// Which artifact.
    pub what: String,
    /// Why, and what to do next.
    pub why: String,
}

impl Artifacts {
    /// Version or digest of each, by a name for people.
    pub fn versions(&self) -> BTreeMap<String, String> {
        let agents =
            self.agents.iter().map(|(arch, agent)| (format!("agent for {arch}"), agent.digest.clone()));
        let kernels = self.kernels.iter().map(|(kernel, image)| {
            (format!("kernel {}", kernel.name), format!("{} ({})", image.file.version, image.digest))
        });
        let loaders = self.loaders.iter().map(|((loader, arch), files)| {
            (format!("loader {loader} for {arch}"), files.version().to_owned())
        });
        let firmware = self
            .firmware
            .iter()
            .map(|(kind, file)| (format!("firmware {}", kind.name()), file.version.clone()));
        agents.chain(kernels).chain(loaders).chain(firmware).collect()
    }

    /// Resolves all that these cells need. Goes on after a failure, so that all that is missing is told at once.
    pub fn resolve(cells: &[Cell], source: &dyn Source) -> Result<Self, Vec<MissingArtifact>> {
        let mut resolved = Self::default();
        let mut missing = Vec::new();
        for cell in cells {
            match cell.platform.firmware {
                Firmware::Bios => {}
                Firmware::Uefi => insert(&mut resolved.firmware, Firmware::Uefi, &mut missing, || {
                    source.ovmf().map_err(named("firmware uefi".into()))
                }),
            }
            for arch in [cell.userspace, capture_userspace(cell)] {
                insert(&mut resolved.agents, arch, &mut missing, || {
                    let what = format!("guest agent for {arch}");
                    source.agent(arch).and_then(|path| program(&path, arch)).map_err(named(what))
                });
            }
            for kernel in [&cell.first, &cell.capture] {
                insert(&mut resolved.kernels, kernel.clone(), &mut missing, || {
                    let what = format!("kernel {}", kernel.name);
                    source.kernel(kernel).and_then(read_kernel).map_err(named(what))
                });
            }
            insert(&mut resolved.loaders, (cell.loader.clone(), cell.userspace), &mut missing, || {
                let what = format!("loader {} for {}", cell.loader, cell.userspace);
                loader(&cell.loader, cell.userspace, source).map_err(named(what))
            });
            if let Some(reader) = &cell.reader {
                let arch = capture_userspace(cell);
                insert(&mut resolved.readers, (reader.clone(), arch), &mut missing, || {
                    let Reader::VmcoreDmesg(version) = reader;
                    source.vmcore_dmesg(version, arch).map_err(named(format!("reader {reader} for {arch}")))
                });
            }
        }
        let config = |kernel: &Kernel| resolved.kernels.get(kernel)?.file.config.as_ref();
        missing.extend(needs::shortfalls(cells, config).into_iter().map(|shortfall| MissingArtifact {
            what: format!("kernel {}", shortfall.kernel.name),
            why: shortfall.to_string(),
        }));
        missing.dedup();
        if missing.is_empty() { Ok(resolved) } else { Err(missing) }
    }

    /// The agent for this architecture.
    pub fn agent(&self, arch: Arch) -> Option<&Program> {
        self.agents.get(&arch)
    }

    /// A firmware that is not QEMU's own.
    pub fn firmware(&self, firmware: Firmware) -> Option<&FirmwareFile> {
        self.firmware.get(&firmware)
    }

    /// A kernel.
    pub fn kernel(&self, kernel: &Kernel) -> Option<&KernelImage> {
        self.kernels.get(kernel)
    }

    /// A loader.
    pub fn loader(&self, loader: &Loader, arch: Arch) -> Option<&LoaderFiles> {
        self.loaders.get(&(loader.clone(), arch))
    }

    /// A reader.
    pub fn reader(&self, reader: &Reader, arch: Arch) -> Option<&LoaderTree> {
        self.readers.get(&(reader.clone(), arch))
    }

    /// What people must be told about the kernels, loaders and readers of this run.
    pub fn notices(&self) -> Vec<String> {
        let kernels = self.kernels.values().map(|kernel| &kernel.file.notice);
        let loaders = self.loaders.values().map(|loader| match loader {
            LoaderFiles::Static(_) => &None,
            LoaderFiles::Tree(tree) => &tree.notice,
        });
        let readers = self.readers.values().map(|reader| &reader.notice);
        let firmware = self.firmware.values().map(|file| &file.notice);
        kernels.chain(loaders).chain(readers).chain(firmware).flatten().cloned().collect()
    }
}

/// Architecture of the agent in the capture kernel: the first kernel's, except where the capture kernel cannot run it.
///
/// An i386 userspace stays i386 on an x86_64 capture kernel, as in the field: one small userspace serves both kernels.
pub fn capture_userspace(cell: &Cell) -> Arch {
    match (cell.userspace, cell.capture.arch) {
        (Arch::X86_64, Arch::X86_64) => Arch::X86_64,
        (Arch::I386, _) | (_, Arch::I386) => Arch::I386,
    }
}

fn insert<K: Ord, V>(
    map: &mut BTreeMap<K, V>,
    key: K,
    missing: &mut Vec<MissingArtifact>,
    make: impl FnOnce() -> Result<V, MissingArtifact>,
) {
    if let Entry::Vacant(vacant) = map.entry(key) {
        match make() {
            Ok(value) => {
                vacant.insert(value);
            }
            Err(fault) if missing.contains(&fault) => {}
            Err(fault) => missing.push(fault),
        }
    }
}

fn named(what: String) -> impl FnOnce(String) -> MissingArtifact {
    move |why| MissingArtifact { what, why }
}

fn read(path: &Path) -> Result<Arc<[u8]>, String> {
    std::fs::read(path).map(Arc::from).map_err(|error| format!("cannot read {}: {error}", path.display()))
}

fn read_kernel(file: KernelFile) -> Result<KernelImage, String> {
    let bytes = read(&file.bzimage)?;
    let digest = digest(&bytes);
    Ok(KernelImage { file, bytes, digest })
}

fn loader(loader: &Loader, arch: Arch, source: &dyn Source) -> Result<LoaderFiles, String> {
    match loader {
        Loader::InTree => Ok(LoaderFiles::Static(program(&source.in_tree_loader(arch)?, arch)?)),
        Loader::Path(path) => Ok(LoaderFiles::Static(program(path, arch)?)),
        Loader::KexecTools(version) => source.reference_loader(version, arch).map(LoaderFiles::Tree),
    }
}

/// Reads a program and checks that the guest can run it: alone in an initramfs there is no dynamic linker.
fn program(path: &Path, arch: Arch) -> Result<Program, String> {
    let bytes = read(path)?;
    elf::check_static_program(&bytes, arch).map_err(|fault| {
        let next = match fault {
            ProgramFault::Dynamic { .. } => "link it statically: an initramfs has no dynamic linker",
            ProgramFault::WrongMachine { .. } => "build it for the cell's userspace",
            ProgramFault::NotElf | ProgramFault::Truncated => "give the path of a program",
        };
        format!("{} {fault}; {next}", path.display())
    })?;
    let digest = digest(&bytes);
    Ok(Program { path: path.to_owned(), bytes, digest })
}

/// First 12 hex digits of the SHA-256: enough to tell artifacts of one run apart.
pub(crate) fn digest(bytes: &[u8]) -> String {
    Sha256::digest(bytes).iter().take(6).map(|byte| format!("{byte:02x}")).collect()
}

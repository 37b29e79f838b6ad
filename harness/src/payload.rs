//! What the guest of one boot finds in its initramfs: the agent, and every loader, capture kernel and capture initramfs that
//! the cells of that boot need. Pure.
//!
//! The kernel unpacks archives that follow each other (Documentation/driver-api/early-userspace/buffer-format.rst), so each
//! of these is an archive of its own, named by its content: boots that need the same kernel share its bytes on disk, and what
//! several cells need is in the initramfs once.

use crate::artifacts::{
    Artifacts, FirmwareFile, KernelImage, LoaderFiles, LoaderTree, capture_userspace, digest,
};
use crate::cell::{Cell, Firmware, Loader};
use crate::cmdline::{AGENT_PATH, Places, READER_PATH};
use guest_protocol::Arch;
use images::initramfs::{Initramfs, InitramfsError};
use std::collections::BTreeMap;

/// This repository's loader in the guest.
const LOADER_PATH: &str = "/bin/kexec-load";

/// An archive of an initramfs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Part {
    /// Names its content: equal names have equal bytes. Fit for a file name.
    pub name: String,
    /// The archive.
    pub bytes: Vec<u8>,
}

/// What a boot's guest finds in its initramfs.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Payload {
    /// The archives, in their order in the initramfs.
    pub parts: Vec<Part>,
}

impl Payload {
    /// Size of the initramfs in bytes.
    pub fn size(&self) -> usize {
        self.parts.iter().map(|part| part.bytes.len()).sum()
    }

    /// The initramfs.
    pub fn initramfs(&self) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(self.size());
        self.parts.iter().for_each(|part| bytes.extend_from_slice(&part.bytes));
        bytes
    }

    /// What `cell` needs and is not there yet.
    ///
    /// # Errors
    /// [`PayloadError`].
    pub fn missing(&self, cell: &Cell, artifacts: &Artifacts) -> Result<Vec<Part>, PayloadError> {
        let mut needed = needs(cell, artifacts)?;
        needed.retain(|part| !self.parts.iter().any(|there| there.name == part.name));
        Ok(needed)
    }
}

/// Why a cell's guest cannot be made up.
#[derive(Debug, thiserror::Error)]
pub enum PayloadError {
    /// An artifact was never resolved: the cells given to resolve are not the cells that are run.
    #[error("no {0} among the resolved artifacts")]
    Unresolved(String),
    /// The loader's package has no dynamic linker for its program.
    #[error("{0} has no dynamic linker (ld-linux*) among its files: its program cannot be started")]
    NoLinker(String),
    /// Files clash.
    #[error(transparent)]
    Initramfs(#[from] InitramfsError),
}

/// Where the files of a cell's load lie in its guest.
///
/// # Errors
/// [`PayloadError`].
pub fn places(cell: &Cell, artifacts: &Artifacts) -> Result<Places, PayloadError> {
    let program = match loader(cell, artifacts)? {
        LoaderFiles::Static(program) => vec![static_path(&cell.loader, &program.digest)],
        LoaderFiles::Tree(tree) => tree_command(tree)?,
    };
    let initrd = capture_initrd(cell, artifacts)?;
    let kernel = kernel_path(cell, capture_kernel(cell, artifacts)?);
    Ok(Places { program, kernel, initrd: initrd_path(&initrd) })
}

/// The firmware that a cell's machine starts with; none where it is QEMU's own.
///
/// # Errors
/// [`PayloadError::Unresolved`].
pub fn firmware<'a>(cell: &Cell, artifacts: &'a Artifacts) -> Result<Option<&'a FirmwareFile>, PayloadError> {
    match cell.platform.firmware {
        Firmware::Bios => Ok(None),
        firmware @ Firmware::Uefi => match artifacts.firmware(firmware) {
            Some(file) => Ok(Some(file)),
            None => Err(PayloadError::Unresolved(format!("firmware {}", firmware.name()))),
        },
    }
}

/// The archives that a cell needs.
fn needs(cell: &Cell, artifacts: &Artifacts) -> Result<Vec<Part>, PayloadError> {
    let agent = Part::of("agent", with_agent(cell.userspace, artifacts)?);
    let loader = match loader(cell, artifacts)? {
        LoaderFiles::Static(program) => {
            let mut image = Initramfs::new();
            image.file(&static_path(&cell.loader, &program.digest), 0o755, &program.bytes)?;
            Part::of("loader", image)
        }
        LoaderFiles::Tree(tree) => {
            let mut image = Initramfs::new();
            for file in &tree.files {
                image.file(&in_tree_folder(tree, &file.path), file.mode, &file.bytes)?;
            }
            Part::of("loader", image)
        }
    };
    let initrd = capture_initrd(cell, artifacts)?;
    let mut image = Initramfs::new();
    image.file(&initrd_path(&initrd), 0o644, &initrd)?;
    let initrd = Part::of("capture-initrd", image);
    let kernel = capture_kernel(cell, artifacts)?;
    let mut image = Initramfs::new();
    image.file(&kernel_path(cell, kernel), 0o644, &kernel.bytes)?;
    // Ten megabytes whose digest is known: no need to compute another.
    let kernel = Part { name: format!("kernel-{}", kernel.digest), bytes: image.finish() };
    Ok(vec![agent, loader, initrd, kernel])
}

impl Part {
    fn of(kind: &str, image: Initramfs) -> Self {
        let bytes = image.finish();
        Self { name: format!("{kind}-{}", digest(&bytes)), bytes }
    }
}

fn loader<'a>(cell: &Cell, artifacts: &'a Artifacts) -> Result<&'a LoaderFiles, PayloadError> {
    artifacts
        .loader(&cell.loader, cell.userspace)
        .ok_or_else(|| PayloadError::Unresolved(format!("loader {} for {}", cell.loader, cell.userspace)))
}

fn capture_kernel<'a>(cell: &Cell, artifacts: &'a Artifacts) -> Result<&'a KernelImage, PayloadError> {
    artifacts
        .kernel(&cell.capture)
        .ok_or_else(|| PayloadError::Unresolved(format!("kernel {}", cell.capture.name)))
}

/// The path of a static loader. Others than this repository's own are told apart by their content: several may run in one boot.
fn static_path(loader: &Loader, digest: &str) -> String {
    match loader {
        Loader::InTree => LOADER_PATH.into(),
        Loader::Path(_) | Loader::KexecTools(_) => format!("/bin/loader-{digest}"),
    }
}

/// The path of a capture kernel. The lock file's names are unique; a local image may have the name of another.
fn kernel_path(cell: &Cell, image: &KernelImage) -> String {
    match cell.capture.path {
        None => format!("/boot/{}.bzimage", cell.capture.name),
        Some(_) => format!("/boot/local-{}.bzimage", image.digest),
    }
}

fn initrd_path(initrd: &[u8]) -> String {
    format!("/boot/capture-{}.initrd", digest(initrd))
}

/// Where a file of a released loader lies: below a folder of its own, since two releases have files of the same names.
fn in_tree_folder(tree: &LoaderTree, path: &str) -> String {
    let folder: String = tree
        .version
        .chars()
        .map(|c| if c.is_ascii_alphanumeric() || ".-+".contains(c) { c } else { '-' })
        .collect();
    format!("/loaders/{folder}{path}")
}

/// The words that start a released loader out of its folder: its own dynamic linker with its own libraries (ld.so(8)).
fn tree_command(tree: &LoaderTree) -> Result<Vec<String>, PayloadError> {
    let split = |path: &str| path.rsplit_once('/').map(|(folder, file)| (folder.to_owned(), file.to_owned()));
    let libraries: BTreeMap<String, String> = tree
        .files
        .iter()
        .filter_map(|file| split(&file.path))
        .filter(|(_, file)| file.contains(".so"))
        .map(|(folder, file)| (file, folder))
        .collect();
    let linker = libraries
        .iter()
        .find(|(file, _)| file.starts_with("ld-linux"))
        .map(|(file, folder)| in_tree_folder(tree, &format!("{folder}/{file}")))
        .ok_or_else(|| PayloadError::NoLinker(tree.version.clone()))?;
    let mut folders: Vec<String> = libraries.values().map(|folder| in_tree_folder(tree, folder)).collect();
    folders.sort();
    folders.dedup();
    Ok(vec![linker, "--library-path".into(), folders.join(":"), in_tree_folder(tree, &tree.program)])
}

/// The capture kernel's initramfs: the agent, and the reader where the cell has one. Cells alike in these share its bytes.
fn capture_initrd(cell: &Cell, artifacts: &Artifacts) -> Result<Vec<u8>, PayloadError> {
    let arch = capture_userspace(cell);
    let mut image = with_agent(arch, artifacts)?;
    if let Some(reader) = &cell.reader {
        let tree = artifacts
            .reader(reader, arch)
            .ok_or_else(|| PayloadError::Unresolved(format!("reader {reader} for {arch}")))?;
        for file in &tree.files {
            let path = if file.path == tree.program { READER_PATH } else { &file.path };
            image.file(path, file.mode, &file.bytes)?;
        }
    }
    Ok(image.finish())
}

/// An initramfs with an agent, the folders that it mounts on, and the device that PID 1's standard streams need.
fn with_agent(arch: Arch, artifacts: &Artifacts) -> Result<Initramfs, PayloadError> {
    let agent =
        artifacts.agent(arch).ok_or_else(|| PayloadError::Unresolved(format!("guest agent for {arch}")))?;
    let mut image = Initramfs::new();
    for folder in ["/dev", "/proc", "/sys", "/tmp"] {
        image.dir(folder, 0o755)?;
    }
    // Character device 5, 1 (Linux Documentation/admin-guide/devices.txt).
    image.char_device("/dev/console", 0o600, 5, 1)?;
    image.file(AGENT_PATH, 0o755, &agent.bytes)?;
    Ok(image)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::artifacts::TreeFile;

    fn tree(version: &str) -> LoaderTree {
        let file = |path: &str| TreeFile { path: path.into(), mode: 0o755, bytes: b"x".as_slice().into() };
        LoaderTree {
            program: "/sbin/kexec".into(),
            version: version.into(),
            notice: None,
            files: ["/sbin/kexec", "/lib/ld-linux.so.2", "/lib/i386-linux-gnu/libc.so.6"].map(file).into(),
        }
    }

    /// Bug: the second of two releases in one boot runs with the first one's libc, or overwrites its program.
    #[test]
    fn releases_keep_to_their_own_files() {
        let command = tree_command(&tree("kexec-tools 1:2.0.25-3+b1")).unwrap();
        let folder = "/loaders/kexec-tools-1-2.0.25-3+b1";
        assert_eq!(
            command,
            [
                format!("{folder}/lib/ld-linux.so.2"),
                "--library-path".into(),
                format!("{folder}/lib:{folder}/lib/i386-linux-gnu"),
                format!("{folder}/sbin/kexec"),
            ]
        );
        assert_ne!(command, tree_command(&tree("kexec-tools 1:2.0.20-2.1")).unwrap());
    }

    #[test]
    fn a_tree_without_a_linker_is_told() {
        let mut tree = tree("kexec-tools 9");
        tree.files.retain(|file| !file.path.contains("ld-linux"));
        assert!(tree_command(&tree).unwrap_err().to_string().contains("ld-linux"));
    }
}

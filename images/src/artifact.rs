//! The artifacts as their users see them: a kernel, a reference loader, a shell, the compiler. Each is cut from a verified tree.

use std::path::{Path, PathBuf};

use guest_protocol::Arch;

use crate::debversion;
use crate::error::Error;
use crate::lock::{ArtifactName, Lock, LockedKernel};
use crate::needed;
use crate::recipe;
use crate::store::{Ready, Store};
use crate::tree::Tree;

/// A kernel's name and kind, known without any I/O.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KnownKernel {
    /// Such as `5.10-686-pae`.
    pub name: String,
    /// Of the kernel.
    pub arch: Arch,
    /// An i386 kernel that can use memory above 4 GiB.
    pub pae: bool,
    /// Upstream version of the locked package, such as `6.1.176`: what kernels are ordered by, for names may be words.
    pub version: String,
}

/// The kernels of the built-in lock file, those that `images add` put there among them, so that scenarios can be checked before
/// anything is fetched.
pub fn known_kernels() -> Result<Vec<KnownKernel>, Error> {
    Ok(kernels_of(&Lock::built_in()?))
}

fn kernels_of(lock: &Lock) -> Vec<KnownKernel> {
    let known = |kernel: &LockedKernel| KnownKernel {
        name: kernel.name(),
        arch: kernel.deb.arch.arch(),
        pae: kernel.pae(),
        version: debversion::released(&kernel.deb.version).to_owned(),
    };
    lock.kernels.iter().map(known).collect()
}

/// The reference loaders of the built-in lock file: upstream version and architecture.
pub fn known_loaders() -> Result<Vec<(String, Arch)>, Error> {
    let loaders = Lock::built_in()?.loaders;
    Ok(loaders.into_iter().map(|loader| (loader.version, loader.program.arch.arch())).collect())
}

/// A kernel that is there and verified.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KernelImage {
    /// The name asked for, such as `5.10-686-pae`.
    pub name: String,
    /// Of the kernel.
    pub arch: Arch,
    /// An i386 kernel that can use memory above 4 GiB.
    pub pae: bool,
    /// Debian package that it is from.
    pub package: String,
    /// Of the package that is used, which is not the locked one when there is a notice.
    pub version: String,
    /// What `uname -r` will say.
    pub release: String,
    /// The image.
    pub bzimage: PathBuf,
    /// Its build configuration.
    pub config: PathBuf,
    /// Of the image, in hexadecimal.
    pub sha256: String,
    /// What to tell people, when the locked version could not be had.
    pub notice: Option<String>,
}

/// A program of a released kexec-tools that is there and verified: the loader, or its reader of vmcores.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LoaderTree {
    /// Upstream version asked for, such as `2.0.20`.
    pub version: String,
    /// Of the package that is used.
    pub package_version: String,
    /// Of program and libraries.
    pub arch: Arch,
    /// The program's path in the guest.
    pub program: String,
    /// All that it needs, the program included. The dynamic linker has a fixed path, so two of these do not fit into one guest.
    pub files: Vec<GuestFile>,
    /// What to tell people, when a locked version could not be had.
    pub notice: Option<String>,
}

/// A file on the host and its place in a guest.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GuestFile {
    /// Absolute path in the guest.
    pub path: String,
    /// Permission bits.
    pub mode: u32,
    /// Where its content is on the host.
    pub source: PathBuf,
}

impl GuestFile {
    /// Its content.
    pub fn read(&self) -> Result<Vec<u8>, Error> {
        std::fs::read(&self.source).map_err(Error::io("read", &self.source))
    }
}

/// A static busybox that is there and verified.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Busybox {
    /// The program.
    pub program: PathBuf,
    /// Of the package that is used.
    pub package_version: String,
    /// What to tell people, when the locked version could not be had.
    pub notice: Option<String>,
}

/// A UEFI firmware that is there and verified.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ovmf {
    /// The image, for QEMU's `-bios`.
    pub image: PathBuf,
    /// Of the package that is used.
    pub package_version: String,
    /// What to tell people, when the locked version could not be had.
    pub notice: Option<String>,
}

/// Debian's Rust compiler with its i686 library, unpacked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RustTree {
    /// Upstream version, such as `1.85.0`.
    pub version: String,
    /// Of the packages that are used.
    pub package_version: String,
    /// The compiler, for `RUSTC`.
    pub rustc: PathBuf,
    /// For `LD_LIBRARY_PATH`, without which the compiler does not start.
    pub library_path: Vec<PathBuf>,
    /// The compiler's own idea of its sysroot.
    pub sysroot: PathBuf,
    /// What to tell people, when a locked version could not be had.
    pub notice: Option<String>,
}

impl Store {
    /// A kernel by name, fetched when it is not there.
    pub fn kernel(&self, name: &str) -> Result<KernelImage, Error> {
        let locked = self.lock.kernel(name)?;
        let Ready { tree, notice } = self.ready(&ArtifactName::Kernel(name.to_owned()))?;
        let deb = first_deb(&tree)?.clone();
        let files = kernel_files(&tree)?;
        Ok(KernelImage {
            name: name.to_owned(),
            arch: locked.deb.arch.arch(),
            pae: locked.pae(),
            package: deb.package,
            version: deb.version,
            release: files.release,
            config: files.config,
            bzimage: files.bzimage,
            sha256: files.sha256,
            notice,
        })
    }

    /// A released kexec-tools by upstream version and architecture, fetched when it is not there.
    pub fn reference_loader(&self, version: &str, arch: Arch) -> Result<LoaderTree, Error> {
        self.kexec_tools(version, arch, "sbin/kexec")
    }

    /// The `vmcore-dmesg` of a released kexec-tools, likewise. Releases before 2.0.21 do not know the logs of Linux 5.10 and later.
    pub fn vmcore_dmesg(&self, version: &str, arch: Arch) -> Result<LoaderTree, Error> {
        self.kexec_tools(version, arch, "sbin/vmcore-dmesg")
    }

    fn kexec_tools(&self, version: &str, arch: Arch, program: &str) -> Result<LoaderTree, Error> {
        let Ready { tree, notice } =
            self.ready(&ArtifactName::Loader { version: version.to_owned(), arch })?;
        // `PT_INTERP` of the programs, and the folder in which that Debian dynamic linker looks first.
        let (linker, libraries) = match arch {
            Arch::I386 => ("lib/ld-linux.so.2", "lib/i386-linux-gnu"),
            Arch::X86_64 => ("lib64/ld-linux-x86-64.so.2", "lib/x86_64-linux-gnu"),
        };
        let mut files = Vec::new();
        needed::all(&[program, linker], |name, by| {
            // Newer packages have everything below /usr, of which /lib and /sbin are links.
            let found = tree.file(name).or_else(|| tree.file(&format!("usr/{name}")));
            let (source, record) = found.ok_or_else(|| match by {
                None => lacks(&tree, name),
                Some(by) => lacks(&tree, &format!("{name}, which {by} needs")),
            })?;
            let bytes = std::fs::read(&source).map_err(Error::io("read", &source))?;
            let needed = needed::by_file(&bytes, arch)
                .map_err(|reason| Error::Unpack { deb: source.clone(), reason: format!("it {reason}") })?;
            files.push(GuestFile { path: format!("/{name}"), mode: record.mode, source });
            // libc names the dynamic linker as well, which has a place of its own.
            let others = needed.iter().filter(|needed| !linker.ends_with(&format!("/{needed}")));
            Ok(others.map(|needed| format!("{libraries}/{needed}")).collect())
        })?;
        Ok(LoaderTree {
            version: version.to_owned(),
            package_version: first_deb(&tree)?.version.clone(),
            arch,
            program: format!("/{program}"),
            files,
            notice,
        })
    }

    /// A static busybox, fetched when it is not there.
    pub fn busybox(&self, arch: Arch) -> Result<Busybox, Error> {
        let Ready { tree, notice } = self.ready(&ArtifactName::Busybox(arch))?;
        // Newer packages have everything below /usr.
        let (program, _) = file(&tree, "bin/busybox").or_else(|_| file(&tree, "usr/bin/busybox"))?;
        Ok(Busybox { program, package_version: first_deb(&tree)?.version.clone(), notice })
    }

    /// The UEFI firmware, fetched when it is not there.
    pub fn ovmf(&self) -> Result<Ovmf, Error> {
        let Ready { tree, notice } = self.ready(&ArtifactName::Ovmf)?;
        let (image, _) = file(&tree, recipe::OVMF_IMAGE)?;
        Ok(Ovmf { image, package_version: first_deb(&tree)?.version.clone(), notice })
    }

    /// Debian's Rust compiler with its i686 library, fetched and unpacked when it is not there.
    pub fn debian_rust(&self) -> Result<RustTree, Error> {
        if let Err(errors) = self.prefetch(&[ArtifactName::Rust]) {
            // A dozen packages, so they come in parallel; one artifact, so there is one error.
            if let Some((_, error)) = errors.0.into_iter().next() {
                return Err(error);
            }
        }
        let Ready { tree, notice } = self.ready(&ArtifactName::Rust)?;
        let library_path =
            ["usr/lib/x86_64-linux-gnu", "lib/x86_64-linux-gnu"].map(|folder| tree.folder.join(folder));
        Ok(RustTree {
            version: debversion::released(&first_deb(&tree)?.version).to_owned(),
            package_version: first_deb(&tree)?.version.clone(),
            rustc: file(&tree, "usr/bin/rustc")?.0,
            library_path: library_path.into_iter().filter(|folder| folder.exists()).collect(),
            sysroot: tree.folder.join("usr"),
            notice,
        })
    }
}

fn first_deb(tree: &Tree) -> Result<&crate::lock::Deb, Error> {
    tree.manifest.debs.first().ok_or_else(|| lacks(tree, "a package"))
}

/// The files of a kernel.
pub(crate) struct KernelFiles {
    release: String,
    bzimage: PathBuf,
    sha256: String,
    config: PathBuf,
}

/// Finds a kernel in the tree of its packages.
pub(crate) fn kernel_files(tree: &Tree) -> Result<KernelFiles, Error> {
    let find = |part: &'static str| {
        let found = tree.names(move |name| recipe::kernel_release(name, part).is_some()).next();
        found.map(str::to_owned).ok_or_else(|| lacks(tree, part))
    };
    let image = find("vmlinuz")?;
    let (bzimage, record) = file(tree, &image)?;
    Ok(KernelFiles {
        release: recipe::kernel_release(&image, "vmlinuz").unwrap_or_default().to_owned(),
        bzimage,
        sha256: record.sha256.to_string(),
        config: file(tree, &find("config")?)?.0,
    })
}

fn file<'a>(tree: &'a Tree, name: &str) -> Result<(PathBuf, &'a crate::deb::FileRecord), Error> {
    tree.file(name).ok_or_else(|| lacks(tree, name))
}

fn lacks(tree: &Tree, what: &str) -> Error {
    let deb =
        tree.manifest.debs.first().map_or_else(|| tree.folder.clone(), |deb| Path::new(&deb.path).to_owned());
    Error::Unpack { deb, reason: format!("its packages hold no {what}") }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Bug: a kernel that `images add` took into the lock is not offered, or one named by a word is ordered by that word.
    #[test]
    fn added_kernels_are_known_by_name_and_version() {
        let mut lock = Lock::built_in().unwrap();
        let mut added = lock.kernel("sid-amd64").unwrap().clone();
        "7.3~rc1-1~exp1".clone_into(&mut added.deb.version);
        "rc".clone_into(&mut added.series);
        lock.kernels.push(added);
        let lock = Lock::parse(&lock.to_text(), "test").unwrap();
        let known = kernels_of(&lock);
        assert_eq!(known.len(), known_kernels().unwrap().len() + 1);
        let last = known.last().unwrap();
        assert_eq!((last.name.as_str(), last.version.as_str(), last.arch), ("rc-amd64", "7.3", Arch::X86_64));
    }
}

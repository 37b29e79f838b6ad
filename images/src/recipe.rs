//! What each kind of artifact needs of its packages, how closely it is checked before use, and what may replace a dropped one.

use crate::deb::Recipe;
use crate::error::Error;
use crate::index::Wanted;
use crate::lock::{ArtifactName, Deb, Lock, LockedKernel};
use crate::tree::Check;

/// How the names of packages with a kernel's files begin: the image, with the configuration or without; the image alone, and the
/// configuration (Debian's layout since Linux 7).
pub(crate) const KERNEL_PARTS: [&str; 3] = ["linux-image-", "linux-binary-", "linux-base-"];

/// Files of a kernel package: image and configuration.
const KERNEL_FILES: usize = 2;

/// The firmware in one image, code and variables: QEMU takes it as a ROM, and it then keeps its variables in memory.
pub(crate) const OVMF_IMAGE: &str = "usr/share/ovmf/OVMF.fd";

/// Which files are unpacked.
pub(crate) fn of(name: &ArtifactName) -> Recipe {
    match name {
        ArtifactName::Kernel(_) => Recipe { wants: kernel_file, enough: KERNEL_FILES, revision: 0 },
        ArtifactName::Loader { .. } => Recipe { wants: loader_file, enough: usize::MAX, revision: 2 },
        ArtifactName::Busybox(_) => {
            Recipe { wants: |path| matches!(path, "bin/busybox" | "usr/bin/busybox"), enough: 1, revision: 0 }
        }
        ArtifactName::Ovmf => Recipe { wants: |path| path == OVMF_IMAGE, enough: 1, revision: 0 },
        ArtifactName::Rust => Recipe { wants: rust_file, enough: usize::MAX, revision: 0 },
    }
}

/// Image and configuration, in `boot/` or, in Debian's layout since Linux 7, in `usr/lib/modules/RELEASE/`.
fn kernel_file(path: &str) -> bool {
    kernel_release(path, "vmlinuz").is_some() || kernel_release(path, "config").is_some()
}

/// The kernel release that a path in a package is the `file` of.
pub(crate) fn kernel_release<'a>(path: &'a str, file: &str) -> Option<&'a str> {
    let in_boot = path.strip_prefix("boot/").and_then(|path| path.strip_prefix(file)?.strip_prefix('-'));
    let in_modules = || path.strip_prefix("usr/lib/modules/")?.strip_suffix(file)?.strip_suffix('/');
    in_boot.or_else(in_modules).filter(|release| !release.is_empty() && !release.contains('/'))
}

/// The loader and its reader of vmcores, the dynamic linker and the libraries under all their names. What of these goes into a guest
/// the programs say: libc's package alone has two dozen.
fn loader_file(path: &str) -> bool {
    let (folder, file) = path.rsplit_once('/').unwrap_or(("", path));
    let program = matches!(file, "kexec" | "vmcore-dmesg") && matches!(folder, "sbin" | "usr/sbin");
    let folder = folder.strip_prefix("usr/").unwrap_or(folder);
    let library = folder == "lib"
        || folder == "lib64"
        || (folder.starts_with("lib/") && folder.ends_with("-linux-gnu"));
    let linker = (file.starts_with("ld-linux") || file.starts_with("ld-2.")) && file.contains(".so");
    program || library && (linker || file.starts_with("lib") && file.contains(".so"))
}

/// The compiler, its shared libraries and the target libraries; no documentation, no other programs.
fn rust_file(path: &str) -> bool {
    path == "usr/bin/rustc" || path.starts_with("usr/lib/") || path.starts_with("lib/")
}

/// How closely the tree is checked each time it is used. The compiler's half gigabyte would take seconds to hash; there sizes
/// have to do, and `images verify` does the rest.
pub(crate) fn check(name: &ArtifactName) -> Check {
    match name {
        ArtifactName::Kernel(_)
        | ArtifactName::Loader { .. }
        | ArtifactName::Busybox(_)
        | ArtifactName::Ovmf => Check::Hashes,
        ArtifactName::Rust => Check::Sizes,
    }
}

/// What replaces each package of an artifact, in the order of [`Lock::debs`]: the same series of what is tested, and any version
/// of a library or of a tool.
pub(crate) fn wanted(lock: &Lock, name: &ArtifactName) -> Result<Vec<Wanted>, Error> {
    let any = |package: &str| Wanted::Any { package: package.to_owned() };
    let series = |package: &str, series: &str| Wanted::Series {
        package: package.to_owned(),
        series: series.to_owned(),
    };
    Ok(match name {
        ArtifactName::Kernel(kernel) => {
            let kernel = lock.kernel(kernel)?;
            kernel.debs().map(|deb| kernel_package(kernel, deb)).collect()
        }
        ArtifactName::Loader { version, arch } => {
            let loader = lock.loader(version, *arch)?;
            let libraries = loader.libraries.iter().map(|deb| any(&deb.package));
            [series(&loader.program.package, version)].into_iter().chain(libraries).collect()
        }
        ArtifactName::Busybox(_) | ArtifactName::Ovmf => {
            lock.debs(name)?.into_iter().map(|deb| any(&deb.package)).collect()
        }
        ArtifactName::Rust => {
            // Package names hold the minor version, so the series is that: `1.85` of `1.85.0`.
            let minor =
                lock.rust.version.rsplit_once('.').map_or(lock.rust.version.as_str(), |(minor, _)| minor);
            let compiler = lock.rust.compiler.iter().map(|deb| series(&deb.package, minor));
            compiler.chain(lock.rust.libraries.iter().map(|deb| any(&deb.package))).collect()
        }
    })
}

/// What replaces a package of a kernel: the one that has the same part of a newer kernel.
fn kernel_package(kernel: &LockedKernel, deb: &Deb) -> Wanted {
    let part = KERNEL_PARTS.iter().find(|part| deb.package.starts_with(**part)).unwrap_or(&KERNEL_PARTS[0]);
    Wanted::Kernel {
        part: (*part).to_owned(),
        series: kernel.kept_series().map(str::to_owned),
        flavour: kernel.flavour.clone(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Bug: modules and other files are taken for the image, or the image of Debian's newer layout is not found.
    #[test]
    fn kernel_files() {
        for (path, file, release) in [
            ("boot/vmlinuz-6.1.0-50-amd64", "vmlinuz", Some("6.1.0-50-amd64")),
            ("boot/config-6.1.0-50-amd64", "config", Some("6.1.0-50-amd64")),
            ("usr/lib/modules/7.2.13+deb14-amd64/vmlinuz", "vmlinuz", Some("7.2.13+deb14-amd64")),
            ("usr/lib/modules/7.2.13+deb14-amd64/config", "config", Some("7.2.13+deb14-amd64")),
            ("usr/lib/modules/7.2.13+deb14-amd64/kernel/fs/config", "config", None),
            ("usr/lib/modules/7.2.13+deb14-amd64/config", "vmlinuz", None),
            ("boot/System.map-6.1.0-50-amd64", "vmlinuz", None),
            ("usr/lib/modules//config", "config", None),
        ] {
            assert_eq!(kernel_release(path, file), release, "{path}");
        }
    }

    /// Bug: guests lack the dynamic linker or a library, or everything that lies beside them is unpacked as well.
    #[test]
    fn loader_files() {
        for path in [
            "sbin/kexec",
            "usr/sbin/kexec",
            "sbin/vmcore-dmesg",
            "lib/ld-linux.so.2",
            "lib64/ld-linux-x86-64.so.2",
            "lib/i386-linux-gnu/ld-2.31.so",
            "lib/i386-linux-gnu/libc.so.6",
            "lib/x86_64-linux-gnu/libc-2.31.so",
            "usr/lib/i386-linux-gnu/ld-linux.so.2",
            "lib/i386-linux-gnu/libm.so.6",
            "usr/lib/x86_64-linux-gnu/libxenctrl.so.4.17",
        ] {
            assert!(loader_file(path), "{path}");
        }
        for path in [
            "sbin/coldreboot",
            "usr/lib/i386-linux-gnu/gconv/libc.so.6",
            "usr/lib/x86_64-linux-gnu/security/libpam.so",
            "usr/lib/x86_64-linux-gnu/e2initrd_helper",
            "etc/ld.so.conf",
            "usr/share/doc/libc6/libc-2.31.so",
            "usr/bin/ld.so",
        ] {
            assert!(!loader_file(path), "{path}");
        }
    }

    /// Catches packages of an artifact and their replacements getting out of step.
    #[test]
    fn every_package_has_a_replacement_rule() {
        let lock = Lock::built_in().unwrap();
        for name in lock.names() {
            assert_eq!(lock.debs(&name).unwrap().len(), wanted(&lock, &name).unwrap().len(), "{name}");
        }
    }
}

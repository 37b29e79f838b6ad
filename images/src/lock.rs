//! The lock file: what guests are made of, each artifact by package, version, architecture and SHA-256.
//!
//! It is JSON with one field a line: no parser beyond the one that the results need anyway, and a re-pinned package shows as
//! two or three changed lines in a diff. It names no host: [`Deb::path`] is relative to whatever mirror is used.
//! The built-in lock is `images/lock.json` of the source tree, compiled in so that names can be checked without any I/O.

use std::fmt;
use std::str::FromStr;

use guest_protocol::Arch;
use serde::{Deserialize, Serialize};

use crate::digest::Sha256;
use crate::error::Error;

/// The lock file that this program was built with.
const BUILT_IN: &str = include_str!("../lock.json");

/// What a lock file holds.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Lock {
    /// Kernels, each named by series and flavour.
    pub kernels: Vec<LockedKernel>,
    /// Reference loaders, each with the libraries it needs.
    pub loaders: Vec<LockedLoader>,
    /// Static busybox packages, one an architecture: the shell of guests that a person wants to look around in.
    pub busybox: Vec<Deb>,
    /// The UEFI firmware of guests that have one, in place of QEMU's BIOS.
    pub ovmf: Deb,
    /// Debian's Rust compiler with an i686 library, for hosts where rustup cannot add the target.
    pub rust: LockedRust,
}

/// A kernel package.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LockedKernel {
    /// Upstream series, such as `5.10`; or a word, such as `sid`, for whatever is the newest of its suite.
    pub series: String,
    /// Debian's flavour, such as `686-pae`.
    pub flavour: String,
    /// The package that holds it.
    pub deb: Deb,
    /// The package with its configuration, where that is another one: Debian's layout since Linux 7.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub config: Option<Deb>,
}

impl LockedKernel {
    /// The name used in scenarios, such as `5.10-686-pae`.
    pub fn name(&self) -> String {
        format!("{}-{}", self.series, self.flavour)
    }

    /// The upstream series that it keeps to when it moves on; none where it takes the newest kernel of its suite.
    pub fn kept_series(&self) -> Option<&str> {
        self.series.starts_with(|first: char| first.is_ascii_digit()).then_some(self.series.as_str())
    }

    /// Its packages, the one with the image first.
    pub(crate) fn debs(&self) -> impl Iterator<Item = &Deb> {
        [&self.deb].into_iter().chain(&self.config)
    }

    /// Whether it is an i386 kernel with PAE, which can use memory above 4 GiB.
    pub fn pae(&self) -> bool {
        self.flavour.ends_with("-pae")
    }
}

/// A released loader, run as a peer of ours.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LockedLoader {
    /// Upstream version of kexec-tools, such as `2.0.20`.
    pub version: String,
    /// The package with the program.
    pub program: Deb,
    /// Packages with the dynamic linker and the libraries that the program and they themselves need, libc's first.
    pub libraries: Vec<Deb>,
}

/// Debian's Rust compiler.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LockedRust {
    /// Upstream version, such as `1.85.0`.
    pub version: String,
    /// The compiler and its `core`/`alloc`/`std` for amd64 and i386: of one source package, so all of one version.
    pub compiler: Vec<Deb>,
    /// Libraries that the compiler needs and a minimal Debian 12 with a C compiler lacks.
    pub libraries: Vec<Deb>,
}

/// One Debian package file.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Deb {
    /// Package name.
    pub package: String,
    /// Package version, epoch and Debian revision included.
    pub version: String,
    /// Codename of the suite that has (or had) it.
    pub suite: String,
    /// Debian's name of the architecture in whose index it is; packages for all architectures are in each.
    pub arch: DebArch,
    /// Path below the mirror's root, as the field `Filename` of the suite's index gives it.
    pub path: String,
    /// Bytes.
    pub size: u64,
    /// Of the whole file.
    pub sha256: Sha256,
}

impl Deb {
    /// Last component of [`Deb::path`].
    pub fn file_name(&self) -> &str {
        self.path.rsplit('/').next().unwrap_or(&self.path)
    }
}

impl fmt::Display for Deb {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {} ({}, {})", self.package, self.version, self.suite, self.arch)
    }
}

/// Debian's architecture names.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum DebArch {
    /// x86_64.
    Amd64,
    /// 32-bit x86.
    I386,
}

impl DebArch {
    /// As in index paths and package file names.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Amd64 => "amd64",
            Self::I386 => "i386",
        }
    }

    /// The project's name for it.
    pub const fn arch(self) -> Arch {
        match self {
            Self::Amd64 => Arch::X86_64,
            Self::I386 => Arch::I386,
        }
    }
}

impl fmt::Display for DebArch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

/// What can be fetched and used on its own: a kernel, a loader with its libraries, a shell, a firmware, the compiler with its
/// libraries.
///
/// Written as `5.10-amd64`, `kexec-tools@2.0.20/i386`, `busybox/i386`, `ovmf` and `debian-rust`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum ArtifactName {
    /// A kernel, by [`LockedKernel::name`].
    Kernel(String),
    /// A reference loader.
    Loader {
        /// Upstream version.
        version: String,
        /// Of the program.
        arch: Arch,
    },
    /// A static busybox.
    Busybox(Arch),
    /// The UEFI firmware.
    Ovmf,
    /// Debian's Rust compiler with its i686 library.
    Rust,
}

const LOADER_PREFIX: &str = "kexec-tools@";
const BUSYBOX_PREFIX: &str = "busybox/";
const OVMF_NAME: &str = "ovmf";
const RUST_NAME: &str = "debian-rust";

impl fmt::Display for ArtifactName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Kernel(name) => f.write_str(name),
            Self::Loader { version, arch } => write!(f, "{LOADER_PREFIX}{version}/{arch}"),
            Self::Busybox(arch) => write!(f, "{BUSYBOX_PREFIX}{arch}"),
            Self::Ovmf => f.write_str(OVMF_NAME),
            Self::Rust => f.write_str(RUST_NAME),
        }
    }
}

/// Text that names no artifact.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "`{0}` names no artifact: want a kernel like `5.10-amd64`, a loader like `kexec-tools@2.0.20/i386`, `busybox/i386`, `ovmf`, or `debian-rust`"
)]
pub struct NotAnArtifactName(String);

impl FromStr for ArtifactName {
    type Err = NotAnArtifactName;

    /// Checks the form only; whether the lock has it is [`Lock::debs`]' business.
    fn from_str(text: &str) -> Result<Self, NotAnArtifactName> {
        let bad = || NotAnArtifactName(text.to_owned());
        match text {
            OVMF_NAME => return Ok(Self::Ovmf),
            RUST_NAME => return Ok(Self::Rust),
            _ => {}
        }
        let arch_of = |text: &str| [Arch::I386, Arch::X86_64].into_iter().find(|known| known.name() == text);
        if let Some(arch) = text.strip_prefix(BUSYBOX_PREFIX) {
            return arch_of(arch).map(Self::Busybox).ok_or_else(bad);
        }
        if let Some(loader) = text.strip_prefix(LOADER_PREFIX) {
            let (version, arch) = loader.split_once('/').ok_or_else(bad)?;
            return match arch_of(arch) {
                Some(arch) if !version.is_empty() => Ok(Self::Loader { version: version.to_owned(), arch }),
                _ => Err(bad()),
            };
        }
        kernel_name(text).map(|_| Self::Kernel(text.to_owned())).ok_or_else(bad)
    }
}

/// Debian's flavours of kernels for this rig's machines, without featuresets.
pub(crate) const FLAVOURS: [&str; 3] = ["amd64", "686-pae", "686"];

/// Series and flavour of a kernel's name: `5.10` and any flavour, or a word such as `sid` and one of [`FLAVOURS`].
pub(crate) fn kernel_name(name: &str) -> Option<(&str, &str)> {
    let (series, flavour) = name.split_once('-')?;
    let plain = |text: &str| {
        !text.is_empty() && text.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '.' | '+' | '-'))
    };
    let numbered = series.starts_with(|first: char| first.is_ascii_digit());
    let known = numbered || FLAVOURS.contains(&flavour);
    (plain(series) && plain(flavour) && known).then_some((series, flavour))
}

impl Lock {
    /// Reads a lock file's text. `origin` names it in errors.
    pub fn parse(text: &str, origin: &str) -> Result<Self, Error> {
        let lock: Self = serde_json::from_str(text)
            .map_err(|source| Error::LockSyntax { origin: origin.to_owned(), source })?;
        lock.check(origin)?;
        Ok(lock)
    }

    /// The lock that this program was built with.
    pub fn built_in() -> Result<Self, Error> {
        Self::parse(BUILT_IN, "the built-in lock file")
    }

    /// As [`Lock::parse`] reads it, ending in a newline.
    pub fn to_text(&self) -> String {
        // A tree of strings and numbers always serializes.
        let mut text = serde_json::to_string_pretty(self).unwrap_or_default();
        text.push('\n');
        text
    }

    /// Every name that the lock holds, in its order.
    pub fn names(&self) -> Vec<ArtifactName> {
        let kernels = self.kernels.iter().map(|kernel| ArtifactName::Kernel(kernel.name()));
        let loaders = self.loaders.iter().map(|loader| ArtifactName::Loader {
            version: loader.version.clone(),
            arch: loader.program.arch.arch(),
        });
        let shells = self.busybox.iter().map(|deb| ArtifactName::Busybox(deb.arch.arch()));
        kernels.chain(loaders).chain(shells).chain([ArtifactName::Ovmf, ArtifactName::Rust]).collect()
    }

    /// The packages of one artifact, the one that gives it its version first.
    pub fn debs(&self, name: &ArtifactName) -> Result<Vec<&Deb>, Error> {
        match name {
            ArtifactName::Kernel(kernel) => Ok(self.kernel(kernel)?.debs().collect()),
            ArtifactName::Loader { version, arch } => {
                let loader = self.loader(version, *arch)?;
                Ok([&loader.program].into_iter().chain(&loader.libraries).collect())
            }
            ArtifactName::Busybox(arch) => {
                let deb = self.busybox.iter().find(|deb| deb.arch.arch() == *arch);
                deb.map(|deb| vec![deb]).ok_or_else(|| self.unknown(name.clone()))
            }
            ArtifactName::Ovmf => Ok(vec![&self.ovmf]),
            ArtifactName::Rust => Ok(self.rust.compiler.iter().chain(&self.rust.libraries).collect()),
        }
    }

    /// The kernel of that name.
    pub fn kernel(&self, name: &str) -> Result<&LockedKernel, Error> {
        self.kernels
            .iter()
            .find(|kernel| kernel.name() == name)
            .ok_or_else(|| self.unknown(ArtifactName::Kernel(name.to_owned())))
    }

    /// The reference loader of that upstream version and architecture.
    pub fn loader(&self, version: &str, arch: Arch) -> Result<&LockedLoader, Error> {
        self.loaders
            .iter()
            .find(|loader| loader.version == version && loader.program.arch.arch() == arch)
            .ok_or_else(|| self.unknown(ArtifactName::Loader { version: version.to_owned(), arch }))
    }

    fn unknown(&self, name: ArtifactName) -> Error {
        let known = self.names().iter().map(ToString::to_string).collect::<Vec<_>>().join(", ");
        Error::UnknownArtifact { name: name.to_string(), known }
    }

    /// What the syntax alone does not say: names are unique, and paths stay below the mirror's root.
    fn check(&self, origin: &str) -> Result<(), Error> {
        let invalid = |what: String| Error::LockInvalid { origin: origin.to_owned(), what };
        let names = self.names();
        for (position, name) in names.iter().enumerate() {
            if names[..position].contains(name) {
                return Err(invalid(format!("`{name}` is there twice")));
            }
            if name.to_string().parse().as_ref() != Ok(name) {
                return Err(invalid(format!("`{name}` cannot be a name")));
            }
            for deb in self.debs(name)? {
                let strange = deb.path.split('/').any(|part| matches!(part, "" | "." | ".."));
                if strange || !deb.path.ends_with(".deb") {
                    return Err(invalid(format!(
                        "`{name}`: the path `{}` is not that of a .deb below a mirror",
                        deb.path
                    )));
                }
            }
        }
        let versions = self.rust.compiler.iter().map(|deb| &deb.version);
        if versions.clone().any(|version| Some(version) != versions.clone().next()) || versions.len() == 0 {
            return Err(invalid("the compiler's packages must be there, all of one version".to_owned()));
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    /// Catches a lock file that was edited by hand into something that cannot be read, and a writer whose output differs from
    /// the committed form (every re-pin would then touch every line).
    #[test]
    fn built_in_lock_is_in_its_written_form() {
        let lock = Lock::built_in().unwrap();
        assert_eq!(lock.to_text(), BUILT_IN);
    }

    /// Catches an artifact that scenarios rely on falling out of the lock.
    #[test]
    fn built_in_lock_has_the_promised_artifacts() {
        let names: BTreeSet<String> =
            Lock::built_in().unwrap().names().iter().map(ToString::to_string).collect();
        // More may be there: what `images add` took in.
        for promised in [
            "5.10-amd64",
            "5.10-686-pae",
            "6.1-amd64",
            "6.1-686-pae",
            "6.1-686",
            "6.12-amd64",
            "sid-amd64",
            "kexec-tools@2.0.20/i386",
            "kexec-tools@2.0.20/x86_64",
            "kexec-tools@2.0.25/i386",
            "kexec-tools@2.0.25/x86_64",
            "kexec-tools@2.0.29/i386",
            "kexec-tools@2.0.29/x86_64",
            "kexec-tools@2.0.32/i386",
            "kexec-tools@2.0.32/x86_64",
            "busybox/i386",
            "busybox/x86_64",
            "ovmf",
            "debian-rust",
        ] {
            assert!(names.contains(promised), "{promised} is not in {names:?}");
        }
    }

    /// Catches names that cannot be given back on the command line.
    #[test]
    fn names_round_trip_and_others_are_refused() {
        for name in Lock::built_in().unwrap().names() {
            assert_eq!(name.to_string().parse(), Ok(name));
        }
        for text in [
            "",
            "kexec-tools@2.0.20",
            "kexec-tools@/i386",
            "kexec-tools@2.0.20/arm",
            "busybox",
            "busybox/arm",
            "rust",
            "amd64-5.10",
            "5.10",
            "sid-cloud",
            "si/d-amd64",
        ] {
            assert!(text.parse::<ArtifactName>().is_err(), "{text}");
        }
    }

    /// Catches a lock that can make the cache write or fetch outside its place, or mix two compilers.
    #[test]
    fn invalid_locks_are_refused() {
        for (from, to, part) in [
            ("pool/main/l/linux-signed-amd64/", "pool/../", "path"),
            ("\"flavour\": \"686\"", "\"flavour\": \"686-pae\"", "twice"),
            (
                "\"package\": \"rustc-web\",\n        \"version\": \"1.85",
                "\"package\": \"rustc-web\",\n        \"version\": \"1.84",
                "one version",
            ),
            ("\"suite\"", "\"sweet\"", "unknown field"),
        ] {
            assert!(BUILT_IN.contains(from), "{from}");
            let error = Lock::parse(&BUILT_IN.replacen(from, to, 1), "test").unwrap_err();
            assert!(error.to_string().contains(part), "{error}");
        }
    }
}

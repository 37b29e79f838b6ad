//! Taking a kernel package of the archive into the lock file: found in the signed indexes, its parts followed through their
//! dependencies, fetched and unpacked once, so that nothing is locked that would not boot for want of a file.

use std::path::Path;
use std::str::FromStr;

use crate::artifact::kernel_files;
use crate::debversion;
use crate::error::Error;
use crate::index::{Package, PackageList, SuiteIndex, Wanted};
use crate::lock::{ArtifactName, Deb, DebArch, FLAVOURS, LockedKernel, kernel_name};
use crate::maintain;
use crate::recipe;
use crate::store::{Store, remove_tree};
use crate::tree::{Check, Tree};

/// Suites that are looked in after the host's own, the newest first.
const FURTHER_SUITES: [&str; 5] = ["sid", "forky", "trixie", "bookworm", "bullseye"];
/// How many packages without files of their own are followed: a flavour's newest kernel, and that kernel's parts.
const MAX_HOPS: usize = 3;

/// A kernel package as people name it: `linux-image-…`, with `=VERSION` or without.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KernelPackage {
    package: String,
    version: Option<String>,
    /// With the featureset, if it has one: `rt-amd64`.
    flavour: String,
}

impl FromStr for KernelPackage {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self, Error> {
        let bad = || Error::NotAKernelPackage { given: text.to_owned() };
        let (package, version) = match text.split_once('=') {
            None => (text, None),
            Some((_, "")) => return Err(bad()),
            Some((package, version)) => (package, Some(version.to_owned())),
        };
        let release = package.strip_prefix("linux-image-").ok_or_else(bad)?;
        let flavour = FLAVOURS.into_iter().find(|flavour| {
            release.strip_suffix(flavour).is_some_and(|rest| rest.is_empty() || rest.ends_with('-'))
        });
        let flavour = flavour.ok_or_else(bad)?;
        // What stands between release and flavour and begins with a letter is a featureset: `cloud`, `rt`.
        let featureset = release
            .strip_suffix(flavour)
            .map(|rest| rest.trim_end_matches('-'))
            .and_then(|rest| rest.rsplit('-').next())
            .filter(|word| word.starts_with(|first: char| first.is_ascii_alphabetic()));
        let flavour = featureset.map_or_else(|| flavour.to_owned(), |word| format!("{word}-{flavour}"));
        Ok(Self { package: package.to_owned(), version, flavour })
    }
}

impl KernelPackage {
    const fn arch(&self) -> DebArch {
        match self.flavour.as_bytes() {
            [.., b'a', b'm', b'd', b'6', b'4'] => DebArch::Amd64,
            _ => DebArch::I386,
        }
    }

    fn wanted(&self) -> Wanted {
        let package = self.package.clone();
        match self.version.clone() {
            None => Wanted::Any { package },
            Some(version) => Wanted::Exactly { package, version },
        }
    }
}

/// A kernel that the lock file has now.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Added {
    /// As it is in the lock.
    pub kernel: LockedKernel,
    /// What had its name before.
    pub replaced: Option<LockedKernel>,
}

impl Store {
    /// Takes a kernel package into the lock file at `lock_file`, under `name`, or else its upstream series and flavour. Looks in
    /// `suite`, or else in the host's own suites and those of Debian's releases, and takes the first that has it. A kernel that
    /// has the name already is replaced.
    ///
    /// # Errors
    /// No suite has it, it holds no kernel, or the lock file cannot be written, which then is as it was.
    pub fn add(
        &self,
        lock_file: &Path,
        asked: &KernelPackage,
        name: Option<&str>,
        suite: Option<&str>,
    ) -> Result<Added, Error> {
        let named = name.map(|name| {
            kernel_name(name).filter(|(_, flavour)| *flavour == asked.flavour).ok_or_else(|| {
                Error::KernelName {
                    given: name.to_owned(),
                    package: asked.package.clone(),
                    flavour: asked.flavour.clone(),
                }
            })
        });
        // Before anything is fetched.
        let named = named.transpose()?;
        let (deb, config) = self.find_kernel(asked, suite)?;
        let (series, flavour) = named.unwrap_or_else(|| (series_of(&deb.version), asked.flavour.as_str()));
        let kernel = LockedKernel { series: series.to_owned(), flavour: flavour.to_owned(), deb, config };
        self.unpack_kernel(&kernel)?;
        let mut lock = self.lock_of(lock_file)?;
        let replaced = match lock.kernels.iter_mut().find(|known| known.name() == kernel.name()) {
            Some(known) => Some(std::mem::replace(known, kernel.clone())),
            None => {
                lock.kernels.push(kernel.clone());
                None
            }
        };
        maintain::write(&lock, lock_file)?;
        Ok(Added { kernel, replaced })
    }

    /// The packages with image and configuration; one, where it has both.
    fn find_kernel(&self, asked: &KernelPackage, suite: Option<&str>) -> Result<(Deb, Option<Deb>), Error> {
        let suites = match suite {
            Some(suite) => vec![suite.to_owned()],
            None => {
                let mut suites = self.mirrors.host_suites();
                let further =
                    FURTHER_SUITES.iter().filter(|further| !suites.iter().any(|suite| suite == *further));
                let further: Vec<String> = further.map(|suite| (*suite).to_owned()).collect();
                suites.extend(further);
                suites
            }
        };
        let scratch = self.scratch()?;
        let tools = self.index_tools(scratch.path());
        let mut looked_in = Vec::new();
        for suite in suites {
            self.online_for_index(&suite)?;
            let index =
                self.mirrors.of_suite(&suite).and_then(|roots| SuiteIndex::open(&tools, &suite, &roots));
            match index.as_ref().map(|index| index.packages(&tools, asked.arch())) {
                Ok(Ok(packages)) => match parts(&packages, asked.wanted())? {
                    Some(parts) => return Ok(parts),
                    None => looked_in.push(suite),
                },
                // One that this host's keyring or mirror does not know is not the end of the search.
                Ok(Err(error)) => looked_in.push(format!("{suite} ({error})")),
                Err(error) => looked_in.push(format!("{suite} ({error})")),
            }
        }
        Err(Error::NoSuchPackage {
            wanted: asked.wanted().to_string(),
            arch: asked.arch().name(),
            looked_in: looked_in.join(", "),
        })
    }

    /// Fetches a kernel and sees that image and configuration are in its packages.
    fn unpack_kernel(&self, kernel: &LockedKernel) -> Result<(), Error> {
        let recipe = recipe::of(&ArtifactName::Kernel(kernel.name()));
        let debs: Vec<Deb> = kernel.debs().cloned().collect();
        let folder = self.cache.tree(&debs);
        // Trees are named by their packages, so the lock is that of those, whatever the kernel is called.
        let _guard = self.cache.lock(&format!("{}.tree", kernel.deb.sha256), &self.progress)?;
        let tree = match Tree::open(&folder, Check::Hashes, recipe) {
            Ok(Some(tree)) => tree,
            other => {
                if other.is_err() {
                    remove_tree(&folder)?;
                }
                let files = self.fetch_all(&debs)?;
                Tree::build(&folder, &debs.into_iter().zip(files).collect::<Vec<_>>(), recipe)?
            }
        };
        kernel_files(&tree).map(drop)
    }
}

/// Follows a package to those with image and configuration. None: the suite does not have it.
fn parts(packages: &PackageList<'_>, wanted: Wanted) -> Result<Option<(Deb, Option<Deb>)>, Error> {
    let one = |wanted: Wanted| -> Result<Option<Package>, Error> {
        Ok(packages.newest(&[wanted])?.into_iter().next().flatten())
    };
    let Some(mut package) = one(wanted)? else { return Ok(None) };
    for _ in 0..MAX_HOPS {
        match next(&package) {
            Next::Whole => return Ok(Some((package.deb, None))),
            Next::Other(other) => package = found(one(other.clone())?, &package, &other)?,
            Next::Parts { image, config } => {
                let image = found(one(image.clone())?, &package, &image)?;
                let config = found(one(config.clone())?, &package, &config)?;
                return Ok(Some((image.deb, Some(config.deb))));
            }
        }
    }
    Err(Error::Index {
        what: package.deb.to_string(),
        reason: "its dependencies lead to no kernel".to_owned(),
    })
}

fn found(found: Option<Package>, by: &Package, wanted: &Wanted) -> Result<Package, Error> {
    found.ok_or_else(|| Error::Index {
        what: by.deb.to_string(),
        reason: format!("it depends on {wanted}, which the suite does not have now; try again later"),
    })
}

/// Where a kernel package's files are.
#[derive(Debug, PartialEq, Eq)]
enum Next {
    /// In itself.
    Whole,
    /// In the kernel that it stands for.
    Other(Wanted),
    /// In these.
    Parts { image: Wanted, config: Wanted },
}

/// What an index says of it. `linux-image-amd64` depends on the newest `linux-image-RELEASE-amd64`; since Linux 7 that is empty
/// and depends on `linux-binary-RELEASE-amd64`, the image, and `linux-base-RELEASE-amd64`, the configuration.
fn next(package: &Package) -> Next {
    let depends = |part: &str| {
        package.depends.split(',').find_map(|dependency| {
            let first = dependency.split('|').next()?.trim();
            let (name, version) = first.split_once(' ').unwrap_or((first, ""));
            // A release begins with a digit: linux-base itself is no part of a kernel.
            let release = name.strip_prefix(part)?;
            if !release.starts_with(|first: char| first.is_ascii_digit()) {
                return None;
            }
            let version = version.trim().strip_prefix("(=").and_then(|rest| rest.strip_suffix(')'));
            let package = name.to_owned();
            Some(match version {
                None => Wanted::Any { package },
                Some(version) => Wanted::Exactly { package, version: version.trim().to_owned() },
            })
        })
    };
    let [whole, image, config] = recipe::KERNEL_PARTS.map(depends);
    match (whole, image, config) {
        (Some(other), _, _) => Next::Other(other),
        (None, Some(image), Some(config)) => Next::Parts { image, config },
        (None, _, _) => Next::Whole,
    }
}

/// `7.2` of `7.2.13-1`.
fn series_of(version: &str) -> &str {
    let upstream = debversion::released(version);
    let second_dot = upstream.match_indices('.').nth(1).map_or(upstream.len(), |(at, _)| at);
    &upstream[..second_dot]
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::digest::Sha256;

    /// Bug: headers, unsigned or debug packages, or those of other machines are taken for kernels.
    #[test]
    fn kernel_packages_are_told_from_others() {
        for (text, flavour, version) in [
            ("linux-image-amd64", "amd64", None),
            ("linux-image-7.2.13+deb14-amd64=7.2.13-1", "amd64", Some("7.2.13-1")),
            ("linux-image-6.1.0-50-686-pae", "686-pae", None),
            ("linux-image-6.1.0-50-686", "686", None),
            ("linux-image-6.1.0-50-rt-amd64", "rt-amd64", None),
            ("linux-image-cloud-amd64", "cloud-amd64", None),
        ] {
            let parsed: KernelPackage = text.parse().unwrap();
            assert_eq!((parsed.flavour.as_str(), parsed.version.as_deref()), (flavour, version), "{text}");
            assert_eq!(parsed.arch() == DebArch::Amd64, flavour.ends_with("amd64"));
        }
        for text in [
            "",
            "linux-headers-6.1.0-50-amd64",
            "linux-image-6.1.0-50-amd64-dbg",
            "linux-image-6.1.0-50-arm64",
            "linux-image-6.1.0-50-amd64=",
            "6.1-amd64",
        ] {
            assert!(text.parse::<KernelPackage>().is_err(), "{text}");
        }
    }

    fn package(depends: &str) -> Package {
        let deb = Deb {
            package: "linux-image-x".to_owned(),
            version: "7.2.13-1".to_owned(),
            suite: "sid".to_owned(),
            arch: DebArch::Amd64,
            path: "pool/x.deb".to_owned(),
            size: 1,
            sha256: Sha256::of(b"x"),
        };
        Package { deb, depends: depends.to_owned() }
    }

    /// Bug: the empty package of Debian's newer layout is locked in place of the image, or the boot helper `linux-base` for its
    /// configuration.
    #[test]
    fn dependencies_lead_to_the_files() {
        let exactly =
            |package: &str| Wanted::Exactly { package: package.to_owned(), version: "7.2.13-1".to_owned() };
        let meta = "linux-base-amd64 (= 7.2.13-1), linux-image-7.2.13+deb14-amd64 (= 7.2.13-1)";
        assert_eq!(next(&package(meta)), Next::Other(exactly("linux-image-7.2.13+deb14-amd64")));
        let split = "dracut | linux-initramfs-tool, linux-base-7.2.13+deb14-amd64 (= 7.2.13-1), \
                     linux-binary-7.2.13+deb14-amd64 (= 7.2.13-1), linux-modules-7.2.13+deb14-amd64 (= 7.2.13-1)";
        let parts = Next::Parts {
            image: exactly("linux-binary-7.2.13+deb14-amd64"),
            config: exactly("linux-base-7.2.13+deb14-amd64"),
        };
        assert_eq!(next(&package(split)), parts);
        assert_eq!(next(&package("kmod, linux-base (>= 4.3~), initramfs-tools (>= 0.120) | x")), Next::Whole);
    }

    /// Bug: 7.2.13 is named 7 or 7.2.13, and a scenario of the series does not find it.
    #[test]
    fn a_series_has_two_numbers() {
        for (version, series) in [("7.2.13-1", "7.2"), ("7.3~rc1-1~exp1", "7.3"), ("5.10.223-1", "5.10")] {
            assert_eq!(series_of(version), series);
        }
    }
}

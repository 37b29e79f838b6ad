//! A suite's signed index: which version of a package the archive has today, for packages whose locked version is gone.
//!
//! Trust goes from the host's Debian keyring by `gpgv` to InRelease, from its hashes to Packages.xz, and from there to the
//! package's own hash. The age of an index (`Valid-Until`) is not judged: archives of old releases have expired ones only.

use std::collections::HashMap;
use std::fs::File;
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use tempfile::NamedTempFile;

use crate::debversion;
use crate::digest::Sha256;
use crate::download::{Downloader, Expect};
use crate::error::Error;
use crate::lock::{Deb, DebArch};
use crate::mirror::url;
use crate::progress::Progress;

/// Limit for an InRelease file, in bytes; real ones have about 200 kB.
const IN_RELEASE_LIMIT: u64 = 16 << 20;
/// The one component that is used.
const COMPONENT: &str = "main";

/// What is looked for in an index.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Wanted {
    /// The newest kernel of a Debian flavour, and of an upstream series where one is named: its package whose name begins with
    /// `part`. That name holds the ABI and so changes.
    Kernel { part: String, series: Option<String>, flavour: String },
    /// The newest version of a package within an upstream series, such as `2.0.20` or `1.85`.
    Series { package: String, series: String },
    /// The newest version of a package.
    Any { package: String },
    /// This very version of a package.
    Exactly { package: String, version: String },
}

impl std::fmt::Display for Wanted {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Kernel { part, series, flavour } => {
                write!(f, "kernel package {part}{}*-{flavour}", series.as_deref().unwrap_or_default())
            }
            Self::Series { package, series } => write!(f, "{package} of version {series}"),
            Self::Any { package } => f.write_str(package),
            Self::Exactly { package, version } => write!(f, "{package} {version}"),
        }
    }
}

impl Wanted {
    fn accepts(&self, package: &str, version: &str) -> bool {
        match self {
            Self::Kernel { part, series, flavour } => {
                let release = package
                    .strip_prefix(part.as_str())
                    .and_then(|rest| rest.strip_suffix(flavour.as_str()))
                    .and_then(|rest| rest.strip_suffix('-'));
                match (release, series) {
                    (None, _) => false,
                    (Some(release), None) => has_no_featureset(release),
                    (Some(release), Some(series)) => {
                        release.strip_prefix(series.as_str()).is_some_and(is_abi)
                            && in_series(debversion::upstream(version), series)
                    }
                }
            }
            Self::Series { package: wanted, series } => {
                package == wanted && in_series(debversion::upstream(version), series)
            }
            Self::Any { package: wanted } => package == wanted,
            Self::Exactly { package: wanted, version: exactly } => package == wanted && version == exactly,
        }
    }
}

/// Whether this is what stands between series and flavour: `.0-50`, `.107+deb13`. Words that start with a letter are other
/// featuresets (`-rt`, `-cloud`); a signed image's name ends in its flavour, so `-unsigned` and `-dbg` never come here.
fn is_abi(text: &str) -> bool {
    text.strip_prefix('.').is_some_and(has_no_featureset)
}

/// Whether all words of a release begin with a digit, as `6.1.0-50` and `7.2.13+deb14` do.
fn has_no_featureset(release: &str) -> bool {
    release.split('-').all(|word| word.starts_with(|c: char| c.is_ascii_digit()))
}

/// `6.1.176` is in `6.1`, and `6.12` is not.
fn in_series(upstream: &str, series: &str) -> bool {
    upstream.strip_prefix(series).is_some_and(|rest| !rest.starts_with(|c: char| c.is_ascii_digit()))
}

/// A suite whose InRelease was verified.
pub(crate) struct SuiteIndex {
    suite: String,
    root: String,
    /// By path below `dists/SUITE/`.
    files: HashMap<String, (u64, Sha256)>,
}

/// What reading an index needs.
pub(crate) struct Tools<'a> {
    pub(crate) downloader: &'a Downloader,
    pub(crate) progress: &'a Progress,
    pub(crate) keyring: &'a Path,
    /// Folder for temporary files.
    pub(crate) scratch: &'a Path,
}

impl SuiteIndex {
    /// Fetches and verifies a suite's InRelease from the first of the archive roots that has a good one.
    pub(crate) fn open(tools: &Tools<'_>, suite: &str, roots: &[String]) -> Result<Self, Error> {
        let mut first_error = None;
        for root in roots {
            match Self::open_at(tools, suite, root) {
                Ok(index) => return Ok(index),
                Err(error) => first_error = first_error.or(Some(error)),
            }
        }
        Err(first_error
            .unwrap_or_else(|| Error::NoMirror { suite: suite.to_owned(), looked_in: "nothing".to_owned() }))
    }

    fn open_at(tools: &Tools<'_>, suite: &str, root: &str) -> Result<Self, Error> {
        let url = url(root, &format!("dists/{suite}/InRelease"));
        let label = format!("{suite}: InRelease");
        let file = tools.downloader.fetch(
            &url,
            tools.scratch,
            Expect::AtMost(IN_RELEASE_LIMIT),
            &label,
            tools.progress,
        )?;
        let text = verify_signature(&file, tools.keyring).map_err(|reason| Error::Signature {
            suite: suite.to_owned(),
            url: url.clone(),
            reason,
        })?;
        let release = parse_release(&text);
        if release.codename.as_deref() != Some(suite) && release.suite.as_deref() != Some(suite) {
            let reason =
                format!("it is signed, but for {:?} and not for {suite}", release.codename.or(release.suite));
            return Err(Error::Signature { suite: suite.to_owned(), url, reason });
        }
        Ok(Self { suite: suite.to_owned(), root: root.to_owned(), files: release.files })
    }

    /// The list of its packages.
    pub(crate) fn packages(&self, tools: &Tools<'_>, arch: DebArch) -> Result<PackageList<'_>, Error> {
        let name = format!("{COMPONENT}/binary-{arch}/Packages.xz");
        let what = format!("the index {name} of {}", self.suite);
        let unreadable = |reason: String| Error::Index { what: what.clone(), reason };
        let (size, sha256) = *self
            .files
            .get(&name)
            .ok_or_else(|| unreadable("the signed InRelease does not list it".to_owned()))?;
        let url = url(&self.root, &format!("dists/{}/{name}", self.suite));
        let label = format!("{}: index of {arch}", self.suite);
        let file = tools.downloader.fetch(
            &url,
            tools.scratch,
            Expect::Exactly { size, sha256 },
            &label,
            tools.progress,
        )?;
        Ok(PackageList { suite: &self.suite, arch, what, file })
    }
}

/// A suite's packages for one architecture, verified.
pub(crate) struct PackageList<'a> {
    suite: &'a str,
    arch: DebArch,
    /// For errors.
    what: String,
    file: NamedTempFile,
}

impl PackageList<'_> {
    /// The newest package for each of `wanted`, in its order.
    pub(crate) fn newest(&self, wanted: &[Wanted]) -> Result<Vec<Option<Package>>, Error> {
        let path = self.file.path();
        let packed = File::open(path).map_err(Error::io("open", path))?;
        let reader = BufReader::new(liblzma::bufread::XzDecoder::new(BufReader::new(packed)));
        select(reader, self.suite, self.arch, wanted)
            .map_err(|reason| Error::Index { what: self.what.clone(), reason })
    }
}

/// A package as an index has it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Package {
    pub(crate) deb: Deb,
    /// The field `Depends`.
    pub(crate) depends: String,
}

/// Has gpgv check a clear-signed file, and gives what was signed and nothing around it.
fn verify_signature(file: &NamedTempFile, keyring: &Path) -> Result<String, String> {
    if !keyring.exists() {
        return Err(format!(
            "the keyring {} is not there; install debian-archive-keyring (apt-get install debian-archive-keyring) or name one",
            keyring.display()
        ));
    }
    let mut command = Command::new("gpgv");
    // gpgv takes a keyring without a slash for one in its own folder.
    let keyring = std::path::absolute(keyring).unwrap_or_else(|_| PathBuf::from(keyring));
    command.arg("--quiet").arg("--keyring").arg(keyring).args(["--output", "-"]).arg(file.path());
    let output = command
        .stdin(Stdio::null())
        .env("LC_ALL", "C")
        .output()
        .map_err(|error| format!("cannot run gpgv: {error}; install it (apt-get install gpgv)"))?;
    if !output.status.success() {
        let said = String::from_utf8_lossy(&output.stderr).trim().replace('\n', "; ");
        return Err(format!("{command:?} failed with {}: {said}", output.status));
    }
    String::from_utf8(output.stdout).map_err(|_| "the signed text is not UTF-8".to_owned())
}

#[derive(Debug, Default)]
struct Release {
    codename: Option<String>,
    suite: Option<String>,
    files: HashMap<String, (u64, Sha256)>,
}

/// Reads a Release file's names and its `SHA256` section. Lines that do not fit are no files.
fn parse_release(text: &str) -> Release {
    let mut release = Release::default();
    let mut in_hashes = false;
    for line in text.lines() {
        if let Some(entry) = line.strip_prefix(' ') {
            let words: Vec<&str> = entry.split_whitespace().collect();
            if let ([hash, size, name], true) = (words.as_slice(), in_hashes)
                && let (Ok(hash), Ok(size)) = (hash.parse(), size.parse())
            {
                release.files.insert((*name).to_owned(), (size, hash));
            }
        } else if let Some((field, value)) = line.split_once(':') {
            in_hashes = field == "SHA256";
            match field {
                "Codename" => release.codename = Some(value.trim().to_owned()),
                "Suite" => release.suite = Some(value.trim().to_owned()),
                _ => {}
            }
        }
    }
    release
}

/// Reads an index stanza by stanza and keeps the newest package that each of `wanted` accepts.
fn select(
    reader: impl BufRead,
    suite: &str,
    arch: DebArch,
    wanted: &[Wanted],
) -> Result<Vec<Option<Package>>, String> {
    let mut best: Vec<Option<Package>> = vec![None; wanted.len()];
    let mut stanza = Stanza::default();
    for line in reader.split(b'\n') {
        let line = line.map_err(|error| error.to_string())?;
        if line.is_empty() {
            std::mem::take(&mut stanza).offer(suite, arch, wanted, &mut best)?;
        } else if !line.starts_with(b" ") {
            stanza.field(&String::from_utf8_lossy(&line));
        }
    }
    stanza.offer(suite, arch, wanted, &mut best)?;
    Ok(best)
}

/// The fields that matter of one package.
#[derive(Default)]
struct Stanza {
    package: String,
    version: String,
    path: String,
    size: String,
    sha256: String,
    depends: String,
}

impl Stanza {
    fn field(&mut self, line: &str) {
        let Some((field, value)) = line.split_once(':') else { return };
        let place = match field {
            "Package" => &mut self.package,
            "Version" => &mut self.version,
            "Filename" => &mut self.path,
            "Size" => &mut self.size,
            "SHA256" => &mut self.sha256,
            "Depends" => &mut self.depends,
            _ => return,
        };
        value.trim().clone_into(place);
    }

    fn offer(
        self,
        suite: &str,
        arch: DebArch,
        wanted: &[Wanted],
        best: &mut [Option<Package>],
    ) -> Result<(), String> {
        for (wanted, best) in wanted.iter().zip(best) {
            let newer = best
                .as_ref()
                .is_none_or(|best| debversion::compare(&self.version, &best.deb.version).is_gt());
            if !newer || !wanted.accepts(&self.package, &self.version) {
                continue;
            }
            let bad = |field: &str| format!("{} {} has no usable field {field}", self.package, self.version);
            let strange = self.path.split('/').any(|part| matches!(part, "" | "." | ".."));
            if strange || !self.path.ends_with(".deb") {
                return Err(bad("Filename"));
            }
            let deb = Deb {
                package: self.package.clone(),
                version: self.version.clone(),
                suite: suite.to_owned(),
                arch,
                path: self.path.clone(),
                size: self.size.parse().map_err(|_| bad("Size"))?,
                sha256: self.sha256.parse().map_err(|_| bad("SHA256"))?,
            };
            *best = Some(Package { deb, depends: self.depends.clone() });
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn kernel(series: &str, flavour: &str) -> Wanted {
        let (part, series) = ("linux-image-".to_owned(), Some(series.to_owned()));
        Wanted::Kernel { part, series, flavour: flavour.to_owned() }
    }

    /// Bug: a kernel that rolls on takes a cloud, rt or unsigned image, or the empty package of the image's name.
    #[test]
    fn the_newest_kernel_of_a_suite_is_matched_by_its_flavour() {
        let (part, flavour) = ("linux-binary-".to_owned(), "amd64".to_owned());
        let newest = Wanted::Kernel { part, series: None, flavour };
        for (package, accepted) in [
            ("linux-binary-7.2.13+deb14-amd64", true),
            ("linux-binary-8.0.1-1-amd64", true),
            ("linux-image-7.2.13+deb14-amd64", false),
            ("linux-binary-7.2.13+deb14-rt-amd64", false),
            ("linux-binary-unsigned-7.2.13+deb14-amd64", false),
            ("linux-binary-amd64", false),
        ] {
            assert_eq!(newest.accepts(package, "7.2.13-1"), accepted, "{package}");
        }
        assert_eq!(newest.to_string(), "kernel package linux-binary-*-amd64");
    }

    /// Catches cloud, rt, unsigned and debug images, other flavours and other series being taken for the one that was locked.
    #[test]
    fn kernels_are_matched_by_series_and_flavour() {
        let cases = [
            ("6.1", "amd64", "linux-image-6.1.0-50-amd64", "6.1.176-1", true),
            ("6.12", "amd64", "linux-image-6.12.107+deb13-amd64", "6.12.107-1", true),
            ("6.1", "686", "linux-image-6.1.0-50-686", "6.1.176-1", true),
            ("6.1", "686-pae", "linux-image-6.1.0-50-686-pae", "6.1.176-1", true),
            ("6.1", "686", "linux-image-6.1.0-50-686-pae", "6.1.176-1", false),
            ("6.1", "amd64", "linux-image-6.1.0-50-cloud-amd64", "6.1.176-1", false),
            ("6.1", "amd64", "linux-image-6.1.0-50-rt-amd64", "6.1.176-1", false),
            ("6.1", "amd64", "linux-image-6.1.0-50-amd64-unsigned", "6.1.176-1", false),
            ("6.1", "amd64", "linux-image-6.1.0-50-amd64-dbg", "6.1.176-1", false),
            ("6.1", "amd64", "linux-image-6.12.107+deb13-amd64", "6.12.107-1", false),
            ("6.1", "amd64", "linux-image-6.1.0-50-amd64", "6.12.1-1", false),
            ("6.1", "amd64", "linux-image-amd64", "6.1.176-1", false),
            ("6.1", "amd64", "linux-headers-6.1.0-50-amd64", "6.1.176-1", false),
        ];
        for (series, flavour, package, version, accepted) in cases {
            assert_eq!(
                kernel(series, flavour).accepts(package, version),
                accepted,
                "{series} {flavour}: {package}"
            );
        }
    }

    /// Catches the first of two versions winning in place of the newest, fields leaking from one stanza into the next, and the
    /// last stanza being lost for want of an empty line after it.
    #[test]
    fn newest_is_selected() {
        let stanza = |package: &str, version: &str| {
            let sha256 = Sha256::of(version.as_bytes());
            format!(
                "Package: {package}\nVersion: {version}\nDepends: a,\n b\nFilename: pool/main/{package}_{version}.deb\nSize: 7\nSHA256: {sha256}\n"
            )
        };
        let text = [
            stanza("linux-image-6.1.0-9-amd64", "6.1.99-1"),
            stanza("linux-image-6.1.0-50-amd64", "6.1.176-1"),
            stanza("kexec-tools", "1:2.0.20-2"),
            "Package: empty\n".to_owned(),
            stanza("libc6", "2.36-9"),
        ]
        .join("\n");
        let series =
            |series: &str| Wanted::Series { package: "kexec-tools".to_owned(), series: series.to_owned() };
        let wanted = [
            kernel("6.1", "amd64"),
            series("2.0.20"),
            series("2.0.2"),
            Wanted::Any { package: "libc6".to_owned() },
        ];
        let found = select(text.as_bytes(), "bookworm", DebArch::Amd64, &wanted).unwrap();
        let versions: Vec<_> =
            found.iter().map(|found| found.as_ref().map(|found| found.deb.version.as_str())).collect();
        assert_eq!(versions, [Some("6.1.176-1"), Some("1:2.0.20-2"), None, Some("2.36-9")]);
        let deb = &found[0].as_ref().unwrap().deb;
        assert_eq!((deb.path.as_str(), deb.size), ("pool/main/linux-image-6.1.0-50-amd64_6.1.176-1.deb", 7));
    }

    /// Catches an index that makes us write or fetch elsewhere.
    #[test]
    fn strange_paths_are_refused() {
        let sha256 = Sha256::of(b"");
        let text = format!("Package: libc6\nVersion: 1\nFilename: ../../x.deb\nSize: 7\nSHA256: {sha256}\n");
        let wanted = [Wanted::Any { package: "libc6".to_owned() }];
        assert!(select(text.as_bytes(), "bookworm", DebArch::Amd64, &wanted).is_err());
    }

    /// Catches hashes of the MD5Sum section being taken, and those of the SHA256 section being missed.
    #[test]
    fn release_sections_are_kept_apart() {
        let hash = Sha256::of(b"x");
        let text = format!(
            "Suite: oldstable\nCodename: bookworm\nMD5Sum:\n {} 3 main/a\nSHA256:\n {hash} 12 main/binary-amd64/Packages.xz\nSHA512:\n {hash} 4 main/c\n",
            &hash.to_string()[..32]
        );
        let release = parse_release(&text);
        assert_eq!(release.codename.as_deref(), Some("bookworm"));
        assert_eq!(release.files, HashMap::from([("main/binary-amd64/Packages.xz".to_owned(), (12, hash))]));
    }
}

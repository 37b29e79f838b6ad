//! What can go wrong with artifacts. Every message says what was tried, on what, what was found, and what to do next.

use std::fmt;
use std::io;
use std::path::{Path, PathBuf};

use crate::digest::Sha256;

/// Why an artifact could not be had.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The lock file cannot be read as one.
    #[error("cannot read {origin}: {source}")]
    LockSyntax {
        /// Which lock file.
        origin: String,
        /// What is wrong, with line and column.
        source: serde_json::Error,
    },
    /// The lock file reads well and says something impossible.
    #[error("{origin} is invalid: {what}")]
    LockInvalid {
        /// Which lock file.
        origin: String,
        /// What is wrong.
        what: String,
    },
    /// No such artifact in the lock.
    #[error("no artifact `{name}` in the lock file; it has {known}")]
    UnknownArtifact {
        /// As asked for.
        name: String,
        /// All names there are.
        known: String,
    },
    /// A `--mirror` value that is none.
    #[error(
        "`{value}` is no mirror: {why}; want URL or SUITE=URL, with http://, https:// or file:// and the path up to (not including) dists/"
    )]
    MirrorOption {
        /// As given.
        value: String,
        /// What is wrong with it.
        why: &'static str,
    },
    /// The host's package configuration names no Debian mirror.
    #[error(
        "no Debian mirror for the suite {suite}: {looked_in} names none; give one with --mirror URL or --mirror {suite}=URL, or a folder of .deb files with --artifacts DIR"
    )]
    NoMirror {
        /// Codename.
        suite: String,
        /// Folder or file that was read.
        looked_in: String,
    },
    /// Something is not in the cache and the network is not to be asked.
    #[error(
        "{what} is not in the cache {cache} and the run is offline; run `cargo xtask images fetch` once with a network"
    )]
    Offline {
        /// Which package.
        what: String,
        /// Cache folder.
        cache: PathBuf,
    },
    /// An index is wanted, and the network is not to be asked.
    #[error("the index of {suite} is not kept in the cache, and the run is offline; leave --offline out")]
    OfflineIndex {
        /// Codename.
        suite: String,
    },
    /// The prepared folder lacks a package.
    #[error(
        "{folder} lacks {file_name} (SHA-256 {sha256}) for {what}; put it there or leave --artifacts out"
    )]
    NotInFolder {
        /// As given with `--artifacts`.
        folder: PathBuf,
        /// Wanted file.
        file_name: String,
        /// Wanted hash.
        sha256: Sha256,
        /// Which package.
        what: String,
    },
    /// A transfer failed, also after having been tried again.
    #[error("cannot fetch {url}: {reason}{}", attempts(*.tries))]
    Fetch {
        /// What was asked for.
        url: String,
        /// Last failure.
        reason: String,
        /// How often it was tried.
        tries: u32,
    },
    /// The mirror says that it has no such file.
    #[error("{url} does not exist on the mirror ({status})")]
    NotOnMirror {
        /// What was asked for.
        url: String,
        /// HTTP status or the like.
        status: String,
    },
    /// The bytes are not those that were locked.
    #[error("{what}: SHA-256 is {found}, expected {expected}; {advice}")]
    Mismatch {
        /// Which file, from where.
        what: String,
        /// By the lock or a signed index.
        expected: Sha256,
        /// Of the bytes.
        found: Sha256,
        /// What to do.
        advice: &'static str,
    },
    /// The number of bytes is not the locked one.
    #[error("{what}: {found} bytes, expected {expected}; {advice}")]
    WrongSize {
        /// Which file, from where.
        what: String,
        /// By the lock or a signed index.
        expected: u64,
        /// What there is.
        found: u64,
        /// What to do.
        advice: &'static str,
    },
    /// A suite's signature could not be checked or is bad.
    #[error("cannot trust the index of {suite} from {url}: {reason}")]
    Signature {
        /// Codename.
        suite: String,
        /// Of the InRelease file.
        url: String,
        /// What `gpgv` said, or why it could not run.
        reason: String,
    },
    /// A signed index is not in the form that it should have.
    #[error("cannot read {what}: {reason}")]
    Index {
        /// Which index.
        what: String,
        /// What is wrong.
        reason: String,
    },
    /// The archive dropped a locked package and has nothing of its series any more.
    #[error(
        "{locked} is not on the mirror any more, and the suite's signed index has no {wanted}; take another version into the lock with `cargo xtask images repin NAME` or `images add`, or give an archive mirror with --mirror {suite}=URL, or a folder with --artifacts DIR"
    )]
    SeriesGone {
        /// The locked package.
        locked: String,
        /// What was looked for.
        wanted: String,
        /// Codename.
        suite: String,
    },
    /// Text that names no kernel package.
    #[error(
        "`{given}` names no kernel package for x86: want linux-image-RELEASE-FLAVOUR[=VERSION], such as linux-image-6.12.107+deb13-amd64 or linux-image-686-pae"
    )]
    NotAKernelPackage {
        /// As given.
        given: String,
    },
    /// A name that a kernel cannot have in the lock.
    #[error(
        "`{given}` cannot be the name of {package}: want SERIES-{flavour}, such as 6.12-{flavour}, or a word such as sid-{flavour} for one that `images repin` moves on to the newest of its suite"
    )]
    KernelName {
        /// As given.
        given: String,
        /// The kernel package.
        package: String,
        /// Its flavour.
        flavour: String,
    },
    /// No suite has a package.
    #[error(
        "no suite has {wanted} for {arch}; looked in {looked_in}; name another suite with --suite, or its mirror with --mirror SUITE=URL"
    )]
    NoSuchPackage {
        /// What was looked for.
        wanted: String,
        /// In whose indexes.
        arch: &'static str,
        /// Suites, each with why it could not be read, where it could not.
        looked_in: String,
    },
    /// A package file cannot be unpacked.
    #[error("cannot unpack {deb}: {reason}")]
    Unpack {
        /// The file.
        deb: PathBuf,
        /// What is wrong.
        reason: String,
    },
    /// A file operation failed.
    #[error("cannot {action} {path}: {source}")]
    Io {
        /// Verb, such as `create`.
        action: &'static str,
        /// On what.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// Neither an option nor the environment says where the cache is.
    #[error(
        "no place for the cache: neither XDG_CACHE_HOME nor HOME is set to an absolute path; set one of them, or name a folder"
    )]
    NoCacheFolder,
}

fn attempts(tries: u32) -> String {
    if tries > 1 { format!(" (tried {tries} times)") } else { String::new() }
}

impl Error {
    /// For `map_err` on file operations.
    pub(crate) fn io(action: &'static str, path: &Path) -> impl FnOnce(io::Error) -> Self + use<> {
        let path = path.to_owned();
        move |source| Self::Io { action, path, source }
    }
}

/// Everything that went wrong when several artifacts were wanted, each with its name.
#[derive(Debug)]
pub struct Errors(pub Vec<(String, Error)>);

impl fmt::Display for Errors {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (position, (name, error)) in self.0.iter().enumerate() {
            let separator = if position == 0 { "" } else { "\n" };
            write!(f, "{separator}{name}: {error}")?;
        }
        Ok(())
    }
}

impl std::error::Error for Errors {}

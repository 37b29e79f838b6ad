//! The store: gives verified artifacts by name, from the cache when they are there, else from a prepared folder or the mirrors.
//!
//! What is cached is never asked of the network. What the archive dropped is replaced by the suite's current version of the
//! same series, once; the cache remembers it, and everything made of it carries a notice.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};

use crate::cache::{self, Cache};
use crate::digest::Sha256;
use crate::download::{Downloader, Expect, PARTIAL_PREFIX, Patience};
use crate::error::{Error, Errors};
use crate::lock::{ArtifactName, Deb, Lock};
use crate::mirror::{self, MirrorOption, Mirrors};
use crate::progress::{Progress, ProgressMode};
use crate::recipe;
use crate::tree::{Check, Tree};

/// Debian's keys, from the package debian-archive-keyring.
const DEFAULT_KEYRING: &str = "/usr/share/keyrings/debian-archive-keyring.gpg";
/// apt's configuration.
const DEFAULT_APT_DIR: &str = "/etc/apt";
/// Transfers at the same time: enough to fill a line, few enough for a volunteer's mirror.
const PARALLEL_TRANSFERS: usize = 4;
/// A package that turns out rotten when it is to be unpacked is fetched again this often.
const REFETCHES: u32 = 1;

/// How a store is opened. The default takes everything from the host.
#[derive(Clone, Debug, Default)]
pub struct StoreOptions {
    /// Cache folder in place of `$XDG_CACHE_HOME/kdump-rig` or `~/.cache/kdump-rig`.
    pub cache: Option<PathBuf>,
    /// Mirrors in place of those of the host's package configuration.
    pub mirrors: Vec<MirrorOption>,
    /// A prepared folder of .deb files, by file name; then the network is not asked at all.
    pub artifacts_dir: Option<PathBuf>,
    /// Never ask the network.
    pub offline: bool,
    /// Keyring in place of the host's Debian keyring.
    pub keyring: Option<PathBuf>,
    /// A lock file in place of the built-in one.
    pub lock_file: Option<PathBuf>,
    /// Folder in place of `/etc/apt`.
    pub apt_dir: Option<PathBuf>,
    /// When transfers are given up.
    pub patience: Patience,
    /// How progress is shown.
    pub progress: ProgressMode,
}

/// Verified artifacts by name. Can be used from several threads, and the cache by several processes.
pub struct Store {
    pub(crate) lock: Lock,
    pub(crate) cache: Cache,
    pub(crate) mirrors: Mirrors,
    artifacts_dir: Option<PathBuf>,
    offline: bool,
    pub(crate) keyring: PathBuf,
    pub(crate) downloader: Downloader,
    pub(crate) progress: Progress,
}

/// An artifact that is ready, with what it was made of.
pub(crate) struct Ready {
    pub(crate) tree: Tree,
    /// What to tell people about dropped versions.
    pub(crate) notice: Option<String>,
}

impl Store {
    /// Opens the cache and reads lock file and mirrors. Asks nothing of the network.
    pub fn open(options: StoreOptions) -> Result<Self, Error> {
        let lock = match &options.lock_file {
            None => Lock::built_in()?,
            Some(path) => {
                let text = std::fs::read_to_string(path).map_err(Error::io("read the lock file", path))?;
                Lock::parse(&text, &path.display().to_string())?
            }
        };
        let apt_dir = options.apt_dir.unwrap_or_else(|| DEFAULT_APT_DIR.into());
        Ok(Self {
            lock,
            cache: Cache::open(options.cache.as_deref())?,
            mirrors: Mirrors::new(&options.mirrors, &apt_dir),
            artifacts_dir: options.artifacts_dir,
            offline: options.offline,
            keyring: options.keyring.unwrap_or_else(|| DEFAULT_KEYRING.into()),
            downloader: Downloader::new(options.patience),
            progress: Progress::new(options.progress),
        })
    }

    /// The lock file in use.
    pub fn lock_file(&self) -> &Lock {
        &self.lock
    }

    /// The cache folder, its layout's version included.
    pub fn cache_folder(&self) -> &Path {
        self.cache.root()
    }

    /// Makes the named artifacts ready: fetches what is missing, several packages at a time, then unpacks. Everything is tried;
    /// the errors of all are collected.
    pub fn prefetch(&self, names: &[ArtifactName]) -> Result<(), Errors> {
        let mut wanted = Vec::new();
        let mut errors = Vec::new();
        for name in names {
            match self.used(name) {
                Ok(debs) => wanted.push((name, debs)),
                Err(error) => errors.push((name.to_string(), error)),
            }
        }
        let mut failed = self.fetch_missing(&wanted);
        // A dropped version has ways out, which `ready` tries. Any other failure is final: it was tried often enough.
        let mut left = Vec::new();
        for (name, debs) in wanted {
            match debs.iter().find_map(|deb| failed.remove(&deb.sha256)) {
                None | Some(Error::NotOnMirror { .. }) => left.push(name),
                Some(error) => errors.push((name.to_string(), error)),
            }
        }
        let unpackers = std::thread::available_parallelism().map_or(1, usize::from);
        let results = in_parallel(&left, unpackers, |name| self.ready(name).err());
        errors.extend(left.iter().zip(results).filter_map(|(name, error)| Some((name.to_string(), error?))));
        errors.sort_by_key(|(failed, _)| names.iter().position(|name| name.to_string() == *failed));
        if errors.is_empty() { Ok(()) } else { Err(Errors(errors)) }
    }

    /// Fetches the packages of artifacts that are not unpacked yet, and gives the failures by the package's hash.
    fn fetch_missing(&self, wanted: &[(&ArtifactName, Vec<Deb>)]) -> HashMap<Sha256, Error> {
        let ready = |name: &ArtifactName, debs: &[Deb]| {
            matches!(Tree::open(&self.cache.tree(debs), Check::Sizes, recipe::of(name)), Ok(Some(_)))
        };
        let mut missing: Vec<&Deb> = wanted
            .iter()
            .filter(|(name, debs)| !ready(name, debs))
            .flat_map(|(_, debs)| debs)
            .filter(|deb| !self.cache.has(deb))
            .collect();
        missing.sort_by_key(|deb| deb.sha256);
        missing.dedup_by_key(|deb| deb.sha256);
        // The biggest first, so that it is not what everybody waits for at the end.
        missing.sort_by_key(|deb| std::cmp::Reverse(deb.size));
        let results = in_parallel(&missing, PARALLEL_TRANSFERS, |deb| self.fetch(deb).err());
        missing.iter().zip(results).filter_map(|(deb, error)| Some((deb.sha256, error?))).collect()
    }

    /// The artifact's packages as they are used: the locked ones, or what stood in for them before.
    pub(crate) fn used(&self, name: &ArtifactName) -> Result<Vec<Deb>, Error> {
        let locked = self.lock.debs(name)?;
        Ok(locked.into_iter().map(|deb| self.cache.substitute(deb).unwrap_or_else(|| deb.clone())).collect())
    }

    /// The artifact's tree with every file verified, made first when it is not there or rotten.
    pub(crate) fn ready(&self, name: &ArtifactName) -> Result<Ready, Error> {
        let mut debs = self.used(name)?;
        if let Ok(Some(tree)) = Tree::open(&self.cache.tree(&debs), recipe::check(name), recipe::of(name)) {
            return Ok(Ready { tree, notice: self.notice(name, &debs)? });
        }
        let _guard = self.cache.lock(&lock_name(name), &self.progress)?;
        // Somebody else may have made it, or found a substitute, while we waited for the lock.
        debs = self.used(name)?;
        let folder = self.cache.tree(&debs);
        match Tree::open(&folder, recipe::check(name), recipe::of(name)) {
            Ok(Some(tree)) => return Ok(Ready { tree, notice: self.notice(name, &debs)? }),
            Ok(None) => {}
            Err(rotten) => {
                self.progress.say(&format!("{name}: {rotten}; unpacking it again"));
                remove_tree(&folder)?;
            }
        }
        let files = match self.fetch_all(&debs) {
            Err(Error::NotOnMirror { url, status }) => {
                debs = self.substitute(name, &debs, Error::NotOnMirror { url, status })?;
                self.fetch_all(&debs)?
            }
            other => other?,
        };
        let folder = self.cache.tree(&debs);
        if folder.exists() {
            // Two locked versions can have the same substitute, and a rotten tree can be that of one.
            if let Ok(Some(tree)) = Tree::open(&folder, recipe::check(name), recipe::of(name)) {
                return Ok(Ready { tree, notice: self.notice(name, &debs)? });
            }
            remove_tree(&folder)?;
        }
        let pairs: Vec<_> = debs.iter().cloned().zip(files).collect();
        let tree = Tree::build(&folder, &pairs, recipe::of(name))?;
        Ok(Ready { tree, notice: self.notice(name, &debs)? })
    }

    /// The packages' files, verified in full.
    pub(crate) fn fetch_all(&self, debs: &[Deb]) -> Result<Vec<PathBuf>, Error> {
        debs.iter()
            .map(|deb| {
                for _ in 0..REFETCHES {
                    let path = self.fetch(deb)?;
                    let found = Sha256::of_file(&path).map_err(Error::io("read", &path))?;
                    if found == deb.sha256 {
                        return Ok(path);
                    }
                    self.progress.say(&format!("{deb}: the cached file is rotten; getting it again"));
                    std::fs::remove_file(&path).map_err(Error::io("remove", &path))?;
                }
                // What comes from the network or a folder is hashed on its way in.
                self.fetch(deb)
            })
            .collect()
    }

    /// The package's file in the cache, gotten when it is not there.
    fn fetch(&self, deb: &Deb) -> Result<PathBuf, Error> {
        let path = self.cache.deb(deb.sha256);
        if self.cache.has(deb) {
            return Ok(path);
        }
        let _guard = self.cache.lock(&format!("{}.deb", deb.sha256), &self.progress)?;
        if self.cache.has(deb) {
            return Ok(path);
        }
        let file = match &self.artifacts_dir {
            Some(folder) => self.take_from_folder(deb, folder)?,
            None => self.take_from_mirrors(deb)?,
        };
        cache::put(file, &path)?;
        Ok(path)
    }

    fn take_from_folder(&self, deb: &Deb, folder: &Path) -> Result<tempfile::NamedTempFile, Error> {
        let not_there = || Error::NotInFolder {
            folder: folder.to_owned(),
            file_name: deb.file_name().to_owned(),
            sha256: deb.sha256,
            what: deb.to_string(),
        };
        let folder = std::path::absolute(folder).map_err(Error::io("find", folder))?;
        let url = format!("file://{}", folder.join(deb.file_name()).display());
        self.download(deb, &url).map_err(|error| match error {
            Error::NotOnMirror { .. } => not_there(),
            other => other,
        })
    }

    fn take_from_mirrors(&self, deb: &Deb) -> Result<tempfile::NamedTempFile, Error> {
        self.online(&deb.to_string())?;
        let mut dropped = None;
        let mut failed = None;
        for root in self.mirrors.of_suite(&deb.suite)? {
            match self.download(deb, &mirror::url(&root, &deb.path)) {
                Ok(file) => return Ok(file),
                Err(error @ Error::NotOnMirror { .. }) => dropped = dropped.or(Some(error)),
                Err(error) => failed = failed.or(Some(error)),
            }
        }
        // A mirror that could not be asked may still have it: only when all say no is it gone.
        Err(failed.or(dropped).unwrap_or_else(|| self.no_mirror(&deb.suite)))
    }

    fn no_mirror(&self, suite: &str) -> Error {
        Error::NoMirror { suite: suite.to_owned(), looked_in: DEFAULT_APT_DIR.to_owned() }
    }

    fn download(&self, deb: &Deb, url: &str) -> Result<tempfile::NamedTempFile, Error> {
        let expect = Expect::Exactly { size: deb.size, sha256: deb.sha256 };
        self.downloader.fetch(
            url,
            &self.cache.debs(),
            expect,
            &format!("{} {}", deb.package, deb.arch),
            &self.progress,
        )
    }

    /// An error when the network must not be asked.
    pub(crate) fn online(&self, what: &str) -> Result<(), Error> {
        if self.offline {
            return Err(Error::Offline { what: what.to_owned(), cache: self.cache.root().to_owned() });
        }
        Ok(())
    }

    /// The same for a suite's index, which is asked anew each time.
    pub(crate) fn online_for_index(&self, suite: &str) -> Result<(), Error> {
        if self.offline {
            return Err(Error::OfflineIndex { suite: suite.to_owned() });
        }
        Ok(())
    }

    /// Replaces an artifact's packages by the current ones of their series, and remembers it. `dropped` is what made it
    /// necessary, and the answer when the index lists the very packages that the mirror lacks.
    fn substitute(&self, name: &ArtifactName, debs: &[Deb], dropped: Error) -> Result<Vec<Deb>, Error> {
        self.progress
            .say(&format!("{name}: {dropped}; asking the suite's signed index for the current version"));
        let current = self.current(&[name])?.concat();
        if current == debs {
            return Err(dropped);
        }
        for (locked, used) in self.lock.debs(name)?.into_iter().zip(&current) {
            self.cache.record_substitute(locked, used)?;
        }
        if let Some(notice) = self.notice(name, &current)? {
            self.progress.say(&notice);
        }
        Ok(current)
    }

    /// What to tell about packages that are not the locked ones.
    fn notice(&self, name: &ArtifactName, used: &[Deb]) -> Result<Option<String>, Error> {
        let changed: Vec<String> = self
            .lock
            .debs(name)?
            .into_iter()
            .zip(used)
            .filter(|(locked, used)| locked.sha256 != used.sha256)
            .map(|(locked, used)| {
                format!("{} {} in place of {} {}", used.package, used.version, locked.package, locked.version)
            })
            .collect();
        if changed.is_empty() {
            return Ok(None);
        }
        Ok(Some(format!(
            "{name}: the archive has dropped locked packages, using the suite's current ones: {}; `cargo xtask images repin` writes \
             them to the lock file",
            changed.join(", ")
        )))
    }
}

fn lock_name(name: &ArtifactName) -> String {
    format!("{}.tree", name.to_string().replace('/', "-"))
}

/// Takes a tree away: first its name, so that nobody finds half of it.
pub(crate) fn remove_tree(folder: &Path) -> Result<(), Error> {
    let parent = folder.parent().unwrap_or(folder);
    let grave = tempfile::Builder::new()
        .prefix(PARTIAL_PREFIX)
        .tempdir_in(parent)
        .map_err(Error::io("create a temporary folder in", parent))?;
    std::fs::rename(folder, grave.path().join("tree")).map_err(Error::io("rename away", folder))?;
    grave.close().map_err(Error::io("remove", folder))
}

/// Runs `work` on every item, on up to `threads` threads, beginning in the items' order; the results are in it too.
fn in_parallel<T: Sync, R: Send>(items: &[T], threads: usize, work: impl Fn(&T) -> R + Sync) -> Vec<R> {
    let next = AtomicUsize::new(0);
    let run = || {
        let mut done = Vec::new();
        loop {
            let position = next.fetch_add(1, Ordering::Relaxed);
            match items.get(position) {
                Some(item) => done.push((position, work(item))),
                None => return done,
            }
        }
    };
    let mut results: Vec<(usize, R)> = std::thread::scope(|scope| {
        let workers: Vec<_> = (0..threads.min(items.len())).map(|_| scope.spawn(run)).collect();
        // A worker that panicked takes the whole run with it, as it would have without threads.
        let join = |worker: std::thread::ScopedJoinHandle<'_, _>| {
            worker.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
        };
        workers.into_iter().flat_map(join).collect()
    });
    results.sort_by_key(|(position, _)| *position);
    results.into_iter().map(|(_, result)| result).collect()
}
